"""The main job, as people do it: from release to fetched feedback, two students, two instructors.

One story in steps: each test is a step and needs those before it, so the first failure ends it.
"""

from __future__ import annotations

import os

import pytest

from tests.browser.conftest import University
from tests.browser.pages import Visitor

COURSE = "algo2026"
WEEK = "week1"
NOTEBOOK = "sorting"
TEACHER, ASSISTANT = "ada", "tomas"
GOOD, WEAK = "maija", "omar"  # two students

IS_SORTED = "def is_sorted(items):\n    return all(a <= b for a, b in zip(items, items[1:]))"
MERGE = """def merge(left, right, key=lambda item: item):
    merged, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        if key(left[i]) <= key(right[j]):
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return merged + left[i:] + right[j:]"""
MERGE_SORT = """def merge_sort(items, key=lambda item: item):
    if len(items) <= 1:
        return list(items)
    middle = len(items) // 2
    return merge(merge_sort(items[:middle], key), merge_sort(items[middle:], key), key)"""


class Story:
    """The people of the story, each with a browser that stays open."""

    def __init__(self, university: University) -> None:
        self.university = university
        self.people: dict[str, Visitor] = {}
        self.broken = ""

    def person(self, username: str) -> Visitor:
        if username not in self.people:
            self.people[username] = self.university.log_in(username)
        return self.people[username]


@pytest.fixture(scope="module")
def story(university: University) -> Story:
    return Story(university)


