"""What is sent to the agent's socket: garbage never acts, the agent lives on and says why not."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from cases import cases
from hypothesis import example, given
from hypothesis import strategies as st

from courseyard import errors
from courseyard.agent import pam, protocol

#: Values that stand nowhere in a request, or that somebody would like to have somewhere.
HOSTILE: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 2**63, 10**400, 1.5, float("nan"), float("inf"), "", "x" * 5000, "a\0b", "../../etc",
     "/", ".", "..", "root", "\u2028", "\x1b[2J", "${HOME}", [], {}, [[]], {"a": {}}, "0", "user", "start"]
) | st.text(max_size=8)  # fmt: skip
HANDLES = st.text(max_size=30) | st.sampled_from(
    ["..", "../..", "a/b", "", "a" * 121, ".", "a\n", "-x"]
)
NEEDS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(
            ["user", "course", "exchange", "course-userdata", "course-member", "x"]
        )
    },
    optional={
        "slug": st.sampled_from(["../x", "/etc", "a/b", "..", "", "a\0", "x" * 65, ".x", "é"]),
        "username": st.sampled_from(["root", "../x", "", ".", "a/b", "A", "a:b", "x\n", "x" * 65]),
        "uid": st.sampled_from([0, 1, 999, -1, 2**31, 2**64, "0", 1.0, None]),
        "gid": st.sampled_from([0, 4, 999, -1, 2**31, 2**64]),
    },
)


def requests(plan: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Requests that look right and are hostile in one part at least."""
    known = [
        ("poll", "handle"), ("stop", "handle"), ("log", "handle"), ("log", "lines"), ("ping", "extra"),
        ("pam-login", "username"), ("pam-login", "password"), ("ensure-storage", "needs"),
    ]  # fmt: skip
    odd = st.tuples(st.sampled_from(known), HOSTILE).map(lambda x: {"op": x[0][0], x[0][1]: x[1]})
    handles = st.builds(
        lambda op, handle: {"op": op, "handle": handle},
        st.sampled_from(["poll", "stop", "log"]),
        HANDLES,
    )
    storage = st.lists(NEEDS, max_size=3).map(
        lambda needs: {"op": "ensure-storage", "needs": needs}
    )
    login = st.builds(
        lambda name, word: {"op": "pam-login", "username": name, "password": word},
        st.sampled_from(
            ["maija", "root", "../x", "a:b", "maija@example.org", "x" * 65, "a\0", "", "\u202ea"]
        ),
        st.text(max_size=5) | st.sampled_from(["p" * 2000, "a\0b"]),
    )
    secrets = st.dictionaries(
        st.sampled_from(["A", "A=B", "", "COURSEYARD_HUB_ADDRESS", "LD_PRELOAD"]),
        HOSTILE,
        max_size=3,
    )
    starts = st.builds(
        lambda changes, words: {"op": "start", "plan": changed(plan, changes), "secrets": words},
        st.lists(st.tuples(st.sampled_from(sorted(places(plan))), HOSTILE), max_size=3),
        secrets,
    )
    return (
        odd
        | handles
        | storage
        | login
        | starts
        | HOSTILE
        | st.just({"op": "start", "plan": plan, "secrets": None})
    )


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for step, item in inside:
        if step not in ("path", "version"):  # the image stays the one that is refused
            yield (*map(str, path), str(step))
        yield from places(item, (*path, step)) if step != "image" else ()


