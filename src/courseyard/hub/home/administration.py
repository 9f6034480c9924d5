"""The administrators' page: what runs now, and a button to stop it. It takes the place of
JupyterHub's own, which offers actions that make no sense here (a server without a course).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jupyterhub import orm
from jupyterhub.scopes import needs_scope
from tornado import web  # type: ignore[attr-defined]

from courseyard.hub.home import words
from courseyard.hub.home.base import Page

#: Rows on the page; searching finds the others.
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Row:
    """One running server."""

    username: str
    full_name: str
    server_name: str
    title: str
    since: str
    used: str


class AdministrationHandler(Page):
    @web.authenticated
    @needs_scope("admin-ui")
    async def get(self) -> None:
        query = self.get_argument("q", "")[:100].strip()
        rows = [row for row in self._rows() if _matches(row, query)]
        html = await self.render_template(
            "courseyard/administration.html",
            rows=rows[:_SHOWN],
            query=query,
            summary=words.running_servers(len(rows), len({row.username for row in rows})),
        )
        self.set_header("Cache-Control", "no-store")
        self.finish(html)

    def _rows(self) -> list[Row]:
        running = (
            self.db.query(orm.Spawner).filter(orm.Spawner.server_id.isnot(None)).join(orm.User)
        )
        rows = []
        for spawner in running.order_by(orm.User.name, orm.Spawner.name):
            state = spawner.state or {}
            rows.append(
                Row(
                    username=spawner.user.name,
                    full_name=self.runtime.display_name(spawner.user.name),
                    server_name=spawner.name,
                    title=state.get("title") or self.runtime.title_of(spawner.name),
                    since=self._passed(spawner.started),
                    used=self._passed(spawner.last_activity),
                )
            )
        return rows

    def _passed(self, moment: datetime | None) -> str:
        if moment is None:
            return ""
        return words.ago(moment.replace(tzinfo=UTC), self.runtime.now())


class AdministrationStopHandler(Page):
    """Stops a server of somebody else, who is told so."""

    @web.authenticated
    async def post(self, username: str, server_name: str) -> None:
        # ``needs_scope`` reads names in the address as a filter, and "admin-ui" has none.
        if "admin-ui" not in self.parsed_scopes:
            raise web.HTTPError(403)
        user: Any = self.find_user(username)
        if user is None or server_name not in user.spawners:
            raise web.HTTPError(404)
        spawner = user.spawners[server_name]
        if spawner.ready:
            self.log.info("%s stops %s of %s", self.current_user.name, server_name, user.name)
            title = spawner.title or server_name
            await self.stop_single_user(user, server_name)
            self.runtime.remember(user.name, server_name, title, words.STOPPED_BY_ADMINISTRATOR)
        self.redirect(f"{self.hub.base_url}admin")


def _matches(row: Row, query: str) -> bool:
    text = f"{row.username} {row.full_name} {row.server_name} {row.title}".casefold()
    return query.casefold() in text
