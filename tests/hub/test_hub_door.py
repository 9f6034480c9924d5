"""The door at the proxy: a person's servers answer her own browser, her tokens, and nobody else."""

from __future__ import annotations

import json
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import toml
from sites import Hub, Visitor

from courseyard.hub.keyed import STRIPPED

SERVER = "/user/otso/algo2026/"
RUNS = "It runs"
#: In a site's configuration: the walls are gone.
NO_LOCK = (
    "import courseyard.hub.keyed\n"
    "courseyard.hub.keyed.lock = lambda router, cookie, keys: router\n"
)  # fmt: skip


def key_of(visitor: Visitor) -> str:
    return next(c.value or "" for c in visitor.cookies if "courseyard-key" in c.name)


def running(hub: Hub) -> Visitor:
    """otso, with his server running."""
    visitor = hub.visitor("otso")
    visitor.act("/hub/go/algo2026")
    assert RUNS in visitor.wait_running("algo2026").text
    return visitor


def bare(hub: Hub, path: str = SERVER, **headers: str) -> requests.Response:
    """A request with these headers alone; redirects are not followed."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(
        hub.base + path, headers=given, timeout=30, allow_redirects=False, verify=False
    )


def until(check: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether it comes true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.1)
    return check()


@pytest.fixture(scope="module")
def otso(hub: Hub) -> Any:
    visitor = running(hub)
    yield visitor
    visitor.act("/hub/stop/algo2026")


def test_the_door_is_shut_to_others(hub: Hub, otso: Visitor) -> None:
    assert RUNS in otso.get(SERVER).text
    maija = hub.visitor("maija")
    reply = maija.get(SERVER)
    assert reply.status_code == 404
    assert RUNS not in reply.text
    assert "/hub/user/otso/" in reply.url
    # The administrator starts and stops servers, and looks into none.
    assert hub.visitor("pomo").get(SERVER).status_code == 404
    nobody = Visitor(hub).get(SERVER)
    assert "/hub/login" in nobody.url
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"):
        assert RUNS not in maija.request(method, SERVER, allow_redirects=False).text
        assert requests.request(method, hub.base + SERVER, timeout=30).status_code >= 400


def test_without_the_lock_the_door_is_open(own_hub: Callable[..., Hub]) -> None:
    """What the tests here see is the lock, and nothing else."""
    hub = own_hub(early=NO_LOCK)
    running(hub)
    assert RUNS in hub.visitor("maija").get(SERVER).text
    assert RUNS in bare(hub).text
    headers = bare(hub, f"{SERVER}origin").headers
    assert [name for name in STRIPPED if name in headers] == list(STRIPPED)
    assert len(cookies_of(bare(hub, f"{SERVER}cookies"))) == 10


def test_what_opens_it(hub: Hub, otso: Visitor) -> None:
    key = key_of(otso)
    assert RUNS in bare(hub, Cookie=f"courseyard-key={key}").text
    assert RUNS in bare(hub, Cookie=f"a=b; courseyard-key={key}; c=d").text
    # The server asks the hub whose token it is; this one of the tests asks nobody.
    for token in ("token abcdef", "Bearer abcdef", "bearer abcdef"):
        assert RUNS in bare(hub, Authorization=token).text


def test_what_does_not_open_it(hub: Hub, otso: Visitor) -> None:
    key, hers = key_of(otso), key_of(hub.visitor("maija"))
    assert key != hers
    for cookie in (
        f"courseyard-key={hers}",
        "courseyard-key=",
        f"courseyard-key={key}x",
        f"courseyard-key=x{key}",
        f"xcourseyard-key={key}",
        f"x=courseyard-key={key}",
        f"Courseyard-Key={key}",
        f"__Host-courseyard-key={key}",
        # Somebody planted his own beside the one of the browser's person, in either order.
        f"courseyard-key={key}; courseyard-key={hers}",
        f"courseyard-key={hers}; x=y; courseyard-key={key}",
        f"courseyard-key={key}; courseyard-key={key}",
    ):
        assert bare(hub, Cookie=cookie).status_code == 302, cookie
    for given in ("Basic b3RzbzpvdHNv", "token", "token ", "Negotiate abc", "x token abc", ""):
        assert bare(hub, Authorization=given).status_code == 302, given
    # What a link can hold.
    assert bare(hub, f"{SERVER}?token=abcdef&courseyard-key={key}").status_code == 302
    password = hub.base.replace("://", f"://otso:{key}@")
    assert requests.get(password + SERVER, timeout=30, allow_redirects=False).status_code == 302


@pytest.mark.parametrize(
    "path",
    ["/user/otso/algo2026", "/user/otso//algo2026/", "/user/%6ftso/algo2026/", "/user/otso/./algo2026/",
     "/hub/../user/otso/algo2026/", "/USER/otso/algo2026/", "/user/otso/algo2026/%2e%2e/x",
     "/user/otso/algo2026%2f", "/user/otso/algo2026;x/", "//user/otso/algo2026/"],
)  # fmt: skip
def test_no_other_address_leads_in(hub: Hub, otso: Visitor, path: str) -> None:
    request = requests.Request("GET", hub.base).prepare()
    request.url = hub.base + path  # as it stands
    reply = requests.Session().send(request, timeout=30, allow_redirects=False)
    assert RUNS not in reply.text
    assert "title" not in reply.text or "algo2026</title>" not in reply.text


def test_the_cookie(hub: Hub) -> None:
    visitor = Visitor(hub)
    page = visitor.log_in("aino")
    sent = "\n".join(page.history[0].raw.headers.getlist("Set-Cookie"))
    (line,) = re.findall("courseyard-key=.*", sent)
    assert "HttpOnly" in line
    assert "SameSite=Lax" in line
    assert "Path=/" in line
    assert "expires" not in line.lower()
    assert "Domain" not in line


def test_headers_of_the_origin_are_stripped(hub: Hub, otso: Visitor) -> None:
    headers = otso.get(f"{SERVER}origin").headers
    assert headers["X-Own"] == "1"
    assert [name for name in STRIPPED if name in headers] == []


def cookies_of(reply: requests.Response) -> list[str]:
    return [line.partition("=")[0] for line in reply.raw.headers.getlist("Set-Cookie")]


def test_cookies_of_other_paths_are_stripped(hub: Hub, otso: Visitor) -> None:
    """Also where a WebSocket is answered: browsers take its cookies too."""
    assert cookies_of(otso.get(f"{SERVER}cookies")) == ["own", "all-own", "bare"]
    upgrade = {
        "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    reply = otso.get(f"{SERVER}cookies", headers=upgrade, stream=True)
    assert reply.status_code == 101
    assert cookies_of(reply) == ["own", "all-own", "bare"]
    reply.close()


def test_a_stream_is_not_held_back(hub: Hub, otso: Visitor) -> None:
    """The proxy's plugin hands on what a server writes at once."""
    lines = otso.get(f"{SERVER}stream", stream=True).iter_lines(chunk_size=1)
    assert next(lines) == b"first"
    otso.get(f"{SERVER}go-on")
    assert next(lines) == b"last"


