"""Static files of our pages and what a site adds: its colours and its logo."""

from __future__ import annotations

import asyncio
from typing import cast

from jupyterhub.handlers.base import BaseHandler
from tornado import web  # type: ignore[attr-defined]

from courseyard.hub.home.looks import STATIC as STATIC  # for the handlers' table
from courseyard.hub.home.looks import logo, site_css
from courseyard.hub.runtime import SETTING, Runtime

_YEAR = 365 * 86400


class StaticHandler(web.StaticFileHandler):
    """Files of this package; their addresses carry a hash of the content."""

    def get_cache_time(self, path: str, modified: object, mime_type: str) -> int:
        return _YEAR if self.get_argument("v", "") else 0

    def set_extra_headers(self, path: str) -> None:
        self.set_header("X-Content-Type-Options", "nosniff")


class _SiteFile(BaseHandler):
    """Served to everyone, because the log-in page shows it."""

    for_every_page = True

    @property
    def runtime(self) -> Runtime:
        return cast(Runtime, self.settings[SETTING])

    def send(self, body: bytes, kind: str) -> None:
        self.set_header("Content-Type", kind)
        self.set_header("Cache-Control", "public, max-age=3600")
        # An SVG opened by itself must not run scripts in the hub's origin.
        self.set_header(
            "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox"
        )
        self.finish(body)


class SiteCssHandler(_SiteFile):
    def get(self) -> None:
        self.send(site_css(self.runtime.site.branding).encode(), "text/css; charset=utf-8")


class SiteLogoHandler(_SiteFile):
    async def get(self) -> None:
        found = await asyncio.to_thread(logo, self.runtime.site)
        if found is None:
            raise web.HTTPError(404)
        self.send(*found)
