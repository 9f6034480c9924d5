"""What could not be graded is said while somebody can still mend it, and costs only itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.nbgrader.conftest import COURSE, Place
from tests.nbgrader.test_course_directory import notebook, put
from tests.nbgrader.test_feedback import run

UNIT, NOTEBOOK = "misfits", "sorting.ipynb"
LIMIT = "\nc.CourseDirectory.max_file_size = 100\n"  # kB


def book(text: str, **about: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    found["metadata"] |= about
    return found


def kernel(name: str, language: str) -> dict[str, Any]:
    return {"kernelspec": {"name": name, "display_name": name, "language": language}}


@pytest.fixture(scope="module", autouse=True)
def released(place: Place) -> None:
    put(place.ada, place.course / "source" / UNIT / NOTEBOOK, notebook("answer = 42"))
    run(place.ada, ("generate_assignment", UNIT), ("release_assignment", UNIT))
    for student in (place.maija, place.omar):
        run(student, ("fetch_assignment", UNIT))


def test_generate_tells_the_teacher(place: Place) -> None:
    source = place.course / "source" / "week8"
    foreign = book(notebook("answer = 42"), **kernel("julia-1.9", "julia"))
    put(place.ada, source / NOTEBOOK, json.dumps(foreign))
    said = place.ada.nbgrader("generate_assignment", "week8", ok=False)
    assert "Not generated: the assignment 'week8': sorting.ipynb asks for the kernel" in said
    assert "'julia-1.9', which is not here. Choose another one by Kernel" in said
    assert "Traceback (most recent call last)" not in said.partition("Not generated")[0]
    put(place.ada, source / NOTEBOOK, notebook("answer = 42"))
    put(place.ada, source / "more" / "extra.ipynb", notebook("1"))
    place.ada.run("sh", "-c", 'head -c 30000001 /dev/zero > "$0"', str(source / "data.bin"))
    append = place.course / "etc.jupyter.nbgrader_config.py.append"
    append.write_text(LIMIT)
    try:
        said = place.ada.nbgrader("generate_assignment", "week8")
    finally:
        append.unlink()
    assert "Note: students do not get data.bin: it has 31 MB, and a file may have 1 MB." in said
    assert "Note: students do not get more/extra.ipynb: a notebook in a folder is not part" in said


def hand_in(place: Place, change: str) -> str:
    """What Submit says of the fetched assignment after ``change``, words of a shell; mended again."""
    folder = place.maija.notebooks / COURSE / UNIT
    copy = place.maija.notebooks / "as-fetched"
    place.maija.run("sh", "-c", 'cp -r "$0" "$1"', str(folder), str(copy))
    place.maija.run("sh", "-c", f'cd "$0" && {change}', str(folder))
    try:
        return place.maija.nbgrader("submit", UNIT, ok=False)
    finally:
        place.maija.run("sh", "-c", 'rm -r "$0" && mv "$1" "$0"', str(folder), str(copy))


def test_submit_tells_the_student(place: Place) -> None:
    undone = f"The assignment '{UNIT}' was not submitted. "
    said = hand_in(
        place, "mv sorting.ipynb mine.ipynb; head -c 100000001 /dev/zero > big.bin; mkdir -p x"
    )
    assert f"{undone}sorting.ipynb is missing. If mine.ipynb is it, give it the name" in said
    assert "big.bin has 101 MB, and a file may have 100 MB." in said
    assert not list((place.exchange / COURSE / "inbound").glob("maija*"))


def copied() -> str:
    """A notebook in which a student copied a cell of nbgrader's."""
    twice = book(notebook("answer = 42"))
    twice["cells"].insert(0, twice["cells"][0] | {"id": "copy"})
    return json.dumps(twice)


def test_one_submission_never_stops_another(place: Place) -> None:
    for student, text in (
        ("a-copied", copied()),
        ("b-good", notebook("answer = 42")),
        ("c-none", ""),
    ):
        folder = place.course / "submitted" / student / UNIT
        name = "mine.ipynb" if student == "c-none" else NOTEBOOK
        put(place.ada, folder / name, text or notebook("answer = 42"))
        put(place.ada, folder / "timestamp.txt", "2026-11-02 10:00:00 UTC")
        put(place.ada, folder / "submission_secret.txt", student)
    said = place.ada.nbgrader("autograde", UNIT, ok=False)
    assert (
        "Not autograded: the submission of 'a-copied' for 'misfits': sorting.ipynb holds the nbgrader"
        " cell 'answer' more than once (cells 1 and 2). Delete the copy;" in said
    )
    assert "'c-none' for 'misfits': sorting.ipynb is missing. If mine.ipynb is it" in said
    graded = [path.parent.name for path in (place.course / "autograded").glob(f"*/{UNIT}")]
    assert graded == ["b-good"]
    run(place.ada, ("generate_feedback", UNIT))
    # One without its secret, as files that a teacher put there: the others get theirs.
    first: Path = place.course / "feedback" / "a" / UNIT
    put(place.ada, first / "sorting.html", "feedback")
    said = place.ada.nbgrader("release_feedback", UNIT, ok=False)
    assert "Not released: the feedback for 'a'" in said
    assert len(list((place.exchange / COURSE / "feedback").glob("*.html"))) == 1
