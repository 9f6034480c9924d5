"""Who a visitor of this server is, also while the hub is away, and that the page is this server's own.

A server asks the hub, and again after five minutes. JupyterHub's own class fails a request (somebody
saves a notebook, say) when the hub restarts just then; here the hub's last answer holds meanwhile.

A browser sends this server's cookie whatever page opens a WebSocket, and all servers share one origin,
so `Origin` tells nothing. Kernels, terminals and events are WebSockets. So each must bring the `_xsrf`
that only a page of this server can read, as all other requests must; `websockets.py` lets Jupyter's pages add it.
"""

# mypy: disable-error-code="misc"
# Jupyter is the image's: it has no types here.
from __future__ import annotations

import asyncio
import hmac
import os
from typing import Any

from jupyterhub.services.auth import HubOAuth
from tornado.web import HTTPError

_GRACE = 3600  # seconds that a last answer holds
_PATIENCE = 5.0  # seconds for the hub to answer where there is a last answer
#: Of a course's `environment`, for a page with kernels of its own that is not one of Jupyter's.
_COOKIE_ALONE = "WEBSOCKETS_WITHOUT_XSRF"
#: Programs behind Jupyter with pages of their own, which cannot know of it.
_OTHERS = "jupyter_server_proxy"


class PatientHubOAuth(HubOAuth):
    """Asks the hub as before; what it says holds, and only its silence is bridged."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.last = type(self.cache)(_GRACE)

    async def _check_hub_authorization(
        self, url: str, api_token: str, cache_key: str | None = None, use_cache: bool = True
    ) -> Any:
        """The model of the person behind a token; None when the hub does not know the token.

        Raises:
            HTTPError: the hub does not answer, and there is no answer of the last hour.
        """
        asked = super()._check_hub_authorization(url, api_token, cache_key, use_cache)
        last = self.last.get(cache_key) if use_cache else None
        try:
            found = await asyncio.wait_for(asked, None if last is None else _PATIENCE)
        except (HTTPError, asyncio.TimeoutError):  # noqa: UP041  not the same before Python 3.11
            if last is None:
                raise
            self.log.warning("The hub does not answer; who was let in before still is.")
            return last
        if found is None:
            self.last.pop(cache_key, None)
        elif cache_key is not None and found is not last:  # else it is an answer of before
            self.last[cache_key] = found
        return found

    async def _get_user_cookie(self, handler: Any) -> Any:
        """The model of the person whose cookie this is; None when a page may not use it."""
        if needs_xsrf(handler) and not self._shows_xsrf(handler):
            self.log.warning("A WebSocket without this server's _xsrf: %s", handler.request.path)
            return None
        return await super()._get_user_cookie(handler)

    def _shows_xsrf(self, handler: Any) -> bool:
        given = handler.get_argument("_xsrf", "").encode("utf-8", "replace")
        wanted = handler.xsrf_token
        return hmac.compare_digest(given, wanted.encode() if isinstance(wanted, str) else wanted)


def needs_xsrf(handler: Any) -> bool:
    """Whether this request opens a WebSocket of Jupyter's."""
    if handler.request.headers.get("Upgrade", "").lower() != "websocket":
        return False
    if os.environ.get(_COOKIE_ALONE) == "1":
        return False
    return not any(kind.__module__.startswith(_OTHERS) for kind in type(handler).__mro__)
