"""What the hub takes and gives at its own host and at a person's, with a handler of JupyterHub's class."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.handlers.base import BaseHandler
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from courseyard.hub import ownhost
from courseyard.hub.runtime import SETTING
from courseyard.settings import Site

HUB, OTHER = "hub.example.org", "otso.hub.example.org"
SESSION = "jupyterhub-session-id"
Headers = dict[str, str]


class Probe(BaseHandler):
    """Says which cookies came, and sets JupyterHub's."""

    def get(self, *_: Any) -> None:
        self._set_cookie(SESSION, "true", encrypted=False, path="/", domain=HUB)
        self.set_cookie("_xsrf", "token", path="/hub/", max_age=3600)
        self._set_cookie("__Host-jupyterhub-hub-login", "me", encrypted=False, path="/hub/")
        self.clear_cookie("gone", path="/hub/")
        self.write({name: morsel.value for name, morsel in self.request.cookies.items()})

    post = get

    def finish(self, *chunk: Any) -> Any:
        return RequestHandler.finish(self, *chunk)

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_cookie("_xsrf", "token")  # as a page of an error does
        self.finish("no")


async def _nobody(self: BaseHandler) -> None:
    assert "evil" not in self.request.headers.get("Cookie", ""), "read before it was looked through"


def serve(url: str) -> Application:
    site = Site.model_validate({"hub": {"subdomains": bool(url), "public_url": url or None}})
    settings = {
        SETTING: SimpleNamespace(site=site),
        "hub": SimpleNamespace(base_url="/hub/"),
        "headers": {"Content-Security-Policy": "x"},
        "cookie_secret": "x" * 32,
    }
    return Application([(r"/(.*)", Probe)], **settings)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(BaseHandler, "prepare", _nobody)
    monkeypatch.setattr(BaseHandler, "set_cookie", RequestHandler.set_cookie, raising=False)
    ownhost.install()
    ownhost.install()  # a second site in one process changes nothing
    yield


async def ask(url: str, host: str, path: str, method: str = "GET", **headers: str) -> Any:
    server, (sock, port) = HTTPServer(serve(url)), bind_unused_port()
    server.add_socket(sock)

    def request() -> tuple[int, str, list[str]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers={"Host": host, **named})
        reply = connection.getresponse()
        return reply.status, reply.read().decode(), reply.headers.get_all("Set-Cookie") or []

    try:
        return await asyncio.to_thread(request)
    finally:
        server.stop()
        await server.close_all_connections()


HTTPS = f"https://{HUB}/"


async def test_the_hubs_own_cookies(installed: None) -> None:
    given = "_xsrf=evil; __Host-_xsrf=good; jupyterhub-session-id=evil; __Host-a=b"
    status, body, cookies = await ask(HTTPS, HUB, "/hub/home", Cookie=given)
    assert status == 200
    assert "evil" not in body
    assert '"_xsrf": "good"' in body
    assert '"a": "b"' in body
    names = {c.partition("=")[0]: c for c in cookies}
    assert set(names) == {
        "__Host-jupyterhub-session-id", SESSION, "__Host-_xsrf", "__Host-jupyterhub-hub-login",
        "__Host-gone",
    }  # fmt: skip
    for name, cookie in names.items():
        parts = {part.strip().lower() for part in cookie.split(";")}
        assert {"path=/", "secure"} <= parts, cookie
        assert any(p.startswith("domain=") for p in parts) == (name == SESSION), cookie
    assert "true" in names["__Host-jupyterhub-session-id"]
    assert "true" not in names[SESSION]


@pytest.mark.parametrize("host", [OTHER, f"{OTHER}:8000", "OTSO.Hub.Example.Org.", f"a.b.{HUB}"])
async def test_a_persons_host(installed: None, host: str) -> None:
    for path in ("/hub/login", "/hub/home", "/hub/api/user", "/hub/errors", "/user/otso/"):
        status, _, cookies = await ask(HTTPS, host, path, Cookie="__Host-_xsrf=evil")
        assert (status, cookies) == (404, []), path
    for path in ("/hub/error/502", "/hub/courseyard/site.css"):
        status, body, cookies = await ask(HTTPS, host, path, Cookie="__Host-_xsrf=evil")
        assert (status, body, cookies) == (200, "{}", []), path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": f"https://{HUB}"}, 200),
        ({"Origin": f"https://{HUB}", "Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({"Origin": f"https://{OTHER}"}, 403),
        ({"Origin": f"http://{HUB}"}, 403),
        ({"Origin": f"https://{HUB}:8443"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
    ],
)
async def test_forms_of_the_hubs_own_pages(installed: None, headers: Headers, status: int) -> None:
    assert (await ask(HTTPS, HUB, "/hub/login", "POST", **headers))[0] == status
    assert (await ask("", HUB, "/hub/login", "POST", **headers))[0] == 200


PAGE = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        (PAGE | {"Sec_Fetch_Site": "same-origin"}, 200),
        (PAGE | {"Sec_Fetch_Site": "same-site", "Sec_Fetch_User": "?1"}, 200),
        (PAGE | {"Sec_Fetch_Site": "same-site"}, 403),
        (
            {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"},
            403,
        ),
    ],
)
async def test_a_log_out_takes_a_click(installed: None, headers: Headers, status: int) -> None:
    for path in ("/hub/logout", "/hub/logout/"):
        assert (await ask(HTTPS, HUB, path, **headers))[0] == status


async def test_without_hosts_of_people_nothing_changes(installed: None) -> None:
    monkey = "_xsrf=one; jupyterhub-session-id=two"
    status, body, cookies = await ask("", OTHER, "/hub/login", Cookie=monkey)
    assert status == 200
    assert "one" in body
    assert "two" in body
    assert not any(c.startswith("__Host-") and "hub-login" not in c for c in cookies)


async def test_plain_http_has_no_prefix(installed: None) -> None:
    """On loopback, for trying out: what remains open there stands in docs/howto/domains.md."""
    url, host = "http://courseyard.localhost:8000/", "courseyard.localhost:8000"
    _, body, cookies = await ask(url, host, "/hub/home", Cookie="_xsrf=one")
    assert "one" in body
    assert any(c.startswith("_xsrf=") for c in cookies)
    assert (await ask(url, f"otso.{host}", "/hub/login"))[0] == 404
