"""The ground under a site gives way and comes back: disks, people, courses, the clock."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.town import Person, Town, World, until

DAY = 24 * 3600


@pytest.fixture
def one(town: Town) -> Iterator[Person]:
    """Somebody whose server must go on whatever happens."""
    person = Person(town, "one")
    before = town.world()
    handle = person.start("algo")
    assert handle in town.servers()
    first = person.answers("algo")
    assert first
    yield person
    again = until(lambda: person.answers("algo"), "the server that ran all the time")
    assert again["pid"] == first["pid"]
    person.stop("algo")
    town.settle(before)


# --- full disks -------------------------------------------------------------------------------


@pytest.fixture
def small(town: Town, require: Any) -> Iterator[Callable[[Path, int], Path]]:
    """Puts a small file system of its own under a folder, with what was in it."""
    require("root")
    mounted: list[Path] = []

    def put(folder: Path, size: int) -> Path:
        aside = folder.with_name(f"{folder.name}.aside")
        subprocess.run(["cp", "-a", str(folder), str(aside)], check=True)
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        subprocess.run(words, check=True)
        mounted.append(folder)
        subprocess.run(["cp", "-aT", str(aside), str(folder)], check=True)
        subprocess.run(["rm", "-rf", str(aside)], check=True)
        return folder

    yield put
    for folder in mounted:
        aside = folder.with_name(f"{folder.name}.aside")
        subprocess.run(["cp", "-aT", str(folder), str(aside)], check=True)
        subprocess.run(["umount", "-l", str(folder)], check=True)
        subprocess.run(["cp", "-aT", str(aside), str(folder)], check=True)
        subprocess.run(["rm", "-rf", str(aside)], check=True)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Not a byte is left on the file system of ``folder``."""
    filler = folder / "filler"
    with filler.open("wb") as file, contextlib.suppress(OSError):
        while True:
            for size in (2**20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        os.write(file.fileno(), b"x" * size)
            raise OSError
    try:
        yield
    finally:
        filler.unlink()


@pytest.fixture
def own_town() -> Iterator[Callable[[], Town]]:
    """A site of its own, whose folders may be put on other file systems before it starts."""
    made: list[Town] = []

    def make() -> Town:
        made.append(Town.make())
        return made[-1]

    yield make
    for town in made:
        town.close()


def test_a_full_disk_under_the_hub(own_town: Callable[[], Town], small: Any) -> None:
    town = own_town()
    (town.folder / "state" / "hub").mkdir(parents=True)
    ground = small(town.folder / "state" / "hub", 24 * 2**20)
    town.up()
    one, two = Person(town, "one"), Person(town, "two")
    one.start("algo")
    first = one.answers("algo")
    assert first
    with full(ground):
        two.begin("algo")  # whatever it says
        for _ in range(3):
            two.get("/hub/home")
            one.get("/hub/home")
        assert one.answers("algo") == first  # it is the proxy that carries
        assert one.run("algo", "open('/notebooks/a', 'w').write('x'); value = 1") == 1
    until(lambda: "Algorithms" in one.get("/hub/home").text, "the course page comes back")
    until(lambda: _start_now(two, "algo"), "starts work again")
    one.stop("algo")
    two.stop("algo")
    until(lambda: not town.servers(), "both stop")
    town.down()


def _start_now(person: Person, server: str) -> bool:
    if not person.answers(server):
        person.begin(server)
    return until(lambda: person.answers(server), "an answer", 15) is not None


def test_a_full_disk_under_homes_records_and_logs(own_town: Callable[[], Town], small: Any) -> None:
    town = own_town()
    for name in ("storage/u", "state/agent", "state/log"):
        (town.folder / name).mkdir(parents=True, mode=0o755)
    grounds = [
        small(town.folder / name, 4 * 2**20) for name in ("storage/u", "state/agent", "state/log")
    ]
    town.up()
    one, two = Person(town, "one"), Person(town, "two")
    one.start("algo")
    one.run("algo", "open('/notebooks/kept', 'w').write('whole')")
    homes, records, logs = grounds
    with full(homes):
        code = "try:\n    open('/notebooks/b', 'w').write('x' * 9999); value = ''\nexcept OSError as e:\n    value = e.strerror"
        assert "No space" in one.run("algo", code)
        assert one.run("algo", "value = open('/notebooks/kept').read()") == "whole"
        two.start("general")  # a full home stops no start
    with full(logs):
        town.kill_and_wait("hub")
        assert "Algorithms" in one.shows()
        assert one.answers("algo")
    with full(records):
        assert one.answers("algo")
        two.begin("algo")
        page = two.wait_running("algo").text
        assert "could not be started" in page
        assert "does not answer" not in page
        one.stop("algo")
        until(lambda: not one.answers("algo"), "a stop works")
    town.settle(_only(town, "general-python-env"))
    one.start("algo")
    assert one.run("algo", "value = open('/notebooks/kept').read()") == "whole"
    for person, server in ((one, "algo"), (two, "general")):
        person.stop(server)
    until(lambda: not town.servers(), "both stop")
    town.down()


def _only(town: Town, server: str) -> World:
    """The world that is now, once it has one server left."""
    until(lambda: len(town.servers()) == 1, "one server is left")
    found = town.world()
    assert all(server in name for name in found.records)
    assert found.cgroups <= found.records
    return found


# --- people and courses -----------------------------------------------------------------------


def test_a_source_of_people_that_hangs(town: Town, one: Person) -> None:
    two = Person(town, "two")
    (town.folder / "hang").write_text(town.people["two"])
    time.sleep(1.5)  # until what is known of them has aged
    # Known people go on while it hangs; nobody else waits, and the hub answers.
    assert "Algorithms" in two.shows()
    three = Person(town, "three")
    three.start("algo")
    three.stop("algo")
    assert one.answers("algo")
    (town.folder / "hang").unlink()
    until(lambda: _start_now(two, "algo"), "a start once it answers")
    two.stop("algo")


def test_a_folder_of_courses_that_goes_away(town: Town, one: Person) -> None:
    courses = town.folder / "courses"
    away = town.folder / "courses.away"
    courses.rename(away)
    time.sleep(1)
    assert one.answers("algo")
    assert "Algorithms" in one.shows()
    general = Person(town, "two")
    general.start("general")
    away.rename(courses)
    until(lambda: _start_now(general, "algo"), "starts of courses")
    for server in ("general", "algo"):
        general.stop(server)


def test_an_empty_folder_of_courses(town: Town, one: Person) -> None:
    """As of a network file system that is not mounted: who works goes on, and starts come back."""
    courses, away = town.folder / "courses", town.folder / "courses.away"
    courses.rename(away)
    courses.mkdir()
    until(lambda: "Its course is no longer here" in one.shows(), "the page says so")
    assert one.answers("algo")
    courses.rmdir()
    away.rename(courses)
    until(lambda: "Its course is no longer here" not in one.shows(), "the course is back")
    two = Person(town, "two")
    until(lambda: _start_now(two, "algo"), "starts of courses")
    two.stop("algo")


# --- the clock --------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [2 * DAY, -2 * DAY])
def test_a_clock_that_jumps(town: Town, one: Person, seconds: int) -> None:
    """By more than a server may be idle or old: nobody's server is stopped for it."""
    (town.folder / "clock").write_text(str(seconds))
    try:
        time.sleep(6)  # three looks of who culls
        assert one.answers("algo")
        assert "Algorithms" in one.shows()
        two = Person(town, "two")
        two.start("algo")
        assert town.log("state/log/hub.log").count("jumped") >= 1
    finally:
        (town.folder / "clock").unlink()
    time.sleep(5)
    assert two.answers("algo")
    two.stop("algo")
