"""A site where each person's servers have a host of their own, by HTTPS, without a browser.

Names below ``localhost`` are this machine; here Python is told so.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from front import ADDRESS, Front, Guest
from sites import Hub, certificate

NAME = "courseyard.localhost"


@pytest.fixture(scope="module", autouse=True)
def names() -> Iterator[None]:
    """Names below localhost lead to this machine."""
    stock = socket.getaddrinfo

    def lookup(host: Any, *args: Any, **kwargs: Any) -> Any:
        named = isinstance(host, str) and host.endswith(".localhost")
        return stock("127.0.0.1" if named else host, *args, **kwargs)

    socket.getaddrinfo = lookup
    yield
    socket.getaddrinfo = stock


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    tls = certificate(tmp_path_factory.mktemp("tls"), NAME, f"*.{NAME}")
    proxy = {"login_rate": 1000, "tls": tls}
    hub = Hub(tmp_path_factory.mktemp("domains") / "site", host=NAME, proxy=proxy)
    try:
        hub.start()
        yield hub
    finally:
        hub.close()


def test_a_server_is_at_its_persons_host(hub: Hub) -> None:
    aino = hub.visitor("aino")
    page = aino.act("/hub/go/scip")
    reply = aino.wait_running("scip")
    assert reply.url.startswith(f"{hub.of('aino')}/user/aino/scip/")
    assert "It runs" in reply.text
    environment = aino.get(f"{hub.of('aino')}/user/aino/scip/environ").json()
    assert environment["JUPYTERHUB_HOST"] == hub.base
    assert environment["JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED"] == "1"
    assert environment["JUPYTERHUB_OAUTH_CALLBACK_URL"].startswith(hub.of("aino"))
    page = aino.get("/hub/home")
    assert f'href="{hub.of("aino")}/user/aino/scip/"' in page.text
    # Nobody else's host leads to it, and the hub's leads there.
    for host in (hub.of("otso"), f"https://127.0.0.1:{hub.port}"):
        reply = requests.get(f"{host}/user/aino/scip/", allow_redirects=False, verify=hub.verify)
        assert reply.status_code == 302
        assert reply.headers["Location"] == f"{hub.base}/hub/user/aino/scip/"
    assert aino.get("/user/aino/scip/").url.startswith(hub.of("aino"))
    aino.act("/hub/stop/scip")


def test_a_link_opens_a_file_at_its_persons_host(hub: Hub) -> None:
    aino = hub.visitor("aino")
    link = "/hub/go/scip/notebooks/x.ipynb"
    aino.get(link)
    try:
        aino.wait_running("scip")
        assert aino.get(link).url == f"{hub.of('aino')}/user/aino/scip/lab/tree/notebooks/x.ipynb"
        asked = f"{hub.of('aino')}/user/aino/scip/lab/tree/x.ipynb"
        assert aino.get("/hub/go/scip", params={"next": asked}).url == asked
        other = asked.replace("aino", "otso")
        assert aino.get("/hub/go/scip", params={"next": other}).status_code == 404
    finally:
        aino.act("/hub/stop/scip")


HUBS_OWN = [
    "/hub/", "/hub/login", "/hub/home", "/hub/token", "/hub/logout", "/hub/api/user", "/hub/api/",
    "/hub/go/scip", "/hub/static/css/style.min.css", "/hub/error/502", "/hub/oauth_login",
    "/hub/spawn/aino/scip", "/hub/admin", "/hub/metrics", "/hub//login", "/hub/../hub/login",
]  # fmt: skip


@pytest.mark.parametrize("path", HUBS_OWN)
def test_no_page_of_the_hub_is_at_a_persons_host(hub: Hub, path: str) -> None:
    visitor = hub.visitor("aino")
    for host in (hub.of("aino"), hub.of("nobody"), f"https://127.0.0.1:{hub.port}"):
        for method in ("GET", "POST", "PUT", "HEAD"):
            reply = visitor.request(method, f"{host}{path}", allow_redirects=False)
            assert reply.status_code == 404, (method, host)
            assert "form" not in reply.text
            assert "Set-Cookie" not in reply.headers


def test_the_hub_itself_answers_no_persons_host(hub: Hub) -> None:
    """The proxy does not pass these on; whoever reaches the hub's own port finds the same there."""
    own = f"http://127.0.0.1:{hub.port + 1}"
    otsos = {"Host": f"Otso.{NAME}.:{hub.port}", "Cookie": "__Host-x=1; _xsrf=2"}
    for path in HUBS_OWN:
        reply = requests.get(f"{own}{path}", headers=otsos, allow_redirects=False, timeout=10)
        if not path.startswith(("/hub/error/", "/hub/static/")):
            assert reply.status_code == 404, path
        assert "<form" not in reply.text
        assert "Set-Cookie" not in reply.headers
    assert "<form" in requests.get(f"{own}/hub/login", timeout=10).text


def test_a_dead_server_is_told_of_at_its_host(hub: Hub) -> None:
    aino = hub.visitor("aino")
    aino.act("/hub/go/scip")
    aino.wait_running("scip")
    own = [p for p in (hub.folder / "servers").glob("*.name") if p.read_text() == "aino-scip"]
    os.killpg(int(max(own, key=lambda p: p.stat().st_mtime).stem), signal.SIGKILL)
    reply = aino.get(f"{hub.of('aino')}/user/aino/scip/lab")
    assert reply.status_code == 502
    assert "The server does not answer" in reply.text
    assert "Set-Cookie" not in reply.headers
    assert f'href="{hub.base}/hub/home"' in reply.text
    looks = re.findall(r'(?:href|src)="(/hub/courseyard/[^"]+)"', reply.text)
    assert len(looks) >= 3
    for path in looks:
        reply = requests.get(f"{hub.of('aino')}{path}", verify=hub.verify, timeout=10)
        assert reply.status_code == 200, path
        assert "Set-Cookie" not in reply.headers
    aino.act("/hub/stop/scip")


