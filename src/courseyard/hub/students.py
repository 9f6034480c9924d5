"""What an instructor's server asks for its gradebook: the names of people by their usernames."""

from __future__ import annotations

from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import needs_scope
from tornado import web  # type: ignore[attr-defined]

from courseyard.errors import CourseyardError, SourceDownError
from courseyard.hub.runtime import SETTING, Runtime
from courseyard.hub.turns import GivesWay
from courseyard.registry.files import MAX_PEOPLE


class StudentsApi(GivesWay, APIHandler):
    """``POST /hub/api/users/<name>/servers/<server>/students`` with ``{"usernames": […]}``.

    For a server with a formgrader, with its own token. The answer holds ``full_name`` and ``email`` of
    those who are known; the same names are in the course's submissions, and in NSS for everybody.
    """

    @needs_scope("access:servers")
    async def post(self, user_name: str, server_name: str) -> None:
        runtime: Runtime = self.settings[SETTING]
        try:
            plan = await runtime.plan(user_name, server_name)
        except CourseyardError as error:
            raise web.HTTPError(404) from error
        if plan.nbgrader is None or not plan.nbgrader.formgrader:
            raise web.HTTPError(404)
        self.finish(await self._names(runtime, self._usernames()))

    def _usernames(self) -> list[str]:
        body: Any = self.get_json_body()
        names = body.get("usernames") if isinstance(body, dict) else None
        if not isinstance(names, list) or len(names) > MAX_PEOPLE:
            raise web.HTTPError(400)
        return [name for name in names if isinstance(name, str)]

    async def _names(self, runtime: Runtime, usernames: list[str]) -> dict[str, dict[str, str]]:
        found = {}
        for username in usernames:
            try:
                person = await runtime.people.get(username)
            except SourceDownError:
                break  # the server asks again
            except CourseyardError:
                continue
            found[username] = {"full_name": person.full_name, "email": person.email}
        return found
