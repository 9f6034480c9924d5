"""What people write for nbgrader, taken as they mean it: names are no patterns, due dates are the site's."""

# mypy: disable-error-code="misc, import-not-found, no-any-return"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

import re
from typing import Any

from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory

from . import names, times

_format_path = CourseDirectory.format_path
_add_assignment = Gradebook.add_assignment
_update_assignment = Gradebook.update_or_create_assignment
#: What nbgrader itself asks for as a regular expression; all else is somebody's name.
_PATTERN = re.compile(r"\(\?P<\w+>.*\)|\.\*")


def format_path(
    self: Any, nbgrader_step: str, student_id: str, assignment_id: str, escape: bool = False
) -> str:
    """nbgrader's own, where ``escape`` holds for names, too: ``2) Lists`` is no regular expression."""
    if escape:
        student_id, assignment_id = _escaped(student_id), _escaped(assignment_id)
    return _format_path(self, nbgrader_step, student_id, assignment_id, escape)


def add_assignment(self: Any, name: str, **kwargs: Any) -> Any:
    """nbgrader's own, for names that work.

    Raises:
        ValueError: this one does not.
    """
    objection = names.objection(name)
    if objection:
        raise ValueError(objection)
    return _add_assignment(self, name, **_dated(kwargs))


def update_or_create_assignment(self: Any, name: str, **kwargs: Any) -> Any:
    """nbgrader's own, with a due date as :func:`.times.due` reads it.

    Raises:
        ValueError: it cannot be read, or the name cannot be used.
    """
    return _update_assignment(self, name, **_dated(kwargs))


def install() -> None:
    """Make nbgrader use these in this process; it may be called again."""
    CourseDirectory.format_path = format_path
    Gradebook.add_assignment = add_assignment
    Gradebook.update_or_create_assignment = update_or_create_assignment


def _dated(about: dict[str, Any]) -> dict[str, Any]:
    written = about.get("duedate")
    if isinstance(written, str):
        return {**about, "duedate": times.due(written) if written else None}
    return about


def _escaped(name: str) -> str:
    return name if _PATTERN.fullmatch(name) else re.escape(name)
