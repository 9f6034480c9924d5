"""The system calls that a server may not make, as a classic BPF program.

Refused: socket families beyond UNIX, IPv4, IPv6 and netlink (``AF_VSOCK`` crosses network
namespaces), and of netlink all but routes and sockets (the machine's device events are sent to the
network namespaces that root made); new user namespaces and entering others', io_uring (it opens sockets past a filter),
kernel keyrings (shared by all processes of a UID), eBPF, perf and userfaultfd; taking another
process's descriptors or memory (``pidfd_getfd``, ``ptrace``, ``process_vm_readv`` and its kind), because
the server and what runs in it have one UID.
``clone3`` answers ENOSYS because its flags lie in memory; glibc then uses ``clone``.

The sandbox gives it to bubblewrap; in a pod, whose runtime has a filter of its own that knows less,
the start program installs it before it becomes the server.

Source: seccomp(2), linux/filter.h, linux/audit.h and the two tables of system call numbers.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

_LD_WORD, _JEQ, _JSET, _JGE, _RET = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
#: Offsets in struct seccomp_data; arguments are little-endian here.
_NUMBER, _ARCH, _ARG0, _ARG2 = 0, 4, 16, 32
_CLONE_NEWUSER = 0x10000000
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 22, 38, 2  # prctl(2)
_X32 = 0x40000000
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6
_AF_NETLINK, _PROTOCOLS = 16, (0, 4)  # NETLINK_ROUTE, NETLINK_SOCK_DIAG

_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "socket": 41, "socketpair": 53, "clone": 56, "ptrace": 101, "add_key": 248,
        "request_key": 249, "keyctl": 250, "unshare": 272, "get_robust_list": 274,
        "perf_event_open": 298, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311,
        "kcmp": 312, "bpf": 321, "userfaultfd": 323,
    },
    "aarch64": {
        "socket": 198, "socketpair": 199, "clone": 220, "ptrace": 117, "add_key": 217,
        "request_key": 218, "keyctl": 219, "unshare": 97, "get_robust_list": 100,
        "perf_event_open": 241, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271,
        "kcmp": 272, "bpf": 280, "userfaultfd": 282,
    },
}  # fmt: skip
#: The same number on every architecture since Linux 5.1.
_COMMON = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "clone3": 435,
    "pidfd_getfd": 438, "process_madvise": 440,
}  # fmt: skip
_REFUSED = (
    "setns", "add_key", "request_key", "keyctl", "bpf", "perf_event_open", "userfaultfd",
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "get_robust_list",
)  # fmt: skip


def _step(code: int, value: int, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, true, false, value)


def _answer(number: int) -> bytes:
    return _step(_RET, _ERRNO | number)


def _refuse(number: int, error: int) -> list[bytes]:
    return [_step(_JEQ, number, 0, 1), _answer(error)]


def _only_families(number: int) -> list[bytes]:
    allow = len(_FAMILIES) + len(_PROTOCOLS) + 2  # steps that come before it, but for the first
    tests = [_step(_JEQ, family, allow - i) for i, family in enumerate(_FAMILIES)]
    protocols = [_step(_JEQ, value, len(_PROTOCOLS) - i) for i, value in enumerate(_PROTOCOLS)]
    body = [
        _step(_LD_WORD, _ARG0),
        *tests,
        _step(_JEQ, _AF_NETLINK, 0, len(protocols) + 1),
        _step(_LD_WORD, _ARG2),
        *protocols,
        _answer(errno.EAFNOSUPPORT),
        _step(_RET, _ALLOW),
    ]
    return [_step(_JEQ, number, 0, len(body)), *body]


def _no_new_user(number: int) -> list[bytes]:
    body = [
        _step(_LD_WORD, _ARG0),
        _step(_JSET, _CLONE_NEWUSER, 0, 1),
        _answer(errno.EPERM),
        _step(_RET, _ALLOW),
    ]
    return [_step(_JEQ, number, 0, len(body)), *body]


def program(machine: str | None = None) -> bytes | None:
    """The filter for ``machine`` (``x86_64``, ``aarch64``; this one by default) for ``--seccomp``.

    None for an architecture that has no table here.
    """
    machine = machine or platform.machine()
    numbers = _NUMBERS.get(machine)
    if numbers is None:
        return None
    steps = [
        _step(_LD_WORD, _ARCH),
        # Another instruction set (32 bit) has other numbers: nothing of it is allowed.
        _step(_JEQ, _ARCHES[machine], 1, 0),
        _answer(errno.ENOSYS),
        _step(_LD_WORD, _NUMBER),
    ]
    if machine == "x86_64":
        steps += [_step(_JGE, _X32, 0, 1), _answer(errno.ENOSYS)]
    for name in _REFUSED:
        steps += _refuse(numbers[name], errno.EPERM)
    for name, number in _COMMON.items():
        steps += _refuse(number, errno.ENOSYS if name == "clone3" else errno.EPERM)
    for name in ("socket", "socketpair"):
        steps += _only_families(numbers[name])
    for name in ("unshare", "clone"):
        steps += _no_new_user(numbers[name])
    return b"".join([*steps, _step(_RET, _ALLOW)])


class _Program(ctypes.Structure):
    """``struct sock_fprog`` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install(code: bytes | None = None) -> None:
    """Put this process and all that it starts under the filter, for good.

    Args:
        code: another filter than :func:`program`.

    Raises:
        OSError: the kernel refuses; on an architecture without a table nothing is done.
    """
    code = code or program()
    if code is None:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(code, len(code))
    wanted = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(wanted), 0, 0
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
