"""What a page of one person's server can do to another where people have hosts of their own.

Each attack is tried on two sites in Chromium. `stock` has JupyterHub's own per-user domains, without
what Courseyard adds, and there it succeeds; where the browser alone refuses it, the same is seen to
work from the victim's own host. The page of otso's server is what the test says, because a person's
program answers what it wants; aino is the victim.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from sites import PASSWORD, Hub, Visitor, certificate
from test_hub_browser import CHROMIUM
from test_hub_domains import NAME
from test_hub_domains import names as names  # the fixture

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed")

#: Takes out what Courseyard adds to JupyterHub's own per-user domains.
STOCK_EARLY = """\
from courseyard.hub import ownhost
from courseyard.hub.home import base, clicks
from courseyard.settings import Site
ownhost.install = lambda: None
base.is_click = lambda headers, site: clicks.is_click(headers, Site())
"""
STOCK_MORE = """\
c.JupyterHub.hub_routespec = "/"
c.JupyterHub.cookie_host_prefix_enabled = False
"""


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Hub]]:
    """`ours` and `stock`, with running servers of both people."""
    tls = certificate(tmp_path_factory.mktemp("tls"), NAME, f"*.{NAME}")
    settings: dict[str, Any] = {"host": NAME, "proxy": {"login_rate": 1000, "tls": tls}}
    made: dict[str, Hub] = {}
    try:
        for name, lines in (("ours", ("", "")), ("stock", (STOCK_EARLY, STOCK_MORE))):
            folder = tmp_path_factory.mktemp(name) / "site"
            made[name] = Hub(folder, early=lines[0], more=lines[1], **settings)
            made[name].start()
            for person in ("aino", "otso"):
                visitor = made[name].visitor(person)
                visitor.act("/hub/go/scip")
                visitor.wait_running("scip")
        yield made
    finally:
        for hub in made.values():
            hub.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        args = ["--no-sandbox", "--disable-gpu", "--ignore-certificate-errors"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        yield browser
        browser.close()


class Victim:
    """aino's browser."""

    def __init__(self, browser: Any, hub: Hub) -> None:
        self.hub = hub
        self.context = browser.new_context()
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)

    def log_in(self, name: str = "aino") -> None:
        self.page.goto(f"{self.hub.base}/hub/login")
        self.page.get_by_label("Username").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD.format(name))
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(f"{self.hub.base}/hub/home")

    def visit(self, username: str, body: str = "") -> None:
        """Open a page that this person's server serves."""
        address = f"{self.hub.of(username)}/user/{username}/scip/own"
        html = f"<!doctype html><title>own</title><body>{body}"
        self.context.route(
            address, lambda route: route.fulfill(body=html, content_type="text/html")
        )
        self.page.goto(address)

    def who(self) -> str:
        """Whom the hub takes this browser for; "" for nobody."""
        self.page.goto(f"{self.hub.base}/hub/home")
        found = re.search(r"(Aino|Otso) ", self.page.inner_text("header"))
        return found[1] if found else ""


@pytest.fixture
def victim(browser: Any, sites: dict[str, Hub]) -> Iterator[Callable[[str], Victim]]:
    made: list[Victim] = []

    def make(site: str) -> Victim:
        made.append(Victim(browser, sites[site]))
        return made[-1]

    yield make
    for one in made:
        one.context.close()


def toss(cookies: dict[str, str], path: str = "/") -> str:
    """JavaScript that sets cookies for all hosts below the hub's."""
    return "".join(
        f"document.cookie = '{name}={value}; Domain={NAME}; Path={path}; Secure';"
        for name, value in cookies.items()
    )


def of(visitor: Visitor, name: str) -> str:
    return next(c.value or "" for c in visitor.cookies if c.name.removeprefix("__Host-") == name)


SITES = pytest.mark.parametrize("site", ["stock", "ours"])
Make = Callable[[str], Victim]


