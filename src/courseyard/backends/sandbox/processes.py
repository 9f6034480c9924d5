"""Processes that are known again after a restart: a pid with its start time cannot be another's."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process, safe against a pid that was used again."""

    pid: int
    start: int  # clock ticks after boot

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has ``pid`` now.

        Raises:
            ProcessLookupError: there is none.
        """
        started = start_time(pid)
        if started is None:
            raise ProcessLookupError(pid)
        return cls(pid, started)

    def runs(self) -> bool:
        """Whether it runs.

        Raises:
            OSError: that cannot be seen now (too many open files, for one).
        """
        return start_time(self.pid) == self.start

    def descriptor(self) -> int:
        """A pidfd of this very process, to be closed.

        Raises:
            ProcessLookupError: it has ended.
        """
        descriptor = os.pidfd_open(self.pid)
        if not self.runs():
            os.close(descriptor)
            raise ProcessLookupError(self.pid)
        return descriptor

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to this very process; False when it has ended.

        Raises:
            OSError: it cannot be sent.
        """
        with contextlib.suppress(ProcessLookupError):
            descriptor = self.descriptor()
            try:
                signal.pidfd_send_signal(descriptor, number)
                return True
            finally:
                os.close(descriptor)
        return False

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, for so long at most.

        Raises:
            OSError: that cannot be seen now.
        """
        with contextlib.suppress(ProcessLookupError):
            descriptor = self.descriptor()
            try:
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                poll.poll(seconds * 1000)
            finally:
                os.close(descriptor)


def start_time(pid: int) -> int | None:
    """Start of the process ``pid`` in clock ticks after boot; None for none or a zombie.

    Raises:
        OSError: that cannot be seen now: it may well run.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def boot_id() -> str:
    """Names this boot of the machine; pids and start times mean nothing in another."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
