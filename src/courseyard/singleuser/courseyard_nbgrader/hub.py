"""What this server asks of the hub's API, with its own token."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

PATIENCE = 30.0  # seconds for the hub to answer


class UnknownError(Exception):
    """The hub does not know this server, or has no such answer for it."""


def ask(what: str, body: Any = None) -> Any:
    """What the hub answers to ``POST users/<user>/servers/<server>/<what>``.

    Raises:
        OSError: it does not answer.
        UnknownError: as above.
    """
    names = (os.environ.get(f"JUPYTERHUB_{each}", "") for each in ("USER", "SERVER_NAME"))
    user, server = (quote(name, safe="") for name in names)
    url = f"{os.environ.get('JUPYTERHUB_API_URL', '')}/users/{user}/servers/{server}/{what}"
    token = os.environ.get("JUPYTERHUB_API_TOKEN", "")
    request = urllib.request.Request(  # noqa: S310  the hub's own address
        url,
        method="POST",
        data=b"" if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"token {token}"},
    )
    # What a course says of proxies is not for the hub.
    hub = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with hub.open(request, timeout=PATIENCE) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code not in (403, 404):
            raise
        raise UnknownError(str(error)) from error
    except ValueError as error:  # an address that is none, too
        raise OSError("its answer cannot be read") from error
