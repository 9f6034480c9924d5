"""What bounds a connection to the hub, and the hub's question to a server: by itself, without a hub.

Each flood is tried twice: against the bound, and against tornado as it comes.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from courseyard.hub import bounds

FORM = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n"


class Form(RequestHandler):
    def post(self) -> None:
        self.write(f"{len(self.request.body)}")


@pytest.fixture(params=["bounded", "bare"])
def port(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[int, bool]]:
    """A server of tornado's and whether it is bounded."""
    monkeypatch.setattr(bounds, "_BODY_TIME", 0.5)
    monkeypatch.setattr(bounds, "_QUIET", 0.5)
    loop = asyncio.new_event_loop()
    ports: list[int] = []
    ready = threading.Event()

    async def serve() -> None:
        server = HTTPServer(Application([("/", Form)]))
        server.listen(0, "127.0.0.1")
        if request.param == "bounded":  # after it listens, as the hub does it
            bounds.bound(server)
        ports.extend(s.getsockname()[1] for s in server._sockets.values())
        ready.set()

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    serving = asyncio.run_coroutine_threadsafe(serve(), loop)
    assert ready.wait(10)
    serving.result()
    yield ports[0], request.param == "bounded"
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def ended(port: int, data: bytes, patience: float) -> bool:
    """Whether the server ends a connection that sent ``data`` and then nothing."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        try:
            connection.sendall(data)
            connection.settimeout(patience)
            while connection.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"POST / HTTP/1.1\r\nHost: x\r\n", id="headers that do not end"),
        pytest.param(b"", id="nothing at all"),
        pytest.param(FORM % 1000 + b"a=", id="a body that does not end"),
        pytest.param(FORM % 50_000_000 + b"a=", id="a body that is too large"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"100000\r\n" + b"x" * 2**20 + b"\r\n100000\r\n" + b"x" * 2**20 + b"\r\n2\r\n", id="chunks that are too many"
        ),
    ],
)  # fmt: skip
def test_connections(port: tuple[int, bool], data: bytes) -> None:
    number, bounded = port
    assert ended(number, data, 10 if bounded else 2) == bounded


def test_a_usual_form_is_taken(port: tuple[int, bool]) -> None:
    body = b"a=" + b"x" * 1_000_000
    with socket.create_connection(("127.0.0.1", port[0]), 10) as connection:
        connection.sendall(FORM % len(body) + body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.fixture
def server_of(request: pytest.FixtureRequest) -> Iterator[Callable[[bytes, bytes], int]]:
    """Makes a server that answers with some bytes and then repeats others without end."""
    stop = threading.Event()
    listeners: list[socket.socket] = []

    def answer(connection: socket.socket, begin: bytes, again: bytes) -> None:
        with connection:
            try:
                connection.recv(65536)
                connection.sendall(begin)
                while again and not stop.is_set():
                    connection.sendall(again)
            except OSError:
                return

    def make(begin: bytes, again: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept() -> None:
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.settimeout(5)
                threading.Thread(target=answer, args=(connection, begin, again)).start()

        threading.Thread(target=accept).start()
        return int(listener.getsockname()[1])

    yield make
    stop.set()
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


OK = b"HTTP/1.1 200 OK\r\n"
BLOCK = b"x" * 65536
ANSWERS = {
    "a body": (OK + b"\r\n", BLOCK),
    "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + BLOCK + b"\r\n"),
    "a header": (OK + b"X: ", BLOCK),
    "hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    "garbage": (b"\x00\xff", b"\x80" * 4096),
    "a length": (OK + b"Content-Length: 99999999999\r\n\r\n", BLOCK),
}


async def asked(client: Any, url: str, seconds: float) -> str:
    """What becomes of a question: an error's name, or the size of the answer."""
    try:
        async with asyncio.timeout(20):
            reply = await client.fetch(url, request_timeout=seconds)
        return f"{len(reply.body)} bytes"
    except HTTPClientError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return type(error).__name__
    finally:
        client.close()


@pytest.mark.parametrize("kind", ANSWERS)
async def test_answers_without_end(
    server_of: Callable[[bytes, bytes], int], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question ends without an answer, long before there is much in memory."""
    monkeypatch.setattr(bounds, "_PATIENCE", 3.0)
    url = f"http://127.0.0.1:{server_of(*ANSWERS[kind])}/"
    before = psutil.Process().memory_info().rss
    client = bounds.careful_client()
    async with asyncio.timeout(20):
        assert await bounds.status_of(client, url) in (0, 599)
    client.close()
    assert psutil.Process().memory_info().rss - before < 20 * 1024 * 1024


async def test_an_answer_without_end_in_memory_of_a_usual_client(
    server_of: Callable[[bytes, bytes], int],
) -> None:
    """Tornado's own keeps up to 100 MB of it."""
    sizes: list[int] = []
    begin, block = OK + b"Content-Length: 90000000\r\n\r\n", b"x" * 1_000_000
    for client in (AsyncHTTPClient(force_instance=True), bounds.careful_client()):
        said = await asked(client, f"http://127.0.0.1:{server_of(begin, block)}/", 15)
        sizes.append(int(said.split()[0]) if said.endswith(" bytes") else 0)
    assert sizes == [90_000_000, 0]


@pytest.mark.parametrize("careful", [True, False])
async def test_a_redirect(server_of: Callable[[bytes, bytes], int], careful: bool) -> None:
    """The hub reaches what a server does not; the server must not choose what it asks."""
    hit = server_of(OK + b"Content-Length: 3\r\n\r\nhit", b"")
    begin = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{hit}/\r\nContent-Length: 0\r\n\r\n"
    url = f"http://127.0.0.1:{server_of(begin.encode(), b'')}/"
    client = bounds.careful_client() if careful else AsyncHTTPClient(force_instance=True)
    said = await asked(client, url, 5)
    assert said == ("HTTP 302: Found" if careful else "3 bytes")
