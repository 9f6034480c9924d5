"""Ports of servers that have ended, held until the hub knows of the end.

Until then the proxy goes on to send there what comes with the person's key, cookies with it, and anybody on the
machine, or the next server, could have got the port. Whoever connects is cut off, for which the proxy has a page.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import socket
from pathlib import Path

from courseyard.agent.records import Record
from courseyard.backends.sandbox import network
from courseyard.backends.sandbox.processes import Process

_TOLD = 600.0  # seconds from then on: the hub takes the route away, or starts again and does it
_LONGEST = 24 * 3600.0  # seconds where the hub never asks
_AT_ONCE = 64  # accepted before others have their turn
_PAUSE = 1.0  # seconds, where this process has no descriptors left
_PIDFD_GETFD = 438  # pidfd_getfd(2), on all processors

log = logging.getLogger(__name__)


class HeldPorts:
    """All that one agent holds, by the handles of their servers; used in the agent's event loop."""

    def __init__(self) -> None:
        self._held: dict[str, socket.socket] = {}
        self._ends: dict[str, asyncio.TimerHandle] = {}

    def hold(self, record: Record, entrance: socket.socket | None) -> None:
        """Hold the port of a server that has ended.

        Args:
            entrance: the socket that listens at it since its start; None where that was lost.
        """
        if not record.port or record.handle in self._held:
            return
        try:
            held = entrance or network.listen(record.port)
        except OSError as error:
            log.warning("%s: its port %d is not held: %s", record.handle, record.port, error)
            return
        held.setblocking(False)
        self._held[record.handle] = held
        self._listen(record.handle)
        self._let_go_in(_LONGEST, record.handle)

    def told(self, handle: str) -> None:
        """The hub has heard of the end: let go of the port after a while; no-op for the second time."""
        end, soon = self._ends.get(handle), asyncio.get_running_loop().time() + _TOLD
        if end is not None and end.when() > soon:
            self._let_go_in(_TOLD, handle)

    def close(self) -> None:
        """Let go of all of them."""
        for handle in list(self._held):
            self._let_go(handle)

    def _listen(self, handle: str) -> None:
        if held := self._held.get(handle):
            asyncio.get_running_loop().add_reader(held, self._cut_off, handle)

    def _cut_off(self, handle: str) -> None:
        held = self._held[handle]
        try:
            for _ in range(_AT_ONCE):
                held.accept()[0].close()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no descriptors left: it would be asked again and again
            loop = asyncio.get_running_loop()
            loop.remove_reader(held)
            loop.call_later(_PAUSE, self._listen, handle)

    def _let_go_in(self, seconds: float, handle: str) -> None:
        if before := self._ends.pop(handle, None):
            before.cancel()
        loop = asyncio.get_running_loop()
        self._ends[handle] = loop.call_later(seconds, self._let_go, handle)

    def _let_go(self, handle: str) -> None:
        self._ends.pop(handle).cancel()
        held = self._held.pop(handle)
        asyncio.get_running_loop().remove_reader(held)
        held.close()


def entrance_of(record: Record) -> socket.socket | None:
    """The socket at which a server's carrier listens, of a server that an earlier agent started.

    None where there is none, and where this process may not have it: an ordinary user's, since a carrier is
    closed to its own account.
    """
    if record.carrier is None or not record.inner_port:
        return None
    pid = record.carrier.pid
    with contextlib.suppress(OSError):
        for each in (str(pid), *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            if found := _listening(int(each), record.port):
                return found
    return None


def _listening(pid: int, port: int) -> socket.socket | None:
    """A copy of the socket at which the process ``pid`` listens on ``port`` of loopback."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = Process.of(pid).descriptor()
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if not str(link.readlink()).startswith("socket:"):
                continue
            number = libc.syscall(_PIDFD_GETFD, descriptor, int(link.name), 0)
            if number < 0:
                continue
            copy = socket.socket(fileno=number)
            listens = copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and copy.getsockname() == ("127.0.0.1", port):
                return copy
            copy.close()
    finally:
        os.close(descriptor)
    return None
