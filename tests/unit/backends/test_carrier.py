"""The carrier passes on what TCP can say, bounds what waits, and lets nobody wait for another."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from courseyard.backends.sandbox import carrier

Carry = Callable[..., tuple[tuple[str, int], socket.socket]]


@pytest.fixture
def carry() -> Iterator[Carry]:
    """Carry from a new address to a new listener: the address, and the listener."""
    with contextlib.ExitStack() as stack:

        def made(most: int = 100, backlog: int = 1000) -> tuple[tuple[str, int], socket.socket]:
            entrance = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=backlog))
            target = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=backlog))
            target.settimeout(30)
            end, kept = os.pipe()
            stack.callback(os.close, end)
            where = entrance.getsockname()
            runs = carrier.Carrier(entrance, target.getsockname(), most)
            thread = threading.Thread(target=runs.run, args=([end],), daemon=True)
            thread.start()
            stack.callback(thread.join, 30)
            stack.callback(os.close, kept)  # its end is as a process's: readable
            return where, target

        yield made


def both(where: tuple[str, int], target: socket.socket) -> tuple[socket.socket, socket.socket]:
    near = socket.create_connection(where, 30)
    far, _ = target.accept()
    far.settimeout(30)
    return near, far


def test_each_way_ends_by_itself(carry: Carry) -> None:
    near, far = both(*carry())
    with near, far:
        near.sendall(b"question")
        near.shutdown(socket.SHUT_WR)
        with far.makefile("rb") as stream:
            assert stream.read() == b"question"
        time.sleep(0.1)  # the answer comes long after the end of the question
        far.sendall(b"answer")
        far.shutdown(socket.SHUT_WR)
        with near.makefile("rb") as stream:
            assert stream.read() == b"answer"


@pytest.mark.parametrize("side", [0, 1])
def test_a_reset_is_passed_on(carry: Carry, side: int) -> None:
    ends = both(*carry())
    with ends[0], ends[1]:
        ends[1 - side].sendall(b"x")
        assert ends[side].recv(1) == b"x"
        ends[side].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ends[side].close()
        with pytest.raises(ConnectionResetError):
            ends[1 - side].recv(1)


def test_nobody_listens(carry: Carry) -> None:
    where, target = carry()
    target.close()
    with pytest.raises(ConnectionResetError), socket.create_connection(where, 30) as near:
        near.recv(1)


def test_large_and_whole_both_ways_at_once(carry: Carry) -> None:
    near, far = both(*carry())
    content = os.urandom(1024) * 32 * 1024

    def digest(end: socket.socket, into: list[str]) -> None:
        known = hashlib.sha256()
        while data := end.recv(1 << 16):
            known.update(data)
        into.append(known.hexdigest())

    def send(end: socket.socket) -> None:
        end.sendall(content)
        end.shutdown(socket.SHUT_WR)

    got: list[str] = []
    threads = [threading.Thread(target=digest, args=(end, got)) for end in (near, far)]
    threads += [threading.Thread(target=send, args=(end,)) for end in (near, far)]
    with near, far:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert got == [hashlib.sha256(content).hexdigest()] * 2


def test_who_does_not_read_holds_up_the_sender_alone(carry: Carry) -> None:
    where, target = carry()
    near, far = both(where, target)
    before = resident()
    with near, far:
        near.setblocking(False)
        sent, data = 0, bytes(1 << 16)
        while select.select([], [near], [], 0.5)[1]:
            sent += near.send(data)
            assert sent < 256 * 1024**2
        others = both(where, target)
        with others[0], others[1]:
            others[0].sendall(b"x")
            assert others[1].recv(1) == b"x"
        assert resident() - before < 8 * 1024**2
        near.shutdown(socket.SHUT_WR)
        while sent and (got := far.recv(1 << 20)):
            sent -= len(got)
        assert sent == 0


def fill(end: socket.socket) -> int:
    """Send until nothing more is taken; the number of bytes."""
    end.setblocking(False)
    sent, data = 0, bytes(1 << 20)
    while select.select([], [end], [], 0.5)[1]:
        sent += end.send(data)
    end.settimeout(30)
    return sent


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_what_waits_is_bounded_in_all(carry: Carry) -> None:
    where, target = carry()
    with contextlib.ExitStack() as stack:
        pairs = []
        for _ in range(60):
            pairs.append(both(where, target))
            for end in pairs[-1]:
                stack.enter_context(end)
            pairs[-1][0].setblocking(False)
        before, data, sent = resident(), bytes(1 << 20), [0] * len(pairs)
        nears = [near for near, _ in pairs]
        while ready := select.select([], nears, [], 0.5)[1]:
            for near in ready:
                sent[nears.index(near)] += near.send(data)
        assert resident() - before < carrier.HELD + 4 * carrier.CHUNK
        for (_, far), count in zip(pairs, sent, strict=True):
            while count:
                count -= len(far.recv(1 << 20))
        near, far = pairs[0]
        near.sendall(b"x")
        assert far.recv(2) == b"x"


def test_an_end_behind_what_waits(carry: Carry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides of an end are over while its last bytes wait: nobody turns in circles meanwhile."""
    near, far = both(*carry())
    turns: list[carrier.Way] = []
    turn = carrier.Carrier._turn
    monkeypatch.setattr(
        carrier.Carrier, "_turn", lambda *args: turns.append(args[1]) or turn(*args)
    )
    with near, far:
        far.shutdown(socket.SHUT_WR)
        assert near.recv(1) == b""
        sent = 0
        while not any(way.waiting for way in turns):
            near.sendall(bytes(1 << 18))
            sent += 1 << 18
            time.sleep(0.01)
        near.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        before = len(turns)
        time.sleep(0.3)
        assert len(turns) - before < 10
        while data := far.recv(1 << 20):
            sent -= len(data)
        assert sent == 0


