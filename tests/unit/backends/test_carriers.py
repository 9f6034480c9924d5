"""Carriers are forked from one process, which serves on whatever becomes of one of them."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from courseyard.backends.sandbox.carriers import Carriers
from courseyard.backends.sandbox.limits import Cgroup
from courseyard.backends.sandbox.processes import Process


@pytest.fixture
def carriers() -> Iterator[Carriers]:
    made = Carriers()
    yield made
    made.close()


def failure(carriers: Carriers, entrance: socket.socket | None = None) -> str:
    """What is said of a carrier that cannot be: its control group is not there."""
    server = Process.of(os.getpid())
    nowhere = Cgroup(1, ("/proc/nowhere",))
    with pytest.raises(OSError, match="no connections can be carried") as caught:
        carriers.start(server, entrance=entrance, hub=None, uid=20101, cgroup=nowhere).wait()
    return str(caught.value)


def parent_of(carriers: Carriers) -> Process:
    assert carriers._parent is not None
    return Process.of(carriers._parent.pid)


def children(process: Process) -> list[str]:
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


def test_a_failure_says_why_and_leaves_nothing(carriers: Carriers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as entrance:
        assert "FileNotFoundError" in failure(carriers, entrance)
        parent = parent_of(carriers)
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for _ in range(10):
            assert "FileNotFoundError" in failure(carriers, entrance)
        assert parent_of(carriers) == parent
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    deadline = time.monotonic() + 30
    # Three of Python's own, and the socket for requests.
    while children(parent) or len(os.listdir(f"/proc/{parent.pid}/fd")) > 4:  # noqa: PTH208
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_lost_parent_is_started_anew(carriers: Carriers) -> None:
    failure(carriers)
    parent = parent_of(carriers)
    parent.signal(signal.SIGKILL)
    parent.wait(30)
    assert "FileNotFoundError" in failure(carriers)
    assert parent_of(carriers) != parent


def test_no_carrier_without_what_was_passed(carriers: Carriers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as entrance:
        failure(carriers, entrance)
        pid = parent_of(carriers).pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (5, before))
        assert "nobody answered" in failure(carriers, entrance)  # two of three descriptors came
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (before, before))
        assert "FileNotFoundError" in failure(carriers, entrance)


def test_it_ends_when_nobody_asks_any_more(carriers: Carriers) -> None:
    failure(carriers)
    parent = parent_of(carriers)
    assert carriers._requests is not None
    carriers._requests.close()
    parent.wait(30)
    assert not parent.runs()


def test_a_server_that_has_ended(carriers: Carriers) -> None:
    gone = Process(os.getpid(), 1)
    with pytest.raises(ProcessLookupError):
        carriers.start(gone, entrance=None, hub=None, uid=20101, cgroup=Cgroup())
