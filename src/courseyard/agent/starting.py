"""Makes the processes of a server: its cgroups, open folders and sandboxes; all of them or none."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets as random
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from courseyard.agent import logs
from courseyard.agent.records import GRADING, Record, Records
from courseyard.backends import beside
from courseyard.backends.sandbox import grading, launch, limits, network, processes
from courseyard.backends.sandbox.carriers import Carriers
from courseyard.backends.sandbox.processes import Process
from courseyard.errors import StartError
from courseyard.plan.model import Mount, ServerPlan
from courseyard.storage import walk

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Server:
    """A server in memory."""

    record: Record
    pump: logs.LogPump
    entrance: socket.socket | None = None  # what its carrier listens on; open here as well
    stopping: bool = False
    uncarried: str = ""  # why its connections are not carried, as the log says already
    kills: int = 0  # out-of-memory kills that the person was told of
    finishing: bool = False  # it has ended, and what is left of it is being removed
    watched: int = -1  # descriptor of the process outside, while it is watched
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Starter:
    """Starts servers of one agent."""

    records: Records
    storage: Path  # the storage root
    hierarchy: limits.Hierarchy
    carriers: Carriers
    clear: Callable[[limits.Cgroup], None]  # ends what is in a cgroup and removes it

    async def start(
        self, plan: ServerPlan, secrets: Mapping[str, str], hub: tuple[str, int] | None
    ) -> Server:
        """Start the plan's server, and its sandbox for grading where it has one.

        Raises:
            StartError, UnsupportedError, StorageError: it cannot run; nothing of it is left.
        """
        record = _new_record(plan, hub)
        folder = self.records.of(record.handle)
        server = Server(record, logs.LogPump(folder))
        async with contextlib.AsyncExitStack() as undo:
            undo.callback(self.records.remove, record.handle)
            await _whole(self.records.write, record)
            if self.hierarchy.version:
                record = await self._make_cgroups(record, plan, undo)
            output = server.pump.make(plan.identity.uid if os.geteuid() == 0 else None)
            server.pump.open()
            undo.callback(server.pump.close)
            with network.listen() as entrance, contextlib.ExitStack() as opened:
                opened.callback(os.close, output)
                # Before the carrier has it, which it must not keep waiting: dup makes both of them block.
                server.entrance = entrance.dup()
                undo.callback(server.entrance.close)
                wanted = launch.Wanted(
                    plan=plan,
                    environment={**plan.environment, **secrets},
                    folder=folder,
                    sources=self._open_sources(plan.mounts, opened),
                    output=output,
                    entrance=entrance,
                    hub=hub,
                    carriers=self.carriers,
                    cgroup=record.cgroup,
                )
                grader: tuple[Process, ...] = ()
                if plan.grading is not None:
                    wanted, grader = await self._start_grading(wanted, record, undo)
                running = await self._launch(launch.Launch(wanted), server)
                undo.push_async_callback(asyncio.to_thread, kill, running)
                port = int(entrance.getsockname()[1])
            running = replace(running, helpers=(*running.helpers, *grader))
            ports = {"port": port, "inner_port": network.SERVER_PORT}
            server.record = record.with_processes(running).model_copy(update=ports)
            await _whole(self.records.write, server.record)
            undo.pop_all()
        return server

    async def _make_cgroups(
        self, record: Record, plan: ServerPlan, undo: contextlib.AsyncExitStack
    ) -> Record:
        """One for the server and one for its sandbox for grading: the record with both."""
        fields = {"cgroup_folders": record.handle}
        if plan.grading is not None:
            fields["grading_folders"] = f"{record.handle}.{GRADING}"
        for field_, key in fields.items():
            undo.push_async_callback(asyncio.to_thread, self.clear, self.hierarchy.of(key))
            cgroup = await _whole(self.hierarchy.make, key, plan.limits)
            changes = {"cgroup_version": cgroup.version, field_: cgroup.folders}
            record = record.model_copy(update=changes)
            await _whole(self.records.write, record)
        return record

    async def _start_grading(
        self, server: launch.Wanted, record: Record, undo: contextlib.AsyncExitStack
    ) -> tuple[launch.Wanted, tuple[Process, ...]]:
        """Start the second sandbox of an instructor's server.

        Returns:
            What the server's launch needs now, and the processes that end with it.
        """
        plan = beside.plan_of(server.plan, record.handle)
        folder = server.folder / GRADING
        folder.mkdir(mode=0o700)
        uid = record.uid if os.geteuid() == 0 else None  # who connects: the server
        with contextlib.ExitStack() as opened:
            wanted = launch.Wanted(
                plan=plan,
                environment=plan.environment,
                folder=folder,
                sources=self._open_sources(plan.mounts, opened),
                output=server.output,
                cgroup=limits.Cgroup(record.cgroup_version, record.grading_folders),
                command=(grading.RUNNER,),
                name=lambda listening: grading.listen(listening, folder / "socket", uid),
                first=True,
            )
            running = await _run(launch.Launch(wanted))
        undo.push_async_callback(asyncio.to_thread, kill, running)
        more = {**server.environment, **grading.VARIABLES}
        changed = replace(server, environment=more, grading=str(folder / "socket"))
        return changed, (running.init, running.outer)

    def _open_sources(
        self, mounts: tuple[Mount, ...], opened: contextlib.ExitStack
    ) -> dict[str, int]:
        sources: dict[str, int] = {}
        with walk.opened_root(self.storage) as root:
            for mount in mounts:
                if mount.source not in sources:
                    try:
                        number = walk.open_folder(root, mount.source)
                    except FileNotFoundError as error:
                        raise walk.refused(mount.source, "is missing") from error
                    opened.callback(os.close, number)
                    sources[mount.source] = number
        return sources

    async def _launch(self, started: launch.Launch, server: Server) -> launch.Running:
        """As :meth:`_run`; a failure carries the last lines of the log."""
        try:
            return await _run(started)
        except StartError as error:
            server.pump.close()
            said = logs.tail(self.records.of(server.record.handle), 5)
            error.detail = f"{error.detail}; {said}".strip("; ")
            raise


async def _whole(work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    """Do ``work`` in a thread. Who is cancelled meanwhile waits, so that what undoes it comes after."""
    doing = asyncio.ensure_future(asyncio.to_thread(work, *args, **more))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        raise


async def _run(started: launch.Launch) -> launch.Running:
    """Run the launch in a thread; a cancelled one is stopped and waited for."""
    work = asyncio.ensure_future(asyncio.to_thread(started.run))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        started.abort()
        with contextlib.suppress(Exception):
            running = await work
            kill(running)
        raise


def _new_record(plan: ServerPlan, hub: tuple[str, int] | None) -> Record:
    host, port = hub or ("", 0)
    return Record(
        handle=_handle(plan),
        username=plan.identity.username,
        uid=plan.identity.uid,
        course=plan.course,
        title=plan.title,
        mem_limit=plan.limits.mem_limit,
        boot=processes.boot_id(),
        begun=time.time(),
        hub_host=host,
        hub_port=port,
    )


def _handle(plan: ServerPlan) -> str:
    """A name for the server's folder and cgroup, which says to people whose it is."""
    name = f"{plan.identity.username}.{plan.server_name}"[:100].lower()
    return re.sub(r"^[^a-z0-9]|[^a-z0-9_.-]", "x", name) + f".{random.token_hex(4)}"


def kill(running: launch.Running) -> None:
    """End all processes of a start, and reap those that are this agent's children."""
    helpers = (running.outer, *running.helpers)
    for process in (running.init, *helpers, *filter(None, (running.carrier,))):
        process.signal(signal.SIGKILL)
    for process in helpers:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, 0)
