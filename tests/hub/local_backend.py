"""The lowest rung of backends: a plain process without any sandbox, for tests of the hub."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import psutil

from courseyard.backends.base import Backend, Exit, ExitReason, Progress, Started
from courseyard.errors import PlanError, UnsupportedError
from courseyard.plan.model import ServerPlan

SERVER = Path(__file__).with_name("fake_server.py")


class LocalBackend(Backend):
    """Starts ``fake_server.py``; a handle is ``pid-created-port``, so it outlives the hub."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.children: dict[int, subprocess.Popen[bytes]] = {}

    async def start(
        self, plan: ServerPlan, secrets: Mapping[str, str]
    ) -> AsyncIterator[Progress | Started]:
        if plan.limits.extra_limits:
            raise UnsupportedError(
                "This course needs a GPU, and this machine has none.", "Ask the course's teachers."
            )
        if plan.environment.get("FAKE_WAY") == "missing":
            raise PlanError("The software of this course is not installed.", "Tell the teachers.")
        yield Progress(10, "Making the place")
        if plan.environment.get("FAKE_WAY") == "slow":
            await asyncio.sleep(2)
        port = _free_port()
        name = f"{plan.identity.username}-{plan.server_name}"
        file = self.folder / f"{name}.json"
        file.write_text(plan.to_json())
        environ = {
            "PATH": os.environ["PATH"],
            **plan.environment,
            **secrets,
            "FAKE_PLAN": str(file),
            "FAKE_PORT": str(port),
        }
        with (self.folder / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, str(SERVER)],
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.children[child.pid] = child
        (self.folder / f"{child.pid}.name").write_text(name)
        yield Progress(90, "Starting Jupyter")
        created = int(psutil.Process(child.pid).create_time() * 100)
        yield Started(f"{child.pid}-{created}-{port}", "127.0.0.1", port)

    async def poll(self, handle: str) -> Exit | None:
        pid, created, _ = (int(part) for part in handle.split("-"))
        if pid in self.children:
            code = self.children[pid].poll()
            if code is None:
                return None
            if code == 137:
                return Exit(ExitReason.OUT_OF_MEMORY, code, "It used more memory than its limit.")
            return Exit(ExitReason.EXITED, code, "It ended by itself.")
        try:
            process = psutil.Process(pid)
            if int(process.create_time() * 100) == created and process.status() != "zombie":
                return None
        except psutil.NoSuchProcess:
            pass
        return Exit(ExitReason.GONE, 0, "It ended while the hub was away.")

    async def stop(self, handle: str, *, now: bool = False) -> None:
        if await self.poll(handle) is None:
            pid = int(handle.split("-")[0])
            os.killpg(pid, signal.SIGKILL if now else signal.SIGTERM)
            if pid in self.children:
                await asyncio.to_thread(self.children[pid].wait, 10)

    async def log(self, handle: str, lines: int = 50) -> str:
        name = (self.folder / f"{handle.split('-')[0]}.name").read_text()
        text = (self.folder / f"{name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
