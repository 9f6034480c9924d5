"""Routes on one machine: in a file that Traefik watches. It is asked often whether it uses them."""

from __future__ import annotations

import asyncio
import json
import time
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyterhub.utils import exponential_backoff
from jupyterhub_traefik_proxy.traefik_utils import generate_alias
from tornado.httpclient import HTTPError
from traitlets import default, observe

from courseyard.hub.keyed import KeyedProxy
from courseyard.hub.statefile import StateFile

_WAIT = 10.0  # seconds for Traefik to use a changed rule


class RoutesFile(StateFile):
    """The file that Traefik watches, written at every change.

    It is JSON, which is YAML. jupyterhub-traefik-proxy writes TOML in Python: a third of a second for
    a thousand routes, in which the hub answers nobody.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file, delay=0)
        self._before = file.with_suffix(".toml")

    def load(self) -> dict[str, Any]:
        """What was written last, by a version before this one as TOML.

        Raises:
            FileNotFoundError: nothing was, or nothing that can be used.
        """
        with suppress(FileNotFoundError):
            return super().load()
        try:
            return tomllib.loads(self._before.read_text())
        except ValueError as error:
            raise FileNotFoundError(f"{self._before} is damaged") from error

    def write(self) -> None:
        """Write all; from then on the file of the version before says nothing more."""
        super().write()
        self._before.unlink(missing_ok=True)


class QuickTraefikProxy(KeyedProxy):
    """Traefik reads a changed file within milliseconds; the stock class waits up to a second more."""

    @default("dynamic_config_handler")
    def _default_handler(self) -> RoutesFile:
        return RoutesFile(Path(self.dynamic_config_file))

    @observe("dynamic_config_file")
    def _set_dynamic_config_file(self, change: Any) -> None:
        self.dynamic_config_handler = self._default_handler()

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
