"""nbgrader's converters, for a course directory that several people work in and others fill.

nbgrader 0.9 names these classes where it uses them and has no setting for others (nbgrader/apps):
:func:`install` puts ours there, for its commands and for formgrader's buttons alike.
"""

# mypy: disable-error-code="misc, import-not-found, has-type, attr-defined, no-any-return"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from nbgrader import converters
from nbgrader.apps import api, autogradeapp, generateassignmentapp, generatefeedbackapp
from nbgrader.converters.base import BaseConverter, NbGraderException
from nbgrader.preprocessors import ClearHiddenTests
from nbgrader.utils import rmtree
from sqlalchemy.exc import SQLAlchemyError

from . import fit, locks, names, students, tree
from .release import HIDDEN_TESTS, ReleaseOnly


class UnfitError(Exception):
    """It cannot be converted as it is; the text is whole sentences, with what to do."""


class OneAtATime(BaseConverter):
    """Holds a lock for what it converts; what cannot be had costs only itself."""

    doing = ""  # for others: "Ada autogrades it"
    done = ""  # for this person: "Not autograded"

    def convert_notebooks(self) -> None:
        # One by one: nbgrader ends the batch at some failures of one, a copied cell for example.
        found = self.assignments
        self._refused: list[str] = []
        for folder in sorted(found):
            self.assignments = {folder: found[folder]}
            self._held, self._reason = contextlib.ExitStack(), "see above."
            try:
                with self._held:
                    super().convert_notebooks()
            except (NbGraderException, SQLAlchemyError):
                self._tell_failed(folder)
        self.assignments = found
        if self._refused:
            raise NbGraderException(f"{self.done}, see above: {', '.join(self._refused)}")

    def init_assignment(self, assignment_id: str, student_id: str) -> None:
        with self._remembered():
            super().init_assignment(assignment_id, student_id)

    def convert_single_notebook(self, notebook_filename: str) -> None:
        with self._remembered():
            super().convert_single_notebook(notebook_filename)

    @contextlib.contextmanager
    def _remembered(self) -> Iterator[None]:
        """Keep why it failed: nbgrader logs that, and says to look above."""
        try:
            yield
        except Exception as error:
            self._reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise

    def _tell_failed(self, folder: str) -> None:
        """Say whose it is and why, in a line of its own below what nbgrader said."""
        pattern = self._format_source("(?P<assignment>.*)", "(?P<student>.*)", escape=True)
        found = re.fullmatch(pattern, folder)
        about = self.about(found["assignment"], found["student"]) if found else folder
        reasons = self.reasons(Path(folder)) or [self._reason]
        self.log.error("%s: %s: %s", self.done, about, " ".join(reasons))
        self._refused.append(about)

    def reasons(self, source: Path) -> list[str]:
        """What of the files explains a failure, in sentences."""
        return []

    def init_destination(self, assignment_id: str, student_id: str) -> bool:
        # nbgrader removes what was there in here: whatever speaks against it comes before.
        self._held.close()
        source, target = (
            Path(os.path.normpath(path(assignment_id, student_id)))
            for path in (self._format_source, self._format_dest)
        )
        try:
            name = self.lock_name(assignment_id, student_id)
            lock = locks.held(Path(self.coursedir.root), name, self.doing)
            cut_off = self._held.enter_context(lock)
            self.check(source)
            if cut_off and target.is_dir():
                # What never ran would count as done.
                what = self.about(assignment_id, student_id)
                self.log.warning("Done again: %s: %s was cut off", what, cut_off)
                rmtree(target)
            wanted: bool = super().init_destination(assignment_id, student_id)
            if wanted and self.coursedir.groupshared:
                _for_all(target)
        except locks.BusyError as error:
            return self._refuse(assignment_id, student_id, f"{error}. Wait until that is done.")
        except UnfitError as error:
            return self._refuse(assignment_id, student_id, str(error))
        except tree.RefusedError as error:
            advice = f"Put a copy of the file in its place or remove it, in {source}."
            return self._refuse(assignment_id, student_id, f"{error}. {advice}")
        except OSError as error:
            where = error.filename or target
            return self._refuse(assignment_id, student_id, f"{error.strerror}: {where}")
        return wanted

    def lock_name(self, assignment_id: str, student_id: str) -> str:
        return locks.submission(assignment_id, student_id)

    def about(self, assignment_id: str, student_id: str) -> str:
        return f"the submission of '{tree.shown(student_id)}' for '{assignment_id}'"

    def check(self, source: Path) -> None:
        """Look at what is to be converted.

        Raises:
            RefusedError: it is not to be.
            UnfitError: as above.
            OSError: it cannot be read.
        """
        # The folder that holds all of them is the instructors', who may have it elsewhere.
        top = Path(os.path.normpath(self.coursedir.format_path(self._input_directory, ".", ".")))
        for folder in reversed([source, *source.parents]):
            if top in folder.parents and folder.is_symlink():
                raise tree.RefusedError(str(folder), "is a symbolic link")
        tree.check(source)

    def _refuse(self, assignment_id: str, student_id: str, reason: str) -> bool:
        self._held.close()
        what = self.about(assignment_id, student_id)
        self.log.error("%s: %s: %s", self.done, what, reason)
        self._refused.append(what)
        return False


