"""Slow and large requests, and servers that answer without end: the others go on.

Each pair runs against a hub as it is and against one without the protection, which is seen to suffer.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import requests
from flooding import KINDS, MB, Neighbour, dripping, memory
from sites import Hub

MANY = 200
FORM = "POST /hub/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n"


@pytest.fixture(scope="module")
def neighbour(protected: Hub) -> Neighbour:
    return Neighbour(protected)


def pids(hub: Hub) -> tuple[int, int]:
    assert hub.hub is not None
    assert hub.proxy is not None
    return hub.hub.pid, hub.proxy.pid


def test_slow_headers_at_the_proxy(protected: Hub, neighbour: Neighbour) -> None:
    """They never reach the hub: the proxy passes on whole headers alone."""
    import psutil

    hub, proxy = pids(protected)
    before, files = memory(proxy), psutil.Process(hub).num_fds()
    with dripping(
        protected.port, MANY, b"GET /hub/home HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n"
    ) as drip:
        neighbour.goes_on()
        assert len(drip.open) == MANY
        assert psutil.Process(hub).num_fds() < files + 40
        assert memory(proxy) < before + 100 * MB


def test_headers_without_end_at_the_proxy(protected: Hub, neighbour: Neighbour) -> None:
    """The proxy ends a request whose headers are longer than 64 kB."""
    with dripping(
        protected.port, 50, b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-A: " + b"b" * 20_000 + b"\r\n"
    ) as drip:
        drip.wait_closed(50)
        neighbour.goes_on(start=False)


def test_slow_headers_at_the_hub(protected: Hub, neighbour: Neighbour) -> None:
    """Who reaches the hub's own port, or a server at its door to the API, is cut off."""
    hub = pids(protected)[0]
    before = memory(hub)
    for port in (protected.port + 1, protected.port + 3):
        with dripping(port, MANY, b"GET /hub/api/ HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n") as drip:
            neighbour.goes_on(start=port == protected.port + 1)
            drip.wait_closed(MANY)
    assert memory(hub) < before + 100 * MB


def test_slow_bodies(protected: Hub, neighbour: Neighbour) -> None:
    """Each holds a connection of the hub, until its time is over."""
    begin = FORM.format(1_000_000).encode() + b"username="
    with dripping(protected.port, MANY, begin, b"a") as drip:
        neighbour.goes_on()
        drip.wait_closed(MANY)


def test_slow_bodies_without_the_protection(bare: Hub) -> None:
    """200 connections use up the files of a hub with a usual limit: nobody gets a page."""
    begin = FORM.format(1_000_000).encode() + b"username="
    one = Neighbour(bare)
    with dripping(bare.port, MANY + 20, begin, b"a"):
        deadline = time.monotonic() + 20
        while one.is_served(2):
            assert time.monotonic() < deadline, "the flood does not hurt; is the test one?"
    deadline = time.monotonic() + 30
    while not one.is_served():
        assert time.monotonic() < deadline


def send_large(hub: Hub, megabytes: int, number: int) -> Iterator[socket.socket]:
    """Connections that have sent nearly all of a large form."""
    for _ in range(number):
        connection = socket.create_connection(("127.0.0.1", hub.port), 20)
        yield connection
        with contextlib.suppress(OSError):
            connection.sendall(
                FORM.format(megabytes * MB).encode() + b"a=" + b"x" * (megabytes * MB - 100)
            )


@pytest.mark.parametrize("which", ["protected", "bare"])
def test_large_bodies(which: str, request: pytest.FixtureRequest) -> None:
    hub: Hub = request.getfixturevalue(which)
    before = memory(pids(hub)[0])
    made = list(send_large(hub, 20, 8))
    try:
        time.sleep(1)
        grown = memory(pids(hub)[0]) - before
        if which == "protected":
            assert grown < 40 * MB
            Neighbour(hub).goes_on(start=False)
        else:
            assert grown > 100 * MB  # for anybody, without a password
    finally:
        for each in made:
            each.close()


def test_servers_that_answer_without_end_through_the_proxy(
    protected: Hub, neighbour: Neighbour
) -> None:
    hub, proxy = pids(protected)
    hostile = Neighbour(protected, "aino")
    hostile.start("algo2026")
    before = memory(hub), memory(proxy)
    cookies = "; ".join(f"{c.name}={c.value}" for c in hostile.visitor.cookies)
    readers = []
    for kind in KINDS * 3:
        connection = socket.create_connection(("127.0.0.1", protected.port), 20)
        path = f"/user/aino/algo2026/flood/{kind}"
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookies}\r\n\r\n".encode()
        )
        readers.append(connection)
    stop = threading.Event()

    def read() -> None:  # some read a little, some nothing: what is not read must not pile up
        while not stop.wait(0.05):
            for each in readers[::2]:
                each.setblocking(False)
                with contextlib.suppress(OSError):
                    each.recv(100_000)

    reading = threading.Thread(target=read)
    reading.start()
    try:
        neighbour.goes_on()
        time.sleep(2)
        end = time.monotonic() + 20
        while memory(proxy) > before[1] + 200 * MB:  # Go gives back a moment later
            assert time.monotonic() < end, "it is not given back"
            time.sleep(0.2)
        assert memory(hub) < before[0] + 60 * MB
        assert hostile.visitor.get("/user/aino/algo2026/plan").status_code == 200
    finally:
        stop.set()
        reading.join()
        for each in readers:
            each.close()
        hostile.stop("algo2026")


@pytest.mark.parametrize("kind", KINDS)
def test_servers_that_answer_the_hub_without_end(
    protected: Hub, neighbour: Neighbour, kind: str
) -> None:
    """The hub asks whether a server is up: it fails, or runs, and costs nobody else anything."""
    hub = pids(protected)[0]
    before = memory(hub)
    hostile = Neighbour(protected, "aino")
    hostile.visitor.act(f"/hub/go/flood-{kind}")
    neighbour.goes_on(start=False)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert memory(hub) < before + 60 * MB
        if hostile.visitor.get(f"/hub/spawn-pending/aino/flood-{kind}").status_code != 200:
            break
        time.sleep(0.3)
    hostile.stop(f"flood-{kind}")


def asked_elsewhere(hub: Hub) -> bool:
    """Whether the hub follows a server to another address of this machine."""
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", hub.port - 1)) as listener:
        listener.settimeout(6)
        one = Neighbour(hub, "aino")

        def listen() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                asked.set()
                connection.close()

        listening = threading.Thread(target=listen)
        listening.start()
        with contextlib.suppress(requests.RequestException):
            one.visitor.act("/hub/go/flood-elsewhere")
        listening.join()
        one.stop("flood-elsewhere")
    return asked.is_set()


@pytest.mark.parametrize(("which", "follows"), [("protected", False), ("bare", True)])
def test_a_server_sends_the_hub_nowhere(
    which: str, follows: bool, request: pytest.FixtureRequest
) -> None:
    """A server's answer must not make the hub ask an address that the server cannot reach."""
    assert asked_elsewhere(request.getfixturevalue(which)) == follows
