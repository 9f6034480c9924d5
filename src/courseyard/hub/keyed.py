"""Routes of people's servers that open to their own person alone.

Such a route matches a request that shows a key of its person (``keys.py``), or an API token, which
the server checks itself. What does not match goes the way of everything else: to the hub, which gives
the person a key and sends her back (``home/keyholders.py``), and refuses everybody else. No server
answers them. The hub is asked once for a browser, not for each request: while it is away, who has a
key works on.

Facts: https://doc.traefik.io/traefik/v3.6/reference/routing-configuration/http/routing/rules-and-priority/
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from jupyterhub.app import JupyterHub
from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy
from traitlets import Any as AnyTrait
from traitlets import Unicode, default

from courseyard.hub import proven
from courseyard.hub.keys import Keys
from courseyard.hub.proxy import PLUGIN

_SERVER = "courseyard-server"
#: What a server says about the whole origin to a browser, which keeps it. Where a link's address ends
#: (`Location`), what one page may do (its policies) and cookies of its path are a server's own.
STRIPPED = (
    "Alt-Svc",
    "Clear-Site-Data",
    "Cross-Origin-Opener-Policy",
    "NEL",
    "Report-To",
    "Sec-Session-Registration",
    "Secure-Session-Registration",
    "Service-Worker-Allowed",
    "Strict-Transport-Security",
)
#: As a Jupyter server and JupyterHub read it. A link can bring no such header, unlike `?token=` or
#: `https://name:password@…`, which open nothing here.
_TOKEN = "HeaderRegexp(`Authorization`, `^(?i:token|bearer) +[^ ]+$`)"  # noqa: S105  a rule
_LOOK = 3600.0  # seconds between two looks for keys that no longer hold


def lock(router: dict[str, Any], cookie: str, keys: Iterable[str]) -> dict[str, Any]:
    """The router of a person's server, open to who shows one of ``keys`` or a token.

    Args:
        router: as jupyterhub-traefik-proxy makes it, with the rule of its path.
        cookie: the name of the cookie that holds a key.
        keys: the person's keys.
    """
    path, who = router["rule"], _TOKEN
    if either := "|".join(keys):
        shown = f"HeaderRegexp(`Cookie`, `(?:^|; *){cookie}=(?:{either})(?:;|$)`)"
        # Who shows two has one that somebody else planted.
        twice = f"HeaderRegexp(`Cookie`, `(?:^|; *){cookie}=.*; *{cookie}=`)"
        who = f"({shown} && !{twice}) || {who}"
    return {
        **router,
        "rule": f"({path}) && ({who})",
        # As without the rest: Traefik takes the longest rule first.
        "priority": len(path),
        "middlewares": [_SERVER],
    }


def middlewares(users: str, *, cookies: bool = True) -> dict[str, Any]:
    """What the proxy does with all that people's servers answer.

    Args:
        users: the path of all servers, such as ``/user/``; "" where each person's have a host.
        cookies: whether the proxy has our plugin, which holds cookies to their server's path.
    """
    headers = {"customResponseHeaders": dict.fromkeys(STRIPPED, "")}
    chain = [f"{_SERVER}-headers", *([f"{_SERVER}-cookies"] if cookies else [])]
    found: dict[str, Any] = {
        _SERVER: {"chain": {"middlewares": chain}},
        f"{_SERVER}-headers": {"headers": headers},
    }
    if cookies:
        found[f"{_SERVER}-cookies"] = {"plugin": {PLUGIN: {"users": users}}}
    return found


class KeyedProxy(TraefikFileProviderProxy):
    """The official class, with a lock on the routes of people's servers."""

    keys = AnyTrait(help="People's keys.").tag(config=True)
    users = Unicode("/user/", help="The path of all servers; empty where people have hosts.").tag(
        config=True
    )
    proven = Unicode(help="The secret by which the hub knows its proxies.").tag(config=True)

    @default("dynamic_config")
    def _load_dynamic_config(self) -> dict[str, Any]:
        found: dict[str, Any] = super()._load_dynamic_config()
        found["http"].setdefault("middlewares", {}).update(self.middlewares())
        # Routes of the last hub, which may have been one of a version without keys.
        for name, route in found["jupyterhub"]["routes"].items():
            found["http"]["routers"][name] = self._router(route)
        return found

    def middlewares(self, *, cookies: bool = True) -> dict[str, Any]:
        """What the hub's routes refer to; ``cookies`` as of :func:`middlewares`."""
        found = middlewares(self.users, cookies=cookies)
        return {**found, proven.MIDDLEWARE: proven.middleware(self.proven)}

    def _dynamic_config_for_route(
        self, routespec: str, target: str, data: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        theirs, ours = super()._dynamic_config_for_route(routespec, target, data)
        if "user" in data:
            for name, router in theirs["http"]["routers"].items():
                theirs["http"]["routers"][name] = lock(
                    router, self.keys.cookie, self.keys.of(data["user"])
                )
        elif "hub" in data:
            for router in theirs["http"]["routers"].values():
                router["middlewares"] = [proven.MIDDLEWARE]
        return theirs, ours

    def _router(self, route: dict[str, Any]) -> dict[str, Any]:
        """The router of a route that is there already, as it is to be now."""
        found, _ = self._dynamic_config_for_route(
            route["routespec"], route["target"], route["data"]
        )
        (router,) = found["http"]["routers"].values()
        return dict(router)

    async def rekey(self, username: str) -> None:
        """Let the keys that the person has now open her servers, and no others.

        Returns when the proxies know, or after ten seconds.
        """
        routes = self.dynamic_config["jupyterhub"]["routes"]
        hers = {
            name: (route["routespec"], self._router(route))
            for name, route in routes.items()
            if route["data"].get("user") == username
        }
        known = self.dynamic_config["http"]["routers"]
        if new := {name: to for name, (_, to) in hers.items() if known.get(name) != to}:
            await self._apply_dynamic_config({"http": {"routers": new}})
        for routespec, router in hers.values():
            await self.wait_for_rule(routespec, router["rule"])

    async def wait_for_rule(self, routespec: str, rule: str) -> None:
        """Return when the proxies use this rule for the route, or after ten seconds."""
        raise NotImplementedError


async def expire_forever(keys: Keys) -> None:
    """Take keys that no longer hold out of the routes, in the hub that runs."""
    while True:
        await asyncio.sleep(_LOOK)
        for username in keys.expire():
            await JupyterHub.instance().proxy.rekey(username)
