"""Bytes, cores and durations: the only place where suffixes live.

JupyterHub's own ``ByteSpecification`` reads ``K``, ``M``, ``G``, ``T`` as powers of 1024; Kubernetes
reads ``Mi``, ``Gi`` so and ``M``, ``G`` as powers of 1000. Files of the seed system were written for
JupyterHub, so a bare letter is a power of 1024 here, and ``Gi`` means the same.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_FACTORS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_NUMBER = r"([0-9]{1,30}(?:\.[0-9]{1,30})?)"
_BYTES = re.compile(rf"{_NUMBER}\s*([KkMmGgTt]?)(?:i?[Bb]?)")
_CORES = re.compile(rf"{_NUMBER}(m?)")
_PLAIN = re.compile(r"([0-9]{1,30})()")
_DURATION = re.compile(rf"{_NUMBER}\s*(s|min|m|h|d|w)")
_DURATIONS = re.compile(rf"(?:{_DURATION.pattern}\s*)+")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
#: Bytes or cores that no machine has; such an amount would only fail later, in other words.
_MOST = 2**60
#: A thousand years in seconds: a moment so long before or after now is still a date.
_LONGEST = 1000 * 366 * 86400


def _number(value: Any, pattern: re.Pattern[str], what: str) -> tuple[float, str] | None:
    """What ``value`` says: a number and its suffix; None when ``pattern`` does not fit.

    Raises:
        ValueError: a negative number.
    """
    if isinstance(value, str):
        match = pattern.fullmatch(value.strip())
        return (float(match[1]), match[2].lower()) if match else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        value = max(-1, min(value, 2**200))  # Python makes no float of hundreds of digits
    if math.isnan(value):
        return None
    if value < 0:
        raise ValueError(f"{what} cannot be negative")
    return float(value), ""


def _bounded(amount: float) -> float:
    if amount > _MOST:
        raise ValueError("that is more than any machine has")
    return amount


def parse_bytes(value: Any) -> int:
    """Bytes of ``5G``, ``512 MiB``, ``1073741824``.

    Raises:
        ValueError: when it is not such an amount, negative, or more than any machine has.
    """
    what = "an amount of memory"
    found = _number(value, _BYTES, what)
    if found is None:
        raise ValueError(f"{what} is a number with a unit, such as 512M or 5G")
    return int(_bounded(found[0] * _FACTORS[found[1]]))


def format_bytes(amount: int) -> str:
    """``amount`` bytes as people say it: ``5 GB``, ``512 MB``, ``1.5 GB``."""
    for unit, factor in (("TB", 1024**4), ("GB", 1024**3), ("MB", 1024**2), ("kB", 1024)):
        if amount >= factor:
            number = f"{amount / factor:.1f}".removesuffix(".0")
            return f"{number} {unit}"
    return f"{amount} bytes"


def parse_cores(value: Any) -> float:
    """Cores of ``4``, ``0.1``, ``"500m"`` (thousandths).

    Raises:
        ValueError: when it is not such an amount, negative, or more than any machine has.
    """
    what = "an amount of CPU"
    found = _number(value, _CORES, what)
    if found is None:
        raise ValueError(f"{what} is a number of cores, such as 4, 0.5 or 500m")
    return _bounded(found[0] / 1000 if found[1] else found[0])


def parse_duration(value: Any) -> int:
    """Seconds of ``3600``, ``"60m"``, ``"8h"``, ``"1h 30m"``.

    Raises:
        ValueError: when it is not a duration, negative, or longer than a thousand years.
    """
    what = "a duration"
    if isinstance(value, timedelta):
        value = value.total_seconds()
    found = _number(value, _PLAIN, what)
    if found is not None:
        seconds = found[0]
    elif isinstance(value, str) and _DURATIONS.fullmatch(value.strip()):
        seconds = sum(float(n) * _SECONDS[unit] for n, unit in _DURATION.findall(value))
    else:
        raise ValueError(
            f"{what} is a number of seconds, or a number with s, m, h, d or w, such as 8h"
        )
    if seconds > _LONGEST:
        raise ValueError("that is longer than a thousand years")
    return int(seconds)


def format_duration(seconds: int) -> str:
    """``seconds`` as people say it: ``8 hours``, ``1 hour 30 minutes``."""
    parts = []
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number} {unit}{'s' if number > 1 else ''}")
    return " ".join(parts[:2]) or "0 seconds"


_FORM = WithJsonSchema(
    {"oneOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}, mode="validation"
)
#: An amount of memory or disk in bytes; files may write ``5G``.
Bytes = Annotated[int, BeforeValidator(parse_bytes), _FORM]
#: An amount of CPU in cores; files may write ``500m``.
Cores = Annotated[float, BeforeValidator(parse_cores), _FORM]
#: A duration in seconds; files may write ``8h``.
Seconds = Annotated[int, BeforeValidator(parse_duration), _FORM]
