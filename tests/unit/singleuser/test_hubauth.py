"""Whom a server lets in while its hub is there, away, silent, and there again: a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tornado.web import HTTPError

from courseyard.singleuser import hubauth

OMAR = {"name": "omar", "kind": "user", "scopes": []}


class SmallHub:
    """Answers who has the token `good`; its port stays the same when it is away."""

    def __init__(self) -> None:
        self.people: dict[str, Any] = {"good": OMAR}
        self.status = 200
        self.asked = 0
        self.port = 0
        self.go_on = threading.Event()
        self.go_on.set()

    @contextmanager
    def running(self) -> Iterator[None]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.asked += 1
                hub.go_on.wait(20)
                person = hub.people.get(self.headers["Authorization"].removeprefix("token "))
                body = json.dumps(person or {"status": 403}).encode()
                status = hub.status if person or hub.status != 200 else 403
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self.go_on.set()
            server.shutdown()
            server.server_close()
            thread.join()


class Server:
    """The part of a person's server that asks the hub."""

    def __init__(self, hub: SmallHub) -> None:
        url = f"http://127.0.0.1:{hub.port}/hub/api"
        self.auth = hubauth.PatientHubOAuth(api_url=url, api_token="own")

    async def who(self, token: str, session: str = "browser") -> Any:
        """Asked after JupyterHub's five minutes."""
        self.auth.cache.clear()
        return await self.auth.user_for_token(token, session_id=session, sync=False)


@pytest.fixture
def hub() -> SmallHub:
    return SmallHub()


async def test_a_hub_that_is_away(hub: SmallHub) -> None:
    with hub.running():
        server = Server(hub)
        assert await server.who("good") == OMAR
        assert await server.who("wrong") is None
    assert await server.who("good") == OMAR
    for token, session in [("wrong", "browser"), ("new", "browser"), ("good", "another")]:
        with pytest.raises(HTTPError):
            await server.who(token, session)


async def test_a_hub_that_fails_or_is_silent(
    hub: SmallHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubauth, "_PATIENCE", 0.2)
    with hub.running():
        server = Server(hub)
        assert await server.who("good") == OMAR
        hub.status = 503
        assert await server.who("good") == OMAR
        hub.status = 200
        hub.go_on.clear()
        assert await server.who("good") == OMAR
    assert hub.asked == 3


async def test_what_the_hub_says_holds(hub: SmallHub) -> None:
    """A token that it no longer knows is refused at once, and also while it is away afterwards."""
    with hub.running():
        server = Server(hub)
        assert await server.who("good") == OMAR
        hub.people.clear()
        assert await server.who("good") is None
    with pytest.raises(HTTPError):
        await server.who("good")


async def test_an_answer_ends(hub: SmallHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub.running():
        server = Server(hub)
        assert await server.who("good") == OMAR
        server.auth.last.timestamps = dict.fromkeys(server.auth.last.timestamps, float("-inf"))
    with pytest.raises(HTTPError):
        await server.who("good")


async def test_a_request_that_may_not_use_what_was_said_before(hub: SmallHub) -> None:
    with hub.running():
        server = Server(hub)
        assert await server.who("good") == OMAR
    with pytest.raises(HTTPError):
        await server.auth.user_for_token("good", use_cache=False, session_id="browser", sync=False)