@SITES
def test_the_true_log_in_form_at_a_false_host(victim: Make, site: str) -> None:
    aino = victim(site)
    reply = aino.page.goto(f"{aino.hub.of('otso')}/hub/login")
    assert reply.status == (200 if site == "stock" else 404)
    assert aino.page.locator("input[type=password]").count() == (1 if site == "stock" else 0)


@SITES
@pytest.mark.parametrize("before", [True, False], ids=["logged in", "not yet"])
def test_the_log_in_of_another(victim: Make, site: str, before: bool) -> None:
    """otso's page gives aino his own log-in: what she writes then is his to read."""
    aino = victim(site)
    otso = aino.hub.visitor("otso")
    if before:
        aino.log_in()
    aino.visit("otso")
    login = "jupyterhub-hub-login"
    for path in ("/hub/", "/hub/home"):
        aino.page.evaluate(toss({login: of(otso, login)}, path))
    assert aino.who() == ("Otso" if site == "stock" else "Aino" if before else "")


@SITES
def test_a_form_that_logs_in_as_another(victim: Make, site: str) -> None:
    """The same by the form: otso's page sends his password with a token that the hub gave him."""
    aino = victim(site)
    agent = aino.page.evaluate("navigator.userAgent")
    otso = aino.hub.visitor()
    otso.headers["User-Agent"] = (
        agent  # the token is for it and the address, which a classroom shares
    )
    form = otso.get("/hub/login")
    token = re.search(r'name="_xsrf" value="([^"]+)"', form.text)
    assert token
    fields = {"_xsrf": token[1], "username": "otso", "password": PASSWORD.format("otso")}
    inputs = "".join(f"<input name='{name}' value='{value}'>" for name, value in fields.items())
    action = f"{aino.hub.base}/hub/login"
    aino.visit("otso", f"<form method=post action='{action}'>{inputs}</form>")
    aino.page.evaluate(toss({"_xsrf": token[1]}, "/hub/"))
    with aino.page.expect_navigation():
        aino.page.evaluate("document.forms[0].submit()")
    assert aino.who() == ("Otso" if site == "stock" else "")


def test_a_cookie_that_locks_out(victim: Make) -> None:
    """A token of otso's before aino's own: the hub reads its own alone, and forms go on."""
    aino = victim("ours")
    otso = aino.hub.visitor("otso")
    aino.log_in()
    aino.visit("otso")
    for path in ("/hub/go/scip", "/hub/home", "/hub/"):
        aino.page.evaluate(toss({"_xsrf": of(otso, "_xsrf")}, path))
    assert aino.who() == "Aino"
    with aino.page.expect_navigation() as went:
        aino.page.evaluate(
            "const f = document.getElementById('act'); f.action = '/hub/go/scip'; f.submit()"
        )
    assert went.value.status == 200


def sent_to(aino: Victim, path: str) -> str:
    """Where aino ends whom otso's page sends to the hub's ``path``, by no click of hers."""
    # By the page's own script: what a test evaluates counts as a click.
    script = f"setTimeout(() => {{ location = '{aino.hub.base}{path}'; }}, 300)"
    aino.visit("otso", f"<script>{script}</script>")
    aino.page.wait_for_url(re.compile(r"^(?!.*/own$)"))
    aino.page.wait_for_load_state()
    return str(aino.page.url)


@SITES
def test_a_page_that_logs_out(victim: Make, site: str) -> None:
    aino = victim(site)
    aino.log_in()
    end = sent_to(aino, "/hub/logout")
    assert end.endswith("/hub/logout" if site == "ours" else "/hub/login")
    assert aino.who() == ("" if site == "stock" else "Aino")


@SITES
def test_a_page_that_starts_a_server(victim: Make, site: str) -> None:
    aino = victim(site)
    aino.log_in()
    end = sent_to(aino, "/hub/go/algo2026")
    assert end.endswith("/hub/go/algo2026") == (site == "ours")
    assert aino.page.get_by_role("button", name="Start").count() == (1 if site == "ours" else 0)
    aino.hub.visitor("aino").act("/hub/stop/algo2026")


