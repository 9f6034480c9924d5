"""People for the hub: look-ups in threads, with a time-out, remembered.

What a dead or slow source costs: an answer younger than the site's ``people.cache`` needs no
source. An older one, up to :data:`STALE_SECONDS`, still serves while the source does not answer,
so that known people go on working; a group taken away in that hour acts when the source is back.
Strangers are told that the source does not answer. Nobody else waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from courseyard.errors import CourseyardError, PeopleError, SourceDownError, UnknownPersonError
from courseyard.people.person import Person
from courseyard.people.source import Source, down
from courseyard.settings import LOWEST_ID, PeopleSettings

#: How long an answer serves while the source is down, from when it was given.
STALE_SECONDS = 3600
#: After a failure, how long stale answers are given at once instead of after the time-out.
RETRY_SECONDS = 10
#: Answers kept; the longest unused goes first, so that made-up names cannot fill the memory.
MAX_ANSWERS = 20_000
#: Look-ups under way at once; more are refused at once, since the source is clearly stuck.
MAX_THREADS = 32

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Answer:
    person: Person | None
    at: float  # seconds of the monotonic clock


class People:
    """Username → :class:`Person`. Use it from one event loop, or with :meth:`get_now` from none."""

    def __init__(
        self,
        source: Source,
        settings: PeopleSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._settings = settings
        self._pattern = re.compile(settings.username_pattern)
        self._clock = clock
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._under_way: dict[str, asyncio.Future[Person | None]] = {}
        self._failed_at = float("-inf")

    async def get(self, username: str) -> Person:
        """The person, from the cache or the source.

        Raises:
            UnknownPersonError: nobody has this name, or no server may run as them.
            SourceDownError: the source did not answer in the site's time.
        """
        self._check_name(username)
        answer = self._fresh(username)
        if answer is not None:
            return self._usable(username, answer.person)
        look_up = self._start(username)
        stale = self._stale(username)
        if stale is not None and self._clock() - self._failed_at < RETRY_SECONDS:
            return self._usable(username, stale.person)
        try:
            # Shielded: who gives up leaves the look-up to those who still wait, and to the cache.
            person = await asyncio.wait_for(asyncio.shield(look_up), self._settings.timeout)
        except TimeoutError as error:
            self._failed_at = self._clock()
            return self._make_do(username, stale, error)
        except PeopleError as error:
            return self._make_do(username, stale, error)
        return self._usable(username, person)

    def get_now(self, username: str) -> Person:
        """The same for programs without an event loop, such as the command line; blocks.

        Raises:
            UnknownPersonError, SourceDownError: as :meth:`get`.
        """
        self._check_name(username)
        answer = self._fresh(username)
        if answer is None:
            done: list[Person | CourseyardError | None] = []
            thread = threading.Thread(
                target=lambda: done.append(self._ask(username)), daemon=True, name="people"
            )
            thread.start()
            thread.join(self._settings.timeout)
            result = done[0] if done else down("time-out")
            if isinstance(result, CourseyardError):
                return self._make_do(username, self._stale(username), result)
            self._keep(username, result)
            return self._usable(username, result)
        return self._usable(username, answer.person)

    def forget(self, username: str) -> None:
        """Ask the source again at the next look-up, such as after a log-in."""
        self._answers.pop(username, None)

    # --- the cache ----------------------------------------------------------------------------

    def _fresh(self, username: str) -> _Answer | None:
        answer = self._answers.get(username)
        if answer is None:
            return None
        known = answer.person is not None
        kept = self._settings.cache if known else self._settings.cache_unknown
        if self._clock() - answer.at >= kept:
            return None
        self._answers.move_to_end(username)
        return answer

    def _stale(self, username: str) -> _Answer | None:
        answer = self._answers.get(username)
        if answer is None or answer.person is None:
            return None
        return answer if self._clock() - answer.at < STALE_SECONDS else None

    def _keep(self, username: str, person: Person | None) -> None:
        self._answers[username] = _Answer(person, self._clock())
        self._answers.move_to_end(username)
        while len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)

    def _make_do(self, username: str, stale: _Answer | None, error: Exception) -> Person:
        if stale is not None:
            log.warning("people: %s served from before, the source is down", username)
            return self._usable(username, stale.person)
        if isinstance(error, SourceDownError):
            raise error
        raise down(str(error) or type(error).__name__) from error

    # --- the source ---------------------------------------------------------------------------

    def _start(self, username: str) -> asyncio.Future[Person | None]:
        """The look-up of this name that is under way, or a new one."""
        under_way = self._under_way.get(username)
        if under_way is not None:
            return under_way
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Person | None] = loop.create_future()
        # Somebody may have given up waiting; a failure nobody asks for is not an accident.
        future.add_done_callback(lambda f: f.cancelled() or f.exception())
        if len(self._under_way) >= MAX_THREADS:
            future.set_exception(down(f"{MAX_THREADS} look-ups hang"))
            return future
        self._under_way[username] = future

        def work() -> None:
            result = self._ask(username)
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._done, username, future, result)

        # A thread of its own, and a daemon: one that hangs in NSS must not hold up anyone's exit.
        threading.Thread(target=work, daemon=True, name=f"people-{username}").start()
        return future

    def _ask(self, username: str) -> Person | CourseyardError | None:
        try:
            return self._source.look_up(username)
        except SourceDownError as error:
            return error
        except Exception as error:  # whatever breaks in a source is that source being down
            log.warning("people: the look-up of %s failed", username, exc_info=True)
            return down(f"{type(error).__name__}: {error}")

    def _done(
        self,
        username: str,
        future: asyncio.Future[Person | None],
        result: Person | CourseyardError | None,
    ) -> None:
        self._under_way.pop(username, None)
        if isinstance(result, CourseyardError):
            self._failed_at = self._clock()
            if not future.done():
                future.set_exception(result)
            return
        self._keep(username, result)
        if not future.done():
            future.set_result(result)

    # --- who may be a user --------------------------------------------------------------------

    def _check_name(self, username: str) -> None:
        if username == "root" or not self._pattern.fullmatch(username):
            raise UnknownPersonError(
                "This username cannot be used here.",
                "Log in with the username of your institution's account.",
                detail=f"{username[:80]!r} is not allowed by people.username_pattern",
            )

    def _usable(self, username: str, person: Person | None) -> Person:
        if person is None:
            raise UnknownPersonError(
                "Nobody with your username is known here.",
                "If your account is new, try again later; otherwise tell the help desk.",
                detail=f"no account has the name {username}",
            )
        if not LOWEST_ID <= person.uid <= self._settings.max_uid:
            raise UnknownPersonError(
                "Your account cannot be used here: its user number is outside the site's range.",
                "Tell the help desk.",
                detail=f"{username} has the UID {person.uid}, allowed are {LOWEST_ID} to "
                f"{self._settings.max_uid}",
            )
        return person
