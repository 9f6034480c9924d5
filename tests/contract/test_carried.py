"""The connections of a server outlive the agent, and what an earlier version left running goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from courseyard.agent import held
from courseyard.backends.sandbox.processes import Process, boot_id
from tests.contract.handed_in import below, handed_in, wait_for
from tests.neighbour import neighbour

HUB = "import urllib.request as u\nvalue = u.urlopen('http://127.0.0.1:8081/', timeout=5).status"


@pytest.fixture(scope="module")
def yard(make_yard: Callable[..., Any]) -> Any:
    return make_yard()


def folder_of(yard: Any, handle: str) -> Path:
    folder: Path = yard.folder / "state" / "agent" / "servers" / handle
    return folder


def carrier_of(yard: Any, handle: str) -> Process:
    known = json.loads((folder_of(yard, handle) / "record.json").read_text())["carrier"]
    return Process(known["pid"], known["start"])


def parent_of(process: Process) -> Process:
    """What a carrier was forked from, as long as that runs."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return Process.of(int(fields[1]))


def test_an_open_connection_goes_on_without_the_agent(yard: Any, make_plan: Any) -> None:
    inside = yard.start(make_plan())
    parent = parent_of(carrier_of(yard, inside.handle))
    # The probe answers a request when its body is there: half of it comes after the restart.
    code = b"value = 'whole'"
    with socket.create_connection(("127.0.0.1", inside.port), 30) as open_:
        head = f"POST / HTTP/1.0\r\nContent-Length: {len(code)}\r\n\r\n".encode()
        open_.sendall(head + code[:5])
        yard.down()
        wait_for(lambda: not parent.runs())
        assert inside.run(HUB) == 200  # the relay needs nobody either
        yard.up()
        carrier = carrier_of(yard, inside.handle)
        assert carrier.runs()
        open_.sendall(code[5:])
        with open_.makefile("rb") as stream:
            assert stream.read().endswith(b'{"value": "whole"}')
    yard.stop(inside.handle)
    assert not carrier.runs()


#: Answers each byte in two parts, and counts what the kernel acknowledged late meanwhile.
PARTS = """
import sys
handler = sys._getframe(1).f_locals["self"]
def late():
    names, values = [x.split() for x in open("/proc/net/netstat") if x.startswith("TcpExt")][:2]
    return int(values[names.index("DelayedACKs")])
before = late()
for _ in range(50):
    handler.rfile.read(1)
    handler.connection.send(b"a")
    handler.connection.send(b"b")
value = late() - before
"""


def test_an_answer_in_parts_does_not_wait(yard: Any, make_plan: Any) -> None:
    """A server's second part waits for the acknowledgement of its first one (Nagle)."""
    inside = yard.start(make_plan())
    with socket.create_connection(("127.0.0.1", inside.port), 30) as open_:
        open_.sendall(f"POST / HTTP/1.0\r\nContent-Length: {len(PARTS)}\r\n\r\n{PARTS}".encode())
        with open_.makefile("rb") as stream:
            for _ in range(50):
                open_.sendall(b"x")
                assert stream.read(2) == b"ab"
            assert json.loads(stream.read().partition(b"\r\n\r\n")[2])["value"] < 5
    yard.stop(inside.handle)


@pytest.mark.parametrize("which", [0, 1], ids=["outside", "inside"])
def test_a_carrier_that_is_killed_is_started_anew(yard: Any, make_plan: Any, which: int) -> None:
    inside = yard.start(make_plan())
    first = carrier_of(yard, inside.handle)
    os.kill([*below(first.pid)][which], signal.SIGKILL)
    wait_for(lambda: not first.runs())  # both end together
    wait_for(lambda: carrier_of(yard, inside.handle) != first)
    assert inside.run("value = 7") == 7
    assert inside.run(HUB) == 200
    yard.stop(inside.handle, now=True)


def test_what_carriers_are_forked_from_may_be_lost(yard: Any, make_plan: Any) -> None:
    first = yard.start(make_plan())
    carrier = carrier_of(yard, first.handle)
    parent = parent_of(carrier)
    parent.signal(signal.SIGKILL)
    wait_for(lambda: not parent.runs())
    second = yard.start(make_plan("student", "bob", 20102))
    assert parent_of(carrier_of(yard, second.handle)) != parent
    assert carrier.runs()
    for inside in (first, second):
        assert inside.run(HUB) == 200
        yard.stop(inside.handle, now=True)


