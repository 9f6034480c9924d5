"""Traefik's limit of the log-in page: so many requests a minute for each address.

Whose address? That of whoever connects. When this is a trusted proxy, the last address in
``X-Forwarded-For`` that is no trusted proxy's; further left stands what the client claims
(doc.traefik.io/traefik/v3.6/reference/routing-configuration/http/middlewares/ratelimit).
"""

from __future__ import annotations

from typing import Any

from courseyard.hub import proven
from courseyard.hub.domains import only_hub
from courseyard.settings import Site

#: The proxy's entry point for people.
ENTRY = "web"
_NAME = "courseyard-login"
_LIMIT = "courseyard-login-rate"
_FORWARDED = "-forwarded"
_FIRST = 1_000_000  # before every route of the hub's own


def routers(site: Site, hub: str) -> dict[str, Any]:
    """The log-in page's own routes; ``hub`` is the path of the hub."""
    rule = f"{only_hub(site)}Method(`POST`) && Path(`{hub}/login`)"
    found = {_NAME: _router(rule, _FIRST, _LIMIT)}
    if trusted := site.proxy.trusted_proxies:
        # ClientIP asks who connects, never a header.
        proxies = " || ".join(f"ClientIP(`{network}`)" for network in trusted)
        found[_NAME + _FORWARDED] = _router(
            f"{rule} && ({proxies})", _FIRST + 1, _LIMIT + _FORWARDED
        )
    return found


def limits(site: Site) -> dict[str, Any]:
    """The limits of these routes."""
    # Of IPv6 a whole /64, since one person has all of it.
    found = {_LIMIT: _limit(site, {"ipv6Subnet": 64})}
    if trusted := site.proxy.trusted_proxies:
        found[_LIMIT + _FORWARDED] = _limit(site, {"excludedIPs": list(trusted)})
    return found


def _limit(site: Site, whose: dict[str, Any]) -> dict[str, Any]:
    rate = {"average": site.proxy.login_rate, "period": "1m", "burst": site.proxy.login_rate}
    return {"rateLimit": {**rate, "sourceCriterion": {"ipStrategy": whose}}}


def _router(rule: str, priority: int, limit: str) -> dict[str, Any]:
    return {
        "rule": rule,
        "priority": priority,
        "entryPoints": [ENTRY],
        "service": "courseyard-hub",
        # Errors before the limit: it turns the limit's bare answer into a page of the hub.
        "middlewares": [proven.MIDDLEWARE, "courseyard-too-many", limit],
    }
