"""The proxy as a site runs it, between slow clients and servers that answer without end."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from flooding import MB, dripping, memory
from sites import Hub
from test_floods_bounds import ANSWERS, server_of  # noqa: F401  a fixture

from courseyard.hub.login import ENTRY
from courseyard.hub.places import Places
from courseyard.sitefile import load_site

MANY = 200


class Quiet(http.server.BaseHTTPRequestHandler):
    """A neighbour's server."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"fine")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def neighbour() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(10)


class Proxy:
    """Traefik with the site's own configuration, and routes to servers of a test."""

    def __init__(self, folder: Path, servers: dict[str, int]) -> None:
        self.hub = Hub(folder / "site")
        routers = {
            name: {"rule": f"PathPrefix(`/{name}`)", "entryPoints": [ENTRY], "service": name}
            for name in servers
        }
        services = {
            name: {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{port}"}]}}
            for name, port in servers.items()
        }
        self.hub.start_proxy()
        routes = Places(load_site(self.hub.folder)).routes_dir / "servers.yaml"
        routes.write_text(json.dumps({"http": {"routers": routers, "services": services}}))
        assert self.hub.proxy is not None
        self.pid = self.hub.proxy.pid
        deadline = time.monotonic() + 30
        while not self.serves(next(iter(servers))):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def serves(self, name: str) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.hub.base}/{name}", timeout=10).text == "fine"
        return False


@pytest.fixture
def proxy(tmp_path: Path, neighbour: int, server_of) -> Iterator[Proxy]:  # type: ignore[no-untyped-def]  # noqa: F811
    servers = {"quiet": neighbour}
    servers |= {f"flood-{n}": server_of(*answer) for n, answer in enumerate(ANSWERS.values())}
    made = Proxy(tmp_path, servers)
    yield made
    made.hub.close()


def test_slow_headers(proxy: Proxy) -> None:
    """200 that never end: the proxy waits for them without a thread or a server for each."""
    before = memory(proxy.pid)
    with dripping(
        proxy.hub.port, MANY, b"GET /quiet HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n"
    ) as drip:
        assert proxy.serves("quiet")
        assert len(drip.open) == MANY
        assert memory(proxy.pid) < before + 100 * MB


def test_long_headers(proxy: Proxy) -> None:
    """Headers over 64 kB end the connection."""
    begin, piece = b"GET /quiet HTTP/1.1\r\nHost: x\r\n", b"X-A: " + b"b" * 20_000 + b"\r\n"
    with dripping(proxy.hub.port, 50, begin, piece) as drip:
        drip.wait_closed(50)
        assert proxy.serves("quiet")


def test_slow_bodies(proxy: Proxy) -> None:
    begin = b"POST /quiet HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with dripping(proxy.hub.port, MANY, begin, b"a"):
        assert proxy.serves("quiet")


def test_servers_that_answer_without_end(proxy: Proxy) -> None:
    """What a client does not read stays at the server; headers have an end; nobody else waits."""
    before = memory(proxy.pid)
    readers = []
    for number in range(len(ANSWERS)):
        for _ in range(10):
            reader = socket.create_connection(("127.0.0.1", proxy.hub.port), 20)
            reader.sendall(f"GET /flood-{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            readers.append(reader)
    try:
        # Headers without end are read up to a limit at once, and Go gives that back a moment later: seen
        # to go up by 450 MB and down to 25 MB within five seconds.
        begun, end = time.monotonic(), time.monotonic() + 25
        while time.monotonic() < begun + 5 or memory(proxy.pid) > before + 250 * MB:
            assert time.monotonic() < end, "it is not given back"
            assert proxy.serves("quiet")
            assert memory(proxy.pid) < before + 1000 * MB
            for reader in readers[::2]:  # some read a little, some nothing
                reader.setblocking(False)
                with contextlib.suppress(OSError):
                    reader.recv(100_000)
    finally:
        for reader in readers:
            reader.close()
