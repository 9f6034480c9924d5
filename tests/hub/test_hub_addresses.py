"""Every address of the hub against the table; whatever checks a password counts tries; and what
pages of the same origin get from the hub. Each attack works where its protection is taken away.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from addresses import ASKERS, OPEN, Row, answer, rows
from front import Guest
from sites import PASSWORD, Hub, Visitor
from walls import GUESSERS

from courseyard.hub.proven import HEADER

FETCHED = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"}
FRAMES = ("iframe", "frame", "embed", "object", "fencedframe")
# --- the table ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people(guarded: Hub) -> dict[str, Visitor]:
    """Everybody logged in, and otso's server running."""
    found = {name: guarded.visitor(name) for name in ("otso", "aino", "pomo")}
    found["otso"].act("/hub/go/algo2026")
    found["otso"].wait_running("algo2026")
    return found


@pytest.fixture(scope="module")
def token(people: dict[str, Visitor]) -> str:
    """That of otso's server."""
    found: str = people["otso"].get("/user/otso/algo2026/environ").json()["JUPYTERHUB_API_TOKEN"]
    return found


def ask(
    hub: Hub, people: dict[str, Visitor], token: str, asker: str, row: Row
) -> requests.Response:
    """A program's request, or a visit: neither is a page's fetch."""
    if asker == "server":
        return requests.request(
            row.method,
            f"http://127.0.0.1:{hub.port + 3}{row.path}",
            headers={"Authorization": f"token {token}"},
            json=None if row.method == "GET" else row.body or {},
            allow_redirects=False,
            timeout=20,
        )
    if asker == "nobody":
        visitor = hub.visitor()
        visitor.get("/hub/login")
    else:
        visitor = people[asker]
    kwargs: dict[str, Any] = {}
    if row.path.startswith("/hub/api"):
        kwargs["headers"] = {"X-XSRFToken": visitor.xsrf}
        kwargs["json"] = None if row.method == "GET" else row.body or {}
    elif row.method != "GET":
        kwargs["data"] = {"_xsrf": visitor.xsrf, **(row.body or {})}
    return visitor.request(row.method, row.path, allow_redirects=False, **kwargs)


def test_every_address_stands_in_the_table(guarded: Hub, people: dict[str, Visitor]) -> None:
    """A new version of JupyterHub that brings an address brings a failure here."""
    rules = json.loads((guarded.folder / "rules.json").read_text())
    asked = {pattern: set() for pattern, _ in rules}
    for row in rows():
        first = next(pattern for pattern, _ in rules if re.match(pattern, row.path))
        asked[first].add(row.method)
    missing = {p: sorted(set(m) - asked[p]) for p, m in rules if set(m) - asked[p]}
    assert missing == {}, missing


def test_who_gets_what_answer(guarded: Hub, people: dict[str, Visitor], token: str) -> None:
    """And no answer, right or refused, lacks the headers that keep it out of frames."""
    wrong, bare = [], []
    for row in rows():
        for asker in ASKERS:
            if row.answers[asker] == "-":
                continue
            reply = ask(guarded, people, token, asker, row)
            found = answer(reply, asker, guarded.base)
            if found != row.answers[asker]:
                wrong.append(f"{row.method} {row.path} {asker}: {found}, not {row.answers[asker]}")
            policy = reply.headers.get("Content-Security-Policy", "")
            opener = reply.headers.get("Cross-Origin-Opener-Policy")
            # What no handler answers, the servers' door answers itself, for no browser.
            if asker != "server" and ("frame-ancestors 'none'" not in policy or not opener):
                bare.append(f"{row.method} {row.path} {asker}: {policy!r} {opener!r}")
    assert not wrong, "\n".join(wrong)
    assert not bare, "\n".join(bare)


def test_an_instructors_server_learns_names(guarded: Hub) -> None:
    aino = guarded.visitor("aino")
    address = "/hub/api/users/aino/servers/scip-instructor/students"
    headers = {"X-XSRFToken": aino.xsrf}

    def asked(body: object) -> requests.Response:
        return aino.request("POST", address, headers=headers, json=body)

    names = asked({"usernames": ["otso", "aino", "nobody1", "../x", 5]})
    assert names.json() == {
        "otso": {"full_name": "Otso Laine", "email": ""},
        "aino": {"full_name": "Aino Virtanen", "email": "aino@example.org"},
    }
    for body in ({}, [], {"usernames": "otso"}, {"usernames": ["x"] * 5001}):
        assert asked(body).status_code == 400


