"""Starts, stops, restarts and ends: nothing is left behind, and everyone is told why."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from courseyard.agent.client import AgentClient
from courseyard.backends.base import ExitReason, Progress, Started
from courseyard.errors import AgentDownError, AgentRefusedError, StorageError, UnsupportedError


@pytest.fixture(scope="module")
def yard(make_yard: Callable[..., Any]) -> Any:
    return make_yard()


def processes_of(yard: Any, handle: str) -> list[int]:
    """Processes that have this server's status file open or its plan's user's name in their line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
                if str(yard.image).encode() in line and b"become.py" in line:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_progress_then_started(yard: Any, make_plan: Any) -> None:
    async def steps() -> list[Any]:
        return [s async for s in yard.client.start(make_plan(), {})]

    seen = yard.call(steps())
    assert [type(s) for s in seen[:-1]] == [Progress] * (len(seen) - 1)
    percents = [s.percent for s in seen[:-1]]
    assert percents == sorted(percents)
    assert isinstance(seen[-1], Started)
    yard.stop(seen[-1].handle, now=True)


@pytest.mark.parametrize("now", [False, True])
def test_stop_ends_all_processes(yard: Any, make_plan: Any, now: bool) -> None:
    inside = yard.start(make_plan())
    inside.run(
        "import subprocess as s, os\n"
        "p = s.Popen(['sleep', '600'], start_new_session=True)\n"
        "if os.fork() == 0:\n    os.setsid()\n    os.execvp('sleep', ['sleep', '600'])\nvalue = p.pid"
    )
    yard.stop(inside.handle, now=now)
    assert yard.poll(inside.handle).reason is ExitReason.STOPPED
    assert processes_of(yard, inside.handle) == []
    yard.stop(inside.handle)  # again: nothing happens


def test_server_that_ends_by_itself(yard: Any, make_plan: Any) -> None:
    inside = yard.start(make_plan())
    assert yard.poll(inside.handle) is None
    inside.run("import threading, os\nthreading.Timer(0.2, os._exit, [3]).start()")
    for _ in range(100):
        if (ended := yard.poll(inside.handle)) is not None:
            break
        time.sleep(0.05)
    assert ended.reason is ExitReason.EXITED
    assert ended.code == 3


def test_unknown_handle_is_gone(yard: Any) -> None:
    assert yard.poll("nobody.nothing.00000000").reason is ExitReason.GONE
    yard.stop("nobody.nothing.00000000")


def test_log_is_kept_and_bounded(yard: Any, make_plan: Any) -> None:
    inside = yard.start(make_plan())
    inside.run(
        "import os\nfor _ in range(40): os.write(1, b'x' * 79 + b'\\n' + b'y' * 65000 + b'\\n')", 60
    )
    inside.run("print('the last line \\x1b[31m', flush=True)")
    time.sleep(3)
    text = yard.call(yard.client.log(inside.handle, 3))
    assert "the last line" in text
    assert "\x1b" not in text
    folder = yard.folder / "state" / "agent" / "servers" / inside.handle
    assert sum(f.stat().st_size for f in folder.iterdir() if f.is_file()) < 1_500_000
    yard.stop(inside.handle, now=True)
    assert "the last line" in yard.call(yard.client.log(inside.handle, 3))


def test_agent_restart_finds_servers_again(yard: Any, make_plan: Any) -> None:
    inside = yard.start(make_plan())
    gone = yard.start(make_plan("student", "bob", 20102))
    yard.down()
    with pytest.raises(AgentDownError) as caught:
        yard.call(yard.client.ping())
    assert "does not answer" in caught.value.message
    assert inside.run("value = 7") == 7  # servers do not notice
    gone.run("import threading, os\nthreading.Timer(0.1, os._exit, [4]).start()")
    time.sleep(0.6)
    yard.up()
    assert yard.poll(inside.handle) is None
    assert yard.poll(gone.handle).reason is ExitReason.EXITED
    assert yard.poll(gone.handle).code == 4
    hub = "import urllib.request as u\nvalue = u.urlopen('http://127.0.0.1:8081/', timeout=5).read().decode()"
    assert "hub" in inside.run(hub)
    yard.stop(inside.handle)
    assert yard.poll(inside.handle).reason is ExitReason.STOPPED
    assert processes_of(yard, inside.handle) == []


def test_a_start_waits_for_an_agent_that_comes_back(yard: Any, make_plan: Any) -> None:
    yard.down()
    start = asyncio.run_coroutine_threadsafe(yard._start(make_plan(), yard.secrets()), yard.loop)
    time.sleep(0.5)
    assert not start.done()
    yard.up()
    assert yard.poll(start.result(90).handle) is None
    yard.stop(start.result().handle, now=True)


