"""The official Traefik proxy class, asked more often whether a route is there or gone."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress

from jupyterhub.utils import exponential_backoff
from jupyterhub_traefik_proxy.traefik_utils import generate_alias
from tornado.httpclient import HTTPError

from courseyard.hub.keyed import KeyedProxy

_WAIT = 10.0  # seconds for Traefik to use a changed rule


class QuickTraefikProxy(KeyedProxy):
    """Traefik reads a changed file within milliseconds; the stock class waits up to a second more."""

    async def _wait_for_route(self, routespec: str) -> None:
        async def there() -> bool:
            found: bool = await self._check_for_traefik_service(routespec, "service")
            return found and await self._check_for_traefik_service(routespec, "router")

        await exponential_backoff(
            there,
            f"Traefik route for {routespec}: not ready",
            start_wait=0.01,
            scale_factor=1.5,
            max_wait=0.2,
            timeout=self.check_route_timeout,
        )

    async def delete_route(self, routespec: str) -> None:
        """Delete it and wait until Traefik has seen that, or its next visitor gets a bare 502."""
        await super().delete_route(routespec)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            if not await self._check_for_traefik_service(routespec, "router"):
                return
            await asyncio.sleep(0.02)

    async def wait_for_rule(self, routespec: str, rule: str) -> None:
        """Until Traefik says that it uses the rule, or the route is gone."""
        name = generate_alias(self.validate_routespec(routespec), "router")
        until = time.monotonic() + _WAIT
        while time.monotonic() < until and name in self.dynamic_config["http"]["routers"]:
            with suppress(HTTPError, OSError, ValueError):  # it is away, or has no such route yet
                reply = await self._traefik_api_request(f"/api/http/routers/{name}@file")
                if json.loads(reply.body).get("rule") == rule:
                    return
            await asyncio.sleep(0.02)
