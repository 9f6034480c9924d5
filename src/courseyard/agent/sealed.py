"""Servers whose records this agent cannot use: whether they live, and how they end.

Nothing but the record says who they are, so three other signs do: somebody reads the FIFO of their
output, the process in bubblewrap's status file runs, or a process is in the cgroup of their name.
All here blocks shortly.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from courseyard.agent import logs
from courseyard.agent.records import GRADING, Records, Sealed
from courseyard.backends.sandbox import launch, limits
from courseyard.backends.sandbox.processes import Process

log = logging.getLogger(__name__)

_TRIES = 100  # until all of it has ended, a tenth of a second apart


class SealedServers:
    """Those of one agent."""

    def __init__(self, records: Records, hierarchy: limits.Hierarchy) -> None:
        self._records = records
        self._hierarchy = hierarchy
        self._told: set[Sealed] = set()

    def tell(self, found: Sealed) -> None:
        """Say it in the log, once for each record and reason."""
        if found in self._told:
            return
        self._told.add(found)
        folder = self._records.of(found.handle)
        lives = "; ".join(self.signs(found.handle)) or "nothing of its server was seen to run"
        log.error(
            "%s: its record cannot be used: %s. It is left alone (%s). %s",
            found.handle, found.why, lives,
            "Upgrade again, and it is known again."
            if found.newer
            else f"Stop the server, or remove {folder} when it has ended.",
        )  # fmt: skip

    def living(self) -> list[str]:
        """Handles of those that still run."""
        return [found.handle for found in self._told if self.signs(found.handle)]

    def signs(self, handle: str) -> list[str]:
        """What of the server lives, for the log; empty when it has ended.

        What cannot be looked at counts as living.
        """
        folder = self._records.of(handle)
        found = []
        if _is_read(folder / logs.FIFO):
            found.append("its output is open")
        for first in _first_processes(folder):
            found.append(f"its process {first.pid} runs" if first else "its process is not seen")
        for cgroup in self._cgroups(handle):
            inside = sorted(cgroup.processes())
            if inside:
                found.append(f"{len(inside)} processes are in its control group")
        return found

    def end(self, handle: str) -> bool:
        """Kill what is left of the server; False when something still lives."""
        folder = self._records.of(handle)
        for _ in range(_TRIES):
            for first in _first_processes(folder):
                # Its number may be another server's by now: whose output it writes to is whose it is.
                if first and _writes_to(first, folder / logs.FIFO):
                    first.signal(signal.SIGKILL)
            for cgroup in self._cgroups(handle):
                cgroup.clear(1)
            if not self.signs(handle):
                log.info("ended %s, whose record cannot be used", handle)
                return True
            time.sleep(0.1)
        return False

    def is_over(self, found: Sealed, older_than: float) -> bool:
        """Whether its folder can go: damaged, nothing lives, and untouched for so many seconds."""
        if found.newer or self.signs(found.handle):
            return False
        folder = self._records.of(found.handle)
        touched = [path.lstat().st_mtime for path in (folder, *folder.iterdir())]
        return max(touched) < time.time() - older_than

    def _cgroups(self, handle: str) -> Iterator[limits.Cgroup]:
        for key in (handle, f"{handle}.{GRADING}"):
            cgroup = self._hierarchy.of(key)
            if cgroup.is_there():
                yield cgroup


def _first_processes(folder: Path) -> Iterator[Process | None]:
    """Those of a server that run; None for one of which that cannot be seen now."""
    for part in (folder, folder / GRADING):
        try:
            first = launch.first_process(part)
        except OSError:
            yield None
        else:
            if first is not None:
                yield first


def _is_read(fifo: Path) -> bool:
    """Whether a process has the FIFO open for reading, as every server has its own."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno != errno.ENXIO  # nobody reads
    return True


def _writes_to(process: Process, fifo: Path) -> bool:
    try:
        return os.path.samestat(Path(f"/proc/{process.pid}/fd/1").stat(), fifo.lstat())
    except OSError:
        return False
