"""Which requests the proxy passed on, and so whose ``X-Forwarded-*`` the hub believes.

Whoever has an account on the machine reaches the hub's own port. The proxy adds a header with a secret to what it
sends to the hub; without it a request comes from the address of its connection, whatever it claims.
"""

from __future__ import annotations

import hmac
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate

from courseyard.hub.places import Places, secret_file

HEADER = "X-Courseyard-Proven"
#: The proxy's part that adds the header. It is for routes that lead to the hub: no server may see the secret.
MIDDLEWARE = "courseyard-proven"
#: Headers with which tornado and JupyterHub tell an address or a scheme; besides X-Forwarded-*.
_CLAIMS = ("Forwarded", "X-Real-Ip", "X-Scheme")
_FORWARDED = "X-Forwarded-"


def secret(places: Places) -> str:
    """What only the hub and its proxies know; made at the first call."""
    return secret_file(places.proxy_dir / "hub-secret")


def middleware(known: str) -> dict[str, Any]:
    """:data:`MIDDLEWARE`, as Traefik takes it; what a client sends under the same name is replaced."""
    return {"headers": {"customRequestHeaders": {HEADER: known}}}


class Proven(HTTPMessageDelegate):
    """Takes the secret out of a request, and all claims where it is not there."""

    def __init__(self, inner: Any, known: str) -> None:
        self._inner = inner
        self._known = known.encode()

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Any:
        given = headers.pop(HEADER, "")
        if not hmac.compare_digest(given.encode(), self._known):
            for name in list(headers):
                if name in _CLAIMS or name.startswith(_FORWARDED):
                    del headers[name]
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()


def install(known: str) -> None:
    """Guard the servers of this process that read such headers: JupyterHub's own, before it is made."""
    stock = HTTPServer.start_request
    if getattr(stock, "proven", False):
        return

    def start_request(self: Any, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        inner = stock(self, server_conn, request_conn)
        return Proven(inner, known) if self.xheaders else inner

    start_request.proven = True  # type: ignore[attr-defined]
    HTTPServer.start_request = start_request
