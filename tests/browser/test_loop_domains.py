"""The main job where each person has a host of their own: release to fetched feedback, in short."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import NAME, University, running
from tests.browser.pages import START_TIMEOUT, Visitor
from tests.browser.test_loop import COURSE, IS_SORTED, NOTEBOOK, WEEK

TEACHER, STUDENT = "ada", "maija"


@pytest.fixture(scope="module")
def apart(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[University]:
    folder = tmp_path_factory.mktemp("domains") / "university"
    with running(folder, browser, subdomains=True) as university:
        yield university


@pytest.fixture(scope="module")
def teacher(apart: University) -> Visitor:
    return apart.log_in(TEACHER)


@pytest.fixture(scope="module")
def student(apart: University) -> Visitor:
    return apart.log_in(STUDENT)


@pytest.fixture(autouse=True)
def shots(apart: University, request: pytest.FixtureRequest) -> Iterator[None]:
    """What the browser showed when a step failed."""
    yield
    report = getattr(request.node, "call_report", None)
    if report is not None and report.failed:
        apart.shots.mkdir(parents=True, exist_ok=True)
        pages = [page for context in apart.browser.contexts for page in context.pages]
        for number, page in enumerate(pages):
            page.screenshot(path=apart.shots / f"failed-{request.node.name}-{number}.png")


def host(visitor: Visitor) -> str:
    return str(visitor.page.evaluate("location.host"))


def test_the_loop(apart: University, teacher: Visitor, student: Visitor) -> None:
    port = apart.base.rpartition(":")[2]
    teacher.go(f"{COURSE}-instructor")
    assert host(teacher) == f"{TEACHER}.{NAME}:{port}"
    formgrader = teacher.formgrader()
    formgrader.row(WEEK).wait_for(timeout=START_TIMEOUT)
    assert formgrader.root.startswith(apart.of(TEACHER))
    assert "Success" in formgrader.act(WEEK, "assign")
    assert "Success" in formgrader.act(WEEK, "release")

    # By the button of the course page: a form of the hub leads to another host.
    student.page.goto(f"{apart.base}/hub/home")
    card = student.page.locator("article, li, section").filter(
        has_text="Data Structures and Algorithms"
    )
    card.get_by_role("button", name="Start").first.click()
    student.wait_for_lab()
    assert host(student) == f"{STUDENT}.{NAME}:{port}"
    student.assignment_list()
    student.fetch(WEEK)
    student.open_notebook(WEEK, NOTEBOOK)
    student.write_cell("def is_sorted(items)", IS_SORTED)
    student.save()
    student.assignment_list()
    student.submit(WEEK)

    formgrader = teacher.formgrader()
    formgrader.assignments()
    assert "Success" in formgrader.act(WEEK, "collect")
    formgrader.submissions(WEEK)
    assert "Success" in formgrader.autograde(STUDENT)
    assert formgrader.score(STUDENT).startswith("1"), formgrader.score(STUDENT)
    formgrader.assignments()
    assert "Success" in formgrader.act(WEEK, "generate-feedback")
    assert "Success" in formgrader.act(WEEK, "release-feedback")

    student.fetch_feedback(WEEK)
    folder = apart.storage / "u" / "03" / STUDENT / COURSE / WEEK / "feedback"
    (page,) = folder.rglob("*.html")
    assert "(Score: 1" in page.read_text()


def test_a_download(apart: University, student: Visitor) -> None:
    base = student.page.url.split("/lab")[0]
    address = f"{base}/files/notebooks/{COURSE}/{WEEK}/{NOTEBOOK}.ipynb"
    with student.page.expect_download() as download:
        student.page.evaluate(
            """address => {
                const link = document.createElement("a");
                link.href = address; link.download = ""; document.body.append(link); link.click();
            }""",
            address,
        )
    assert download.value.path().read_bytes().startswith(b"{")


def test_the_labs_way_to_the_hub(apart: University, student: Visitor) -> None:
    context = student.page.context
    student.menu_bar.filter(has_text="File").click()
    with context.expect_page() as opened:
        student.page.get_by_text("Hub Control Panel", exact=True).click()
    opened.value.wait_for_url(f"{apart.base}/hub/home")
    link = opened.value.get_by_role("link", name="Open").first
    assert str(link.get_attribute("href")).startswith(f"{apart.of(STUDENT)}/user/")
    link.click()
    opened.value.wait_for_url(re.compile(f"{apart.of(STUDENT)}/user/.*"))
    opened.value.close()


SOCKET = """address => new Promise(go => {
    const token = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/);
    const socket = new WebSocket(`${address}?_xsrf=${token ? token[1] : ""}`);
    socket.onopen = () => { socket.close(); go("open"); };
    socket.onerror = () => go("refused");
})"""
READ = """address => fetch(address, {credentials: "include", headers: {
    "X-XSRFToken": document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)?.[1] ?? "",
}}).then(reply => reply.status, error => error.name)"""
READ_PLAINLY = """address => fetch(address, {credentials: "include"})
    .then(reply => reply.status, error => error.name)"""


def test_a_page_of_anothers_server(apart: University, teacher: Visitor) -> None:
    """What maija's page, in ada's browser, reaches of ada's server: what ada's own does, it does not."""
    server = f"{apart.of(TEACHER)}/user/{TEACHER}/{COURSE}-instructor"
    events = "ws" + server.removeprefix("http") + "/api/events/subscribe"
    gradebook = f"{server}/api/contents/course/gradebook.db?content=0"
    page = teacher.page.context.new_page()
    page.goto(f"{server}/lab")
    page.locator(".lm-MenuBar-itemLabel").first.wait_for()
    assert page.evaluate(SOCKET, events) == "open"
    assert page.evaluate(READ, gradebook) == 200
    address = f"{apart.of(STUDENT)}/user/{STUDENT}/{COURSE}/own"
    page.route(
        address, lambda route: route.fulfill(body="<!doctype html>", content_type="text/html")
    )
    page.goto(address)
    assert page.evaluate(SOCKET, events) == "refused"
    assert page.evaluate(READ, gradebook) == "TypeError"
    assert page.evaluate(READ_PLAINLY, gradebook) == "TypeError"
    assert page.evaluate(READ_PLAINLY, f"{apart.base}/hub/home") == "TypeError"
    page.close()


def test_a_server_that_does_not_run(apart: University, student: Visitor) -> None:
    """An address of before leads to the hub, and from there to the same place."""
    address = f"{apart.of(STUDENT)}/user/{STUDENT}/{COURSE}/lab/tree/notebooks"
    page = student.page
    page.goto(f"{apart.base}/hub/home")
    card = page.locator("article, li, section").filter(has_text="running since").last
    card.get_by_role("button", name="Stop").click()
    page.wait_for_function("!document.body.innerText.includes('running since')", timeout=60_000)
    for _ in range(60):  # a pod takes its time to end, and is told of meanwhile
        page.goto(address)
        if page.url.startswith(f"{apart.base}/hub/user/{STUDENT}/{COURSE}/"):
            break
        page.wait_for_timeout(1_000)
    expect(page.get_by_text("Data Structures and Algorithms").first).to_be_visible()
    page.get_by_role("link", name="Start").click()
    student.wait_for_lab()
    assert page.url.startswith(address.rpartition("/tree")[0])


def test_logging_out(apart: University, student: Visitor) -> None:
    """By JupyterLab's menu; her server, which remembers who came, lets nobody in any more."""
    base = student.page.url.split("/lab")[0]
    student.menu_bar.filter(has_text="File").click()
    # JupyterHub's own menu has one too, and keeps it out of sight.
    student.page.locator(".lm-Menu-itemLabel:visible", has_text="Log Out").first.click()
    student.page.wait_for_url(f"{apart.base}/hub/login**")
    student.page.goto(f"{base}/lab")
    student.page.wait_for_url(f"{apart.base}/hub/login**")