# --- what pages of the same origin get ----------------------------------------------------------


def test_pages_of_servers_get_nothing_of_the_hub(guarded: Hub) -> None:
    """A fetch of any mode, and a frame, with the cookies of somebody who may do all of it."""
    visitor = guarded.visitor("pomo")
    got = []
    for row in rows():
        if row.path in OPEN or "logout" in row.path:
            continue
        for mode in ("cors", "no-cors", "same-origin"):
            headers = FETCHED | {"Sec-Fetch-Mode": mode, "Referer": f"{guarded.base}/hub/home"}
            body = {"json": row.body or {}} if row.method != "GET" else {}
            reply = visitor.request(
                row.method, row.path, headers=headers, allow_redirects=False, **body
            )
            # 302 leads into the hub, where the request is refused.
            lead = reply.headers.get("Location", "").startswith(("/user/otso/", "/services/x/"))
            if reply.status_code not in (403, 424, 404) and not lead:
                got.append(f"{row.method} {row.path} {mode}: {reply.status_code}")
            if "_xsrf" in reply.text:
                got.append(f"{row.method} {row.path} {mode}: a token")
        for frame in FRAMES:
            headers = FETCHED | {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": frame}
            if row.method == "GET":
                reply = visitor.get(row.path, headers=headers, allow_redirects=False)
                lead = reply.headers.get("Location", "").startswith(("/user/otso/", "/services/x/"))
                if reply.status_code not in (403, 424) and not lead:
                    got.append(f"{row.path} in {frame}: {reply.status_code}")
    assert not got, "\n".join(got)


def test_pages_of_the_hub_show_their_token(guarded: Hub) -> None:
    visitor = guarded.visitor("pomo")
    token = {"X-XSRFToken": visitor.xsrf}
    for path in ("/hub/home?q=a", "/hub/api/users/otso"):
        for mode in ("cors", "same-origin"):
            headers = FETCHED | {"Sec-Fetch-Mode": mode}
            assert visitor.get(path, headers=headers).status_code == 403
            assert visitor.get(path, headers=headers | token).status_code == 200
            wrong = {"X-XSRFToken": visitor.xsrf[:-2] + "xx"}
            assert visitor.get(path, headers=headers | wrong).status_code == 403


def test_no_script_reads_the_token_of_a_cookie(guarded: Hub, unguarded: Hub) -> None:
    for hub, hidden in ((guarded, True), (unguarded, False)):
        cookies = requests.get(f"{hub.base}/hub/login", timeout=10).headers["Set-Cookie"]
        assert ("HttpOnly" in cookies.partition("_xsrf=")[2].partition(",")[0]) is hidden


def test_without_that_they_get_it(unguarded: Hub) -> None:
    visitor = unguarded.visitor("aino")
    headers = FETCHED | {"Sec-Fetch-Mode": "no-cors"}
    page = visitor.get("/hub/token", headers=headers)
    token = re.search(r'xsrf_token: "([^"]+)"', page.text)
    assert token, page.text[:2000]
    made = visitor.post(
        "/hub/api/users/aino/tokens",
        headers=FETCHED | {"Sec-Fetch-Mode": "cors", "X-XSRFToken": token[1]},
        json={},
    )
    assert made.status_code == 201
    assert "frame-ancestors" not in visitor.get("/hub/logo").headers.get(
        "Content-Security-Policy", ""
    )


@pytest.mark.parametrize("sign", ["%0d%0aX:1", "%00", "%7f", "%E2%80%A8"])
def test_where_a_log_in_leads_holds_no_control_characters(guarded: Hub, sign: str) -> None:
    """Such a header was a fault of the hub; the person is logged in, and comes home."""
    visitor = guarded.visitor()
    reply = visitor.log_in("aino", path=f"/hub/login?next=/hub/home{sign}")
    assert reply.status_code == 200
    assert reply.url == f"{guarded.base}/hub/home"


# --- tries --------------------------------------------------------------------------------------

#: Forms of the log-in page's address. Some pass the proxy's own limit; some reach no log-in at all.
FORMS = [
    "/hub/login",
    "/hub/login?next=%2Fhub%2Fhome",
    "/hub/login/",
    "/hub//login",
    "//hub/login",
    "/hub/%6Cogin",
    "/%68ub/login",
    "/hub/./login",
    "/hub/x/../login",
    "/hub/login%2F",
    "/hub/login;x=1",
    "/hub/login%3Fx",
    "/HUB/LOGIN",
    "/user/nobody/../../hub/login",
    "http://127.0.0.1/hub/login",
    "http://elsewhere.example/hub/login",
]
WAYS = ["POST", "post", "PUT", "GET+override"]


def knock(
    port: int, path: str, username: str, password: str, way: str = "POST"
) -> http.client.HTTPResponse:
    """One try, with the form's token, byte for byte as written."""
    visitor = requests.Session()
    visitor.trust_env = False
    agent = {"User-Agent": "guesser"}
    form = visitor.get(f"http://127.0.0.1:{port}/hub/login", headers=agent, timeout=10)
    token = re.search(r'name="_xsrf" value="([^"]+)"', form.text)
    cookies = "; ".join(f"{c.name}={c.value}" for c in visitor.cookies)
    fields = {"_xsrf": token[1] if token else "", "username": username, "password": password}
    method, _, override = way.partition("+")
    headers = agent | {"Cookie": cookies, "Content-Type": "application/x-www-form-urlencoded"}
    if override:
        headers["X-HTTP-Method-Override"] = "POST"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, urlencode(fields), headers)
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply


def lets_in(reply: http.client.HTTPResponse) -> bool:
    return any("hub-login=" in value for value in reply.headers.get_all("Set-Cookie") or ())


@pytest.mark.parametrize("door", ["proxy", "hub"])
def test_every_form_of_the_log_in_counts_tries(guarded: Hub, door: str) -> None:
    """Whatever reaches the log-in page: after three wrong tries the right password is refused too."""
    port = guarded.port if door == "proxy" else guarded.port + 1
    reached = []
    forms = [(form, "POST") for form in FORMS] + [("/hub/login", way) for way in WAYS[1:]]
    spare = iter(range(18) if door == "proxy" else range(18, GUESSERS - 3))
    name = f"guess{next(spare)}"
    for form, way in forms:
        if not lets_in(knock(port, form, name, PASSWORD.format(name), way)):
            continue
        reached.append((form, way))
        for _ in range(3):
            assert not lets_in(knock(port, form, name, "wrong", way))
        refused = knock(port, form, name, PASSWORD.format(name), way)
        assert not lets_in(refused), form
        assert refused.status == 429, form
        name = f"guess{next(spare)}"
    assert ("/hub/login", "POST") in reached
    print(door, reached)


def test_who_is_refused_is_told_how_long(guarded: Hub) -> None:
    port = guarded.port + 1
    for _ in range(3):
        knock(port, "/hub/login", "helmi", "wrong")
    reply = knock(port, "/hub/login", "helmi", PASSWORD.format("helmi"))
    assert reply.status == 429
    assert 3000 < int(reply.headers["Retry-After"]) <= 3600
    assert re.search("too many tries from .* for 'helmi'", guarded.log())
    by_proxy = guarded.visitor().log_in("helmi")
    assert by_proxy.status_code == 429
    assert "wrong passwords in a short time" in by_proxy.text
    assert int(by_proxy.headers["Retry-After"]) >= 60
    # Others behind the same address go on.
    assert "Aino Virtanen" in guarded.visitor("aino").get("/hub/home").text


def test_the_owner_gets_in_while_others_guess(guarded: Hub) -> None:
    """By the browser that has logged in before; it has a few tries of its own, for this name alone."""
    name = "maija"
    owner = guarded.visitor(name)
    owner.get("/hub/logout")
    for _ in range(5):
        knock(guarded.port, "/hub/login", name, "wrong")
    assert knock(guarded.port, "/hub/login", name, PASSWORD.format(name)).status == 429
    assert "Maija" in owner.log_in(name, path="/hub/login").text
    owner.get("/hub/logout")
    assert [owner.log_in(name, "wrong", path="/hub/login").status_code for _ in range(5)] == [
        *[403] * 3,
        *[429] * 2,
    ]


