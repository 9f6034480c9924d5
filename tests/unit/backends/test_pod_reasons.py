"""What pods and events mean in words: the states are those that a cluster was seen to give."""

from __future__ import annotations

import json
from typing import Any

import pytest

from courseyard.backends.base import ExitReason
from courseyard.backends.kubernetes import reasons
from courseyard.errors import (
    BackendError,
    OutOfMemoryError_,
    StartError,
    StorageError,
    UnsupportedError,
)
from tests.golden.test_golden_plans import plan

PLAN = plan("omar", "algo2026")
SCHEDULED = {"type": "PodScheduled", "status": "True"}


def pod(phase: str = "Pending", *, state: Any = None, **status: Any) -> dict[str, Any]:
    conditions = status.pop("conditions", [SCHEDULED])
    found: dict[str, Any] = {"phase": phase, "conditions": conditions, **status}
    if state is not None:
        found["containerStatuses"] = [{"name": "notebook", "state": state}]
    return {"metadata": {"name": "server-omar"}, "status": found}


def event(reason: str, message: str = "", kind: str = "Normal") -> dict[str, Any]:
    return {"reason": reason, "message": message, "type": kind}


@pytest.mark.parametrize(
    ("what", "events", "message"),
    [
        (None, [], "Asking the cluster for a place"),
        (pod(conditions=[]), [], "Waiting for a place"),
        (pod(conditions=[]), [event("FailedScheduling", "0/2 nodes")], "Waiting for a place"),
        (pod(), [event("Scheduled")], "Opening your folders"),
        (pod(), [event("FailedMount")], "Waiting for your folders"),
        (pod(state={"waiting": {}}), [event("Pulling")], "Fetching the software of August 2026"),
        (
            pod(state={"waiting": {"reason": "ErrImagePull"}}),
            [event("Failed")],
            "Fetching the software of August 2026",
        ),
        (
            pod("Running", state={"running": {}}),
            [event("Started")],
            "Your server runs; Jupyter is loading",
        ),
    ],
)
def test_steps(what: Any, events: list[Any], message: str) -> None:
    assert reasons.step(what, events, PLAN).message == message


@pytest.mark.parametrize(
    "reason", ["ErrImageNeverPull", "InvalidImageName", "ImagePullBackOff", "ImageInspectError"]
)
def test_missing_image_names_the_image_and_the_course(reason: str) -> None:
    waiting = {"waiting": {"reason": reason, "message": "registry said no"}}
    with pytest.raises(UnsupportedError) as caught:
        reasons.step(pod(state=waiting), [], PLAN)
    assert "courseyard-python:2026-08-15" in caught.value.message
    assert PLAN.title in caught.value.message
    assert "registry said no" in caught.value.detail
    assert "registry said no" not in str(caught.value)


def test_missing_folder() -> None:
    waiting = {"reason": "CreateContainerConfigError", "message": "failed to prepare subPath"}
    with pytest.raises(StorageError) as caught:
        reasons.step(pod(state={"waiting": waiting}), [], PLAN)
    assert "folder" in caught.value.message


def test_out_of_memory_while_starting() -> None:
    ended = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    with pytest.raises(OutOfMemoryError_) as caught:
        reasons.step(pod("Failed", state=ended), [], PLAN)
    assert "1.5 GB" in caught.value.message


def test_ended_while_starting() -> None:
    ended = {"terminated": {"reason": "Error", "exitCode": 1, "message": "secret"}}
    with pytest.raises(StartError) as caught:
        reasons.step(pod("Failed", state=ended), [], PLAN)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("what", "events", "words"),
    [
        (
            pod(conditions=[]),
            [event("FailedScheduling", "Insufficient memory", "Warning")],
            "no computer had that free",
        ),
        (pod(), [event("FailedMount", "timed out", "Warning")], "folders"),
        (pod(), [event("Pulling")], "software of August 2026"),
        (pod(), [event("Scheduled")], "was not ready"),
        (
            pod(conditions=[]),
            [event("FailedScheduling", "pod has unbound PersistentVolumeClaims", "Warning")],
            "folders of your server",
        ),
        (None, [], "was not ready"),
    ],
)
def test_too_late(what: Any, events: list[Any], words: str) -> None:
    error = reasons.too_late(what, events, PLAN, "The server was not ready within 5 min.")
    assert words in error.message
    assert error.next_step