def changed(plan: dict[str, Any], changes: list[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(plan))
    for path, value in changes:
        part: Any = copy
        with contextlib.suppress(KeyError, IndexError, TypeError, ValueError):
            for step in path[:-1]:
                part = part[int(step)] if isinstance(part, list) else part[step]
            part[int(path[-1]) if isinstance(part, list) else path[-1]] = value
    if isinstance(copy.get("image"), dict):
        copy["image"]["path"] = "/tmp/evil"  # an image that no site lists: no such plan may start
    return copy


class Door:
    """The agent's socket, and what must not change while it is knocked at."""

    def __init__(self, yard: Any) -> None:
        self.yard = yard
        self.path = str(yard.folder / "state" / "run" / "agent.sock")
        self.logins: list[tuple[str, str]] = []
        self.before = self.world()

    def world(self) -> tuple[Any, ...]:
        files = sorted(
            (str(p), (s := p.lstat()).st_uid, s.st_gid, s.st_mode)
            for p in self.yard.folder.rglob("*")
        )
        return tuple(files), frozenset(p.pid for p in psutil.Process().children(recursive=True))

    def ask(self, data: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(self.path)
            answer = b""
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(65536):
                    answer += part
        return answer

    def nothing_happened(self) -> None:
        assert self.world() == self.before
        assert json.loads(self.ask(b'{"op": "ping"}\n'))["value"]["servers"] == []


@pytest.fixture(scope="module")
def door(make_yard: Callable[..., Any]) -> Iterator[Door]:
    patch = pytest.MonkeyPatch()
    found = Door(make_yard())

    def login(username: str, password: str) -> bool:
        found.logins.append((username, password))
        return False

    patch.setattr(pam, "login", login)
    yield found
    patch.undo()


@pytest.fixture(scope="module")
def plan(make_plan: Callable[..., Any]) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(make_plan("instructor").to_json())
    return changed(data, [])


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def refused(answer: bytes) -> None:
    """One typed error, or a question that has a harmless answer; never a traceback."""
    assert b"Traceback" not in answer
    if not answer:
        return  # a line that is too long: the connection ends
    (line,) = answer.splitlines()
    said = protocol.read_answer(line)
    if isinstance(said, protocol.ErrorAnswer):
        assert issubclass(getattr(errors, said.type), errors.CourseyardError)
        assert said.type != "AgentError", said  # "the agent failed": nobody thought of it
        assert said.message.endswith(".")
        assert said.id


@cases(150, shared=False)
@given(st.data())
def knock(door: Door, plan: dict[str, Any], data: st.DataObject) -> None:
    request = data.draw(requests(plan))
    refused(door.ask(json.dumps(request).encode() + b"\n"))


@cases(150, shared=False)
@given(
    data=st.binary(max_size=300)
    | st.text(max_size=100).map(lambda s: f'{{"op": "{s}"}}'.encode(errors="replace"))
)
@example(data=b"")
@example(data=b"[" * 100_000)
@example(data=b'{"op": ' * 10_000)
@example(data=b'{"op": "start", "plan": "' + b"x" * (3 * 1024 * 1024))
@example(data=b'{"op": "poll", "handle": "\\ud800"}')
@example(data=b'{"op": "ping"}' * 1000)
@example(data=b'{"op": "log", "handle": "a", "lines": ' + b"9" * 5000 + b"}")
@example(data=b"\xff\xfe\x00")
def scribble(door: Door, data: bytes) -> None:
    refused(door.ask(data + b"\n"))


@cases(80, shared=False)
@given(data=st.data())
def cut(door: Door, plan: dict[str, Any], data: st.DataObject) -> None:
    """A good looking message that ends early, or in which a byte is another."""
    text = json.dumps({"op": "start", "plan": plan, "secrets": {"A": "b"}}).encode()
    at = data.draw(st.integers(0, len(text) - 1))
    piece = data.draw(st.binary(max_size=3))
    refused(
        door.ask(
            data.draw(st.sampled_from([text[:at] + piece, text[:at] + piece + text[at + 1 :]]))
        )
    )


def test_hostile_requests_never_act(door: Door, plan: dict[str, Any]) -> None:
    knock(door, plan)
    door.nothing_happened()
    assert door.logins
    assert {username for username, _ in door.logins} == {"maija"}


def test_garbage_never_acts(door: Door) -> None:
    scribble(door)
    door.nothing_happened()


def test_damaged_requests_never_act(door: Door, plan: dict[str, Any]) -> None:
    cut(door, plan)
    door.nothing_happened()


def test_a_good_request_acts(door: Door, plan: dict[str, Any]) -> None:
    """The other half: the same door, a need of a person whom the plan made known."""
    good = {"kind": "user", "username": "alice", "uid": 20101, "gid": 20000}
    answer = json.loads(
        door.ask(json.dumps({"op": "ensure-storage", "needs": [good]}).encode() + b"\n")
    )
    assert answer["kind"] == "done"
    assert Path(door.yard.storage / "u/01/alice").is_dir()
    door.before = door.world()


def test_who_is_slow_or_never_reads_keeps_nobody_out(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More connections of the hub's own account than there is room for, each a byte at a time."""
    from courseyard.agent import server

    monkeypatch.setattr(server, "_FIRST_LINE", 1.0)
    slow = [socket.socket(socket.AF_UNIX) for _ in range(server._CONNECTIONS + 20)]
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.2):
            for each in slow:
                with contextlib.suppress(OSError):
                    each.send(b"{", socket.MSG_DONTWAIT)

    dripping = threading.Thread(target=drip)
    try:
        for each in slow:
            each.connect(door.path)
        dripping.start()
        began = time.monotonic()
        while time.monotonic() < began + 60:
            with contextlib.suppress(TimeoutError, BlockingIOError):
                time.sleep(0.1)
                if b"servers" in door.ask(b'{"op": "ping"}\n'):
                    break
        else:
            raise AssertionError("the agent answers nobody else")
    finally:
        stop.set()
        dripping.join()
        for each in slow:
            each.close()
    time.sleep(0.5)
    door.nothing_happened()


def test_an_answer_that_nobody_reads_is_given_up(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long answers to a reader who never reads would take the room of all others for ever."""
    from courseyard.agent import server, supervisor

    async def long_log(self: Any, handle: str, lines: int) -> str:
        return "x" * 600_000

    monkeypatch.setattr(supervisor.Supervisor, "log", long_log)
    monkeypatch.setattr(server, "_ANSWER", 1.0)
    before = open_files()
    deaf = [socket.socket(socket.AF_UNIX) for _ in range(server._CONNECTIONS + 5)]
    try:
        for each in deaf:
            each.connect(door.path)
            each.sendall(b'{"op": "log", "handle": "a"}\n')
        door.nothing_happened()
    finally:
        for each in deaf:
            each.close()
    for _ in range(100):
        if open_files() <= before + 2:
            break
        time.sleep(0.1)
    assert open_files() <= before + 2
