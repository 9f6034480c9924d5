"""The pods beside instructors' servers in the cluster: found by their server, or made.

Nothing of them is kept: each time the cluster is asked, so that a hub that starts again finds them, and one that
was lost is made anew.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass
from typing import Any

from kubernetes_asyncio.client import ApiException
from pydantic import ValidationError

from courseyard.backends.kubernetes import grading, reasons
from courseyard.singleuser.grading import runner

_SECONDS = 10  # for one answer of the cluster
_OVER = ("Failed", "Succeeded")
_WHAT = "the sandbox for grading"
_WAIT = "The sandbox for grading is being started."

Object = dict[str, Any]


class NoGradingError(Exception):
    """Nothing is graded in this server, or its pod is that of an earlier version."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Where the pod is, or why it is not there yet, or not at all; one of the three."""

    address: str = ""  # host:port
    wait: str = ""  # a sentence for the instructor
    error: str = ""  # another one


class GradingPods:
    """The pod beside one server.

    Args:
        api: a ``CoreV1Api``.
        namespace: of the servers.
        server: the name of the server's pod.
    """

    def __init__(self, api: Any, namespace: str, server: str) -> None:
        self._api, self._namespace, self.server = api, namespace, server
        self._turn = asyncio.Lock()

    async def find_or_make(self) -> Beside:
        """The pod beside the server, made where there is none.

        Raises:
            NoGradingError: the server has none.
            BackendError, StartError, UnsupportedError: the cluster does not answer, or refused.
        """
        async with self._turn:
            try:
                return await self._find_or_make()
            except ApiException as error:
                raise reasons.refused(error.status or 0, str(error.body or error), _WHAT) from error
            except (OSError, TimeoutError) as error:
                raise reasons.refused(0, str(error), _WHAT) from error

    async def _find_or_make(self) -> Beside:
        found = await self._list(field_selector=f"metadata.name={self.server}")
        server = found[0] if found else None
        if server is None or server["metadata"].get("deletionTimestamp"):
            raise NoGradingError
        if not grading.key_of(server):
            raise NoGradingError
        of = f"{grading.OF_LABEL}={server['metadata']['uid']}"
        pods = [each for each in await self._list(label_selector=of) if not _ends(each)]
        for pod in pods:
            if pod["status"].get("phase") not in _OVER:
                return state(pod)
            await self._delete(pod["metadata"]["name"])
        name = f"{self.server}-grading-{secrets.token_hex(3)}"
        try:
            made = grading.pod(server, name)
        except ValidationError as error:  # of a plan of another version
            raise NoGradingError from error
        await self._api.create_namespaced_pod(self._namespace, made, _request_timeout=_SECONDS)
        return Beside(wait=_WAIT)

    async def _list(self, **selector: str) -> list[Object]:
        answer = await self._api.list_namespaced_pod(
            self._namespace, **selector, _preload_content=False, _request_timeout=_SECONDS
        )
        body = await answer.read()
        if answer.status != 200:
            raise ApiException(status=answer.status, reason=body[:500].decode(errors="replace"))
        items: list[Object] = json.loads(body)["items"]
        return items

    async def _delete(self, name: str) -> None:
        try:
            await self._api.delete_namespaced_pod(name, self._namespace, _request_timeout=_SECONDS)
        except ApiException as error:
            if error.status != 404:
                raise


def state(pod: Object) -> Beside:
    """Whether the runner can be asked."""
    status = pod.get("status") or {}
    (container, *_) = status.get("containerStatuses") or [{}]
    now = container.get("state") or {}
    if now.get("running") is not None and status.get("podIP"):
        return Beside(address=f"{status['podIP']}:{runner.PORT}")
    waiting = now.get("waiting") or {}
    if waiting.get("reason") in reasons.NO_IMAGE | reasons.NOT_CREATED:
        return Beside(
            error="The sandbox for grading cannot be started: "
            f"{waiting['reason']}. Tell the administrators."
        )
    if status.get("phase") == "Pending" and not reasons.holds(status, "PodScheduled"):
        return Beside(wait="The sandbox for grading waits for a place in the cluster.")
    return Beside(wait=_WAIT)


def _ends(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))