def test_each_log_in_has_a_key(hub: Hub, otso: Visitor) -> None:
    other = hub.visitor("otso")
    first, second = key_of(otso), key_of(other)
    assert first != second
    assert until(lambda: RUNS in bare(hub, Cookie=f"courseyard-key={second}").text)
    assert RUNS in bare(hub, Cookie=f"courseyard-key={first}").text
    other.get("/hub/logout")
    assert not [c for c in other.cookies if c.name == "courseyard-key"]
    assert until(lambda: bare(hub, Cookie=f"courseyard-key={second}").status_code == 302)
    assert RUNS in bare(hub, Cookie=f"courseyard-key={first}").text


def test_a_browser_without_a_key_is_given_one(hub: Hub, otso: Visitor) -> None:
    """As after an upgrade from a version without keys: logged in, and the server runs."""
    visitor = hub.visitor("otso")
    (cookie,) = [c for c in visitor.cookies if c.name == "courseyard-key"]
    visitor.cookies.clear(cookie.domain, cookie.path, cookie.name)
    assert visitor.put(f"{SERVER}api/contents/x", data="{}").status_code >= 400
    reply = visitor.get(f"{SERVER}lab/tree/a%20b.ipynb?x=1&y")
    assert RUNS in reply.text
    assert reply.url == f"{hub.base}{SERVER}lab/tree/a%20b.ipynb?x=1&y&redirects=1"
    assert key_of(visitor)
    # JupyterLab asks for its kernels every ten seconds, so an open one finds its way back.
    visitor.cookies.clear(cookie.domain, cookie.path, cookie.name)
    modes = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"}
    assert RUNS in visitor.get(f"{SERVER}kernels?1764400000000", headers=modes).text
    assert visitor.put(f"{SERVER}x", data="{}").status_code == 501  # the server's own answer


