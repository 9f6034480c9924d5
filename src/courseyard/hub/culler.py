"""Stops servers by their plans' limits, and forgets people who are gone.

jupyterhub-idle-culler knows limits for all servers or one for each user, not for each course, and
its hook cannot see a plan. This small loop finds both in the hub's database: to describe everybody
by the hub's own API takes seconds of its event loop for a thousand people. What it does then it
does by that API, as a service with two rights.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from sqlalchemy import Text, func, literal_column
from sqlalchemy.exc import SQLAlchemyError
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from courseyard.hub.clock import Clock
from courseyard.hub.home import words
from courseyard.hub.runtime import Runtime
from courseyard.plan.model import Culling

SERVICE = "courseyard-culler"
SCOPES = ["delete:servers", "delete:users"]
_INTERVAL = 60.0
_AT_ONCE = 100  # servers between two turns of the event loop


@dataclass(frozen=True, slots=True)
class Server:
    """A server that the hub's database says to be there; it may be starting or stopping."""

    user: int  # number of its person in the database
    username: str
    name: str
    started: datetime | None  # aware
    active: datetime | None  # aware: when it was last used, or the one of this name before it
    state: Mapping[str, Any]  # what its spawner keeps


@dataclass(frozen=True, slots=True)
class Due:
    """A server to stop, with the sentence for its person."""

    server: Server
    title: str
    message: str


def due(server: Server, default: Culling, since: Callable[[datetime], timedelta]) -> Due | None:
    """The server with the limit that it has reached, if any; ``default`` where it keeps none."""
    limits, message = default, ""
    if server.state.get("culling"):
        limits = Culling.model_validate(server.state["culling"])
    age = since(server.started) if server.started else timedelta()
    idle = min(age, since(server.active)) if server.active else age
    if age >= timedelta(seconds=limits.max_age):
        message = words.culled_age(limits.max_age)
    elif idle >= timedelta(seconds=limits.inactive):
        message = words.culled_idle(limits.inactive)
    return Due(server, server.state.get("title") or server.name, message) if message else None


async def running(db: Any) -> AsyncIterator[Server]:
    """All servers in a hub's database (an SQLAlchemy session), with turns for the event loop."""
    spawner, user = orm.Spawner, orm.User
    columns = (spawner.id, user.id, user.name, spawner.name, spawner.started)
    # JupyterHub's own type for it would keep SQLAlchemy from remembering the statement.
    state = literal_column("spawners.state", Text)
    query = db.query(*columns, spawner.last_activity, state).join(user)
    query = query.filter(spawner.server_id.isnot(None)).order_by(spawner.id)
    rows, last = None, 0
    while rows is None or len(rows) == _AT_ONCE:
        rows = query.filter(spawner.id > last).limit(_AT_ONCE).all()
        for _, number, username, name, started, active, text in rows:
            kept = json.loads(text or "{}")
            yield Server(number, username, name, _aware(started), _aware(active), kept)
        last = rows[-1][0] if rows else last
        await asyncio.sleep(0)


def gone_people(db: Any, seen: datetime, keep: frozenset[str]) -> list[str]:
    """Usernames not seen since ``seen`` that run nothing; ``keep`` are never forgotten."""
    user, spawner = orm.User, orm.Spawner
    before = seen.replace(tzinfo=None)  # as the database has them
    runs = db.query(spawner.user_id).filter(spawner.server_id.isnot(None))
    found = db.query(user.name).filter(func.coalesce(user.last_activity, user.created) <= before)
    found = found.filter(user.id.not_in(runs)).order_by(user.name)
    return [name for (name,) in found if name not in keep]


async def cull_forever(runtime: Runtime, token: str, interval: float = _INTERVAL) -> None:
    """Look once a minute; a failed round is logged and the next one tries again."""
    clock = Clock()
    while True:
        await asyncio.sleep(interval)
        try:
            await cull_once(runtime, token, clock)
        except (ValueError, KeyError) as error:
            runtime.log.warning("Culling has to wait: %r", error)
        except SQLAlchemyError as error:
            runtime.log.warning("Culling has to wait: %r", error)
            JupyterHub.instance().db.rollback()  # or nobody could use the hub's session again


async def cull_once(runtime: Runtime, token: str, clock: Clock) -> None:
    """One round over everyone the hub knows."""
    site, hub = runtime.site, JupyterHub.instance()
    default = Culling(inactive=site.servers.cull_inactive_time, max_age=site.servers.cull_max_age)
    api = _Api(runtime, token)
    if jump := clock.look():
        runtime.log.warning("The clock of this machine jumped by %s; nothing is older for it", jump)
    for each in [due(server, default, clock.since) async for server in running(hub.db)]:
        if each is None or not _ready(hub, each.server):
            continue
        username, name = each.server.username, each.server.name
        runtime.log.info("Stopping %s of %s: %s", name, username, each.message)
        if await api.delete(f"/users/{quote(username)}/servers/{quote(name)}"):
            runtime.remember(username, name, each.title, each.message)
    keep = frozenset(site.people.administrators)
    seen = clock.before(timedelta(seconds=site.hub.forget_after))
    for username in gone_people(hub.db, seen, keep):
        runtime.log.info("Forgetting %s, not seen for long; the files stay", username)
        await api.delete(f"/users/{quote(username)}")


def _ready(hub: Any, server: Server) -> bool:
    """Whether it neither starts nor stops just now."""
    user = hub.users.get(server.user)
    return user is not None and server.name in user.spawners and user.spawners[server.name].ready


class _Api:
    def __init__(self, runtime: Runtime, token: str) -> None:
        self._url = runtime.places.own_url + "hub/api"
        self._headers = {"Authorization": f"token {token}"}
        self._log = runtime.log

    async def delete(self, path: str) -> bool:
        """Whether it was done; a failure is logged and costs this one alone, until the next round."""
        try:
            await AsyncHTTPClient().fetch(
                self._url + path, method="DELETE", headers=self._headers, request_timeout=60
            )
        except (OSError, HTTPClientError) as error:
            self._log.warning("Culling: %s has to wait for the next round: %r", path, error)
            return False
        return True


def _aware(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(tzinfo=UTC)
