"""What is kept of each server in ``<state>/agent/servers/<handle>/``, so that a new agent knows it.

A folder appears whole, with its record, and goes at once; what has a dot before its name is on its
way and counts as nothing. A record that is there and cannot be used (damaged, or of a later
version) is :class:`Sealed`, never nothing: its server may well run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from courseyard.backends.base import Exit, ExitReason
from courseyard.backends.sandbox.launch import Running
from courseyard.backends.sandbox.limits import Cgroup
from courseyard.backends.sandbox.processes import Process

FILE = "record.json"
#: The second sandbox of an instructor's server: a folder in the server's, and the end of the name
#: of its cgroup.
GRADING = "grading"
#: A field that is added needs no other version: older agents keep what they do not know. Another
#: version is for what an older agent would do wrong; they leave such a record alone.
VERSION = 1
_COMING, _GOING = ".new.", ".old."  # before the name of a folder on its way


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

    model_config = ConfigDict(extra="allow")
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


@dataclass(frozen=True, slots=True)
class Sealed:
    """A record that is there and that this agent cannot use."""

    handle: str
    why: str  # for the log
    newer: bool = False  # of a later version: a later agent's business


class Records:
    """The folder of records. All methods block shortly."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Make the folder, and remove what an agent that was killed had on its way."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self.folder.glob(".*"):
            shutil.rmtree(left, ignore_errors=True)

    def of(self, handle: str) -> Path:
        return self.folder / handle

    def write(self, record: Record) -> None:
        """Write it whole or not at all; of a server that runs or ran, wait for the disk.

        Raises:
            OSError: it cannot be written; what was there before is there still.
        """
        folder = self.of(record.handle)
        content = record.model_dump_json().encode()
        # A machine that goes down in the middle of a start has nothing to find again.
        wait = record.outer is not None
        if folder.is_dir():
            _put(folder, content, wait)
            return
        coming = self.folder / f"{_COMING}{record.handle}"
        coming.mkdir(mode=0o700)
        try:
            _put(coming, content, wait)
            coming.rename(folder)
        except BaseException:
            shutil.rmtree(coming, ignore_errors=True)
            raise

    def read(self, handle: str) -> Record | Sealed | None:
        """The record of ``handle``; None when there is no server of that name."""
        folder = self.of(handle)
        try:
            return _understood(handle, (folder / FILE).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return Sealed(handle, "it is missing") if folder.is_dir() else None
        except OSError as error:
            return Sealed(handle, f"it cannot be read: {error.strerror}")

    def all(self) -> Iterator[Record | Sealed]:
        """Of every server, in the order of handles."""
        for folder in sorted(self.folder.iterdir()):
            if not folder.name.startswith("."):
                found = self.read(folder.name)
                if found is not None:
                    yield found

    def remove(self, handle: str) -> None:
        """Remove a server's folder; no-op when there is none."""
        going = self.folder / f"{_GOING}{handle}"
        with contextlib.suppress(FileNotFoundError):
            self.of(handle).rename(going)
        shutil.rmtree(going, ignore_errors=True)


def _put(folder: Path, content: bytes, wait: bool) -> None:
    fresh = folder / f"{FILE}.new"
    with open(fresh, "wb") as file:
        file.write(content)
        file.flush()
        if wait:  # before the name, so that after a power cut no name has half a record
            os.fsync(file.fileno())
    fresh.replace(folder / FILE)


def _understood(handle: str, content: bytes) -> Record | Sealed:
    try:
        data = json.loads(content)
    except ValueError:
        return Sealed(handle, "it is damaged: no JSON")
    version = data.get("version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > VERSION:
        why = f"it is of version {version}, and this agent knows versions up to {VERSION}"
        return Sealed(handle, why, newer=True)
    try:
        record = Record.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        return Sealed(handle, f"it is damaged: {place}: {first['msg']}")
    if record.handle != handle:
        return Sealed(handle, f"it is that of another server, {record.handle}")
    return record
