"""Whose request it is: the hub's log and its count of tries name the address that the proxy counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from jupyterhub.log import log_request

from courseyard.networks import real_address


def address_of(request: Any, trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """The address of whoever sent ``request`` to the proxy. JupyterHub's own is that of
    ``X-Real-Ip``, which some proxies pass on as their client wrote it. What did not come by the proxy
    has no such header any more (``proven.py``)."""
    forwarded = request.headers.get("X-Forwarded-For", "")
    return real_address(forwarded, trusted) or str(request.remote_ip)


def log_with_address(trusted: Sequence[IPv4Network | IPv6Network]) -> Callable[[Any], None]:
    """JupyterHub's log of requests, with that address."""

    def log(handler: Any) -> None:
        handler.request.remote_ip = address_of(handler.request, trusted)
        log_request(handler)

    return log
