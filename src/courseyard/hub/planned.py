"""What every spawner here does: load, decide, plan; how it runs is a subclass's business.

Everything that a start uses comes from a fresh :class:`~courseyard.plan.model.ServerPlan`, which
is made from the username and the server's name alone. ``user_options`` and whatever else a
browser or a token sends is not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, cast

from jupyterhub.app import JupyterHub
from jupyterhub.spawner import Spawner
from traitlets import Unicode

from courseyard.access import Role
from courseyard.backends.base import Exit, ExitReason
from courseyard.errors import (
    AgentDownError,
    CourseyardError,
    DeniedError,
    OutOfMemoryError_,
    StartError,
)
from courseyard.hub.bounds import careful_client, status_of
from courseyard.hub.failure import StartFailed
from courseyard.hub.home import words
from courseyard.hub.runtime import SETTING, Runtime
from courseyard.plan.model import Culling, ServerPlan

_POLL_SECONDS = 0.5
LOG_LINES = 30


class PlannedSpawner(Spawner):
    """A spawner whose every start is a fresh plan."""

    handle = Unicode(help="Names the running server to the backend; empty when none runs.")
    title = Unicode(help="What people call the server that runs or ran last.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan: ServerPlan | None = None
        self.culling: Culling | None = None
        self.admitted = False
        self.came_up = False
        self._steps: list[dict[str, Any]] = []
        self._stepped = asyncio.Event()

    @property
    def runtime(self) -> Runtime:
        return cast(Runtime, self.user.settings[SETTING])

    # --- before the start ---------------------------------------------------------------------

    async def run_pre_spawn_hook(self) -> None:
        """Decide and plan, and set every trait that the last start may have left (trap 6).

        JupyterHub calls it before it reads ``start_timeout``.
        """
        self._steps = []
        self.admitted = self.came_up = False
        self.step(2, words.PREPARING)
        try:
            self.plan = None
            plan = await self.runtime.plan(self.user.name, self.name)
            self._admit(plan)
        except CourseyardError as error:
            raise self._failed_start(error) from error
        self._set(plan)
        self.runtime.forget(self.user.name, self.name)

    def _admit(self, plan: ServerPlan) -> None:
        """Take one of the person's places; no await between counting and taking it."""
        check_limit(self.user, self.name, self.runtime.site.servers.per_user)
        self.plan = plan
        self.admitted = True

    def _set(self, plan: ServerPlan) -> None:
        self.title = words.server_title(plan.title, plan.role)
        self.culling = plan.culling
        # The outer limits are wider than our own, whose message is better.
        self.start_timeout = plan.start_timeout + plan.http_timeout + 10
        self.http_timeout = plan.http_timeout
        self.default_url = plan.default_url
        # The start program opens the start folder; nbgrader needs /course below the root.
        self.notebook_dir = "/"
        self.env_keep: list[str] = []
        self.set_plan(plan)

    def set_plan(self, plan: ServerPlan) -> None:
        """Set every trait that says how the server runs."""
        raise NotImplementedError

    # --- the start ----------------------------------------------------------------------------

    async def start(self) -> str:
        """Run the plan and wait until the server answers; returns its URL."""
        plan = self.plan
        if plan is None:
            raise RuntimeError("start without run_pre_spawn_hook")
        try:
            async with asyncio.timeout(plan.start_timeout):
                url = await self.run(plan)
            self.step(80, words.WAITING_FOR_JUPYTER)
            await self._answering(url + self.server.base_url + "api", plan.http_timeout)
        except TimeoutError as error:
            timed_out = self.timed_out(plan, error)
            raise self._failed_start(timed_out, await self._tail()) from error
        except CourseyardError as error:
            raise self._failed_start(error, await self._tail()) from error
        self.step(95, words.OPENING)
        self.came_up = True
        return url

    async def run(self, plan: ServerPlan) -> str:
        """Start the server; the beginning of its URL. A start that fails leaves nothing behind."""
        raise NotImplementedError

    async def exit(self) -> Exit | None:
        """How the server ended; None while it runs."""
        raise NotImplementedError

    async def log_tail(self) -> str:
        """The last lines that the server wrote; "" when there are none."""
        raise NotImplementedError

    async def poll(self) -> int | None:
        raise NotImplementedError

    async def stop(self, now: bool = False) -> None:
        raise NotImplementedError

    def timed_out(self, plan: ServerPlan, error: Exception) -> CourseyardError:
        """What a start that took too long is told as."""
        return StartError(
            words.timed_out(plan.start_timeout), words.TIMED_OUT_NEXT, detail=str(error)
        )

    async def _answering(self, url: str, timeout: int) -> None:
        """Wait for HTTP, but not for a server that has ended meanwhile."""
        answer = asyncio.ensure_future(_until_answer(url))
        try:
            async with asyncio.timeout(timeout):
                while not answer.done():
                    await asyncio.wait({answer}, timeout=_POLL_SECONDS)
                    if not answer.done() and (exit_ := await self._exit_if_told()):
                        raise _ended_in_start(exit_)
            await answer
        finally:
            answer.cancel()

    async def _exit_if_told(self) -> Exit | None:
        """How the server ended; None also while nobody answers who could say."""
        try:
            return await self.exit()
        except AgentDownError:
            return None

    async def _tail(self) -> str:
        """The last lines of the server's log, for staff alone; "" when there are none."""
        if not self.handle:
            return ""
        with suppress(CourseyardError, TimeoutError):
            async with asyncio.timeout(5):
                return await self.log_tail()
        return ""

    def _failed_start(self, error: CourseyardError, tail: str = "") -> StartFailed:
        instructor = self.plan is not None and self.plan.role is Role.INSTRUCTOR
        failed = StartFailed(error, tail=tail, for_instructor=instructor)
        self.log.warning("%s: %s", self._log_name, failed.log_message)
        if tail:
            self.log.info("%s: the last lines of its log:\n%s", self._log_name, tail)
        return failed

    # --- progress -----------------------------------------------------------------------------

    def step(self, percent: int, message: str) -> None:
        last = self._steps[-1]["progress"] if self._steps else 0
        self._steps.append({"progress": max(last, percent), "message": message})
        self._stepped.set()
        self._stepped = asyncio.Event()

    @property
    def latest_step(self) -> dict[str, Any]:
        """The last step of the start, for pages without JavaScript."""
        return self._steps[-1] if self._steps else {"progress": 0, "message": words.PREPARING}

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """The steps so far and those to come; JupyterHub ends it when the start has ended."""
        seen = 0
        while True:
            while seen < len(self._steps):
                yield self._steps[seen]
                seen += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stepped.wait(), timeout=5)

    # --- while it runs ------------------------------------------------------------------------

    def ended(self, exit_: Exit) -> int:
        """Note for the person why the server ended; its exit status."""
        if exit_.reason is not ExitReason.STOPPED and self.came_up:
            self.runtime.remember(self.user.name, self.name, self.title, exit_.message)
        return exit_.code

    def get_state(self) -> dict[str, Any]:
        state = super().get_state()
        if self.handle:
            culling = self.culling.model_dump() if self.culling else None
            state |= {"handle": self.handle, "title": self.title, "culling": culling}
        return cast(dict[str, Any], state)

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.handle = state.get("handle", "")
        self.title = state.get("title", "")
        culling = state.get("culling")
        self.culling = Culling.model_validate(culling) if culling else None
        self.admitted = self.came_up = bool(self.handle)

    def clear_state(self) -> None:
        super().clear_state()
        self.handle = ""
        self.admitted = self.came_up = False


