"""nbgrader's ``collect`` for submissions that may be hostile.

nbgrader 0.9 follows symbolic links with the teacher's rights, believes the name in a folder that
anybody may make, and stops for everyone at the first submission that it cannot copy
(nbgrader/exchange/default/collect.py).
"""

# mypy: disable-error-code="misc, import-not-found, no-any-return"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.exchange import default
from nbgrader.utils import parse_utc
from traitlets import Unicode

from . import locks, tree
from .people import People
from .whole import replaced

_TIMESTAMP, _SECRET = "timestamp.txt", "submission_secret.txt"
#: nbgrader makes 128 hexadecimal digits; what is read later must be short and plain text.
_PLAIN = re.compile(rb"[ -~]{1,1000}")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Submission:
    """One folder of the exchange by its name: ``<student>+<assignment>+<time>[+<random>]``."""

    folder: str
    student: str
    said: str  # the time as it stands in the name
    at: datetime  # in UTC, without a zone, as nbgrader has it


class ExchangeCollect(default.ExchangeCollect):
    """Copies files alone, from their owner alone; what is refused costs only itself.

    It has nbgrader's name, so that nbgrader's settings and options for it hold.
    """

    people = Unicode(
        "", help="Folder with a folder <uid>.<username> for each student; empty: nobody is checked."
    ).tag(config=True)

    def init_src(self) -> None:
        """Find the submissions of the assignment, by student and the one to take first."""
        directory = self.coursedir
        if not directory.course_id:
            self.fail("No course id specified. Re-run with --course flag.")
        self.inbound_path = Path(self.root, directory.course_id, "inbound")
        try:
            names = sorted(path.name for path in self.inbound_path.iterdir())
        except OSError as error:
            self.fail(f"The submissions in {self.inbound_path} cannot be read: {error.strerror}")
        self._people = self._read_people()
        duedate = (self._duedate() if self.before_duedate else None) or datetime.min
        self.src_records: dict[str, list[Submission]] = {}
        for name in names:
            found = self._submission(name)
            if found is not None:
                self.src_records.setdefault(found.student, []).append(found)
        for found_of_one in self.src_records.values():
            found_of_one.sort(key=lambda each: (each.at <= duedate, each.at), reverse=True)

    def copy_files(self) -> None:
        """Collect the first good submission of every student."""
        directory = self.coursedir
        what = f"'{directory.assignment_id}' for course '{directory.course_id}'"
        if not self.src_records:
            self.log.warning("No submissions of %s to collect", what)
            return
        self.log.info("Processing %s submissions of %s", len(self.src_records), what)
        inbound = os.open(self.inbound_path, _FOLDER)
        try:
            for student, submissions in sorted(self.src_records.items()):
                self._collect_one(inbound, student, submissions)
        finally:
            os.close(inbound)
        self._tell_unknown()

    def _collect_one(self, inbound: int, student: str, submissions: list[Submission]) -> None:
        for each in submissions:
            try:
                source = tree.open_folder(each.folder, inbound, "its folder")
                try:
                    self._check_owner(source, student)
                    self._take(source, each)
                    return
                finally:
                    os.close(source)
            except tree.RefusedError as error:
                self._refuse(student, each.folder, str(error))
            except locks.BusyError as error:
                self._refuse(student, each.folder, f"{error}. Collect again when that is done")
                return
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                self._refuse(student, each.folder, f"it cannot be copied: {reason}")

    def _refuse(self, student: str, folder: str, reason: str) -> None:
        self.log.error(
            "Not collected: the submission of '%s' for '%s': %s. It stays in the exchange as %s",
            tree.shown(student),
            self.coursedir.assignment_id,
            reason,
            tree.shown(str(self.inbound_path / folder)),
        )

    # --- which submissions there are ---------------------------------------------------------

    def _submission(self, name: str) -> Submission | None:
        """The submission that a folder's name says it is; None for other students' and assignments'."""
        student, mark, rest = name.partition(f"+{self.coursedir.assignment_id}+")
        if not mark or not fnmatchcase(student, self.coursedir.student_id or "*"):
            return None
        if not student or student.startswith(".") or not student.isprintable():
            self._refuse(student, name, "this is nobody's name")
            return None
        # A time may hold a + itself where the zone has no name; then the random end is missing.
        for said in dict.fromkeys((rest.rpartition("+")[0], rest)):
            at = _time(said)
            if at is not None:
                return Submission(name, student, said, at)
        self._refuse(student, name, "the name of its folder holds no time")
        return None

    def _duedate(self) -> datetime | None:
        book = Gradebook(self.coursedir.db_url, self.coursedir.course_id)
        try:
            return book.find_assignment(self.coursedir.assignment_id).duedate
        except MissingEntry:
            return None
        finally:
            book.close()

    # --- whose they are ----------------------------------------------------------------------

    def _read_people(self) -> People:
        found = People()
        if self.people:
            try:
                found = People.read(Path(self.people))
            except OSError as error:
                self.fail(
                    f"Who takes the course cannot be read in {self.people} ({error.strerror}); "
                    "nothing is collected, since anybody could have handed in as anybody."
                )
        return found

    def _check_owner(self, source: int, student: str) -> None:
        objection = self._people.objection(os.fstat(source).st_uid, student)
        if objection:
            raise tree.RefusedError("", objection)

    def _tell_unknown(self) -> None:
        unknown = sorted(name for name in self.src_records if not self._people.knows(name))
        if not self._people.pairs:
            self.log.info(
                "Who handed in is not checked: nobody is written down as taking the course."
            )
        elif unknown:
            self.log.info(
                "Who handed in is not known for certain of %s: they have started no server of the "
                "course.",
                ", ".join(unknown),
            )

    # --- copying -----------------------------------------------------------------------------

    def _take(self, source: int, submission: Submission) -> None:
        """Copy one submission, unless what was collected is as new.

        Raises:
            RefusedError, OSError: it cannot be copied; what was collected before stays.
            BusyError: somebody works on what was collected before; it stays, too.
        """
        directory, student = self.coursedir, submission.student
        about = f"{student} {directory.assignment_id}"
        target = Path(
            directory.format_path(directory.submitted_directory, student, directory.assignment_id)
        )
        if target.is_dir():
            before = _collected_time(target)
            newer = self.update and (before is None or submission.at > before)
            if newer or (self.before_duedate and before != submission.at):
                self.log.info("Updating submission: %s", about)
            elif self.update:
                self.log.info("No newer submission to collect: %s", about)
                return
            else:
                self.log.info("Submission already exists, use --update to update: %s", about)
                return
        else:
            self.log.info("Collecting submission: %s", about)
        lock = locks.submission(directory.assignment_id, student)
        with locks.held(Path(directory.root), lock, "collects it"), replaced(target) as beside:
            self._copy(source, beside, submission)

    def _copy(self, source: int, beside: Path, submission: Submission) -> None:
        directory = self.coursedir
        shared = directory.groupshared
        rules = tree.Rules(
            tuple(directory.ignore),
            tuple(directory.include),
            1000 * directory.max_file_size,
            1000 * directory.max_dir_size,
            shared,
        )
        folder = os.open(beside, _FOLDER)
        try:
            for path in tree.copy(source, folder, rules):
                self.log.warning(
                    "Left out of the submission of '%s', too large: %s (see "
                    "CourseDirectory.max_file_size)",
                    submission.student,
                    tree.shown(path),
                )
            # Both are read later for all students at once: one that is wrong would stop them all.
            tree.write(folder, _TIMESTAMP, submission.said.encode(), shared=shared)
            if not _PLAIN.fullmatch(_read(folder, _SECRET)):
                self.log.warning(
                    "The submission of '%s' has no usable %s: its feedback will not reach them",
                    submission.student,
                    _SECRET,
                )
                tree.write(folder, _SECRET, secrets.token_hex(64).encode(), shared=shared)
        finally:
            os.close(folder)


def _time(said: str) -> datetime | None:
    # nbgrader takes anything for a time zone, and the text is written to a file.
    if not said or not said.isascii() or not said.isprintable():
        return None
    try:
        return parse_utc(said)
    except Exception:  # whatever dateutil makes of a name that somebody chose
        return None


def _collected_time(folder: Path) -> datetime | None:
    try:
        return _time((folder / _TIMESTAMP).read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return None


def _read(folder: int, name: str) -> bytes:
    try:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return b""
    try:
        return os.read(opened, 2000)
    finally:
        os.close(opened)
