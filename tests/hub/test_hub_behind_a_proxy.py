"""A site behind another proxy: who is counted, whom the logs name, and what is HTTPS.

Everybody is at an address of the loopback network: the front proxy at 127.0.0.1, people elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from front import ADDRESS, Front, Guest
from sites import Hub
from test_hub_oauth import provider as provider  # the fixture

RATE = 2
AINO, OTSO = "127.0.0.11", "127.0.0.12"
Behind = Callable[..., tuple[Hub, Front]]


@pytest.fixture
def behind(own_hub: Callable[..., Hub], tmp_path: Path) -> Iterator[Behind]:
    """Makes a site with a front proxy; both end with the test."""
    made: list[Front] = []

    def make(
        trusted: list[str], *, sloppy: bool = False, public: bool = True, **settings: Any
    ) -> tuple[Hub, Front]:
        folder = tmp_path / "front"
        folder.mkdir()
        front = Front(folder, sloppy=sloppy)
        log = str(tmp_path / "access.log")
        proxy = {"login_rate": RATE, "trusted_proxies": trusted, "access_log": log}
        if public:
            settings["hub"] = settings.get("hub", {}) | {"public_url": f"{front.base}/"}
        hub = own_hub(proxy=proxy, **settings)
        made.append(front)
        front.start(hub)
        return hub, front

    yield make
    for front in made:
        front.close()


def access_log(tmp_path: Path, wanted: str) -> list[str]:
    """The first column of the access log, once ``wanted`` stands in it."""
    deadline = time.monotonic() + 10
    while True:
        text = (tmp_path / "access.log").read_text()
        names = [line.partition(" - ")[0] for line in text.splitlines()]
        if wanted in names or time.monotonic() > deadline:
            return names
        time.sleep(0.2)


def test_people_behind_a_trusted_proxy_are_counted_apart(behind: Behind, tmp_path: Path) -> None:
    hub, front = behind([ADDRESS])
    aino = Guest(hub, AINO, front)
    assert aino.guesses(RATE) == [403] * RATE
    assert aino.guesses(1) == [429]
    assert Guest(hub, OTSO, front).log_in("otso").status_code == 200
    assert aino.guesses(1) == [429]
    assert OTSO in access_log(tmp_path, OTSO)
    assert f"(@{AINO})" in hub.log()


def test_a_claim_passed_on_is_not_believed(behind: Behind, tmp_path: Path) -> None:
    """A front proxy that keeps its clients' headers: the last address is still the true one."""
    hub, front = behind([ADDRESS], sloppy=True)
    assert Guest(hub, AINO, front).guesses(RATE) == [403] * RATE
    for claim in (OTSO, "203.0.113.7", f"203.0.113.8, {OTSO}", ADDRESS, "", "nonsense"):
        claims = {"X_Forwarded_For": claim, "X_Real_Ip": "203.0.113.9"}
        assert Guest(hub, AINO, front, **claims).guesses(1) == [429], claim
    # Nothing of this was counted as otso's.
    assert Guest(hub, OTSO, front).guesses(RATE) == [403] * RATE
    assert f"203.0.113.8, {OTSO}, {AINO}" in access_log(tmp_path, f"203.0.113.8, {OTSO}, {AINO}")
    assert f"(@{AINO})" in hub.log()
    assert "@203.0.113" not in hub.log()


def test_nobody_but_trusted_proxies_is_believed(behind: Behind, tmp_path: Path) -> None:
    hub, front = behind([ADDRESS], public=False)
    stranger = "127.0.0.9"
    assert Guest(hub, stranger, None).guesses(RATE) == [403] * RATE
    for claim in (OTSO, "203.0.113.7", ADDRESS, f"{OTSO}, {ADDRESS}"):
        claims = {"X_Forwarded_For": claim, "X_Real_Ip": claim, "X_Forwarded_Proto": "https"}
        assert Guest(hub, stranger, None, **claims).guesses(1) == [429], claim
    assert Guest(hub, "127.0.0.8", None).guesses(1) == [403]
    assert Guest(hub, OTSO, front).guesses(RATE) == [403] * RATE
    assert stranger in access_log(tmp_path, stranger)
    assert "203.0.113.7" not in (tmp_path / "access.log").read_text()
    assert "203.0.113.7" not in hub.log()


