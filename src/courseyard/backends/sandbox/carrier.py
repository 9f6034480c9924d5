"""Carries the connections of one server: from outside to its port, from its relay's port to the hub.

Two processes beside a server do it. The first one stays in the machine's network namespace; the
second one enters the server's. Each listens on its own side and connects on the other, so what a
server accepts or connects was made in the server's namespace, and of the machine's only bytes come in.
No program of the server sees these processes: they are outside of its PID namespace. Bytes are copied,
four system calls a message: with a megabyte at once splice(2) saves a fifth of the processor time of
much data, and it makes short messages slower.

They need nobody: they go on without the agent and end with the server. Processes and not threads,
because a user namespace can be entered by one thread alone.

``python -I -S carrier.py CHANNEL`` is what carriers are forked from: Python starts once, and they
share its memory. It ends when nobody holds the other end of CHANNEL, a Unix socket of packets; carriers
go on. A request is an object in JSON: ``port``, which the server listens on; ``hub``, address and
port, or null; ``relay``, the port at which servers find the hub; ``uid`` to be when root runs it;
``cgroup``, folders of control groups to be in. With it come descriptors: a Unix socket for the answers,
a pidfd of the server, and a listening socket outside, or none. The answers are the carrier's pid, and
then ``ok``, or what failed. Standard library only, and no thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
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
LONGEST = 64 * 1024  # bytes of a request
LOOPBACK = "127.0.0.1"
IN, OUT = 1000, 64  # connections at once
AT_ONCE = 64  # accepted before others have their turn
PAUSE = 0.05  # seconds, where the machine has no descriptors left
CHUNK = 1024 * 1024  # bytes read at once; what cannot be sent of them waits
HELD, SMALL = 8 * CHUNK, 4096  # where so much waits in all, only so little is read at once
RESET = struct.pack("ii", 1, 0)  # struct linger: close by a reset

NOTHING = memoryview(b"")

_buffer = memoryview(bytearray(CHUNK))


class Way:
    """One direction of a connection; found by the descriptor that it reads."""

    __slots__ = ("back", "events", "over", "source", "target", "waiting")

    back: Way  # the other direction

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.waiting = NOTHING  # was read, and could not be sent yet
        self.over = False  # the source has ended, and the target was told
        self.events: int | None = None  # waited for at the source


class Carrier:
    """Carries what arrives at ``listener`` to ``target``, ``most`` connections at once."""

    def __init__(self, listener: socket.socket, target: tuple[str, int], most: int) -> None:
        self._listener = listener
        self._target = target
        self._most = min(most, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 32) // 2)
        self._poll = select.epoll()
        self._ways: dict[int, Way] = {}
        self._held = 0  # bytes that wait, of all connections
        self._listens = False
        listener.setblocking(False)

    def run(self, ends: list[int]) -> None:
        """Carry until a process among ``ends``, which are pidfds, has ended."""
        for end in ends:
            self._poll.register(end, select.EPOLLIN)
        listener = self._listener.fileno()
        while True:
            self._listen(len(self._ways) < 2 * self._most)
            arrived = False
            for number, event in self._poll.poll():
                if way := self._ways.get(number):
                    self._turn(way, event)
                elif number == listener:
                    arrived = True
                elif number in ends:
                    return
            # Last: a new connection may get the descriptor of one that an event was about.
            if arrived:
                self._accept()

    def _listen(self, wanted: bool) -> None:
        if wanted != self._listens:
            self._listens = wanted
            if wanted:
                self._poll.register(self._listener, select.EPOLLIN)
            else:
                self._poll.unregister(self._listener)

    def _accept(self) -> None:
        for _ in range(min(AT_ONCE, self._most - len(self._ways) // 2)):
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
            self._open(near, far)

    def _open(self, near: socket.socket, far: socket.socket) -> None:
        way = Way(near, far)
        way.back = Way(far, near)
        way.back.back = way
        try:
            for end in (near, far):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(BlockingIOError):
                far.connect(self._target)
            for each in (way, way.back):
                self._ways[each.source.fileno()] = each
                self._watch(each)
        except OSError:
            self._close(way, reset=True)

    def _watch(self, way: Way) -> None:
        """Wait at the source for what can be done: read it, or write what waits for it."""
        reads = not (way.over or way.waiting)
        events = (select.EPOLLIN if reads else 0) | (select.EPOLLOUT if way.back.waiting else 0)
        if way.events is None:
            self._poll.register(way.source, events)
        elif events != way.events:
            self._poll.modify(way.source, events)
        way.events = events

    def _turn(self, way: Way, event: int) -> None:
        """What an event at the source allows: one chunk each way, so that everybody has a turn."""
        try:
            if event & select.EPOLLERR:
                self._close(way, reset=True)
                return
            if event & select.EPOLLOUT:
                self._send(way.back, way.back.waiting)
            if event & (select.EPOLLIN | select.EPOLLHUP):
                self._read(way)
        except BlockingIOError:
            return
        except OSError:
            self._close(way, reset=True)

    def _read(self, way: Way) -> None:
        if way.over or way.waiting:  # both sides of it have ended, which epoll says unasked
            self._poll.unregister(way.source)
            way.events = None
            return
        size = way.source.recv_into(_buffer, CHUNK if self._held < HELD else SMALL)
        if size:
            self._send(way, _buffer[:size])
            # The next part of an answer may wait for this part's acknowledgement, which the kernel
            # would hold back 40 ms: Jupyter's WebSockets go by Nagle's algorithm.
            way.source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            return
        way.over = True
        way.target.shutdown(socket.SHUT_WR)
        if way.back.over:
            self._close(way, reset=False)
        else:
            self._watch(way)

    def _send(self, way: Way, data: memoryview) -> None:
        """Send ``data``, which is in the common buffer or waits already; what is left waits."""
        try:
            sent = way.target.send(data)
        except BlockingIOError:
            sent = 0
        left = data[sent:]
        if left and way.waiting:
            way.waiting = left
        elif left or way.waiting:
            self._release(way)
            way.waiting = memoryview(bytes(left))  # the common buffer is everybody's
            self._held += len(left)
            self._watch(way)
            self._watch(way.back)

    def _release(self, way: Way) -> None:
        if way.waiting:
            self._held -= len(way.waiting.obj)  # type: ignore[arg-type]  # all of it was kept
            way.waiting = NOTHING

    def _close(self, way: Way, *, reset: bool) -> None:
        for each in (way, way.back):
            end = each.source
            self._ways.pop(end.fileno(), None)
            self._release(each)
            if reset:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.close()


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


def outside(
    wanted: dict[str, Any], channel: socket.socket, child: int, answers: socket.socket
) -> None:
    """The process in the machine's network namespace."""
    said, listeners, _, _ = socket.recv_fds(channel, 1024, 1)
    channel.close()
    if said != b"ok":
        answers.send(said)
        return
    drop(wanted["uid"])
    ends = [wanted["server"]]
    if wanted["entrance"] is None:
        os.waitpid(child, 0)
    else:
        os.close(wanted["entrance"])
        ends.append(os.pidfd_open(child))
    answers.send(said)
    answers.close()
    if wanted["hub"]:
        address, port = wanted["hub"]
        Carrier(socket.socket(fileno=listeners[0]), (address, port), OUT).run(ends)
    else:
        select.select(ends, [], [])


