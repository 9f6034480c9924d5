"""Collecting what students handed in: as they themselves, files alone, and one never costs another.

Every attack here worked on nbgrader's own collect (0.9.6), or stopped it for the whole course.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from courseyard.plan.model import StorageKind, StorageNeed
from courseyard.plan.nbgrader import COLLECT
from courseyard.storage.apply import ensure
from tests.nbgrader.conftest import AS_ROOT, COURSE, GROUP, STUDENTS, Actor, Place
from tests.nbgrader.test_single_user_server import hub as hub  # the fixture
from tests.nbgrader.test_single_user_server import plan_of, start

WEEK, NOTEBOOK = "week1", "sorting.ipynb"
SMALL = ("timestamp.txt", "submission_secret.txt")
different_uids = pytest.mark.skipif(not AS_ROOT, reason="needs root: accounts of their own")


def at(second: int) -> str:
    """A time long after those of honest submissions."""
    return f"2099-01-01 10:00:{second:02}.000000 EET"


@pytest.fixture(scope="module", autouse=True)
def released(place: Place) -> None:
    """The assignment is out, and both students have it."""
    place.ada.nbgrader("generate_assignment", WEEK)
    place.ada.nbgrader("release_assignment", WEEK)
    for name in STUDENTS:
        place.people[name].nbgrader("fetch_assignment", WEEK)


@pytest.fixture(autouse=True)
def tidy(place: Place) -> Iterator[None]:
    yield
    place.ada.run("sh", "-c", f"rm -rf {place.course}/submitted/*")
    for folder in inbound(place).iterdir():
        owner = folder.lstat().st_uid
        actor = next(p for p in place.people.values() if not AS_ROOT or p.uid == owner)
        actor.run("sh", "-c", 'chmod -R u+rwX "$0"; rm -rf "$0"', str(folder))


def inbound(place: Place) -> Path:
    return place.exchange / COURSE / "inbound"


def hand_in(who: Actor, place: Place, script: str, name: str | None = None, said: str = "") -> Path:
    """Make a folder in inbound as nbgrader does, and run ``script`` in it."""
    said = said or at(0)
    folder = inbound(place) / f"{who.name if name is None else name}+{WEEK}+{said}+x"
    words = (
        'mkdir "$0" && chmod 0777 "$0" && cd "$0" && cp "$2/"*.* . && '
        'printf %s "$1" > timestamp.txt && printf %s "$3" > submission_secret.txt\n'
    )
    fetched = place.exchange / COURSE / "outbound" / WEEK
    who.run("bash", "-c", words + script, str(folder), said, str(fetched), who.name * 8)
    return folder


def submitted(place: Place, name: str) -> Path:
    return place.course / "submitted" / name / WEEK


def contents(place: Place, name: str) -> set[str]:
    """Everything that lies in ``submitted`` under a student's name, hidden or half done."""
    top = place.course / "submitted" / name
    return {str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir()}


def errors(said: str) -> list[str]:
    return [line for line in said.splitlines() if "ERROR]" in line]


def test_an_honest_submission_arrives_without_a_word_of_cheating(place: Place) -> None:
    place.maija.nbgrader("submit", WEEK)
    said = place.ada.nbgrader("collect", WEEK)
    assert "cheating" not in said
    assert errors(said) == []
    fetched = {path.name for path in (place.maija.notebooks / COURSE / WEEK).iterdir()}
    assert contents(place, "maija") == {f"{WEEK}/{name}" for name in (*fetched, *SMALL)}
    (sent,) = inbound(place).iterdir()
    for name in (NOTEBOOK, *SMALL):
        assert (submitted(place, "maija") / name).read_bytes() == (sent / name).read_bytes()
    assert "No newer submission" in place.tomas.nbgrader("collect", WEEK, "--update")


