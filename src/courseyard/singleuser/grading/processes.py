"""The processes of the sandbox for grading; the first one of its PID namespace starts and ends them.

Standard library of Python 3.9 alone: the image may be old.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

PATIENCE = 10.0  # seconds to end processes


class Processes:
    """Starts programs and reaps everything that ends in this PID namespace."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: dict[int, int | None] = {}
        self._news = threading.Condition(self._lock)
        self._some = threading.Event()
        threading.Thread(target=self._reap, daemon=True).start()

    def start(self, argv: list[str], environment: dict[str, str], output: int) -> int:
        actions = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
        with self._lock:
            pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions, setsigmask=())
            self._ended[pid] = None
        self._some.set()
        return pid

    def wait(self, pid: int, seconds: float | None) -> int | None:
        """Its exit status (negative: the signal); None when it still runs after ``seconds``."""
        with self._news:
            self._news.wait_for(lambda: self._ended[pid] is not None, seconds)
            status = self._ended[pid]
            if status is not None:
                del self._ended[pid]
            return status

    def run(self, argv: list[str]) -> None:
        with open(os.devnull, "wb") as nothing:
            self.wait(self.start(argv, dict(os.environ), nothing.fileno()), None)

    def signal(self, pid: int, number: int) -> None:
        """To it and its group, unless it has ended: its number may be another's by now."""
        with self._lock:
            if pid not in self._ended or self._ended[pid] is not None:
                return
            for send in (os.killpg, os.kill):
                with contextlib.suppress(OSError):
                    send(pid, number)
                    return

    def end_all(self) -> None:
        """Kill every process but this one, and wait until none is left to be reaped.

        A process whose first thread has ended looks like one that waits to be reaped, and goes on
        in its others: only that nobody is left to be killed says that nobody is left.

        Raises:
            OSError: one is still there.
        """
        deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.kill(-1, signal.SIGKILL)
                time.sleep(0.005)
            raise OSError("processes of the last kernel do not end")

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                self._some.wait(0.2)
                self._some.clear()
                continue
            with self._news:
                if pid in self._ended:
                    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
                    self._ended[pid] = code
                    self._news.notify_all()
