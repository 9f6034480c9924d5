"""One link takes an instructor over: a page that a student's server serves, in Chromium, against the
hub's pages. Each way works on a hub without its protection and fails on one with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sites import PASSWORD, Hub

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed")
COURSE = "algo2026"
#: What the page reads of the hub, with the cookies of its visitor; "" is nothing.
ATTACKS = {
    "fetch": """
        let found = "";
        for (const mode of ["cors", "no-cors", "same-origin"]) {
          const reply = await fetch("/hub/home", {mode, referrer: "/hub/home"});
          found += (await reply.text()).match(/name="_xsrf" value="([^"]+)"/)?.[1] ?? "";
        }
        return found;""",
    "API": """
        const reply = await fetch("/hub/api/users/aino", {mode: "no-cors", referrer: "/hub/home"});
        return (await reply.text()).match(/"last_activity"/)?.[0] ?? "";""",
    "cookie": """
        const frame = document.createElement("iframe");
        frame.src = "/hub/logo";
        const loaded = new Promise((done) => { frame.onload = done; });
        document.body.append(frame);
        await loaded;
        return frame.contentDocument?.cookie.match(/_xsrf=([^;]+)/)?.[1] ?? "";""",
    "popup": """
        const popup = window.open("/hub/home");
        const until = Date.now() + 4000;
        while (Date.now() < until) {
          try {
            const found = popup.document.querySelector("input[name=_xsrf]")?.value;
            if (found) { popup.close(); return found; }
          } catch (error) { return ""; }
          if (popup.closed) return "";
          await new Promise((done) => setTimeout(done, 50));
        }
        popup.close();
        return "";""",
    "frame": """
        let found = "";
        for (const path of ["/hub/logo", "/hub/courseyard/static/icon.svg", "/hub/nothing", "/hub/home",
                            "/hub/api/", "/hub/static/images/jupyterhub-80.png"]) {
          const frame = document.createElement("iframe");
          frame.src = path;
          const loaded = new Promise((done) => { frame.onload = done; });
          document.body.append(frame);
          await loaded;
          try { if (frame.contentDocument.URL.includes("/hub/")) found += path; } catch (error) {}
        }
        return found;""",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def lured(browser: Any) -> Iterator[Any]:
    """Brings a logged-in instructor to the page of otso's server."""
    contexts = []

    def lure(hub: Hub) -> Any:
        otso = hub.visitor("otso")
        otso.act(f"/hub/go/{COURSE}")
        otso.wait_running(COURSE)
        context = browser.new_context()
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{hub.base}/hub/home")
        page.get_by_label("Username").fill("aino")
        page.get_by_label("Password").fill(PASSWORD.format("aino"))
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/hub/home")
        page.goto(f"{hub.base}/user/otso/{COURSE}/")
        assert "It runs" in page.content()  # the proxy asks nobody, and the page is otso's program
        return page

    yield lure
    for context in contexts:
        context.close()


def attack(page: Any, name: str) -> str:
    """What the page gets; popups count as asked for by a click."""
    found: str = page.evaluate(f"async () => {{{ATTACKS[name]}}}")
    return found


@pytest.mark.parametrize("name", ATTACKS)
def test_a_page_of_a_server_gets_nothing(lured: Any, guarded: Hub, name: str) -> None:
    assert attack(lured(guarded), name) == ""


@pytest.mark.parametrize("name", ATTACKS)
def test_without_protection_it_gets_it(lured: Any, unguarded: Hub, name: str) -> None:
    assert attack(lured(unguarded), name)


def test_pages_of_the_hub_work_as_before(browser: Any, guarded: Hub) -> None:
    """Search while typing and the event stream of a start show the token; a link opens a server."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{guarded.base}/hub/home")
    page.get_by_label("Username").fill("aino")
    page.get_by_label("Password").fill(PASSWORD.format("aino"))
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("searchbox").fill("machine")
    page.get_by_text("1 course found").wait_for()
    assert page.url.endswith("?q=machine")
    page.get_by_role("button", name="Start Machine Learning", exact=False).first.click()
    page.wait_for_url("**/user/aino/mlbp2026/**")
    page.goto(f"{guarded.base}/hub/home")
    page.goto(f"{guarded.base}/hub/token")
    page.get_by_label("Password").fill(PASSWORD.format("aino"))
    page.get_by_role("button", name="Make a token").click()
    assert page.locator("pre").inner_text()
    context.close()
