"""System calls that graded code may not make, besides those that no server may (seccomp.py).

The kernel of a submission has the UID of the process that starts one after the other, and Linux lets
it change that process: its limits, which cannot be raised again and which later kernels inherit, and
its priority. And a POSIX message queue has a name that cannot be listed, so that nobody finds it again.

Python 3.9 and the standard library alone. Source: as in seccomp.py; prlimit(2), setpriority(2),
ioprio_set(2), sched_setscheduler(2), mq_overview(7).
"""

from __future__ import annotations

import errno
import platform
import struct

_LD_WORD, _JEQ, _RET = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCH, _FIRST, _SECOND = 0, 4, 16, 24  # offsets in struct seccomp_data
_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "mq_open": 240, "prlimit64": 302, "setpriority": 141, "ioprio_set": 251,
        "sched_setscheduler": 144, "sched_setattr": 314,
    },
    "aarch64": {
        "mq_open": 180, "prlimit64": 261, "setpriority": 140, "ioprio_set": 30,
        "sched_setscheduler": 119, "sched_setattr": 274,
    },
}  # fmt: skip
#: The argument that says whose; 0 is the caller.
_WHOSE = {
    "prlimit64": _FIRST, "sched_setscheduler": _FIRST, "sched_setattr": _FIRST,
    "setpriority": _SECOND, "ioprio_set": _SECOND,
}  # fmt: skip
#: The first argument that means all processes of a user (PRIO_USER, IOPRIO_WHO_USER).
_EVERYBODY = {"setpriority": 2, "ioprio_set": 3}
#: The second argument with which anybody's may be named: ZeroMQ gives its threads the usual
#: scheduler (SCHED_OTHER), which changes nothing.
_USUAL = {"sched_setscheduler": 0}


def _step(code: int, value: int, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, true, false, value)


def _own_alone(name: str, number: int) -> list[bytes]:
    """Only for the calling process itself."""
    refuse, allow = _step(_RET, _ERRNO | errno.EPERM), _step(_RET, _ALLOW)
    body = [_step(_LD_WORD, _WHOSE[name])]
    if name in _USUAL:
        body += [_step(_JEQ, 0, 3, 0), _step(_LD_WORD, _SECOND), _step(_JEQ, _USUAL[name], 1, 0)]
    else:
        body += [_step(_JEQ, 0, 1, 0)]
    body += [refuse]
    if name in _EVERYBODY:
        body += [_step(_LD_WORD, _FIRST), _step(_JEQ, _EVERYBODY[name], 0, 1), refuse]
    body += [allow]
    return [_step(_JEQ, number, 0, len(body)), *body]


def program(machine: str | None = None) -> bytes | None:
    """The filter for ``machine`` (this one by default); None where there is no table for it."""
    machine = machine or platform.machine()
    numbers = _NUMBERS.get(machine)
    if numbers is None:
        return None
    steps = [
        _step(_LD_WORD, _ARCH),
        # Another instruction set has other numbers; seccomp.py allows nothing of it.
        _step(_JEQ, _ARCHES[machine], 1, 0),
        _step(_RET, _ALLOW),
        _step(_LD_WORD, _NUMBER),
        _step(_JEQ, numbers["mq_open"], 0, 1),
        _step(_RET, _ERRNO | errno.ENOSYS),
    ]
    for name in _WHOSE:
        steps += _own_alone(name, numbers[name])
    return b"".join([*steps, _step(_RET, _ALLOW)])