def test_no_password_is_checked_without_a_log_in(guarded: Hub) -> None:
    """By the API, as JupyterHub does: on the proxy, the hub's own port and the servers' door."""
    auth = {"username": "aino", "password": PASSWORD.format("aino")}
    basic = (auth["username"], auth["password"])
    before = guarded.log().count("Failed login") + guarded.log().count("User logged in")
    for port in (guarded.port, guarded.port + 1, guarded.port + 3):
        base = f"http://127.0.0.1:{port}/hub/api"
        for path in ("/users/aino/tokens", "/users/%61ino/tokens", "/users/aino//tokens",
                     "/users/aino/tokens/", "/../api/users/aino/tokens"):  # fmt: skip
            for given in (auth, auth | {"password": "wrong"}):
                reply = requests.post(base + path, json={"auth": given}, timeout=10)
                assert reply.status_code in (403, 404, 405), (port, path, reply.text)
        told = requests.post(f"{base}/users/aino/tokens", json={"auth": auth}, timeout=10)
        assert "after your password" in told.json()["message"]
        for method, path in (("GET", "/user"), ("GET", "/users/aino"), ("POST", "/oauth2/token")):
            reply = requests.request(method, base + path, auth=basic, data=auth, timeout=10)
            assert reply.status_code in (400, 403), path
        grant = auth | {"grant_type": "password", "client_id": "jupyterhub-user-otso-algo2026"}
        assert requests.post(f"{base}/oauth2/token", data=grant, timeout=10).status_code == 400
        for old in ("/authorizations/token", "/authorizations/token/x", "/authorizations/cookie/x"):
            assert requests.post(base + old, json=auth, timeout=10).status_code == 404
            assert requests.get(base + old, auth=basic, timeout=10).status_code == 404
    assert guarded.log().count("Failed login") + guarded.log().count("User logged in") == before


@pytest.mark.parametrize("door", [0, 1, 3])
def test_without_the_refusal_passwords_are_tried_there(unguarded: Hub, door: int) -> None:
    """As it was: as many tries as one likes, and the right one gives a token."""
    api = f"http://127.0.0.1:{unguarded.port + door}/hub/api/users/aino/tokens"
    unguarded.visitor("aino")
    tries = [f"guess {number}" for number in range(50)] + [PASSWORD.format("aino")]
    statuses = [
        requests.post(api, json={"auth": {"username": "aino", "password": guess}}, timeout=10)
        for guess in tries
    ]
    assert [reply.status_code for reply in statuses] == [403] * 50 + [201]
    mine = {"Authorization": f"token {statuses[-1].json()['token']}"}
    assert requests.get(f"{unguarded.api}/users/aino", headers=mine, timeout=10).ok


def test_without_the_count_the_log_in_page_takes_any_number(unguarded: Hub) -> None:
    port = unguarded.port + 1
    assert not any(lets_in(knock(port, "/hub/login", "otso", f"{n}")) for n in range(30))
    assert lets_in(knock(port, "/hub/login", "otso", PASSWORD.format("otso")))


CLAIMS = {
    "X_Forwarded_For": "203.0.113.7",
    "X_Real_Ip": "203.0.113.7",
    "Forwarded": "for=203.0.113.7;proto=https",
    "X_Forwarded_Proto": "https",
}


def logged(hub: Hub, pattern: str) -> None:
    """A line is written after its answer."""
    deadline = time.monotonic() + 10
    while not re.search(pattern, hub.log()):
        assert time.monotonic() < deadline, pattern
        time.sleep(0.1)


def test_only_the_proxy_says_whose_request_it_is(guarded: Hub) -> None:
    """Whoever has an account on the machine reaches the hub's own port, and claims what they like."""
    assert Guest(guarded, "127.0.0.41", None).log_in("nobody1", "wrong").status_code == 403
    # By the proxy's limited route, and by that of all the rest.
    for asked in ("POST", "GET"):
        logged(guarded, rf"{asked} /hub/login[^ ]* \(@127\.0\.0\.41\)")
    for claims in (CLAIMS, CLAIMS | {HEADER: ""}, CLAIMS | {HEADER: "guess"}):
        direct = Guest(guarded, "127.0.0.42", None, direct=True, **claims)
        assert direct.log_in("nobody2", "wrong").status_code in (403, 429)
        assert not any(cookie.secure for cookie in direct.cookies)
    logged(guarded, r"\(@127\.0\.0\.42\)")
    assert "203.0.113.7" not in guarded.log()


def test_without_the_secret_a_claim_is_believed(unguarded: Hub) -> None:
    direct = Guest(unguarded, "127.0.0.42", None, direct=True, **CLAIMS)
    assert direct.log_in("nobody2", "wrong").status_code == 403
    logged(unguarded, r"\(@203\.0\.113\.7\)")