def hostile(place: Place) -> dict[str, str]:
    """Script in a submission → the path that the error names."""
    course, linked = place.course, submitted(place, "maija")
    found = {
        f"mkdir deep && ln -s {course}/source/{WEEK}/{NOTEBOOK} deep/a.ipynb": "deep/a.ipynb",
        f"ln -s {course}/gradebook.db grades": "grades",
        f"ln -s {linked}/{NOTEBOOK} theirs.ipynb": "theirs.ipynb",
        f"ln -s {linked.parent} folder": "folder",
        "ln -s nowhere broken": "broken",
        "mkfifo pipe": "pipe",
        "python -c \"import socket; socket.socket(1).bind('socket')\"": "socket",
        "for i in $(seq 50); do mkdir d; cd d; done": "d/d/d",
        "mkdir timestamp2; rm timestamp.txt; mkdir timestamp.txt": "",
    }
    if AS_ROOT:  # everything can be read by the one account of an ordinary user
        found["touch closed; chmod 0 closed"] = "closed"
        found["mkdir locked; chmod 0 locked"] = "locked"
    return found


def test_what_is_no_file_is_refused_and_costs_only_itself(place: Place) -> None:
    hand_in(place.maija, place, "")
    place.ada.nbgrader("collect", WEEK)
    before = set(place.course.rglob("*"))
    expected = hostile(place)
    for number, script in enumerate(expected):
        hand_in(place.omar, place, script, said=at(number))
    itself = inbound(place) / f"omar+{WEEK}+{at(59)}+x"
    place.omar.run("ln", "-s", str(submitted(place, "maija")), str(itself))
    if AS_ROOT:
        mine = hand_in(place.omar, place, f"rm {NOTEBOOK}", said=at(58))
        (theirs,) = inbound(place).glob("maija+*")
        os.link(theirs / NOTEBOOK, mine / NOTEBOOK)  # where the kernel does not forbid it
    said = place.ada.nbgrader("collect", WEEK, "--update")
    lines = errors(said)
    for path in (*expected.values(), "its folder is a symbolic link"):
        assert any(path in line and "'omar'" in line for line in lines), (path, said)
    assert not AS_ROOT or any(f"{NOTEBOOK} belongs to somebody else" in line for line in lines)
    assert len(lines) == len(expected) + 1 + AS_ROOT
    assert set(place.course.rglob("*")) == before
    assert "No newer submission to collect: maija" in said
    assert itself.is_symlink(), "it stays in inbound"


def test_names_and_times_that_are_none_cost_only_themselves(place: Place) -> None:
    hand_in(place.maija, place, "")
    times = ("never", "9" * 180, "2026+13+45", "", "\x1b[31m", "2099-01-01 10:00:00 \udcff")
    for said in times:
        place.omar.run("mkdir", str(inbound(place) / f"omar+{WEEK}+{said}+x"))
    names = ("..", "", "x y\x1b[31m\n[INFO]", ".hidden")
    for name in names:
        hand_in(place.omar, place, "", name=name)
    before = {path for path in place.course.rglob("*") if "submitted" not in path.parts}
    said = place.ada.nbgrader("collect", WEEK)
    assert len(errors(said)) == len(times) + len(names)
    assert "\x1b[31m" not in said
    assert {path.name for path in (place.course / "submitted").iterdir()} == {"maija"}
    assert {path for path in place.course.rglob("*") if "submitted" not in path.parts} == before


@different_uids
def test_nobody_hands_in_as_somebody_else(place: Place) -> None:
    hand_in(place.maija, place, "", said="2026-11-24 10:00:00.000000 EET")
    for name in ("maija", "ghost"):  # one who takes the course, one who is nobody
        hand_in(place.omar, place, f"echo '{{}}' > {NOTEBOOK}", name=name)
    hand_in(place.ada, place, "", name="omar")
    first = errors(place.ada.nbgrader("collect", WEEK))
    # The later one does not replace what was collected, whatever its time says.
    again = errors(place.tomas.nbgrader("collect", WEEK, "--update"))
    for lines in (first, again):
        assert [line.partition(": it was ")[2].partition(".")[0] for line in lines] == [
            "handed in by omar",
            "handed in by omar",
            f"handed in by somebody else (UID {place.ada.uid})",
        ]
        assert all(
            f"'{name}'" in line for name, line in zip(("ghost", "maija"), lines, strict=False)
        )
    assert (submitted(place, "maija") / NOTEBOOK).read_text() != "{}\n"
    assert "omar" not in (submitted(place, "maija") / "submission_secret.txt").read_text()
    assert {path.name for path in (place.course / "submitted").iterdir()} == {"maija"}


