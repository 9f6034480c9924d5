"""Starts, watches and stops the servers of one machine.

A server is known by its record (:mod:`courseyard.agent.records`). It outlives the hub and the
agent: a new agent finds it again by pid and start time. Its carrier (backends/sandbox/carriers.py)
goes on meanwhile; one that has ended is started anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

from courseyard.agent import logs, notices
from courseyard.agent.held import HeldPorts, entrance_of
from courseyard.agent.records import GRADING, Ended, Known, Record, Records, Sealed
from courseyard.agent.sealed import SealedServers
from courseyard.agent.starting import Server, Starter
from courseyard.backends.base import Exit, ExitReason, Progress, Started
from courseyard.backends.sandbox import launch, limits, network, processes
from courseyard.backends.sandbox.carriers import Carriers
from courseyard.backends.sandbox.processes import Process
from courseyard.errors import AgentError, StartError
from courseyard.plan.model import ServerPlan
from courseyard.storage import apply
from courseyard.units import format_bytes

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_PATIENCE = 15.0  # seconds that a server may take to stop by itself
_KILLED = 5.0  # seconds that a killed process may take to be gone
_ENDS = 5.0  # seconds for the ends of servers that a new agent finds
_KEEP = 24 * 3600.0  # seconds for which the end of a server is remembered
_LOOK = 3.0  # seconds between two looks at the memory of servers
_TIDY = 3600.0  # seconds between two removals of old records
_STARTS = 8  # at once; more wait their turn


class Supervisor:
    """All servers of one agent.

    Args:
        state: the site's state folder.
        storage: the storage root.
    """

    def __init__(self, state: Path, storage: Path, hierarchy: limits.Hierarchy) -> None:
        self._records = Records(state / "agent" / "servers")
        self._storage = storage
        self.hierarchy = hierarchy
        self.servers: dict[str, Server] = {}
        self._room = asyncio.Semaphore(_STARTS)
        self._tasks: set[asyncio.Task[None]] = set()
        #: Cgroups that could not be removed when their server ended.
        self._busy: set[limits.Cgroup] = set()
        #: Ends of servers that could not be written yet, such as on a full disk.
        self._unwritten: dict[str, Record] = {}
        self._held = HeldPorts()
        self._sealed = SealedServers(self._records, hierarchy)
        self._carriers = Carriers()
        self._starter = Starter(self._records, storage, hierarchy, self._carriers, self._clear)

    # --- a start ------------------------------------------------------------------------------

    async def start(
        self, plan: ServerPlan, secrets: Mapping[str, str], hub: tuple[str, int] | None
    ) -> AsyncGenerator[Progress | Started, None]:
        """Start a server, as :meth:`courseyard.backends.base.Backend.start`."""
        launch.check(plan)
        yield Progress(5, "Preparing your folders")
        await asyncio.to_thread(apply.ensure, self._storage, plan.storage)
        async with self._room:
            yield Progress(20, "Starting your server")
            try:
                server = await self._starter.start(plan, secrets, hub)
            except OSError as error:  # a full disk, too many open files
                raise StartError(
                    "The server could not be started.",
                    "Try again; if it happens again, tell the administrators.",
                    detail=str(error),
                ) from error
            self.servers[server.record.handle] = server
            self._watch(server)
        log.info(
            "started %s: %s, UID %d, port %d",
            server.record.handle, plan.title, plan.identity.uid, server.record.port,
        )  # fmt: skip
        yield Progress(60, "Your server runs; Jupyter is loading")
        yield Started(server.record.handle, HOST, server.record.port)

    # --- the end ------------------------------------------------------------------------------

    def _watch(self, server: Server) -> None:
        """Call :meth:`_finish` when bubblewrap outside ends.

        Without a free descriptor nobody watches it yet; :meth:`tend` tries again.
        """
        outer = server.record.outer
        assert outer is not None
        descriptor = -1
        try:
            descriptor = os.pidfd_open(outer.pid)
            runs = outer.process.runs()
        except ProcessLookupError:
            runs = False
        except OSError as error:
            log.warning("%s cannot be watched now: %s", server.record.handle, error)
            runs = True
        if not runs:
            if descriptor >= 0:
                os.close(descriptor)
            self._spawn_finish(server)
            return
        if descriptor < 0:
            return
        loop = asyncio.get_running_loop()

        def over() -> None:
            _unwatch(server)
            self._spawn_finish(server)

        server.watched = descriptor
        loop.add_reader(descriptor, over)

    def _spawn_finish(self, server: Server) -> None:
        server.finishing = True
        if server.entrance is not None:
            self._held.hold(server.record, server.entrance)
        task = asyncio.create_task(self._finish(server))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, server: Server) -> None:
        record = server.record
        killed = await asyncio.to_thread(record.cgroup.out_of_memory_kills)
        await asyncio.to_thread(self._clean, record)
        self._held.hold(record, server.entrance)
        with contextlib.suppress(OSError):
            server.pump.close()
        folder = self._records.of(record.handle)
        code = None
        with contextlib.suppress(OSError):
            code = await asyncio.to_thread(launch.exit_code, folder)
            await asyncio.to_thread(_strip, folder)
        ended = _cause(record, code, killed, server.stopping)
        server.record = record.model_copy(update={"ended": ended})
        await self._write_end(server.record)
        self.servers.pop(record.handle, None)
        server.ended.set()
        log.info("ended %s: %s (%d)", record.handle, ended.reason, ended.code)

    async def _write_end(self, record: Record) -> None:
        """Write the record of a server that has ended; what cannot be written now is kept."""
        try:
            await asyncio.to_thread(self._records.write, record)
            self._unwritten.pop(record.handle, None)
        except OSError as error:
            if record.handle not in self._unwritten:
                log.warning("%s: its end is not written yet: %s", record.handle, error)
            self._unwritten[record.handle] = record

    def _clean(self, record: Record) -> None:
        """End whatever of a server is left, and reap bubblewrap when it was this agent's child."""
        for known in (record.init, record.outer, record.carrier, *record.helpers):
            if known is not None:
                with contextlib.suppress(OSError):  # what is in its cgroup is killed below
                    known.process.signal(signal.SIGKILL)
        for known in (record.outer, *record.helpers):
            if known is not None:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(known.pid, 0)
        if record.carrier is not None:
            with contextlib.suppress(OSError):
                record.carrier.process.wait(_KILLED)
        for cgroup in record.cgroups:
            self._clear(cgroup)

    def _clear(self, cgroup: limits.Cgroup) -> None:
        """Remove a cgroup now, or note it for :meth:`tend`."""
        if not cgroup.clear():
            log.warning("%s: its control group is still busy; tried again", cgroup.folders[0])
            self._busy.add(cgroup)

    def _clear_busy(self) -> None:
        """Once for each: a process that the kernel cannot end must not hold up the others."""
        self._busy -= {cgroup for cgroup in self._busy.copy() if cgroup.clear(1)}

    async def poll(self, handle: str) -> Exit | None:
        """As :meth:`courseyard.backends.base.Backend.poll`."""
        if handle in self.servers:
            return None
        self._held.told(handle)
        record: Record | Sealed | None = self._unwritten.get(handle)
        if record is None:
            record = await asyncio.to_thread(self._records.read, handle)
        if isinstance(record, Sealed):
            self._sealed.tell(record)
            if await asyncio.to_thread(self._sealed.signs, handle):
                return None
        elif record is not None and record.ended is not None:
            return record.ended.as_exit()
        return Exit(ExitReason.GONE, 0, "Your server is gone.")

    async def stop(self, handle: str, *, now: bool = False) -> None:
        """As :meth:`courseyard.backends.base.Backend.stop`."""
        server = self.servers.get(handle)
        if server is None:
            await self._stop_sealed(handle)
            return
        server.stopping = True
        record = server.record
        assert record.server is not None
        assert record.init is not None
        if not now and record.server.process.signal(signal.SIGTERM):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.ended.wait(), _PATIENCE)
        if not server.ended.is_set():
            record.init.process.signal(signal.SIGKILL)
            await asyncio.wait_for(server.ended.wait(), _PATIENCE)
        self._held.told(handle)

    async def _stop_sealed(self, handle: str) -> None:
        """A person's word settles what becomes of a server whose record cannot be used."""
        found = await asyncio.to_thread(self._records.read, handle)
        if isinstance(found, Sealed) and not await asyncio.to_thread(self._sealed.end, handle):
            raise AgentError(
                "The server could not be stopped.", "Tell the administrators.",
                detail=f"{handle}: {'; '.join(self._sealed.signs(handle))}",
            )  # fmt: skip

    async def known(self) -> list[str]:
        """Handles of all servers that run, also those whose records cannot be used."""
        return sorted({*self.servers, *await asyncio.to_thread(self._sealed.living)})

    async def log(self, handle: str, lines: int) -> str:
        """As :meth:`courseyard.backends.base.Backend.log`."""
        return await asyncio.to_thread(logs.tail, self._records.of(handle), lines)

    # --- a new agent --------------------------------------------------------------------------

    async def recover(self) -> None:
        """Find the servers of an earlier agent again; end the records of those that are gone."""
        self._records.prepare()
        await asyncio.to_thread(self.tidy, _KEEP)
        for record in await asyncio.to_thread(lambda: list(self._records.all())):
            if isinstance(record, Record):
                await self._find_again(record)
        if self._tasks:  # who asks first is told what ended while no agent was there
            await asyncio.wait(self._tasks, timeout=_ENDS)

    async def _find_again(self, record: Record) -> None:
        if record.ended is not None:
            self._busy |= {cgroup for cgroup in record.cgroups if cgroup.is_there()}
        elif record.outer is None or record.init is None:
            await asyncio.to_thread(self._undo_start, record)
            log.warning("%s: its start was cut off; removed", record.handle)
        elif record.boot != processes.boot_id():
            ended = Ended(
                reason=ExitReason.GONE, code=0, at=time.time(),
                message="The machine was restarted while your server ran.",
            )  # fmt: skip
            await self._write_end(record.model_copy(update={"ended": ended}))
        else:
            await self._adopt(record)

    def tidy(self, older_than: float) -> None:
        """Remove the folders of servers that ended more than ``older_than`` seconds ago.

        One whose cgroup cannot be removed yet stays: nothing else knows of that. So does one whose
        record cannot be used while something of its server may live.
        """
        for record in self._records.all():
            if isinstance(record, Sealed):
                self._sealed.tell(record)
                over = self._sealed.is_over(record, older_than)
            else:
                ended = record.ended
                old = ended is not None and ended.at < time.time() - older_than
                over = old and all(cgroup.clear(1) for cgroup in record.cgroups)
            if over:
                self._records.remove(record.handle)

    def _undo_start(self, record: Record) -> None:
        if record.boot == processes.boot_id():
            for folder in (
                self._records.of(record.handle),
                self._records.of(record.handle) / GRADING,
            ):
                launch.kill_unfinished(folder)
        for cgroup in record.cgroups:
            self._clear(cgroup)
        self._records.remove(record.handle)

    async def _adopt(self, record: Record) -> None:
        entrance = await asyncio.to_thread(entrance_of, record)
        server = Server(record, logs.LogPump(self._records.of(record.handle)), entrance)
        self.servers[record.handle] = server
        with contextlib.suppress(OSError):
            server.pump.open()
        await self._mend_carrier(server)
        self._watch(server)
        log.info("found %s again, pid %s", record.handle, record.outer and record.outer.pid)

    async def _mend_carrier(self, server: Server) -> None:
        """Start a server's carrier anew where it has ended, or where an earlier version made none."""
        record = server.record
        if record.carrier is not None and record.carrier.process.runs():
            return
        if not record.hub_port and not record.inner_port:
            return
        try:
            made = await asyncio.to_thread(self._new_carrier, record, server.entrance)
        except ProcessLookupError:
            return  # the server has ended as well
        except OSError as error:
            if server.uncarried != str(error):
                log.warning("%s: its connections are not carried: %s", record.handle, error)
            server.uncarried = str(error)
            return
        if server.ended.is_set():
            return
        server.uncarried = ""
        server.record = server.record.model_copy(update={"carrier": Known.of(made)})
        await asyncio.to_thread(self._records.write, server.record)
        log.info("%s: its connections are carried anew", record.handle)

    def _new_carrier(self, record: Record, entrance: socket.socket | None) -> Process:
        assert record.init is not None
        hub = (record.hub_host, record.hub_port) if record.hub_port else None
        with contextlib.ExitStack() as stack:
            if record.inner_port and entrance is None:
                entrance = stack.enter_context(network.listen(record.port))
            carrier = self._carriers.start(
                record.init.process, entrance=entrance, inner_port=record.inner_port,
                hub=hub, uid=record.uid, cgroup=record.cgroup,
            )  # fmt: skip
        return carrier.wait()

    async def tend(self) -> None:
        """Look after the servers until cancelled: notices of memory, cgroups, old records."""
        rounds = 0
        while True:
            await asyncio.sleep(_LOOK)
            rounds += 1
            try:
                for server in list(self.servers.values()):
                    if server.watched < 0 and not server.finishing:
                        self._watch(server)
                    await self._mend_carrier(server)
                    folder = self._records.of(server.record.handle)
                    server.kills = await asyncio.to_thread(
                        notices.look, folder, server.record, server.kills
                    )
                await asyncio.to_thread(self._clear_busy)
                for record in list(self._unwritten.values()):
                    await self._write_end(record)
                if rounds * _LOOK >= _TIDY:
                    rounds = 0
                    await asyncio.to_thread(self.tidy, _KEEP)
            except OSError as error:
                log.warning("looking after the servers failed: %s", error)

    async def close(self) -> None:
        """Let go of all servers without stopping them."""
        for server in list(self.servers.values()):
            _unwatch(server)
            server.pump.close()
            if server.entrance is not None:
                server.entrance.close()
        self._held.close()
        await asyncio.to_thread(self._carriers.close)


def _strip(folder: Path) -> None:
    """Remove what nobody needs of a server that has ended: its FIFO and the socket for grading."""
    shutil.rmtree(folder / GRADING, ignore_errors=True)
    (folder / logs.FIFO).unlink(missing_ok=True)


def _unwatch(server: Server) -> None:
    if server.watched >= 0:
        asyncio.get_running_loop().remove_reader(server.watched)
        os.close(server.watched)
        server.watched = -1


def _cause(record: Record, code: int | None, killed: int, stopping: bool) -> Ended:
    def ended(reason: ExitReason, message: str) -> Ended:
        return Ended(reason=reason, code=code or 0, message=message, at=time.time())

    if stopping:
        return ended(ExitReason.STOPPED, "Your server was stopped.")
    if killed and code in (None, 137):
        return ended(
            ExitReason.OUT_OF_MEMORY,
            f"Your server used more than its {format_bytes(record.mem_limit)} of memory "
            "and was stopped. Start it again, and load less data at once.",
        )
    if code is None:
        return ended(ExitReason.GONE, "Your server is gone.")
    return ended(ExitReason.EXITED, f"Your server ended by itself (exit status {code}).")
