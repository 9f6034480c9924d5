"""Due dates as people write them."""

from __future__ import annotations

from datetime import datetime

import pytest

from courseyard.singleuser.courseyard_nbgrader import times


@pytest.fixture(autouse=True)
def site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "SITE", "Europe/Helsinki")


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("2026-11-30T23:59", "2026-11-30 21:59"),
        ("2026-11-30 23:59:30", "2026-11-30 21:59:30"),
        ("2026-06-30 23:59", "2026-06-30 20:59"),  # in summer
        ("2026-11-30", "2026-11-29 22:00"),
        ("2026-11-30T23:59 +0200", "2026-11-30 21:59"),
        ("2026-11-30T23:59+02:00", "2026-11-30 21:59"),
        ("2026-11-30T23:59 -5", "2026-12-01 04:59"),
        ("2026-11-30T23:59 UTC", "2026-11-30 23:59"),
        ("2026-11-30T23:59Z", "2026-11-30 23:59"),
        ("2026-11-30T23:59 UTC+3", "2026-11-30 20:59"),
        ("2026-06-30 23:59 Europe/Stockholm", "2026-06-30 21:59"),
        ("2026-06-30 23:59 America/Argentina/Buenos_Aires", "2026-07-01 02:59"),
        ("30 Nov 2026 23:59", "2026-11-30 21:59"),
    ],
)
def test_a_due_date_is_the_sites(written: str, utc: str) -> None:
    assert times.due(written) == datetime.fromisoformat(utc)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("", "cannot be read. Write it as 2026-11-30 23:59."),
        ("tomorrow", "cannot be read"),
        ("2026-13-01", "cannot be read"),
        ("2026-11-30T25:00", "cannot be read"),
        ("2026-11-30 23:59 Helsinki", "The time zone 'Helsinki' is not known. Leave it empty for"),
        ("2026-11-30 23:59 ../etc/passwd", "is not known"),
        ("2026-11-30 23:59 /etc/passwd", "is not known"),
        ("2026-11-30 23:59 +99", "is not known"),
        ("9999-12-31 23:59 -12", "is too far away"),
    ],
)
def test_another_is_refused_with_a_sentence(written: str, words: str) -> None:
    with pytest.raises(ValueError, match="The ") as error:
        times.due(written)
    assert words in str(error.value)


def test_a_time_is_shown_to_the_minute() -> None:
    assert times.shown(datetime(2026, 11, 30, 21, 59, 30, 5)) == "2026-11-30 23:59"
