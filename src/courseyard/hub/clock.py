"""What the machine's clock does must not act on people's servers: it is set, and machines sleep."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from tornado.ioloop import IOLoop

_JUMP = timedelta(seconds=90)  # that a clock is set by; less does not matter


def use_steady_time() -> None:
    """Let the time-outs of the event loop follow the clock that nobody sets.

    Tornado's are relative to ``IOLoop.time``, the wall clock by default: set forward, a start under way
    times out at once, and set back by a day, no look at servers comes for a day. It may be any clock
    (tornadoweb.org/en/stable/ioloop.html#tornado.ioloop.IOLoop.time).
    """
    IOLoop.time = _steady


def _steady(loop: IOLoop) -> float:
    return time.monotonic()


class Clock:
    """How long ago something was, whatever was done to the machine's clock since the hub started.

    A clock that is set forward by a day must not stop everybody's server as a day old.
    """

    def __init__(self) -> None:
        self._wall, self._steady = datetime.now(UTC), time.monotonic()
        #: Until when a moment is from before a jump, and how far that went.
        self._jumps: list[tuple[datetime, timedelta]] = []

    def look(self) -> timedelta:
        """Find out whether the clock jumped since the last look, and how far; seldom it did."""
        wall, steady = datetime.now(UTC), time.monotonic()
        passed = timedelta(seconds=steady - self._steady)
        jump = wall - self._wall - passed
        self._wall, self._steady = wall, steady
        if abs(jump) < _JUMP:
            return timedelta()
        self._jumps.append((wall - passed, jump))
        return jump

    def since(self, moment: datetime) -> timedelta:
        """The time that really passed since ``moment`` (aware) until the last look."""
        jumps = (jump for until, jump in self._jumps if moment <= until)
        return self._wall - moment - sum(jumps, timedelta())

    def before(self, passed: timedelta) -> datetime:
        """A moment from which at least ``passed`` has passed, also for moments before any jump."""
        return self._wall - passed - max(sum((j for _, j in self._jumps), timedelta()), timedelta())
