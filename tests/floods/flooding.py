"""Many connections at once, and what a flood must not touch."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator

import psutil
import requests
from sites import Hub, Visitor

MB = 1024 * 1024
#: What a server may answer without end (tests/hub/fake_server.py).
KINDS = ("garbage", "headers", "header", "body", "chunks", "wrong", "length", "hints", "slow")


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(psutil.Process(pid).memory_info().rss)


class Drip:
    """Connections that send a piece now and then, in a thread; counts those that the other end closed."""

    def __init__(
        self, port: int, number: int, begin: bytes, piece: bytes, every: float = 0.3
    ) -> None:
        self.open: set[socket.socket] = set()
        self.closed = 0
        self._stop = threading.Event()
        self._piece, self._every = piece, every
        for _ in range(number):
            connection = socket.socket()
            connection.settimeout(5)
            try:
                connection.connect(("127.0.0.1", port))
                connection.sendall(begin)
            except OSError:  # the other end takes no more
                connection.close()
                self.closed += 1
                continue
            connection.setblocking(False)
            self.open.add(connection)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            with selectors.DefaultSelector() as ready:
                for each in self.open:
                    ready.register(each, selectors.EVENT_READ)
                ended = {key.fileobj for key, _ in ready.select(0) if self._is_over(key.fileobj)}  # type: ignore[arg-type]
            for each in list(self.open):
                if each in ended:
                    self.open.discard(each)
                    each.close()
                    self.closed += 1
                    continue
                with contextlib.suppress(OSError):
                    each.send(self._piece)

    @staticmethod
    def _is_over(connection: socket.socket) -> bool:
        try:
            return connection.recv(65536) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def wait_closed(self, number: int, seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while self.closed < number:
            assert time.monotonic() < deadline, f"{len(self.open)} are still open"
            time.sleep(0.2)

    def end(self) -> None:
        self._stop.set()
        self._thread.join()
        for each in self.open:
            each.close()


@contextlib.contextmanager
def dripping(port: int, number: int, begin: bytes, piece: bytes) -> Iterator[Drip]:
    drip = Drip(port, number, begin, piece)
    try:
        yield drip
    finally:
        drip.end()


class Neighbour:
    """Somebody who only wants to work: her page, and a server that she starts and stops."""

    def __init__(self, hub: Hub, name: str = "otso") -> None:
        self.hub, self.name = hub, name
        self.visitor: Visitor = hub.visitor(name)

    def goes_on(self, *, start: bool = True) -> None:
        assert self.visitor.get("/hub/home").status_code == 200
        if start:
            self.start("mlbp2026")
            self.stop("mlbp2026")

    def start(self, server: str) -> None:
        self.visitor.act(f"/hub/go/{server}")
        reply = self.visitor.wait_running(server)
        assert reply.status_code == 200, reply.text[:1000]

    def stop(self, server: str) -> None:
        self.visitor.act(f"/hub/stop/{server}")

    def is_served(self, seconds: float = 5) -> bool:
        """Whether a page comes on a new connection to the hub; for hubs that floods are to hurt.

        Not by the proxy: what it has open to the hub goes on.
        """
        try:
            fresh = requests.get(
                f"http://127.0.0.1:{self.hub.port + 1}/hub/health",
                timeout=seconds,
                headers={"Connection": "close"},
            )
        except requests.RequestException:
            return False
        return fresh.status_code == 200
