"""The course page and the pages around a start, through the real proxy and hub."""

from __future__ import annotations

import html
import re
import time

import pytest
from sites import COURSES, Hub


def cards(page: str) -> dict[str, str]:
    """Cards of a course page by slug, tags and all."""
    found = re.findall(r'<li class="card.*?</li>', page, re.S)
    return {re.search(r'class="slug">([^<]+)', card)[1]: card for card in found}  # type: ignore[index]


def test_course_page_shows_what_is_this_persons(hub: Hub) -> None:
    page = hub.visitor("aino").get("/hub/home").text
    shown = cards(page)
    assert "Aino Virtanen" in page
    assert "secret" not in shown
    assert "old" not in shown
    assert "Start as instructor" in shown["scip"]
    assert "as a student" in shown["scip"]
    assert "Start as instructor" not in shown["algo2026"]
    assert len(page.encode()) < 50_000
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page)


def test_group_members_are_instructors(hub: Hub) -> None:
    visitor = hub.visitor("maija")
    assert "Start as instructor" in cards(visitor.get("/hub/home").text)["algo2026"]
    shown = cards(visitor.get("/hub/home", params={"q": "archived"}).text)
    assert "The course is over" in shown["old"]
    assert "formaction" not in shown["old"]


def test_titles_are_text_never_markup(hub: Hub) -> None:
    """Trap 9."""
    page = hub.visitor("otso").get("/hub/home").text
    assert "<script>alert" not in page
    assert "<script>alert('x')</script> & \"Quotes\"" in html.unescape(cards(page)["markup"])


def test_a_mistake_is_told_to_staff_with_its_place(hub: Hub) -> None:
    student, teacher = hub.visitor("otso"), hub.visitor("aino")
    hub.write_course("scip", COURSES["scip"] | {"privat": True})
    try:
        deadline = time.monotonic() + 20
        while "has a mistake" not in (page := html.unescape(teacher.get("/hub/home").text)):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        said = r"is shown as it was on \d+ \w+, \d\d:\d\d: scip\.yaml, line \d+ has a mistake\."
        assert re.search(said, page)
        assert '<a href="#problems-scip">See what to change' in page
        assert 'id="problems-scip"' in cards(page)["scip"]
        assert "scip.yaml" in cards(page)["scip"]
        assert "has a mistake" not in student.get("/hub/home").text
    finally:
        hub.write_course("scip", COURSES["scip"])


def test_search_finds_and_says_how_many(hub: Hub) -> None:
    page = hub.visitor("otso").get("/hub/home", params={"q": "machine"}).text
    assert list(cards(page)) == ["mlbp2026"]
    assert "1 course found" in page
    nothing = hub.visitor("otso").get("/hub/home", params={"q": "<b>no"}).text
    assert "No course of yours is called that" in nothing
    assert "<b>no" not in nothing


def test_start_open_and_stop(hub: Hub) -> None:
    visitor = hub.visitor("otso")
    visitor.act("/hub/go/mlbp2026")
    assert "It runs" in visitor.wait_running("mlbp2026").text
    card = cards(visitor.get("/hub/home").text)["mlbp2026"]
    assert re.search(r"running since \d\d:\d\d", card)
    assert 'href="/user/otso/mlbp2026/"' in card
    assert visitor.get("/hub/go/mlbp2026").url == f"{hub.base}/user/otso/mlbp2026/"
    page = visitor.act("/hub/stop/mlbp2026")
    assert page.url == f"{hub.base}/hub/home"
    assert "running since" not in cards(page.text)["mlbp2026"]
    stopped = visitor.get("/user/otso/mlbp2026/lab")
    assert stopped.status_code == 424
    assert "Machine Learning" in stopped.text
    assert "not running" in stopped.text


def test_changes_need_the_forms_token(hub: Hub) -> None:
    visitor = hub.visitor("otso")
    for path in ("/hub/go/algo2026", "/hub/stop/algo2026", "/hub/spawn/otso/algo2026"):
        reply = visitor.post(
            path, headers={"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"}
        )
        assert reply.status_code == 403, path
    assert "running since" not in cards(visitor.get("/hub/home").text)["algo2026"]
    assert visitor.get("/hub/stop/algo2026").status_code == 405


