"""What an instructor's server in a cluster asks before it autogrades: where its pod for grading is."""

from __future__ import annotations

from dataclasses import asdict

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import needs_scope
from tornado import web  # type: ignore[attr-defined]

from courseyard.backends.kubernetes.gradingpods import Beside, NoGradingError
from courseyard.errors import CourseyardError
from courseyard.hub.failure import log_line
from courseyard.hub.podspawner import CoursePodSpawner
from courseyard.hub.turns import GivesWay


class GradingApi(GivesWay, APIHandler):
    """``POST /hub/api/users/<name>/servers/<server>/grading``, with the server's own token.

    The answer holds one of ``address``, ``wait`` (ask again) and ``error`` (a sentence). An address opens
    nothing: the runner there asks for a key that the hub does not tell.
    """

    @needs_scope("access:servers")
    async def post(self, user_name: str, server_name: str) -> None:
        user = self.find_user(user_name)
        spawner = user.spawners.get(server_name) if user is not None else None
        if not isinstance(spawner, CoursePodSpawner) or not spawner.active:
            raise web.HTTPError(404)
        try:
            found = await spawner.beside()
        except NoGradingError as error:
            raise web.HTTPError(404) from error
        except CourseyardError as error:
            self.log.warning("No pod for grading: %s", log_line(error))
            found = Beside(error=str(error))
        self.finish({name: text for name, text in asdict(found).items() if text})
