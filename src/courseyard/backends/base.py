"""What a backend is.

A backend runs a :class:`~courseyard.plan.model.ServerPlan` and nothing else: it decides nothing
and reads no course file. Where it runs (this machine, a cluster) is its own business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from courseyard.plan.model import ServerPlan


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a start, in the person's words."""

    percent: int  # 0 to 100, never falling
    message: str


@dataclass(frozen=True, slots=True)
class Started:
    """The last item of a start: where the server answers and how to find it again."""

    handle: str  # names the server to this backend, also after a restart of the hub
    host: str
    port: int


class ExitReason(StrEnum):
    STOPPED = "stopped"  # by us
    EXITED = "exited"  # by itself
    OUT_OF_MEMORY = "out-of-memory"
    GONE = "gone"  # nobody knows why: the machine restarted, the record is missing


@dataclass(frozen=True, slots=True)
class Exit:
    """How a server ended."""

    reason: ExitReason
    code: int  # exit status; 0 when unknown
    message: str  # one sentence for the person


class Backend(ABC):
    """Starts, watches and stops servers."""

    @abstractmethod
    def start(
        self, plan: ServerPlan, secrets: Mapping[str, str]
    ) -> AsyncIterator[Progress | Started]:
        """Start a server; yields :class:`Progress` and at last one :class:`Started`.

        A start that fails or is cancelled leaves nothing behind. The caller waits for HTTP itself.

        Args:
            plan: what to run.
            secrets: environment that the plan must not hold (JupyterHub's token and addresses).

        Raises:
            UnsupportedError: this backend cannot do what the plan asks.
            StorageError: a folder of the plan cannot be made or trusted.
            StartError: the server did not come up; the person's sentence says why.
            AgentError: the agent does not answer or refused.
        """

    @abstractmethod
    async def poll(self, handle: str) -> Exit | None:
        """None while the server runs, else how it ended (also for a handle nobody knows)."""

    @abstractmethod
    async def stop(self, handle: str, *, now: bool = False) -> None:
        """Stop a server and all its processes; no-op when it has ended.

        Args:
            handle: the server.
            now: kill at once instead of asking first.
        """

    @abstractmethod
    async def log(self, handle: str, lines: int = 50) -> str:
        """The last ``lines`` lines that the server wrote; "" when there are none."""
