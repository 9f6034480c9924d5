"""A server is closed to its kernels, which have its UID; the filter of system calls is not here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.taking import CELL

PROGRAM = Path(__file__).resolve().parents[3] / "src" / "courseyard" / "singleuser"
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
#: A server with an open pipe, which starts a program of its UID, as it starts a kernel.
SERVER = """
import ctypes, os, subprocess, sys
folder, uid, closed, cell = sys.argv[1:]
sys.path.insert(0, folder)
import start
if int(uid):
    os.setgroups([]); os.setresgid(*3 * [int(uid)]); os.setresuid(*3 * [int(uid)])
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as it is after execve
if closed:
    start.close_memory()
reading, writing = os.pipe()
words = [sys.executable, "-I", "-c", cell, str(writing)]
print(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout)
for name in ("statm", "smaps_rollup", "status", "stat"):  # the display of memory reads itself
    open("/proc/self/" + name).read()
os.listdir("/proc/self/fd")
"""


def answers(closed: str) -> list[str]:
    uid = "20101" if os.geteuid() == 0 else "0"
    done = subprocess.run(
        [sys.executable, "-I", "-c", SERVER, str(PROGRAM), uid, closed, CELL],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_an_open_server_is_anybodys() -> None:
    yama = YAMA.exists() and YAMA.read_text().strip() != "0"  # this kernel refuses the first two
    assert answers("") == [*(["EPERM", "EACCES"] if yama else ["taken"] * 2), *["taken"] * 3]


def test_a_closed_server_is_its_own() -> None:
    assert answers("closed") == ["EPERM", "EACCES", "EACCES", "EACCES", "EACCES"]
