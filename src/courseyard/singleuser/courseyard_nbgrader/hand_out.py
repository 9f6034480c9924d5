"""nbgrader's ``release_assignment`` and ``release_feedback``, by one person at a time.

Both remove or rename what another who releases the same is at work on
(nbgrader/exchange/default/release_assignment.py, release_feedback.py).
"""

# mypy: disable-error-code="misc, import-not-found, no-any-return"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

import contextlib
import glob
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.exchange import default

from . import duedates, locks, tree


class OneAtATime(default.Exchange):
    what = ""  # begins the name of the lock

    def copy_files(self) -> None:
        name = self.coursedir.assignment_id
        try:
            with locks.held(Path(self.coursedir.root), f"{self.what}/{name}", "releases it"):
                self.copy_one()
        except locks.BusyError as error:
            self.fail(f"Not released: the {self.what} '{name}': {error}. Wait until that is done.")

    def copy_one(self) -> None:
        super().copy_files()


class ExchangeReleaseAssignment(OneAtATime, default.ExchangeReleaseAssignment):
    """It has nbgrader's name, so that nbgrader's settings and options for it hold."""

    what = "assignment"

    def copy_one(self) -> None:
        super().copy_one()
        directory = self.coursedir
        with (
            contextlib.suppress(MissingEntry),
            Gradebook(directory.db_url, directory.course_id) as book,
        ):
            due = book.find_assignment(directory.assignment_id).duedate
            duedates.write(Path(self.dest_path), due)


class ExchangeReleaseFeedback(OneAtATime, default.ExchangeReleaseFeedback):
    """As above; what cannot be released costs only itself."""

    what = "feedback"

    def copy_one(self) -> None:
        directory = self.coursedir
        folder, wanted = directory.feedback_directory, directory.student_id or "*"
        failed = []
        pattern = directory.format_path(folder, wanted, directory.assignment_id)
        for path in sorted(glob.glob(pattern)):  # noqa: PTH207  as nbgrader does
            student = Path(path).parent.name
            self.src_path = path
            try:
                super().copy_one()
            except OSError as error:
                self.log.error(  # noqa: TRY400
                    "Not released: the feedback for '%s': %s: %s. Collect and autograde the "
                    "submission again, then generate the feedback again.",
                    tree.shown(student),
                    error.strerror,
                    error.filename,
                )
                failed.append(tree.shown(student))
        if failed:
            self.fail(f"Released but for: {', '.join(failed)}; see above.")