def carry(wanted: dict[str, Any], answers: socket.socket) -> None:
    """All that a carrier does, from its fork to its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    answers.send(str(os.getpid()).encode())
    try:
        for folder in wanted["cgroup"]:
            with open(f"{folder}/cgroup.procs", "w") as file:
                file.write("0")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent, child = os.getpid(), os.fork()
    except OSError as error:
        answers.send(f"{type(error).__name__}: {error}".encode())
        return
    if child == 0:
        ours.close()
        answers.close()
        inside(wanted, theirs, parent)
    else:
        theirs.close()
        outside(wanted, ours, child, answers)


def forked() -> bool:
    """Whether this is a new process; False too where there is none, which who asked will see."""
    try:
        return os.fork() == 0
    except OSError:
        return False


def main() -> None:
    """Fork a carrier for each request, until nobody is left who asks."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # how a carrier ended is asked by nobody
    gc.collect()
    gc.freeze()  # carriers share what is here as long as it is not written to
    while True:
        request, passed, flags, _ = socket.recv_fds(requests, LONGEST, 3)
        if not request:
            return
        if not flags & socket.MSG_CTRUNC and forked():
            requests.close()
            wanted = json.loads(request)
            answers, wanted["server"], wanted["entrance"] = (*passed, None)[:3]
            carry(wanted, socket.socket(fileno=answers))
            os._exit(0)  # Python's own end would write to all that is shared
        for number in passed:
            os.close(number)


if __name__ == "__main__":
    main()
