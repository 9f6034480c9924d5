"""What a kernel may leave for the next one in the sandbox for grading, and its removal.

Processes, files wherever they can be written, System V memory, semaphores and queues, and what was
changed of this process itself. What cannot be found or undone is refused to kernels: confine.py.

Standard library of Python 3.9 alone: the image may be old.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .processes import Processes

#: File systems in memory, whose files are this sandbox's alone.
_IN_MEMORY = ("tmpfs", "ramfs", "mqueue")
#: Nothing stays there: what lies in them are processes, terminals and the machine.
_OF_THE_KERNEL = ("proc", "sysfs", "devpts", "cgroup", "cgroup2")
_AT_ONCE = 1000  # folders that one program removes
_IPC_RMID = 0  # ipc(2)


@dataclass(frozen=True)
class Place:
    """A folder or file that can be written, as it was before the first kernel."""

    path: Path
    mode: int | None  # None: it belongs to somebody else


class Leftovers:
    """Made before the first kernel runs.

    Raises:
        OSError: something can be written that is not emptied, since it outlives this sandbox.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._cores = os.sched_getaffinity(0)
        self.places = list(writable())

    def remove(self) -> None:
        """Nothing of the last kernel stays.

        Raises:
            OSError: something does.
        """
        self.processes.end_all()
        for thread in os.listdir("/proc/self/task"):  # noqa: PTH208
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), self._cores)
        self._remove_ipc()
        mounted = {path for path, _, _ in mounts()}
        for place in self.places:
            self._restore(place)
            if place.path.is_dir():
                self._empty(place.path, mounted)
                os.utime(place.path) if place.mode is not None else None
            else:
                os.truncate(place.path, 0)

    def _remove_ipc(self) -> None:
        """What kernels made; a segment that no process has attached stays by itself (shmctl(2))."""
        calls: dict[str, Callable[[int], int]] = {
            "shm": lambda number: self._libc.shmctl(number, _IPC_RMID, None),
            "sem": lambda number: self._libc.semctl(number, 0, _IPC_RMID),
            "msg": lambda number: self._libc.msgctl(number, _IPC_RMID, None),
        }
        for kind, remove in calls.items():
            for number in made_here(kind):
                remove(number)
            if made_here(kind):
                raise OSError(f"System V IPC ({kind}) of the last kernel cannot be removed")

    def _restore(self, place: Place) -> None:
        """The folder itself holds nothing, neither in its mode nor beside it."""
        if place.mode is None:
            return
        place.path.chmod(place.mode)
        with contextlib.suppress(OSError):  # a file system without them
            for name in os.listxattr(place.path):
                with contextlib.suppress(PermissionError):  # the system's, which nobody else sets
                    os.removexattr(place.path, name)

    def _empty(self, folder: Path, mounted: set[Path]) -> None:
        below = {path for each in mounted for path in (each, *each.parents)}
        closed: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                path = Path(entry.path)
                if path in mounted:
                    continue
                if path in below:  # a mount lies in it
                    if entry.stat().st_uid == os.geteuid():
                        path.chmod(0o755)
                    self._empty(path, mounted)
                elif entry.is_dir(follow_symlinks=False):
                    closed.append(entry.path)
                else:
                    path.unlink()
        # These two do not recurse, however deep a tree is, and closed folders do not stop them.
        for first in range(0, len(closed), _AT_ONCE):
            some = closed[first : first + _AT_ONCE]
            self.processes.run([program("chmod"), "-R", "u+rwX", "--", *some])
            self.processes.run([program("rm"), "-rf", "--", *some])
        if {Path(folder, name) for name in os.listdir(folder)} - below:  # noqa: PTH208
            raise OSError(f"{folder} cannot be emptied")


def made_here(kind: str) -> list[int]:
    """The System V objects that this UID made: ``shm``, ``sem`` or ``msg`` (proc_sysvipc(5))."""
    try:
        head, *lines = Path("/proc/sysvipc", kind).read_text().splitlines()
    except FileNotFoundError:
        return []  # a machine without them
    creator = head.split().index("cuid")
    rows = (line.split() for line in lines)
    return [int(row[1]) for row in rows if int(row[creator]) == os.geteuid()]


def mounts() -> list[tuple[Path, str, bool]]:
    """Each mount point, the kind of its file system, and whether it can be written at all.

    The kernel writes white space and backslashes as ``\\ooo`` (proc_pid_mountinfo(5)).
    """
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        _, _, _, _, name, options, *_ = before.split()
        path = Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), name))
        kind, _, of_system = after.split(" ", 2)
        both = (options, of_system.rpartition(" ")[2])
        found.append((path, kind, not any("ro" in each.split(",") for each in both)))
    return found


def writable() -> list[Place]:
    """The topmost folders, and the files with a mount of their own, that can be written.

    Raises:
        OSError: one lies on a disk.
    """
    found: list[Place] = []
    everywhere = mounts()
    points = {path for path, _, _ in everywhere}
    for point, kind, possible in everywhere:
        if not possible or kind in _OF_THE_KERNEL:
            continue
        with contextlib.suppress(FileNotFoundError, PermissionError):  # nobody comes to it
            about = point.stat()
            places = list(_within(point, points)) if stat.S_ISDIR(about.st_mode) else []
            if stat.S_ISREG(about.st_mode) and os.access(point, os.W_OK):
                places.append(point)
            if places and stat.S_ISDIR(about.st_mode) and kind not in _IN_MEMORY:
                raise OSError(f"{places[0]} can be written and outlives a submission")
            found += [_place(path) for path in places]
    return found


def _within(top: Path, points: set[Path]) -> list[Path]:
    """The topmost folders of one file system that can be written, not looking at other mounts."""
    if os.access(top, os.W_OK | os.X_OK):
        return [top]
    found: list[Path] = []
    with os.scandir(top) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and Path(entry.path) not in points:
                with contextlib.suppress(PermissionError):
                    found += _within(Path(entry.path), points)
    return found


def _place(path: Path) -> Place:
    about = path.stat()
    return Place(path, stat.S_IMODE(about.st_mode) if about.st_uid == os.geteuid() else None)


def program(name: str) -> str:
    found = shutil.which(name, path="/usr/bin:/bin")
    if found is None:
        raise OSError(f"{name} is missing in the image")
    return found
