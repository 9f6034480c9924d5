"""Lists in parts, and events by pod."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes_asyncio.client import ApiException

from courseyard.backends.kubernetes import watches


def event(number: int, pod: str, at: str | None = "2026-11-26T10:00:00Z") -> dict[str, Any]:
    return {
        "metadata": {"namespace": "u", "name": f"e{number}", "uid": f"{number}", "managedFields": [1]},
        "involvedObject": {"name": pod},
        "lastTimestamp": at,
        "source": {"component": "kubelet"},
        "eventTime": None if at else "2026-11-26T09:00:00.000000Z",
    }  # fmt: skip


class Api:
    """An API server that holds some events and gives parts of them."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.items = items
        self.asked: list[dict[str, Any]] = []
        self.status = 200

    async def list_namespaced_event(self, **wanted: Any) -> Any:
        self.asked.append(wanted)
        begin = int(wanted.get("_continue") or 0)
        end = begin + wanted["limit"]
        metadata = {"resourceVersion": "77", "continue": str(end) if end < len(self.items) else ""}
        body = json.dumps({"metadata": metadata, "items": self.items[begin:end]}).encode()

        async def read() -> bytes:
            return body

        return SimpleNamespace(status=self.status, read=read)


def reflector(api: Api, monkeypatch: pytest.MonkeyPatch) -> watches.Events:
    monkeypatch.setattr("kubespawner.reflector.shared_client", lambda name: api)

    async def made() -> watches.Events:
        return watches.Events(namespace="u", fields={"involvedObject.kind": "Pod"})

    return asyncio.run(made())


def test_a_list_comes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api([event(n, f"pod{n % 3}") for n in range(120)])
    found = reflector(api, monkeypatch)
    assert found.of("pod1") == []
    assert asyncio.run(found._list_and_update("0")) == "77"
    assert [wanted.get("_continue") for wanted in api.asked] == [None, "50", "100"]
    assert {wanted["field_selector"] for wanted in api.asked} == {"involvedObject.kind=Pod"}
    assert all("resource_version" not in wanted for wanted in api.asked)
    assert len(found.resources) == 120
    assert len(found.of("pod1")) == 40
    assert set(found.of("pod1")[0]) == {"metadata", "involvedObject", "lastTimestamp", "eventTime"}
    assert set(found.of("pod1")[0]["metadata"]) == {"namespace", "name", "uid"}


def test_a_list_that_is_refused_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api([event(1, "a")])
    found = reflector(api, monkeypatch)
    asyncio.run(found._list_and_update())
    api.status = 410
    with pytest.raises(ApiException):
        asyncio.run(found._list_and_update())
    assert len(found.of("a")) == 1


def test_events_of_one_pod_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    late, early = event(1, "a", "2026-11-26T11:00:00Z"), event(2, "a", None)
    found = reflector(Api([late, early, event(3, "b")]), monkeypatch)
    asyncio.run(found._list_and_update())
    assert [each["metadata"]["name"] for each in found.of("a")] == ["e2", "e1"]
    # As KubeSpawner's watch changes them:
    found.resources["u/e4"] = event(4, "a", "2026-11-26T12:00:00Z")
    found.resources["u/e3"] = event(3, "c")
    found.resources.pop("u/e1", None)
    found.resources.pop("u/e1", None)
    assert [each["metadata"]["name"] for each in found.of("a")] == ["e2", "e4"]
    assert found.of("b") == []
    assert len(found.of("c")) == 1
    assert set(found.resources.of_pod) == {"a", "c"}
    assert "source" not in found.of("c")[0]


def test_of_a_pod_is_kept_what_is_looked_at() -> None:
    pod = {
        "metadata": {"name": "p", "namespace": "u", "uid": "1", "annotations": {"plan": "{}"}},
        "spec": {"nodeName": "n", "volumes": [{}], "containers": [{"name": "notebook", "env": [{}]}]},
        "status": {"phase": "Running"},
    }  # fmt: skip
    kept = watches.Kept(watches.Pods.short, {})
    kept["u/p"] = pod
    assert kept["u/p"] == {
        "metadata": {"name": "p", "namespace": "u", "uid": "1"},
        "spec": {"nodeName": "n", "containers": [{"name": "notebook", "ports": []}]},
        "status": {"phase": "Running"},
    }
