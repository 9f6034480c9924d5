"""Trap 3: feedback of every assignment reaches its student, and no link leads the copying astray.

The seed system's script copied each student's last assignment alone, and as root gave away what a
student's link named. Here instructors release feedback and students fetch it, each as themselves;
root makes folders and nothing else.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from courseyard.plan.model import StorageKind, StorageNeed
from courseyard.storage.apply import ensure
from tests.nbgrader.conftest import AS_ROOT, COURSE, STUDENTS, Actor, Place

FIRST, SECOND = BOTH = ("first", "second")
CELL: dict[str, Any] = {"grade": True, "solution": True, "locked": False, "task": False}
CELL |= {"grade_id": "essay", "points": 2, "schema_version": 3}
BOOK: dict[str, Any] = {
    "cells": [{"cell_type": "markdown", "metadata": {"nbgrader": CELL}, "source": ""}],
    "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    "nbformat": 4,
    "nbformat_minor": 2,
}  # fmt: skip
#: Commands in one process, since importing nbgrader takes longer than most of them.
STEPS = """
import os, subprocess, sys
from nbgrader.apps.nbgraderapp import NbGraderApp
for words in {steps!r}:
    if words[0] == "sh":
        subprocess.run(words, check=True)
        continue
    child = os.fork()
    if not child:
        sys.exit(NbGraderApp.launch_instance(list(words)))
    if os.waitpid(child, 0)[1]:
        sys.exit(f"nbgrader {{' '.join(words)}}: failed")
"""


def run(actor: Actor, *steps: tuple[str, ...], ok: bool = True) -> str:
    """What is said at ``steps``: commands of nbgrader, or words of a shell."""
    return actor.run("python", "-c", STEPS.format(steps=steps), ok=ok)


def words(name: str, assignment: str) -> str:
    return f"Words of {name} about the {assignment}"


def hand_in(name: str, assignment: str) -> tuple[tuple[str, ...], ...]:
    file = f"{COURSE}/{assignment}/essay.ipynb"
    script = f"s/YOUR ANSWER HERE/{words(name, assignment)}/"
    write = ("sh", "-c", 'sed -i "$0" "$1"', script, file)
    return ("fetch_assignment", assignment), write, ("submit", assignment)


def give(assignment: str, *options: str) -> tuple[tuple[str, ...], ...]:
    """All steps from a collected submission to released feedback."""
    steps = ("autograde", "generate_feedback")
    return (*((step, assignment, *options) for step in steps), ("release_feedback", assignment))


def pages(student: Actor) -> dict[str, list[str]]:
    """For each assignment with fetched feedback, whose words its page shows."""
    found = {}
    for assignment in BOTH:
        folder = student.notebooks / COURSE / assignment / "feedback"
        for page in folder.rglob("*.html"):
            assert assignment not in found, f"{page}: two pages for one submission"
            text = page.read_text()
            found[assignment] = [name for name in STUDENTS if words(name, assignment) in text]
    return found


def test_trap_3_feedback_of_every_assignment_reaches_its_student(place: Place) -> None:
    """Two students, two assignments; one of the four is graded later and alone has none till then."""
    release = ("generate_assignment", "release_assignment")
    for each in BOTH:
        folder = place.course / "source" / each
        script = 'mkdir "$0"; echo "$1" > "$0/essay.ipynb"'
        place.ada.run("sh", "-c", script, str(folder), json.dumps(BOOK))
    run(place.ada, *((step, each) for each in BOTH for step in release))
    for name in STUDENTS:
        run(place.people[name], *(step for each in BOTH for step in hand_in(name, each)))
    collect = (("collect", each) for each in BOTH)
    run(place.ada, *collect, *give(FIRST), *give(SECOND, "--student=maija"))
    fetch = tuple(("fetch_feedback", each) for each in BOTH)
    for name in STUDENTS:
        run(place.people[name], *fetch)
    assert pages(place.maija) == {FIRST: ["maija"], SECOND: ["maija"]}
    assert pages(place.omar) == {FIRST: ["omar"]}


def state(top: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Owner, group, mode and content of a folder and all in it."""
    found = {}
    for path in (top, *top.rglob("*")):
        about = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(about.st_mode) else b""
        found[str(path)] = (about.st_uid, about.st_gid, about.st_mode, content)
    return found


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A folder that is none of a student's, and a page in it; both must stay as they are."""
    folder = tmp_path / "victim"
    folder.mkdir(mode=0o700)
    (folder / "essay.html").write_text("secret")
    before = state(folder)
    yield folder
    assert state(folder) == before


def test_trap_3_a_students_link_redirects_nothing(place: Place, victim: Path) -> None:
    """Links wherever feedback passes; then root's and the teachers' steps again, with one page more."""
    omar, released = place.omar, place.exchange / COURSE / "feedback"
    before = {path.name for path in released.iterdir()}
    goal = omar.notebooks / COURSE / FIRST / "feedback"
    omar.run("sh", "-c", 'rm -rf "$0"; ln -s "$1" "$0"', str(goal), str(victim))
    sent = place.exchange / COURSE / "inbound" / f"omar+{FIRST}+2099-01-01 10:00:00 EET+x"
    omar.run("ln", "-s", str(victim), str(sent))
    if AS_ROOT:  # one account for everybody may write everywhere
        for path in (released / "page.html", place.course / "feedback" / "page.html"):
            said = omar.run("ln", "-s", str(victim), str(path), ok=False)
            assert "Permission denied" in said
    number = place.course.stat().st_gid
    needs = [
        StorageNeed(kind=kind, slug=COURSE, uid=number, gid=number)
        for kind in (StorageKind.COURSE, StorageKind.EXCHANGE)
    ]
    ensure(place.course.parents[2], needs)
    again = (("collect", FIRST, "--update"), ("release_feedback", FIRST))
    said = run(place.tomas, *again, *give(SECOND, "--student=omar"))
    assert "Not collected: the submission of 'omar'" in said
    assert "its folder is a symbolic link" in said
    assert len({path.name for path in released.iterdir()} - before) == 1
    assert goal.is_symlink()
    # A student's own fetch has the student's own rights; with one account they are everybody's.
    both = (("fetch_feedback", SECOND), ("fetch_feedback", FIRST))
    said = run(omar, *both[: 1 + AS_ROOT], ok=not AS_ROOT)
    assert pages(omar)[SECOND] == ["omar"]
    assert ("Permission denied" in said) == AS_ROOT
