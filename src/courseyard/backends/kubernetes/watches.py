"""KubeSpawner's watches of pods and events, made for a thousand servers.

KubeSpawner 7.1 lists everything anew whenever ten seconds bring nothing new, in one answer, which
stops the hub's event loop for as long as a thousand pods take to be read; and who wants the events
of one pod gets those of all pods sorted first. Here a list comes in parts, less often, and events
are kept by pod.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kubernetes_asyncio.client import ApiException
from kubespawner.reflector import ResourceReflector

#: Pods in one answer; reading it takes some five milliseconds.
_PART = 50
_QUIET = 45  # seconds without news, or with, after which all is listed anew

Object = dict[str, Any]


class Watch(ResourceReflector):  # type: ignore[misc]  # it has no types
    """Lists in parts."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Below request_timeout, after which the connection counts as broken.
        self.timeout_seconds = self.restart_seconds = _QUIET

    async def _list_and_update(self, resource_version: str | None = None) -> str:
        """Take everything anew; the version of the list, where a watch goes on.

        The parts are of one moment, whatever changes meanwhile
        (kubernetes.io/docs/reference/using-api/api-concepts, "Retrieving large results sets in
        chunks"). The API server pays no heed to ``limit`` where any version will do, so this asks
        for the newest.

        Raises:
            ApiException: no list, or a part came too late.
        """
        found: dict[str, Object] = {}
        following = ""
        while True:
            part = await self._part(following)
            for item in part["items"]:
                metadata = item["metadata"]
                metadata.pop("managedFields", None)  # half of it, and nobody looks there
                found[f"{metadata['namespace']}/{metadata['name']}"] = item
            following = part["metadata"].get("continue") or ""
            if not following:
                break
        self.resources = self._kept(found)
        if not self.first_load_future.done():
            self.first_load_future.set_result(None)
        return str(part["metadata"]["resourceVersion"])

    async def _part(self, following: str) -> Object:
        wanted = {
            "label_selector": self.label_selector,
            "field_selector": self.field_selector,
            "limit": _PART,
            "_request_timeout": self.request_timeout,
            "_preload_content": False,
        }
        if following:
            wanted["_continue"] = following
        if not self.omit_namespace:
            wanted["namespace"] = self.namespace
        answer = await getattr(self.api, self.list_method_name)(**wanted)
        body = await answer.read()
        if answer.status != 200:
            raise ApiException(status=answer.status, reason=body[:500].decode(errors="replace"))
        part: Object = json.loads(body)
        return part

    def _kept(self, found: dict[str, Object]) -> dict[str, Object]:
        return found


class Pods(Watch):
    """The servers of a site."""

    kind = "pods"

    @property
    def pods(self) -> Mapping[str, Object]:
        """``namespace/name`` → pod."""
        return self.resources


class Events(Watch):
    """What the cluster says about pods."""

    kind = "events"

    def _kept(self, found: dict[str, Object]) -> dict[str, Object]:
        return ByPod(found)

    def of(self, pod_name: str) -> list[Object]:
        """The events of one pod, the latest last."""
        if not isinstance(self.resources, ByPod):
            return []  # nothing has come yet
        found = self.resources.of_pod.get(pod_name, {}).values()
        return sorted(found, key=lambda event: event["lastTimestamp"] or event["eventTime"] or "")


class ByPod(dict[str, Object]):
    """``namespace/name`` → event, and the events of each pod; KubeSpawner's watch changes it."""

    def __init__(self, found: Mapping[str, Object]) -> None:
        super().__init__()
        self.of_pod: dict[str, dict[str, Object]] = {}
        for key, event in found.items():
            self[key] = event

    def __setitem__(self, key: str, event: Object) -> None:
        self.pop(key, None)
        super().__setitem__(key, event)
        self.of_pod.setdefault(_pod(event), {})[key] = event

    def pop(self, key: str, *default: Any) -> Any:
        """Remove an event, as ``dict.pop``."""
        event = super().pop(key, *default)
        mine = self.of_pod.get(_pod(event)) if isinstance(event, dict) else None
        if mine is not None and mine.pop(key, None) is not None and not mine:
            del self.of_pod[_pod(event)]
        return event


def _pod(event: Object) -> str:
    return str(event["involvedObject"]["name"])
