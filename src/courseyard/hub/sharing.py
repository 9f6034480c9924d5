"""Sharing of servers: off unless the site turns it on (``hub.sharing``).

Every person's rights include to be given a server (``users:shares``), and a server that is shared
is a page that its owner fully controls, opened with a token of whoever accepts.
"""

from __future__ import annotations

from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers import shares
from jupyterhub.handlers.pages import AcceptShareHandler
from tornado import web  # type: ignore[attr-defined]

from courseyard.hub.door import made
from courseyard.hub.home import words
from courseyard.hub.runtime import Runtime

#: What people may do where sharing is on: beside what is theirs, share their own servers with
#: people whose names they know.
SCOPES = ["self", "shares!user", "read:users:name"]


class _Off:
    """Put before a handler: refuses every method."""

    async def prepare(self) -> None:
        await super().prepare()  # type: ignore[misc]
        raise web.HTTPError(403, words.NO_SHARING)


def refusals() -> list[tuple[Any, ...]]:
    """A handler that refuses for each address that shares."""
    stock = [*shares.default_handlers, (r"/accept-share", AcceptShareHandler)]
    return [(path, type(kind.__name__, (_Off, kind), {})) for path, kind in stock]


async def end_shares(runtime: Runtime) -> None:
    """Take back, once the hub has started, what was shared while sharing was on."""
    db = (await made()).db
    ended = db.query(orm.Share).delete() + db.query(orm.ShareCode).delete()
    db.commit()
    if ended:
        runtime.log.info("Sharing is off: %d shares of servers were ended", ended)
