"""The official Traefik proxy class, asked more often whether a route is there or gone."""

from __future__ import annotations

import asyncio
import time

from jupyterhub.utils import exponential_backoff
from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy


class QuickTraefikProxy(TraefikFileProviderProxy):
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
