"""Links into a notebook: each starts what it names and opens just that; none leads anywhere else."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import requests
from sites import COURSES, Hub, Visitor

FILE = "notebooks/week%201/a%20b.ipynb"
OPENED = f"/user/maija/algo2026/lab/tree/{FILE}"


@pytest.fixture
def maija(hub: Hub) -> Iterator[Visitor]:
    visitor = hub.visitor("maija")
    yield visitor
    for server in ("algo2026", "algo2026-instructor", "general-python-env", "mlbp2026"):
        visitor.act(f"/hub/stop/{server}")


def follow(visitor: Visitor, reply: requests.Response) -> requests.Response:
    """Wait on the progress page until the server answers."""
    deadline = time.monotonic() + 30
    while "/hub/spawn-pending/" in reply.url and "<progress" in reply.text:
        assert time.monotonic() < deadline, reply.text
        time.sleep(0.2)
        reply = visitor.get(reply.url)
    return reply


def press(visitor: Visitor, reply: requests.Response, label: str) -> requests.Response:
    """Press a button or follow a link of a page."""
    text = re.escape(html.escape(label))
    link = re.search(rf'<a class="button[^"]*" href="([^"]+)">{text}<', reply.text)
    if link:
        return visitor.get(html.unescape(link[1]))
    action = re.search(rf'formaction="([^"]+)">{text}<', reply.text)
    assert action, reply.text
    return visitor.act(html.unescape(action[1]))


LINKS = [
    (f"/hub/go/algo2026/{FILE}", OPENED),
    (f"/hub/go/algo2026/lab/tree/{FILE}?reset", f"{OPENED}?reset"),
    (f"/hub/go/algo2026?urlpath=lab/tree/{quote(FILE)}", OPENED),
    ("/hub/go/algo2026?urlpath=/lab/tree/notebooks/week 1/a b.ipynb", OPENED),
    (f"/hub/go/algo2026?next=/user-redirect/lab/tree/{quote(FILE)}", OPENED),
    (f"/hub/go/algo2026?next=/user/maija/algo2026/lab/tree/{quote(FILE)}", OPENED),
    (f"/hub/go/algo2026-instructor/{FILE}", OPENED.replace("2026/", "2026-instructor/")),
    (f"/hub/go/general/python/{FILE}", OPENED.replace("algo2026", "general-python-env")),
    (f"/hub/user-redirect/algo2026/lab/tree/{FILE}?reset", f"{OPENED}?reset"),
    ("/hub/user-redirect/algo2026/git-pull?repo=https%3A%2F%2Fgit.example%2Fx&urlpath=lab%2Ftree%2Fx",
     "/user/maija/algo2026/git-pull?repo=https%3A%2F%2Fgit.example%2Fx&urlpath=lab%2Ftree%2Fx"),
    (f"/hub/spawn?profile=algo2026&next=/hub/user-redirect/lab/tree/{quote(FILE)}", OPENED),
    (f"/hub/spawn?opt-profile=algo2026&urlpath=lab/tree/{quote(FILE)}", OPENED),
    ("/hub/spawn?opt-profile=algo2026", "/user/maija/algo2026/"),
    (f"/hub/spawn/maija/algo2026?next=/hub/user/maija/algo2026/lab/tree/{quote(FILE)}", OPENED),
    ("/hub/spawn/maija/algo2026?next=/hub/home", "/user/maija/algo2026/"),
]  # fmt: skip
#: One of each kind; the others are asked where the server runs.
FIRST = [LINKS[place] for place in (0, 2, 7, 8, 10, 13)]


@pytest.mark.parametrize(("link", "opened"), FIRST)
def test_a_link_starts_and_opens_just_that(hub: Hub, link: str, opened: str) -> None:
    """After the log-in, when nothing runs."""
    visitor = hub.visitor()
    try:
        started = visitor.log_in("maija", path=link)
        assert started.status_code == 200, started.text
        assert follow(visitor, started).url == hub.base + opened
    finally:
        visitor.act(f"/hub/stop/{opened.split('/')[3]}")


def test_a_link_opens_just_that_in_what_runs(hub: Hub, maija: Visitor) -> None:
    for course in ("algo2026", "algo2026-instructor", "general/python"):
        follow(maija, maija.act(f"/hub/go/{course}"))
    assert {link: maija.get(link).url for link, _ in LINKS} == {
        link: hub.base + opened for link, opened in LINKS
    }


def test_a_link_without_a_course_opens_where_something_runs(hub: Hub, maija: Visitor) -> None:
    follow(maija, maija.act("/hub/go/mlbp2026"))
    opened = maija.get(f"/hub/user-redirect/lab/tree/{FILE}?reset")
    assert opened.url == f"{hub.base}/user/maija/mlbp2026/lab/tree/{FILE}?reset"


def test_a_link_without_a_course_asks_when_nothing_runs(hub: Hub, maija: Visitor) -> None:
    page = maija.get(f"/hub/user-redirect/lab/tree/{FILE}")
    assert "Where do you want to open it?" in page.text
    assert "Private Course" not in page.text
    assert "Archived Course" not in page.text
    started = press(maija, page, "Data Structures and Algorithms")
    assert follow(maija, started).url == hub.base + OPENED


@pytest.mark.parametrize("slug", ["secret", "nothing-here"])
def test_such_a_link_tells_nobody_which_courses_there_are(hub: Hub, slug: str) -> None:
    page = hub.visitor("otso").get(f"/hub/user-redirect/{slug}/lab", allow_redirects=False)
    assert page.status_code == 200
    assert "Where do you want to open it?" in page.text
    assert "Private" not in page.text


def test_a_bookmark_starts_its_server_and_opens_its_page(hub: Hub, maija: Visitor) -> None:
    bookmark = f"/user/maija/algo2026/lab/tree/{FILE}?reset"
    page = maija.get(bookmark)
    assert page.status_code == 424
    started = press(maija, page, "Start")
    assert follow(maija, started).url == hub.base + bookmark


def test_a_bookmark_of_a_server_that_never_ran(hub: Hub) -> None:
    """A colleague's address with one's own name put in, or one of an older hub."""
    visitor = hub.visitor("helmi")
    page = visitor.get("/user/helmi/scip/lab/tree/x.ipynb")
    assert page.status_code == 424
    try:
        started = press(visitor, page, "Start")
        assert follow(visitor, started).url == f"{hub.base}/user/helmi/scip/lab/tree/x.ipynb"
    finally:
        visitor.act("/hub/stop/scip")
    hidden = hub.visitor("otso").get("/user/otso/secret/lab")
    assert hidden.status_code == 424
    assert "Private" not in hidden.text


def test_a_bookmark_without_a_course_asks_for_one(hub: Hub, maija: Visitor) -> None:
    page = press(maija, maija.get(f"/user/maija/lab/tree/{FILE}"), "Choose where to open it")
    started = press(maija, page, "Data Structures and Algorithms")
    assert follow(maija, started).url == hub.base + OPENED


def test_another_page_starts_nothing_and_the_button_opens_it(hub: Hub, maija: Visitor) -> None:
    hidden = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}  # fmt: skip
    page = maija.get(f"/hub/go/algo2026/{FILE}?reset", headers=hidden)
    assert "wants to start this" in page.text
    assert follow(maija, press(maija, page, "Start")).url == f"{hub.base}{OPENED}?reset"


def test_a_link_is_kept_over_the_limit_of_servers(hub: Hub, maija: Visitor) -> None:
    for course in ("mlbp2026", "general/python", "general/r"):
        follow(maija, maija.act(f"/hub/go/{course}"))
    try:
        page = maija.get(f"/hub/go/algo2026/{FILE}")
        assert page.status_code == 409
        assert follow(maija, press(maija, page, "Stop Machine Learning")).url == hub.base + OPENED
    finally:
        maija.act("/hub/stop/general-r-env")


def test_a_link_is_kept_when_the_start_fails(hub: Hub, maija: Visitor) -> None:
    page = follow(maija, maija.get("/hub/go/dies/notebooks/x.ipynb"))
    assert "did not start" in page.text
    again = re.search(r'href="([^"]+)">Try again<', page.text)
    assert again
    assert "urlpath=lab%2Ftree%2Fnotebooks%2Fx.ipynb" in again[1]


def test_the_classic_interface_keeps_its_own_page(hub: Hub, maija: Visitor) -> None:
    hub.write_course("mlbp2026", COURSES["mlbp2026"] | {"jupyterlab": False})
    try:
        deadline = time.monotonic() + 20
        while True:
            reply = maija.get("/hub/go/mlbp2026/notebooks/x.ipynb", allow_redirects=False)
            if "urlpath=tree" in reply.headers["Location"]:
                break
            assert time.monotonic() < deadline, reply.headers
            follow(maija, maija.get(reply.headers["Location"]))
            maija.act("/hub/stop/mlbp2026")
        opened = follow(maija, maija.get(reply.headers["Location"])).url
        assert opened == f"{hub.base}/user/maija/mlbp2026/tree/notebooks/x.ipynb"
    finally:
        hub.write_course("mlbp2026", COURSES["mlbp2026"])


AWAY = [
    "//evil.example/x", "///evil.example/x", "/\\evil.example", "\\\\evil.example", "https://evil.example/",
    "https:evil.example", "javascript:alert(1)", "/%2Fevil.example", "%2F%2Fevil.example", "/%5Cevil.example",
    "/%252Fevil.example", "/\t/evil.example", "/%0a/evil.example", "..//evil.example", "lab/../../../x",
    "lab/%2e%2e/%2E%2e/x", "lab/%252e%252e/x", "/user/otso/algo2026/lab", "/hub/user/otso/algo2026/lab",
    "/user/maija/scip/lab", "user/otso/lab", "%75ser/otso/lab", "/hub/admin", "/hub/logout",
    "/hub/user-redirect/../../user/otso/", "/user/maija/algo2026/../../otso/algo2026/lab",
    "/user/maija/algo2026//evil.example", "/services/x", "lab/tree/a\\..\\b", "lab/tree/\u2028x",
]  # fmt: skip


@pytest.mark.parametrize("way", ["urlpath", "next", "path", "user-redirect", "spawn", "profile", "pending"])  # fmt: skip
def test_what_leads_away_is_refused_and_starts_nothing(hub: Hub, way: str) -> None:
    visitor = hub.visitor("maija")
    wrong = []
    for away in AWAY:
        asked = quote(away, safe="")
        link = {
            "urlpath": f"/hub/go/algo2026?urlpath={asked}",
            "next": f"/hub/go/algo2026?next={asked}",
            "path": f"/hub/go/algo2026/{asked}",
            "user-redirect": f"/hub/user-redirect/algo2026/{asked}",
            "spawn": f"/hub/spawn/maija/algo2026?next={asked}",
            "profile": f"/hub/spawn?opt-profile=algo2026&next={asked}",
            "pending": f"/hub/spawn-pending/maija/algo2026?next={asked}",
        }[way]
        reply = visitor.get(link)
        if reply.status_code != 404 or "leads away from your own server" not in reply.text:
            wrong.append(f"{away!r}: {reply.status_code} {reply.url}")
    assert not wrong, "\n".join(wrong)
    assert "algo2026" not in visitor.get(
        "/hub/api/user", headers={"Referer": f"{hub.base}/hub/home"}
    ).json().get("servers", {})


def test_a_log_in_never_leads_to_another_site(hub: Hub) -> None:
    for away in AWAY[:15]:
        page = hub.visitor()
        page.get("/hub/login")
        data = {"_xsrf": page.xsrf, "username": "maija", "password": "correct horse maija"}
        reply = page.post(f"/hub/login?next={quote(away, safe='')}", data=data, allow_redirects=False)  # fmt: skip
        lead = reply.headers.get("Location", "")
        assert reply.status_code == 302, (away, reply.status_code)
        assert re.match(r"/(?![/\\\s])", lead), (away, lead)
