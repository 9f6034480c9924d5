"""The dialect of YAML that files of a site are written in."""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from courseyard.yamlfile import MAX_BYTES, VanishedError, YamlError, parse_yaml, read_yaml

PATH = Path("x.yaml")


def value(text: str) -> Any:
    return parse_yaml(f"a: {text}\n".encode(), PATH).data["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("y", "y"),
        ("n", "n"),
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("0027", 27),
        ("0o27", 23),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("10:15", "10:15"),
        ("190:20:30", "190:20:30"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("1.2.3", "1.2.3"),
        ("+", "+"),
        (".", "."),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!", "!"),
        ("2026-09-01", date(2026, 9, 1)),
        ("2026-9-1", "2026-9-1"),
        ("2026-02-30", "2026-02-30"),
        ("2026-09-01 10:15:00", datetime(2026, 9, 1, 10, 15)),
        ("2026-09-01T10:15:00.5Z", datetime(2026, 9, 1, 10, 15, 0, 500000, UTC)),
        (
            "2026-09-01 10:15:00 +03:00",
            datetime(2026, 9, 1, 10, 15, tzinfo=timezone(timedelta(hours=3))),
        ),
        ("9" * 5000, "9" * 5000),
        ("|\n  text\n", "text\n"),
        ("[1, two, [3]]", [1, "two", [3]]),
        ("{b: {c: 1}}", {"b": {"c": 1}}),
    ],
)
def test_values(text: str, expected: Any) -> None:
    if text == "!":
        with pytest.raises(YamlError, match="tag"):
            value(text)
        return
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


def test_old_booleans_warn_with_their_place() -> None:
    document = parse_yaml(b"a:\n  b:\n    - yes\nc: OFF\nd: 'no'\n", PATH)
    assert document.data == {"a": {"b": [True]}, "c": False, "d": "no"}
    first, second = document.warnings
    assert (first.line, first.key) == (3, "a.b")
    assert (second.line, second.key) == (4, "c")
    assert not first.is_error


def test_keys_are_text() -> None:
    text = b"2026-09-01: 1\nyes: 2\n5: 3\n~: 4\n"
    assert list(parse_yaml(text, PATH).data) == ["2026-09-01", "yes", "5", "~"]


def test_merges() -> None:
    text = b"""\
x: &x {a: 1, b: 2}
y: &y {b: 3, c: 4}
one: {<<: *x, b: 9}
two: {b: 9, <<: *x}
list: {<<: [*x, *y]}
inline: {<<: {q: 1}, r: 2}
quoted: {"<<": 5}
"""
    data = parse_yaml(text, PATH).data
    assert data["one"] == data["two"] == {"a": 1, "b": 9}
    assert data["list"] == {"a": 1, "b": 2, "c": 4}
    assert data["inline"] == {"q": 1, "r": 2}
    assert data["quoted"] == {"<<": 5}
    assert data["x"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 1),
        (("b",), 2),
        (("b", "c"), 3),
        (("b", "d", 1), 6),
        (("b", "d", 1, "e"), 6),
        (("b", "d", 7), 4),
        (("b", "nothing"), 2),
        (("m", "c"), 3),
        ((), 1),
        (("nothing",), 1),
    ],
)
def test_lines(path: tuple[str | int, ...], line: int) -> None:
    text = b"a: 1\nb: &b\n  c: 2\n  d:\n    - x\n    - e: 3\nm:\n  <<: *b\n"
    assert parse_yaml(text, PATH).line(path) == line


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 100 * MAX_BYTES, 2**40])
def test_large_files_are_not_read(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.yaml"
    with path.open("wb") as file:
        file.truncate(size)
    start = time.monotonic()
    with pytest.raises(YamlError, match="larger than 1 MiB"):
        read_yaml(path)
    assert time.monotonic() - start < 0.5


def test_a_file_that_grows_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\n")
    monkeypatch.setattr(os, "read", lambda descriptor, size: b"a" * min(size, 65536))
    with pytest.raises(YamlError, match="larger than 1 MiB"):
        read_yaml(path)


def test_storage_that_fails_in_mid_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\n")

    def fail(descriptor: int, size: int) -> bytes:
        raise OSError(116, "Stale file handle")

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(os, "read", fail)
    with pytest.raises(YamlError, match="cannot be read: stale file handle"):
        read_yaml(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(VanishedError):
        read_yaml(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        "{" * 1_000_000,
        "- " * 500_000,
        "? " * 500_000,
        "a: '" + "\n" * 900_000,
        "&a " * 300_000,
        "a: [" + "a: " * 300_000,
        "a: &a [" + "x," * 40_000 + "]\nb: [*a, *a, *a]\n",
        "a: [" + "x," * 200_000 + "]\n",
        "".join(
            f"k{i}: &k{i} {{<<: [{f'*k{i - 1}, ' * 9 if i else ''}], a{i}: 1}}\n"
            for i in range(900)
        ),
    ],
    ids=range(10),
)
def test_hostile_files_end_soon(text: str) -> None:
    start = time.monotonic()
    try:
        parse_yaml(text.encode(), PATH)
    except YamlError as error:
        assert error.problems[0].line >= 1
    assert time.monotonic() - start < 3


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text()
        | st.dates(min_value=date(1000, 1, 1)),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=1), inner),
        max_leaves=20,
    )
)
def test_what_pyyaml_writes_is_read_back(data: Any) -> None:
    """For data on which YAML 1.1 and 1.2 agree; PyYAML quotes what it would read otherwise."""
    text = yaml.safe_dump({"a": data}, allow_unicode=True)
    if "'" in text or '"' in text or "? " in text or "!!" in text:
        return
    try:
        expected = yaml.safe_load(text)
        found = parse_yaml(text.encode(), PATH).data
    except (yaml.YAMLError, YamlError):
        return
    assert found == expected
