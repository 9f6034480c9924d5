"""What the network policies of a cluster keep apart: tried with them, without, and with them again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.conftest import Inside
from tests.contract.pods import PodYard
from tests.taking import CELL, TAKING
from tests.taking import code as taking

_SETTLE = 15.0  # seconds for policies to act


def reached(inside: Inside, targets: list[tuple[str, int]]) -> list[bool]:
    code = f"""
import socket
value = []
for target in {targets!r}:
    try:
        socket.create_connection(tuple(target), 1).close()
        value.append(True)
    except OSError:
        value.append(False)
"""
    found: list[bool] = inside.run(code)
    return found


def until(inside: Inside, targets: list[tuple[str, int]], wanted: bool) -> list[bool]:
    """What is reached once all of it is as ``wanted``, or after a while."""
    end = time.monotonic() + _SETTLE
    while True:
        found = reached(inside, targets)
        if set(found) == {wanted} or time.monotonic() > end:
            return found
        time.sleep(0.5)


def test_policies_are_what_keeps_servers_apart(
    pods: PodYard, make_plan: Callable[..., Any]
) -> None:
    mine = pods.start(make_plan("student", "alice", 20101))
    other = pods.start(make_plan("student", "bob", 20102))
    try:
        # A neighbour, the cluster's API, a kubelet, the name server.
        targets = [
            target
            for target in pods.unreachable(other)
            if target[0] not in ("169.254.169.254", pods.hub_address)
        ]
        assert len(targets) == 5
        assert reached(mine, targets) == [False] * len(targets)
        with pods.without_policies():
            assert until(mine, targets, True) == [True] * len(targets)
        assert until(mine, targets, False) == [False] * len(targets)
    finally:
        pods.stop(mine.handle, now=True)
        pods.stop(other.handle, now=True)


def test_no_token_and_no_word_of_the_cluster(pods: PodYard, make_plan: Callable[..., Any]) -> None:
    inside = pods.start(make_plan("student", "alice", 20101))
    try:
        code = "import os\nvalue = [os.path.exists('/var/run/secrets/kubernetes.io'), "
        code += "os.path.exists('/run/secrets'), [n for n in os.environ if 'KUBERNETES' in n]]"
        assert inside.run(code) == [False, False, []]
    finally:
        pods.stop(inside.handle, now=True)


def test_a_server_is_closed_to_its_kernels(pods: PodYard, make_plan: Callable[..., Any]) -> None:
    """The filter of system calls stands whatever the server does; the rest it gives up here."""
    inside = pods.start(make_plan("student", "alice", 20101))
    try:
        code = (
            "import ctypes, os, subprocess, sys\n"
            "prctl, (_, end) = ctypes.CDLL(None).prctl, os.pipe()\n"
            f"words = [sys.executable, '-I', '-c', {CELL!r}, str(end)]\n"
            "def cell():\n"
            "    return subprocess.run(words, stdout=subprocess.PIPE, text=True).stdout.split()\n"
            "closed = cell()\n"
            "prctl(4, 1, 0, 0, 0)\n"  # PR_SET_DUMPABLE
            "try:\n    value = [closed, cell()]\nfinally:\n    prctl(4, 0, 0, 0, 0)"
        )
        closed, opened = inside.run(code)
        assert closed == ["EPERM", "EACCES", "EACCES", "EACCES", "EACCES"]
        assert opened[0] == "EPERM"
        assert opened[2:] == ["taken"] * 3
        for what in TAKING:
            assert inside.run(taking(what)) == "EPERM"
    finally:
        pods.stop(inside.handle, now=True)
