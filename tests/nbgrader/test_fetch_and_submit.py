"""Fetching and handing in: whole or not at all, said in a sentence, and nobody else's to read.

Each fault is seen first with nbgrader's own part in the place of ours.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nbgrader.conftest import AS_ROOT, COURSE, STUDENTS, Actor, Place
from tests.nbgrader.test_feedback import run
from tests.nbgrader.test_single_user_server import hub as hub  # the fixture
from tests.nbgrader.test_single_user_server import plan_of, start

WEEK, NOTEBOOK = "week1", "sorting.ipynb"
STOCK = "nbgrader.exchange.default.Exchange"
STOCK_FETCH = f"--ExchangeFactory.fetch_assignment={STOCK}FetchAssignment"
STOCK_FEEDBACK = f"--ExchangeFactory.fetch_feedback={STOCK}FetchFeedback"
STOCK_SUBMIT = f"--ExchangeFactory.submit={STOCK}Submit"
SIZE = 200  # kB of a small home
different_uids = pytest.mark.skipif(not AS_ROOT, reason="needs root: accounts of their own")


@pytest.fixture(scope="module", autouse=True)
def released(place: Place) -> None:
    place.ada.run("sh", "-c", 'echo 1,2 > "$0"', str(place.course / "source" / WEEK / "a.csv"))
    run(place.ada, ("generate_assignment", WEEK), ("release_assignment", WEEK))


@pytest.fixture(autouse=True)
def tidy(place: Place) -> Iterator[None]:
    yield
    for name in STUDENTS:
        place.people[name].run("sh", "-c", "rm -rf * .cache")
    clear(place)


def clear(place: Place) -> None:
    for folder in arrived(place):
        place.maija.run("rm", "-rf", str(folder))


def inbound(place: Place) -> Path:
    return place.exchange / COURSE / "inbound"


def arrived(place: Place) -> list[Path]:
    """All that lies in ``inbound``, hidden or not."""
    return list(inbound(place).iterdir())


class Home:
    """A small notebooks folder; the cache of submissions lies in it, too."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.full = False
        self.cache = actor.notebooks / ".cache"
        self.week = actor.notebooks / COURSE / WEEK

    def fill(self, free: int = 0) -> None:
        """Leave room for ``free`` kB; without a file system of its own, files of no size at all."""
        self.full = True
        if AS_ROOT:
            self.actor.run("sh", "-c", "cat /dev/zero > full 2>/dev/null; true")
            self.actor.run("truncate", f"--size=-{free}K", "full")

    def empty(self) -> None:
        self.full = False
        self.actor.run("rm", "-f", "full")

    def nbgrader(self, *words: str) -> str:
        limit = "ulimit -f 0; " if self.full and not AS_ROOT else ""
        script = f'{limit}exec nbgrader "$@" 2>&1 | cat'
        cache = f"--Exchange.cache={self.cache}"
        return self.actor.run("sh", "-c", script, "sh", *words, cache, ok=False)

    def files(self) -> dict[str, int]:
        """All files of the assignment and their sizes, hidden or not, beside it too."""
        found = (path for path in self.week.parent.rglob("*") if path.is_file())
        return {str(path.relative_to(self.week.parent)): path.stat().st_size for path in found}


@contextlib.contextmanager
def small(actor: Actor) -> Iterator[None]:
    if AS_ROOT:
        options = f"size={SIZE}k,uid={actor.uid},gid={actor.gid},mode=700"
        mount = ["mount", "-t", "tmpfs", "-o", options, "small", str(actor.notebooks)]
        subprocess.run(mount, check=True)
    try:
        yield
    finally:
        if AS_ROOT:
            subprocess.run(["umount", str(actor.notebooks)], check=True)


@pytest.fixture
def home(place: Place) -> Iterator[Home]:
    with small(place.maija):
        yield Home(place.maija)


def no_room(said: str, undone: str) -> bool:
    reason = "there is no room left" if AS_ROOT else "File too large"
    return f"{undone}: {reason}" in said and "Traceback" not in said


