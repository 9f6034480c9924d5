"""Dates and flags → state: the table of DOMAIN.md, case by case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from courseyard.registry.course import Course
from courseyard.registry.lifecycle import State, changes, state

TZ = ZoneInfo("Europe/Helsinki")
NOW = datetime(2026, 6, 15, 12, tzinfo=TZ)
PAST, LATER_PAST, LAST = (NOW - timedelta(days=d) for d in (30, 20, 10))
SOON = NOW + timedelta(days=10)
FAR = NOW + timedelta(days=100)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # Flags alone behave as in the seed system.
        ({}, State.PUBLIC),
        ({"private": True}, State.HIDDEN),
        ({"archive": True}, State.ARCHIVED),
        ({"private": True, "archive": True}, State.ARCHIVED),
        # A date to come hides until then, with or without `private`.
        ({"public_date": SOON}, State.DRAFT),
        ({"public_date": SOON, "private": True}, State.DRAFT),
        # A date that has passed beats the flag.
        ({"public_date": PAST, "private": True}, State.PUBLIC),
        ({"private_date": PAST}, State.HIDDEN),
        ({"archive_date": PAST}, State.ARCHIVED),
        ({"delete_date": PAST}, State.DELETABLE),
        # The latest of those that have passed decides.
        ({"public_date": PAST, "private_date": LAST}, State.HIDDEN),
        ({"public_date": LAST, "private_date": PAST}, State.PUBLIC),
        ({"public_date": PAST, "private_date": LATER_PAST, "archive_date": LAST}, State.ARCHIVED),
        ({"public_date": LAST, "archive_date": PAST}, State.PUBLIC),
        ({"public_date": PAST, "private_date": SOON, "archive_date": FAR}, State.PUBLIC),
        # Before any has passed the flags do.
        ({"private_date": SOON}, State.PUBLIC),
        ({"private_date": SOON, "private": True}, State.HIDDEN),
        ({"archive_date": SOON}, State.PUBLIC),
        # `archive: true` archives whatever the dates say.
        ({"archive": True, "public_date": LAST}, State.ARCHIVED),
        ({"archive": True, "public_date": SOON}, State.ARCHIVED),
        ({"archive": True, "delete_date": PAST}, State.DELETABLE),
        # On the same moment the more careful one wins.
        ({"public_date": PAST, "private_date": PAST}, State.HIDDEN),
        # Dates for information do nothing.
        ({"start_date": SOON, "end_date": PAST}, State.PUBLIC),
    ],
)
def test_state(fields: dict[str, Any], expected: State) -> None:
    assert state(Course(slug="c", name="C", **fields), NOW, TZ) is expected


def test_a_date_acts_from_midnight_of_the_site() -> None:
    midnight = datetime(2026, 9, 1, tzinfo=TZ)
    course = Course(slug="c", name="C", public_date=midnight)
    before = datetime(2026, 8, 31, 20, 59, 59, tzinfo=UTC)  # 23:59:59 in Helsinki
    assert state(course, before, TZ) is State.DRAFT
    assert state(course, before + timedelta(seconds=1), TZ) is State.PUBLIC


def test_the_hour_that_comes_twice_is_told_apart() -> None:
    second = datetime(2026, 10, 25, 3, 30, tzinfo=TZ, fold=1)
    course = Course(slug="c", name="C", public_date=second)
    first = datetime(2026, 10, 25, 3, 45, tzinfo=TZ, fold=0)  # earlier, with a later clock
    assert state(course, first, TZ) is State.DRAFT
    assert state(course, datetime(2026, 10, 25, 3, 45, tzinfo=TZ, fold=1), TZ) is State.PUBLIC


def test_changes_are_the_four_dates() -> None:
    course = Course(slug="c", name="C", public_date=PAST, delete_date=FAR, start_date=SOON)
    assert changes(course, TZ) == (PAST.timestamp(), FAR.timestamp())
