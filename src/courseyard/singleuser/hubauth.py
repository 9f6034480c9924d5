"""Who a visitor of this server is, also while the hub is away.

A server asks the hub, and again after five minutes. JupyterHub's own class fails a request (somebody
saves a notebook, say) when the hub restarts just then; here the hub's last answer holds meanwhile.
"""

# mypy: disable-error-code="misc"
# Jupyter is the image's: it has no types here.
from __future__ import annotations

import asyncio
from typing import Any

from jupyterhub.services.auth import HubOAuth
from tornado.web import HTTPError

_GRACE = 3600  # seconds that a last answer holds
_PATIENCE = 5.0  # seconds for the hub to answer where there is a last answer


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
