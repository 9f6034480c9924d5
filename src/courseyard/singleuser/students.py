"""nbgrader 0.9's lists of students and submissions: people's names, no word "None", and who was late."""

# mypy: disable-error-code="misc, import-not-found, attr-defined, untyped-decorator, no-any-return"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import datetime
from typing import Any

from nbgrader.api import MissingEntry
from nbgrader.server_extensions.formgrader import apihandlers
from tornado import web

from .courseyard_nbgrader import students

_ABOUT = ("first_name", "last_name", "email")
_NOTHING = "–"  # nbgrader's pages write "None" for what is not known


class _Named:
    """In front of a handler of nbgrader's that lists students."""

    @web.authenticated
    async def get(self, *words: str) -> None:
        await asyncio.to_thread(students.follow, self.coursedir)
        # The gradebook that is open here must not answer from what it read before.
        self.gradebook.db.expire_all()
        super().get(*words)

    def write(self, chunk: Any) -> None:
        if self.get_status() == 200:
            answer = json.loads(chunk)
            for row in answer if isinstance(answer, list) else [answer]:
                row.update({name: row[name] or _NOTHING for name in _ABOUT if name in row})
                self.complete(row)
            chunk = json.dumps(answer)
        super().write(chunk)

    def complete(self, row: dict[str, Any]) -> None:
        """What else a page shows of a row."""


class _Late(_Named):
    """The same for submissions, with the word for late ones."""

    def complete(self, row: dict[str, Any]) -> None:
        if not row.get("display_timestamp"):
            return
        due = self._due(row["name"], row["student"])
        if due and datetime.fromisoformat(row["timestamp"]) > due:
            row["display_timestamp"] += " (late)"

    def _due(self, assignment: str, student: str) -> datetime | None:
        with contextlib.suppress(MissingEntry):
            return self.gradebook.find_submission(assignment, student).duedate
        with contextlib.suppress(MissingEntry):  # not autograded yet
            return self.gradebook.find_assignment(assignment).duedate
        return None


class Submissions(_Late, apihandlers.SubmissionCollectionHandler):
    pass


class Submission(_Late, apihandlers.SubmissionHandler):
    pass


class Students(_Named, apihandlers.StudentCollectionHandler):
    pass


class Student(_Named, apihandlers.StudentHandler):
    def get_json_body(self) -> Any:
        body = super().get_json_body()
        return {name: None if value == _NOTHING else value for name, value in body.items()}


HANDLERS = (
    ("submissions/([^/]+)", Submissions),
    ("submission/([^/]+)/([^/]+)", Submission),
    ("students", Students),
    ("student/([^/]+)", Student),
)