@different_uids
def test_who_is_not_known_is_accepted_and_told(place: Place) -> None:
    hand_in(place.tomas, place, "", name="tomas")
    hand_in(place.maija, place, "")
    said = place.ada.nbgrader("collect", WEEK)
    assert errors(said) == []
    (line,) = [line for line in said.splitlines() if "not known" in line]
    assert "tomas" in line
    assert "maija" not in line


@different_uids
def test_a_name_or_an_id_that_changed_hands(place: Place) -> None:
    need = {"kind": StorageKind.COURSE_MEMBER, "slug": COURSE, "gid": GROUP}
    storage = place.course.parents[2]
    ensure(storage, [StorageNeed(username="old-omar", uid=STUDENTS["omar"], **need)])
    ensure(storage, [StorageNeed(username="maija", uid=29999, **need)])
    for who in (place.maija, place.omar):
        hand_in(who, place, "")
    assert errors(place.ada.nbgrader("collect", WEEK)) == []


@different_uids
def test_the_people_are_read_by_instructors_alone(place: Place) -> None:
    folder = place.course.parent / "people"
    assert "20004.omar" in place.ada.run("ls", str(folder))
    assert "Permission denied" in place.maija.run("ls", str(folder), ok=False)
    for what in ("touch {}/x", "mkdir {}/20003.omar", "rmdir {}/20004.omar"):
        assert "denied" in place.ada.run("sh", "-c", what.format(folder), ok=False)


def test_without_the_people_nothing_is_collected(place: Place) -> None:
    hand_in(place.maija, place, "")
    said = place.ada.nbgrader("collect", WEEK, "--ExchangeCollect.people=/nowhere", ok=False)
    assert "Who takes the course cannot be read" in said
    assert contents(place, "maija") == set()


def test_a_refused_submission_leaves_the_one_before_it(place: Place) -> None:
    first = hand_in(place.maija, place, "echo first > a.txt")
    hand_in(place.maija, place, "ln -s /etc/passwd data.csv", said=at(1))
    said = place.ada.nbgrader("collect", WEEK)
    assert "data.csv" in errors(said)[0]
    assert (submitted(place, "maija") / "a.txt").read_text() == "first\n"
    before = contents(place, "maija")
    hand_in(place.maija, place, "rm a.txt; mkfifo pipe", said=at(2))
    assert len(errors(place.ada.nbgrader("collect", WEEK, "--update"))) == 2
    assert contents(place, "maija") == before
    assert first.is_dir()


def test_an_update_replaces_all_of_it(place: Place) -> None:
    hand_in(place.maija, place, "echo old > a.txt; mkdir b; touch b/c")
    place.ada.nbgrader("collect", WEEK)
    left = submitted(place, "maija").parent / ".collecting-killed"
    left.mkdir()
    os.utime(left, (0, 0))
    hand_in(place.maija, place, "rm *.txt; rm *.csv; echo new > b.txt", said=at(1))
    said = place.tomas.nbgrader("collect", WEEK, "--update")
    assert "Updating submission: maija" in said
    assert contents(place, "maija") >= {f"{WEEK}/{name}" for name in (NOTEBOOK, "b.txt", *SMALL)}
    assert not (submitted(place, "maija") / "a.txt").exists()
    assert not (submitted(place, "maija") / "b").exists()
    assert [path.name for path in submitted(place, "maija").parent.iterdir()] == [WEEK]


def test_modes_are_ours_not_the_students(place: Place) -> None:
    hand_in(place.maija, place, "mkdir -m 0711 d; touch d/e; chmod 0755 d; chmod 4777 d/*")
    place.ada.nbgrader("collect", WEEK)
    for path in (submitted(place, "maija"), *submitted(place, "maija").rglob("*")):
        assert path.stat().st_mode & 0o7777 == (0o2770 if path.is_dir() else 0o660), path
        assert not AS_ROOT or (path.stat().st_uid, path.stat().st_gid) == (place.ada.uid, GROUP)


