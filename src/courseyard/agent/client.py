"""The hub's side of the agent: a :class:`~courseyard.backends.base.Backend` over a Unix socket."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from courseyard.agent import protocol
from courseyard.backends.base import Backend, Exit, Progress, Started
from courseyard.errors import AgentDownError, AgentError
from courseyard.plan.model import ServerPlan, StorageNeed

_SHORT = 10.0  # seconds for questions
_STOP = 60.0  # seconds for a stop, which asks the server first
_STEP = 120.0  # seconds between two lines of a start
_AWAY = 15.0  # seconds: an agent that is started again is back by then


class AgentClient(Backend):
    """Asks the agent at ``socket``; one connection per request, so nothing outlives a hub.

    Args:
        away: for how many seconds what a person waits for anyway, a start, looks for an agent that is
            not there: it may just be starting itself.
    """

    def __init__(self, socket: Path, away: float = _AWAY) -> None:
        self._socket = socket
        self._away = away

    async def start(
        self, plan: ServerPlan, secrets: Mapping[str, str]
    ) -> AsyncIterator[Progress | Started]:
        request = protocol.Start(plan=plan, secrets=dict(secrets))
        async with aclosing(self._ask(request, _STEP, self._away)) as answers:
            async for answer in answers:
                match answer:
                    case protocol.ProgressAnswer():
                        yield Progress(answer.percent, answer.message)
                    case protocol.StartedAnswer():
                        yield Started(answer.handle, answer.host, answer.port)
                        return
                    case _:
                        raise AgentError("The agent's answer makes no sense.", detail=repr(answer))

    async def poll(self, handle: str) -> Exit | None:
        answer = await self._one(protocol.Poll(handle=handle), _SHORT)
        if isinstance(answer, protocol.ExitAnswer):
            return Exit(answer.reason, answer.code, answer.message)
        return None

    async def stop(self, handle: str, *, now: bool = False) -> None:
        await self._one(protocol.Stop(handle=handle, now=now), _STOP)

    async def log(self, handle: str, lines: int = 50) -> str:
        return str(self._value(await self._one(protocol.Log(handle=handle, lines=lines), _SHORT)))

    async def ensure_storage(self, needs: Iterable[StorageNeed]) -> tuple[str, ...]:
        """Make folders; what was done, one sentence each.

        Raises:
            StorageError: one cannot be made or trusted.
            AgentError: the agent does not answer or refused.
        """
        request = protocol.EnsureStorage(needs=tuple(needs))
        return tuple(self._value(await self._one(request, _STOP, self._away)))

    async def pam_login(self, username: str, password: str) -> bool:
        """Whether PAM lets the person in."""
        request = protocol.PamLogin(username=username, password=password)
        return bool(self._value(await self._one(request, 30.0)))

    async def ping(self) -> dict[str, Any]:
        """What the agent can do: ``servers``, ``root``, ``cgroup`` (0, 1, 2), ``notice``.

        Raises:
            AgentDownError: it does not answer.
        """
        return dict(self._value(await self._one(protocol.Ping(), _SHORT)))

    @staticmethod
    def _value(answer: protocol.Answer) -> Any:
        if not isinstance(answer, protocol.DoneAnswer):
            raise AgentError("The agent's answer makes no sense.", detail=repr(answer))
        return answer.value

    async def _one(
        self, request: protocol.Request, timeout: float, away: float = 0
    ) -> protocol.Answer:
        async with aclosing(self._ask(request, timeout, away)) as answers:
            async for answer in answers:
                return answer
        raise self._down("it closed the connection")

    async def _connected(self, away: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        until = time.monotonic() + away
        while True:
            try:
                return await asyncio.open_unix_connection(str(self._socket), limit=protocol.LONGEST)
            except (ConnectionRefusedError, FileNotFoundError):
                if time.monotonic() >= until:
                    raise
                await asyncio.sleep(0.2)

    async def _ask(
        self, request: protocol.Request, timeout: float, away: float
    ) -> AsyncGenerator[protocol.Answer, None]:
        """Send ``request``; the answers as they come. Closing this cancels a start."""
        writer = None
        try:
            async with asyncio.timeout(_SHORT + away):
                reader, writer = await self._connected(away)
                writer.write(_line(request))
                await writer.drain()
            while True:
                async with asyncio.timeout(timeout):
                    line = await reader.readline()
                if not line:
                    raise self._down("it closed the connection")
                answer = protocol.read_answer(line)
                if isinstance(answer, protocol.ErrorAnswer):
                    raise protocol.error_of(answer)
                yield answer
        except TimeoutError as error:
            raise self._down("it did not answer in time") from error
        except (OSError, ValueError) as error:
            raise self._down(str(error)) from error
        finally:
            if writer is not None:
                writer.close()

    def _down(self, why: str) -> AgentDownError:
        return AgentDownError(
            "The part of this service that starts servers does not answer.",
            "Try again in a minute; if it lasts, tell the administrators.",
            detail=f"agent at {self._socket}: {why}",
        )


def _line(request: protocol.Request) -> bytes:
    data = request.model_dump(mode="json")
    if isinstance(request, protocol.PamLogin):
        data["password"] = request.password.get_secret_value()
    return json.dumps(data).encode() + b"\n"
