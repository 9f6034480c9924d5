"""The pages that a person uses, as the tests use them: course page, JupyterLab, formgrader.

Selectors are what a person sees (labels, roles) where the page gives them; nbgrader's own pages
give ids and classes alone (nbgrader 0.9.6, server_extensions/formgrader/static/js).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Error, Frame, Page, expect

START_TIMEOUT = 120_000  # ms; two cores may start several servers at once


@dataclass
class Visitor:
    """One person with a browser of their own."""

    page: Page
    base: str
    username: str
    shots: Path
    dialogs: list[str] = field(default_factory=list)

    @classmethod
    def arrive(cls, browser: Browser, base: str, username: str, shots: Path) -> Visitor:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.set_default_timeout(30_000)
        visitor = cls(page, base, username, shots)
        page.on("dialog", lambda dialog: (visitor.dialogs.append(dialog.message), dialog.accept()))
        return visitor

    def shot(self, name: str) -> None:
        self.shots.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self.shots / f"{name}-{self.username}.png")

    def log_in(self, password: str, path: str = "/") -> None:
        self.page.goto(self.base + path)
        self.page.get_by_label("Username", exact=False).fill(self.username)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.locator("form [type=submit]").first.click()
        # The page that is left counts as loaded, and leaving it too early would lose the log-in.
        self.page.wait_for_url(re.compile(r"^(?!.*/hub/login)"))

    def go(self, link: str) -> None:
        """Follow a course link and wait for JupyterLab, as somebody does who clicks it in Moodle."""
        self.page.goto(f"{self.base}/hub/go/{link}")
        self.wait_for_lab()

    def wait_for_lab(self) -> None:
        self.page.wait_for_url(re.compile(r".*/user/[^/]+/[^/]+/lab.*"), timeout=START_TIMEOUT)
        self.menu_bar.first.wait_for(timeout=START_TIMEOUT)

    def other_tab(self) -> Visitor:
        """JupyterLab once more, in another tab of the same browser."""
        page = self.page.context.new_page()
        page.set_default_timeout(30_000)
        page.goto(self.page.url.partition("/lab")[0] + "/lab")
        other = Visitor(page, self.base, self.username, self.shots)
        other.menu_bar.first.wait_for(timeout=START_TIMEOUT)
        return other

    @property
    def menu_bar(self):  # type: ignore[no-untyped-def]
        return self.page.locator(".lm-MenuBar-itemLabel")

    def nbgrader_items(self) -> list[str]:
        """Labels of the Nbgrader menu; empty when there is no such menu."""
        item = self.menu_bar.filter(has_text="Nbgrader")
        if not item.count():
            return []
        item.click()
        labels = self.page.locator(".lm-Menu-itemLabel").all_inner_texts()
        self.page.keyboard.press("Escape")
        return labels

    def nbgrader(self, label: str) -> None:
        self.menu_bar.filter(has_text="Nbgrader").click()
        self.page.locator(".lm-Menu-itemLabel").get_by_text(label, exact=True).click()

    # Assignment list

    def assignment_list(self) -> None:
        self.nbgrader("Assignment List")
        self.page.locator("#released_assignments_list").wait_for()

    def assignment(self, where: str, assignment: str):  # type: ignore[no-untyped-def]
        """The row of an assignment in ``released``, ``fetched`` or ``submitted``."""
        return self.page.locator(f"#{where}_assignments_list > .list_item").filter(
            has_text=assignment
        )

    def fetch(self, assignment: str) -> None:
        self.assignment("released", assignment).get_by_role("button", name="Fetch").click()
        self.assignment("fetched", assignment).get_by_role("button", name="Submit").wait_for()

    def expand(self, assignment: str) -> None:
        row = self.assignment("fetched", assignment)
        notebooks = row.get_by_role("button", name="Validate").first
        # The list is drawn anew after each action, and its mark of what is open lags behind.
        for _ in range(5):
            if notebooks.is_visible():
                return
            row.locator(".assignment-notebooks-link").click()
            self.page.wait_for_timeout(1000)
        expect(notebooks).to_be_visible()

    def validate(self, assignment: str, notebook: str) -> str:
        """Validate a notebook; what the dialog says."""
        self.expand(assignment)
        row = (
            self.assignment("fetched", assignment)
            .locator(".nested_list_item")
            .filter(has_text=notebook)
        )
        row.get_by_role("button", name="Validate").click()
        dialog = self.page.locator(".jp-Dialog-content")
        dialog.wait_for(timeout=90_000)
        text: str = dialog.inner_text()
        dialog.locator("button").last.click()
        dialog.wait_for(state="detached")
        return text

    def submit(self, assignment: str) -> None:
        self.assignment("fetched", assignment).get_by_role("button", name="Submit").click()
        self.assignment("submitted", assignment).first.wait_for()

    def fetch_feedback(self, assignment: str) -> None:
        row = self.assignment("submitted", assignment)
        row.get_by_role("button", name="Fetch Feedback").click()
        row.get_by_text("view feedback").first.wait_for()

    # Notebooks

    def open_notebook(self, assignment: str, notebook: str) -> None:
        """Open a fetched notebook by its link in the assignment list."""
        self.expand(assignment)
        self.assignment("fetched", assignment).get_by_role("link", name=notebook).click()
        self.panel.locator(".jp-Cell").first.wait_for()

    @property
    def panel(self):  # type: ignore[no-untyped-def]
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def write_cell(self, marker: str, text: str) -> None:
        """Replace the source of the last cell that holds ``marker``, with the keyboard."""
        cell = self.panel.locator(".jp-Cell").filter(has_text=marker).last
        cell.scroll_into_view_if_needed()
        if cell.locator(".jp-MarkdownOutput:visible").count():
            cell.locator(".jp-MarkdownOutput").dblclick()
        editor = cell.locator(".cm-content")
        editor.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.press("Delete")
        # insert_text gives no key events, so the editor does not add indents of its own
        self.page.keyboard.insert_text(text)

    def save(self) -> None:
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("Control+s")
        expect(
            self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden).jp-mod-dirty")
        ).to_have_count(0)
        time.sleep(1)  # the save itself is a request that nothing on the page waits for

    # Formgrader

    def formgrader(self) -> Formgrader:
        """Open formgrader from JupyterLab's menu; it has a tab of its own."""
        context = self.page.context
        self.nbgrader("Formgrader")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            # A second click brings the tab of the first to the front, as it stands.
            for page in context.pages:
                if "/formgrader" in page.url:
                    page.set_default_timeout(30_000)
                    page.wait_for_load_state()
                    return Formgrader(page.main_frame, self)
            self.page.wait_for_timeout(200)
        raise AssertionError("formgrader did not open")