class Autograde(OneAtATime, converters.Autograde):
    """It has nbgrader's name, so that nbgrader's settings and options for it hold."""

    doing, done = "is grading it", "Not autograded"

    def convert_notebooks(self) -> None:
        try:
            super().convert_notebooks()
        finally:
            students.follow(self.coursedir)

    def reasons(self, source: Path) -> list[str]:
        released = self.coursedir.format_path(self.coursedir.release_directory, ".", source.name)
        return fit.handed_in(source, Path(released))


class GenerateFeedback(OneAtATime, converters.GenerateFeedback):
    doing, done = "generates its feedback", "No feedback generated"


class GenerateAssignment(OneAtATime, converters.GenerateAssignment):
    doing, done = "generates it", "Not generated"

    def lock_name(self, assignment_id: str, student_id: str) -> str:
        return locks.assignment(assignment_id)

    def about(self, assignment_id: str, student_id: str) -> str:
        return f"the assignment '{assignment_id}'"

    def check(self, source: Path) -> None:
        """What instructors put there is theirs to give away, under names that work."""
        directory = self.coursedir
        kernels = KernelSpecManager().find_kernel_specs()
        found = [names.objection(source.name, directory.ignore)]
        for path in sorted(source.glob("*.ipynb")):
            found += [names.objection(path.stem), *fit.notebook(path, kernels)]
        if any(found):
            raise UnfitError(" ".join(filter(None, found)))
        limit = 1000 * directory.max_file_size
        for file, size in fit.too_large(source, directory.ignore, limit):
            self.log.warning(
                "Note: students do not get %s: it has %s, and a file may have %s. Put it into "
                "/coursedata, or make it smaller.",
                file,
                fit.megabytes(size),
                fit.megabytes(limit),
            )
        for file in fit.in_folders(source, directory.ignore):
            self.log.warning(
                "Note: students do not get %s: a notebook in a folder is not part of an assignment. "
                "If it is for them, move it up into %s.",
                file,
                source.name,
            )

    def init_notebooks(self) -> None:
        # Before it is looked for: nbgrader takes the name for a pattern, and finds another or none.
        directory = self.coursedir
        name = directory.assignment_id
        objection = names.objection(name, directory.ignore)
        if (
            objection
            and Path(directory.format_path(directory.source_directory, ".", name)).is_dir()
        ):
            self.log.error("%s: %s", self.done, objection)
            raise NbGraderException(objection)
        super().init_notebooks()

    def init_single_notebook_resources(self, notebook_filename: str) -> dict[str, Any]:
        resources: dict[str, Any] = super().init_single_notebook_resources(notebook_filename)
        mark = ClearHiddenTests(parent=self).begin_test_delimeter
        resources[HIDDEN_TESTS] = fit.hides_tests(Path(notebook_filename), mark)
        return resources

    def start(self) -> None:
        # Last, and whatever a file made of the list: students would have the gain.
        self.preprocessors = [*self.preprocessors, ReleaseOnly]
        super().start()


def _for_all(folder: Path) -> None:
    """Make a folder that other instructors may remove, should this process be killed.

    nbgrader opens what it writes to them when all is done.
    """
    for each in (folder.parent, folder):
        if not each.is_dir():
            each.mkdir(parents=True)
            each.chmod(0o2770)


def install() -> None:
    """Make nbgrader use these in this process; it may be called again."""
    api.Autograde = autogradeapp.Autograde = Autograde
    api.GenerateAssignment = generateassignmentapp.GenerateAssignment = GenerateAssignment
    api.GenerateFeedback = generatefeedbackapp.GenerateFeedback = GenerateFeedback
