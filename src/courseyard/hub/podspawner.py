"""The spawner of a cluster: the agent makes the folders, Kubernetes runs the plan as a pod."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from courseyard.backends.base import Exit, ExitReason, Progress
from courseyard.backends.kubernetes.gradingpods import NoGradingError
from courseyard.backends.kubernetes.manifests import Cluster
from courseyard.backends.kubernetes.spawner import PodSpawner
from courseyard.errors import BackendError, CourseyardError
from courseyard.hub.home import words
from courseyard.hub.planned import LOG_LINES, PlannedSpawner
from courseyard.plan.model import ServerPlan

_LOOKUP = 5.0  # seconds for the address of the hub's service


class CoursePodSpawner(PlannedSpawner, PodSpawner):
    """Runs the plan of one user's named server as a pod."""

    #: How the server ended, once it has: the pod is deleted then, and a second look sees nothing.
    _exit: Exit | None = None

    def set_plan(self, plan: ServerPlan) -> None:
        self._exit = None
        self.use(plan, Cluster.of(self.runtime.site))

    async def run(self, plan: ServerPlan) -> str:
        self.step(5, words.PREPARING_FOLDERS)
        await self.runtime.agent.ensure_storage(plan.storage)
        self.hub_connect_url = await self._hub_url()
        self.handle = self.pod_key
        url = await self.launch(plan, self._tell)
        if plan.grading is not None:
            self.runtime.run(self._grade)
        return url

    async def _grade(self) -> None:
        """Have the pod for grading ready before it is asked for; the start does not wait for it."""
        try:
            await self.beside()
        except (CourseyardError, NoGradingError) as error:
            self.log.warning("%s: no pod for grading yet: %s", self._log_name, error)

    def _tell(self, progress: Progress) -> None:
        if self.latest_step["message"] != progress.message:
            self.step(progress.percent, progress.message)

    async def _hub_url(self) -> str:
        """The hub by its service's address: a server without a network has no name server either."""
        places = self.runtime.places
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_LOOKUP):
                found = await loop.getaddrinfo(
                    places.hub_host, places.servers_port, type=socket.SOCK_STREAM
                )
        except (OSError, TimeoutError) as error:
            raise BackendError(
                "The server could not be told where the hub is.",
                words.TRY_AGAIN,
                detail=f"service {places.hub_host}: {error}",
            ) from error
        return f"http://{found[0][4][0]}:{places.servers_port}"

    def timed_out(self, plan: ServerPlan, error: Exception) -> CourseyardError:
        found = self.late(plan, words.timed_out(plan.start_timeout))
        return found if isinstance(found, CourseyardError) else super().timed_out(plan, error)

    async def exit(self) -> Exit | None:
        if self._exit is None:
            found = await self.look(self.mem_limit or 0)
            self._exit = self._exit or found  # somebody may have looked meanwhile
        return self._exit

    async def log_tail(self) -> str:
        return await self.tail(LOG_LINES)

    async def poll(self) -> int | None:
        """None while the server runs; an ended pod is deleted, so that its name is free again."""
        if not self.handle:
            return 0
        exit_ = await self.exit()
        if exit_ is None:
            await PodSpawner.poll(self)  # takes a changed address over
            return None
        if self.pod is not None:
            await self.remove(now=True)
        return self.ended(exit_)

    async def stop(self, now: bool = False) -> None:
        """Delete the pod; nothing to do when it is gone."""
        if self.handle:
            await self.remove(now=now)

    def ended(self, exit_: Exit) -> int:
        # JupyterHub takes 0 for a server that never ran.
        code = super().ended(exit_)
        return code or int(exit_.reason is not ExitReason.STOPPED)

    def get_state(self) -> dict[str, Any]:
        return super().get_state() | {"mem_limit": self.mem_limit}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        if state.get("mem_limit"):
            self.mem_limit = state["mem_limit"]
