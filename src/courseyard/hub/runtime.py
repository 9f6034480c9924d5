"""What the hub's parts share: the site, what is known, the backend, and how servers ended."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_network
from typing import Any

from traitlets.log import get_logger

from courseyard.access import NO_SUCH_COURSE, Target
from courseyard.agent.client import AgentClient
from courseyard.backends.base import Backend
from courseyard.errors import DeniedError, SettingsError
from courseyard.hub.home import words
from courseyard.hub.keys import Keys, cookie_name
from courseyard.hub.names import ServerNames
from courseyard.hub.places import Places
from courseyard.hub.tries import Tries
from courseyard.images.catalog import ImageCatalog, load_catalog
from courseyard.people import open_people
from courseyard.people.person import Person
from courseyard.plan.build import Known, plan_server
from courseyard.plan.model import ServerPlan
from courseyard.registry.watch import Registry
from courseyard.settings import Site
from courseyard.stamp import stamp_of

#: Key of the runtime among JupyterHub's tornado settings.
SETTING = "courseyard"
#: Of how many people endings are remembered until they come back.
_ENDINGS = 10_000
#: Seconds before a background task that failed starts again; twice as long each time, up to a minute.
_AGAIN, _AGAIN_MOST = 0.5, 60.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a server is no longer running, for the person's course page."""

    at: datetime
    title: str
    message: str


class Runtime:
    """One site inside the hub's process; made by :func:`courseyard.hub.configure.configure`."""

    def __init__(self, site: Site, backend: Backend | None = None) -> None:
        self.site = site
        self.places = Places(site)
        self.agent = AgentClient(self.places.agent_socket)
        self.backend: Backend = backend or self.agent
        self.catalog: ImageCatalog = load_catalog(site)
        self.registry = Registry(site, self.catalog)
        self.registry.refresh()
        self.names = ServerNames(site)
        self.tries = Tries()
        self.trusted = [ip_network(network) for network in site.proxy.trusted_proxies]
        self.keys = Keys(cookie_name(self.places), self.places.hub_dir / "keys.json")
        # Who is logged in was known at that time, also to a hub that starts while the directory is away.
        self.people = open_people(site, self.keys.people())
        self._endings: OrderedDict[str, dict[str, Ending]] = OrderedDict()
        self._names: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __deepcopy__(self, memo: dict[int, Any]) -> Runtime:
        """There is one runtime in a process; traitlets copies what a configuration holds."""
        return self

    @property
    def log(self) -> Any:
        """JupyterHub's own log."""
        return get_logger()

    def now(self) -> datetime:
        return datetime.now(self.site.tz)

    def known(self) -> Known:
        snapshot = self.registry.snapshot
        return Known(courses=snapshot.courses, catalog=self.catalog, named=snapshot.of_instructor)

    async def person(self, username: str) -> Person:
        """The person behind a user of the hub.

        Raises:
            UnknownPersonError: nobody has this name (any more).
            SourceDownError: the source of people does not answer.
        """
        person = await self.people.get(username)
        self._names[username] = person.full_name or username
        return person

    def display_name(self, username: str) -> str:
        """The full name when the person was looked up since the hub started, else the username."""
        return self._names.get(username, username)

    def title_of(self, server_name: str) -> str:
        """What people call the server: the course's or the environment's name."""
        target = self.target(server_name)
        if target is None:
            return self.site.name
        if target.course is not None:
            course = self.registry.snapshot.courses[target.course]
            return words.server_title(course.name, target.role)
        return self.site.environments[target.environment or ""].name

    def target(self, server_name: str) -> Target | None:
        """What a server of this name starts; None when no course and no environment has it."""
        return self.names.find(server_name, self.registry.snapshot.courses)

    def is_classic(self, target: Target) -> bool:
        """Whether a target opens in the classic notebook interface."""
        if target.course is None:
            key = target.environment or next(iter(self.site.environments))
            return not self.site.environments[key].jupyterlab
        course = self.registry.snapshot.courses.get(target.course)
        return course is not None and not course.jupyterlab

    async def plan(self, username: str, server_name: str) -> ServerPlan:
        """Decide and plan the server ``server_name`` of a user, from nothing but these two names.

        Raises:
            DeniedError: no such server is this person's to start.
            PeopleError: the person is not known now.
            PlanError: the course asks for what is not there.
        """
        target = self.target(server_name)
        if target is None:
            raise DeniedError(
                # As for a course that is not the person's: nobody learns which names exist.
                NO_SUCH_COURSE.message,
                "Your course page shows what you can start.",
                detail=f"no target has the server name {server_name[:80]!r}",
            )
        person = await self.person(username)
        return plan_server(self.site, self.known(), person, target, self.now())

    def remember(self, username: str, server_name: str, title: str, message: str) -> None:
        """Keep why a server ended, until its next start or the hub's restart."""
        of_user = self._endings.pop(username, {})
        of_user[server_name] = Ending(self.now(), title, message)
        self._endings[username] = of_user
        while len(self._endings) > _ENDINGS:
            self._endings.popitem(last=False)

    def forget(self, username: str, server_name: str) -> None:
        self._endings.get(username, {}).pop(server_name, None)

    def endings(self, username: str) -> dict[str, Ending]:
        """Endings of a user's servers by server name."""
        return dict(self._endings.get(username, {}))

    def run(self, work: Callable[..., Coroutine[Any, Any, None]], *words: Any) -> None:
        """Run ``work(*words)`` for as long as the hub lives.

        When it fails, the log says so and it is started again. One that returns is done.
        """
        task = asyncio.get_running_loop().create_task(self._keep_running(work, *words))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_running(
        self, work: Callable[..., Coroutine[Any, Any, None]], *words: Any
    ) -> None:
        name = getattr(work, "__qualname__", repr(work))
        pause = _AGAIN
        while True:
            began = time.monotonic()
            try:
                return await work(*words)
            except Exception:
                pause = min(_AGAIN_MOST, pause * 2) if time.monotonic() - began < 60 else _AGAIN
                self.log.exception("%s failed; it starts again in %g s", name, pause)
            await asyncio.sleep(pause)

    async def watch_images(self, interval: float = 10.0) -> None:
        """Read the image list again when it changes; the last good one stays in force."""
        file = self.site.path(self.site.images)
        seen = await asyncio.to_thread(stamp_of, file)
        while True:
            await asyncio.sleep(interval)
            stamp = await asyncio.to_thread(stamp_of, file)
            if stamp == seen:
                continue
            seen = stamp
            try:
                self.catalog = await asyncio.to_thread(load_catalog, self.site)
                await asyncio.to_thread(self.registry.use, self.catalog)
            except SettingsError as error:
                self.log.error("The image list cannot be used: %s", error)  # noqa: TRY400