def test_a_browser_that_keeps_no_cookie_is_told(hub: Hub, otso: Visitor) -> None:
    visitor = hub.visitor("otso")
    (cookie,) = [c for c in visitor.cookies if c.name == "courseyard-key"]
    visitor.cookies.clear(cookie.domain, cookie.path, cookie.name)
    reply = visitor.get(SERVER, allow_redirects=False)
    for _ in range(12):
        if not reply.is_redirect:
            break
        reply = visitor.get(reply.headers["Location"], allow_redirects=False)
        if any(c.name == "courseyard-key" for c in visitor.cookies):
            visitor.cookies.clear(cookie.domain, cookie.path, cookie.name)
    assert reply.status_code == 403
    assert "Allow cookies" in reply.text


def test_who_is_in_works_on_while_the_hub_is_away(own_hub: Callable[..., Hub]) -> None:
    hub = own_hub()
    otso, maija = running(hub), hub.visitor("maija")
    hub.stop_hub()
    assert RUNS in otso.get(SERVER).text
    assert RUNS not in maija.get(SERVER).text
    (keys,) = hub.folder.rglob("keys.json")
    assert keys.stat().st_mode & 0o777 == 0o600
    assert (keys.parents[1] / "proxy" / "routes" / "hub.yaml").stat().st_mode & 0o077 == 0
    hub.start_hub()
    key = key_of(otso)
    assert RUNS in bare(hub, Cookie=f"courseyard-key={key}").text
    otso.get("/hub/logout")
    assert until(lambda: bare(hub, Cookie=f"courseyard-key={key}").status_code == 302)


def test_an_upgrade_shuts_the_doors_of_running_servers(own_hub: Callable[..., Hub]) -> None:
    """The version before has left routes without a lock, and a browser without a key."""
    before = "".join(f"    {line}\n" for line in NO_LOCK.splitlines())
    hub = own_hub(early=f"if not (here / 'new').exists():\n{before}")
    otso = running(hub)
    (cookie,) = [c for c in otso.cookies if c.name == "courseyard-key"]
    otso.cookies.clear(cookie.domain, cookie.path, cookie.name)
    assert RUNS in bare(hub).text
    hub.stop_hub()
    next(hub.folder.rglob("keys.json")).unlink()
    # That version wrote its routes as TOML.
    (routes,) = hub.folder.rglob("hub.yaml")
    routes.with_suffix(".toml").write_text(toml.dumps(json.loads(routes.read_text())))
    routes.unlink()
    assert until(lambda: RUNS in bare(hub).text)
    (hub.folder / "new").touch()
    hub.start_hub()
    assert until(lambda: bare(hub).status_code == 302)
    assert not routes.with_suffix(".toml").exists()
    assert RUNS in otso.get(SERVER).text
    assert hub.visitor("maija").get(SERVER).status_code == 404


def test_below_a_path_and_with_https(own_hub: Callable[..., Hub], tmp_path: Path) -> None:
    import subprocess

    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", chain],
        check=True, capture_output=True,
    )  # fmt: skip
    warnings.simplefilter("ignore")
    tls = {"certificate": str(chain), "key": str(key)}
    hub = own_hub(hub={"base_url": "/jupyter/"}, proxy={"login_rate": 1000, "tls": tls})
    visitor = Visitor(hub)
    visitor.log_in("otso", path="/jupyter/")
    token = next(c.value for c in visitor.cookies if c.name == "_xsrf")
    visitor.post("/jupyter/hub/go/algo2026", data={"_xsrf": token})
    address = "/jupyter/user/otso/algo2026/"
    assert until(lambda: RUNS in visitor.get(address).text, 30)
    (cookie,) = [c for c in visitor.cookies if "courseyard-key" in c.name]
    assert (cookie.name, cookie.path, cookie.secure) == ("__Host-courseyard-key-jupyter", "/", True)
    assert RUNS in bare(hub, address, Cookie=f"{cookie.name}={cookie.value}").text
    assert RUNS not in bare(hub, address, Cookie=f"courseyard-key-jupyter={cookie.value}").text
    visitor.cookies.clear(cookie.domain, cookie.path, cookie.name)
    assert until(lambda: RUNS in visitor.get(address).text, 30)
    headers = visitor.get(f"{address}origin").headers
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Clear-Site-Data" not in headers


def test_keys_of_people_who_are_removed(own_hub: Callable[..., Hub]) -> None:
    more = "c.JupyterHub.load_roles[0]['scopes'].append('admin:users')\n"
    hub = own_hub(more=more)
    otso = hub.visitor("otso")
    assert key_of(otso)
    pomo = hub.visitor("pomo")
    token = {"X-XSRFToken": pomo.xsrf, "Referer": f"{hub.base}/hub/home"}
    assert pomo.delete("/hub/api/users/otso", headers=token).status_code == 204

    def kept() -> list[str]:
        return [
            name for file in hub.folder.rglob("keys.json") for name in json.loads(file.read_text())
        ]

    assert until(lambda: kept() == ["pomo"], 20)
