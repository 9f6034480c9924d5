"""Carries the connections of one server: from outside to its port, from its relay's port to the hub.

Run as ``python -I -S carrier.py WANTED`` beside a server, in two processes. The first one stays in
the machine's network namespace; the second one enters the server's. Each listens on its own side and
connects on the other, so what a server accepts or connects was made in the server's namespace,
and of the machine's only bytes come in. No program of the server sees these processes: they are
outside of its PID namespace. Bytes are copied: splice(2) saved a fifth of the processor time that
much data costs, and made short messages slower.

It needs nobody: it goes on without the agent and ends with the server. Alone in processes, because
a user namespace can be entered by one thread alone. Standard library only: it starts with each server.

``WANTED`` is an object in JSON: ``server``, a pidfd of the server; ``entrance``, a listening socket
outside, or null; ``port``, which the server listens on; ``hub``, address and port, or null; ``relay``,
the port at which servers find the hub; ``uid`` to be when root runs it. On its standard output it
says ``ok``, or what failed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from typing import Any

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # setns(2)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38  # prctl(2)
CAPABILITY_VERSION_3 = 0x20080522  # capset(2)
NOBODY = 65534  # GID
LOOPBACK = "127.0.0.1"
IN, OUT = 1000, 64  # connections at once
AT_ONCE = 64  # accepted before others have their turn
PAUSE = 0.05  # seconds, where the machine has no descriptors left
CHUNK = 64 * 1024  # bytes, of which one direction of a connection keeps one at most
RESET = struct.pack("ii", 1, 0)  # struct linger: close by a reset
EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET

_buffer = memoryview(bytearray(CHUNK))


class Way:
    """One direction of a connection."""

    __slots__ = ("over", "source", "target", "waiting")

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.waiting: memoryview | None = None
        self.over = False

    def move(self) -> bool:
        """Move one chunk; whether more may be moved at once.

        Raises:
            OSError: one of the ends is broken.
        """
        if self.over:
            return False
        try:
            data = self.waiting
            if data is None:
                data = _buffer[: self.source.recv_into(_buffer)]
                if not data:
                    self.over = True
                    self.target.shutdown(socket.SHUT_WR)
                    return False
            self._send(data)
        except BlockingIOError:
            return False
        return True

    def _send(self, data: memoryview) -> None:
        try:
            sent = self.target.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            self.waiting = None
        elif self.waiting is None:
            self.waiting = memoryview(bytes(data[sent:]))  # the buffer is everybody's
        else:
            self.waiting = data[sent:]
        if not sent:
            raise BlockingIOError


class Connection:
    """Both directions."""

    __slots__ = ("ends", "ways")

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.ends = (near, far)
        self.ways = (Way(near, far), Way(far, near))

    def move(self) -> bool:
        first, second = self.ways
        return first.move() | second.move()

    @property
    def over(self) -> bool:
        return self.ways[0].over and self.ways[1].over

    def close(self, *, reset: bool) -> None:
        for end in self.ends:
            if reset:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.close()


class Carrier:
    """Carries what arrives at ``listener`` to ``target``, ``most`` connections at once."""

    def __init__(self, listener: socket.socket, target: tuple[str, int], most: int) -> None:
        self._listener = listener
        self._target = target
        self._most = min(most, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 32) // 2)
        self._poll = select.epoll()
        self._connections: dict[int, Connection] = {}  # each by both its descriptors
        self._ready: set[Connection] = set()
        self._listens = False
        listener.setblocking(False)

    def run(self, ends: list[int]) -> None:
        """Carry until a process among ``ends``, which are pidfds, has ended."""
        for end in ends:
            self._poll.register(end, select.EPOLLIN)
        while True:
            self._listen(len(self._connections) < 2 * self._most)
            events = self._poll.poll(0 if self._ready else None)
            for number, event in events:
                if number in ends:
                    return
                if connection := self._connections.get(number):
                    if event & select.EPOLLERR:
                        self._close(connection, reset=True)
                    else:
                        self._ready.add(connection)
            for connection in list(self._ready):
                self._turn(connection)
            # Last: a new connection may get the descriptor of one that an event was about.
            if any(number == self._listener.fileno() for number, _ in events):
                self._accept()

    def _listen(self, wanted: bool) -> None:
        if wanted != self._listens:
            self._listens = wanted
            if wanted:
                self._poll.register(self._listener, select.EPOLLIN)
            else:
                self._poll.unregister(self._listener)

    def _accept(self) -> None:
        for _ in range(min(AT_ONCE, self._most - len(self._connections) // 2)):
            try:
                near, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:
                time.sleep(PAUSE)
                return
            try:
                far = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            except OSError:
                near.close()
                time.sleep(PAUSE)
                return
            self._open(Connection(near, far))

    def _open(self, connection: Connection) -> None:
        try:
            for end in connection.ends:
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(BlockingIOError):
                connection.ends[1].connect(self._target)
            for end in connection.ends:
                self._connections[end.fileno()] = connection
                self._poll.register(end, EVENTS)
        except OSError:
            self._close(connection, reset=True)

    def _turn(self, connection: Connection) -> None:
        """One chunk each way, so that everybody has a turn."""
        try:
            more = connection.move()
        except OSError:
            self._close(connection, reset=True)
            return
        if connection.over:
            self._close(connection, reset=False)
        elif not more:
            self._ready.discard(connection)

    def _close(self, connection: Connection, *, reset: bool) -> None:
        self._ready.discard(connection)
        for end in connection.ends:
            self._connections.pop(end.fileno(), None)
        connection.close(reset=reset)


def enter(server: int) -> None:
    """Enter the network namespace of the process of a pidfd, and its user namespace unless root."""
    spaces = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(server, spaces) != 0:
        raise OSError(ctypes.get_errno(), "the network namespace cannot be entered")


def drop(uid: int, *, parent: int = 0) -> None:
    """Give every right up for good; die with the process ``parent``."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0 and uid:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(uid, uid, uid)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "the capabilities cannot be dropped")
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    # Last, because the kernel forgets it when rights change.
    if parent:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def inside(wanted: dict[str, Any], channel: socket.socket, parent: int) -> None:
    """The process in the server's network namespace."""
    try:
        enter(wanted["server"])
        relays = []
        if wanted["hub"]:
            relays.append(socket.create_server((LOOPBACK, wanted["relay"]), backlog=OUT))
        drop(wanted["uid"], parent=parent)
        socket.send_fds(channel, [b"ok"], [relay.fileno() for relay in relays])
    except OSError as error:
        channel.send(f"{type(error).__name__}: {error}".encode())
        return
    for each in (*relays, channel):
        each.close()
    if wanted["entrance"] is not None:
        entrance = socket.socket(fileno=wanted["entrance"])
        Carrier(entrance, (LOOPBACK, wanted["port"]), IN).run([wanted["server"]])


def outside(wanted: dict[str, Any], channel: socket.socket, child: int) -> None:
    """The process in the machine's network namespace."""
    said, listeners, _, _ = socket.recv_fds(channel, 1024, 1)
    channel.close()
    if said != b"ok":
        os.write(1, said)
        return
    drop(wanted["uid"])
    ends = [wanted["server"]]
    if wanted["entrance"] is None:
        os.waitpid(child, 0)
    else:
        os.close(wanted["entrance"])
        ends.append(os.pidfd_open(child))
    os.write(1, said)
    os.dup2(0, 1)
    if wanted["hub"]:
        address, port = wanted["hub"]
        Carrier(socket.socket(fileno=listeners[0]), (address, port), OUT).run(ends)
    else:
        select.select(ends, [], [])


def main() -> None:
    wanted = json.loads(sys.argv[1])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        ours.close()
        os.dup2(0, 1)  # nothing
        inside(wanted, theirs, parent)
    else:
        theirs.close()
        outside(wanted, ours, child)


if __name__ == "__main__":
    main()
