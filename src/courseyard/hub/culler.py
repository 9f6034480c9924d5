"""Stops servers by their plans' limits, and forgets people who are gone.

jupyterhub-idle-culler knows limits for all servers or one for each user, not for each course, and
its hook cannot see a plan. So this small loop asks the hub's own API as a service with a few
rights, and takes each server's limits from the state that its spawner keeps.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from courseyard.hub.home import words
from courseyard.hub.runtime import Runtime
from courseyard.plan.model import Culling

SERVICE = "courseyard-culler"
SCOPES = [
    "list:users",
    "read:users:activity",
    "read:users:name",
    "read:servers",
    "admin:server_state",
    "delete:servers",
    "delete:users",
]
_INTERVAL = 60.0
_PAGE = 200


@dataclass(frozen=True, slots=True)
class Due:
    """A server to stop, with the sentence for its person."""

    username: str
    server_name: str
    title: str
    message: str


def due_servers(
    users: Iterable[Mapping[str, Any]], default: Culling, now: datetime
) -> Iterable[Due]:
    """The servers that have reached a limit, from users as the hub's API describes them."""
    for user in users:
        for name, server in (user.get("servers") or {}).items():
            if not server.get("ready"):
                continue
            state = server.get("state") or {}
            limits = Culling.model_validate(state["culling"]) if state.get("culling") else default
            started = _time(server.get("started")) or now
            active = _time(server.get("last_activity")) or started
            message = ""
            if now - started >= timedelta(seconds=limits.max_age):
                message = words.culled_age(limits.max_age)
            elif now - max(active, started) >= timedelta(seconds=limits.inactive):
                message = words.culled_idle(limits.inactive)
            if message:
                yield Due(user["name"], name, state.get("title") or name, message)


def gone_people(
    users: Iterable[Mapping[str, Any]], after: int, keep: frozenset[str], now: datetime
) -> Iterable[str]:
    """Usernames not seen for ``after`` seconds that run nothing; ``keep`` are never forgotten."""
    for user in users:
        seen = _time(user.get("last_activity")) or _time(user.get("created"))
        idle = seen is not None and now - seen >= timedelta(seconds=after)
        running = any(
            s.get("ready") or s.get("pending") for s in (user.get("servers") or {}).values()
        )
        if idle and not running and user["name"] not in keep:
            yield user["name"]


async def cull_forever(runtime: Runtime, token: str, interval: float = _INTERVAL) -> None:
    """Look once a minute; a failed round is logged and the next one tries again."""
    while True:
        await asyncio.sleep(interval)
        try:
            await cull_once(runtime, token)
        except (OSError, HTTPClientError, ValueError, KeyError) as error:
            runtime.log.warning("Culling has to wait: %r", error)


async def cull_once(runtime: Runtime, token: str) -> None:
    """One round over everyone the hub knows."""
    servers = runtime.site.servers
    default = Culling(inactive=servers.cull_inactive_time, max_age=servers.cull_max_age)
    api = _Api(runtime.places.own_url + "hub/api", token)
    now = datetime.now(UTC)
    users = await api.users()
    for due in list(due_servers(users, default, now)):
        runtime.log.info("Stopping %s of %s: %s", due.server_name, due.username, due.message)
        await api.delete(f"/users/{quote(due.username)}/servers/{quote(due.server_name)}")
        runtime.remember(due.username, due.server_name, due.title, due.message)
    keep = frozenset(runtime.site.people.administrators)
    for username in gone_people(users, runtime.site.hub.forget_after, keep, now):
        runtime.log.info("Forgetting %s, not seen for long; the files stay", username)
        await api.delete(f"/users/{quote(username)}")


class _Api:
    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {
            "Authorization": f"token {token}",
            "Accept": "application/jupyterhub-pagination+json",
        }

    async def users(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        offset: int | None = 0
        while offset is not None:
            page = await self._fetch("GET", f"/users?offset={offset}&limit={_PAGE}")
            answer = json.loads(page)
            found += answer["items"]
            following = answer["_pagination"].get("next")
            offset = following["offset"] if following else None
        return found

    async def delete(self, path: str) -> None:
        await self._fetch("DELETE", path)

    async def _fetch(self, method: str, path: str) -> bytes:
        reply = await AsyncHTTPClient().fetch(
            self._url + path, method=method, headers=self._headers, request_timeout=60
        )
        return reply.body or b""


def _time(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
