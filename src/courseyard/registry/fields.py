"""One parser for each kind of value in a course file.

A parser takes the reader, the place and the value that stands there (never None), tells the
reader what is wrong, and returns the value of the :class:`~courseyard.registry.course.Course`.
What it returns after an error is not used.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime, time
from typing import Any, get_args

from courseyard.errors import PlanError
from courseyard.hints import did_you_mean, shown
from courseyard.images.catalog import parse_wish
from courseyard.images.model import ImageWish
from courseyard.registry.course import CourseTime, Day
from courseyard.registry.reader import Reader, Where
from courseyard.registry.slugs import slug_problem
from courseyard.settings import LOWEST_ID
from courseyard.yamlscalars import parse_timestamp

MAX_TITLE = 200
MAX_TEXT = 500
MAX_CONFIG = 64 * 1024
_MAX_KNOWN = 500_000
HIGHEST_ID = 2**31 - 1
_GROUP = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
_EMAIL = re.compile(r"[^@\s<>,;\"']{1,64}@[^@\s<>,;\"']{1,255}")
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3])[:.]([0-5][0-9])")
_SHORT_DAYS: tuple[Day, ...] = get_args(Day)
_DAYS: dict[str, Day] = {day: day for day in _SHORT_DAYS}
for _long in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"):
    _DAYS[_long] = _DAYS[_long[:3]]
_LIKELY_YEARS = range(1990, 2200)
_MINUTES = re.compile(r"(\d{4}-\d{1,2}-\d{1,2})[Tt ](\d{1,2}:\d{2})(Z|[+-]\d{2}:?\d{2})?")


def title(reader: Reader, path: Where, value: Any) -> str:
    """A title: plain text on one line; pages escape it, so ``<b>`` is four letters."""
    return line_of_text(reader, path, value, MAX_TITLE)


def line_of_text(reader: Reader, path: Where, value: Any, limit: int = MAX_TEXT) -> str:
    """Text on one line without control characters."""
    if not isinstance(value, str):
        reader.wrong(path, f"must be text; put {shown(value)} in quotes")
        return ""
    text = value.strip()
    if not text:
        reader.wrong(path, "is empty; write text or leave the key out")
    elif len(text) > limit:
        reader.wrong(path, f"is longer than {limit} characters")
    elif not (text.isascii() and text.isprintable()) and any(map(_is_control, text)):
        reader.wrong(path, "holds a control character or a line break; write one line of text")
    return text


def _is_control(letter: str) -> bool:
    # Cf holds the marks that turn the direction of writing, by which text can look like another.
    # Joiners are parts of words in several languages.
    category = unicodedata.category(letter)
    return category in ("Cc", "Cf", "Cs", "Zl", "Zp") and letter not in "\u200c\u200d"


def config_text(reader: Reader, path: Where, value: Any) -> str:
    """Lines of nbgrader configuration, checked for what Python would stumble over."""
    if not isinstance(value, str):
        reader.wrong(path, "must be text; write `nbgrader_config: |` and the lines below it")
        return ""
    if len(value) > MAX_CONFIG:
        reader.wrong(path, f"is longer than {MAX_CONFIG // 1024} KiB")
        return value
    try:
        compile(value, "nbgrader_config", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "cannot be compiled"
        line = getattr(error, "lineno", None) or 1
        reader.wrong(path, f"line {line} of it is not Python: {reason}")
    return value


def flag(reader: Reader, path: Where, value: Any) -> bool:
    """true or false."""
    if isinstance(value, bool):
        return value
    quoted = isinstance(value, str) and value.lower() in ("true", "false", "yes", "no")
    reader.wrong(path, "must be true or false" + ("; remove the quotes" if quoted else ""))
    return False


def course_id(reader: Reader, path: Where, value: Any) -> int | None:
    """A UID or GID of the institution."""
    if isinstance(value, bool) or not isinstance(value, int):
        digits = isinstance(value, str) and value.strip().isdigit()
        hint = "; remove the quotes" if digits else f", not {shown(value)}"
        reader.wrong(path, f"must be a whole number{hint}")
        return None
    if value < LOWEST_ID:
        reader.wrong(path, f"is below {LOWEST_ID}; those belong to the system itself")
    elif value > HIGHEST_ID:
        reader.wrong(path, f"is larger than {HIGHEST_ID}")
    return value


def usernames(reader: Reader, path: Where, value: Any) -> frozenset[str]:
    """A list of usernames."""
    if isinstance(value, str):
        value = [value]
    if not reader.is_list(path, value, " of usernames"):
        return frozenset()
    known, fits = reader.rules.known_names, reader.rules.is_username
    try:
        names = frozenset(value)
        new = names - known  # most people are in several courses
    except TypeError:  # a list or mapping among the names
        names = new = frozenset()
    if not new and names:
        return names
    if new and all(n.__class__ is str and n != "root" and fits(n) for n in new):
        if len(known) < _MAX_KNOWN:
            known |= new
        return names
    for index, name in enumerate(value):
        username(reader, (*path, index), name)
    return names


def username(reader: Reader, path: Where, value: Any) -> str:
    """One username."""
    if isinstance(value, dict | list):
        reader.wrong(path, "must be a username, not a list or mapping")
    elif not isinstance(value, str):
        reader.wrong(path, f"{shown(value)} is not text; put the username in quotes")
    elif value == "root":
        reader.wrong(path, "root is the system's own account and never a user")
    elif not reader.rules.is_username(value):
        reader.wrong(path, f"{shown(value)} is not a username{_hint_username(value)}")
    return str(value)


def _hint_username(value: str) -> str:
    if "," in value or " " in value.strip():
        return "; write a list, each name on a line of its own after `- `"
    if "@" in value:
        return "; leave out the @ and what follows"
    return "; write it in small letters" if value != value.lower() else ""


def contacts(reader: Reader, path: Where, value: Any) -> tuple[str, ...]:
    """E-mail addresses or usernames, one or a list."""
    values = value if isinstance(value, list) else [value]
    found = []
    for index, item in enumerate(values):
        place = (*path, index) if isinstance(value, list) else path
        if isinstance(item, str) and "@" in item:
            if not _EMAIL.fullmatch(item.strip()):
                reader.wrong(place, f"{shown(item)} is not one e-mail address; several are a list")
            found.append(item.strip())
        else:
            found.append(username(reader, place, item))
    return tuple(found)


def moment(reader: Reader, path: Where, value: Any) -> datetime | None:
    """A date, from 00:00 of the site's time zone, or a time."""
    if isinstance(value, str):
        value = _written_time(value) or value
    if not isinstance(value, date):
        hint = "; write one such as 2026-09-01 or 2026-09-01 12:00:00"
        reader.wrong(path, f"{shown(value)} is not a date{hint}")
        return None
    if value.year not in _LIKELY_YEARS:
        reader.wrong(path, f"the year {value.year} cannot be meant")
        return None
    zone = reader.rules.tz
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=zone)
    return value.replace(tzinfo=zone) if value.tzinfo is None else value.astimezone(zone)


