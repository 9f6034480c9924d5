"""Whether the parts of a running site answer."""

from __future__ import annotations

import asyncio
import http.client
import ssl

from courseyard.agent.client import AgentClient
from courseyard.errors import CourseyardError
from courseyard.hub.places import Places
from courseyard.settings import Site

_PATIENCE = 3.0  # seconds for one question
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def agent_answers(site: Site) -> bool:
    """Whether the agent answers on its socket."""
    try:
        asyncio.run(AgentClient(Places(site).agent_socket).ping())
    except CourseyardError:
        return False
    return True


def proxy_answers(site: Site) -> bool:
    """Whether the proxy answers anything at all: its port is open before it is there."""
    return _status(site) is not None


def hub_answers(site: Site) -> bool:
    """Whether the hub says through the proxy that it is well."""
    return _status(site) == http.HTTPStatus.OK


def _status(site: Site) -> int | None:
    """What the proxy answers to the question whether the hub is well; None: nothing."""
    places = Places(site)
    host, port = _reachable(site), site.hub.port
    connection: http.client.HTTPConnection
    if places.is_https:
        # Whether the certificate suits a name is not asked here: this is the way to ourselves.
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(host, port, timeout=_PATIENCE, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE)
    try:
        connection.request("GET", f"{places.base_url}hub/health")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _reachable(site: Site) -> str:
    return _EVERYWHERE.get(site.hub.address, site.hub.address)
