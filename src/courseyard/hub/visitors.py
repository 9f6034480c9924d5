"""The hub's log names the same address as the proxy's log-in limit counts."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

from jupyterhub.log import log_request

from courseyard.networks import real_address
from courseyard.settings import Site


def log_with_address(site: Site) -> Callable[[Any], None]:
    """JupyterHub's log of requests. Its own address is that of ``X-Real-Ip``, which some proxies
    pass on as their client wrote it."""

    networks = [ip_network(network) for network in site.proxy.trusted_proxies]

    def log(handler: Any) -> None:
        request = handler.request
        forwarded = request.headers.get("X-Forwarded-For", "")
        if address := real_address(forwarded, networks):
            request.remote_ip = address
        log_request(handler)

    return log
