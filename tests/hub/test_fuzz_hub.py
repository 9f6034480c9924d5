"""A real hub and anything that a browser or a program could send it: never a fault, never astray."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st
from sites import PASSWORD, PEOPLE, Hub, Visitor

from tests.fuzz.cases import cases

NAMES = st.text(max_size=12) | st.sampled_from(
    ["", "maija@example.org", "a" * 65, "a" * 5000, "root", "..", "a/b", "helmi\0", "\u202eimleh", "a\r\nb: c",
     "helmi ", "{{7*7}}", "<script>", "%00", "é", "ＨＥＬＭＩ", "' or 1=1 --"]
)  # fmt: skip
#: Bytes of a form that are no text, and forms that are none.
BODIES = [
    b"", b"=", b"&&&", b"username=%ff%fe&password=x", b"username=%ed%a0%80&password=%c0%af", b"username", b"%",
    b"username=a&username=b&password=c", b"username[]=a", b"password=x", b"_xsrf=2|x&username=a",
    b"\xff\x00" * 100, b"{}", b"username=" + b"a" * 10**6 + b"&password=x", b"username=a&password=" + b"%41" * 10**5,
]  # fmt: skip
PIECES = st.sampled_from(
    ["hub", "api", "user", "users", "helmi", "aino", "pomo", "admin", "token", "home", "login", "logout", "spawn",
     "go", "static", "logo", "error", "metrics", "health", "oauth2", "authorize", "spawn-pending", "progress",
     "servers", "server", "activity", "groups", "services", "proxy", "shutdown", "info", "stop", "seen", "start",
     "algo2026", "scip-instructor", "general", "r", "502", "429", "999", "accept-share", "user-redirect", "home.html",
     "..", ".", "", "%2e%2e", "%2E%2E%2f", "%2f", "%5c", "\\", ";", ";x=1", "%00", "%0d%0aX-Bad:%201", "%0a", "%ff",
     "%c0%ae%c0%ae", "%c0%af", "%ed%a0%80", "%e2%80%ae", "%u2215", "%", "%zz", "a" * 3000, "@evil.example", ":80",
     "//evil.example", "http:", "https:%2f%2fevil.example", "é", "'", "{{7*7}}", "~", "*", "?", "&"]
)  # fmt: skip
QUERIES = st.lists(
    st.tuples(
        st.sampled_from(["next", "redirect_uri", "client_id", "state", "code", "_xsrf", "token", "offset", "limit", "after",
                         "response_type", "scope", "name_filter", "include_stopped_servers", "q", "a[]"]),
        st.sampled_from(["", "//evil.example", "https://evil.example/", "/\\evil.example", "/%09/evil.example", "\\\\evil",
                         "javascript:alert(1)", "http:evil.example", "///evil.example", "/hub/../..//evil.example", "-1",
                         "9" * 400, "nan", "%ff", "%00", "\u2028", "x" * 4000, "{{7*7}}", "/hub/home", "null"]),
    ),
    max_size=3,
)  # fmt: skip
METHODS = st.sampled_from(
    ["GET"] * 6
    + ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "QUERY", "get", "X" * 300]
)
HEADERS = st.lists(
    st.sampled_from(
        ["Host: evil.example", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: javascript", "X-Forwarded-For: ::::",
         "X-Forwarded-For: 127.0.0.1, \xff", "X-Real-IP: x", "Referer: https://evil.example/", "Origin: null",
         "Origin: https://evil.example", "Cookie: jupyterhub-session-id=%00; _xsrf=\xff", "Cookie: " + "a=b; " * 500,
         "Authorization: token x", "Authorization: Bearer \xe9", "Authorization: Basic ====", "Authorization: token " + "x" * 9000,
         "Content-Type: application/json", "Content-Type: multipart/form-data; boundary=", "Accept: " + "*/*," * 300,
         "Content-Encoding: gzip", "Range: bytes=9-1", "If-None-Match: \x01x", "If-Modified-Since: never", "Upgrade: websocket",
         "Accept-Language: \xff", "Sec-Fetch-Site: x", "X-HTTP-Method-Override: DELETE", "Expect: 100-continue", "TE: x"]
    ),
    max_size=3,
)  # fmt: skip
REQUEST_BODIES = st.sampled_from(
    ["", "{}", "[]", "null", '{"a":', "\x00", "x=1", '{"name": "\\ud800"}', "9" * 500]
)


def test_the_log_in_form_refuses_as_always(hub: Hub) -> None:
    """Any username and password: the page that says so, with 403; the right one works after all."""
    visitor = hub.visitor()
    visitor.get("/hub/login")

    @cases(60, shared=False)
    @given(NAMES, st.text(max_size=12) | NAMES)
    @example("a" * 10**6, "x")
    @example("helmi", "p" * 10**6)
    @example("helmi", PASSWORD.format("helmi") + "\0")
    def check(username: str, password: str) -> None:
        data = {"_xsrf": visitor.xsrf, "username": username, "password": password}
        reply = visitor.post("/hub/login", data=data)
        # 429 when one name had too many tries, as any name.
        assert reply.status_code in (403, 429), (reply.status_code, reply.text[:500])
        assert "Invalid username or password" in reply.text or "not" in reply.text
        assert "<script>" not in re.sub(r"<script[^>]*>[^<]*</script>", "", reply.text)
        assert "Traceback" not in reply.text
        assert not [c for c in visitor.cookies if c.name.startswith("jupyterhub-hub-login")]

    check()
    assert hub.visitor("aino").get("/hub/home").status_code == 200


@pytest.mark.parametrize("number", range(len(BODIES)))
@pytest.mark.parametrize(
    "kind",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json",
        "",
    ],
)
def test_a_log_in_form_that_is_none(hub: Hub, number: int, kind: str) -> None:
    visitor = hub.visitor()
    visitor.get("/hub/login")
    headers = {"Content-Type": kind} if kind else {}
    reply = visitor.post(f"/hub/login?_xsrf={visitor.xsrf}", data=BODIES[number], headers=headers)
    assert reply.status_code in (400, 403, 429), (reply.status_code, reply.text[:500])
    assert "Traceback" not in reply.text


class Raw:
    """Sends what no library would send, on a connection for each request."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.ports = {"proxy": hub.port, "hub": hub.port + 1, "door": hub.port + 3}

    def ask(
        self, port: str, method: str, path: str, headers: list[str], body: str
    ) -> tuple[int, Any, bytes]:
        """Status, headers and body; 0 when the connection was ended instead of an answer."""
        lines = [
            f"{method} {path} HTTP/1.1",
            *headers,
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        if not any(h.startswith("Host:") for h in headers):
            lines.insert(1, f"Host: 127.0.0.1:{self.hub.port}")
        data = ("\r\n".join(lines) + "\r\n\r\n" + body).encode("latin-1", errors="replace")
        with socket.create_connection(("127.0.0.1", self.ports[port]), timeout=40) as connection:
            connection.sendall(data)
            reply = HTTPResponse(connection, method=method)
            try:
                reply.begin()
                return reply.status, reply.headers, reply.read()
            except (HTTPException, ConnectionResetError):
                return 0, {}, b""


@pytest.fixture(scope="module")
def raw(hub: Hub) -> Raw:
    return Raw(hub)


@pytest.fixture(scope="module")
def student(hub: Hub) -> Visitor:
    return hub.visitor("helmi")


def asked_for_an_error(path: str) -> bool:
    """The hub's own error pages, which the proxy fetches, answer with their status."""
    return "error/5" in path


def check_answer(hub: Hub, path: str, status: int, headers: Any, body: bytes) -> None:
    assert status < 500 or asked_for_an_error(path) or status == 501, (status, path, body[:600])
    assert b"Traceback" not in body
    assert b"SECRET_OF_THE_HUB" not in body
    assert headers.get("X-Bad") is None
    location = headers.get("Location")
    if location:
        home = urlsplit(hub.base)
        # As browsers read it: a backslash is a slash, tabs and line ends are nothing.
        target = urlsplit(
            urljoin(hub.base + "/", re.sub(r"[\t\r\n]", "", location.replace("\\", "/")))
        )
        assert target.scheme in ("http", "https"), location
        assert target.hostname in (home.hostname, "evil.example"), location
        if target.hostname == "evil.example":  # the Host that this very request claimed
            raise AssertionError(location)


def addresses() -> st.SearchStrategy[str]:
    path = st.lists(PIECES, max_size=5).map(lambda pieces: "/" + "/".join(pieces))
    below = st.lists(PIECES, max_size=4).map(lambda pieces: "/hub/" + "/".join(pieces))
    api = st.lists(PIECES, max_size=4).map(lambda pieces: "/hub/api/" + "/".join(pieces))
    query = QUERIES.map(lambda pairs: "?" + "&".join(f"{k}={v}" for k, v in pairs) if pairs else "")
    return st.tuples(path | below | api, query).map(
        lambda x: (x[0].replace(" ", "%20") + x[1]).replace("\u2028", "%E2%80%A8")
    )


def test_a_stranger_at_any_address(hub: Hub, raw: Raw) -> None:
    @cases(250, shared=False)
    @given(
        st.sampled_from(["proxy", "proxy", "hub", "door"]),
        METHODS,
        addresses(),
        HEADERS,
        REQUEST_BODIES,
    )
    def check(port: str, method: str, path: str, headers: list[str], body: str) -> None:
        headers = [h for h in headers if not h.startswith("Host:")] if port != "proxy" else headers
        status, got, text = raw.ask(port, method, path, headers, body)
        claimed = any("evil.example" in h for h in headers)
        if not (claimed and "evil.example" in str(got.get("Location", ""))):
            check_answer(hub, path, status, got, text)
        for name in PEOPLE["people"].values():
            assert str(name["name"]).encode() not in text
        for title in (b"Data Structures", b"Private Course", b"Scientific Computing"):
            assert title not in text

    check()
    assert requests.get(f"{hub.base}/hub/health", timeout=20).status_code == 200


def test_a_student_at_any_address(hub: Hub, raw: Raw, student: Visitor) -> None:
    cookies = "; ".join(f"{c.name}={c.value}" for c in student.cookies)

    @cases(200, shared=False)
    @given(
        st.sampled_from(["proxy", "hub"]),
        st.just("GET") | METHODS,
        addresses(),
        HEADERS,
        REQUEST_BODIES,
    )
    def check(port: str, method: str, path: str, headers: list[str], body: str) -> None:
        if re.search("logout|token", path):
            return  # that would end or change the session that all cases share
        headers = [
            h
            for h in headers
            if not h.startswith(("Cookie", "Authorization", "Host:", "X-Forwarded-Host"))
        ]
        status, got, text = raw.ask(port, method, path, [*headers, f"Cookie: {cookies}"], body)
        check_answer(hub, path, status, got, text)
        # No other person, no page of an administrator.
        for name in (b"Pomo Hallinto", b"Otso Laine", b"Aino Virtanen", b"admin-ui"):
            assert name not in text, (path, text[:500])

    check()
    assert student.get("/hub/home").status_code == 200


@pytest.fixture(scope="module", autouse=True)
def nothing_in_the_log(hub: Hub) -> Iterator[None]:
    """Where the hub was at a loss, its log has a traceback."""
    before = len(hub.log())
    yield
    found = re.findall(r"Uncaught exception[^\n]*\n.*?(?=\n\[|\Z)", hub.log()[before:], re.S)
    assert not found, found[0]
