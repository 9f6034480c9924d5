"""Routes for proxies elsewhere: Traefik asks the hub for them, as many Traefiks as there are.

On one machine Traefik watches a file. In a cluster hub and proxies share no folder, so the same
configuration is served on a port that only proxies reach, for Traefik's own HTTP provider
(doc.traefik.io/traefik/reference/install-configuration/providers/others/http). While the hub is
away a proxy keeps what it has; a proxy that starts again asks for everything.

An answer waits until there is something new, so routes are there at once without much asking. A
proxy takes over all of them for each that is new; where there are many, those that come shortly one
after another are told together.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler
from traitlets import Any as AnyTrait
from traitlets import default, observe

from courseyard.hub import proxy as own
from courseyard.hub.keyed import KeyedProxy
from courseyard.hub.statefile import StateFile

PORT = 8082
TOKEN = "COURSEYARD_ROUTES_TOKEN"  # noqa: S105  the variable's name
_HOLD = 4.0  # seconds an answer may wait; with what gathers, below proxy.yaml's pollTimeout of 6
_FORGET = 3 * _HOLD  # seconds without asking after which a proxy counts as gone
_TOGETHER = 0.25  # seconds in which changes gather after an answer, …
_TOGETHER_EACH = 0.001  # … so many more for each route there is, …
_TOGETHER_MOST = 1.0  # … and no more than so many
_TAKE = 0.05  # seconds that Traefik needs to use what it was told
_WAIT = 10.0  # seconds for all proxies to have asked


class ServedRoutesProxy(KeyedProxy):
    """Keeps routes in a file of the hub's own and serves them."""

    site = AnyTrait(help="The site, for the routes beside the hub's.").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        """Raises RuntimeError without a token: what `_serve` raises, nobody would hear."""
        self._token = os.environ.get(TOKEN, "")
        if not self._token:
            raise RuntimeError(f"{TOKEN} is not set; without it nobody may ask for routes")
        super().__init__(**kwargs)
        self.version = 0
        #: Since the hub started: before that nobody may be told that most routes are gone.
        self.complete = False
        self._changed = asyncio.Condition()  # there is something new
        self._heard = asyncio.Condition()  # a proxy has got an answer
        #: Address of a proxy → when it last asked, and the version it was told.
        self._asked: dict[str, tuple[float, int]] = {}
        #: A version, and what proxies are told of it, with our plugin and without.
        self._texts: tuple[int, dict[bool, bytes]] = (-1, {})
        self._texted = 0.0  # when that was made

    @default("dynamic_config_handler")
    def _default_handler(self) -> StateFile:
        return StateFile(Path(self.dynamic_config_file))

    @observe("dynamic_config_file")
    def _set_dynamic_config_file(self, change: Any) -> None:
        self.dynamic_config_handler = self._default_handler()

    # --- what JupyterHub calls ----------------------------------------------------------------

    async def _start_external(self) -> None:
        self._serve()
        self._start_future = None

    async def check_routes(self, *args: Any, **kwargs: Any) -> Any:
        done = await super().check_routes(*args, **kwargs)
        if not self.complete:
            self.complete = True
            await self._announce()
        return done

    async def _apply_dynamic_config(self, *args: Any, **kwargs: Any) -> None:
        await super()._apply_dynamic_config(*args, **kwargs)
        await self._announce()

    async def delete_route(self, routespec: str) -> None:
        """Delete it and wait until the proxies know, or the next visitor gets a bare 502."""
        await super().delete_route(routespec)
        await self._announce()
        await self._wait_for_route(routespec)

    async def _wait_for_route(self, routespec: str) -> None:
        """Until every proxy that asks was told of this change. A proxy that is away learns later."""
        if not self.complete:
            return
        wanted, until = self.version, time.monotonic() + _WAIT
        async with self._heard:
            while time.monotonic() < until and not self._told(wanted):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._heard.wait(), 0.5)
        await asyncio.sleep(_TAKE)

    async def wait_for_rule(self, routespec: str, rule: str) -> None:
        """Until every proxy that asks was told of all there is."""
        await self._wait_for_route(routespec)

    # --- the proxies --------------------------------------------------------------------------

    def _told(self, version: int) -> bool:
        now = time.monotonic()
        self._asked = {ip: seen for ip, seen in self._asked.items() if now - seen[0] < _FORGET}
        return all(told >= version for _, told in self._asked.values())

    async def _announce(self) -> None:
        self.version += 1
        async with self._changed:
            self._changed.notify_all()

    async def answer(self, address: str, cookies: bool) -> tuple[int, bytes]:
        """What a proxy is told now, or once it changes; the version and the JSON of it.

        Args:
            address: the proxy's.
            cookies: whether it has our plugin. One of a version before has not, and goes on without.
        """
        told = self._asked.get(address, (0.0, -1))[1]
        self._asked[address] = (time.monotonic(), told)
        if told == self.version:
            async with self._changed:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), _HOLD)
        if self._texts[0] != self.version:
            await self._gather()
        if self._texts[0] != self.version:
            self._texts = (self.version, {})
            self._texted = time.monotonic()
        version, texts = self._texts
        if cookies not in texts:  # once for all proxies
            texts[cookies] = json.dumps(self.configuration(cookies)).encode()
        return version, texts[cookies]

    async def _gather(self) -> None:
        """Wait for more changes when the last were told just now."""
        routes = len(self.dynamic_config["http"]["routers"])
        together = min(_TOGETHER_MOST, _TOGETHER + _TOGETHER_EACH * routes)
        await asyncio.sleep(max(0.0, self._texted + together - time.monotonic()))

    async def heard(self, address: str, version: int) -> None:
        """A proxy has got an answer."""
        self._asked[address] = (time.monotonic(), version)
        async with self._heard:
            self._heard.notify_all()

    def configuration(self, cookies: bool) -> dict[str, Any]:
        """Traefik's dynamic configuration: the hub's routes and what stands beside them."""
        ours = own.dynamic_configuration(self.site)["http"]
        theirs = {
            **self.dynamic_config["http"],
            "middlewares": self.middlewares(cookies=cookies),
        }
        http = {
            part: {**theirs.get(part, {}), **ours.get(part, {})}
            for part in ("routers", "services", "middlewares")
        }
        return {"http": {part: found for part, found in http.items() if found}}

    def _serve(self) -> None:
        routes = {"proxy": self, "token": self._token}
        handlers = [("/routes", RoutesHandler, routes)]
        server = HTTPServer(Application(handlers, log_function=lambda handler: None))
        server.listen(PORT)
        self.log.info("Serving routes for proxies on port %d", PORT)


class RoutesHandler(RequestHandler):
    """``GET /routes?plugin=cookies`` with the proxies' token."""

    def initialize(self, proxy: ServedRoutesProxy, token: str) -> None:
        self.proxy = proxy
        self.token = token

    async def get(self) -> None:
        given = self.request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            raise HTTPError(403)
        if not self.proxy.complete:
            raise HTTPError(503)  # Traefik keeps what it has
        address = self.request.remote_ip or ""
        cookies = own.PLUGIN in self.get_query_arguments("plugin")
        version, text = await self.proxy.answer(address, cookies)
        self.set_header("Content-Type", "application/json")
        with suppress(StreamClosedError):  # a proxy that ends in the middle has heard nothing
            await self.finish(text)
            await self.proxy.heard(address, version)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.finish(f"{status_code}\n")
