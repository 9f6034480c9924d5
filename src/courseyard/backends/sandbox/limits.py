"""Memory, CPU and process limits by cgroup (v1 and v2), with rlimits where there is none.

Source: the kernel's Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst. An out-of-memory kill is
told by ``oom_kill`` in ``memory.oom_control`` (v1) or ``memory.events`` (v2).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from courseyard.plan.model import Limits

log = logging.getLogger(__name__)

_PERIOD = 100_000  # microseconds of one CPU accounting period
_V1 = ("memory", "cpu", "pids")
_V2 = ("memory", "cpu", "pids")
_TRIES = 50  # to kill or to remove, a few hundredths of a second apart


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The cgroup of one server: one folder per controller (v1) or one for all (v2)."""

    version: int = 0  # 0: there is none
    folders: tuple[str, ...] = ()

    @contextlib.contextmanager
    def joining(self) -> Iterator[Callable[[], None]]:
        """What a new process calls before its program runs, to be in it."""
        with contextlib.ExitStack() as stack:
            numbers = []
            for folder in self.folders:
                numbers.append(os.open(f"{folder}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
                stack.callback(os.close, numbers[-1])

            def join() -> None:
                for number in numbers:
                    os.write(number, b"0")

            yield join

    def processes(self) -> set[int]:
        found: set[int] = set()
        for folder in self.folders:
            with contextlib.suppress(OSError):
                found.update(int(p) for p in Path(folder, "cgroup.procs").read_text().split())
        return found

    def out_of_memory_kills(self) -> int:
        """How often the kernel killed a process here because of the memory limit."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        for folder in self.folders:
            with contextlib.suppress(OSError, ValueError):
                for line in Path(folder, name).read_text().splitlines():
                    key, _, value = line.partition(" ")
                    if key == "oom_kill":
                        return int(value)
        return 0

    def memory(self) -> int:
        """Bytes used now; 0 when unknown."""
        for folder in self.folders:
            for name in ("memory.current", "memory.usage_in_bytes"):
                with contextlib.suppress(OSError, ValueError):
                    return int(Path(folder, name).read_text())
        return 0

    def clear(self, tries: int = _TRIES) -> bool:
        """Kill what is in it and remove it; False when it is still there, to be tried again.

        After an out-of-memory kill the kernel may take seconds to free what a process had.
        """
        self.kill(tries)
        return self.remove(tries)

    def kill(self, tries: int = _TRIES) -> None:
        """Kill every process in it; new ones that they fork meanwhile too."""
        for _ in range(tries):
            if self.version == 2:
                with contextlib.suppress(OSError):
                    Path(self.folders[0], "cgroup.kill").write_text("1")
            left = self.processes()
            if not left:
                return
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    def is_there(self) -> bool:
        return any(Path(folder).exists() for folder in self.folders)

    def remove(self, tries: int = _TRIES) -> bool:
        """Remove the folders; False when a process is still there."""
        done = True
        for folder in self.folders:
            for _ in range(tries):
                try:
                    Path(folder).rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.01)
                else:
                    break
            else:
                done = False
        return done


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where cgroups of servers are made on this machine."""

    version: int = 0
    parents: dict[str, Path] = field(default_factory=dict)  # controller → folder
    why_not: str = ""  # when version is 0

    def make(self, key: str, limits: Limits) -> Cgroup:
        """The cgroup ``key`` with ``limits``, empty; an existing one is taken over.

        Raises:
            OSError: it cannot be made; nothing is left behind.
        """
        made = self.of(key)
        try:
            for folder in made.folders:
                Path(folder).mkdir(exist_ok=True)
            for name, value, needed in _values(self.version, limits):
                self._write(key, name, value, needed=needed)
        except OSError:
            made.remove()
            raise
        return made

    def of(self, key: str) -> Cgroup:
        """The cgroup ``key``, whether it is there or not."""
        folders = dict.fromkeys(str(parent / key) for parent in self.parents.values())
        return Cgroup(self.version, tuple(folders))

    def _write(self, key: str, name: str, value: str, *, needed: bool) -> None:
        parent = self.parents.get(name.partition(".")[0])
        if parent is None:
            return
        try:
            (parent / key / name).write_text(value)
        except OSError:
            if needed:
                raise


def _values(version: int, limits: Limits) -> Iterator[tuple[str, str, bool]]:
    """(file, value, whether it must work) for each limit."""
    quota = max(1000, int(limits.cpu_limit * _PERIOD))
    if version == 1:
        yield "memory.limit_in_bytes", str(limits.mem_limit), True
        yield "memory.memsw.limit_in_bytes", str(limits.mem_limit), False
        yield "memory.soft_limit_in_bytes", str(limits.mem_guarantee), False
        yield "cpu.cfs_period_us", str(_PERIOD), True
        yield "cpu.cfs_quota_us", str(quota), True
        yield "cpu.shares", str(max(2, int(limits.cpu_guarantee * 1024))), False
    else:
        yield "memory.max", str(limits.mem_limit), True
        yield "memory.swap.max", "0", False
        yield "memory.low", str(limits.mem_guarantee), False
        yield "cpu.max", f"{quota} {_PERIOD}", True
        yield "cpu.weight", str(min(10000, max(1, int(limits.cpu_guarantee * 100)))), False
    yield "pids.max", str(limits.processes), True


def detect(name: str = "courseyard", *, proc: Path = Path("/proc/self")) -> Hierarchy:
    """Where this process may make cgroups with limits; version 0 and the reason where it may not.

    Args:
        name: folder below which the servers' cgroups lie.
        proc: for tests.
    """
    mounts = list(_mounts(proc))
    for make in (_detect_v1, _detect_v2):
        try:
            found = make(name, mounts, proc)
        except OSError as error:
            return Hierarchy(why_not=f"cgroups cannot be made: {_reason(error)}")
        if found is not None:
            return found
    return Hierarchy(why_not="no cgroup controllers for memory, cpu and pids are mounted")


def _reason(error: OSError) -> str:
    if error.errno == errno.EBUSY:
        return (
            "others run in the same one; a systemd service needs Delegate=yes and "
            "DelegateSubgroup=courseyard-agent"
        )
    return str(error)


def _mounts(proc: Path) -> Iterator[tuple[str, str, str, str]]:
    """(mount point, root within the file system, type, options) of each mount."""
    for line in (proc / "mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, _, options) = left.split(), right.split(maxsplit=2)
        yield fields[4], fields[3], kind, options


def _detect_v1(name: str, mounts: list[tuple[str, str, str, str]], proc: Path) -> Hierarchy | None:
    parents: dict[str, Path] = {}
    for point, _root, kind, options in mounts:
        if kind == "cgroup":
            parents.update({c: Path(point, name) for c in _V1 if c in options.split(",")})
    if set(parents) != set(_V1):
        return None
    for folder in parents.values():
        folder.mkdir(exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "no right to make cgroups", str(folder))
    return Hierarchy(1, parents)


def _detect_v2(name: str, mounts: list[tuple[str, str, str, str]], proc: Path) -> Hierarchy | None:
    point = next((Path(p) for p, _r, kind, _o in mounts if kind == "cgroup2"), None)
    if point is None:
        return None
    available = set((point / "cgroup.controllers").read_text().split())
    if not set(_V2) <= available:
        return None
    line = next(x for x in (proc / "cgroup").read_text().splitlines() if x.startswith("0::"))
    own = point / line[3:].lstrip("/")
    if own != point:
        # A cgroup with children that have controllers may hold no process itself: move to a leaf.
        leaf = own if own.name == f"{name}-agent" else own / f"{name}-agent"
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text(str(os.getpid()))
        own = leaf.parent
    servers = own / name
    servers.mkdir(exist_ok=True)
    for folder in (own, servers):
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{c}" for c in _V2))
    return Hierarchy(2, dict.fromkeys(_V2, servers))


def rlimits(limits: Limits, *, cgroup: bool) -> dict[str, tuple[int, int]]:
    """The resource limits of a server's processes: name in :mod:`resource` → (soft, hard)."""
    hard_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = 65536 if hard_files == resource.RLIM_INFINITY else min(65536, hard_files)
    wanted = {"RLIMIT_CORE": (0, 0), "RLIMIT_NOFILE": (min(4096, files), files)}
    if not cgroup:
        # Each process alone, not their sum: better than nothing, and a notice says so.
        wanted["RLIMIT_DATA"] = (limits.mem_limit, limits.mem_limit)
        wanted["RLIMIT_NPROC"] = (limits.processes, limits.processes)
    return wanted
