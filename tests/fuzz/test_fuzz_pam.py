"""Log-in with the machine's accounts: any name and password gets yes or the ordinary no.

The hub's authenticator, the real messages and the agent's own checks; only PAM itself is a stand-in.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from cases import cases
from hypothesis import example, given
from hypothesis import strategies as st
from tornado import web
from tornado.httputil import HTTPHeaders, HTTPServerRequest

from courseyard.agent import checks, client, pam, protocol
from courseyard.errors import UnknownPersonError
from courseyard.hub.authenticators import authenticator_class
from courseyard.hub.tries import Tries
from courseyard.people.person import Person
from courseyard.settings import PeopleSettings, Site

SITES = [
    Site(),
    Site(people=PeopleSettings(username_pattern=r"[a-z0-9._@-]{1,200}")),
    Site(people=PeopleSettings(username_pattern=r".+")),
]
NAMES = st.text(max_size=20) | st.sampled_from(
    ["maija", "MAIJA", " maija", "maija ", "maija@example.org", "a" * 65, "a" * 257, "a" * 1025, "a" * 10**6,
     "root", "ROOT", "", ".", "..", "a/b", "a:b", "a\0", "maija\0", "\u202emaija", "a\r\nb", "m\u0301", "ＭＡＩＪＡ"]
)  # fmt: skip
WORDS = st.text(max_size=20) | st.sampled_from(
    ["right", "right\0", "right\0x", "right ", "", "p" * 1024, "p" * 1025, "p" * 10**6]
)


class Agent:
    """The agent's side of a log-in, with the messages as they go over the socket."""

    def __init__(self, site: Site) -> None:
        self.site = site

    async def pam_login(self, username: str, password: str) -> bool:
        line = client._line(protocol.PamLogin(username=username, password=password))
        request = protocol.read_request(line)
        assert isinstance(request, protocol.PamLogin)
        checks.check_username(self.site, request.username)
        return pam.login(request.username, request.password.get_secret_value())


class Handler:
    """As much of a request as an authenticator looks at: a browser that was never here."""

    request = HTTPServerRequest("POST", "/hub/login", headers=HTTPHeaders())
    hub = SimpleNamespace(base_url="/hub/")

    def get_secure_cookie(self, name: str) -> None: ...

    def _set_cookie(self, name: str, value: str, **options: Any) -> None: ...


def log_in(site: Site, data: dict[str, str]) -> str | None:
    """Who is logged in, or None when refused."""

    async def person(name: str) -> Person:
        if name != "maija":
            raise UnknownPersonError("Nobody has this name.")
        return Person("maija", 21001, 20000)

    tries = Tries(lambda: 0.0)
    runtime = SimpleNamespace(site=site, agent=Agent(site), person=person, tries=tries, trusted=())
    made = authenticator_class("pam", runtime)()  # type: ignore[arg-type]
    made.allow_all = True
    made.username_pattern = rf"\A(?:{site.people.username_pattern})\Z"

    async def ask() -> Any:
        return await made.get_authenticated_user(Handler(), data)

    try:
        found = asyncio.run(ask())
    except web.HTTPError as error:
        assert error.status_code == 403
        return None
    return found["name"] if found else None


@pytest.fixture(scope="module")
def asked() -> Any:
    """PAM as it is: it reads up to a NUL, and knows one account."""
    names: list[tuple[str, str]] = []

    def authenticate(username: str, password: str, service: str) -> None:
        names.append((username, password))
        read = username.split("\0")[0], password.split("\0")[0]
        if read != ("maija", "right"):
            raise pam.pamela.PAMError(7)

    patch = pytest.MonkeyPatch()
    patch.setattr(pam.pamela, "authenticate", authenticate)
    patch.setattr(pam.pamela, "check_account", lambda username, service: None)
    yield names
    patch.undo()


@cases(400, shared=False)
@given(site=st.sampled_from(SITES), username=NAMES, password=WORDS)
@example(site=SITES[0], username="maija@example.org", password="right")
@example(site=SITES[0], username="a" * 65, password="right")
@example(site=SITES[2], username="maija", password="right\0x")
@example(site=SITES[2], username="a" * 300, password="x")
def every_log_in(site: Site, username: str, password: str) -> None:
    found = log_in(site, {"username": username, "password": password})
    right = username.lower() == "maija" and password == "right"
    assert found == ("maija" if right else None)


def test_every_log_in_gets_yes_or_the_ordinary_no(asked: list[tuple[str, str]]) -> None:
    every_log_in()
    assert ("maija", "right") in asked
    assert all("/" not in name and name not in ("root", "..", "") for name, _ in asked)


@pytest.mark.parametrize("data", [{}, {"password": "x"}, {"username": "maija"}, {"other": "x"}])
def test_a_form_that_lacks_a_field(asked: list[tuple[str, str]], data: dict[str, str]) -> None:
    assert log_in(SITES[0], data) is None
    assert "username" in data  # JupyterHub's refusal reads it
