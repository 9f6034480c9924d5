"""The hub's own pages, put before JupyterHub's so that they take their place."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from jupyterhub import handlers as stock
from jupyterhub.apihandlers.base import API404
from jupyterhub.handlers.pages import ProxyErrorHandler, SpawnHandler
from jupyterhub.scopes import needs_scope
from tornado import web  # type: ignore[attr-defined]
from tornado.httputil import url_concat

from courseyard.errors import CourseyardError
from courseyard.hub import sharing
from courseyard.hub.failure import StartFailed
from courseyard.hub.home import assets, errorpages, view
from courseyard.hub.home.administration import AdministrationHandler, AdministrationStopHandler
from courseyard.hub.home.base import Page
from courseyard.hub.home.following import GoHandler, PendingHandler, RedirectHandler
from courseyard.hub.home.guard import GuardedServerApi, ProgressApi
from courseyard.hub.home.keyholders import OwnServerHandler
from courseyard.hub.home.tokens import TokenEnd, TokenListApi, TokenPage
from courseyard.hub.planned import running_servers
from courseyard.hub.turns import GivesWay
from courseyard.settings import Site


class HomeHandler(Page):
    """The course page."""

    @web.authenticated
    async def get(self) -> None:
        user = self.current_user
        await self.notice_ended(user)
        query = self.get_argument("q", "")[:100].strip()
        try:
            page = await view.course_page(self.runtime, user, query)
        except CourseyardError as error:
            raise StartFailed(error) from error
        self.set_header("Cache-Control", "no-store")
        self.finish(await self.render_template("courseyard/home.html", page=page))

    async def notice_ended(self, user: Any) -> None:
        """Let JupyterHub see servers that ended since it last looked; never wait long for it."""
        polls = [
            asyncio.ensure_future(s.poll_and_notify()) for s in running_servers(user) if s.ready
        ]
        if polls:
            await asyncio.wait(polls, timeout=1)


class StartHandler(Page, SpawnHandler):
    """Takes the place of the spawn form; old links (``?profile=<slug>``) lead on."""

    @web.authenticated
    async def get(self, user_name: str | None = None, server_name: str = "") -> None:
        profile = self.get_argument("profile", "") or self.get_argument("opt-profile", "")
        if profile:
            self.redirect(self._go(profile))
        elif not server_name:
            self.redirect(f"{self.hub.base_url}home")
        else:
            await self._start_for(user_name, server_name, asked=self.asked_by_person())

    def _go(self, profile: str) -> str:
        wish = {name: self.get_argument(name, "") for name in ("urlpath", "next")}
        given = {name: value for name, value in wish.items() if value}
        return str(url_concat(f"{self.hub.base_url}go/{quote(profile)}", given))

    @web.authenticated
    async def post(self, user_name: str | None = None, server_name: str = "") -> None:
        await self._start_for(user_name or self.current_user.name, server_name, asked=True)

    @needs_scope("servers")
    async def _start_for(self, user_name: str, server_name: str, asked: bool) -> None:
        user = self.find_user(user_name)
        if user is None:
            raise web.HTTPError(404)
        inside = self.wish(user, server_name) if server_name else ""
        await self.start_or_open(user, server_name, inside, asked=asked)


class StopHandler(GivesWay, Page):
    """Stops one of the person's own servers, or gives up its start.

    It gives way as the start does: what JupyterHub does at the end of a start comes before what waits for it.
    """

    @web.authenticated
    async def post(self, name: str) -> None:
        user = self.current_user
        if name in user.spawners:
            spawner = user.spawners[name]
            if spawner.pending == "spawn" and spawner._spawn_future:
                spawner._spawn_future.cancel()
                # JupyterHub's own API gives a cancelled start the same second to resolve.
                await asyncio.wait([spawner._spawn_future], timeout=1)
                await asyncio.sleep(0)
            if not spawner.pending and (spawner.ready or spawner.handle):
                await self.stop_single_user(user, name)
        self.redirect(self.get_next_url(default=f"{self.hub.base_url}home"))


class ErrorPage(ProxyErrorHandler):
    """The page that the proxy shows instead of its own bare answer."""

    async def get(self, status_code_s: str) -> None:
        if status_code_s == "429":
            self.set_header("Retry-After", "60")
        await super().get(status_code_s)

    def render_template(self, name: str, sync: bool = False, **ns: Any) -> Any:
        page_id = errorpages.new_id()
        self.log.info("[error %s] %s from the proxy", page_id, ns.get("status_code"))
        return super().render_template(name, sync=sync, page_id=page_id, **ns)


class SeenHandler(Page):
    """The person has read why a server ended."""

    @web.authenticated
    async def post(self, name: str) -> None:
        self.runtime.forget(self.current_user.name, name)
        self.redirect(f"{self.hub.base_url}home")


def install(site: Site, *more: tuple[Any, ...]) -> None:
    """Put our pages, and ``more``, before JupyterHub's.

    ``JupyterHub.extra_handlers`` come after the stock ones and are deprecated, and the first match
    wins; so the list that JupyterHub reads at its start is extended at the front, once.
    """
    refused = [] if site.hub.sharing else sharing.refusals()
    known = stock.default_handlers
    known[:0] = [each for each in (*HANDLERS, *refused, *more) if each not in known]


HANDLERS: list[tuple[Any, ...]] = [
    (r"/home", HomeHandler),
    (r"/go/(.+?)/?", GoHandler),
    (r"/user/(?P<user_name>[^/]+)(?P<user_path>/.*)?", OwnServerHandler),
    (r"/stop/([a-z0-9-]+)", StopHandler),
    (r"/seen/([a-z0-9-]+)", SeenHandler),
    (r"/error/(\d+)", ErrorPage),
    (r"/admin", AdministrationHandler),
    (r"/admin/stop/([^/]+)/([a-z0-9-]+)", AdministrationStopHandler),
    (r"/spawn", StartHandler),
    (r"/spawn/([^/]+)", StartHandler),
    (r"/spawn/([^/]+)/([^/]+)", StartHandler),
    (r"/spawn-pending/([^/]+)", PendingHandler),
    (r"/spawn-pending/([^/]+)/([^/]+)", PendingHandler),
    (r"/user-redirect/(.*)?", RedirectHandler),
    (r"/token", TokenPage),
    (r"/token/(a[0-9]+)", TokenEnd),
    (r"/api/users/([^/]+)/tokens", TokenListApi),
    # Say whose a token or a cookie is; nothing has asked there since JupyterHub 2.
    (r"/api/authorizations/cookie/([^/]+)(?:/([^/]+))?", API404),
    (r"/api/authorizations/token/([^/]+)", API404),
    (r"/api/authorizations/token", API404),
    (r"/api/users/([^/]+)/server", GuardedServerApi),
    (r"/api/users/([^/]+)/servers/([^/]*)", GuardedServerApi),
    (r"/api/users/([^/]+)/servers/([^/]*)/progress", ProgressApi),
    (r"/courseyard/static/(.*)", assets.StaticHandler, {"path": str(assets.STATIC)}),
    (r"/courseyard/site\.css", assets.SiteCssHandler),
    (r"/courseyard/logo", assets.SiteLogoHandler),
]