def test_a_page_reads_its_own_host_alone(victim: Make) -> None:
    aino = victim("ours")
    aino.log_in()
    read = "address => fetch(address, {credentials: 'include'}).then(a => a.text(), e => `${e}`)"
    server = f"{aino.hub.of('aino')}/user/aino/scip/environ"
    hub = f"{aino.hub.base}/hub/home"
    aino.visit("otso")
    for address in (server, hub, f"{aino.hub.base}/hub/api/user", f"{aino.hub.base}/hub/token"):
        assert "TypeError" in aino.page.evaluate(read, address), address
    blind = (
        f"() => fetch('{server}', {{mode: 'no-cors', credentials: 'include'}})"
        ".then(a => a.type, e => e.name)"
    )
    assert aino.page.evaluate(blind) in ("opaque", "TypeError")
    aino.visit("aino")
    assert "JUPYTERHUB_API_TOKEN" in aino.page.evaluate(read, server)


def test_a_window_shows_its_own_host_alone(victim: Make) -> None:
    """Handles of windows and frames: what aino's own page sees of hers, otso's does not."""
    aino = victim("ours")
    aino.log_in()
    look = """async address => {
        const tab = window.open(address);
        await new Promise(go => setTimeout(go, 1500));
        let seen;
        try { seen = tab.document.title; } catch (error) { seen = error.name; }
        if (tab) tab.close();
        return seen ?? 'nothing';
    }"""
    server = f"{aino.hub.of('aino')}/user/aino/scip/lab"
    aino.visit("aino")
    assert aino.page.evaluate(look, server) == "scip"
    aino.visit("otso")
    assert aino.page.evaluate(look, server) in ("SecurityError", "nothing", "TypeError")
    # The hub cuts the handle altogether.
    for address in (f"{aino.hub.base}/hub/home", f"{aino.hub.base}/hub/login"):
        assert aino.page.evaluate(look, address) in ("SecurityError", "", "TypeError", "nothing")
    framed = """address => new Promise(go => {
        const frame = document.createElement('iframe');
        frame.onload = () => {
            try { go(frame.contentDocument.body.innerText); } catch (error) { go(error.name); }
        };
        frame.src = address; document.body.append(frame);
    })"""
    for path in ("/hub/home", "/hub/login", "/hub/token", "/hub/logout"):
        address = f"{aino.hub.base}{path}"
        assert aino.page.evaluate(framed, address) != "Aino"
        frame = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
        told = requests.get(address, headers=frame, verify=aino.hub.verify, timeout=10)
        assert told.status_code == 403
        assert "frame-ancestors 'none'" in told.headers["Content-Security-Policy"]


def test_a_service_worker_stays_at_its_host(victim: Make) -> None:
    """otso leaves one on a shared computer; aino logs in there afterwards."""
    aino = victim("ours")
    program = "addEventListener('fetch', e => e.respondWith(new Response('false form')))"
    page = f"{aino.hub.of('otso')}/user/otso/scip/lab"
    worker = f"{aino.hub.of('otso')}/user/otso/scip/answer?kind=text/javascript&body="
    aino.log_in("otso")
    aino.page.goto(page)
    register = """async ([address, scope]) => {
        try { await navigator.serviceWorker.register(address, {scope}); }
        catch (error) { return error.name; }
        await navigator.serviceWorker.ready;
        return 'registered';
    }"""
    address = worker + aino.page.evaluate("encodeURIComponent", program)
    assert aino.page.evaluate(register, [address, "/user/otso/scip/"]) == "registered"
    for scope in (f"{aino.hub.base}/", f"{aino.hub.of('aino')}/user/aino/"):
        assert aino.page.evaluate(register, [address, scope]) == "SecurityError"
    aino.context.clear_cookies()
    aino.page.goto(page)
    assert aino.page.inner_text("body") == "false form"
    aino.log_in()
    assert aino.who() == "Aino"
    aino.page.goto(f"{aino.hub.of('aino')}/user/aino/scip/lab")
    assert aino.page.inner_text("body") == "It runs"
