"""``kill -9`` of each part and of a server: in idle, in the middle of a start, and of a stop."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.faults.town import Person, Town, World, until

PARTS = ("agent", "hub", "proxy")
SAVE = "import os\nwith open('/notebooks/saved', 'w') as f:\n    f.write({!r})\n    f.flush(); os.fsync(f.fileno())"
HUB = (
    "import os, urllib.request as u\n"
    "value = u.urlopen(os.environ['JUPYTERHUB_API_URL'] + '/', timeout=10).status"
)


@pytest.fixture(scope="module")
def empty(town: Town) -> World:
    """The site while nobody runs anything."""
    return town.world()


@pytest.fixture(scope="module")
def teacher(town: Town, empty: World) -> Iterator[Person]:
    """Runs an instructor's server all the time, with its sandbox for grading."""
    person = Person(town, "teacher")
    person.start("algo-instructor")
    yield person
    person.stop("algo-instructor")
    town.settle(empty)


@pytest.fixture
def still(town: Town, teacher: Person) -> Iterator[World]:
    """What is there before a test, and must be there after it, no more and no less."""
    before = town.world()
    first = teacher.answers("algo-instructor")
    assert first
    teacher.run("algo-instructor", SAVE.format("before"))
    yield before
    town.wait_well()
    town.settle(before)
    again = until(lambda: teacher.answers("algo-instructor"), "the neighbour's server")
    assert again["pid"] == first["pid"]  # the same process
    assert teacher.run("algo-instructor", "value = open('/notebooks/saved').read()") == "before"
    assert until(lambda: teacher.run("algo-instructor", HUB), "the way to the hub") == 200
    assert "Algorithms" in teacher.shows()


@pytest.mark.parametrize("part", PARTS)
def test_in_idle(town: Town, still: World, teacher: Person, part: str) -> None:
    town.kill_and_wait(part)
    assert town.world().records == still.records


def test_a_server_in_idle(town: Town, still: World) -> None:
    person = Person(town, "one")
    handle = person.start("algo")
    person.run("algo", SAVE.format("kept"))
    inner = next(r for n, r in town.records() if n == handle)
    assert inner is not None
    os.kill(inner["server"]["pid"], signal.SIGKILL)
    town.settle(still)
    until(lambda: "ended by itself" in person.shows(), "the page tells it")
    until(lambda: not person.pending("algo", there=True), "the hub has let go of it")
    person.start("algo")
    assert person.run("algo", "value = open('/notebooks/saved').read()") == "kept"
    person.stop("algo")


@pytest.mark.parametrize("part", (*PARTS, "server"))
def test_in_the_middle_of_a_start(town: Town, still: World, part: str) -> None:
    person = Person(town, "two")
    before = town.servers()
    person.begin("slow")
    (handle,) = until(lambda: town.servers() - before, "the start begins")
    if part == "server":
        record = dict(town.records())[handle]
        assert record is not None
        os.kill(record["server"]["pid"], signal.SIGKILL)
    else:
        town.kill_and_wait(part)
    # The page comes to an end by itself: the server, or what went wrong; then it works.
    until(lambda: not person.pending("slow"), "the start ends")
    if not person.answers("slow"):
        person.begin("slow")
        until(lambda: person.answers("slow"), "the next start")
    person.stop("slow")


@pytest.mark.parametrize("part", ["agent", "hub"])
def test_before_a_start_has_processes(town: Town, still: World, part: str) -> None:
    """As early as it can be seen: the record is there, bubblewrap may be."""
    person = Person(town, "two")
    before = {name for name, _ in town.records()}
    pid = town.pid_of(part)
    person.begin("algo")
    deadline = time.monotonic() + 30
    while {name for name, _ in town.records()} == before and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    town.wait_another(part, pid)
    until(lambda: not person.pending("algo"), "the start ends")
    if not person.answers("algo"):
        person.start("algo")
    person.stop("algo")


@pytest.mark.parametrize("part", (*PARTS, "server"))
def test_in_the_middle_of_a_stop(town: Town, still: World, part: str) -> None:
    person = Person(town, "three")
    handle = person.start("lingers")
    person.run("lingers", SAVE.format("kept"))
    person.stop("lingers")
    time.sleep(1)
    assert handle in town.servers()  # it takes its time
    if part == "server":
        record = dict(town.records())[handle]
        assert record is not None
        os.kill(record["server"]["pid"], signal.SIGKILL)
    else:
        town.kill_and_wait(part)
    town.settle(still)
    until(lambda: not person.pending("lingers", there=True), "the stop ends")
    person.start("lingers")
    assert person.run("lingers", "value = open('/notebooks/saved').read()") == "kept"
    person.stop("lingers")
