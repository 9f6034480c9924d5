"""The servers' own door to the hub: its API, and nothing else of it.

What a server needs (its owner's identity, the OAuth exchange, reports of activity) is all below
``/hub/api/``. So no page of the hub is reached from a server, and nothing there can be told by
``X-Forwarded-For`` that a request comes from somewhere else. That no password is checked below
``/hub/api/`` is not this door's work but that of ``home/tokens.py``, which refuses the one address
of JupyterHub's that does; and whatever checks one counts tries (``tries.py``).
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


async def made() -> JupyterHub:
    """The hub, once it has made its application."""
    hub = JupyterHub.instance()
    while getattr(hub, "tornado_application", None) is None:  # noqa: ASYNC110  it has no event
        await asyncio.sleep(_LOOK)
    return hub


async def open_door(runtime: Runtime) -> None:
    """Listen once there is something that answers."""
    places = runtime.places
    application = (await made()).tornado_application
    server = HTTPServer(ApiOnly(application, f"{places.base_url}hub/api"))
    bound(server)
    server.listen(places.servers_port, address=places.bind_host)
    runtime.log.info("Servers reach the API on %s:%d", places.bind_host, places.servers_port)