def released_files(place: Place) -> dict[str, int]:
    folder = place.exchange / COURSE / "outbound" / WEEK
    # Without the due date, which is for the list alone.
    return {f"{WEEK}/{path.name}": path.stat().st_size for path in folder.glob("[!.]*")}


def test_a_full_home_keeps_no_half_of_an_assignment(place: Place, home: Home) -> None:
    home.fill(free=5)
    home.nbgrader("fetch_assignment", WEEK, STOCK_FETCH)
    assert home.files() != {}, "the fault is none"
    assert home.files() != released_files(place)
    home.empty()
    said = home.nbgrader("fetch_assignment", WEEK, STOCK_FETCH)
    assert "already have a copy" in said, "and it is not renewed"
    home.actor.run("rm", "-rf", str(home.week))

    home.fill(free=5)
    said = home.nbgrader("fetch_assignment", WEEK)
    assert no_room(said, "The assignment 'week1' was not fetched"), said
    assert home.files() == {}
    home.empty()
    home.nbgrader("fetch_assignment", WEEK)
    assert home.files() == released_files(place)


def test_fetching_again_brings_back_what_is_missing(place: Place, home: Home) -> None:
    home.nbgrader("fetch_assignment", WEEK)
    script = f"echo mine > {NOTEBOOK}.txt; echo work >> a.csv; : > {NOTEBOOK}"
    home.actor.run("sh", "-c", f'cd "$0"; {script}', str(home.week))
    home.fill()
    said = home.nbgrader("fetch_assignment", WEEK)
    assert no_room(said, "The assignment 'week1' was not fetched"), said
    assert home.files()[f"{WEEK}/{NOTEBOOK}"] == 0
    home.empty()
    for damage in ("true", f"rm {NOTEBOOK}"):
        home.actor.run("sh", "-c", f'cd "$0"; {damage}', str(home.week))
        home.nbgrader("fetch_assignment", WEEK)
        found = home.files()
        assert found[f"{WEEK}/{NOTEBOOK}"] == released_files(place)[f"{WEEK}/{NOTEBOOK}"]
        assert set(found) == {*released_files(place), f"{WEEK}/{NOTEBOOK}.txt"}
        assert found[f"{WEEK}/a.csv"] == len("1,2\nwork\n"), "what one has stays as it is"


def test_a_full_home_hands_in_nothing(place: Place, home: Home) -> None:
    home.nbgrader("fetch_assignment", WEEK)
    home.fill(free=5)
    said = home.nbgrader("submit", WEEK, STOCK_SUBMIT)
    if AS_ROOT:  # the other fake knows no difference between the two places
        assert "Traceback" in said, "the fault is none"
        assert [path.name.partition("+")[0] for path in arrived(place)] == ["maija"]
        assert not list(home.cache.rglob("submission_secret.txt")), "and its feedback never comes"
    home.actor.run("rm", "-rf", ".cache")
    clear(place)

    home.fill(free=5)
    said = home.nbgrader("submit", WEEK)
    assert no_room(said, "The assignment 'week1' was not submitted"), said
    assert arrived(place) == []
    assert [path for path in home.cache.rglob("*") if path.is_file()] == []
    home.empty()
    said = home.nbgrader("submit", WEEK)
    assert "Submitted as" in said
    (sent,), (kept,) = arrived(place), (home.cache / COURSE).iterdir()
    for name in (NOTEBOOK, "a.csv", "timestamp.txt", "submission_secret.txt"):
        assert (sent / name).read_bytes() == (kept / name).read_bytes() != b""
    assert sent.name.startswith(f"{kept.name}+")


def test_a_submission_that_is_too_large_is_said_in_words(place: Place, home: Home) -> None:
    home.nbgrader("fetch_assignment", WEEK)
    said = home.nbgrader("submit", WEEK, "--CourseDirectory.max_dir_size=1")
    assert "was not submitted: its files have" in said
    assert "Traceback" not in said
    assert arrived(place) == []


