"""The pages in Chromium: looks, keyboard, phone width, colours, scripts, axe-core."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sites import COURSES, PASSWORD, Hub

AXE = Path(__file__).with_name("axe.min.js")  # axe-core 4.14.1, Mozilla Public License 2.0
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser: Any, hub: Hub, path: str, username: str = "", **options: Any) -> Any:
    """A page with its log-in done; ``page.problems`` collects what the console says."""
    context = browser.new_context(**{"viewport": {"width": 1180, "height": 960}} | options)
    page = context.new_page()
    page.problems = []
    page.on("console", lambda m: m.type == "error" and page.problems.append(m.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(hub.base + path)
    if username:
        page.get_by_label("Username").fill(username)
        page.get_by_label("Password").fill(PASSWORD.format(username))
        page.get_by_role("button", name="Log in").click()
        page.wait_for_load_state()
    return page


def violations(page: Any) -> list[str]:
    """What axe-core finds on the page, evaluated past the page's own policy."""
    found: list[str] = page.evaluate(
        AXE.read_text(encoding="utf-8")
        + "; axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.flatMap("
        "v => v.nodes.map(n => v.id + ': ' + n.html)))"
    )
    return found


def shot(page: Any, name: str) -> None:
    """Save a screenshot where COURSEYARD_SHOTS says."""
    folder = os.environ.get("COURSEYARD_SHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1180, 390])
def test_pages_are_accessible(browser: Any, hub: Hub, scheme: str, width: int) -> None:
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    page = open_page(browser, hub, "/hub/login", bypass_csp=True, **options)
    assert violations(page) == []
    page.context.close()
    page = open_page(browser, hub, "/hub/home", "maija", bypass_csp=True, **options)
    page.get_by_role("button", name="Start as instructor Data").click()
    page.wait_for_url("**/user/maija/algo2026-instructor/**")
    page.goto(f"{hub.base}/hub/home")
    shot(page, f"course-page-{scheme}-{width}")
    assert violations(page) == []
    for path in (
        "/hub/go/nothing-here",
        "/hub/nothing-here",
        "/hub/error/502",
        "/user/aino/scip/lab",
        "/user/maija/mlbp2026/lab/tree/x.ipynb",
        "/user/maija/lab",
        "/hub/token",
    ):
        page.goto(hub.base + path)
        assert page.get_by_role("main").count() == 1
        assert violations(page) == [], path
        shot(page, f"{path.strip('/').replace('/', '-')}-{scheme}-{width}")
    if width > 1000:
        shot(page, f"denied-{scheme}")
    page.goto(f"{hub.base}/hub/home")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    low = page.evaluate(
        "[...document.querySelectorAll('.button, nav a, .brand, input:not([type=hidden])')]"
        ".filter(e => e.offsetParent && e.getBoundingClientRect().height < 44).map(e => e.outerHTML)"
    )
    assert low == []
    page.get_by_role("button", name="Stop Data").click()
    page.get_by_role("button", name="Start as instructor Data").wait_for()
    page.goto(f"{hub.base}/hub/user-redirect/lab")
    assert violations(page) == []
    shot(page, f"choice-{scheme}-{width}")
    page.context.close()


def test_a_start_goes_on_by_itself(browser: Any, hub: Hub) -> None:
    page = open_page(browser, hub, "/hub/home", "otso")
    page.get_by_role("button", name="Start Slow Start").click()
    page.get_by_text("Making the place").wait_for()
    page.wait_for_url("**/user/otso/slow/**", timeout=20_000)
    assert page.problems == []
    page.goto(f"{hub.base}/hub/home")
    page.get_by_role("button", name="Stop Slow Start").click()
    page.get_by_role("button", name="Start Slow Start").wait_for()


def test_without_javascript(browser: Any, hub: Hub) -> None:
    page = open_page(browser, hub, "/hub/home", "otso", java_script_enabled=False)
    page.get_by_label("Find a course").fill("slow")
    page.get_by_role("button", name="Find").click()
    assert page.locator(".card").count() == 1
    page.get_by_role("button", name="Start Slow Start").click()
    page.wait_for_url("**/user/otso/slow/**", timeout=30_000)
    page.goto(f"{hub.base}/hub/home")
    page.get_by_role("button", name="Stop Slow Start").click()


def test_search_answers_while_typing_and_by_keyboard(browser: Any, hub: Hub) -> None:
    page = open_page(browser, hub, "/hub/home", "otso")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("machine")
    page.get_by_text("1 course found").wait_for()
    assert page.locator(".card").count() == 1
    assert re.search(r"\?q=machine$", page.url)
    page.keyboard.press("Tab")
    assert "Start" in page.evaluate("document.activeElement.innerText")
    assert page.problems == []


def test_titles_run_no_script(browser: Any, hub: Hub) -> None:
    """Trap 9, in a browser."""
    page = open_page(browser, hub, "/hub/home", "otso")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page.goto(f"{hub.base}/hub/go/markup")
    page.wait_for_url("**/user/otso/markup/**")
    page.goto(f"{hub.base}/hub/home?q=%3Cscript%3Ealert(1)%3C/script%3E")
    assert dialogs == []
    page.goto(f"{hub.base}/hub/home")
    page.get_by_role("button", name="Stop <script>").click()


def test_the_first_paint_is_quick_and_small(browser: Any, hub: Hub) -> None:
    page = open_page(browser, hub, "/hub/home", "otso")
    sizes = page.evaluate(
        "performance.getEntriesByType('resource').map(e => [e.name, e.encodedBodySize])"
    )
    assert all(name.startswith(hub.base) for name, _ in sizes)
    own = [size for name, size in sizes if "woff2" not in name]
    html = page.evaluate("performance.getEntriesByType('navigation')[0].encodedBodySize")
    assert html + sum(own) < 50_000


@pytest.mark.parametrize("width", [1280, 820])
def test_administration_keeps_its_buttons_whole(browser: Any, hub: Hub, width: int) -> None:
    """With long names: a column of buttons is as wide as its words."""
    visitor = hub.visitor("maija")
    visitor.act("/hub/go/algo2026-instructor")
    visitor.wait_running("algo2026-instructor")
    options = {"viewport": {"width": width, "height": 900}, "bypass_csp": True}
    page = open_page(browser, hub, "/hub/admin", "pomo", **options)
    shot(page, f"administration-{width}")
    stop = page.get_by_role("button", name="Stop Data Structures")
    lines = stop.evaluate("e => e.getClientRects().length && e.offsetHeight")
    assert lines <= 46, lines  # pixels: one line of words
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    visitor.act("/hub/stop/algo2026-instructor")


def test_the_banner_leads_to_what_is_wrong(browser: Any, hub: Hub) -> None:
    hub.write_course("scip", COURSES["scip"] | {"privat": True})
    try:
        page = open_page(browser, hub, "/hub/home", "aino", viewport={"width": 390, "height": 700})
        link = page.get_by_role("link", name="See what to change")
        for _ in range(50):
            if link.count():
                break
            page.wait_for_timeout(200)
            page.reload()
        told = page.locator("#problems-scip")
        assert not told.is_visible()
        link.click()
        told.wait_for(state="visible")
        assert "privat" in told.inner_text()
        shot(page, "banner")
        told.evaluate("e => { e.closest('details').open = false; scrollTo(0, 0) }")
        link.click()  # the address is the same already
        told.wait_for(state="visible")
        assert page.problems == []
    finally:
        hub.write_course("scip", COURSES["scip"])
