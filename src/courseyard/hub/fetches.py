"""What pages of people's servers cannot do to the hub's pages, though they share its address.

A page that somebody's server serves runs as if it were the hub's own: its requests carry the
visitor's cookies, and ``Referer`` and ``Sec-Fetch-Site`` do not tell it from a page of the hub. What
tells them apart is the token in each page of the hub (``_xsrf``). So nothing but a visit shows such
a page: whatever a page fetches or frames is refused unless it shows the token, reading included
(a same-origin fetch with the mode ``no-cors`` can be read, fetch.spec.whatwg.org, "main fetch").
Programs show no cookie and no ``Sec-Fetch-*`` headers, which no script can set or leave out.
"""

from __future__ import annotations

import hmac
from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers import base, pages
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import Finish, OutputTransform

from courseyard.hub.home import words

#: Answers that every page may use: they hold nothing of anybody's.
_OPEN: tuple[type, ...] = (
    base.PrefixRedirectHandler,
    base.CSPReportHandler,
    pages.HealthCheckHandler,
)
_stock_prepare = base.BaseHandler.prepare


def install() -> None:
    """Put the refusal before everything that JupyterHub's handlers do."""
    base.BaseHandler.prepare = prepare


async def prepare(handler: Any) -> None:
    """Refuse a page's request without the token, before an answer or an error page is made."""
    if _is_embedded(handler.request.headers) and not _is_open(handler):
        await _identify(handler)
        if not _shows_token(handler) and not _leads_on(handler):
            _refuse(handler)
    await _stock_prepare(handler)


def _is_embedded(headers: HTTPHeaders) -> bool:
    """Whether a page asks, rather than a person who visits or a program (W3C Fetch Metadata)."""
    mode = headers.get("Sec-Fetch-Mode")
    if mode is None:
        return False
    return bool(mode != "navigate" or headers.get("Sec-Fetch-Dest", "document") != "document")


def _is_open(handler: Any) -> bool:
    return isinstance(handler, _OPEN) or getattr(handler, "for_every_page", False)


def _leads_on(handler: Any) -> bool:
    """Whether it only sends on to a server of who asks (``home/keyholders.py``)."""
    return hasattr(handler, "leads_on") and bool(handler.leads_on())


async def _identify(handler: Any) -> None:
    """Find out who asks, on which the token depends. What fails here is told by the stock method."""
    try:
        await handler.get_current_user()
    except Exception:
        handler.log.exception("Nobody is known for %s", handler.request.path)
        handler._jupyterhub_user = None


def _shows_token(handler: Any) -> bool:
    if handler.request.headers.get("Sec-Fetch-Mode") == "navigate":
        return False  # a frame
    if getattr(handler, "_token_authenticated", False):
        return True
    shown = handler.get_argument("_xsrf", None) or handler.request.headers.get("X-Xsrftoken", "")
    return hmac.compare_digest(shown.encode("utf-8", "replace"), handler.xsrf_token)


def _refuse(handler: Any) -> None:
    headers = handler.request.headers
    handler.log.warning(
        "Refused: a page asked for %s (mode %s, for %s)",
        handler.request.path,
        headers.get("Sec-Fetch-Mode", "")[:40],
        headers.get("Sec-Fetch-Dest", "")[:40],
    )
    # JupyterLab knows by 424 that a server has stopped.
    stopped = isinstance(handler, base.UserUrlHandler)
    handler.set_status(424 if stopped else 403)
    if stopped or isinstance(handler, APIHandler):
        handler.set_header("Content-Type", "application/json")
        handler.finish({"message": words.ERRORS[424] if stopped else words.NOT_FOR_PAGES})
    else:
        handler.set_header("Content-Type", "text/plain; charset=utf-8")
        handler.finish(f"{words.NOT_FOR_PAGES}\n")
    raise Finish


class Headers(OutputTransform):
    """Adds what no answer of the hub may lack: files, errors and redirects too."""

    def __init__(self, request: HTTPServerRequest) -> None:
        self._request = request

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """tornado calls it before the first byte of each answer goes out."""
        protect(headers, self._request.headers)
        return status_code, headers, chunk


def protect(headers: HTTPHeaders, asked: HTTPHeaders) -> None:
    """Add to ``headers`` what is missing; ``asked`` are the request's."""
    policy = headers.get("Content-Security-Policy", "default-src 'none'; sandbox")
    if "frame-ancestors" not in policy:
        policy = f"{policy}; frame-ancestors 'none'"
    headers["Content-Security-Policy"] = policy
    # Cuts the handle that an opener has, also a page of our own origin. Who does not know the value
    # takes no notice of it; only Chromium sends this header, and it knows the value.
    knows = "Sec-Ch-Ua" in asked
    headers["Cross-Origin-Opener-Policy"] = "noopener-allow-popups" if knows else "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["X-Content-Type-Options"] = "nosniff"
