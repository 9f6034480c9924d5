"""From release to feedback with the image's own nbgrader, in a course that nobody has."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from .place import Place, fill
from .programs import probe, run
from .report import FailedError, NotRunError, Test

_ASSIGNMENT, _FILE = "check", "task.ipynb"
_TASK = """\
def double(number):
    ### BEGIN SOLUTION
    return 2 * number
    ### END SOLUTION
"""
_TESTS = """\
assert double(2) == 4
### BEGIN HIDDEN TESTS
assert double(-1) == -2
### END HIDDEN TESTS
"""
_ANSWER = "def double(number):\n    return number + number\n"
_POINTS = 2.0


def tests(course_id: str, username: str, place: Place) -> list[Test]:
    """The six steps; one that fails leaves the rest out."""
    loop = _Loop(course_id, username, place)
    steps = (loop.release, loop.fetch, loop.submit, loop.collect, loop.autograde, loop.feedback)
    return [(f"nbgrader {step.__name__}", partial(loop.step, step)) for step in steps]


def _cell(kind: str, source: str, grade_id: str, **about: Any) -> dict[str, Any]:
    nbgrader = {"grade": False, "solution": False, "locked": False, "task": False, **about}
    nbgrader.update(grade_id=grade_id, schema_version=3)
    cell = {"cell_type": kind, "id": grade_id, "metadata": {"nbgrader": nbgrader}, "source": source}
    return cell if kind == "markdown" else {**cell, "execution_count": None, "outputs": []}


def _notebook() -> dict[str, Any]:
    cells = [
        _cell("markdown", "# A task", "title", locked=True),
        _cell("code", _TASK, "double", solution=True),
        _cell("code", _TESTS, "test", grade=True, locked=True, points=_POINTS),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


class _Loop:
    def __init__(self, course_id: str, username: str, place: Place) -> None:
        self._id, self._username, self._place = course_id, username, place
        self._course = Path(place.course)
        self._mine = Path(place.notebooks, course_id, _ASSIGNMENT)
        self._broken = ""

    def step(self, step: Any) -> str:
        if self._broken:
            raise NotRunError(f"{self._broken} failed before.")
        try:
            step()
        except Exception:
            self._broken = step.__name__
            raise
        return ""

    def _nbgrader(self, role: str, *words: str) -> str:
        place = self._place
        environment, umask = place.environment(role), place.umask(role)
        return run(["nbgrader", *words], place.notebooks, environment, umask=umask)

    def _there(self, file: Path, what: str) -> Path:
        if not file.is_file():
            raise FailedError(f"{what} is not there: {file}")
        return file

    def release(self) -> None:
        fill(self._place.course, Path("nothing"))
        # What the agent makes at a student's first start: whose the submissions of a UID are.
        Path(self._place.people, f"{os.getuid()}.{self._username}").mkdir(exist_ok=True)
        source = self._course / "source" / _ASSIGNMENT / _FILE
        source.parent.mkdir(parents=True)
        source.write_text(json.dumps(_notebook()), encoding="utf-8")
        self._nbgrader("instructor", "generate_assignment", _ASSIGNMENT)
        released = self._course / "release" / _ASSIGNMENT / _FILE
        text = self._there(released, "The student's version").read_text(encoding="utf-8")
        for secret in ("2 * number", "double(-1)"):
            if secret in text:
                raise FailedError("The student's version holds the solution or the hidden tests.")
        self._nbgrader("instructor", "release_assignment", _ASSIGNMENT)

    def fetch(self) -> None:
        if _ASSIGNMENT not in self._nbgrader("student", "list"):
            raise FailedError("The student's list does not show the released assignment.")
        self._nbgrader("student", "fetch_assignment", _ASSIGNMENT)
        self._there(self._mine / _FILE, "The fetched notebook")

    def submit(self) -> None:
        file = self._mine / _FILE
        notebook = json.loads(file.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["metadata"]["nbgrader"]["grade_id"] == "double":
                cell["source"] = _ANSWER
        file.write_text(json.dumps(notebook), encoding="utf-8")
        said = self._nbgrader("student", "validate", str(file))
        if "Success" not in said:
            raise FailedError(f"Validate did not like a right answer: {said.strip()[-200:]}")
        self._nbgrader("student", "submit", _ASSIGNMENT)

    def collect(self) -> None:
        self._nbgrader("instructor", "collect", _ASSIGNMENT)
        submitted = self._course / "submitted" / self._username / _ASSIGNMENT / _FILE
        self._there(submitted, "The collected notebook")

    def autograde(self) -> None:
        self._nbgrader("instructor", "autograde", _ASSIGNMENT)
        score = probe(
            "probe_score.py", f"sqlite:///{self._course}/gradebook.db", self._id, _ASSIGNMENT,
            self._username, folder=self._place.notebooks,
            environment=self._place.environment("instructor"),
        )  # fmt: skip
        if score != _POINTS:
            raise FailedError(f"A right answer got {score} of {_POINTS} points.")

    def feedback(self) -> None:
        self._nbgrader("instructor", "generate_feedback", _ASSIGNMENT)
        self._nbgrader("instructor", "release_feedback", _ASSIGNMENT)
        self._nbgrader("student", "fetch_feedback", _ASSIGNMENT)
        if not list((self._mine / "feedback").rglob("*.html")):
            raise FailedError(f"No feedback arrived in {self._mine / 'feedback'}.")
