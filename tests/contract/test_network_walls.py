"""Nothing of the machine's network is in a sandbox, and no process there takes what another has.

The server's own process is taken to be hostile: each attack runs in it. Each succeeds first where
the protection is taken away.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from courseyard.backends.sandbox import namespaces
from courseyard.plan import model
from courseyard.plan.grading import nobodys
from courseyard.singleuser import seccomp
from tests.contract.handed_in import below, foreign_sockets, handed_in, wait_for
from tests.taking import TAKING, code

#: Makes every socket that the process holds new, and connects it to the target.
ESCAPE = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
own = os.fstat(sys._getframe(1).f_locals["self"].connection.fileno()).st_ino
value = []
for name in os.listdir("/proc/self/fd"):
    try:
        taken = socket.socket(fileno=os.dup(int(name)))
        if taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            continue
        if os.fstat(taken.fileno()).st_ino == own:
            continue
        if libc.connect(taken.fileno(), bytes(16), 16) != 0:  # AF_UNSPEC
            continue
        taken.settimeout(5)
        taken.bind(("0.0.0.0", 0))
        taken.connect(("127.0.0.1", TARGET))
        taken.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        while data := taken.recv(4096):
            value.append(data.decode())
    except OSError:
        continue
"""


@pytest.fixture(scope="module")
def yard(make_yard: Callable[..., Any]) -> Any:
    return make_yard()


@pytest.fixture(scope="module")
def inside(yard: Any, make_plan: Callable[..., Any]) -> Iterator[Any]:
    started = yard.start(make_plan())
    yield started
    yard.stop(started.handle, now=True)