def test_without_trust_all_share_one_limit(behind: Behind, tmp_path: Path) -> None:
    hub, front = behind([], sloppy=True)
    assert Guest(hub, AINO, front).guesses(RATE) == [403] * RATE
    assert Guest(hub, OTSO, front, X_Forwarded_For="203.0.113.7").guesses(1) == [429]
    assert set(access_log(tmp_path, ADDRESS)) == {ADDRESS}


def test_trusting_the_network_of_people_opens_the_limit(behind: Behind) -> None:
    """Why the setting warns: who is trusted may say that they are anybody."""
    hub, front = behind(["127.0.0.0/8"], sloppy=True)
    for number in range(4 * RATE):
        claim = f"203.0.113.{number}"
        assert Guest(hub, AINO, front, X_Forwarded_For=claim).guesses(1) == [403]
    assert "(@203.0.113.0)" in hub.log()


@pytest.mark.parametrize("trusted", [[ADDRESS], []], ids=["trusted", "not trusted"])
def test_https_in_front_is_https_for_the_hub(behind: Behind, trusted: list[str]) -> None:
    hub, front = behind(trusted)
    aino = Guest(hub, AINO, front)
    reply = aino.log_in("aino")
    assert "Aino Virtanen" in reply.text
    assert aino.cookies
    assert all(cookie.secure for cookie in aino.cookies)
    assert aino.get("/", allow_redirects=False).headers["Location"] == f"{front.base}/hub/"
    # Not even a claim makes another one of it.
    claims = {"X_Forwarded_Proto": "http", "X_Scheme": "http", "Forwarded": "proto=http"}
    otso = Guest(hub, OTSO, front, **claims)
    otso.log_in("otso")
    assert otso.cookies
    assert all(cookie.secure for cookie in otso.cookies)
    aino.act("/hub/go/scip")
    aino.wait_running("scip")
    environment = aino.get("/user/aino/scip/environ").json()
    assert environment["JUPYTERHUB_PUBLIC_URL"] == f"{front.base}/user/aino/scip/"
    assert environment["JUPYTERHUB_COOKIE_OPTIONS"] == '{"secure": true}'
    aino.act("/hub/stop/scip")


def test_the_scheme_of_a_trusted_proxy_is_enough(behind: Behind) -> None:
    hub, front = behind([ADDRESS], public=False)
    aino = Guest(hub, AINO, front)
    assert "Aino Virtanen" in aino.log_in("aino").text
    assert all(cookie.secure for cookie in aino.cookies if cookie.name != "_xsrf")
    stranger = Guest(hub, "127.0.0.9", None, X_Forwarded_Proto="https")
    stranger.log_in("otso")
    assert stranger.cookies
    assert not any(cookie.secure for cookie in stranger.cookies)


def test_oauth_comes_back_to_the_public_address(behind: Behind, provider: str) -> None:
    options = {
        "client_id": "courseyard",
        "client_secret": "not-secret-in-a-test",
        "authorize_url": f"{provider}/oauth2/authorize",
        "token_url": f"{provider}/oauth2/token",
        "userdata_url": f"{provider}/userinfo",
        "username_claim": "sub",
        "scope": ["openid"],
    }
    settings = {
        "authenticator": "oauthenticator.generic.GenericOAuthenticator",
        "authenticator_options": {"GenericOAuthenticator": options},
    }
    hub, front = behind([], hub=settings)
    aino = Guest(hub, AINO, front)
    form = aino.get("/hub/oauth_login")
    asked = parse_qs(urlsplit(form.url).query)
    assert asked["redirect_uri"] == [f"{front.base}/hub/oauth_callback"]
    page = aino.post(form.url, data={"sub": "aino"})
    assert page.url == f"{front.base}/hub/home"
    assert "Aino Virtanen" in page.text
    assert all(cookie.secure for cookie in aino.cookies if cookie.domain == "127.0.0.1")
