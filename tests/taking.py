"""Attempts to take something of another process of the same UID, as Python code to run anywhere."""

from __future__ import annotations

import os

from courseyard.singleuser import seccomp

#: Each takes something of a child that waits, which has 1234 at ``there`` and a pipe's end open.
TAKING = {
    "pidfd_getfd": "did = libc.syscall(438, os.pidfd_open(child), end, 0)",
    "ptrace": "did = libc.syscall(NUMBERS['ptrace'], 16, child, 0, 0)",  # PTRACE_ATTACH
    "process_vm_readv": "did = libc.syscall(NUMBERS['process_vm_readv'], child, ours, 1, theirs, 1, 0)",
    "process_vm_writev": "did = libc.syscall(NUMBERS['process_vm_writev'], child, ours, 1, theirs, 1, 0)",
    "kcmp": "did = libc.syscall(NUMBERS['kcmp'], os.getpid(), child, 0, end, end)",
    "get_robust_list": "did = libc.syscall(NUMBERS['get_robust_list'], child, ours, theirs)",
}
TAKE = """
import ctypes, errno, os, signal, sys
NUMBERS = {numbers!r}
libc = ctypes.CDLL(None, use_errno=True)
there = ctypes.c_int64(1234)
_, end = os.pipe()
child = os.fork()
if child == 0:
    signal.pause()
class Part(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
here = ctypes.c_int64(0)
ours = ctypes.byref(Part(ctypes.addressof(here), 8))
theirs = ctypes.byref(Part(ctypes.addressof(there), 8))
try:
    {taking}
    value = "taken" if did >= 0 else errno.errorcode[ctypes.get_errno()]
finally:
    os.kill(child, 9)
    os.waitpid(child, 0)
"""


def code(what: str) -> str:
    """Code that leaves ``value``: "taken", or the name of the error."""
    return TAKE.format(numbers=seccomp._NUMBERS[os.uname().machine], taking=TAKING[what])


#: A program's words that attack its parent, with the number of an open descriptor there.
CELL = """
import ctypes, errno, os, sys
server, end, answers = os.getppid(), int(sys.argv[1]), []
libc = ctypes.CDLL(None, use_errno=True)
def getfd():
    if libc.syscall(438, os.pidfd_open(server), end, 0) < 0:
        raise OSError(ctypes.get_errno(), "")
for what in (
    getfd,
    lambda: open(f"/proc/{server}/mem", "r+b").close(),
    lambda: os.listdir(f"/proc/{server}/fd"),
    lambda: open(f"/proc/{server}/environ", "rb").read(),
    lambda: os.readlink(f"/proc/{server}/root"),
):
    try:
        what()
        answers.append("taken")
    except OSError as error:
        answers.append(errno.errorcode[error.errno])
print(*answers)
"""
