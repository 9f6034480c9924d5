"""What a pod and its events mean, in the person's words. Pure: reads plain dictionaries.

The dictionaries are those of Kubernetes' API (kubernetes.io/docs/reference/kubernetes-api): a pod's
``status`` and the events about it. A state that may still pass by itself (no place yet, a volume that
is slow) is only told; one that cannot is an error at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from courseyard.backends.base import Exit, ExitReason, Progress
from courseyard.errors import (
    BackendError,
    CourseyardError,
    OutOfMemoryError_,
    StartError,
    StorageError,
    UnsupportedError,
)
from courseyard.plan.model import ServerPlan
from courseyard.units import format_bytes

Object = dict[str, Any]
CONTAINER = "notebook"
#: Per cent of a start from which on the container runs.
RUNS = 60
_FILES_SAFE = "Your files are safe."
_STAFF = "Ask the people of the course, or the help desk."
_LATER = "Try again in some minutes; if it lasts, ask the help desk."

_KILLED = 128 + 9  # exit code of a container whose first process got SIGKILL
KILLED = (
    "Your server was killed, most often because memory ran out: its own, or its computer's. Close notebooks that "
    "you do not need, or load less data at once. Files in /tmp and in the home directory count as memory."
)

#: Waiting reasons of a container that do not pass by themselves (kubelet, images and containers).
NO_IMAGE = frozenset(
    ("ErrImageNeverPull", "InvalidImageName", "ImagePullBackOff", "ImageInspectError")
)
NOT_CREATED = frozenset(("CreateContainerConfigError", "CreateContainerError", "RunContainerError"))
#: Reason of the condition DisruptionTarget when a node is silent (pod-lifecycle, disruptions).
_OVER = ("Failed", "Succeeded")
_LOST_NODE = "DeletionByTaintManager"
_INSUFFICIENT = re.compile(r"Insufficient ([\w./-]*\w)")
_VOLUME_EVENTS = frozenset(("FailedMount", "FailedAttachVolume", "FailedBinding"))


def step(pod: Object | None, events: Iterable[Object], plan: ServerPlan) -> Progress:
    """Where a start stands.

    Args:
        pod: the pod as the cluster knows it; None before it does.
        events: those about this pod, oldest first.
        plan: what was asked for.

    Raises:
        StartError, UnsupportedError, OutOfMemoryError_: it cannot succeed any more.
    """
    if pod is None:
        return Progress(10, "Asking the cluster for a place")
    status = pod.get("status") or {}
    if status.get("phase") == "Failed" or terminated_of(status):
        raise _failure(exit_of(pod, plan.limits.mem_limit), status)
    waiting = waiting_of(status)
    reason = str(waiting.get("reason", ""))
    if reason in NO_IMAGE:
        raise image_missing(plan, _text(waiting))
    if reason in NOT_CREATED:
        raise _not_created(_text(waiting))
    last = _last_reason(events)
    if not holds(status, "PodScheduled"):
        return Progress(20, "Waiting for a place")
    if last in _VOLUME_EVENTS:
        return Progress(35, "Waiting for your folders")
    if last in ("Pulling", "Failed", "BackOff") and not _running(status):
        return Progress(45, f"Fetching the software{_released(plan)}")
    if not _running(status):
        return Progress(40, "Opening your folders")
    return Progress(RUNS, "Your server runs; Jupyter is loading")


def too_late(
    pod: Object | None, events: Iterable[Object], plan: ServerPlan, sentence: str
) -> CourseyardError:
    """Why a start was not ready in its time; ``sentence`` when nothing says why."""
    events = list(events)
    status = (pod or {}).get("status") or {}
    messages = [str(event.get("message", "")) for event in events if _is_warning(event)]
    detail = messages[-1] if messages else "no event says why"
    last = _last_reason(events)
    unscheduled = pod is not None and not holds(status, "PodScheduled")
    if unscheduled and "persistentvolumeclaim" not in detail.lower():
        return no_place(plan, detail)
    if unscheduled or last in _VOLUME_EVENTS:
        return StorageError(
            "The folders of your server could not be opened in time. " + _FILES_SAFE,
            _LATER,
            detail=detail,
        )
    if last in ("Pulling", "Failed", "BackOff"):
        return StartError(
            f"The software{_released(plan)} could not be fetched in time.",
            "The next start finds more of it there: try again in some minutes.",
            detail=detail,
        )
    return StartError(
        sentence, "Many people may be starting now: try again in a minute.", detail=detail
    )


def refused(status: int, body: str, what: str) -> CourseyardError:
    """Why the cluster did not take the pod.

    Args:
        status: HTTP status of its answer; 0 when there was none.
        body: what it said.
        what: the pod, in the person's words.
    """
    message = sentence_of(body)
    if status == 403 and "exceeded quota" in message:
        return StartError(
            "All places of this service are taken.",
            "Try again when others have stopped; stop servers that you do not need.",
            detail=message,
        )
    if status in (0, 429, 500, 502, 503, 504):
        return BackendError(
            "The cluster does not answer at the moment. " + _FILES_SAFE, _LATER, detail=message
        )
    if status in (400, 403, 422):
        return UnsupportedError(
            f"The cluster refuses {what}.",
            "Tell the administrators; nothing you do here changes it.",
            detail=message,
        )
    return StartError(
        f"{what[:1].upper()}{what[1:]} could not be started.",
        _LATER,
        detail=f"HTTP {status}: {message}",
    )


def exit_of(pod: Object | None, mem_limit: int, events: Iterable[Object] = ()) -> Exit | None:
    """How a server ended; None while it runs (or starts).

    Args:
        pod: None when the cluster has none of this name (any more).
        mem_limit: bytes, for the sentence about it.
        events: those about this pod; a server that ends in peace when it is evicted looks as if
            it had ended by itself, and only they tell.
    """
    if pod is None:
        return Exit(ExitReason.GONE, 1, "Your server is gone: the cluster no longer has it.")
    metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
    ended = terminated_of(status)
    code = int(ended.get("exitCode") or 0) if ended else 1
    disrupted = _disrupted(status)
    if disrupted == _LOST_NODE or status.get("reason") == "NodeLost":
        return Exit(ExitReason.GONE, code, "The computer that ran your server was lost.")
    if status.get("reason") == "Evicted" or disrupted:
        return Exit(ExitReason.GONE, code, _evicted(status))
    over = ended or metadata.get("deletionTimestamp") or status.get("phase") in _OVER
    evicted = [event for event in events if _evicts(event, metadata)] if over else []
    if evicted:
        return Exit(ExitReason.GONE, code, _evicted(evicted[-1]))
    if ended and ended.get("reason") == "OOMKilled":
        limit = f"its {format_bytes(mem_limit)}" if mem_limit else "its limit"
        message = (
            f"Your server needed more than {limit} of memory and was stopped. Close notebooks that you do not "
            "need, or load less data at once. Files in /tmp and in the home directory count as memory."
        )
        return Exit(ExitReason.OUT_OF_MEMORY, code, message)
    if code == _KILLED and ended and not metadata.get("deletionTimestamp"):
        # Memory that ran out, where the runtime did not see it, or the node's.
        return Exit(ExitReason.EXITED, code, KILLED)
    if metadata.get("deletionTimestamp"):
        return Exit(ExitReason.GONE, code, "Your server was stopped by the cluster.")
    if over:
        return Exit(ExitReason.EXITED, code, "Your server ended by itself.")
    return None


def image_missing(plan: ServerPlan, detail: str) -> UnsupportedError:
    return UnsupportedError(
        f"The software of “{plan.title}” is not there: the image {plan.image.reference} "
        "cannot be fetched.",
        _STAFF + " " + _FILES_SAFE,
        detail=detail,
    )


def no_place(plan: ServerPlan, detail: str) -> StartError:
    """What no computer had, as far as the scheduler says it ("2 Insufficient memory")."""
    lacking = set(_INSUFFICIENT.findall(detail))
    special = sorted(plan.limits.extra_limits)
    wishes = [f"{format_bytes(plan.limits.mem_guarantee)} of memory"]
    if lacking:
        cores = f"{plan.limits.cpu_guarantee:g} cores"
        known = {"memory": wishes[0], "cpu": cores, "ephemeral-storage": "room on a disk"}
        wishes = [known.get(name, name) for name in sorted(lacking)]
    wish = " and ".join(dict.fromkeys([*wishes, *special]))
    return StartError(
        f"There was no place for your server: it needs {wish}, and no computer had that free.",
        "Stop servers that you do not need, or try again later.",
        detail=detail,
    )


def _failure(exit_: Exit | None, status: Object) -> CourseyardError:
    detail = str(status.get("message") or terminated_of(status))
    if exit_ is not None and exit_.reason is ExitReason.OUT_OF_MEMORY:
        return OutOfMemoryError_(exit_.message, "Try again; if it happens at once, ask the help desk.", detail=detail)  # fmt: skip
    if exit_ is not None and exit_.reason is ExitReason.GONE:
        return StartError(exit_.message, "Try again.", detail=detail)
    return StartError("The server ended while it was starting.", _LATER, detail=detail)


def _not_created(detail: str) -> CourseyardError:
    if "subPath" in detail or "subpath" in detail:
        return StorageError(
            "A folder of your server is not there. " + _FILES_SAFE,
            "Tell the administrators.",
            detail=detail,
        )
    return StartError("The server could not be started.", "Tell the administrators.", detail=detail)


def _evicts(event: Object, about: Object) -> bool:
    """Whether the event says that just this pod, not an earlier one of its name, is evicted."""
    whose = (event.get("involvedObject") or {}).get("uid")
    return event.get("reason") == "Evicted" and whose == about.get("uid")


def _evicted(said: Object) -> str:
    """Why, by the message of a status or an event."""
    message = str(said.get("message") or "")
    if "ephemeral" in message or "DiskPressure" in message or "exceeds the limit" in message:
        return "Your server was stopped because it used too much temporary disk space."
    return (
        "Your server was moved away because its computer ran short or was needed; start it again."
    )


def _released(plan: ServerPlan) -> str:
    if not plan.image.released:
        return ""
    year, month, _ = plan.image.released.split("-")
    return f" of {_MONTHS[int(month) - 1]} {year}"


_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


def _container(status: Object) -> Object:
    found = status.get("containerStatuses") or []
    return next((c for c in found if c.get("name") == CONTAINER), found[0] if found else {})


def waiting_of(status: Object) -> Object:
    """What the server's container waits for."""
    return (_container(status).get("state") or {}).get("waiting") or {}


def _running(status: Object) -> bool:
    return (_container(status).get("state") or {}).get("running") is not None


def terminated_of(status: Object) -> Object:
    return (_container(status).get("state") or {}).get("terminated") or {}


def holds(status: Object, condition: str) -> bool:
    """Whether a condition of the pod holds."""
    return any(
        c.get("type") == condition and c.get("status") == "True"
        for c in status.get("conditions") or []
    )


def _disrupted(status: Object) -> str:
    """Why the cluster takes the pod away; "" when it does not."""
    for condition in status.get("conditions") or []:
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return str(condition.get("reason") or "unknown")
    return ""


def _last_reason(events: Iterable[Object]) -> str:
    reason = ""
    for event in events:
        reason = str(event.get("reason", ""))
    return reason


def _is_warning(event: Object) -> bool:
    return event.get("type") == "Warning"


def _text(waiting: Object) -> str:
    return f"{waiting.get('reason', '')}: {waiting.get('message', '')}"


def sentence_of(body: str) -> str:
    """The sentence in an answer of the API server, which is a Status object in JSON."""
    try:
        return str(json.loads(body).get("message", body))
    except (ValueError, AttributeError):
        return body