def test_a_reset_of_who_waits_is_passed_on(carry: Carry) -> None:
    near, far = both(*carry())
    with near, far:
        fill(near)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        near.close()
        with pytest.raises(ConnectionResetError):
            while far.recv(1 << 20):
                pass


def test_a_flood_lets_others_through(carry: Carry) -> None:
    where, target = carry(most=400)
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            near, far = both(where, target)
            stack.enter_context(near)
            stack.enter_context(far)
        stop = threading.Event()

        def push(end: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while not stop.is_set():
                    end.sendall(bytes(1 << 16))

        def swallow(end: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while end.recv(1 << 20):
                    pass

        loud = [both(where, target) for _ in range(4)]
        threads = [threading.Thread(target=push, args=(pair[0],)) for pair in loud]
        threads += [threading.Thread(target=swallow, args=(pair[1],)) for pair in loud]
        for thread in threads:
            thread.start()
        near, far = both(where, target)
        with near, far:
            for _ in range(50):
                near.sendall(b"question")
                assert far.recv(100) == b"question"
                far.sendall(b"answer")
                assert near.recv(100) == b"answer"
        stop.set()
        for pair in loud:
            pair[0].close()
        for thread in threads:
            thread.join(30)
        for pair in loud:
            pair[1].close()


def test_more_than_the_most_wait_for_their_turn(carry: Carry) -> None:
    where, target = carry(most=3)
    pairs = [both(where, target) for _ in range(3)]
    late = socket.create_connection(where, 30)
    late.sendall(b"late")
    assert not select.select([target], [], [], 0.3)[0]
    for end in pairs[0]:
        end.close()
    far, _ = target.accept()
    with late, far:
        assert far.recv(10) == b"late"
    for pair in pairs[1:]:
        for end in pair:
            end.close()


def test_it_ends_with_the_process(tmp_path: object) -> None:
    entrance = socket.create_server(("127.0.0.1", 0))
    runs = carrier.Carrier(entrance, ("127.0.0.1", 1), 10)
    with subprocess.Popen(["sleep", "300"]) as process:
        end = os.pidfd_open(process.pid)
        thread = threading.Thread(target=runs.run, args=([end],), daemon=True)
        thread.start()
        process.kill()
        thread.join(30)
        assert not thread.is_alive()
    os.close(end)
    entrance.close()
