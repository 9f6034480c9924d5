"""KubeSpawner's watches of pods and events, made for a thousand servers.

KubeSpawner 7.1 lists everything anew whenever ten seconds bring nothing new, in one answer, which
stops the hub's event loop for as long as a thousand pods take to be read; and who wants the events
of one pod gets those of all pods sorted first. Here a list comes in parts, less often, what nobody
looks at is not kept (Python's search for garbage walks through all that is), and events are kept
by pod.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from kubernetes_asyncio.client import ApiException
from kubespawner.reflector import ResourceReflector

_PART = 50  # objects in one answer
_QUIET = 45  # seconds without news, or with, after which all is listed anew

_ABOUT = (
    *("name", "namespace", "uid", "labels", "resourceVersion"),
    *("creationTimestamp", "deletionTimestamp"),
)
_SAID = ("involvedObject", "reason", "message", "type", "count", "lastTimestamp", "eventTime")

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
                found[f"{metadata['namespace']}/{metadata['name']}"] = self.short(item)
            following = part["metadata"].get("continue") or ""
            if not following:
                break
        self.resources = self.kept(found)
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

    def kept(self, found: dict[str, Object]) -> Kept:
        """Objects that are short already, in what KubeSpawner's watch changes."""
        return Kept(self.short, found)

    @staticmethod
    def short(item: Object) -> Object:
        """What is kept of an object."""
        raise NotImplementedError


class Kept(dict[str, Object]):
    """``namespace/name`` → object; what comes later is shortened as it comes."""

    def __init__(self, short: Callable[[Object], Object], found: Mapping[str, Object]) -> None:
        super().__init__(found)
        self._short = short

    def __setitem__(self, key: str, item: Object) -> None:
        super().__setitem__(key, self._short(item))


class Pods(Watch):
    """The servers of a site."""

    kind = "pods"

    @staticmethod
    def short(item: Object) -> Object:
        """Who it is, how it is, and its ports."""
        containers = item["spec"]["containers"]
        ports = [{"name": c["name"], "ports": c.get("ports") or []} for c in containers]
        return {
            "metadata": _picked(item["metadata"], _ABOUT),
            "spec": {"nodeName": item["spec"].get("nodeName"), "containers": ports},
            "status": item.get("status") or {},
        }

    @property
    def pods(self) -> Mapping[str, Object]:
        """``namespace/name`` → pod."""
        return self.resources


class Events(Watch):
    """What the cluster says about pods."""

    kind = "events"

    @staticmethod
    def short(item: Object) -> Object:
        """Which pod it is about, and what it says."""
        return {"metadata": _picked(item["metadata"], _ABOUT), **_picked(item, _SAID)}

    def kept(self, found: dict[str, Object]) -> ByPod:
        return ByPod(self.short, found)

    def of(self, pod_name: str) -> list[Object]:
        """The events of one pod, the latest last."""
        if not isinstance(self.resources, ByPod):
            return []  # nothing has come yet
        found = self.resources.of_pod.get(pod_name, {}).values()
        return sorted(found, key=lambda event: event["lastTimestamp"] or event["eventTime"] or "")


class ByPod(Kept):
    """Events as :class:`Kept`, and those of each pod."""

    def __init__(self, short: Callable[[Object], Object], found: Mapping[str, Object]) -> None:
        super().__init__(short, found)
        self.of_pod: dict[str, dict[str, Object]] = {}
        for key, event in found.items():
            self.of_pod.setdefault(_pod(event), {})[key] = event

    def __setitem__(self, key: str, event: Object) -> None:
        self.pop(key, None)
        super().__setitem__(key, event)
        self.of_pod.setdefault(_pod(event), {})[key] = self[key]

    def pop(self, key: str, *default: Any) -> Any:
        """Remove an event, as ``dict.pop``."""
        event = super().pop(key, *default)
        mine = self.of_pod.get(_pod(event)) if isinstance(event, dict) else None
        if mine is not None and mine.pop(key, None) is not None and not mine:
            del self.of_pod[_pod(event)]
        return event


def _picked(item: Object, names: tuple[str, ...]) -> Object:
    return {name: item[name] for name in names if name in item}


def _pod(event: Object) -> str:
    return str(event["involvedObject"]["name"])
