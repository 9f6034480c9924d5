"""Times as people write and read them: in the site's time zone, to the minute.

nbgrader 0.9 takes a due date without an offset for UTC, and a zone's name for an error.
"""

# mypy: disable-error-code="import-untyped"
from __future__ import annotations

import os
import re
from datetime import datetime, timedelta, timezone, tzinfo

from dateutil import parser, tz

#: The site's, as the plan has it for every program of a server.
SITE = os.environ.get("TZ") or "UTC"
FORMAT = "%Y-%m-%d %H:%M"
_DATE = r"(?P<date>\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?)"
_WRITTEN = re.compile(rf"{_DATE}\s*(?P<zone>.*)")
_OFFSET = re.compile(r"(?:UTC|GMT)?(?P<sign>[+-])(?P<hours>\d{1,2}):?(?P<minutes>\d\d)?")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")


def due(written: str) -> datetime:
    """A due date as somebody wrote it, in UTC and without a zone, as nbgrader keeps it.

    Args:
        written: such as ``2026-11-30 23:59``, and after it perhaps ``+0200`` or ``Europe/Helsinki``.

    Raises:
        ValueError: it cannot be read; the text is a sentence for people.
    """
    found = _WRITTEN.fullmatch(written.strip())
    date, zone = (found["date"], found["zone"].strip()) if found else (written, "")
    try:
        local = datetime.fromisoformat(date) if found else parser.parse(date)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"The due date '{written}' cannot be read. Write it as 2026-11-30 23:59."
        ) from error
    if local.tzinfo is None:
        local = local.replace(tzinfo=_zone(zone))
    try:
        return local.astimezone(timezone.utc).replace(tzinfo=None)  # noqa: UP017  (Python 3.9)
    except OverflowError as error:
        raise ValueError(f"The due date '{written}' is too far away.") from error


def _zone(written: str) -> tzinfo | None:
    if not written:
        written = SITE
    if written == "Z":
        return timezone.utc  # noqa: UP017  (Python 3.9)
    offset = _OFFSET.fullmatch(written)
    if offset and int(offset["hours"]) < 24 and int(offset["minutes"] or 0) < 60:
        size = timedelta(hours=int(offset["hours"]), minutes=int(offset["minutes"] or 0))
        return timezone(-size if offset["sign"] == "-" else size)
    found: tzinfo | None = tz.gettz(written) if _NAME.fullmatch(written) else None
    if found is None:
        raise ValueError(
            f"The time zone '{written}' is not known. Leave it empty for {SITE}, or write an offset "
            "such as +0200, or a name such as Europe/Helsinki."
        )
    return found


def shown(utc: datetime) -> str:
    """A time in UTC, for people of the site."""
    return local(utc, SITE).strftime(FORMAT)


def local(utc: datetime, zone: str) -> datetime:
    """A time in UTC as it is in a zone; nbgrader's own is an hour off when clocks change."""
    return utc.replace(tzinfo=tz.UTC).astimezone(tz.gettz(zone))