def test_the_secret_of_the_proxy_reaches_no_server(guarded: Hub) -> None:
    known = (guarded.folder / "state" / "proxy" / "hub-secret").read_text().strip()
    person = guarded.visitor(f"guess{GUESSERS - 3}")
    person.act("/hub/go/algo2026")
    person.wait_running("algo2026")
    told = person.get(f"/user/guess{GUESSERS - 3}/algo2026/headers").text
    person.act("/hub/stop/algo2026")
    assert "X-Forwarded-For" in told
    assert HEADER.lower() not in told.lower()
    assert known not in told
    assert known not in guarded.log()
    assert (guarded.folder / "state" / "proxy" / "hub-secret").stat().st_mode & 0o077 == 0


# --- tokens and sharing -------------------------------------------------------------------------


def test_a_token_needs_the_password_again(guarded: Hub) -> None:
    name = f"guess{GUESSERS - 2}"
    visitor = guarded.visitor(name)
    headers = {"X-XSRFToken": visitor.xsrf}
    by_cookie = visitor.post(f"/hub/api/users/{name}/tokens", headers=headers, json={})
    assert by_cookie.status_code == 403
    assert "That is not your password" in visitor.act("/hub/token", password="wrong").text
    page = visitor.act("/hub/token", password=PASSWORD.format(name), note="A script", days="7")
    token = re.search(r"<pre[^>]*>([^<]+)</pre>", page.text)
    assert token
    mine = {"Authorization": f"token {token[1]}"}
    assert requests.get(f"{guarded.api}/user", headers=mine, timeout=10).json()["name"] == name
    more = requests.post(f"{guarded.api}/users/{name}/tokens", headers=mine, json={}, timeout=10)
    assert more.status_code == 201  # a program with a token may make another
    assert token[1] not in visitor.get("/hub/token").text
    for end in re.findall(r'formaction="(/hub/token/a\d+)"', visitor.get("/hub/token").text):
        visitor.act(end)
    assert requests.get(f"{guarded.api}/user", headers=mine, timeout=10).status_code == 403
    assert "A script" not in visitor.get("/hub/token").text


def test_tries_for_a_token_count_too(guarded: Hub) -> None:
    """Whoever sits at somebody's open browser does not find out the password."""
    name = f"guess{GUESSERS - 1}"
    visitor = guarded.visitor(name)
    visitor.cookies.clear(domain="127.0.0.1", path="/hub/", name="courseyard-browser")
    statuses = [visitor.act("/hub/token", password="wrong").status_code for _ in range(5)]
    assert statuses == [*[403] * 3, *[429] * 2]


def test_sharing_is_a_sites_own_wish(own_hub: Callable[..., Hub]) -> None:
    """Turned on it works, and turned off again what was shared is over."""
    hub = own_hub(hub={"sharing": True})
    otso, aino = hub.visitor("otso"), hub.visitor("aino")
    otso.act("/hub/go/algo2026")
    otso.wait_running("algo2026")
    shared = api(otso, "POST", "/shares/otso/algo2026", {"user": "aino"})
    assert shared.status_code == 200, shared.text
    assert aino.get("/hub/spawn-pending/otso/algo2026").status_code in (403, 404)
    assert api(aino, "GET", "/users/aino/shared").json()["items"]
    assert opens(aino)
    hub.stop_hub()
    file: Path = hub.folder / "courseyard.yaml"
    file.write_text(file.read_text().replace("sharing: true", "sharing: false"))
    hub.start_hub()
    assert api(otso, "POST", "/shares/otso/algo2026", {"user": "aino"}).status_code == 403
    assert api(aino, "GET", "/users/aino/shared").status_code == 403
    assert not opens(aino)
    assert re.search(r"Sharing is off: [1-9]\d* shares", hub.log())
    otso.act("/hub/stop/algo2026")


def api(visitor: Visitor, method: str, path: str, body: object = None) -> requests.Response:
    headers = {"X-XSRFToken": visitor.xsrf}
    return visitor.request(method, f"/hub/api{path}", headers=headers, json=body)


def opens(visitor: Visitor) -> bool:
    """Whether the hub lets the person into otso's server."""
    query = {
        "client_id": "jupyterhub-user-otso-algo2026",
        "response_type": "code",
        "redirect_uri": "/user/otso/algo2026/oauth_callback",
    }
    return visitor.get("/hub/api/oauth2/authorize", params=query).status_code == 200
