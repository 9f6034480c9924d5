"""What is kept of each server in ``<state>/agent/servers/<handle>/``, so that a new agent knows it."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from courseyard.backends.base import Exit, ExitReason
from courseyard.backends.sandbox.launch import Running
from courseyard.backends.sandbox.limits import Cgroup
from courseyard.backends.sandbox.processes import Process

FILE = "record.json"


class Known(BaseModel):
    """A process as pid and start time."""

    model_config = ConfigDict(frozen=True)
    pid: int
    start: int

    @property
    def process(self) -> Process:
        return Process(self.pid, self.start)

    @classmethod
    def of(cls, process: Process) -> Known:
        return cls(pid=process.pid, start=process.start)


class Ended(BaseModel):
    model_config = ConfigDict(frozen=True)
    reason: ExitReason
    code: int
    message: str
    at: float  # seconds since 1970

    def as_exit(self) -> Exit:
        return Exit(self.reason, self.code, self.message)


class Record(BaseModel):
    """One server. Holds no secret."""

    version: Literal[1] = 1
    handle: str
    username: str
    uid: int
    course: str
    title: str
    mem_limit: int  # bytes
    boot: str  # of the machine; in another one all processes are gone
    begun: float  # seconds since 1970
    cgroup_version: int = 0
    cgroup_folders: tuple[str, ...] = ()
    port: int = 0
    inner_port: int = 0  # of it in its own network; 0: an earlier version gave it the socket itself
    hub_host: str = ""
    hub_port: int = 0
    outer: Known | None = None  # None: the start has not finished
    init: Known | None = None
    server: Known | None = None
    carrier: Known | None = None  # of its connections
    helpers: tuple[Known, ...] = ()
    grading_folders: tuple[str, ...] = ()  # the cgroup of its sandbox for grading
    ended: Ended | None = None

    @property
    def cgroup(self) -> Cgroup:
        return Cgroup(self.cgroup_version, self.cgroup_folders)

    @property
    def cgroups(self) -> tuple[Cgroup, ...]:
        """Its own and that of its sandbox for grading, as far as there are any."""
        both = (self.cgroup, Cgroup(self.cgroup_version, self.grading_folders))
        return tuple(cgroup for cgroup in both if cgroup.folders)

    def with_processes(self, running: Running) -> Record:
        return self.model_copy(
            update={
                "outer": Known.of(running.outer),
                "init": Known.of(running.init),
                "server": Known.of(running.server),
                "carrier": running.carrier and Known.of(running.carrier),
                "helpers": tuple(Known.of(helper) for helper in running.helpers),
            }
        )


class Records:
    """The folder of records. All methods block shortly."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def of(self, handle: str) -> Path:
        return self.folder / handle

    def write(self, record: Record) -> None:
        """Write it whole or not at all."""
        folder = self.of(record.handle)
        folder.mkdir(mode=0o700, exist_ok=True)
        fresh = folder / f"{FILE}.new"
        fresh.write_text(record.model_dump_json())
        fresh.replace(folder / FILE)

    def read(self, handle: str) -> Record | None:
        """The record of ``handle``; None when there is none that can be read."""
        try:
            return Record.model_validate_json((self.of(handle) / FILE).read_text())
        except (OSError, ValueError):
            return None

    def read_all(self) -> Iterator[Record]:
        """All readable records; folders without one are removed."""
        for folder in sorted(self.folder.iterdir()):
            record = self.read(folder.name)
            if record is None:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                yield record

    def remove(self, handle: str) -> None:
        with contextlib.suppress(OSError):
            shutil.rmtree(self.of(handle))

    def forget_ended(self, older_than: float) -> None:
        """Remove records of servers that ended more than ``older_than`` seconds ago.

        One whose cgroup cannot be removed yet stays: nothing else knows of that.
        """
        for record in list(self.read_all()):
            old = record.ended and record.ended.at < time.time() - older_than
            if old and all(cgroup.clear(1) for cgroup in record.cgroups):
                self.remove(record.handle)