@pytest.fixture
def unfiltered(
    yard: Any, make_plan: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A server without the filter of system calls."""
    monkeypatch.setattr(seccomp, "program", lambda: None)
    started = yard.start(make_plan("student", "bob", 20102))
    monkeypatch.undo()
    yield started
    yard.stop(started.handle, now=True)


def escaped(inside: Any, target: int) -> str:
    """What the machine's service at the port ``target`` answered to the attack."""
    with socket.create_connection(("127.0.0.1", inside.port)) as other:
        other.sendall(b"POST / HTTP/1.0\r\n")  # accepted, and waited for
        inside.run("import time; time.sleep(0.3)")
        return "".join(inside.run(ESCAPE.replace("TARGET", str(target))))


def test_an_accepted_connection_is_no_way_out(
    inside: Any, yard: Any, probe_programs: Path, tmp_path: Path
) -> None:
    with handed_in(probe_programs, tmp_path) as before:
        assert '"version": "hub"' in escaped(before.inside, yard.hub_port)
    assert escaped(inside, yard.hub_port) == ""
    assert inside.run("value = 1") == 1


def record_of(yard: Any, handle: str) -> dict[str, Any]:
    file = yard.folder / "state" / "agent" / "servers" / handle / "record.json"
    record: dict[str, Any] = json.loads(file.read_text())
    return record


def test_every_socket_is_of_the_sandboxs_own_network(
    yard: Any, make_plan: Callable[..., Any], probe_programs: Path, tmp_path: Path
) -> None:
    with handed_in(probe_programs, tmp_path) as before:
        assert foreign_sockets(before.server)
    plan = make_plan("instructor", "maija", 20103)
    runner = probe_programs / "grading"
    runner.mkdir(exist_ok=True)
    (runner / "runner.py").write_text((probe_programs / "start.py").read_text())
    student = {"gid": 20000, "group": "users", "supplementary": (), "umask": 0o022}
    identity = nobodys(plan.identity.model_copy(update=student))
    grading = model.Grading(identity=identity, mounts=(), environment={})
    started = yard.start(plan.model_copy(update={"grading": grading}))
    try:
        # One connection from the proxy's side, one to the hub's API, one to the sandbox for grading.
        started.run(
            "import builtins, socket\n"
            "builtins.hub = socket.create_connection(('127.0.0.1', 8081))\n"
            "builtins.grading = socket.socket(socket.AF_UNIX)\n"
            f"builtins.grading.connect({namespaces.GRADING + '/socket'!r})"
        )
        record = record_of(yard, started.handle)
        first, grader = record["init"]["pid"], record["helpers"][0]["pid"]
        mounts = Path(f"/proc/{grader}/mountinfo").read_text()
        assert "/servers/" not in mounts  # names of servers begin with people
        found = [*below(first)]
        assert record["server"]["pid"] in found
        assert not [pid for pid in found if foreign_sockets(pid)]
        # The end of the instructor's own connection is of the instructor's network, not the machine's.
        machine = {int(x.split()[6]) for x in Path("/proc/net/unix").read_text().splitlines()[1:]}
        for pid in below(grader):
            assert not foreign_sockets(pid) & machine
    finally:
        yard.stop(started.handle, now=True)


def test_abstract_sockets_do_not_cross(inside: Any) -> None:
    reach = (
        "import socket\ns = socket.socket(socket.AF_UNIX)\n"
        "try:\n    s.connect('\\0courseyard-test'); value = True\nexcept OSError:\n    value = False"
    )
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("\0courseyard-test")
        listening.listen()
        space: dict[str, Any] = {}
        exec(reach, space)
        assert space["value"] is True
        assert inside.run(reach) is False


@pytest.mark.parametrize("what", TAKING)
def test_nothing_is_taken_from_another_process(inside: Any, unfiltered: Any, what: str) -> None:
    assert unfiltered.run(code(what)) == "taken"
    assert inside.run(code(what)) == "EPERM"


DEVICE = Path("/sys/devices/virtual/mem/null/uevent")
LISTEN = """
import builtins, socket
try:
    builtins.events = socket.socket(16, socket.SOCK_RAW, 15)  # NETLINK_KOBJECT_UEVENT
    builtins.events.bind((0, 0xffffffff))
    builtins.events.settimeout(5)
    value = "listens"
except OSError as error:
    value = error.strerror
"""


def test_events_of_the_machines_devices_do_not_enter(
    inside: Any, unfiltered: Any, require: Any
) -> None:
    require("root")  # the kernel sends them to network namespaces of root's alone
    assert unfiltered.run(LISTEN) == "listens"
    DEVICE.write_text("change")
    received = unfiltered.run("import builtins\nvalue = builtins.events.recv(4096).decode()")
    assert received.startswith("change@/devices/virtual/mem/null")
    assert inside.run(LISTEN) == "Address family not supported by protocol"
    names = "import socket\nvalue = [n for _, n in socket.if_nameindex()]"
    assert inside.run(names) == ["lo"]  # asked by a route socket of netlink


def test_what_mountinfo_shows(inside: Any, yard: Any) -> None:
    """The path of each mount in its file system on the machine: the kernel has no way to hide it."""
    text = inside.run("value = open('/proc/self/mountinfo').read()")
    roots = {line.split()[4]: line.split()[3] for line in text.splitlines()}
    assert roots["/notebooks"].endswith("/storage/u/01/alice")
    # Nothing of another person, and nothing that a mount of the plan does not show anyway.
    assert "/u/02/" not in text


def test_the_carrier_is_not_seen_and_has_no_rights(inside: Any, yard: Any) -> None:
    seen = inside.run(
        "import os\nvalue = [open(f'/proc/{p}/cmdline').read() for p in os.listdir('/proc') if p.isdigit()]"
    )
    assert not any("carrier" in line for line in seen)
    for pid in below(record_of(yard, inside.handle)["carrier"]["pid"]):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        fields = {line.split(":")[0]: line.split()[1:] for line in lines}
        assert fields["CapEff"] == fields["CapPrm"] == ["0" * 16]
        assert fields["NoNewPrivs"] == ["1"]
        assert fields["Groups"] == [] or not yard.real
        assert fields["Uid"] == [str(20101 if yard.real else os.geteuid())] * 4
    wait_for(lambda: inside.run("value = 1") == 1)