def test_the_hubs_cookies_are_its_own_hosts(hub: Hub) -> None:
    aino = hub.visitor("aino")
    names = {(c.name, c.domain, c.path, c.secure) for c in aino.cookies}
    told = {n for n in names if not n[0].startswith("__Host-")}
    assert {n[0] for n in names - told} == {
        "__Host-_xsrf", "__Host-jupyterhub-hub-login", "__Host-jupyterhub-session-id",
        "__Host-courseyard-browser",
    }  # fmt: skip
    assert all((path, secure) == ("/", True) for _, _, path, secure in names)
    # What servers see of the session changes with it, and is not it; the key opens the proxy's door.
    assert {(name, domain) for name, domain, _, _ in told} == {
        ("jupyterhub-session-id", f".{NAME}"),
        ("courseyard-key", f".{NAME}"),
    }
    ids = {c.value for c in aino.cookies if c.name.endswith("jupyterhub-session-id")}
    assert len(ids) == 2
    aino.get("/hub/logout", headers={"Referer": f"{hub.base}/hub/home"})
    assert {c.name for c in aino.cookies} == {"__Host-_xsrf", "__Host-courseyard-browser"}


def test_forms_of_other_hosts_are_refused(hub: Hub) -> None:
    """Even with the person's own cookies and token, which no other host is seen to have."""
    aino = hub.visitor("aino")
    for headers in (
        {"Origin": hub.of("otso")},
        {"Origin": "null"},
        {"Origin": hub.base.replace("https", "http")},
        {"Sec-Fetch-Site": "same-site"},
    ):
        reply = aino.post("/hub/seen/scip", data={"_xsrf": aino.xsrf}, headers=headers)
        assert reply.status_code == 403, headers
        assert "not this service" in reply.text
    for headers in ({"Origin": hub.base}, {"Sec-Fetch-Site": "same-origin"}, {}):
        reply = aino.post("/hub/seen/scip", data={"_xsrf": aino.xsrf}, headers=headers)
        assert reply.status_code == 200, headers


def test_below_a_path(own_hub: Callable[..., Hub], tmp_path: Path) -> None:
    tls = certificate(tmp_path / "tls", NAME, f"*.{NAME}")
    proxy = {"login_rate": 3, "tls": tls}
    hub = own_hub(host=NAME, hub={"base_url": "/jupyter/"}, proxy=proxy)
    aino = hub.visitor()
    aino.log_in("aino", path="/jupyter/")
    page = aino.act("/jupyter/hub/go/scip")
    deadline = time.monotonic() + 30
    while "/user/" not in page.url and time.monotonic() < deadline:
        page = aino.get("/jupyter/hub/spawn-pending/aino/scip")
        time.sleep(0.2)
    assert page.url.startswith(f"{hub.of('aino')}/jupyter/user/aino/scip/")
    for path, leads in (
        ("/jupyter/", ""),
        ("/jupyter/user/otso/scip/lab?a=b", "user/otso/scip/lab?a=b"),
    ):
        reply = requests.get(
            f"{hub.of('otso')}{path}", allow_redirects=False, verify=hub.verify, timeout=10
        )
        assert reply.headers["Location"] == f"{hub.base}/jupyter/hub/{leads}"
    for path in ("/jupyter/hub/login", "/hub/login", "/", "/user/otso/"):
        reply = requests.get(
            f"{hub.of('otso')}{path}", allow_redirects=False, verify=hub.verify, timeout=10
        )
        assert reply.status_code == 404, path
    # The limit of the log-in page is at the hub's own host, where the page is.
    codes = [hub.visitor().log_in("aino", "wrong", path="/jupyter/").status_code for _ in range(4)]
    assert codes[-1] == 429
    aino.act("/jupyter/hub/stop/scip")


def test_behind_another_proxy(own_hub: Callable[..., Hub], tmp_path: Path) -> None:
    """It ends TLS and passes on which host was asked; what it says else of that is not believed."""
    front = Front(tmp_path, name=NAME)
    proxy = {"login_rate": 1000, "trusted_proxies": [ADDRESS]}
    hub = own_hub(hub={"subdomains": True, "public_url": f"{front.base}/"}, proxy=proxy)
    try:
        front.start(hub)
        aino = Guest(hub, "127.0.0.11", front)
        aino.log_in("aino")
        aino.act("/hub/go/scip")
        servers = front.base.replace(NAME, f"aino.{NAME}")
        deadline = time.monotonic() + 30
        while "/user/" not in (page := aino.get("/hub/spawn-pending/aino/scip")).url:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert page.url.startswith(f"{servers}/user/aino/scip/")
        # Its claim of another host leads nobody to the hub's pages at a person's, and nobody away.
        claim = {"X-Forwarded-Host": f"{NAME}:{front.port}"}
        reply = aino.get(f"{servers}/hub/login", headers=claim, allow_redirects=False)
        assert reply.status_code == 404
        reply = aino.get("/hub/home", headers={"X-Forwarded-Host": f"otso.{NAME}"})
        assert "Aino Virtanen" in reply.text
        aino.act("/hub/stop/scip")
    finally:
        front.close()