def test_a_new_agent_starts_a_lost_carrier(yard: Any, make_plan: Any) -> None:
    inside = yard.start(make_plan())
    yard.down()
    first = carrier_of(yard, inside.handle)
    first.signal(signal.SIGKILL)
    wait_for(lambda: not first.runs())
    yard.up()
    assert inside.run("value = 7") == 7
    assert inside.run(HUB) == 200
    yard.stop(inside.handle, now=True)


def test_it_ends_with_the_server_without_the_agent(yard: Any, make_plan: Any) -> None:
    inside = yard.start(make_plan())
    carrier = carrier_of(yard, inside.handle)
    both = [Process.of(pid) for pid in below(carrier.pid)]
    assert len(both) == 2
    yard.down()
    inside.run("import threading, os\nthreading.Timer(0.1, os._exit, [4]).start()")
    wait_for(lambda: not any(each.runs() for each in both))
    yard.up()
    assert yard.poll(inside.handle).code == 4


def send_cookie(port: int) -> bytes:
    """What the proxy goes on to send until it hears that the server has ended."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as proxy:
        proxy.sendall(b"GET /user/alice/ HTTP/1.1\r\nCookie: hunter2\r\n\r\n")
        return proxy.recv(1024)
    return b""


@pytest.mark.parametrize("another", [False, True], ids=["one agent", "another agent"])
def test_a_neighbour_gets_no_port_before_the_hub_knows_of_the_end(
    yard: Any, make_plan: Any, require: Any, monkeypatch: pytest.MonkeyPatch, another: bool
) -> None:
    require("root")
    monkeypatch.setattr(held, "_TOLD", 0.0)
    inside = yard.start(make_plan())
    if another:
        yard.down()
        yard.up()
    with neighbour(inside.port) as somebody:
        inside.run("import threading, os\nthreading.Timer(0.2, os._exit, [3]).start()")
        wait_for(lambda: inside.handle not in yard.call(yard.client.ping())["servers"])
        assert {send_cookie(inside.port) for _ in range(50)} == {b""}  # cut off at once
    assert somebody.got == ""
    with neighbour(inside.port) as somebody:
        assert yard.poll(inside.handle).code == 3
        wait_for(lambda: send_cookie(inside.port).endswith(b"hi"))
    assert "Cookie: hunter2" in somebody.got  # so it goes where nobody holds the port


def test_what_it_uses_is_the_servers(yard: Any, make_plan: Any, require: Any) -> None:
    require("cgroup")
    inside = yard.start(make_plan())
    carrier, own = carrier_of(yard, inside.handle), Path("/proc/self/cgroup").read_text()
    for pid in below(carrier.pid):
        groups = Path(f"/proc/{pid}/cgroup").read_text()
        assert inside.handle in groups
        assert inside.handle not in own
    yard.stop(inside.handle, now=True)


def test_a_server_of_the_version_before_goes_on(
    yard: Any, make_plan: Any, probe_programs: Path, tmp_path: Path
) -> None:
    with handed_in(probe_programs, tmp_path) as before:
        known = {
            name: vars_of(Process.of(getattr(before, name))) for name in ("outer", "init", "server")
        }
        handle = "alice.algo-student.0a1b2c3d"
        # Every field that the version before wrote.
        record = {
            "version": 1, "handle": handle, "username": "alice",
            "uid": 20101 if yard.real else os.geteuid(), "course": "algo", "title": "Algorithms",
            "mem_limit": 1 << 29, "boot": boot_id(), "begun": 1790000000.0, "cgroup_version": 0,
            "cgroup_folders": [], "port": before.inside.port, "hub_host": "127.0.0.1",
            "hub_port": yard.hub_port, **known, "helpers": [], "grading_folders": [], "ended": None,
        }  # fmt: skip
        yard.down()
        folder_of(yard, handle).mkdir()
        (folder_of(yard, handle) / "record.json").write_text(json.dumps(record))
        for _ in range(2):  # the second agent finds the carrier that the first one made
            yard.up()
            assert yard.poll(handle) is None
            assert before.inside.run("value = 7") == 7
            assert before.inside.run(HUB) == 200
            yard.down()
        yard.up()
        carrier = carrier_of(yard, handle)
        assert carrier.runs()
        yard.stop(handle, now=True)
        assert not carrier.runs()
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{before.inside.port}/", timeout=5)


def vars_of(process: Process) -> dict[str, int]:
    return {"pid": process.pid, "start": process.start}
