"""Keys to people's servers: how long they hold, how many there are, and what becomes of a bad file."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from courseyard.hub import keyed, keys, statefile
from courseyard.hub.keys import Keys, cookie_name
from courseyard.hub.places import Places
from courseyard.settings import Site


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(statefile, "_DELAY", 0.01)
    return tmp_path / "keys.json"


async def test_a_session_keeps_its_key_and_others_have_theirs(kept: Path) -> None:
    held = Keys("key", kept)
    first = held.give("ada", "one")
    assert held.give("ada", "one") == first
    assert len({first, held.give("ada", "two"), held.give("maija", "one")}) == 3
    assert len(held.of("ada")) == 2
    held.take("ada", "one")
    held.take("ada", "never there")
    assert first not in held.of("ada")
    held.forget("ada")
    assert held.of("ada") == []
    assert len(held.of("maija")) == 1


async def test_a_restart_keeps_them_without_the_sessions(kept: Path) -> None:
    held = Keys("key", kept)
    key = held.give("ada", "the-session-of-ada")
    await asyncio.sleep(0.1)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "the-session-of-ada" not in kept.read_text()
    again = Keys("key", kept)
    assert again.of("ada") == [key]
    assert again.give("ada", "the-session-of-ada") == key


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"ada": 1}', '{"ada": {"s": 1}}', '{"ada": {"s": ["x", "y"]}}',
     '{"ada": {"s": ["' + "a" * 43 + '", "soon"]}}', '{"ada": {"s": [1, 9e12]}}'],
)  # fmt: skip
def test_a_damaged_file_opens_nothing(kept: Path, text: str) -> None:
    kept.write_text(text)
    assert Keys("key", kept).of("ada") == []


def test_what_is_no_key_gets_into_no_rule(kept: Path) -> None:
    kept.write_text('{"ada": {"s": [".*`) || PathPrefix(`/`) || Path(`/aaaa", 9e12]}}')
    assert Keys("key", kept).of("ada") == []


async def test_keys_end(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr(keys.time, "time", lambda: now)
    held = Keys("key", kept)
    old = held.give("ada", "one")
    now += keys._LIFE - 10
    held.give("maija", "one")
    held.give("ada", "two")
    assert held.expire() == []
    now += 20
    assert held.of("ada") == [held.give("ada", "two")]
    assert held.expire() == ["ada"]
    assert held.give("ada", "one") != old
    now += 2 * keys._LIFE
    assert sorted(held.expire()) == ["ada", "maija"]


async def test_one_person_has_twenty_at_most(kept: Path) -> None:
    held = Keys("key", kept)
    given = [held.give("ada", str(number)) for number in range(50)]
    assert held.give("ada", "30") in given  # used again, so it is the newest
    held.give("ada", "50")
    assert len(held.of("ada")) == 20
    assert given[49] in held.of("ada")
    assert given[30] in held.of("ada")
    assert given[31] not in held.of("ada")


@pytest.mark.parametrize(
    ("hub", "name"),
    [
        ({}, "courseyard-key"),
        ({"public_url": "https://jupyter.example.org/"}, "__Host-courseyard-key"),
        ({"base_url": "/a/b/"}, "courseyard-key-a-b"),
    ],
)
def test_the_cookies_name(tmp_path: Path, hub: dict[str, str], name: str) -> None:
    site = Site.model_validate({"folder": tmp_path, "hub": hub})
    assert cookie_name(Places(site)) == name


def matches(rule: str, **headers: str) -> bool:
    """A reading of Traefik's rule by the tests: its `HeaderRegexp`s become true or false."""

    def one(found: re.Match[str]) -> str:
        return str(re.search(found[2], headers.get(found[1], "")) is not None)

    text = re.sub(r"HeaderRegexp\(`(\w+)`, `([^`]*)`\)", one, rule)
    text = re.sub(r"Path(Prefix)?\(`[^`]*`\)", "True", text)
    text = text.replace("&&", " and ").replace("||", " or ").replace("!", " not ")
    return bool(eval(text))


def test_a_person_without_keys_is_reached_with_a_token_alone() -> None:
    router: dict[str, Any] = {"rule": "PathPrefix(`/user/ada/x/`)", "service": "s"}
    locked = keyed.lock(router, "key", [])
    assert not matches(locked["rule"], Cookie="key=")
    assert matches(locked["rule"], Authorization="token abc")
    assert locked["priority"] == len(router["rule"])
    assert locked["service"] == "s"
    assert router == {"rule": "PathPrefix(`/user/ada/x/`)", "service": "s"}


def test_one_of_many_keys_opens() -> None:
    rule = keyed.lock({"rule": "PathPrefix(`/`)"}, "key", ["aaa", "bbb"])["rule"]
    assert matches(rule, Cookie="key=aaa")
    assert matches(rule, Cookie="a=1; key=bbb; b=2")
    for cookie in ("key=aaa|bbb", "key=aa", "key=aaab", "xkey=aaa", "key=aaa; key=bbb"):
        assert not matches(rule, Cookie=cookie)