@dataclass
class Formgrader:
    """nbgrader's grading pages."""

    frame: Frame
    visitor: Visitor

    def shot(self, name: str) -> None:
        self.visitor.shots.mkdir(parents=True, exist_ok=True)
        self.frame.page.screenshot(path=self.visitor.shots / f"{name}-{self.visitor.username}.png")

    @property
    def root(self) -> str:
        return self.frame.url.split("/formgrader")[0] + "/formgrader"

    def row(self, name: str):  # type: ignore[no-untyped-def]
        return self.frame.locator("#main-table tr").filter(has_text=name)

    def assignments(self) -> None:
        address = f"{self.root}/manage_assignments"
        try:
            self.frame.goto(address)
        except Error as error:
            # A tab that was just opened may still be on its own way there.
            if "interrupted by another navigation" not in error.message:
                raise
            self.frame.wait_for_url(address)

    def _act(self, click: Callable[[], None]) -> str:
        """Click, wait for the result window, close it; its text."""
        click()
        window = self.frame.locator(".modal.in, .modal.show").last
        window.wait_for()
        self.frame.wait_for_function(
            "!/Please wait/.test(document.querySelector('.modal.in,.modal.show')?.innerText"
            " ?? 'Please wait')",
            timeout=180_000,
        )
        text: str = window.inner_text()
        window.get_by_role("button", name="Close").last.click()
        window.wait_for(state="detached")
        return text

    def act(self, assignment: str, what: str) -> str:
        """``assign``, ``release``, ``collect``, ``generate-feedback`` or ``release-feedback``."""
        link = self.row(assignment).locator(f"td.{what} a").first
        link.wait_for()
        return self._act(link.click)

    def submissions(self, assignment: str) -> None:
        self.row(assignment).locator("td.num-submissions a").click()
        self.frame.wait_for_url(re.compile(rf".*/manage_submissions/{assignment}.*"))
        self.frame.locator("#main-table td.student-id").first.wait_for()

    def autograde(self, student: str) -> str:
        link = self.row(student).locator("td.autograde a")
        link.wait_for()
        return self._act(link.click)

    def score(self, student: str) -> str:
        text: str = self.row(student).locator("td.score").inner_text()
        return text

    def status(self, student: str) -> str:
        text: str = self.row(student).locator("td.status").inner_text()
        return text

    def grade_by_hand(self, assignment: str, student: str, notebook: str, points: str) -> None:
        """Give ``points`` to every cell that still waits for a person."""
        self.frame.goto(f"{self.root}/manage_students/{student}/{assignment}")
        self.row(notebook).locator("td.name a").click()
        self.frame.wait_for_url(re.compile(r".*/submissions/.*"))
        waiting = self.frame.locator("input.score.needs_manual_grade")
        waiting.first.wait_for()
        for _ in range(waiting.count()):
            # The class goes with the grade, so the first one left is always the next.
            with self.frame.page.expect_response(re.compile(r".*/api/grade/.*")):
                waiting.first.fill(points)
                self.frame.page.keyboard.press("Tab")
            self.frame.page.wait_for_timeout(500)
        expect(waiting).to_have_count(0)
