"""Pods that no server of this hub has: left by a hub that ended in the middle of a start.

Nobody could stop such a pod any more, and it would hold its place for ever.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kubespawner.clients import load_config, shared_client

from courseyard.backends.kubernetes.manifests import SITE_LABEL
from courseyard.hub.planned import all_spawners
from courseyard.hub.podspawner import CoursePodSpawner
from courseyard.hub.runtime import Runtime
from courseyard.settings import KubernetesSettings

_INTERVAL = 30.0  # seconds
#: A pod this young may belong to a start that is only beginning.
_YOUNG = timedelta(seconds=60)


def orphans(
    pods: Iterable[Mapping[str, Any]], known: frozenset[str], site: str, now: datetime
) -> list[str]:
    """Names of pods of ``site`` that are not among ``known`` and no longer young."""
    found = []
    for pod in pods:
        about = pod["metadata"]
        if (about.get("labels") or {}).get(SITE_LABEL) != site or about["name"] in known:
            continue
        made = datetime.fromisoformat(about["creationTimestamp"].replace("Z", "+00:00"))
        if now - made > _YOUNG:
            found.append(about["name"])
    return found


async def remove_forever(runtime: Runtime) -> None:
    """Look now and then; what cannot be done now is done at a later look."""
    while True:
        await asyncio.sleep(_INTERVAL)
        try:
            await _remove(runtime)
        except Exception as error:
            runtime.log.warning("Pods without a server have to wait: %r", error)


async def _remove(runtime: Runtime) -> None:
    site = runtime.site.kubernetes
    pods = await _pods(site)
    known = frozenset(spawner.pod_name for spawner in all_spawners() if spawner.active)
    for name in orphans(pods, known, site.site_label, datetime.now(UTC)):
        runtime.log.warning("Removing the pod %s, which no server has", name)
        await shared_client("CoreV1Api").delete_namespaced_pod(name, site.users_namespace)


async def _pods(site: KubernetesSettings) -> list[Mapping[str, Any]]:
    """What the watch of the spawners knows, or the cluster where nothing was started yet."""
    reflector = CoursePodSpawner.reflectors.get(("pods", site.users_namespace))
    if reflector is not None and reflector.first_load_future.done():
        return list(reflector.pods.values())
    load_config()
    api = shared_client("CoreV1Api")
    found = await api.list_namespaced_pod(
        site.users_namespace,
        label_selector=f"{SITE_LABEL}={site.site_label}",
        _preload_content=False,
    )
    listed: list[Mapping[str, Any]] = json.loads(await found.read())["items"]
    return listed
