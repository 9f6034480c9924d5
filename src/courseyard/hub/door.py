"""The servers' own door to the hub: its API, and nothing else of it.

Through the hub's main port a program in a server could try passwords on the log-in page, past the
proxy's limit, and say of itself by ``X-Forwarded-For`` that it is somewhere else. What a server
needs (its owner's identity, the OAuth exchange, reports of activity) is all below ``/hub/api/``.
"""

from __future__ import annotations

import asyncio
from typing import Any

from jupyterhub.app import JupyterHub
from tornado.httpserver import HTTPServer
from tornado.routing import Router

from courseyard.hub.bounds import bound
from courseyard.hub.runtime import Runtime

_LOOK = 0.05  # seconds


class ApiOnly(Router):
    """Passes requests below one path to an application; the others get 404."""

    def __init__(self, application: Any, path: str) -> None:
        self._application = application
        self._path = path

    def find_handler(self, request: Any, **kwargs: Any) -> Any:
        # No proxy stands before this door, so it is the server's own word (hub/visitors.py).
        request.headers.pop("X-Forwarded-For", None)
        if request.path == self._path or request.path.startswith(f"{self._path}/"):
            return self._application.find_handler(request, **kwargs)
        return None


async def open_door(runtime: Runtime) -> None:
    """Listen once JupyterHub has made its application."""
    places = runtime.places
    hub = JupyterHub.instance()
    while (application := getattr(hub, "tornado_application", None)) is None:  # noqa: ASYNC110  it has no event
        await asyncio.sleep(_LOOK)
    server = HTTPServer(ApiOnly(application, f"{places.base_url}hub/api"))
    bound(server)
    server.listen(places.servers_port, address=places.bind_host)
    runtime.log.info("Servers reach the API on %s:%d", places.bind_host, places.servers_port)