def test_no_place_for_a_gpu_says_what_was_wanted() -> None:
    error = reasons.no_place(plan("maija", "scip-gpu"), "")
    assert "nvidia.com/gpu" in error.message


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ("2 Insufficient memory.", "of memory, and"),
        ("10 Insufficient ephemeral-storage, 2 node(s) had taints", "needs room on a disk, and"),
        ("1 Insufficient cpu, 1 Insufficient memory.", "cores and"),
        ("2 Insufficient nvidia.com/gpu.", "needs nvidia.com/gpu, and"),
        ("2 node(s) had untolerated taint(s)", "of memory, and"),
    ],
)
def test_no_place_names_what_was_short(lacking: str, words: str) -> None:
    error = reasons.no_place(PLAN, f"0/12 nodes are available: {lacking}")
    assert words in error.message


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (403, {"message": 'pods "x" is forbidden: exceeded quota: pods'}, StartError, "taken"),
        (403, {"message": "violates PodSecurity"}, UnsupportedError, "refuses"),
        (422, {"message": "Invalid value"}, UnsupportedError, "refuses"),
        (0, {}, BackendError, "does not answer"),
        (503, {"message": "etcd"}, BackendError, "does not answer"),
        (404, {"message": "namespaces not found"}, StartError, "could not be started"),
    ],
)
def test_refusals_of_the_api(status: int, body: Any, kind: Any, words: str) -> None:
    error = reasons.refused(status, json.dumps(body), "the server of “X”")
    assert isinstance(error, kind)
    assert words in error.message
    assert error.next_step
    if body:
        assert body["message"] in error.detail
        assert body["message"] not in str(error)


def test_refusal_that_is_no_json() -> None:
    assert reasons.refused(500, "<html>", "it").detail == "<html>"


@pytest.mark.parametrize(
    ("what", "reason", "words"),
    [
        (None, ExitReason.GONE, "gone"),
        (
            pod("Failed", state={"terminated": {"reason": "OOMKilled", "exitCode": 137}}),
            ExitReason.OUT_OF_MEMORY,
            "memory",
        ),
        (
            pod("Failed", reason="Evicted", message="The node was low on resource: memory."),
            ExitReason.GONE,
            "moved away",
        ),
        (
            pod("Failed", reason="Evicted", message="exceeds the limit ephemeral-storage"),
            ExitReason.GONE,
            "temporary disk space",
        ),
        (
            pod("Running", conditions=[SCHEDULED, {"type": "DisruptionTarget", "status": "True"}]),
            ExitReason.GONE,
            "moved away",
        ),
        (
            pod(
                "Running",
                conditions=[
                    SCHEDULED,
                    {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "DeletionByTaintManager",
                    },
                ],
            ),
            ExitReason.GONE,
            "lost",
        ),
        (
            pod("Succeeded", state={"terminated": {"reason": "Completed", "exitCode": 0}}),
            ExitReason.EXITED,
            "by itself",
        ),
        (
            {
                "metadata": {"deletionTimestamp": "2026-11-25T10:00:00Z"},
                "status": {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "False"}],
                },
            },
            ExitReason.GONE,
            "stopped by the cluster",
        ),
        (pod("Running", reason="NodeLost"), ExitReason.GONE, "lost"),
    ],
)
def test_endings(what: Any, reason: ExitReason, words: str) -> None:
    found = reasons.exit_of(what, 1024**3)
    assert found is not None
    assert found.reason is reason
    assert words in found.message


@pytest.mark.parametrize("what", [pod(), pod("Running", state={"running": {}})])
def test_running_is_no_ending(what: Any) -> None:
    assert reasons.exit_of(what, 0) is None


def test_an_eviction_that_only_an_event_tells() -> None:
    """The server got the signal, ended in peace, and its pod says nothing of it."""
    ended = pod("Succeeded", state={"terminated": {"reason": "Completed", "exitCode": 0}})
    running = pod("Running", state={"running": {}})
    for each in (ended, running):
        each.setdefault("metadata", {})["uid"] = "now"
    about = {"reason": "Evicted", "message": "Pod ephemeral local storage usage exceeds the total"}
    mine = {**about, "involvedObject": {"uid": "now"}}
    before = {**about, "involvedObject": {"uid": "before"}}
    found = reasons.exit_of(ended, 0, [before, mine])
    assert found is not None
    assert "temporary disk space" in found.message
    found = reasons.exit_of(ended, 0, [before])
    assert found is not None
    assert "by itself" in found.message
    assert reasons.exit_of(running, 0, [mine]) is None
