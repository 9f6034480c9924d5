"""Who is given a key to a person's servers: that person, at log-in and when the proxy lets her not in.

The proxy sends here what it lets to no server (``hub/keyed.py``): a person without a key, whose browser
was started again or who logged in before there were keys; and everybody else, who is refused.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from jupyterhub import orm
from jupyterhub.handlers.base import BaseHandler, UserUrlHandler
from sqlalchemy import event
from tornado import web  # type: ignore[attr-defined]
from tornado.httputil import url_concat
from tornado.web import HTTPError, RequestHandler

from courseyard.errors import CourseyardError
from courseyard.hub.home import words
from courseyard.hub.keys import Keys
from courseyard.hub.runtime import SETTING, Runtime

_stock_set = BaseHandler.set_login_cookie
_stock_clear = BaseHandler.clear_login_cookie
#: How often a browser is sent back to its server without having got there.
_TRIES = 4
_PAUSE = 0.5  # seconds before the second try, then twice as many: a proxy uses what it was told


class OwnServerHandler(UserUrlHandler):
    """An address of a server that the proxy did not let this request to."""

    #: A server that has never run, and that the person may start.
    _offered = ""

    def check_xsrf_cookie(self) -> None:
        """None is needed to read here, so that JupyterLab's next request brings it the new key."""
        if self.request.method not in ("GET", "HEAD"):
            super().check_xsrf_cookie()

    @web.authenticated
    async def get(self, user_name: str, user_path: str | None) -> None:
        """JupyterHub offers to start what the person has started before; here it is all that she may."""
        server, runtime = self._server(), self.settings[SETTING]
        mine = user_name == self.current_user.name
        if mine and server not in self.current_user.orm_user.orm_spawners:
            with suppress(CourseyardError):
                await runtime.plan(user_name, server)
                self._offered = server
        try:
            await super().get(user_name, user_path)
        except HTTPError as error:
            if error.status_code != 404:
                raise
            # Whether that person and that server are there is told to nobody else.
            raise HTTPError(404, words.NOT_YOUR_SERVER) from error

    def render_template(self, name: str, sync: bool = False, **ns: Any) -> Any:
        """The page about a server that does not run; its button opens the very address that was asked for."""
        if name == "not_running.html" and not ns["server_name"]:
            if self._offered:
                spawn = f"{self.hub.base_url}spawn/{ns['user'].escaped_name}/{self._offered}"
                ns["server_name"] = self._offered
                ns["spawn_url"] = url_concat(spawn, {"next": self.request.uri})
            else:
                ns["choose"] = True
                address = self.request.uri.partition("/user/")[2].partition("/")[2]
                ns["spawn_url"] = f"{self.hub.base_url}user-redirect/{address}"
        return super().render_template(name, sync=sync, **ns)

    def _server(self) -> str:
        return str(self.path_kwargs["user_path"] or "").lstrip("/").split("/", 1)[0]

    def leads_on(self) -> bool:
        """Whether the answer is a way to the asker's own running server and no page (hub/fetches.py)."""
        user = self.current_user
        if user is None or self.path_kwargs["user_name"] != user.name or self._tried() >= _TRIES:
            return False
        server = self._server()
        return bool(server in user.spawners and user.spawners[server].ready)

    def _tried(self) -> int:
        tries = self.get_argument("redirects", "0")
        return int(tries) if tries.isdecimal() else _TRIES

    async def _redirect_to_user_server(self, user: Any, spawner: Any) -> None:
        """The server runs: give its person a key and send the browser back.

        JupyterHub asks whoever may see the server; a key is for its person's own browser alone.
        """
        if user is not self.current_user or getattr(self, "_token_authenticated", False):
            raise HTTPError(404, words.NOT_YOUR_SERVER)
        path, _, query = self.request.uri.removeprefix(self.hub.base_url).partition("?")
        tried = self._tried()
        if tried >= _TRIES:
            self.log.warning("A browser of %s keeps no key, or no proxy knows it", user.name)
            raise HTTPError(403, words.NO_KEY)
        give(self, user)
        await self.proxy.rekey(user.name)
        if tried:
            await asyncio.sleep(_PAUSE * 2**tried)
        rest = [part for part in query.split("&") if part and not part.startswith("redirects=")]
        again = "&".join([*rest, f"redirects={tried + 1}"])
        host = user.host if self.subdomain_host else ""
        self.redirect(f"{host}{self.base_url}{path}?{again}")


def give(handler: BaseHandler, user: Any) -> None:
    """Set the cookie with the key of this session of ``user``."""
    keys: Keys = handler.settings[SETTING].keys
    session = handler.get_session_cookie() or handler.set_session_cookie()
    options = _options(handler)
    options["httponly"], options["samesite"] = True, "Lax"
    # It ends with the browser's session, as JupyterHub's id of the session does.
    RequestHandler.set_cookie(handler, keys.cookie, keys.give(user.name, session), **options)


def _options(handler: BaseHandler) -> dict[str, Any]:
    """Where the cookie is valid."""
    runtime: Runtime = handler.settings[SETTING]
    options: dict[str, Any] = {"path": handler.base_url}
    if runtime.places.public_url.startswith("https:") or handler.request.protocol == "https":
        options["secure"] = True
    if runtime.keys.cookie.startswith("__Host-"):
        options["path"] = "/"
    elif handler.subdomain_host:
        options["domain"] = handler.domain
    return options


def _set_login_cookie(self: BaseHandler, user: Any) -> None:
    """JupyterHub calls it at every log-in, whatever the authenticator."""
    _stock_set(self, user)
    give(self, user)
    self.settings[SETTING].run(self.proxy.rekey, user.name)


def _clear_login_cookie(self: BaseHandler, name: str | None = None) -> None:
    """JupyterHub calls it at every log-out; there it forgets the tokens of this session, too."""
    user, session = self.get_current_user_cookie(), self.get_session_cookie()
    _stock_clear(self, name)
    keys: Keys = self.settings[SETTING].keys
    RequestHandler.clear_cookie(self, keys.cookie, **_options(self))
    if user and session:
        keys.take(user.name, session)
        self.settings[SETTING].run(self.proxy.rekey, user.name)


def install(keys: Keys) -> None:
    """Give and take keys with JupyterHub's own log-in cookie, and forget those of people who go.

    All handlers of JupyterHub and its authenticators share one base class.
    """
    BaseHandler.set_login_cookie = _set_login_cookie
    BaseHandler.clear_login_cookie = _clear_login_cookie

    def forget(mapper: Any, connection: Any, user: Any) -> None:
        keys.forget(user.name)

    event.listen(orm.User, "after_delete", forget)
