"""A hub that was taken over asks for what it should not get."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from courseyard.errors import AgentRefusedError, CourseyardError
from courseyard.plan.grading import nobodys
from courseyard.plan.model import Grading, StorageKind
from courseyard.settings import GRADING_UIDS

ORDINARY = 65533


@pytest.fixture(scope="module")
def yard(make_yard: Callable[..., Any]) -> Any:
    return make_yard()


def changed(plan: Any, part: str, **values: Any) -> Any:
    return plan.model_copy(update={part: getattr(plan, part).model_copy(update=values)})


def mounting(plan: Any, source: str, target: str = "/extra", writable: bool = True) -> Any:
    mount = plan.mounts[0].model_copy(
        update={"source": source, "target": target, "writable": writable}
    )
    return plan.model_copy(update={"mounts": (*plan.mounts, mount)})


def taking(plan: Any, **values: Any) -> Any:
    need = plan.storage[1].model_copy(
        update={"kind": StorageKind.COURSE_MEMBER, "slug": "algo"} | values
    )
    return plan.model_copy(update={"storage": (*plan.storage, need)})


def grading(plan: Any, source: str = "shareddata", writable: bool = False, **who: Any) -> Any:
    """With a sandbox for students' code that has more than it should."""
    mount = plan.mounts[0].model_copy(
        update={"source": source, "target": "/extra", "writable": writable}
    )
    identity = nobodys(plan.identity).model_copy(update=who)
    part = Grading(identity=identity, mounts=(mount,), environment={})
    return plan.model_copy(update={"grading": part})


FORGED: dict[str, Callable[[Any], Any]] = {
    "root's UID": lambda p: changed(p, "identity", uid=0),
    "a system UID": lambda p: changed(p, "identity", uid=999),
    "too high a UID": lambda p: changed(p, "identity", uid=2**31),
    "root's group": lambda p: changed(p, "identity", gid=0),
    "a system group": lambda p: changed(
        p, "identity",
        supplementary=(p.identity.supplementary[0].model_copy(update={"gid": 4}),),
    ),
    "the name root": lambda p: changed(p, "identity", username="root"),
    "a name with a path": lambda p: changed(p, "identity", username="../x"),
    "a name with a line": lambda p: changed(p, "identity", username="a\nroot:x:0:0"),
    "a group with a line": lambda p: changed(p, "identity", group="a\nroot:x:0:evil"),
    "a home outside /home": lambda p: changed(p, "identity", home="/etc"),
    "a home above": lambda p: changed(p, "identity", home="/home/.."),
    "a umask that locks out": lambda p: changed(p, "identity", umask=0o777),
    "a source above": lambda p: mounting(p, "../../etc"),
    "an absolute source": lambda p: mounting(p, "/etc"),
    "the whole storage": lambda p: mounting(p, "."),
    "all users": lambda p: mounting(p, "u"),
    "another user": lambda p: mounting(p, "u/02/bob"),
    "all courses": lambda p: mounting(p, "course"),
    "the course files": lambda p: mounting(p, "course/meta"),
    "administration": lambda p: mounting(p, "admin"),
    "software writable": lambda p: mounting(p, "software"),
    "who takes a course writable": lambda p: mounting(p, "course/algo/people"),
    "one who takes a course": lambda p: mounting(p, "course/algo/people/1.x", writable=False),
    "a system UID taking a course": lambda p: taking(p, uid=999),
    "nobody's name taking a course": lambda p: taking(p, username="../x"),
    "an image of its own": lambda p: changed(p, "image", path=Path("/tmp/evil")),
    "the system as an image": lambda p: changed(p, "image", path=Path("/")),
    "a network": lambda p: p.model_copy(update={"network": "full"}),
    "no memory": lambda p: changed(p, "limits", mem_limit=0),
    "endless processes": lambda p: changed(p, "limits", processes=10**9),
    "no CPU": lambda p: changed(p, "limits", cpu_limit=0.0),
    "an endless /tmp": lambda p: changed(p, "limits", tmp_size=0),
    "a folder for root": lambda p: p.model_copy(
        update={"storage": (p.storage[1].model_copy(update={"uid": 0}),)}
    ),
    "a folder for nobody's name": lambda p: p.model_copy(
        update={"storage": (p.storage[1].model_copy(update={"username": "../../etc"}),)}
    ),
    "grading as root": lambda p: grading(p, uid=0),
    "grading as the instructor": lambda p: grading(p, uid=p.identity.uid),
    "grading as another person": lambda p: grading(p, uid=20102),
    "a server as graded code": lambda p: changed(p, "identity", uid=GRADING_UIDS.start),
    "grading with a system group": lambda p: grading(p, gid=4),
    "grading beside others' files": lambda p: grading(p, "u/02/bob"),
    "grading beside what it may change": lambda p: grading(p, writable=True),
    "a variable that is none": lambda p: p.model_copy(update={"environment": {"A=B": "x"}}),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGED)
