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
_BYTES = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KkMmGgTt]?)(?:i?[Bb]?)")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|min|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_bytes(value: Any) -> int:
    """Bytes of ``5G``, ``512 MiB``, ``1073741824``.

    Raises:
        ValueError: when it is not such an amount, or negative.
    """
    if isinstance(value, bool):
        raise ValueError("an amount of memory is a number with a unit, such as 512M or 5G")  # noqa: TRY004
    if isinstance(value, int | float):
        if value < 0 or not math.isfinite(value):
            raise ValueError("an amount of memory cannot be negative")
        return int(value)
    match = _BYTES.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("an amount of memory is a number with a unit, such as 512M or 5G")
    return int(float(match[1]) * _FACTORS[match[2].lower()])


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
        ValueError: when it is not such an amount, or negative.
    """
    message = "an amount of CPU is a number of cores, such as 4, 0.5 or 500m"
    if isinstance(value, bool):
        raise ValueError(message)  # noqa: TRY004
    try:
        if isinstance(value, str) and value.endswith("m"):
            cores = float(value[:-1]) / 1000
        else:
            cores = float(value)
    except (TypeError, ValueError):
        raise ValueError(message) from None
    if cores < 0 or not math.isfinite(cores):
        raise ValueError(message)
    return cores


def parse_duration(value: Any) -> int:
    """Seconds of ``3600``, ``"60m"``, ``"8h"``, ``"1h 30m"``.

    Raises:
        ValueError: when it is not a duration, or negative.
    """
    message = "a duration is a number of seconds, or a number with s, m, h, d or w, such as 8h"
    if isinstance(value, bool):
        raise ValueError(message)  # noqa: TRY004
    if isinstance(value, int | float):
        if value < 0 or not math.isfinite(value):
            raise ValueError("a duration cannot be negative")
        return int(value)
    if isinstance(value, timedelta):
        return int(value.total_seconds())
    if not isinstance(value, str):
        raise ValueError(message)  # noqa: TRY004
    text = value.strip()
    if text.isdigit():
        return int(text)
    if not text or _DURATION.sub("", text).strip():
        raise ValueError(message)
    return int(sum(float(n) * _SECONDS[unit] for n, unit in _DURATION.findall(text)))


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
