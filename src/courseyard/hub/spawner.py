"""The spawner of one machine: the agent runs the plan."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from courseyard.backends.base import Backend, Exit, Progress, Started
from courseyard.errors import AgentError, StartError
from courseyard.hub.home import words
from courseyard.hub.places import HUB_ADDRESS, INNER_HUB
from courseyard.hub.planned import LOG_LINES, PlannedSpawner
from courseyard.plan.model import ServerPlan


class CourseSpawner(PlannedSpawner):
    """Runs the plan of one user's named server on the site's backend."""

    @property
    def backend(self) -> Backend:
        return self.runtime.backend

    def set_plan(self, plan: ServerPlan) -> None:
        self.mem_limit = plan.limits.mem_limit
        self.mem_guarantee = plan.limits.mem_guarantee
        self.cpu_limit = plan.limits.cpu_limit
        self.cpu_guarantee = plan.limits.cpu_guarantee
        self.environment: dict[str, str] = {}
        self.args: list[str] = []
        self.cmd = ["jupyterhub-singleuser"]
        self.ip = "127.0.0.1"
        self.port = 8888
        self.hub_connect_url = INNER_HUB

    def secrets(self) -> dict[str, str]:
        """The environment that a plan must not hold: token, addresses, OAuth client."""
        address = {HUB_ADDRESS: f"127.0.0.1:{self.runtime.places.servers_port}"}
        return {k: str(v) for k, v in self.get_env().items() if v is not None} | address

    async def run(self, plan: ServerPlan) -> str:
        steps = self.backend.start(plan, self.secrets())
        async with aclosing(cast(AsyncGenerator[Progress | Started, None], steps)):
            async for step in steps:
                if isinstance(step, Started):
                    self.handle = step.handle
                    return f"http://{step.host}:{step.port}"
                self.step(3 + step.percent * 3 // 4, step.message)
        raise StartError(words.NEVER_CAME_UP, words.TRY_AGAIN, detail="the backend ended silently")

    async def exit(self) -> Exit | None:
        return await self.backend.poll(self.handle)

    async def log_tail(self) -> str:
        return await self.backend.log(self.handle, LOG_LINES)

    async def poll(self) -> int | None:
        """None while the server runs. An agent that does not answer says nothing about it."""
        if not self.handle:
            return 0
        try:
            exit_ = await self.exit()
        except AgentError as error:
            self.log.warning("%s: cannot be watched now: %s", self._log_name, error)
            return None
        return None if exit_ is None else self.ended(exit_)

    async def stop(self, now: bool = False) -> None:
        """Stop the server and all its processes; nothing to do when it has ended."""
        if self.handle:
            await self.backend.stop(self.handle, now=now)
