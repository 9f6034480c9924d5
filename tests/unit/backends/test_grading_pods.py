"""What an instructor is told of the pod beside her server."""

from __future__ import annotations

from typing import Any

import pytest

from courseyard.backends.kubernetes.gradingpods import state


def pod(phase: str = "Pending", *, placed: bool = True, **container: Any) -> dict[str, Any]:
    conditions = [{"type": "PodScheduled", "status": str(placed)}]
    status: dict[str, Any] = {"phase": phase, "conditions": conditions, "podIP": "10.1.2.3"}
    if container:
        status["containerStatuses"] = [{"name": "grading", "state": container}]
    return {"status": status}


def test_an_address_once_it_runs() -> None:
    assert state(pod("Running", running={})).address == "10.1.2.3:8082"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"status": {}}, "is being started"),
        (pod(placed=False), "waits for a place"),
        (pod(), "is being started"),
        (pod(waiting={"reason": "ContainerCreating"}), "is being started"),
        (pod("Running", waiting={"reason": "CrashLoopBackOff"}), "is being started"),
        (pod("Running", terminated={"exitCode": 1}), "is being started"),
    ],
)
def test_it_waits(what: dict[str, Any], words: str) -> None:
    found = state(what)
    assert words in found.wait
    assert not found.address
    assert not found.error


def test_what_does_not_pass_by_itself_is_no_waiting() -> None:
    found = state(pod(waiting={"reason": "ImagePullBackOff", "message": "not found"}))
    assert "cannot be started: ImagePullBackOff" in found.error
    assert not found.wait
