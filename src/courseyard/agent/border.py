"""The agent asks people, courses and images itself: what the hub says of a person is a wish here.

It makes the plan of a server anew, from the names in the request alone, and refuses what goes
beyond it. Its own knowledge may be a moment older or newer than the hub's, so it reads everything
again before it refuses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from courseyard.access import Role, Target
from courseyard.agent import beyond
from courseyard.agent.checks import refuse
from courseyard.errors import (
    AgentRefusedError,
    CourseyardError,
    DeniedError,
    PlanError,
    SettingsError,
    UnknownPersonError,
)
from courseyard.images.catalog import ImageCatalog, load_catalog
from courseyard.people import People, open_people
from courseyard.people.person import Person
from courseyard.plan.build import Known, plan_server
from courseyard.plan.model import ServerPlan, StorageNeed
from courseyard.registry.course import general_server_name
from courseyard.registry.slugs import USERS_SUFFIX
from courseyard.registry.watch import Registry
from courseyard.settings import SITE_FILE, Site
from courseyard.stamp import stamp_of

log = logging.getLogger(__name__)

_AGAIN = 10.0  # seconds until files that cannot be used are tried again


@dataclass(frozen=True, slots=True)
class _Files:
    people: People
    registry: Registry


class Border:
    """What one site's files say, kept up to date beside the hub's own copy.

    Args:
        now: for tests; an aware time.
    """

    def __init__(self, site: Site, now: Callable[[], datetime] | None = None) -> None:
        self._site = site
        self._now = now or (lambda: datetime.now(site.tz))
        self._files: _Files | None = None
        self._loading = asyncio.Lock()
        self._catalog: ImageCatalog | None = None
        self._stamp = stamp_of(site.folder / SITE_FILE)

    async def follow(self) -> None:
        """Keep up with the course files, until cancelled."""
        while True:
            try:
                files = await self._loaded()
                break
            except CourseyardError as error:
                log.warning("no server can be started: %s (%s)", error, error.detail)
                await asyncio.sleep(_AGAIN)
        await files.registry.watch()

    async def images(self) -> ImageCatalog:
        """The images as the site lists them now; the last good list while that file is broken.

        Raises:
            SettingsError: it is broken, and there is no good one.
        """
        try:
            catalog = await asyncio.to_thread(load_catalog, self._site)
        except SettingsError as error:
            if self._catalog is None:
                raise
            log.warning("the list of images cannot be used, the last good one is: %s", error)
            return self._catalog
        changed, self._catalog = self._catalog != catalog, catalog
        if changed and self._files is not None:
            await asyncio.to_thread(self._files.registry.use, catalog)
        return catalog

    async def _loaded(self) -> _Files:
        async with self._loading:
            if self._files is None:
                catalog = self._catalog or await self.images()
                people = await asyncio.to_thread(open_people, self._site)
                registry = Registry(self._site, catalog)
                await asyncio.to_thread(registry.refresh)
                self._files = _Files(people, registry)
            return self._files

    # --- servers ------------------------------------------------------------------------------

    async def admit(self, plan: ServerPlan) -> ServerPlan:
        """The plan without what belongs to courses that this agent cannot know just now.

        Raises:
            AgentRefusedError: it goes beyond what the site's files give; ``detail`` says in what.
            PeopleError: nobody knows the person, or the source of people does not answer.
            PlanError: the course's file is broken, and was so when this agent started.
        """
        files = await self._loaded()
        username = plan.identity.username
        for again in (False, True):
            if again:
                await self._read_again(files, {username})
            plan = self._narrow(files, plan)
            try:
                why = self._beyond(files, plan, await files.people.get(username))
            except (DeniedError, PlanError, UnknownPersonError) as error:
                if again:
                    raise self._told(files, plan.course, error) from error
                continue
            why = why or await self._needs_beyond(files, plan.storage)
            if not why:
                return plan
        raise self._refused(why)

    def _beyond(self, files: _Files, plan: ServerPlan, person: Person) -> str:
        assert self._catalog is not None  # read with the files
        snapshot = files.registry.snapshot
        known = Known(snapshot.courses, self._catalog, snapshot.of_instructor)
        own = plan_server(self._site, known, person, self._target(plan), self._now())
        return beyond.of_plan(plan, own, self._site.people)

    def _target(self, plan: ServerPlan) -> Target:
        if plan.role is not Role.GENERAL and plan.course:
            return Target(plan.role, plan.course)
        for key in self._site.environments:
            if plan.role is Role.GENERAL and general_server_name(key) == plan.server_name:
                return Target(Role.GENERAL, environment=key)
        raise DeniedError("There is no such server.", detail=f"{plan.role} {plan.server_name!r}")

    # --- folders ------------------------------------------------------------------------------

    async def admit_needs(self, needs: tuple[StorageNeed, ...]) -> tuple[StorageNeed, ...]:
        """As :meth:`admit`, for folders alone."""
        files = await self._loaded()
        for again in (False, True):
            if again:
                await self._read_again(files, {need.username for need in needs} - {""})
            broken = self._broken(files)
            kept = tuple(need for need in needs if need.slug not in broken)
            why = await self._needs_beyond(files, kept)
            if not why:
                return kept
        raise self._refused(why)

    async def _needs_beyond(self, files: _Files, needs: tuple[StorageNeed, ...]) -> str:
        courses = files.registry.snapshot.courses
        for need in needs:
            person = None
            if need.kind in beyond.PERSONAL and need.username:
                try:
                    person = await files.people.get(need.username)
                except UnknownPersonError as error:
                    return error.detail
            why = beyond.of_need(need, courses, person, self._site.people)
            if why:
                return why
        return ""

    # --- what cannot be known -----------------------------------------------------------------

    async def _read_again(self, files: _Files, usernames: Collection[str]) -> None:
        for username in usernames:
            files.people.forget(username)
        await self.images()
        await asyncio.to_thread(files.registry.refresh)

    def _broken(self, files: _Files) -> frozenset[str]:
        """Courses of whose files this agent knows no good version, as the hub may."""
        snapshot = files.registry.snapshot
        wrong = {problem.file.stem for problem in snapshot.problems if problem.is_error}
        slugs = {stem.removesuffix(USERS_SUFFIX) for stem in wrong}
        unknown = (
            s for s in slugs if s not in snapshot.courses or not snapshot.courses[s].complete
        )
        return frozenset(unknown)

    def _narrow(self, files: _Files, plan: ServerPlan) -> ServerPlan:
        """Without the parts of other courses whose files are broken: they cost themselves alone."""
        broken = self._broken(files) - {plan.course}
        if not broken:
            return plan
        prefix = self._site.people.course_group_prefix
        groups = plan.identity.supplementary
        kept = tuple(g for g in groups if g.name.removeprefix(prefix) not in broken)
        mounts = tuple(m for m in plan.mounts if _slug(m.source) not in broken)
        needs = tuple(need for need in plan.storage if need.slug not in broken)
        if (kept, mounts, needs) != (groups, plan.mounts, plan.storage):
            log.warning("%s: without the broken courses %s", plan.title, ", ".join(sorted(broken)))
        identity = plan.identity.model_copy(update={"supplementary": kept})
        changes = {"identity": identity, "mounts": mounts, "storage": needs}
        return plan.model_copy(update=changes)

    def _told(self, files: _Files, slug: str, error: CourseyardError) -> CourseyardError:
        """What the hub is told when no plan of our own can be made."""
        if slug in self._broken(files):
            return PlanError(
                "The course file of this course has a mistake, so no server of it can be started.",
                "Ask the people of the course to correct it; your files are safe.",
                detail=f"{slug}: the agent knows no good version; `courseyard check` says what is wrong",
            )
        if isinstance(error, DeniedError):
            return self._refused(error.detail or error.message)
        return error

    def _refused(self, why: str) -> AgentRefusedError:
        if stamp_of(self._site.folder / SITE_FILE) != self._stamp:
            why += f"; {SITE_FILE} was changed after this agent started: start the site again"
        error = refuse(f"beyond what the site's files give: {why}")
        error.next_step = (
            "Try again in a minute, since a change may be under way; then tell the administrators."
        )
        return error


def _slug(source: str) -> str:
    """The course that a mount's source belongs to; "" for others."""
    parts = source.split("/")
    return parts[1] if parts[0] in ("course", "exchange") and len(parts) > 1 else ""