@pytest.fixture(autouse=True)
def in_order(story: Story, request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    if story.broken:
        pytest.fail(f"needs the step {story.broken}, which failed")
    story.broken = request.node.name
    yield
    report = getattr(request.node, "call_report", None)
    if report is None or report.passed:
        story.broken = ""
    for visitor in story.people.values():
        if story.broken:
            visitor.shot(f"failed-{request.node.name}")


def test_course_page_shows_everyone_their_roles(story: Story) -> None:
    teacher = story.person(TEACHER)
    teacher.shot("course-page")
    card = teacher.page.locator("article, li, section").filter(
        has_text="Data Structures and Algorithms"
    )
    assert card.get_by_role("button", name="Start as instructor").count()
    student = story.person(GOOD)
    student.shot("course-page")
    text = student.page.inner_text("body")
    assert "Data Structures and Algorithms" in text
    assert "Scientific Computing in Practice" in text  # private, but she is on its list
    assert "Start as instructor" not in text
    other = story.person(WEAK)
    assert "Data Structures and Algorithms" in other.page.inner_text("body")
    assert "Scientific Computing in Practice" not in other.page.inner_text("body")
    assert "Data Structures and Algorithms 2025" not in text  # archived


def test_teacher_releases(story: Story) -> None:
    teacher = story.person(TEACHER)
    teacher.go(f"{COURSE}-instructor")
    formgrader = teacher.formgrader()
    formgrader.row(WEEK).wait_for()
    formgrader.shot("formgrader")
    said = formgrader.act(WEEK, "assign")
    assert "Success" in said
    assert "[INFO]" not in said, "the log lies behind Details"
    assert "Success" in formgrader.act(WEEK, "release")


@pytest.mark.parametrize("student", [GOOD, WEAK])
def test_student_fetches_and_validates(story: Story, student: str) -> None:
    visitor = story.person(student)
    visitor.go(COURSE)
    assert not {"Formgrader", "Create assignment", "Course List"} & set(visitor.nbgrader_items())
    visitor.assignment_list()
    visitor.fetch(WEEK)
    visitor.shot("fetched")
    assert "cells fail. You can submit all the same." in visitor.validate(WEEK, NOTEBOOK)


def test_good_student_solves_and_submits(story: Story) -> None:
    student = story.person(GOOD)
    student.open_notebook(WEEK, NOTEBOOK)
    student.write_cell("def is_sorted(items)", IS_SORTED)
    student.write_cell("def merge(left, right", MERGE)
    student.write_cell("def merge_sort(items", MERGE_SORT)
    student.write_cell("YOUR CODE HERE", "print('times grow a little faster than linearly')")
    student.write_cell("YOUR ANSWER HERE", "Halving gives log2 n levels; each costs n.")
    student.shot("solved")  # and not saved
    student.assignment_list()
    said = student.validate(WEEK, NOTEBOOK)
    assert "passes all the tests that you can see. Your teacher has further tests" in said
    student.open_notebook(WEEK, NOTEBOOK)
    student.write_cell("times grow", "print('times grow a little faster than linearly.')")
    student.assignment_list()
    student.submit(WEEK)
    student.shot("submitted")


def test_weak_student_submits_a_part(story: Story) -> None:
    student = story.person(WEAK)
    student.open_notebook(WEEK, NOTEBOOK)
    other = student.other_tab()
    other.assignment_list()
    student.write_cell("def is_sorted(items)", IS_SORTED)
    other.submit(WEEK)  # saves what the first tab holds
    other.page.close()
    student.assignment_list()
    # This tab's list is as it was.
    student.page.locator("#refresh_assignments_list").click()
    student.assignment("submitted", WEEK).first.wait_for()


def test_both_instructors_collect_and_autograde(story: Story) -> None:
    assistant = story.person(ASSISTANT)
    assistant.go(f"{COURSE}-instructor")
    formgrader = assistant.formgrader()
    assert "Success" in formgrader.act(WEEK, "collect")
    formgrader.submissions(WEEK)
    assert "Korhonen, Maija" in formgrader.row(GOOD).inner_text()
    assert "Success" in formgrader.autograde(GOOD)
    formgrader.shot("autograded")
    teachers = story.person(TEACHER).formgrader()
    teachers.assignments()
    teachers.submissions(WEEK)
    assert "Success" in teachers.autograde(WEAK)
    assert teachers.score(GOOD).startswith("6"), teachers.score(GOOD)
    assert teachers.score(WEAK).startswith("1"), teachers.score(WEAK)
    assert "manual" in teachers.status(GOOD)


def test_teacher_grades_by_hand(story: Story) -> None:
    formgrader = story.person(TEACHER).formgrader()
    # The second click in JupyterLab's menu found her tab as she left it, and leaves it so.
    formgrader.frame.wait_for_timeout(2_000)
    assert f"/manage_submissions/{WEEK}" in formgrader.frame.url
    formgrader.grade_by_hand(WEEK, GOOD, NOTEBOOK, "2")
    formgrader.shot("graded-by-hand")
    formgrader.assignments()
    formgrader.submissions(WEEK)
    assert formgrader.score(GOOD).startswith("10"), formgrader.score(GOOD)
    assert formgrader.score(WEAK).startswith("1"), formgrader.score(WEAK)


def test_assistant_returns_feedback(story: Story) -> None:
    formgrader = story.person(ASSISTANT).formgrader()
    formgrader.assignments()
    assert "Success" in formgrader.act(WEEK, "generate-feedback")
    assert "Success" in formgrader.act(WEEK, "release-feedback")


@pytest.mark.parametrize(("student", "total"), [(GOOD, "10"), (WEAK, "1")])
def test_student_fetches_feedback(story: Story, student: str, total: str) -> None:
    visitor = story.person(student)
    visitor.assignment_list()
    visitor.fetch_feedback(WEEK)
    visitor.shot("feedback-fetched")
    asked: list[str] = []
    visitor.page.context.on("request", lambda request: asked.append(request.url))
    with visitor.page.expect_popup() as opened:
        visitor.assignment("submitted", WEEK).get_by_text("view feedback").first.click()
    page = opened.value
    page.locator(".MathJax, .MathJax_CHTML, .MathJax_SVG").first.wait_for()
    page.screenshot(path=visitor.shots / f"feedback-{student}.png")
    base = story.university.base
    assert all(url.startswith((base, "data:", "about:")) for url in asked), asked
    page.close()
    uid = 20003 if student == GOOD else 20004
    folder = story.university.storage / "u" / f"{uid % 100:02d}" / student
    pages = list((folder / COURSE / WEEK / "feedback").rglob("*.html"))
    assert pages, "the feedback is in the student's own folder"
    text = pages[0].read_text()
    assert f"(Score: {total}" in text, "the sum stands on the feedback"
    other = "omar" if student == GOOD else "maija"
    assert not list(folder.rglob(f"*{other}*")), "nobody else's feedback"


@pytest.mark.parametrize(
    "path", ["course", "course/source", "m/jupyter/course/algo2026", "m/jupyter/u/04/omar"]
)
def test_student_sees_nothing_of_others(story: Story, path: str) -> None:
    page = story.person(GOOD).page
    base = page.url.split("/lab")[0]
    status = page.evaluate(
        "url => fetch(url, {credentials: 'include'}).then(a => a.status)",
        f"{base}/api/contents/{path}",
    )
    assert status in (403, 404)


def test_files_have_their_owners(story: Story) -> None:
    storage = story.university.storage
    submitted = storage / "course" / COURSE / "files" / "submitted" / GOOD / WEEK
    assert submitted.is_dir()
    mode = submitted.stat().st_mode
    assert mode & 0o020, "fellow instructors can write"
    if os.geteuid() == 0:
        assert submitted.stat().st_gid == 21001
        assert (storage / "u" / "03" / GOOD).stat().st_uid == 20003
        assert (storage / "u" / "03" / GOOD).stat().st_mode & 0o777 == 0o700


def test_a_phone_shows_the_work_and_not_the_files(story: Story) -> None:
    student = story.person(GOOD)
    page = student.page.context.new_page()
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(student.page.url.partition("/lab")[0] + "/lab")
    page.locator("#jp-main-dock-panel").wait_for(timeout=60_000)
    page.locator("#jp-left-stack").wait_for(state="hidden")
    page.screenshot(path=student.shots / f"phone-{GOOD}.png")
    page.close()


def test_stop_on_the_course_page(story: Story) -> None:
    student = story.person(GOOD)
    student.page.goto(f"{story.university.base}/hub/home")
    student.shot("running")
    card = student.page.locator("article, li, section").filter(has_text="running since").last
    card.get_by_role("button", name="Stop").click()
    student.page.wait_for_function(
        "!document.body.innerText.includes('running since')", timeout=60_000
    )