def test_security_headers(hub: Hub) -> None:
    reply = hub.visitor().get("/hub/login")
    policy = reply.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "object-src 'none'" in policy
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert "Server" not in reply.headers
    assert "default-src 'none'" in html.unescape(reply.text)


@pytest.mark.parametrize(
    ("link", "server"),
    [
        ("/hub/go/algo2026", "algo2026"),
        ("/hub/go/algo2026/", "algo2026"),
        ("/hub/go/algo2026-instructor", "algo2026-instructor"),
        ("/hub/go/general", "general-python-env"),
        ("/hub/go/general/r", "general-r-env"),
        ("/hub/spawn?profile=algo2026", "algo2026"),
        ("/hub/spawn?profile=algo2026-instructor", "algo2026-instructor"),
    ],
)
def test_links_survive_the_log_in(hub: Hub, link: str, server: str) -> None:
    visitor = hub.visitor()
    try:
        visitor.log_in("maija", path=link)
        assert visitor.wait_running(server).url == f"{hub.base}/user/maija/{server}/"
    finally:
        visitor.act(f"/hub/stop/{server}")


def test_a_link_works_while_another_server_runs(hub: Hub) -> None:
    """Trap 11."""
    visitor = hub.visitor("aino")
    visitor.get("/hub/go/algo2026")
    visitor.wait_running("algo2026")
    visitor.get("/hub/go/scip-instructor")
    assert "/user/aino/scip-instructor/" in visitor.wait_running("scip-instructor").url
    assert visitor.get("/hub/go/algo2026").url == f"{hub.base}/user/aino/algo2026/"
    for name in ("algo2026", "scip-instructor"):
        visitor.act(f"/hub/stop/{name}")


CLICK = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-User": "?1"}


@pytest.mark.parametrize(
    ("headers", "starts"),
    [
        (CLICK | {"Sec-Fetch-Site": "cross-site"}, True),
        (
            {
                "Sec-Fetch-Site": "cross-site",
                "Sec-Fetch-Mode": "no-cors",
                "Sec-Fetch-Dest": "image",
            },
            False,
        ),
        (
            {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
            False,
        ),
        (
            {
                "Sec-Fetch-Site": "cross-site",
                "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Dest": "document",
            },
            False,
        ),
        (
            {
                "Sec-Fetch-Site": "cross-site",
                "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Dest": "iframe",
            },
            False,
        ),
    ],
)
def test_only_a_click_starts(hub: Hub, headers: dict[str, str], starts: bool) -> None:
    visitor = hub.visitor("helmi")
    reply = visitor.get("/hub/go/algo2026", headers=headers)
    visit = headers["Sec-Fetch-Mode"] == "navigate" and headers["Sec-Fetch-Dest"] == "document"
    if starts:
        assert reply.url != f"{hub.base}/hub/go/algo2026"
        visitor.wait_running("algo2026")
        visitor.act("/hub/stop/algo2026")
    else:
        refused = "A link on another page wants to start this" if visit else "Only a visit opens"
        assert refused in reply.text
        assert "running since" not in visitor.get("/hub/home").text


def test_unnamed_server_never_starts(hub: Hub) -> None:
    visitor = hub.visitor("otso")
    assert visitor.get("/hub/spawn").url == f"{hub.base}/hub/home"
    assert visitor.get("/hub/spawn/otso").url == f"{hub.base}/hub/home"
    assert visitor.get("/user/otso/lab").status_code == 424
    assert visitor.act("/hub/api/users/otso/server").status_code == 403


def test_logged_out_means_out(hub: Hub) -> None:
    visitor = hub.visitor("otso")
    assert "Log in" in visitor.get("/hub/logout").text
    assert "/hub/login" in visitor.get("/hub/home").url


def test_wrong_password_is_said_in_words(hub: Hub) -> None:
    reply = hub.visitor().log_in("aino", password="wrong")
    assert reply.status_code == 403
    assert "do not belong together" in reply.text
    assert hub.visitor().log_in("nobody", password="x").status_code == 403
    assert hub.visitor().log_in("aino", password="").status_code == 403
    assert hub.visitor().log_in("nobody", password="").status_code == 403


def test_usernames_are_normalised(hub: Hub) -> None:
    reply = hub.visitor().log_in("AINO", password="correct horse aino")
    assert reply.status_code == 200
    assert "Aino Virtanen" in reply.text