class TooManyServersError(DeniedError):
    """The person runs as many servers as the site allows at once."""

    reason = "too-many-servers"


def all_spawners() -> Iterator[PlannedSpawner]:
    """The spawners of everybody whom the hub has in its memory."""
    for user in list(JupyterHub.instance().users.values()):
        for spawner in list(user.spawners.values()):
            if isinstance(spawner, PlannedSpawner):
                yield spawner


def check_limit(user: Any, name: str, limit: int) -> None:
    """Raise TooManyServersError when ``user`` cannot start the server ``name`` besides the others."""
    running = [s for s in running_servers(user) if s.name != name]
    if len(running) >= limit:
        raise TooManyServersError(
            words.limit_reached(limit, [s.title or s.name for s in running]), words.LIMIT_NEXT
        )


def running_servers(user: Any) -> list[PlannedSpawner]:
    """The servers of a user that count against the limit: running, or let in to start."""
    return [s for s in list(user.spawners.values()) if s.ready or (s.active and s.admitted)]


def _ended_in_start(exit_: Exit) -> CourseyardError:
    if exit_.reason is ExitReason.OUT_OF_MEMORY:
        return OutOfMemoryError_(exit_.message, words.OUT_OF_MEMORY_NEXT)
    return StartError(words.ENDED_IN_START, words.TRY_AGAIN, detail=exit_.message)


async def _until_answer(url: str) -> None:
    """Return once ``url`` gives any HTTP answer below 500."""
    # The shared one fetches ten things at once for the whole hub, log-ins among them.
    client = careful_client()
    delay = 0.05
    try:
        while True:
            if 0 < await status_of(client, url) < 500:
                return
            await asyncio.sleep(delay)
            delay = min(delay * 1.3, 0.5)
    finally:
        client.close()
