"""nbgrader's ``release_assignment`` and ``release_feedback``, by one person at a time.

Both remove or rename what another who releases the same is at work on
(nbgrader/exchange/default/release_assignment.py, release_feedback.py).
"""

# mypy: disable-error-code="misc, import-not-found, no-any-return"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

from pathlib import Path

from nbgrader.exchange import default

from . import locks


class OneAtATime(default.Exchange):
    what = ""  # begins the name of the lock

    def copy_files(self) -> None:
        name = self.coursedir.assignment_id
        try:
            with locks.held(Path(self.coursedir.root), f"{self.what}/{name}", "releases it"):
                super().copy_files()
        except locks.BusyError as error:
            self.fail(f"Not released: the {self.what} '{name}': {error}. Wait until that is done.")


class ExchangeReleaseAssignment(OneAtATime, default.ExchangeReleaseAssignment):
    """It has nbgrader's name, so that nbgrader's settings and options for it hold."""

    what = "assignment"


class ExchangeReleaseFeedback(OneAtATime, default.ExchangeReleaseFeedback):
    """As above."""

    what = "feedback"
