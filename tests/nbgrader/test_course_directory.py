"""What autograding meets in the course directory: things that are no files, and other instructors.

Each attack is seen to work first, with the piece taken away that stops it.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import require
from tests.nbgrader.conftest import AS_ROOT, COURSE, Actor, Place
from tests.nbgrader.test_single_user_server import hub as hub  # the fixture
from tests.nbgrader.test_single_user_server import plan_of, start

WEEK, NOTEBOOK = "week1", "sorting.ipynb"
SECRET = "a hidden test, or everybody's grades"
ANSWER: dict[str, Any] = {
    "cell_type": "code", "id": "answer", "execution_count": None, "outputs": [], "source": "",
    "metadata": {"nbgrader": {
        "schema_version": 3, "grade_id": "answer", "grade": False, "solution": True,
        "locked": False, "task": False,
    }},
}  # fmt: skip
TEST: dict[str, Any] = {
    "cell_type": "code", "id": "test", "execution_count": None, "outputs": [],
    "source": "assert answer == 42",
    "metadata": {"nbgrader": {
        "schema_version": 3, "grade_id": "test", "grade": True, "solution": False,
        "locked": True, "task": False, "points": 5,
    }},
}  # fmt: skip
#: nbgrader's program with one of our pieces taken away.
WITHOUT = """
import contextlib, os, sys
sys.path.insert(0, os.environ["JUPYTER_CONFIG_PATH"])
from courseyard_nbgrader import converters, locks
{piece}
from nbgrader.apps.nbgraderapp import NbGraderApp
sys.exit(NbGraderApp.launch_instance(sys.argv[1:]))
"""
NO_CHECK = "converters.OneAtATime.check = lambda *_: None"
NO_LOCK = "locks.held = lambda *_: contextlib.nullcontext()"


def without(actor: Actor, piece: str, *words: str) -> str:
    return actor.run("python", "-c", WITHOUT.format(piece=piece), *words, ok=False)


def notebook(answer: str) -> str:
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    cells = [ANSWER | {"source": answer}, TEST]
    about = {"kernelspec": kernel}
    return json.dumps({"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture(scope="module", autouse=True)
def generated(place: Place) -> None:
    folder = place.course / "source" / WEEK
    place.ada.run("sh", "-c", 'rm -f "$0"/*', str(folder))
    put(place.ada, folder / NOTEBOOK, notebook("answer = 42"))
    put(place.ada, place.course / "source" / "secret", SECRET)
    place.ada.nbgrader("generate_assignment", WEEK)


@pytest.fixture(autouse=True)
def tidy(place: Place) -> Iterator[None]:
    yield
    place.ada.run("sh", "-c", 'cd "$0" && rm -rf submitted/* autograded/*', str(place.course))


def put(actor: Actor, path: Path, text: str) -> None:
    actor.run("sh", "-c", 'mkdir -p "$(dirname "$0")"; printf %s "$1" > "$0"', str(path), text)


def submit(place: Place, name: str, answer: str = "answer = 42") -> Path:
    """Put a submission where *Collect* puts it, as a teacher does by hand."""
    folder = place.course / "submitted" / name / WEEK
    put(place.ada, folder / NOTEBOOK, notebook(answer))
    return folder


def scores(place: Place) -> dict[str, float]:
    said = place.ada.python(f"""
import json
from nbgrader.api import Gradebook
with Gradebook("sqlite:///{place.course}/gradebook.db?timeout=60", "{COURSE}") as book:
    print(json.dumps({{s.student.id: s.score for s in book.assignment_submissions("{WEEK}")}}))
