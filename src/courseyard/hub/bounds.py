"""What one connection, or one answer of a server, may cost the hub.

Tornado alone would keep a body of 100 MB in memory for anybody who sends it, parse that as a form on the
event loop, and wait an hour for a request that never comes
(tornado.httpserver.HTTPServer, tornado.http1connection).
"""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import Any

from aiohttp import ClientTimeout
from jupyterhub.app import JupyterHub
from tornado.httpserver import HTTPServer
from tornado.simple_httpclient import SimpleAsyncHTTPClient

#: Bytes of a request's body. Forms and the API need a few thousand.
_BODY = 2 * 1024 * 1024
#: Seconds until a whole body has come.
_BODY_TIME = 30.0
#: Seconds until the headers have come, or the next request does. Traefik keeps connections for 90.
_QUIET = 120.0
#: For JupyterHub's own questions, which would wait five minutes for what drips in.
JUPYTERHUBS_TIME = ClientTimeout(total=30)
_LOOK = 0.05  # seconds
_PATIENCE = 10.0  # seconds for one such question
#: Bytes of what a server answers when the hub asks whether it is up.
_ANSWER = 256 * 1024

log = logging.getLogger(__name__)


def bound(server: HTTPServer) -> None:
    """Bound what a connection to ``server`` costs, also to one that listens already."""
    parameters = server.conn_params
    parameters.max_body_size = _BODY
    parameters.body_timeout = _BODY_TIME
    parameters.header_timeout = _QUIET


async def bound_hub() -> None:
    """Bound the hub's own port once JupyterHub has opened it."""
    hub = JupyterHub.instance()
    while (server := getattr(hub, "http_server", None)) is None:  # noqa: ASYNC110  it has no event
        await asyncio.sleep(_LOOK)
    bound(server)


def careful_client() -> Any:
    """A client for what people's servers answer.

    It keeps at most :data:`_ANSWER` in memory, and goes nowhere else when a server tells it to: the hub
    reaches addresses that servers do not.
    """
    return SimpleAsyncHTTPClient(
        force_instance=True, max_buffer_size=_ANSWER, defaults={"follow_redirects": False}
    )


async def status_of(client: Any, url: str) -> int:
    """The status that a server answers with; 0 for whatever is no answer."""
    try:
        return int((await client.fetch(url, raise_error=False, request_timeout=_PATIENCE)).code)
    except Exception as error:
        # Tornado raises what its parser meets: a server chooses that.
        log.debug("%s: %r", url, error)
        return 0


def use_all_files() -> None:
    """Let this process open as many files as the system allows it; usual is a low soft limit.

    Each slow connection holds one. Go's programs, the proxy for one, do the same by themselves.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