def test_feedback_replaces_a_page_whole_or_not_at_all(place: Place, home: Home) -> None:
    home.nbgrader("fetch_assignment", WEEK)
    home.nbgrader("submit", WEEK)
    steps = ("collect", "autograde", "generate_feedback", "release_feedback")
    run(place.ada, *((step, WEEK) for step in steps))
    home.fill(free=5)
    home.nbgrader("fetch_feedback", WEEK, STOCK_FEEDBACK)
    pages = [path for path in home.week.rglob("*.html") if path.is_file()]
    assert pages, "the fault is none"
    home.actor.run("rm", "-rf", str(home.week / "feedback"))
    home.fill(free=5)
    said = home.nbgrader("fetch_feedback", WEEK)
    assert no_room(said, "The feedback on 'sorting' was not fetched"), said
    assert [path for path in (home.week / "feedback").rglob("*") if path.is_file()] == []
    home.empty()
    home.nbgrader("fetch_feedback", WEEK)
    (page,) = home.week.rglob("*.html")
    assert "</html>" in page.read_text()


def test_the_list_of_assignments_says_what_went_wrong(place: Place, hub: str) -> None:
    """Its *Fetch* said success, its *Submit* a traceback."""
    words = f"?assignment_id={WEEK}&course_id={COURSE}"
    with small(place.ada):
        server = start(place.ada, hub, plan_of(place, "student"))
        home = Home(place.ada)

        def press(action: str) -> dict[str, object]:
            found: dict[str, object] = json.loads(
                server.get(f"assignments/{action}{words}", "POST")[1]
            )
            return found

        def status() -> str:
            said = server.get(f"assignments?course_id={COURSE}")[1]
            return str(json.loads(said)["value"][0]["status"])

        try:
            if AS_ROOT:
                home.fill(free=5)
                pressed = press("fetch")
                assert not pressed["success"]
                assert str(pressed["value"]).startswith("The assignment 'week1' was not fetched: ")
                assert status() == "released"
                home.empty()
            assert press("fetch")["success"]
            assert status() == "fetched"
            home.actor.run("rm", str(home.week / NOTEBOOK))
            assert status() == "released", "it is offered again"
            assert press("fetch")["success"]
            assert (home.week / NOTEBOOK).stat().st_size
            home.actor.run("mkfifo", str(home.week / "pipe"))
            pressed = press("submit")
            assert not pressed["success"]
            assert str(pressed["value"]).startswith("The assignment 'week1' was not submitted: ")
            assert "pipe" in str(pressed["value"])
        finally:
            server.stop()
    assert arrived(place) == []


@different_uids
def test_who_learns_its_name_can_do_nothing_with_a_submission(place: Place) -> None:
    place.maija.nbgrader("fetch_assignment", WEEK)
    deep = place.maija.notebooks / COURSE / WEEK / "deep"
    place.maija.run("sh", "-c", 'mkdir "$0"; echo mine > "$0/a.txt"', str(deep))

    def attack(folder: Path) -> list[str]:
        """What another student can do who knows the name."""
        tries = {
            "list": 'ls "$0"',
            "read": f'cat "$0/{NOTEBOOK}"',
            "read below": 'cat "$0/deep/a.txt"',
            "add": 'touch "$0/b.txt"',
            "add below": 'touch "$0/deep/b.txt"',
            "replace": f'mv "$0/{NOTEBOOK}" "$0/x"',
            "rename": 'mv "$0" "$0.x" && mv "$0.x" "$0"',
            "remove": 'rm -rf "$0"',
        }
        return [
            what
            for what, script in tries.items()
            if "OK" in place.omar.run("sh", "-c", f"({script}) 2>&1 && echo OK; true", str(folder))
        ]

    place.maija.nbgrader("submit", WEEK, STOCK_SUBMIT)
    (folder,) = arrived(place)
    assert {"list", "read", "add", "replace"} <= set(attack(folder)), "the attack is none"
    clear(place)

    place.maija.nbgrader("submit", WEEK)
    (folder,) = arrived(place)
    assert attack(folder) == []
    place.tomas.nbgrader("collect", WEEK, "--update")
    got = place.course / "submitted" / "maija" / WEEK
    assert (got / "deep" / "a.txt").read_text() == "mine\n"
    assert (got / NOTEBOOK).is_file()