""")
    found: dict[str, float] = json.loads(said)
    return found


def stolen(place: Place) -> list[Path]:
    """Where a secret is among what the next steps work on."""
    files = [path for path in (place.course / "autograded").rglob("*") if path.is_file()]
    return [path for path in files if SECRET in path.read_text()]


#: What lies in a submission, or in its place → how the error names it.
LINKS = {
    'ln -s "$1/source/secret" data.csv': "data.csv is a symbolic link",
    'mkdir deep; ln -s "$1/source/secret" deep/data.csv': "deep/data.csv is a symbolic link",
    'ln "$1/source/secret" data.csv': "data.csv is a hard link to a file that lies elsewhere too",
    f'mv {NOTEBOOK} "$1/source/secret.ipynb"; ln -s "$1/source/secret.ipynb" {NOTEBOOK}': (
        f"{NOTEBOOK} is a symbolic link"
    ),
    'mv "$0" "$1/source/folder"; ln -s "$1/source/folder" "$0"': "is a symbolic link",
    'mv "${0%/*}" "$1/source/student"; ln -s "$1/source/student" "${0%/*}"': "is a symbolic link",
}


def test_no_link_in_a_submission_is_followed(place: Place) -> None:
    submit(place, "maija")
    students = {f"s{number}": script for number, script in enumerate(LINKS)}
    for name, script in students.items():
        folder = submit(place, name)
        place.ada.run("sh", "-c", f'cd "$0" && {script}', str(folder), str(place.course))
    without(place.ada, NO_CHECK, "autograde", WEEK)
    followed = {path.name for path in (place.course / "autograded").iterdir()}
    assert followed == {"maija", *students}, "the attack is none"
    assert len(stolen(place)) == 3
    place.ada.run("sh", "-c", 'rm -rf "$0"/*', str(place.course / "autograded"))

    said = place.ada.nbgrader("autograde", WEEK, ok=False)
    lines = [line for line in said.splitlines() if "Not autograded: the" in line]
    for name, expected in zip(students, LINKS.values(), strict=True):
        (line,) = [each for each in lines if f"the submission of '{name}' for 'week1': " in each]
        assert expected in line
        assert f"in {place.course}/submitted/{name}/{WEEK}." in line
    assert "Traceback" not in said
    assert [path.name for path in (place.course / "autograded").iterdir()] == ["maija"]
    assert scores(place)["maija"] == 5


def test_nobody_waits_for_who_writes_into_a_pipe(place: Place) -> None:
    submit(place, "maija")
    folder = submit(place, "omar")
    place.ada.run("sh", "-c", f'cd "$0" && rm {NOTEBOOK} && mkfifo {NOTEBOOK}', str(folder))
    program = WITHOUT.format(piece=NO_CHECK)
    waits = ["timeout", "20", "python", "-c", program, "autograde", WEEK, "--student=omar"]
    place.ada.run("sh", "-c", '"$@"; test $? = 124', "sh", *waits)
    said = place.ada.nbgrader("autograde", WEEK, ok=False)
    assert f"{NOTEBOOK} is a named pipe" in said
    assert scores(place)["maija"] == 5


def test_files_that_share_their_content_with_each_other_are_fine(place: Place) -> None:
    """A hard link tells of a file elsewhere; within the submission both are the student's."""
    folder = submit(place, "omar")
    place.ada.run(
        "sh", "-c", 'cd "$0" && echo 1 > a && ln a b && mkdir .git && ln a .git/c', str(folder)
    )
    place.ada.nbgrader("autograde", WEEK)
    assert scores(place)["omar"] == 5


def test_formgraders_button_says_what_was_refused(place: Place, hub: str) -> None:
    folder = submit(place, "omar")
    place.ada.run("ln", "-s", str(place.course / "source" / "secret"), str(folder / "data.csv"))
    server = start(place.ada, hub, plan_of(place, "instructor"))
    try:
        said = server.get(f"formgrader/api/submission/{WEEK}/omar/autograde", "POST")[1]
    finally:
        server.stop()
    found = json.loads(said)
    assert not found["success"]
    assert "data.csv is a symbolic link" in found["log"]
    assert stolen(place) == []


# --- two at once ------------------------------------------------------------------------------

SLOW = "import time; time.sleep(25); answer = 42"


def begin(actor: Actor, place: Place, *words: str) -> threading.Thread:
    """Let somebody autograde; they are in the middle of it when this returns."""
    thread = threading.Thread(target=actor.run, args=words, kwargs={"ok": False})
    thread.start()
    wait(place.course / "autograded" / "maija" / WEEK / NOTEBOOK)
    return thread


def wait(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.05)


