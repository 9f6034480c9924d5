"""Amounts: what is written comes back, and nothing is read as something else."""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from cases import cases
from hypothesis import example, given
from hypothesis import strategies as st

from courseyard.units import (
    format_bytes,
    format_duration,
    parse_bytes,
    parse_cores,
    parse_duration,
)
from courseyard.yamlscalars import parse_timestamp, plain_number

#: What an amount may look like, and what only looks so.
NEARLY = st.text(alphabet="0123456789.eE+-_ \t\n１２٣²½infaNxmMgGkKtTiBbshdw", max_size=12)
ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | NEARLY
    | st.sampled_from(
        ["1e3", "１２", " 5 G", "5 GiB", "-1G", "nan", "inf", "Infinity", "1e999", "1_000", "0x10",
         "9" * 5000, "9" * 400 + "G", "1h 30m", "1h -30m", "1.5h", "٣٣s", "5G ", "G", "", "m", "1mm"]
    )
    | st.lists(st.integers(), max_size=2)
)  # fmt: skip
PLAIN = r"[0-9]+(?:\.[0-9]+)?"
#: What a person means by each suffix, written down again and not taken from the code.
BYTES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def amount(parse: Any, value: Any) -> Any:
    """What ``parse`` makes of ``value``; None when it refuses, which it may only by ValueError."""
    try:
        found = parse(value)
    except ValueError as error:
        assert str(error)
        return None
    assert math.isfinite(found)
    assert found >= 0
    return found


@cases(400)
@given(ANYTHING)
@example(math.inf)
@example(math.nan)
@example(-0.0)
@example("9" * 5000)
def test_bytes(value: Any) -> None:
    found = amount(parse_bytes, value)
    if found is None or not isinstance(value, str):
        return
    text = value.strip().lower()
    match = re.fullmatch(rf"({PLAIN})\s*([kmgt]?)(?:i?b?)", text, re.ASCII)
    assert match, f"{value!r} was read as {found}"
    exact = Decimal(match[1]) * 1024 ** BYTES[match[2]]
    assert abs(Decimal(found) - exact) <= 1 + exact / 2**50


@cases(400)
@given(ANYTHING)
@example("１２")
@example("1e3")
def test_cores(value: Any) -> None:
    found = amount(parse_cores, value)
    if found is None or not isinstance(value, str):
        return
    match = re.fullmatch(rf"\s*({PLAIN})(m?)\s*", value, re.ASCII)
    assert match, f"{value!r} was read as {found}"
    exact = float(match[1]) / (1000 if match[2] else 1)
    assert math.isclose(found, exact)


@cases(400)
@given(ANYTHING)
@example("１２")
@example("²")
@example("9" * 5000)
def test_durations(value: Any) -> None:
    found = amount(parse_duration, value)
    if found is None or not isinstance(value, str):
        return
    text = value.strip()
    if re.fullmatch(r"[0-9]+", text):
        assert found == int(text)
        return
    part = rf"({PLAIN})\s*(min|[smhdw])"
    assert re.fullmatch(rf"(?:{part}\s*)+", text, re.ASCII), f"{value!r} was read as {found}"
    exact = sum(Decimal(n) * SECONDS[u] for n, u in re.findall(part, text))
    assert abs(Decimal(found) - exact) <= 1 + exact / 2**50


@cases(200)
@given(st.integers(0, 2**60))
def test_bytes_as_people_say_them_are_read_again(number: int) -> None:
    said = format_bytes(number)
    back = parse_bytes(said.removesuffix(" bytes"))
    assert abs(back - number) <= number * 0.05
    if number % 1024**4 == 0 or number < 1024:
        assert back == number


@cases(200)
@given(st.integers(0, 10**9))
def test_durations_as_people_say_them_are_read_again(number: int) -> None:
    short = {"day": "d", "hour": "h", "minute": "m", "second": "s"}
    text = format_duration(number)
    for word, letter in short.items():
        text = re.sub(rf" {word}s?", letter, text)
    assert abs(parse_duration(text) - number) <= (0 if number < 3600 else number * 0.05)


@cases(500)
@given(NEARLY | st.text(max_size=12) | st.dates().map(str) | st.datetimes().map(str))
@example("9" * 5000)
@example("0x" + "f" * 5000)
@example("1" * 400 + ".0")
@example("2026-02-30")
@example("2026-01-01 00:00:00 +99:99")
def test_plain_scalars(text: str) -> None:
    """A number of YAML is what its letters say; everything else stays text."""
    found = plain_number(text)
    if isinstance(found, str):
        assert found == text
    elif isinstance(found, datetime | date):
        assert text[:4].isascii()
        assert text.startswith(str(found.year).zfill(4))
    elif isinstance(found, int):
        assert re.fullmatch(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", text)
    else:
        assert re.fullmatch(r"[-+]?(\.inf|\.Inf|\.INF)|\.(nan|NaN|NAN)|[-+.0-9eE]+", text)


@cases(200)
@given(st.datetimes(timezones=st.timezones() | st.none()))
def test_times_are_read_as_written(moment: datetime) -> None:
    written = moment.isoformat(sep=" ")
    found = parse_timestamp(written)
    if found is not None:  # zones with seconds in them are no YAML
        assert found == moment or isinstance(found, datetime)
        assert isinstance(found, datetime)
        assert found.replace(tzinfo=None) == moment.replace(tzinfo=None)
        assert found.utcoffset() == moment.utcoffset()
