"""What is read while people work: the hub's own metrics, the API server's, and the pods."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes_asyncio import client, config

from bench.load.visitors import Place
from tests.cluster.rig import Kube

#: Bounds of JupyterHub's histogram of event loop intervals (jupyterhub/metrics.py): the loop is
#: looked at every 50 ms, so an interval of 100 ms is a block of 50 ms.
BLOCKS = (0.1, 0.25, 1.0)
_LINE = re.compile(r"^(\w+)(\{[^}]*\})? ([0-9.eE+-]+|NaN|\+Inf)$", re.M)
_DISPATCHED = re.compile(
    r'^apiserver_flowcontrol_dispatched_requests_total\{flow_schema="service-accounts"[^}]*\} (\S+)',
    re.M,
)


@dataclass(frozen=True)
class Hub:
    """A reading of a hub's metrics.

    Attributes:
        memory: resident, in bytes.
        cpu: seconds used so far.
        intervals: of the event loop so far.
        slow: bound in seconds → intervals above it so far.
    """

    memory: float
    cpu: float
    intervals: float
    slow: dict[float, float]


async def hub(place: Place) -> Hub:
    headers = {"Authorization": f"token {place.token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as browser,
        browser.get(f"{place.base}/hub/metrics") as answer,
    ):
        answer.raise_for_status()
        text = await answer.text()
    found = {name + labels: float(value) for name, labels, value in _LINE.findall(text)}
    loop = "jupyterhub_event_loop_interval_seconds"
    count = found[f"{loop}_count"]
    slow = {bound: count - found[f'{loop}_bucket{{le="{bound}"}}'] for bound in BLOCKS}
    return Hub(
        found["process_resident_memory_bytes"], found["process_cpu_seconds_total"], count, slow
    )


def api_requests(kube: Kube) -> float:
    """Requests that service accounts outside of kube-system have sent: here, the hub alone.

    The API server sorts them so for its fair queues
    (kubernetes.io/docs/concepts/cluster-administration/flow-control).
    """
    text = kube.kubectl("get", "--raw", "/metrics")
    return sum(float(value) for value in _DISPATCHED.findall(text))


@asynccontextmanager
async def pod_times(kube: Kube, namespace: str) -> AsyncIterator[dict[str, float]]:
    """Username's own time of a pod: seconds from its creation to Running, as a watch saw both."""
    created: dict[str, float] = {}
    took: dict[str, float] = {}
    await config.load_kube_config(str(kube.kubeconfig))

    async def follow() -> None:
        async with client.ApiClient() as api:
            # Read as it comes: to make objects of it would hold up those who look at pages.
            told = await client.CoreV1Api(api).list_namespaced_pod(
                namespace, watch=True, _preload_content=False
            )
            async for line in told.content:
                pod: dict[str, Any] = json.loads(line)["object"]
                if not (name := _username(pod)):
                    continue
                created.setdefault(name, time.monotonic())
                if pod["status"].get("phase") == "Running":
                    took.setdefault(name, time.monotonic() - created[name])

    watching = asyncio.create_task(follow())
    try:
        yield took
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def _username(pod: dict[str, Any]) -> str:
    """Whose server it is; "" for pods that are none, as those of the image pre-puller."""
    found: dict[str, str] = pod["metadata"].get("annotations") or {}
    return found.get("hub.jupyter.org/username", "")


async def until_answers(
    place: Place, path: str, cookies: dict[str, str], seconds: float = 300
) -> float:
    """Seconds until the page at ``path`` answers.

    Raises:
        RuntimeError: it did not.
    """
    begin = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(
        cookies=cookies, cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=timeout
    ) as browser:
        while time.monotonic() - begin < seconds:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with browser.get(place.base + path, allow_redirects=False) as page:
                    if page.status == 200:
                        return time.monotonic() - begin
            await asyncio.sleep(0.1)
    raise RuntimeError(f"{place.name}: no answer at {path} in {seconds:.0f} s")
