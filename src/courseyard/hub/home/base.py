"""What our pages share: starting a server from a link or a form, and saying why it cannot be."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from urllib.parse import quote, urlsplit

from jupyterhub.handlers.base import BaseHandler
from tornado import web  # type: ignore[attr-defined]
from tornado.httputil import url_concat

from courseyard.errors import CourseyardError
from courseyard.hub.failure import StartFailed
from courseyard.hub.home import links, words
from courseyard.hub.home.clicks import is_click
from courseyard.hub.home.guard import admit
from courseyard.hub.planned import TooManyServersError, check_limit, running_servers
from courseyard.hub.runtime import SETTING, Runtime
from courseyard.hub.turns import give_way
from courseyard.settings import Site

#: How long a click waits for its start before the progress page is shown, in seconds.
_SHORT = 1.0
#: How long a click waits for the last run of its server to end, in seconds.
_STOPPING = 5.0


_stock_next = BaseHandler._validate_next_url


def install() -> None:
    """Let no page of JupyterHub's lead on to an address that no header can hold: that was a fault (500)."""
    BaseHandler._validate_next_url = lambda handler, address: (
        "" if links.has_control(address) else _stock_next(handler, address)
    )


class Page(BaseHandler):
    """A page of ours."""

    @property
    def runtime(self) -> Runtime:
        return cast(Runtime, self.settings[SETTING])

    @property
    def site(self) -> Site:
        return self.runtime.site

    def asked_by_person(self) -> bool:
        """Whether this GET is somebody's click, as far as the browser tells (see :mod:`~courseyard.hub.home.clicks`)."""
        return is_click(self.request.headers, self.site)

    def wish(self, user: Any, name: str) -> str:
        """What ``urlpath=`` or ``next=`` asks to open in the server ``name`` of ``user``; "" its first page.

        Raises:
            HTTPError: 404; it is no place in that server.
        """
        asked = self.get_argument("urlpath", "") or self.get_argument("next", "")
        target = self.runtime.target(name)
        try:
            return links.wished(
                self._without_host(asked),
                base=self.base_url,
                server=urlsplit(user.server_url(name)).path,
                target=str(target or ""),
            )
        except links.BadLinkError as error:
            raise self.bad_link(error) from error

    def bad_link(self, error: links.BadLinkError) -> web.HTTPError:
        """The refusal of a link that leads out of the person's own server."""
        self.log.warning("Refused: a link in %r: %s", self.request.uri[:500], error)
        return web.HTTPError(404, words.BAD_LINK)

    def _without_host(self, address: str) -> str:
        """A whole address of this site without its host."""
        if not address.startswith(("https://", "http://")):
            return address
        if own := self._validate_next_url(address):
            return str(own)
        raise links.BadLinkError("it names another host")

    async def start_or_open(self, user: Any, name: str, inside: str = "", *, asked: bool) -> None:
        """Redirect to the server ``name`` of ``user``, started when it does not run.

        Args:
            user: whose server.
            name: of the server.
            inside: what is opened there (:mod:`~courseyard.hub.home.links`); "" its first page.
            asked: whether a person asks for it, and no page behind her back.

        Raises:
            StartFailed: it may not or cannot be started.
        """
        if name in user.spawners:
            spawner = user.spawners[name]
            if spawner.ready and await spawner.poll_and_notify() is None:
                self.redirect(user.server_url(name) + inside)
                return
            if spawner.pending == "stop" and spawner._stop_future:
                await asyncio.wait([spawner._stop_future], timeout=_STOPPING)
            if spawner.pending:
                self.redirect(self._pending_url(user, name, inside))
                return
        await admit(self, user.name, name)
        if not asked:
            await self._ask(name)
            return
        try:
            check_limit(user, name, self.site.servers.per_user)
        except TooManyServersError as error:
            await self._too_many(user, error)
            return
        await self._start(user, name, inside)

    async def _start(self, user: Any, name: str, inside: str) -> None:
        spawner = user.get_or_create_spawner(name, "", replace_failed=True)
        # A start that somebody asks for may follow one that failed.
        if spawner._spawn_future and spawner._spawn_future.done():
            spawner._spawn_future = None
        start = asyncio.ensure_future(self._spawn(user, name))
        start.add_done_callback(_retrieve)
        await asyncio.wait([start], timeout=_SHORT)
        failure = start.exception() if start.done() and not start.cancelled() else None
        if failure is not None and not (isinstance(failure, StartFailed) and failure.tail):
            raise failure
        self.redirect(self._pending_url(user, name, inside))

    async def _spawn(self, user: Any, name: str) -> None:
        give_way()
        if not user.spawners[name].active:  # a second click was quicker
            await self.spawn_single_user(user, name, "", options={})

    def _pending_url(self, user: Any, name: str, inside: str) -> str:
        url = f"{self.hub.base_url}spawn-pending/{user.escaped_name}/{quote(name)}"
        return url_concat(url, {"urlpath": inside}) if inside else url

    async def _ask(self, name: str) -> None:
        await self._message(
            self.runtime.title_of(name),
            [words.CONFIRM_LEAD],
            buttons=[{"label": words.START, "action": self.request.uri}],
        )

    async def _too_many(self, user: Any, error: CourseyardError) -> None:
        self.set_status(409)
        # Back to this very link, now that there is a place.
        again = {"next": self.request.uri}
        buttons = [
            {
                "label": words.stop_title(s.title or s.name),
                "action": url_concat(f"{self.hub.base_url}stop/{s.name}", again),
            }
            for s in running_servers(user)
        ]
        lines = [error.message, error.next_step]
        await self._message(words.LIMIT_TITLE, lines, buttons=buttons)

    async def _message(
        self, title: str, lines: list[str], *, buttons: list[dict[str, str]]
    ) -> None:
        html = await self.render_template(
            "courseyard/message.html", title=title, lines=lines, buttons=buttons
        )
        self.finish(html)


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Take the exception of a start that nobody waits for; the spawner has logged it."""
    if not future.cancelled():
        future.exception()
