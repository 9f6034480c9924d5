"""Pages that follow a link into a server: to a course, and to a file or page in it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from jupyterhub.handlers.pages import SpawnPendingHandler
from tornado import web  # type: ignore[attr-defined]
from tornado.httputil import url_concat

from courseyard.access import Action, Target, decide
from courseyard.errors import CourseyardError
from courseyard.hub.failure import StartFailed
from courseyard.hub.home import links, offers, words
from courseyard.hub.home.base import Page
from courseyard.hub.names import name_of
from courseyard.hub.planned import running_servers


class GoHandler(Page):
    """``/hub/go/<course>/<path>``: open it when it runs, else start it, whatever else runs."""

    @web.authenticated
    async def get(self, link: str) -> None:
        await self.go(link, asked=self.asked_by_person())

    @web.authenticated
    async def post(self, link: str) -> None:
        await self.go(link, asked=True)

    async def go(self, link: str, *, asked: bool) -> None:
        try:
            target, path = links.split(link)
        except (CourseyardError, ValueError) as error:
            raise web.HTTPError(404, words.NO_SUCH_LINK) from error
        if target.environment is not None and target.environment not in self.site.environments:
            raise web.HTTPError(404, words.NO_SUCH_LINK)
        user, name = self.current_user, name_of(target, self.site)
        inside = self._page(target, path) if path else self.wish(user, name)
        await self.start_or_open(user, name, inside, asked=asked)

    def _page(self, target: Target, path: str) -> str:
        try:
            found = links.to_file(path, classic=self.runtime.is_classic(target))
            query = f"?{self.request.query}" if self.request.query else ""
            return links.inside(found + query)
        except links.BadLinkError as error:
            raise self.bad_link(error) from error


class RedirectHandler(Page):
    """``/hub/user-redirect/<address>``, JupyterHub's links into whatever server a person has.

    The address may begin with a course. Else the one server that runs is meant, or the person is asked.
    """

    @web.authenticated
    async def get(self, path: str) -> None:
        query = f"?{self.request.query}" if self.request.query else ""
        raw = self.request.path.partition("/user-redirect/")[2]
        try:
            target, rest = await self._target(raw)
            inside = links.inside(rest + query)
        except links.BadLinkError as error:
            raise self.bad_link(error) from error
        choices = [target] if target else await self._choices()
        if len(choices) == 1:
            self.redirect(self._go(choices[0], inside))
            return
        await self._message(
            words.CHOOSE_TITLE,
            [words.CHOOSE_LEAD],
            buttons=[
                {"label": self._title(each), "action": self._go(each, inside)} for each in choices
            ],
        )

    async def _target(self, raw: str) -> tuple[Target | None, str]:
        """The course or environment at the beginning of an address, and the rest.

        Nobody learns here that a course exists which they may not see.
        """
        try:
            target, rest = links.split(raw)
        except (CourseyardError, ValueError):
            return None, raw
        if target.course is None:
            known = target.environment is None or target.environment in self.site.environments
            return (target, rest) if known else (None, raw)
        course = self.runtime.registry.snapshot.courses.get(target.course)
        if course is None:
            return None, raw
        person = await self._person()
        seen = decide(self.site, person, course, Action.SEE, self.runtime.now())
        return (target, rest) if seen else (None, raw)

    async def _choices(self) -> list[Target]:
        """The one server that runs; else all that the person may start, as on the course page."""
        running = [self.runtime.target(s.name) for s in running_servers(self.current_user)]
        found = [target for target in running if target is not None]
        if len(found) == 1:
            return found
        snapshot = self.runtime.registry.snapshot
        person, now = await self._person(), self.runtime.now()
        offered = offers.offers(self.site, snapshot, person, {}, now)
        starts = [start.target for card in offered.cards for start in card.starts]
        general = [card.start.target for card in offered.environments]
        return list(dict.fromkeys([*found, *starts, *general]))

    async def _person(self) -> Any:
        try:
            return await self.runtime.person(self.current_user.name)
        except CourseyardError as error:
            raise StartFailed(error) from error

    def _title(self, target: Target) -> str:
        return self.runtime.title_of(name_of(target, self.site))

    def _go(self, target: Target, inside: str) -> str:
        url = f"{self.hub.base_url}go/{quote(str(target))}"
        return url_concat(url, {"urlpath": inside}) if inside else url


class PendingHandler(Page, SpawnPendingHandler):
    """How a start goes. It ends at what the link asked for, also after another try."""

    @web.authenticated
    async def get(self, user_name: str, server_name: str = "") -> None:
        self._inside = ""
        user = self.find_user(user_name)
        if user is not None and server_name:
            self._inside = self.wish(user, server_name)
        await super().get(user_name, server_name)

    def get_next_url(self, user: Any = None, default: str | None = None) -> str:
        """Where JupyterHub goes on when the server is ready."""
        return f"{default}{self._inside}"

    def render_template(self, name: str, sync: bool = False, **ns: Any) -> Any:
        if self._inside and "spawn_url" in ns:
            ns["spawn_url"] = url_concat(ns["spawn_url"], {"urlpath": self._inside})
        return super().render_template(name, sync=sync, **ns)
