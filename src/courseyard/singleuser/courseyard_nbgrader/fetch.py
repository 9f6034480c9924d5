"""nbgrader's ``fetch_assignment`` and ``fetch_feedback`` into a home directory that may be full.

nbgrader 0.9 copies file by file: what did not fit stays as a file without content, which counts as
fetched ever after (nbgrader/exchange/default/fetch_assignment.py).
"""

# mypy: disable-error-code="misc, import-not-found, no-any-return"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from nbgrader.exchange import default
from traitlets import Bool

from . import duedates, home
from .whole import replaced


class ExchangeFetchAssignment(default.ExchangeFetchAssignment):
    """It has nbgrader's name, so that nbgrader's settings and options for it hold."""

    replace_missing_files = Bool(True, help="Whether to replace missing files on fetch").tag(
        config=True
    )

    def copy_files(self) -> None:
        source, target = Path(self.src_path), Path(self.dest_path)
        about = f"{self.coursedir.course_id} {self.coursedir.assignment_id}"
        ignore = shutil.ignore_patterns(*self.coursedir.ignore, duedates.FILE)
        try:
            if target.is_dir():
                for path in home.copy_missing(source, target, ignore):
                    self.log.warning("Replacing missing file '%s'", path)
            else:
                with replaced(target) as beside:
                    home.copy_tree(source, beside, ignore)
        except OSError as error:
            undone = f"The assignment '{self.coursedir.assignment_id}' was not fetched"
            self.fail(home.why(error, undone))
        self.log.info("Fetched as: %s", about)


class ExchangeFetchFeedback(default.ExchangeFetchFeedback):
    """As above."""

    def do_copy(self, src: str, dest: str) -> None:
        for notebook, timestamp, page in self.feedback_files:
            target = Path(dest, timestamp, f"{notebook}.html")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                home.copy_file(Path(page), target)
            except OSError as error:
                what = f"The feedback on '{notebook}' was not fetched"
                self.fail(home.why(error, what))
            self.log.info("Fetched feedback: %s", target)


class ExchangeList(default.ExchangeList):
    """What was fetched and lacks a notebook is offered again: fetching it brings that back."""

    def parse_assignments(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = super().parse_assignments()
        for info in found:
            released = Path(self.root, info["course_id"], "outbound", info["assignment_id"])
            due = duedates.read(released)
            info["due"] = due.isoformat() if due else None  # `nbgrader list --json` writes it
            if info["status"] != "fetched":
                continue
            here = Path(info["path"])
            there = Path(self.root, info["course_id"], "outbound", info["assignment_id"])
            notebooks = sorted(there.glob("*.ipynb"))
            if any(home.lacks(here / each.name, each) for each in notebooks):
                info["status"], info["path"] = "released", str(there)
                info["notebooks"] = [
                    {"notebook_id": each.stem, "path": str(each)} for each in notebooks
                ]
        return found
