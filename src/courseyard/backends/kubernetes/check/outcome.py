"""How the pod of a probe went, from the pod and its log as data. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from courseyard.backends.kubernetes import reasons

Object = dict[str, Any]


class State(StrEnum):
    RAN = "ran"  # it tried everything and said what it found
    REFUSED = "refused"  # the API server did not take it
    NO_IMAGE = "no image"
    NO_PLACE = "no place"
    ENDED = "ended"  # it started and said nothing
    LATE = "late"  # something else took too long


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one pod."""

    state: State
    detail: str = ""
    said: Object = field(default_factory=dict)
    node: str = ""
    address: str = ""
    #: Seconds by which the node's clock is ahead of this machine's: at least, and at most.
    clock: tuple[float, float] | None = None


def of_pod(pod: Object | None, log: str) -> Outcome | None:
    """The outcome that is certain; None while the pod may still get on.

    Args:
        pod: None when somebody deleted it.
        log: what it has written.
    """
    if pod is None:
        return Outcome(State.ENDED, "somebody deleted it")
    status = pod.get("status") or {}
    if (said := said_in(log)) is not None:
        node, address = str(pod["spec"].get("nodeName") or ""), str(status.get("podIP") or "")
        return Outcome(State.RAN, "", said, node, address)
    waiting = reasons.waiting_of(status)
    reason, told = str(waiting.get("reason", "")), str(waiting.get("message") or "")
    if reason in reasons.NO_IMAGE:
        return Outcome(State.NO_IMAGE, told or reason)
    if reason in reasons.NOT_CREATED or reasons.terminated_of(status):
        return Outcome(State.ENDED, told or last_line(log) or reason or "it wrote nothing")
    if status.get("phase") == "Failed":
        return Outcome(State.ENDED, str(status.get("message") or status.get("reason") or ""))
    return None


def too_late(pod: Object | None) -> Outcome:
    """The outcome of a pod whose time is over."""
    status = (pod or {}).get("status") or {}
    if not reasons.holds(status, "PodScheduled"):
        every = status.get("conditions") or []
        why = [str(item.get("message") or "") for item in every if item.get("status") == "False"]
        return Outcome(State.NO_PLACE, next(filter(None, why), ""))
    waiting = reasons.waiting_of(status)
    told = f"{waiting.get('reason', '')} {waiting.get('message') or ''}".strip()
    return Outcome(State.LATE, told or "it runs, and said nothing in time")


def said_in(log: str) -> Object | None:
    """What the pod found out; None before it has said so."""
    for line in log.splitlines():
        found = _json(line).get("said")
        if isinstance(found, dict):
            return found
    return None


def clock_in(log: str) -> float | None:
    """The node's time in the last line that has one, in seconds since 1970."""
    for line in reversed(log.splitlines()):
        found = _json(line).get("clock")
        if isinstance(found, float):
            return found
    return None


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def _json(line: str) -> Object:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
