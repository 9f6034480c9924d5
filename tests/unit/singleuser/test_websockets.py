"""Which answers of a server get the script that marks WebSockets, and that these stay whole."""

from __future__ import annotations

import asyncio
import functools
import urllib.request
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from courseyard.singleuser.hubauth import needs_xsrf
from courseyard.singleuser.websockets import Marking

PAGE = '<!doctype html><html><head><title>Ö</title></head><body><script id="jupyter-config-data">'


class Answer(RequestHandler):
    def initialize(self, text: str, kind: str, parts: bool = False) -> None:
        self.text, self.kind, self.parts = text, kind, parts

    async def get(self) -> None:
        self.set_header("Content-Type", self.kind)
        if self.parts:
            await self.flush()
        self.finish(self.text)


@pytest.fixture
async def base() -> Any:
    html = "text/html; charset=UTF-8"
    application = Application(
        [
            ("/page", Answer, {"text": PAGE, "kind": html}),
            ("/other", Answer, {"text": PAGE.replace("jupyter-config-data", "x"), "kind": html}),
            ("/data", Answer, {"text": PAGE, "kind": "application/json"}),
            ("/parts", Answer, {"text": PAGE, "kind": html, "parts": True}),
        ]
    )
    application.add_transform(functools.partial(Marking, base_url="/user/ada/</script>/"))
    server = HTTPServer(application)
    server.listen(0, address="127.0.0.1")
    (port,) = {s.getsockname()[1] for s in server._sockets.values()}
    yield f"http://127.0.0.1:{port}"
    server.stop()


async def read(address: str) -> str:

    def get() -> str:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(get)


async def test_a_page_of_jupyters_is_marked(base: str) -> None:
    text = await read(f"{base}/page")
    head, _, rest = text.partition("<head>")
    assert rest.startswith("<script>(root")
    assert rest.count("</script>") == 1
    assert '"/user/ada/\\u003c/script>/"' in rest
    assert rest.endswith(PAGE.partition("<head>")[2])
    assert head == PAGE.partition("<head>")[0]


@pytest.mark.parametrize("path", ["other", "data", "parts"])
async def test_nothing_else_is(base: str, path: str) -> None:
    assert "<script>(root" not in await read(f"{base}/{path}")


class Request:
    def __init__(self, upgrade: str) -> None:
        self.headers = {"Upgrade": upgrade} if upgrade else {}


class Handler:
    def __init__(self, upgrade: str = "") -> None:
        self.request = Request(upgrade)


class Proxied(Handler):
    pass


Proxied.__module__ = "jupyter_server_proxy.handlers"


def test_what_must_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert needs_xsrf(Handler("WebSocket"))
    assert not needs_xsrf(Handler())
    assert not needs_xsrf(Proxied("websocket"))
    monkeypatch.setenv("WEBSOCKETS_WITHOUT_XSRF", "1")
    assert not needs_xsrf(Handler("websocket"))
