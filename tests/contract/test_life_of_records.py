"""A server whose record cannot be used goes on, is left alone, and ends when a person says so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from courseyard.agent import records, sealed, server, supervisor
from courseyard.agent.records import FILE, Record
from courseyard.backends.base import ExitReason
from courseyard.backends.sandbox import launch, limits, processes
from courseyard.errors import AgentError
from tests.unit.agent.test_records import EARLIER, age

BROKEN = {
    "version 0": '{"version": 0}',
    "version 2": '{"version": 2, "who": "alice"}',
    "garbage": "\x00\x01",
}


@pytest.fixture(scope="module")
def yard(make_yard: Callable[..., Any]) -> Any:
    return make_yard()


def folder_of(yard: Any, handle: str) -> Path:
    return yard.folder / "state" / "agent" / "servers" / handle


def tidied(yard: Any, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """An agent that starts, tidies, and tidies again while it runs."""
    monkeypatch.setattr(supervisor, "_LOOK", 0.02)
    monkeypatch.setattr(supervisor, "_TIDY", 0.02)
    age(folder)
    yard.up()
    time.sleep(1)  # several rounds


def grow_old(folder: Path, seconds: float) -> None:
    """Let a folder be old until it is removed, or for so long; an agent may have written there last."""
    until = time.monotonic() + seconds
    while folder.exists() and time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError):
            age(folder)
        time.sleep(0.1)


@pytest.mark.parametrize("what", BROKEN)
def test_it_goes_on_until_a_person_stops_it(
    yard: Any, make_plan: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = yard.start(make_plan())
    folder = folder_of(yard, inside.handle)
    first = launch.first_process(folder)
    yard.down()
    (folder / FILE).write_text(BROKEN[what])
    tidied(yard, monkeypatch, folder)
    assert inside.run("value = 7") == 7
    assert (folder / "output").is_fifo()
    assert (folder / FILE).read_text() == BROKEN[what]
    assert yard.poll(inside.handle) is None  # or the hub would forget it
    assert inside.handle in yard.call(yard.client.ping())["servers"]
    yard.stop(inside.handle)
    assert first is not None
    assert not first.runs()
    assert yard.poll(inside.handle).reason is ExitReason.GONE
    yard.stop(inside.handle)
    grow_old(folder, 2 if what == "version 2" else 20)
    # Nothing of it lives: it goes, but for what a later agent may still want to know.
    assert folder.exists() is (what == "version 2")


def test_without_the_protection_it_is_forgotten(
    yard: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = yard.start(make_plan())
    folder = folder_of(yard, inside.handle)
    first = launch.first_process(folder)
    assert first is not None
    yard.down()
    (folder / FILE).write_text(BROKEN["garbage"])
    monkeypatch.setattr(sealed.SealedServers, "signs", lambda self, handle: [])
    tidied(yard, monkeypatch, folder)
    grow_old(folder, 20)
    assert not folder.exists()
    assert yard.poll(inside.handle).reason is ExitReason.GONE
    assert first.runs()
    first.signal(signal.SIGKILL)
    limits.detect().of(inside.handle).clear()


@pytest.mark.parametrize("file", EARLIER, ids=lambda file: file.stem)
def test_an_upgrade_finds_every_running_server(
    yard: Any, make_plan: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their records hold what the version before wrote, and nothing that came later."""
    earlier = json.loads(file.read_text()).keys()
    running = [yard.start(make_plan("student", f"user{n}", 20110 + n)) for n in range(3)]
    yard.down()
    for inside in running:
        path = folder_of(yard, inside.handle) / FILE
        now = json.loads(path.read_text())
        path.write_text(json.dumps({key: now[key] for key in earlier}))
    tidied(yard, monkeypatch, folder_of(yard, running[0].handle))
    assert {inside.handle for inside in running} <= set(yard.call(yard.client.ping())["servers"])
    for inside in running:
        assert yard.poll(inside.handle) is None
        assert inside.run("value = 7") == 7
        hub = "import urllib.request as u\nvalue = u.urlopen('http://127.0.0.1:8081/', timeout=5).status"
        assert inside.run(hub) == 200
        yard.stop(inside.handle)
        assert yard.poll(inside.handle).reason is ExitReason.STOPPED


def test_one_agent_at_a_time(yard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two would tidy each other's folders away, and the socket does not tell."""
    path = server.socket_path(yard.site)
    path.rename(path.with_suffix(".away"))
    second = server.serve(yard.site, frozenset())
    with pytest.raises(AgentError, match="Another agent"):
        yard.call(second)
    assert not path.exists()
    monkeypatch.setattr(server, "_alone", lambda site: contextlib.nullcontext())
    started = asyncio.run_coroutine_threadsafe(server.serve(yard.site, frozenset()), yard.loop)
    for _ in range(200):
        if path.exists():
            break
        time.sleep(0.05)
    assert path.exists()
    started.cancel()
    with contextlib.suppress(BaseException):
        started.result(10)
    while path.exists():
        time.sleep(0.02)
    path.with_suffix(".away").rename(path)


def test_a_stop_ends_no_other_server_by_its_number(
    yard: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status file of a server that ended long ago names a process that is another's now."""
    inside = yard.start(make_plan())
    folder = folder_of(yard, "bob.algo-student.00000000")
    folder.mkdir()
    (folder / FILE).write_text("garbage")
    first = launch.first_process(folder_of(yard, inside.handle))
    assert first is not None
    (folder / launch.STATUS).write_text(json.dumps({"child-pid": first.pid}))
    monkeypatch.setattr(sealed, "_TRIES", 2)
    with pytest.raises(AgentError, match="could not be stopped"):
        yard.stop(folder.name)
    assert first.runs()
    yard.stop(inside.handle, now=True)
    yard.stop(folder.name)
    assert isinstance(records.Records(folder.parent).read(inside.handle), Record)
    assert processes.start_time(first.pid) is None
