"""The parts of a running site as processes: started, watched, started again, stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from courseyard.errors import StartError
from courseyard.hub import listeners

_LOG_LIMIT = 10 * 1024**2  # bytes; a longer log is put aside at the next start
_LAST_LINES = 15
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between two starts of a part that dies
_CALM = 60.0  # seconds after which a part counts as well again
_STOP = 15.0  # seconds to end by itself
_LOOK = 0.2  # seconds between two looks at a part that is kept


@dataclass
class Part:
    """One process of a site."""

    name: str
    command: list[str]
    log: Path
    ready: Callable[[], bool]
    patience: float  # seconds until it must be ready
    #: Bubblewrap stands around it: signals go to what is inside.
    walled: bool = False
    #: What it listens on; whoever starts it keeps these open.
    sockets: Mapping[str, socket.socket] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = _FIRST_PAUSE
    again_at: float = field(default=0.0)
    answered: bool = False  # since it was started
    begin: int = 0  # where in the log this run's lines begin

    def start(self) -> None:
        """Start the process; it ends when the process that supervises it ends."""
        setpriv = shutil.which("setpriv")
        # What dies with us: the agent asked politely, so that it lets go of its servers.
        how = "KILL" if self.walled else "TERM"
        prefix = [setpriv, "--pdeathsig", how] if setpriv else []
        number = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        with os.fdopen(number, "ab") as log:
            self.begin = os.fstat(number).st_size
            self.process = subprocess.Popen(
                [*prefix, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[each.fileno() for each in self.sockets.values()],
                env=os.environ | listeners.hand_on(self.sockets),
            )
        self.answered = False
        self.started = time.monotonic()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait_ready(self) -> None:
        """Wait until it answers.

        Raises:
            StartError: it ended or did not answer in time; with the last lines of its log.
        """
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            if not self.alive:  # asked first: somebody else may answer in its place
                raise self._failed("ended while it started")
            if self.ready():
                self.answered = True
                return
            time.sleep(0.1)
        raise self._failed(f"did not answer in {self.patience:.0f} seconds")

    def _failed(self, what: str) -> StartError:
        return StartError(
            f"The {self.name} {what}.",
            f"Its log is {self.log}; the last lines:",
            detail=last_lines(self.log, self.begin),
        )

    def look_after(self, say: Callable[[str], None]) -> None:
        """Start it again when it has ended or never answers, each time after a longer pause."""
        now = time.monotonic()
        if self.alive:
            self._look_at_start(now, say)
            if now - self.started > _CALM:
                self.pause = _FIRST_PAUSE
            return
        if not self.again_at:
            self.again_at = now + self.pause
            self.pause = min(2 * self.pause, _LONGEST_PAUSE)
            code = self.process.returncode if self.process else "?"
            say(f"The {self.name} ended ({code}) and is started again; see {self.log}")
        elif now >= self.again_at:
            self.again_at = 0.0
            self.start()

    def _look_at_start(self, now: float, say: Callable[[str], None]) -> None:
        """End it where it was started again and does not answer in time."""
        if self.answered:
            return
        self.answered = self.ready()
        if not self.answered and now - self.started > self.patience:
            say(f"The {self.name} did not answer in {self.patience:.0f} seconds; see {self.log}")
            self.stop()

    def stop(self) -> None:
        """Ask it to end, then make it; no-op when it has ended."""
        if self.process is None or not self.alive:
            return
        with contextlib.suppress(ProcessLookupError):
            for pid in self._ask():
                os.kill(pid, signal.SIGTERM)
        try:
            self.process.wait(_STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)

    def _ask(self) -> list[int]:
        """Whom to ask: the process, or what runs behind bubblewrap, whose end ends the wall."""
        assert self.process is not None
        inside = descendants(self.process.pid) if self.walled else []
        return inside or [self.process.pid]


def keep(name: str, command: list[str]) -> None:
    """Run ``command``, and again whenever it ends, until SIGTERM or SIGINT; what it writes goes where ours does."""
    part = Part(name, command, Path("/proc/self/fd/2"), ready=lambda: True, patience=0)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    part.start()
    while not ended.wait(_LOOK):
        part.look_after(lambda sentence: print(sentence, file=sys.stderr, flush=True))
    part.stop()


def descendants(pid: int) -> list[int]:
    """All processes below ``pid``, nearest first."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def rotate(log: Path) -> None:
    """Put a long log aside."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > _LOG_LIMIT:
            log.replace(log.with_name(f"{log.name}.1"))


def last_lines(log: Path, begin: int = 0, lines: int = _LAST_LINES) -> str:
    """The last lines of a log from the byte ``begin`` on; "" when there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(begin, log.stat().st_size - 16384))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
