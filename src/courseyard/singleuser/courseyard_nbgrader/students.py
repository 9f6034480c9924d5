"""The gradebook's rows of students, kept in step with what the institution knows of people.

nbgrader knows a student by the username alone, and shows "None, None".
"""

# mypy: disable-error-code="misc, import-not-found, no-any-return"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook

from . import hub

_AGAIN = 600.0  # seconds until a name is asked for again
_asked: dict[str, float] = {}  # username → when, by time.monotonic()
_LOG = logging.getLogger("courseyard")


def follow(directory: Any) -> None:
    """Write the names of people into the gradebook of a course directory; what fails is logged.

    Who has a submission there and no row yet gets one, as *Autograde* would make it.

    Args:
        directory: nbgrader's ``CourseDirectory``.
    """
    try:
        submitted = Path(directory.format_path(directory.submitted_directory, ".", "."))
        found = [path.name for path in submitted.glob("[!.]*") if path.is_dir()]
        with Gradebook(directory.db_url, directory.course_id) as book:
            _follow(book, found)
    except Exception as error:  # names are never worth a grade
        _LOG.warning("The names of students are as they were: %s", error)


def _follow(book: Any, submitted: list[str]) -> None:
    now = time.monotonic()
    rows = {each.id: each for each in book.students}
    wanted = [
        name
        for name in {**rows, **dict.fromkeys(submitted)}
        if now - _asked.get(name, -_AGAIN) >= _AGAIN
    ]
    if not wanted:
        return
    _asked.update(dict.fromkeys(wanted, now))
    for username, about in hub.ask("students", {"usernames": wanted}).items():
        row = rows.get(username) or book.add_student(username)
        first, last = split(about["full_name"])
        for name, value in (("first_name", first), ("last_name", last), ("email", about["email"])):
            if value and getattr(row, name) != value:
                setattr(row, name, value)
    book.db.commit()


def split(full_name: str) -> tuple[str, str]:
    """First and last names, as nbgrader keeps them: the last word is the last name."""
    first, _, last = full_name.strip().rpartition(" ")
    return first.strip(), last
