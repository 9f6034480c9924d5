"""What an unquoted word of YAML means: YAML 1.2's core schema, and dates as in YAML 1.1."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

#: Words with a meaning in YAML 1.2.
CONSTANTS: dict[str, Any] = {"": None, "~": None}
for _name, _value in (("null", None), ("true", True), ("false", False)):
    CONSTANTS |= {_name: _value, _name.title(): _value, _name.upper(): _value}
#: Words that were booleans in YAML 1.1.
OLD_BOOLEANS: dict[str, bool] = {}
for _name, _value in (("yes", True), ("on", True), ("no", False), ("off", False)):
    OLD_BOOLEANS |= {_name: _value, _name.title(): _value, _name.upper(): _value}
#: How a number or date starts.
FIRST_OF_NUMBER = frozenset("0123456789+-.")
#: How a plain scalar starts that may be more than text.
SPECIAL = FIRST_OF_NUMBER | frozenset("~ntfyoNTFYO") | {""}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NAMED_FLOAT = re.compile(r"([-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:(?:[Tt]|[ \t]+)([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?"
    r"(?:[ \t]*(?:(Z)|([-+])([0-9]{1,2})(?::?([0-9]{2}))?))?)?"
)


def plain_number(text: str) -> Any:
    """The number or date that ``text`` is in YAML, else ``text``."""
    if _INT.fullmatch(text):
        try:
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        except ValueError:  # Python refuses thousands of digits
            return text
    if _FLOAT.fullmatch(text):
        return float(text)
    named = _NAMED_FLOAT.fullmatch(text)
    if named:
        return float("nan") if "n" in text.lower()[1:2] else float(f"{named[1] or ''}inf")
    return parse_timestamp(text) or text


def parse_timestamp(text: str) -> date | datetime | None:
    """A date or time as YAML 1.1 writes it (https://yaml.org/type/timestamp.html), else None."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    year, month, day = int(match[1]), int(match[2]), int(match[3])
    try:
        if match[4] is None:
            return date(year, month, day) if len(text) == 10 else None
        zone: timezone | None = None
        if match[8]:
            zone = UTC
        elif match[9]:
            offset = timedelta(hours=int(match[10]), minutes=int(match[11] or 0))
            zone = timezone(-offset if match[9] == "-" else offset)
        micro = int((match[7] or "0")[:6].ljust(6, "0"))
        clock = int(match[4]), int(match[5]), int(match[6])
        return datetime(year, month, day, *clock, micro, zone)
    except (ValueError, OverflowError):  # 30 February stays text; who wants a date says so
        return None
