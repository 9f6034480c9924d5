"""The agent's door: a Unix socket; who knocks is known by the kernel, what is asked is checked."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from courseyard.agent import checks, pam, protocol
from courseyard.agent.border import Border
from courseyard.agent.supervisor import Supervisor
from courseyard.backends.sandbox import limits, machine
from courseyard.errors import AgentError, AgentRefusedError, CourseyardError
from courseyard.settings import Site
from courseyard.storage import apply

log = logging.getLogger(__name__)

_CONNECTIONS = 200  # at once
_FIRST_LINE = 10.0  # seconds until a request has come
_ANSWER = 30.0  # seconds that an answer may take to be read
_HIDDEN = frozenset({checks.HUB_ADDRESS})


def socket_path(site: Site) -> Path:
    return site.state_dir / "run" / "agent.sock"


async def serve(
    site: Site, allowed_uids: frozenset[int], *, now: Callable[[], datetime] | None = None
) -> None:
    """Serve until cancelled. Servers go on running after it ends.

    Args:
        site: the site, as its file says it.
        allowed_uids: who may ask (the hub's account); root always may.
        now: for tests: the time at which a course's dates act.

    Raises:
        UnsupportedError: no sandbox can be made on this machine.
        AgentError: another agent serves this site.
    """
    supervisor = None
    if site.backend == "sandbox":
        await asyncio.to_thread(machine.check)
        supervisor = Supervisor(site.state_dir, site.storage_root, limits.detect())
    agent = Agent(site, allowed_uids | {0, os.geteuid()}, supervisor, Border(site, now))
    await agent.run()


class Agent:
    """One agent of one site.

    Args:
        supervisor: of this machine's servers; None in a cluster, where servers are the kubelet's
            work and the agent makes folders alone.
    """

    def __init__(
        self,
        site: Site,
        allowed_uids: frozenset[int],
        supervisor: Supervisor | None,
        border: Border | None = None,
    ) -> None:
        self._site = site
        self._allowed = allowed_uids
        self._room = asyncio.Semaphore(_CONNECTIONS)
        self._supervisor = supervisor
        self._pam = asyncio.Semaphore(4)
        self._border = border or Border(site)

    async def run(self) -> None:
        self._site.state_dir.mkdir(parents=True, exist_ok=True)
        (self._site.state_dir / "agent").mkdir(mode=0o700, exist_ok=True)
        self._site.storage_root.mkdir(mode=0o755, parents=True, exist_ok=True)
        supervisor = self._supervisor
        if supervisor is not None and not supervisor.hierarchy.version:
            log.warning("limits of servers are weaker: %s", supervisor.hierarchy.why_not)
        path = socket_path(self._site)
        with _alone(self._site):
            await self._serve(path, supervisor)

    async def _serve(self, path: Path, supervisor: Supervisor | None) -> None:
        listener = await self._listen(path)
        try:
            if supervisor is not None:
                await supervisor.recover()
            server = await asyncio.start_unix_server(
                self._connected, sock=listener, limit=protocol.LONGEST
            )
            log.info("serving %s", path)
            async with server, asyncio.TaskGroup() as work:
                if supervisor is not None:
                    work.create_task(supervisor.tend())
                work.create_task(self._border.follow())
                work.create_task(server.serve_forever())
        finally:
            if supervisor is not None:
                await supervisor.close()
            path.unlink(missing_ok=True)

    @property
    def _servers(self) -> Supervisor:
        """The servers of this machine.

        Raises:
            AgentRefusedError: this agent has none.
        """
        if self._supervisor is None:
            raise checks.refuse("a server, and servers run in the cluster")
        return self._supervisor

    async def _listen(self, path: Path) -> socket.socket:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            # One of a version before held no lock.
            _, writer = await asyncio.open_unix_connection(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        else:
            writer.close()
            raise _another(path)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.setblocking(False)
        listener.bind(str(path))
        # Everyone may knock; the kernel tells who it is, and strangers are refused.
        path.chmod(0o666)
        return listener

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            uid = checks.peer_uid(writer.get_extra_info("socket"))
            if uid not in self._allowed:
                # Before anything is read or counted: strangers take no room from the hub.
                error = checks.refuse(f"UID {uid} may not ask anything")
                log.warning("%s (%s): %s", error.message, error.id, error.detail)
                await _send(writer, protocol.error_answer(error))
                return
            async with self._room:
                await self._one(reader, writer)
        except (OSError, TimeoutError):
            log.info("a connection ended early")
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await self._read(reader)
            await self._answer(request, reader, writer)
        except CourseyardError as error:
            level = logging.WARNING if isinstance(error, AgentRefusedError) else logging.ERROR
            log.log(level, "%s (%s): %s", error.message, error.id, error.detail)
            await _send(writer, protocol.error_answer(error))
        except (ConnectionError, TimeoutError):
            raise  # the other end is gone
        except Exception:
            failed = AgentError("The agent failed at this request.", "Tell the administrators.")
            log.exception("request failed (%s)", failed.id)
            await _send(writer, protocol.error_answer(failed))

    async def _read(self, reader: asyncio.StreamReader) -> protocol.Request:
        try:
            async with asyncio.timeout(_FIRST_LINE):
                return protocol.read_request(await reader.readline())
        except ValidationError as error:
            places = [".".join(map(str, e["loc"])) + f": {e['type']}" for e in error.errors()[:5]]
            raise checks.refuse(f"a request that makes no sense: {'; '.join(places)}") from None
        except ValueError:
            raise checks.refuse("a request that is too long") from None

    async def _answer(
        self, request: protocol.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        match request:
            case protocol.Start():
                await self._start(request, reader, writer)
            case protocol.Poll():
                exit_ = await self._servers.poll(request.handle)
                await _send(writer, protocol.answer_of(exit_) if exit_ else protocol.DoneAnswer())
            case _:
                await _send(writer, protocol.DoneAnswer(value=await self._value(request)))

    async def _value(self, request: protocol.Request) -> Any:
        match request:
            case protocol.Stop():
                return await self._servers.stop(request.handle, now=request.now)
            case protocol.Log():
                return await self._servers.log(request.handle, request.lines)
            case protocol.EnsureStorage():
                checks.check_needs(self._site, request.needs)
                needs = await self._border.admit_needs(request.needs)
                done = await asyncio.to_thread(apply.ensure, self._site.storage_root, needs)
                for action in done:
                    log.info("storage: %s", action)
                return [str(action) for action in done]
            case protocol.PamLogin():
                checks.check_username(self._site, request.username)
                async with self._pam:
                    return await asyncio.to_thread(
                        pam.login, request.username, request.password.get_secret_value()
                    )
            case _:
                return await self._state()

    async def _state(self) -> dict[str, Any]:
        if self._supervisor is None:
            return {"root": machine.is_root(), "cgroup": 0, "notice": "", "servers": []}
        hierarchy = self._supervisor.hierarchy
        return {
            "root": machine.is_root(),
            "cgroup": hierarchy.version,
            "notice": hierarchy.why_not,
            "servers": await self._supervisor.known(),
        }

    async def _start(
        self, request: protocol.Start, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry out a start; the other end going away cancels it."""
        work = asyncio.create_task(self._run_start(request, writer))
        gone = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                log.info("a start of %s was cancelled", request.plan.identity.username)
                work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        finally:
            gone.cancel()

    async def _run_start(self, request: protocol.Start, writer: asyncio.StreamWriter) -> None:
        plan = request.plan
        checks.check_plan(self._site, await self._border.images(), plan)
        plan = await self._border.admit(plan)
        hub = checks.hub_address(request.secrets)
        secrets = {k: v for k, v in request.secrets.items() if k not in _HIDDEN}
        async with aclosing(self._servers.start(plan, secrets, hub)) as steps:
            async for step in steps:
                await _send(writer, protocol.answer_of(step))


@contextmanager
def _alone(site: Site) -> Iterator[None]:
    """Hold the lock of this site's agent: two would tidy each other's servers away.

    Raises:
        AgentError: another agent holds it.
    """
    path = site.state_dir / "agent" / "lock"
    with open(path, "a", opener=_private) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _another(path) from None
        yield


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _another(path: Path) -> AgentError:
    return AgentError("Another agent serves this site already.", "Stop it first.", detail=str(path))


async def _send(writer: asyncio.StreamWriter, answer: protocol.Answer) -> None:
    writer.write(answer.model_dump_json().encode() + b"\n")
    try:
        async with asyncio.timeout(_ANSWER):
            await writer.drain()
    except TimeoutError:
        writer.transport.abort()  # what it did not read goes too
        raise
