"""The door before every start: pages, forms, links and JupyterHub's API pass it.

The decision is made from the username and the server's name on the server; the spawner makes it
again, so a way that misses this door is still closed.
"""

from __future__ import annotations

from typing import Any

from jupyterhub.apihandlers.users import SpawnProgressAPIHandler, UserServerAPIHandler
from jupyterhub.scopes import needs_scope

from courseyard.errors import CourseyardError, DeniedError
from courseyard.hub.failure import StartFailed, log_line
from courseyard.hub.home import words
from courseyard.hub.runtime import SETTING
from courseyard.hub.turns import GivesWay

#: Longest body of a request that starts a server, in bytes.
_LONGEST = 10_000


async def admit(handler: Any, username: str, server_name: str) -> None:
    """Let the request go on when ``username`` may start ``server_name``; else log and refuse.

    Raises:
        StartFailed: with status 403 for a decision, and the sentence of the error.
    """
    try:
        if not server_name:
            raise DeniedError(words.UNNAMED_SERVER, words.UNNAMED_NEXT)
        await handler.settings[SETTING].plan(username, server_name)
    except CourseyardError as error:
        asker = handler.current_user.name if handler.current_user else "nobody"
        handler.log.warning(
            "Refused: %s asked by %s %s to start server %r of %r: %s",
            asker,
            handler.request.method,
            handler.request.path,
            server_name[:80],
            username[:80],
            log_line(error),
        )
        raise StartFailed(error) from error


class GuardedServerApi(GivesWay, UserServerAPIHandler):
    """JupyterHub's API for starting and stopping servers, behind the door."""

    @needs_scope("start:servers")
    async def put(self, user_name: str, server_name: str = "") -> None:
        await self._check(user_name, server_name)
        await super().put(user_name, server_name)

    @needs_scope("start:servers")
    async def post(self, user_name: str, server_name: str = "") -> None:
        await self._check(user_name, server_name)
        await super().post(user_name, server_name)

    @needs_scope("start:servers")
    async def patch(self, user_name: str, server_name: str = "") -> None:
        raise StartFailed(DeniedError(words.NO_RENAME))

    async def _check(self, user_name: str, server_name: str) -> None:
        if len(self.request.body) > _LONGEST:
            raise StartFailed(DeniedError(words.LONG_REQUEST))
        if self.find_user(user_name) is not None:
            await admit(self, user_name, server_name)


class ProgressApi(GivesWay, SpawnProgressAPIHandler):
    """JupyterHub's API that tells how a start goes."""