def together(place: Place, piece: str) -> list[str]:
    """What both instructors are told who autograde the same submission at the same moment."""
    moment = f"import time; time.sleep(max(0, {time.time() + 6} - time.time()))"
    said: list[str] = []
    words = ("autograde", WEEK, "--force", "--student=maija")

    def run(actor: Actor) -> None:
        said.append(without(actor, f"{piece}\n{moment}", *words))

    threads = [threading.Thread(target=run, args=[actor]) for actor in (place.ada, place.tomas)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_two_at_once_do_not_destroy_a_grade(place: Place) -> None:
    """The attack: nbgrader lets each remove what the other is at work on."""
    require("root")  # two accounts, of which each may not write the other's files
    graded = submit(place, "maija").parents[2] / "autograded" / "maija" / WEEK / NOTEBOOK
    place.ada.nbgrader("autograde", WEEK)
    for _ in range(5):
        together(place, NO_LOCK)
        if not graded.exists():
            break
    else:
        raise AssertionError("the attack is none")
    said = together(place, "")
    assert graded.is_file()
    assert scores(place)["maija"] == 5
    assert sum("Not autograded: the submission of 'maija'" in each for each in said) == 1, said


def test_nobody_else_works_on_it_meanwhile(place: Place, hub: str) -> None:
    """Feedback, a newer submission and formgrader's button wait; other submissions do not."""
    require("root")  # it says who works on it: an ordinary account is one person
    submit(place, "maija", SLOW)
    submit(place, "omar")
    sent = place.exchange / COURSE / "inbound" / f"maija+{WEEK}+2099-01-01 10:00:00.000000 EET+x"
    put(place.maija, sent / NOTEBOOK, notebook("answer = 1"))
    server = start(place.ada, hub, plan_of(place, "instructor"))
    try:
        first = begin(place.tomas, place, "nbgrader", "autograde", WEEK, "--student=maija")
        pressed = server.get(f"formgrader/api/submission/{WEEK}/maija/autograde", "POST")[1]
        words = (("collect", "--update"), ("autograde",), ("generate_feedback",))
        others = [place.ada.nbgrader(word, WEEK, *more, ok=False) for word, *more in words]
        first.join()
        again = place.ada.nbgrader("autograde", WEEK, "--student=maija")
    finally:
        server.stop()
        place.maija.run("rm", "-rf", str(sent))
    busy = "the submission of 'maija' for 'week1': Tomas (tomas) is grading it (begun"
    for said in (json.loads(pressed)["log"], *others):
        assert busy in said
        assert "Traceback" not in said
    assert not json.loads(pressed)["success"]
    assert "is grading it" not in again
    found = scores(place)
    assert (found["maija"], found["omar"]) == (5, 5), "it cost that submission alone"


def test_pages_of_students_run_nothing_in_the_formgrader(place: Place, hub: str) -> None:
    """Submissions, what lies beside them, and answers that are called pages (test_students_html.py)."""
    folder = submit(place, "maija")
    for name in ("page.html", "drawing.svg", "text.pdf"):
        put(place.ada, folder / name, "<script>alert(1)</script>")
    place.ada.nbgrader("autograde", WEEK, "--student=maija")
    server = start(place.ada, hub, plan_of(place, "instructor"))
    try:
        (found,) = json.loads(server.get(f"formgrader/api/submitted_notebooks/{WEEK}/sorting")[1])
        work = f"formgrader/submissions/{found['id']}"
        status, page, _ = server.get(f"{work}/")
        assert status == 200
        assert '<head><meta http-equiv="Content-Security-Policy" content="script-src' in page
        for path, apart in (
            (f"{work}/page.html", True),
            (f"{work}/drawing.svg", True),
            (f"{work}/text.pdf", False),
            (f"formgrader/api/submitted_notebooks/{WEEK}/sorting", True),
        ):
            status, _, headers = server.get(path)
            assert status == 200, path
            assert headers["Content-Security-Policy"].endswith("; sandbox") == apart, path
    finally:
        server.stop()


def test_the_lock_of_a_process_that_was_killed_goes_by_itself(place: Place) -> None:
    submit(place, "maija", "import time; time.sleep(600)")
    words = [*place.ada.as_myself(), "nbgrader", "autograde", WEEK]
    env = {"HOME": str(place.ada.folder / "home"), "PATH": f"{place.ada.image}/bin:/usr/bin:/bin"}
    env["JUPYTER_CONFIG_PATH"] = str(place.ada.folder / "home" / ".courseyard" / "jupyter")
    env["COURSEYARD_GRADING"] = f"unix:{place.ada.folder / 'grading' / 'socket'}"
    process = subprocess.Popen(
        words, env=env, cwd=place.ada.notebooks, start_new_session=True, umask=place.ada.umask,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait(place.course / "autograded" / "maija" / WEEK / NOTEBOOK)
    os.killpg(process.pid, 9)
    process.wait()
    submit(place, "maija")
    said = place.tomas.nbgrader("autograde", WEEK)
    assert "Ada (ada) was cut off" in said, "what never ran does not count as graded"
    assert scores(place)["maija"] == 5
    folder = place.course / ".courseyard-locks"
    assert list(folder.iterdir()) == []
    assert folder.stat().st_mode & 0o7777 == 0o2770
    assert not AS_ROOT or folder.stat().st_gid == place.course.stat().st_gid