def test_forged_plan(yard: Any, make_plan: Any, what: str) -> None:
    before = sorted(p for p in yard.folder.rglob("*") if "/agent/" not in str(p))
    with pytest.raises(AgentRefusedError) as caught:
        yard.start(FORGED[what](make_plan()))
    assert caught.value.next_step
    assert "/" not in caught.value.message
    assert sorted(p for p in yard.folder.rglob("*") if "/agent/" not in str(p)) == before


@pytest.mark.parametrize(
    "address", ["10.0.0.1:80", "127.0.0.1:22", "evil.example:8081", "127.0.0.1:x", "0.0.0.0:9000"]
)
def test_forged_relay(yard: Any, make_plan: Any, address: str) -> None:
    with pytest.raises(AgentRefusedError):
        yard.start(make_plan(), COURSEYARD_HUB_ADDRESS=address)


@pytest.mark.parametrize(
    "target",
    ["/", "/etc", "/usr/lib", "/proc", "/dev/shm", "/home/alice", "/home", "/tmp", "/opt/courseyard",
     "/notebooks/x", "relative", "/a/../etc", "/m"],
)  # fmt: skip
def test_forged_target(yard: Any, make_plan: Any, target: str) -> None:
    plan = make_plan()
    with pytest.raises(CourseyardError):
        yard.start(mounting(plan, plan.mounts[0].source, target))


LINES = [
    b"",
    b"\n",
    b"not json\n",
    b"[]\n",
    b'{"op": "shell", "command": "id"}\n',
    b'{"op": "poll"}\n',
    b'{"op": "poll", "handle": "../../etc/passwd"}\n',
    b'{"op": "log", "handle": "..", "lines": 5}\n',
    b'{"op": "log", "handle": "a", "lines": 100000000}\n',
    b'{"op": "poll", "handle": "a", "extra": 1}\n',
    b'{"op": "start", "plan": {}, "secrets": {}}\n',
    b"\xff\xfe\n",
    b"x" * (3 * 1024 * 1024) + b"\n",
]


@pytest.mark.parametrize("number", range(len(LINES)))
def test_odd_line_costs_that_request_alone(yard: Any, number: int) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(15)
        connection.connect(str(yard.folder / "state" / "run" / "agent.sock"))
        try:
            connection.sendall(LINES[number])
            connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            answer = connection.recv(65536)
        except ConnectionResetError:
            answer = b""
    if answer:
        assert json.loads(answer)["kind"] == "error"
        assert b"Traceback" not in answer
    assert "servers" in yard.call(yard.client.ping())


def test_stranger_is_refused(yard: Any, require: Any) -> None:
    require("root")
    path = yard.folder / "state" / "run" / "agent.sock"
    code = (
        "import contextlib, socket\ns = socket.socket(socket.AF_UNIX); s.settimeout(10)\n"
        f"s.connect({str(path)!r})\n"
        'with contextlib.suppress(OSError):\n    s.sendall(b\'{"op": "ping"}\\n\')\n'
        "print(s.recv(65536).decode())"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", code], user=ORDINARY, group=ORDINARY, extra_groups=[],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["type"] == "AgentRefusedError"


def test_state_is_private(yard: Any) -> None:
    found = (yard.folder / "state" / "agent").stat()
    assert found.st_mode & 0o077 == 0
    assert found.st_uid == os.geteuid()


def test_password_is_not_shown(yard: Any) -> None:
    from courseyard.agent import protocol

    request = protocol.PamLogin(username="alice", password="hunter2")
    assert "hunter2" not in repr(request)