def _written_time(text: str) -> date | datetime | None:
    minutes = _MINUTES.fullmatch(text)
    if minutes:
        text = f"{minutes[1]} {minutes[2]}:00{minutes[3] or ''}"
    return parse_timestamp(text)


def course_times(reader: Reader, path: Where, value: Any) -> str | tuple[CourseTime, ...]:
    """Free text, or a list of weekly sessions."""
    if isinstance(value, str):
        return line_of_text(reader, path, " ".join(value.split()))
    if not reader.is_list(path, value, ' such as {day: Mon, from: "10:15", to: "12:00"}, or text'):
        return ()
    found = [_course_time(reader, (*path, index), item) for index, item in enumerate(value)]
    return tuple(item for item in found if item is not None)


def _course_time(reader: Reader, path: Where, value: Any) -> CourseTime | None:
    known = ("day", "from", "to")
    if not reader.is_mapping(path, value, ' such as day: Mon, from: "10:15", to: "12:00"'):
        return None
    for key in value:
        if key not in known:
            reader.unknown((*path, key), known)
    missing = [key for key in known if value.get(key) is None]
    if missing:
        reader.wrong(path, f"`{missing[0]}` is missing")
        return None
    written = value["day"]
    day = _DAYS.get(written.lower()) if isinstance(written, str) else None
    if day is None:
        hint = did_you_mean(str(written), ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"))
        reader.wrong((*path, "day"), f"must be an English day such as Mon or Monday{hint}")
    start = _clock(reader, (*path, "from"), value["from"])
    end = _clock(reader, (*path, "to"), value["to"])
    if day is None or start is None or end is None:
        return None
    if end <= start:
        reader.wrong((*path, "to"), "must be later than `from`")
    return CourseTime(day=day, from_=start, to=end)


def _clock(reader: Reader, path: Where, value: Any) -> time | None:
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        reader.wrong(path, f'{shown(value)} is not a time; write one such as "10:15", in quotes')
        return None
    return time(int(match[1]), int(match[2]))


def image(reader: Reader, path: Where, value: Any) -> ImageWish | None:
    """An image: a family, ``[family, date]`` or a reference."""
    try:
        wish = parse_wish(value)
        release = reader.rules.catalog.resolve(wish)
    except (ValueError, PlanError) as error:
        reader.wrong(path, str(error))
        return None
    if wish.reference is not None and not release.family:
        reader.warn(path, f"{wish.reference} is not in the site's list of images")
    return wish


def other_slug(reader: Reader, path: Where, value: Any) -> str | None:
    """The slug of another course; whether it exists is looked at when all are known."""
    if not isinstance(value, str) or slug_problem(value):
        reader.wrong(path, "must be the name of another course's file, without .yaml")
        return None
    return value


def umask(reader: Reader, path: Where, value: Any) -> int | None:
    """A umask as text, such as "0027"."""
    if not isinstance(value, str):
        reader.wrong(path, 'must be in quotes, such as "0027"; without them it is another number')
        return None
    if not re.fullmatch(r"[0-7]{1,4}", value) or int(value, 8) > 0o777:
        reader.wrong(path, f'{shown(value)} is not a umask; write one such as "0027"')
        return None
    bits = int(value, 8)
    if bits & 0o700:
        reader.wrong(path, f"{value} would take rights from the owner; its first digit must be 0")
    return bits


def groups(reader: Reader, path: Where, value: Any) -> tuple[tuple[str, int], ...]:
    """``[[name, gid], …]``."""
    if not reader.is_list(path, value, " of [name, gid] pairs"):
        return ()
    found: list[tuple[str, int]] = []
    for index, item in enumerate(value):
        place = (*path, index)
        if not isinstance(item, list) or len(item) != 2:
            reader.wrong(place, "must be a pair such as [project, 22001]")
            continue
        name, number = item
        if not isinstance(name, str) or not _GROUP.fullmatch(name):
            reader.wrong((*place, 0), f"{shown(name)} is not the name of a group")
        gid = course_id(reader, (*place, 1), number)
        if isinstance(name, str) and gid is not None:
            found.append((name, gid))
    return tuple(found)
