"""A server as versions before the carrier started it: its socket is the machine's and was handed in."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from courseyard.backends.sandbox.launch import kill_unfinished
from courseyard.backends.sandbox.machine import bubblewrap
from tests.conftest import Inside

WORDS = ("--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev")


@dataclass(frozen=True)
class HandedIn:
    inside: Inside
    outer: int  # bubblewrap
    init: int
    server: int


@contextlib.contextmanager
def handed_in(programs: Path, folder: Path) -> Iterator[HandedIn]:
    """The probe of ``programs`` in a network namespace of its own; its status file is in ``folder``."""
    status = folder / "status.json"
    with socket.create_server(("127.0.0.1", 0)) as listening, status.open("wb") as file:
        port = listening.getsockname()[1]
        python = os.path.realpath(sys.executable)
        process = subprocess.Popen(
            [bubblewrap(), *WORDS, "--json-status-fd", str(file.fileno()), "--", python, "-I",
             str(programs / "start.py")],
            env={"COURSEYARD_SOCKET_FD": str(listening.fileno())},
            pass_fds=[listening.fileno(), file.fileno()],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        inside = Inside("", port)
        assert inside.run("value = 1") == 1
        init = json.loads(status.read_text().splitlines()[0])["child-pid"]
        (server,) = Path(f"/proc/{init}/task/{init}/children").read_text().split()
        yield HandedIn(inside, process.pid, init, int(server))
    finally:
        kill_unfinished(folder)  # its first process, with which all of it ends
        process.kill()
        process.wait()


def foreign_sockets(pid: int) -> set[int]:
    """Inodes of sockets that a process holds and that are not of its own network namespace."""
    own: set[int] = set()
    for table, column in (
        ("tcp", 9), ("tcp6", 9), ("udp", 9), ("udp6", 9), ("raw", 9), ("unix", 6), ("netlink", 9),
    ):  # fmt: skip
        lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        own |= {int(line.split()[column]) for line in lines}
    held = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(link)  # noqa: PTH115  Path makes another name of it
            if target.startswith("socket:["):
                held.add(int(target[8:-1]))
    return held - own


def below(init: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield init
    for child in Path(f"/proc/{init}/task/{init}/children").read_text().split():
        yield from below(int(child))


def wait_for(what: object, seconds: float = 30) -> None:
    """Until ``what()`` is true."""
    assert callable(what)
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)
