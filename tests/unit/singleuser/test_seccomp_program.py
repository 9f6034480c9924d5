"""The filter is run by a small BPF machine here, for both architectures."""

from __future__ import annotations

import errno
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from courseyard.singleuser import seccomp
from tests import taking

ALLOW = 0x7FFF0000
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SOCKET = {"x86_64": 41, "aarch64": 198}
UNSHARE = {"x86_64": 272, "aarch64": 97}
CLONE = {"x86_64": 56, "aarch64": 220}


def run(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """What the kernel would do: 0 to allow, else the error number."""
    values = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", number, arch, 0, *values)
    steps = [struct.unpack("<HBBI", program[i : i + 8]) for i in range(0, len(program), 8)]
    at = accumulator = 0
    while True:
        code, true, false, value = steps[at]
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x06:
            return 0 if value == ALLOW else value & 0xFFFF
        else:
            met = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }
            at += true if met[code] else false


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("family", [1, 2, 10, 16])
def test_families_of_programs(machine: str, family: int) -> None:
    program = seccomp.program(machine)
    assert program is not None
    assert run(program, ARCH[machine], SOCKET[machine], family, 1) == 0
    if family in (2, 10):
        assert run(program, ARCH[machine], SOCKET[machine], family, 1, 17) == 0  # UDP


@pytest.mark.parametrize("protocol", range(23))
def test_protocols_of_netlink(machine: str, protocol: int) -> None:
    program = seccomp.program(machine)
    assert program is not None
    wanted = 0 if protocol in (0, 4) else errno.EAFNOSUPPORT
    assert run(program, ARCH[machine], SOCKET[machine], 16, 3, protocol) == wanted


@pytest.mark.parametrize("family", [0, 3, 17, 30, 38, 40, 44, 255])
def test_other_families(machine: str, family: int) -> None:
    program = seccomp.program(machine)
    assert program is not None
    assert run(program, ARCH[machine], SOCKET[machine], family, 1) == errno.EAFNOSUPPORT


def test_user_namespaces(machine: str) -> None:
    program = seccomp.program(machine)
    assert program is not None
    for number in (UNSHARE[machine], CLONE[machine]):
        assert run(program, ARCH[machine], number, 0x10000000) == errno.EPERM
        assert run(program, ARCH[machine], number, 0x10000000 | 0x11) == errno.EPERM
        assert run(program, ARCH[machine], number, 0x11) == 0
    assert run(program, ARCH[machine], 435) == errno.ENOSYS  # clone3
    assert run(program, ARCH[machine], 425) == errno.EPERM  # io_uring_setup


#: Numbers of asm/unistd_64.h and asm-generic/unistd.h, written down anew.
TAKING = {
    "x86_64": {"ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312},
    "aarch64": {"ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272},
}
ROBUST_LIST = {"x86_64": 274, "aarch64": 100}
PIDFD_GETFD = 438


def test_taking_from_another_process(machine: str) -> None:
    program = seccomp.program(machine)
    assert program is not None
    for number in (*TAKING[machine].values(), ROBUST_LIST[machine], PIDFD_GETFD):
        assert run(program, ARCH[machine], number) == errno.EPERM
    assert run(program, ARCH[machine], 434) == 0  # pidfd_open


def test_ordinary_calls(machine: str) -> None:
    program = seccomp.program(machine)
    assert program is not None
    for number in (0, 1, 63, 64, 202):
        if number not in (SOCKET[machine], CLONE[machine]):
            assert run(program, ARCH[machine], number) == 0


def test_other_instruction_sets() -> None:
    program = seccomp.program("x86_64")
    assert program is not None
    assert run(program, 0x40000003, 1) == errno.ENOSYS  # i386
    assert run(program, ARCH["x86_64"], 0x40000000 + 41, 40) == errno.ENOSYS  # x32


def test_unknown_machine_has_no_filter() -> None:
    assert seccomp.program("riscv64") is None


@pytest.mark.parametrize("what", taking.TAKING)
def test_a_program_that_installs_it_itself(what: str) -> None:
    """As in a pod, where the start program does."""
    program = f"import json, sys\nsys.path.insert(0, {str(Path(seccomp.__file__).parent)!r})\n"
    program += "import seccomp\nif sys.argv[1:]: seccomp.install()\n"
    program += f"{taking.code(what)}\nprint(json.dumps(value))"
    for words, wanted in (([], "taken"), (["install"], "EPERM")):
        done = subprocess.run(
            [sys.executable, "-I", "-c", program, *words],
            capture_output=True,
            timeout=60,
            check=True,
        )
        assert json.loads(done.stdout) == wanted
