"""From release to fetched feedback with nbgrader's own programs: one story in steps.

Two instructors take turns on one course directory, two students hand in.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.nbgrader.conftest import AS_ROOT, COURSE, GROUP, STUDENTS, Actor, Place

WEEK = "week1"
NOTEBOOK = "sorting.ipynb"
different_uids = pytest.mark.skipif(not AS_ROOT, reason="needs root: accounts of their own")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def solve(student: Actor, place: Place) -> None:
    """Write the teacher's solutions into the student's notebook, as a good student would."""
    given = {}
    source = json.loads((place.course / "source" / WEEK / NOTEBOOK).read_text())
    for cell in source["cells"]:
        about = cell["metadata"].get("nbgrader", {})
        if about.get("solution"):
            given[about["grade_id"]] = cell["source"]
    file = student.notebooks / COURSE / WEEK / NOTEBOOK
    book = json.loads(file.read_text())
    for cell in book["cells"]:
        grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id")
        if grade_id in given:
            cell["source"] = given[grade_id]
    file.write_text(json.dumps(book))


def test_an_instructor_releases(place: Place) -> None:
    place.ada.nbgrader("generate_assignment", WEEK)
    place.ada.nbgrader("release_assignment", WEEK)
    text = (place.course / "release" / WEEK / NOTEBOOK).read_text()
    assert "HIDDEN TESTS" not in text
    assert "BEGIN SOLUTION" not in text
    assert "MARK SCHEME" not in text


def test_students_fetch_validate_and_submit(place: Place) -> None:
    for student in (place.maija, place.omar):
        assert WEEK in student.nbgrader("list")
        student.nbgrader("fetch_assignment", WEEK)
    solve(place.maija, place)
    said = place.maija.nbgrader("validate", f"{COURSE}/{WEEK}/{NOTEBOOK}")
    assert "Success" in said
    for student in (place.maija, place.omar):
        student.nbgrader("submit", WEEK)


@different_uids
def test_a_student_sees_neither_course_nor_the_others_submissions(place: Place) -> None:
    inbound = place.exchange / COURSE / "inbound"
    assert "Permission denied" in place.omar.run("ls", str(inbound), ok=False)
    (handed_in,) = [path for path in inbound.iterdir() if path.name.startswith("maija+")]
    # Who knows the name is refused, too: test_fetch_and_submit.py.
    assert len(handed_in.name.rpartition("+")[2]) >= 12
    assert "Permission denied" in place.omar.run("ls", str(handed_in), ok=False)
    assert "Permission denied" in place.omar.run("ls", str(place.course), ok=False)


def test_the_other_instructor_collects_and_grades(place: Place) -> None:
    place.tomas.nbgrader("collect", WEEK)
    place.tomas.nbgrader("autograde", WEEK)
    for student in STUDENTS:
        assert (place.course / "autograded" / student / WEEK / NOTEBOOK).is_file()


def test_the_first_instructor_grades_by_hand(place: Place) -> None:
    place.ada.python(f"""
from nbgrader.api import Gradebook
with Gradebook("sqlite:///{place.course}/gradebook.db?timeout=60", "{COURSE}") as book:
    for cell in ("measure", "explain"):
        grade = book.find_grade(cell, "sorting", "{WEEK}", "maija")
        grade.manual_score, grade.needs_manual_grade = 2, False
    comment = book.find_comment("explain", "sorting", "{WEEK}", "maija")
    comment.manual_comment = "Well said."
    book.db.commit()
""")
    said = place.ada.python(f"""
from nbgrader.api import Gradebook
with Gradebook("sqlite:///{place.course}/gradebook.db?timeout=60", "{COURSE}") as book:
    print(*[book.find_submission("{WEEK}", s).score for s in ("maija", "omar")])
""")
    assert said.split() == ["10.0", "0.0"]


def test_feedback_reaches_each_student(place: Place) -> None:
    place.ada.nbgrader("generate_feedback", WEEK)
    place.tomas.nbgrader("release_feedback", WEEK)
    for student in (place.maija, place.omar):
        student.nbgrader("fetch_feedback", WEEK)
    pages = list((place.maija.notebooks / COURSE / WEEK / "feedback").rglob("*.html"))
    assert len(pages) == 1
    assert "Well said." in pages[0].read_text()
    others = list((place.omar.notebooks / COURSE / WEEK / "feedback").rglob("*.html"))
    assert len(others) == 1
    assert "Well said." not in others[0].read_text()


@different_uids
def test_nobody_lists_the_feedback_of_others(place: Place) -> None:
    folder = place.exchange / COURSE / "feedback"
    assert "Permission denied" in place.omar.run("ls", str(folder), ok=False)


def test_an_instructor_grades_again_what_the_other_graded(place: Place) -> None:
    place.ada.nbgrader("autograde", WEEK, "--student", "maija", "--force")
    place.tomas.nbgrader("generate_feedback", WEEK, "--force")
    place.tomas.nbgrader("generate_assignment", WEEK, "--force")
    place.tomas.nbgrader("release_assignment", WEEK, "--force")


def test_owners_and_modes_let_both_instructors_work(place: Place) -> None:
    assert mode(place.course / "gradebook.db") == 0o660
    assert mode(place.course) == 0o2770, "nbgrader gives files 0664: only the top keeps others out"
    for path in place.course.rglob("*"):
        rights = mode(path)
        where = f"{path}: {rights:o}"
        assert rights & 0o040, where
        if path.is_dir():
            assert rights & 0o2070 == 0o2070, where
        if AS_ROOT:
            assert path.stat().st_gid == GROUP, where


def test_a_broken_append_file_stops_nothing(place: Place) -> None:
    file = place.course / "etc.jupyter.nbgrader_config.py.append"
    try:
        file.write_text("c.Exchange.timezone = 'UTC'\nthis is: broken\n")
        said = place.tomas.nbgrader("list")
        assert f"{file}:2: SyntaxError" in said
        file.write_text("c.CourseDirectory.course_id = 'other'\nraise SystemExit(3)\n")
        said = place.tomas.nbgrader("list")
        assert f"{file}:2: SystemExit" in said
    finally:
        file.unlink()
