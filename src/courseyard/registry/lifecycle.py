"""Flags and dates of a course → where it is in its life (DOMAIN: dates against flags)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from operator import attrgetter

from courseyard.registry.course import Course


class State(StrEnum):
    DRAFT = "draft"  # not yet visible
    PUBLIC = "public"  # everyone sees it
    HIDDEN = "hidden"  # its own people see it
    ARCHIVED = "archived"  # offered to nobody; files read-only for its instructors
    DELETABLE = "deletable"  # archived, and its people are asked whether it can go


#: The dates that act, in the order in which they win when two fall on one moment.
_DATES = (
    ("public_date", State.PUBLIC),
    ("private_date", State.HIDDEN),
    ("archive_date", State.ARCHIVED),
    ("delete_date", State.DELETABLE),
)
_dates: Callable[[Course], tuple[datetime | None, ...]] = attrgetter(*(name for name, _ in _DATES))


def state(course: Course, now: datetime, tz: tzinfo) -> State:
    """Where ``course`` is in its life at ``now``.

    ``archive: true`` archives whatever the dates say; else the latest date that has passed
    decides; else a ``public_date`` to come means draft; else ``private`` means hidden.

    Args:
        course: the course.
        now: the moment; without a zone it is in ``tz``.
        tz: the site's zone, for dates that carry none.
    """
    dates = _dates(course)
    latest = _latest(dates, now, tz) if any(dates) else None
    if course.archive:
        return State.DELETABLE if latest is State.DELETABLE else State.ARCHIVED
    if latest is not None:
        return latest
    if course.public_date is not None:
        return State.DRAFT
    return State.HIDDEN if course.private else State.PUBLIC


def _latest(dates: tuple[datetime | None, ...], now: datetime, tz: tzinfo) -> State | None:
    """What the latest of the dates that have passed makes of a course."""
    moment = _aware(now, tz)
    latest: tuple[datetime, State] | None = None
    for value, (_, result) in zip(dates, _DATES, strict=True):
        if value is None:
            continue
        at = _aware(value, tz)
        if at <= moment and (latest is None or at >= latest[0]):
            latest = (at, result)
    return None if latest is None else latest[1]


def changes(course: Course, tz: tzinfo) -> tuple[float, ...]:
    """The moments (seconds since 1970) at which the state may change."""
    return tuple(_aware(value, tz).timestamp() for value in _dates(course) if value is not None)


def _aware(value: datetime, tz: tzinfo) -> datetime:
    # In UTC: two times of one zone compare by their clock, wrongly in the hour that comes twice.
    return (value if value.tzinfo is not None else value.replace(tzinfo=tz)).astimezone(UTC)
