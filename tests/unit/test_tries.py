"""Tries of passwords: counted by name, by address and by browser, in a fixed amount of memory."""

from __future__ import annotations

import pytest

from courseyard.hub.tries import (
    BY_ADDRESS,
    BY_NAME,
    BY_NAME_EVERYWHERE,
    Slots,
    TooManyTriesError,
    Tries,
)

CLASS = "192.0.2.1"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tries(clock: Clock) -> Tries:
    return Tries(clock)


def guess(tries: Tries, name: str, address: str = CLASS, browser: str | None = None) -> bool:
    """A wrong password; whether it was looked at."""
    try:
        tries.begin(address, name, browser)
    except TooManyTriesError:
        return False
    return True


def test_a_name_has_few_tries_at_an_address(tries: Tries, clock: Clock) -> None:
    assert sum(guess(tries, "maija") for _ in range(50)) == BY_NAME[0]
    with pytest.raises(TooManyTriesError) as caught:
        tries.begin(CLASS, "maija")
    assert caught.value.wait == BY_NAME[1]
    clock.now += BY_NAME[1]
    assert [guess(tries, "maija") for _ in range(3)] == [True, False, False]
    clock.now += 3600
    assert sum(guess(tries, "maija") for _ in range(50)) == BY_NAME[0]


def test_nobody_keeps_a_person_out_from_another_address(tries: Tries, clock: Clock) -> None:
    """Who guesses for an hour, as often as one address may."""
    for _ in range(3600):
        guess(tries, "maija")
        clock.now += 1
    assert guess(tries, "maija", "203.0.113.9")


def test_a_name_has_a_limit_over_all_addresses(tries: Tries, clock: Clock) -> None:
    spread = [guess(tries, "maija", f"198.51.{n // 250}.{n % 250}") for n in range(1000)]
    assert sum(spread) == BY_NAME_EVERYWHERE[0]
    clock.now += 60
    again = sum(guess(tries, "maija", f"198.52.{n // 250}.{n % 250}") for n in range(1000))
    assert again == 60 // BY_NAME_EVERYWHERE[1]


def test_a_class_logs_in_from_one_address(tries: Tries) -> None:
    """300 at once, of whom each fifth mistypes first, and again the next hour."""
    for _ in range(2):
        at_once = [tries.begin(CLASS, f"student{number}") for number in range(240)]
        for attempt in at_once:
            attempt.give_back()
        assert all(guess(tries, f"student{number}") for number in range(60))


def test_an_address_has_a_limit_over_all_names(tries: Tries, clock: Clock) -> None:
    spread = [guess(tries, f"student{number}") for number in range(1000)]
    assert sum(spread) == BY_ADDRESS[0]
    assert guess(tries, "student1", "198.51.100.7")
    clock.now += 60
    assert sum(guess(tries, f"more{number}") for number in range(100)) == 60 // BY_ADDRESS[1]


def test_a_refused_name_costs_its_address_nothing(tries: Tries) -> None:
    """Who stubbornly sends one old password locks only that name."""
    for _ in range(2000):
        guess(tries, "maija")
    assert guess(tries, "otso")


def test_right_passwords_cost_nothing(tries: Tries) -> None:
    for _ in range(1000):
        tries.begin(CLASS, "maija").give_back()
    assert guess(tries, "maija")


def test_the_owners_browser_has_tries_of_its_own(tries: Tries) -> None:
    while guess(tries, "maija"):
        pass
    mine = [guess(tries, "maija", browser="maija:0123") for _ in range(20)]
    assert mine == [True] * BY_NAME[0] + [False] * (20 - BY_NAME[0])


def test_ipv6_is_counted_by_network(tries: Tries) -> None:
    spread = [guess(tries, f"student{n}", f"2001:db8::{n:x}") for n in range(1, 1000)]
    assert sum(spread) == BY_ADDRESS[0]
    assert guess(tries, "student1", "2001:db8:0:1::1")


def test_the_machines_own_addresses_are_one(tries: Tries) -> None:
    """Who has an account on it may connect from any of 127.0.0.0/8."""
    spread = [guess(tries, f"student{n}", f"127.0.{n % 9}.{n % 251}") for n in range(1000)]
    assert sum(spread) == BY_ADDRESS[0]
    assert not guess(tries, "student1", "::1")


def test_without_a_name_the_address_counts(tries: Tries) -> None:
    """OAuth: a stream of codes that no provider gave."""
    done = 0
    while done < 1000:
        try:
            tries.begin(CLASS)
        except TooManyTriesError:
            break
        done += 1
    assert done == BY_ADDRESS[0]


def test_nobody_pushes_another_out_of_the_memory(clock: Clock) -> None:
    slots = Slots(*BY_NAME, clock)
    while not slots.take("maija"):
        pass
    size = slots._full_at.itemsize * len(slots._full_at)
    for number in range(200_000):
        slots.take(f"name{number}")
    assert slots.take("maija") > 0
    assert slots._full_at.itemsize * len(slots._full_at) == size
    assert size < 1024 * 1024