def test_sizes_are_the_course_directorys(place: Place) -> None:
    hand_in(place.omar, place, f"rm *.csv; echo x > {NOTEBOOK}; head -c 3000 /dev/zero > big.bin")
    said = place.ada.nbgrader("collect", WEEK, "--CourseDirectory.max_file_size=2")
    assert "too large: big.bin" in said
    assert f"{WEEK}/{NOTEBOOK}" in contents(place, "omar")
    assert f"{WEEK}/big.bin" not in contents(place, "omar")
    place.ada.run("rm", "-rf", str(submitted(place, "omar").parent))
    hand_in(place.maija, place, f"rm *.csv; echo x > {NOTEBOOK}")
    said = place.ada.nbgrader("collect", WEEK, "--CourseDirectory.max_dir_size=2")
    assert "'omar'" in errors(said)[0]
    assert contents(place, "omar") == set()
    assert submitted(place, "maija").is_dir()


def test_feedback_of_others_does_not_wait_for_a_secret(place: Place) -> None:
    """Nbgrader's release_feedback stops at the first submission without one."""
    place.maija.nbgrader("submit", WEEK)
    hand_in(place.omar, place, "rm submission_secret.txt; echo no > timestamp.txt")
    said = place.ada.nbgrader("collect", WEEK)
    assert any("omar" in line and "feedback" in line for line in said.splitlines())
    assert (submitted(place, "omar") / "timestamp.txt").read_text() == at(0)
    place.ada.nbgrader("autograde", WEEK)
    place.ada.nbgrader("generate_feedback", WEEK)
    place.ada.nbgrader("release_feedback", WEEK)
    place.maija.nbgrader("fetch_feedback", WEEK)
    assert list((place.maija.notebooks / COURSE / WEEK / "feedback").rglob("*.html"))


def test_formgraders_button_says_what_was_refused(place: Place, hub: str) -> None:
    hand_in(place.maija, place, "")
    hand_in(place.omar, place, "ln -s /etc/passwd data.csv")
    server = start(place.ada, hub, plan_of(place, "instructor"))
    try:
        page = server.get("formgrader/manage_assignments")[1]
        _, said, _ = server.get(f"formgrader/api/assignment/{WEEK}/collect", "POST")
    finally:
        server.stop()
    assert COLLECT in page, "the panel with the configuration shows it"
    found = json.loads(said)
    assert found["success"]
    (line,) = [line for line in found["log"].splitlines() if line.startswith("[ERROR]")]
    assert "'omar'" in line
    assert "data.csv is a symbolic link" in line
    assert submitted(place, "maija").is_dir()


def test_a_copied_line_does_not_take_the_safe_collect_back(place: Place) -> None:
    file = place.course / "etc.jupyter.nbgrader_config.py.append"
    hand_in(place.omar, place, "ln -s /etc/passwd data.csv")
    file.write_text(
        "c.ExchangeFactory.collect = 'nbgrader.exchange.default.collect.ExchangeCollect'\n"
        "c.ExchangeCollect.people = ''\nc.ExchangeCollect.check_owner = False\n"
    )
    try:
        assert "data.csv" in errors(place.ada.nbgrader("collect", WEEK))[0]
    finally:
        file.unlink()


def test_only_the_last_before_the_due_date(place: Place) -> None:
    place.ada.python(f"""
from nbgrader.api import Gradebook
with Gradebook("sqlite:///{place.course}/gradebook.db?timeout=60", "{COURSE}") as book:
    book.update_or_create_assignment("{WEEK}", duedate="2026-11-25 12:00:00 UTC")
""")
    for number, said in enumerate(("2026-11-24 10", "2026-11-25 13", "2026-11-26 10")):
        hand_in(place.maija, place, f"echo {number} > a.txt", said=f"{said}:00:00.000000 EET")
    hand_in(place.omar, place, "echo late > a.txt")
    place.ada.nbgrader("collect", WEEK, "--before-duedate")
    assert (submitted(place, "maija") / "a.txt").read_text() == "1\n"
    assert (submitted(place, "omar") / "a.txt").read_text() == "late\n"
