"""Look-ups off the loop, remembered, and what a dead source costs."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from courseyard.errors import SourceDownError, UnknownPersonError
from courseyard.people import cache
from courseyard.people.cache import People
from courseyard.people.person import Person
from courseyard.settings import PeopleSettings


class Directory:
    """A real source in memory that can be slow or dead and counts its look-ups."""

    def __init__(self, *people: Person) -> None:
        self.people = {person.username: person for person in people}
        self.asked: list[str] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def look_up(self, username: str) -> Person | None:
        self.asked.append(username)
        self.threads.add(threading.current_thread().name)
        self.gate.wait(10)
        if self.error:
            raise self.error
        return self.people.get(username)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


MAIJA = Person("maija", 21001, 20000)


@pytest.fixture
def directory() -> Directory:
    return Directory(MAIJA, Person("low", 999, 20000), Person("high", 70000, 20000))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def people(directory: Directory, clock: Clock) -> People:
    settings = PeopleSettings(cache=300, cache_unknown=30, timeout=1, max_uid=60000)
    return People(directory, settings, clock=clock)


async def test_an_answer_is_kept_for_the_sites_time(
    people: People, directory: Directory, clock: Clock
) -> None:
    assert await people.get("maija") == MAIJA
    clock.now += 299
    assert await people.get("maija") == MAIJA
    assert directory.asked == ["maija"]
    clock.now += 1
    await people.get("maija")
    assert directory.asked == ["maija", "maija"]


async def test_unknown_is_kept_for_its_own_shorter_time(
    people: People, directory: Directory, clock: Clock
) -> None:
    for _ in range(3):
        with pytest.raises(UnknownPersonError, match="Nobody with your username"):
            await people.get("newcomer")
    assert directory.asked == ["newcomer"]
    directory.people["newcomer"] = Person("newcomer", 21002, 20000)
    clock.now += 30
    assert (await people.get("newcomer")).uid == 21002


async def test_the_loop_is_never_blocked_and_one_look_up_serves_all(
    people: People, directory: Directory
) -> None:
    directory.gate.clear()
    waiting = [asyncio.ensure_future(people.get("maija")) for _ in range(50)]
    longest = 0.0
    for _ in range(20):
        before = time.perf_counter()
        await asyncio.sleep(0)
        longest = max(longest, time.perf_counter() - before)
    directory.gate.set()
    assert await asyncio.gather(*waiting) == [MAIJA] * 50
    assert directory.asked == ["maija"]
    assert directory.threads == {"people-maija"}
    assert longest < 0.2


async def test_a_slow_source_costs_its_look_up_alone(people: People, directory: Directory) -> None:
    await people.get("maija")
    directory.gate.clear()
    slow = asyncio.ensure_future(people.get("stranger"))
    assert await people.get("maija") == MAIJA
    with pytest.raises(SourceDownError, match="does not answer"):
        await slow
    directory.gate.set()


async def test_an_answer_after_the_time_out_still_serves_the_next_one(
    people: People, directory: Directory
) -> None:
    directory.gate.clear()
    with pytest.raises(SourceDownError):
        await people.get("maija")
    directory.gate.set()
    for _ in range(100):
        if not people._under_way:
            break
        await asyncio.sleep(0.01)
    assert await people.get("maija") == MAIJA
    assert directory.asked == ["maija"]


async def test_known_people_go_on_while_the_source_is_down(
    people: People, directory: Directory, clock: Clock
) -> None:
    await people.get("maija")
    directory.error = OSError("connection refused")
    clock.now += 600
    assert await people.get("maija") == MAIJA
    with pytest.raises(SourceDownError):
        await people.get("stranger")
    clock.now += cache.STALE_SECONDS
    with pytest.raises(SourceDownError):
        await people.get("maija")


async def test_stale_answers_come_at_once_while_the_source_hangs(
    people: People, directory: Directory, clock: Clock
) -> None:
    await people.get("maija")
    clock.now += 600
    directory.gate.clear()
    assert await people.get("maija") == MAIJA  # waits for the time-out once
    started = time.perf_counter()
    assert await people.get("maija") == MAIJA
    assert time.perf_counter() - started < 0.5
    directory.gate.set()


async def test_a_person_who_has_gone_is_not_served_from_before(
    people: People, directory: Directory, clock: Clock
) -> None:
    await people.get("maija")
    del directory.people["maija"]
    clock.now += 300
    with pytest.raises(UnknownPersonError):
        await people.get("maija")


async def test_hanging_look_ups_are_bounded(people: People, directory: Directory) -> None:
    directory.gate.clear()
    tasks = [asyncio.ensure_future(people.get(f"x{i}")) for i in range(cache.MAX_THREADS + 5)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, SourceDownError) for result in results)
    assert len(directory.asked) == cache.MAX_THREADS
    directory.gate.set()


async def test_answers_are_bounded(
    people: People, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MAX_ANSWERS", 5)
    await people.get("maija")
    for number in range(10):
        with pytest.raises(UnknownPersonError):
            await people.get(f"made-up-{number}")
    assert len(people._answers) == 5


async def test_a_cancelled_caller_leaves_the_others_their_look_up(
    people: People, directory: Directory
) -> None:
    directory.gate.clear()
    first = asyncio.ensure_future(people.get("maija"))
    second = asyncio.ensure_future(people.get("maija"))
    await asyncio.sleep(0.01)
    first.cancel()
    directory.gate.set()
    assert await second == MAIJA


@pytest.mark.parametrize("name", ["root", "", "../etc", "a/b", "Maija", "a\nb", "x" * 33, "1a"])
async def test_odd_names_never_reach_the_source(
    people: People, directory: Directory, name: str
) -> None:
    with pytest.raises(UnknownPersonError, match="cannot be used"):
        await people.get(name)
    assert directory.asked == []


@pytest.mark.parametrize("name", ["low", "high"])
async def test_user_numbers_out_of_range_are_refused(people: People, name: str) -> None:
    with pytest.raises(UnknownPersonError, match="outside the site's range"):
        await people.get(name)


def test_get_now_works_without_a_loop(people: People, directory: Directory) -> None:
    assert people.get_now("maija") == MAIJA
    assert people.get_now("maija") == MAIJA
    assert directory.asked == ["maija"]
    with pytest.raises(UnknownPersonError):
        people.get_now("stranger")
    with pytest.raises(UnknownPersonError):
        people.get_now("root")
    directory.gate.clear()
    with pytest.raises(SourceDownError):
        people.get_now("other")
    directory.gate.set()


async def test_forget_asks_again(people: People, directory: Directory) -> None:
    await people.get("maija")
    people.forget("maija")
    await people.get("maija")
    assert directory.asked == ["maija", "maija"]
