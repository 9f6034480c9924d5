"""Notebooks and smoke tests of the courses that get the image."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

from .place import Place, fill
from .programs import probe, run
from .report import FailedError, Test

#: A teacher's tag for a cell that fails on purpose (nbclient knows it, too).
_ON_PURPOSE = "raises-exception"


def tests(courses: list[dict[str, Any]], cell_seconds: int, place: Place) -> list[Test]:
    """One test for each notebook and each smoke test."""
    found: list[Test] = []
    for course in courses:
        slug, files = course["slug"], place.kit / "courses" / course["files"]
        for path in course["notebooks"]:
            work = partial(_notebook, files, path, cell_seconds, place)
            found.append((f"{slug}: {path}", work))
        for path in course["smoke"]:
            found.append((f"{slug}: {path}", partial(_smoke, files, path, place)))
    return found


def _lay_out(files: Path, place: Place) -> None:
    """The course's files as servers see them; fresh for each test, so that none needs another."""
    fill(place.course, files / "files")
    fill(place.coursedata, files / "data")


def _notebook(files: Path, path: str, cell_seconds: int, place: Place) -> str:
    _lay_out(files, place)
    top, _, rest = path.partition("/")
    file = Path(place.course if top == "files" else place.coursedata, rest)
    cells = probe(
        "probe_notebook.py", str(file), str(cell_seconds), folder=str(file.parent),
        environment=place.environment("instructor"),
    )  # fmt: skip
    wrong = first_wrong(cells, unsolved=rest.startswith("release/"))
    if wrong is not None:
        raise FailedError(f"Cell {wrong + 1}: {cells[wrong]['error']}")
    return f"{len(cells)} cells"


def first_wrong(cells: list[dict[str, Any]], *, unsolved: bool) -> int | None:
    """The number, from 0, of the first cell with an error that is not meant to be.

    Args:
        unsolved: a student's version: answers and their tests fail, and so may all that needs them.
    """
    for number, cell in enumerate(cells):
        if cell["error"] is None or _ON_PURPOSE in cell["tags"]:
            continue
        about = cell["nbgrader"]
        if unsolved and (about.get("solution") or about.get("grade")):
            return None
        return number
    return None


def _smoke(files: Path, path: str, place: Place) -> str:
    _lay_out(files, place)
    # Without -I, as a program of a course runs in a terminal: with the site's PYTHONPATH.
    run([sys.executable, str(files / path)], place.course, place.environment("student"))
    return ""
