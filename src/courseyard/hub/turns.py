"""Pages before starts: what starts a server gives way in the event loop to what somebody waits for.

asyncio runs whatever is ready in the order in which it became so. When fifty servers start, a page
waits behind a step of each, again and again. Here the steps of tasks that give way stand in a line
of their own, which moves a little when nothing else is ready, or nothing of it has run for a while.
So nothing starves, however many pages are asked for, and they keep their order.

The callbacks of one future keep theirs only among those that give way, and among the others.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any

_PATIENCE = 0.01  # seconds for which others go first, as long as there are any
_SHARE = 0.25  # of the time since it last moved, …
_SLICE, _LONGEST = 0.002, 0.05  # … but so many seconds at least and at most, the line moves

_second: ContextVar[bool] = ContextVar("courseyard_second", default=False)


def give_way() -> None:
    """From its next step on the current task lets others go first, and every task that it starts."""
    _second.set(True)


class GivesWay:
    """In front of a request handler's class: its requests give way from their beginning."""

    async def prepare(self) -> None:
        give_way()
        await asyncio.sleep(0)
        await super().prepare()  # type: ignore[misc]  # the handler's


class Turns:
    """The line of those that give way, in one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._at_once = loop.call_soon
        self._line: deque[asyncio.Handle] = deque()
        self._others = False  # whether something else became ready since the line was looked at
        self._moved = 0.0  # when the line last moved

    @classmethod
    def install(cls, loop: asyncio.AbstractEventLoop) -> Turns:
        """Take over the loop's ``call_soon``, through which each step of each task goes."""
        turns = cls(loop)
        setattr(loop, "call_soon", turns.call_soon)  # noqa: B010  mypy knows no methods that change
        return turns

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As :meth:`asyncio.loop.call_soon`."""
        second = _second.get() if context is None else context.get(_second, False)
        if not second:
            self._others = True
            return self._at_once(callback, *args, context=context)
        handle = asyncio.Handle(callback, args, self._loop, context)
        if not self._line:
            self._moved = time.monotonic()
            self._at_once(self._take)
        self._line.append(handle)
        return handle

    def _take(self) -> None:
        """Let the line move a little; the rest in the next turn of the loop."""
        waited = time.monotonic() - self._moved
        wait = self._others and waited < _PATIENCE
        self._others = False
        try:
            if not wait:
                self._move(min(_LONGEST, max(_SLICE, waited * _SHARE)))
        finally:  # also when a step ends the loop (SystemExit), which runs on to clean up
            if self._line:
                self._at_once(self._take)

    def _move(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._line:
            handle = self._line[0]
            try:
                if not handle.cancelled():
                    handle._run()
            finally:
                self._line.popleft()  # only now: while it is there nobody asks for another turn
            self._moved = time.monotonic()
            if self._moved >= until:
                break