def test_a_start_does_not_wait_for_ever(yard: Any, make_plan: Any) -> None:
    yard.down()
    try:
        impatient = AgentClient(yard.folder / "state" / "run" / "agent.sock", away=0.5)
        with pytest.raises(AgentDownError):
            yard.call(impatient.ensure_storage(make_plan().storage))
    finally:
        yard.up()


def test_cancelled_start_leaves_nothing(yard: Any, make_plan: Any) -> None:
    async def cancelled(delay: float) -> None:
        async def run() -> None:
            async for _ in yard.client.start(make_plan(), {}):
                pass

        task = asyncio.create_task(run())
        await asyncio.sleep(delay)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return

    before = set(yard.call(yard.client.ping())["servers"])
    servers = yard.folder / "state" / "agent" / "servers"
    records = {p.name for p in servers.iterdir()}
    for delay in (0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05):
        yard.call(cancelled(delay))
    time.sleep(1.0)
    after = set(yard.call(yard.client.ping())["servers"])
    for handle in after - before:  # the whole start was faster than the cancel
        yard.stop(handle, now=True)
    assert processes_of(yard, "") == []
    left = {p.name for p in servers.iterdir()} - records - after
    assert left == set()


def test_failed_start_leaves_nothing(yard: Any, make_plan: Any) -> None:
    servers = yard.folder / "state" / "agent" / "servers"
    records = {p.name for p in servers.iterdir()}
    with pytest.raises(StorageError):  # its folder was never made
        yard.start(make_plan("student", "nora", 20130).model_copy(update={"storage": ()}))
    plan = make_plan()
    mount = plan.mounts[0].model_copy(update={"target": "/usr/lib"})
    with pytest.raises(AgentRefusedError):
        yard.start(plan.model_copy(update={"mounts": (*plan.mounts, mount)}))
    assert {p.name for p in servers.iterdir()} == records
    assert processes_of(yard, "") == []


def test_broken_list_of_images_costs_nothing_while_running(yard: Any, make_plan: Any) -> None:
    yard.stop(yard.start(make_plan()).handle, now=True)
    file = yard.folder / "images.yaml"
    good = file.read_text()
    file.write_text("families: [")
    try:
        yard.stop(yard.start(make_plan()).handle, now=True)
    finally:
        file.write_text(good)


def test_gpu_is_refused_politely(yard: Any, make_plan: Any) -> None:
    plan = make_plan()
    limits = plan.limits.model_copy(update={"extra_limits": {"nvidia.com/gpu": "1"}})
    with pytest.raises(UnsupportedError) as caught:
        yard.start(plan.model_copy(update={"limits": limits}))
    assert "nvidia.com/gpu" in caught.value.message
    assert "/" not in caught.value.message.replace("nvidia.com/gpu", "")


def test_fork_bomb_is_bounded(yard: Any, make_plan: Any) -> None:
    inside = yard.start(make_plan())
    made = inside.run(
        "import os, signal\nkids = []\n"
        "try:\n"
        "    for _ in range(400):\n"
        "        pid = os.fork()\n"
        "        if pid == 0:\n            signal.pause()\n"
        "        kids.append(pid)\n"
        "except OSError: pass\n"
        "value = len(kids)\n"
        "for k in kids: os.kill(k, 9)\nfor k in kids: os.waitpid(k, 0)"
    )
    assert 0 < made <= 100
    yard.stop(inside.handle, now=True)


def test_memory_is_bounded(yard: Any, make_plan: Any) -> None:
    inside = yard.start(make_plan())
    code = (
        "import subprocess as s, sys\n"
        "p = s.run([sys.executable, '-c', 'b = bytearray(1 << 30); b[::4096] = b\"x\" * len(b[::4096])'],"
        " capture_output=True)\nvalue = p.returncode"
    )
    assert inside.run(code, 60) != 0
    assert inside.run("value = 1") == 1
    yard.stop(inside.handle, now=True)


def test_ten_at_once(yard: Any, make_plan: Any) -> None:
    async def all_at_once() -> list[Any]:
        plans = [make_plan("student", f"user{n}", 20110 + n) for n in range(10)]
        return await asyncio.gather(*(yard._start(plan, {}) for plan in plans))

    started = yard.call(all_at_once())
    assert len({s.port for s in started}) == 10
    for server in started:
        yard.stop(server.handle, now=True)


def test_killed_from_outside_is_told(yard: Any, make_plan: Any) -> None:
    inside = yard.start(make_plan())
    (pid, *_) = processes_of(yard, inside.handle)
    os.kill(pid, signal.SIGKILL)
    for _ in range(100):
        if (ended := yard.poll(inside.handle)) is not None:
            break
        time.sleep(0.05)
    assert ended is not None
    assert processes_of(yard, inside.handle) == []
