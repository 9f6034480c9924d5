"""A site where each person's servers have a host of their own, by HTTPS, without a browser.

Names below ``localhost`` are this machine; here Python is told so.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests
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
