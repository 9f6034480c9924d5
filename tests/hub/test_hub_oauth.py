"""Log-in by a real OpenID provider on loopback (PyPI oidc-provider-mock)."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import requests
from sites import Hub, Visitor


@pytest.fixture
def provider() -> Iterator[str]:
    """The address of a running OpenID provider."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{url}/.well-known/openid-configuration", timeout=5).ok:
                break
        time.sleep(0.2)
    yield url
    process.terminate()
    process.wait(10)


def oauth_hub(own_hub: Callable[..., Hub], provider: str) -> Hub:
    options = {
        "client_id": "courseyard",
        "client_secret": "not-secret-in-a-test",
        "authorize_url": f"{provider}/oauth2/authorize",
        "token_url": f"{provider}/oauth2/token",
        "userdata_url": f"{provider}/userinfo",
        "username_claim": "sub",
        "scope": ["openid"],
        "login_service": "Example University",
    }
    more = "c.GenericOAuthenticator.oauth_callback_url = f'{load_site(here).hub.port}'\n"
    more = (
        "port = load_site(here).hub.port\n"
        "c.GenericOAuthenticator.oauth_callback_url = "
        "f'http://127.0.0.1:{port}/hub/oauth_callback'\n"
    )
    hub_settings = {
        "authenticator": "oauthenticator.generic.GenericOAuthenticator",
        "authenticator_options": {"GenericOAuthenticator": options},
    }
    return own_hub(hub=hub_settings, more=more)


def log_in(hub: Hub, username: str, path: str) -> tuple[Visitor, requests.Response]:
    visitor = hub.visitor()
    page = visitor.get(path)
    assert "Log in with Example University" in page.text
    link = re.search(r'class="button first" href="([^"]+)"', page.text)
    assert link
    form = visitor.get(link[1].replace("&amp;", "&"))
    return visitor, visitor.post(form.url, data={"sub": username})


def test_oauth_log_in(own_hub: Callable[..., Hub], provider: str) -> None:
    hub = oauth_hub(own_hub, provider)
    visitor, reply = log_in(hub, "aino", "/hub/home")
    assert reply.url == f"{hub.base}/hub/home"
    assert "Aino Virtanen" in reply.text

    # A link survives the way through the provider.
    visitor, reply = log_in(hub, "otso", "/hub/go/algo2026")
    assert "/user/otso/algo2026/" in visitor.wait_running("algo2026").url
    visitor.act("/hub/stop/algo2026")

    # The provider knows more people than the university's courses do.
    visitor, reply = log_in(hub, "stranger", "/hub/home")
    assert reply.status_code == 403
    assert "not one of this service" in reply.text
    assert "/hub/login" in visitor.get("/hub/home").url
    assert "Log-in refused" in hub.log()
