"""nbgrader 0.9's list of assignments, with errors that reach the person.

Its own says of a failed *Fetch* that all is well, and of a failed *Submit* a traceback
(nbgrader/server_extensions/assignment_list/handlers.py).
"""

# mypy: disable-error-code="misc, import-not-found, attr-defined, untyped-decorator, no-any-return"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from jupyter_server.utils import url_path_join
from nbgrader.server_extensions.assignment_list import handlers
from nbgrader.utils import parse_utc
from tornado import web

from . import feedback
from .courseyard_nbgrader import times

#: What nbgrader raises with a text for people (nbgrader/exchange/abc/exchange.py).
_FOR_PEOPLE = "ExchangeError: "
_UNKNOWN = "Something went wrong. Try again; if it happens again, tell your teachers. It says: "


class Assignments(handlers.AssignmentList):
    """The list with times for people, and the three actions, each with a sentence where it failed."""

    def list_assignments(self, course_id: str | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = super().list_assignments(course_id)
        if answer["success"]:
            for each in answer["value"]:
                told(each)
        return answer

    def fetch_assignment(self, course_id: str, assignment_id: str) -> dict[str, Any]:
        return in_words(super().fetch_assignment(course_id, assignment_id))

    def submit_assignment(self, course_id: str, assignment_id: str) -> dict[str, Any]:
        return in_words(super().submit_assignment(course_id, assignment_id))

    def fetch_feedback(self, course_id: str, assignment_id: str) -> dict[str, Any]:
        return in_words(super().fetch_feedback(course_id, assignment_id))


class ActionHandler(handlers.BaseAssignmentHandler):
    """What a button does: the list of assignments as it is then, or what went wrong."""

    @web.authenticated
    def post(self, action: str) -> None:
        try:
            assignment, course = self.get_argument("assignment_id"), self.get_argument("course_id")
        except web.MissingArgumentError:
            body = self.get_json_body()
            assignment, course = body["assignment_id"], body["course_id"]
        work = {
            "fetch": self.manager.fetch_assignment,
            "submit": self.manager.submit_assignment,
            "fetch_feedback": self.manager.fetch_feedback,
        }[action]
        done = work(course, assignment)
        if done["success"]:
            done = self.manager.list_assignments(course_id=course)
        self.finish(json.dumps(done))


def told(info: dict[str, Any]) -> None:
    """Put times for people into what the list shows: the due date, and when it was submitted."""
    due = datetime.fromisoformat(info["due"]) if info.get("due") else None
    info["said"] = f"due {times.shown(due)}" if due else ""
    for submission in info.get("submissions", ()):
        at = parse_utc(submission["timestamp"])
        late = " (late)" if due and at > due else ""
        submission["timestamp"] = f"{times.shown(at)}{late}"


def in_words(result: dict[str, Any]) -> dict[str, Any]:
    """``result`` with a sentence in the place of a traceback."""
    if result["success"]:
        return result
    text = str(result["value"]).strip()
    _, known, said = text.rpartition(_FOR_PEOPLE)
    if known:
        return {"success": False, "value": said}
    return {"success": False, "value": _UNKNOWN + text.splitlines()[-1], "log": text}


def prepare(app: Any) -> None:
    """Before the extensions load: the first handler of an address answers."""
    feedback.prepare(app)
    address = url_path_join(app.base_url, "assignments", handlers._assignment_action_regex)
    app.web_app.add_handlers(".*$", [(address, ActionHandler)])


def mend(app: Any) -> None:
    """After the extensions are loaded."""
    settings = app.web_app.settings
    if "assignment_list_manager" in settings:
        manager = Assignments(parent=app)
        manager.root_dir = app.root_dir
        settings["assignment_list_manager"] = manager
