"""What the hub takes and gives where people's servers have hosts of their own beside it.

Those hosts are other origins but the same *site*: a page of one of them may set cookies for all hosts
below the hub's (``Domain=``), and its forms carry the hub's cookies. So here the hub

- sets and reads cookies with the prefix ``__Host-`` alone, which a browser lets no other host set;
- takes forms of its own pages alone, and is left (logged out of) by a click alone;
- answers at a person's host with nothing but the page that the proxy shows instead of a dead server,
  and how it looks.

JupyterHub has the prefix for one of its cookies (``cookie_host_prefix_enabled``). The others are the
session's id, ``_xsrf`` and the state of a log-in elsewhere; whoever sets these logs somebody in as
another person, or keeps them out. All its handlers share one base class, so that is where this is put.

Facts: draft-ietf-httpbis-rfc6265bis (cookie prefixes), W3C Fetch Metadata, jupyterhub/handlers/base.py.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from jupyterhub.handlers.base import BaseHandler
from tornado.web import HTTPError, RequestHandler

from courseyard.hub import domains
from courseyard.hub.home import words
from courseyard.hub.home.clicks import is_click
from courseyard.hub.runtime import SETTING
from courseyard.settings import Site

PREFIX = "__Host-"
#: A cookie as it stands in a request. No letter but ASCII's: Python strips more spaces than browsers know.
_OURS = re.compile(r"__Host-([!#$%&'*+.^_`|~0-9A-Za-z-]+=[\x21-\x3a\x3c-\x7e]*)", re.ASCII)
_READING = ("GET", "HEAD", "OPTIONS")


def install() -> None:
    """Put it into the base of all handlers, before everything that they do."""
    stock = BaseHandler.prepare
    if getattr(stock, "own_host", False):
        return

    async def prepare(self: Any) -> None:
        site: Site = self.settings[SETTING].site
        if not domains.host(site):
            await stock(self)
            return
        _forget_others(self, site)
        await stock(self)
        _refuse(self, site)

    prepare.own_host = True  # type: ignore[attr-defined]
    BaseHandler.prepare = prepare
    BaseHandler.set_cookie = _set_cookie


def own_cookies(header: str) -> str:
    """What of a ``Cookie`` header the hub's own host has set, under its plain name, too.

    JupyterHub asks for one of its cookies by the name with the prefix, for others without.
    """
    kept = []
    for chunk in header.split(";"):
        if found := _OURS.fullmatch(chunk.strip(" \t")):
            kept += [found[0], found[1]]
    return "; ".join(kept)


def _forget_others(handler: Any, site: Site) -> None:
    """Drop the cookies that others can have set, before anybody reads them."""
    request = handler.request
    given = "; ".join(request.headers.get_list("Cookie"))
    kept = given
    if _is_persons(handler, site):
        kept = ""
    elif _is_https(site):
        kept = own_cookies(given)
    if kept != given:
        request.headers["Cookie"] = kept
        request.__dict__.pop("_cookies", None)  # tornado's, when somebody has looked


def _refuse(handler: Any, site: Site) -> None:
    """Raise HTTPError for what no page of the hub asks."""
    request, hub = handler.request, handler.hub.base_url
    if _is_persons(handler, site) and not request.path.startswith(
        (f"{hub}error/", f"{hub}courseyard/")
    ):
        raise HTTPError(404)
    if request.method not in _READING:
        if _from_elsewhere(request.headers, domains.origin(site)):
            raise HTTPError(403, words.FORM_OF_OTHERS)
    elif request.path.rstrip("/") == f"{hub}logout" and not is_click(request.headers, site):
        raise HTTPError(403, words.LOG_OUT_OF_OTHERS)


def _from_elsewhere(headers: Any, own: str) -> bool:
    """Whether a browser says that a page of another origin sends this."""
    origin = headers.get("Origin")
    if origin is not None:
        return bool(origin.lower() != own)
    return headers.get("Sec-Fetch-Site") in ("same-site", "cross-site")


def _set_cookie(self: Any, name: str, value: str | bytes, **options: Any) -> None:
    site: Site = self.settings[SETTING].site
    if domains.host(site) and _is_persons(self, site):
        return
    if not domains.host(site) or not _is_https(site):
        RequestHandler.set_cookie(self, name, value, **options)
        return
    options["secure"] = True
    if options.pop("domain", None):
        # The id of the session, which JupyterHub gives to all hosts: a server asks the hub again when
        # it has changed, as after a log-out. There it proves nothing, so it need not be the true one.
        text = value if isinstance(value, str) else value.decode()
        told = hashlib.sha256(text.encode()).hexdigest()[:32] if text else ""
        RequestHandler.set_cookie(self, name, told, domain=domains.host(site), **options)
    options["path"] = "/"
    RequestHandler.set_cookie(self, PREFIX + name.removeprefix(PREFIX), value, **options)


def _is_persons(handler: Any, site: Site) -> bool:
    """Whether the request came to a person's host."""
    asked = handler.request.host_name.lower().rstrip(".")
    return bool(asked.endswith(f".{domains.host(site)}"))


def _is_https(site: Site) -> bool:
    return domains.origin(site).startswith("https:")
