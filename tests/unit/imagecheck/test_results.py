"""What an image tells is read with care: it may say anything."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from courseyard.errors import ImageError
from courseyard.imagecheck import results
from courseyard.imagecheck.inside.report import FailedError, NotRunError, Report
from courseyard.imagecheck.results import Result, State


def said(*values: object) -> list[bytes]:
    return [json.dumps(value).encode() for value in values]


def ended(name: str, state: str = "passed", **more: object) -> dict[str, object]:
    return {"test": name, "state": state, "seconds": 1.5, "said": "", **more}


def nothing(part: float, message: str) -> None:
    pass


def test_what_the_program_writes_is_read() -> None:
    reading, writing = os.pipe()

    def fails() -> str:
        raise FailedError("The\nkernel  died.")

    def waits() -> str:
        raise NotRunError("a failed before.")

    def breaks() -> str:
        return str({}["key"])

    tests = [("good", lambda: "1.0"), ("bad", fails), ("left out", waits), ("broken", breaks)]
    with os.fdopen(writing, "w") as stream:
        report = Report(stream)
        report.planned(tests)
        for test in tests:
            report.run(test)
        report.done()
    steps: list[tuple[float, str]] = []
    found = results.read(results.lines(reading, 10), lambda *step: steps.append(step))
    os.close(reading)
    assert [(r.test, r.state, r.said) for r in found] == [
        ("good", State.PASSED, "1.0"),
        ("bad", State.FAILED, "The kernel died."),
        ("left out", State.NOT_RUN, "a failed before."),
        ("broken", State.FAILED, "KeyError: 'key'"),
    ]
    assert steps == [(0, "good"), (0.25, "bad"), (0.5, "left out"), (0.75, "broken")]


def test_a_program_that_ends_early_has_failed() -> None:
    lines = said({"tests": ["a", "b", "c"]}, {"begin": "a"}, ended("a"), {"begin": "b"})
    found = results.read([*lines, b"Killed"], nothing)
    assert [(r.test, r.state) for r in found] == [
        ("a", State.PASSED), ("b", State.FAILED), ("c", State.NOT_RUN),
    ]  # fmt: skip
    assert "Killed" in found[1].said


def test_a_program_that_never_begins_has_failed() -> None:
    (found,) = results.read([b"Segmentation fault"], nothing)
    assert (found.state, "Segmentation fault" in found.said) == (State.FAILED, True)
    (found,) = results.read([], nothing)
    assert found.state is State.FAILED


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"[]",
        b"7",
        b'{"test": "a"}',
        b'{"test": "a", "state": "splendid", "seconds": 1, "said": ""}',
        b'{"test": "a", "state": "passed", "seconds": "1", "said": ""}',
        b'{"tests": 5}',
    ],
)
def test_noise_is_no_result(line: bytes) -> None:
    lines = [*said({"tests": ["a"]}, {"begin": "a"}), line]
    (found,) = results.read(lines, nothing)
    assert (found.test, found.state) == ("a", State.FAILED)
    assert results.read([*lines, *said(ended("a"))], nothing) == [Result("a", State.PASSED, 1.5)]


def test_tests_that_nobody_planned_are_left_out() -> None:
    lines = said({"tests": ["a"]}, {"begin": "a"}, ended("a", "failed"), ended("b"))
    assert [r.test for r in results.read(lines, nothing)] == ["a"]


def test_a_line_without_an_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "said").write_bytes(b"first\n" + b"x" * 200_000)
    with (tmp_path / "said").open("rb") as file:
        found = results.lines(file.fileno(), 10)
        assert next(found) == b"first"
        with pytest.raises(ImageError, match="no result"):
            next(found)


def test_a_program_that_does_not_end_is_given_up() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(ImageError, match="not done"):
            next(results.lines(reading, 0.1))
    finally:
        os.close(reading)
        os.close(writing)
