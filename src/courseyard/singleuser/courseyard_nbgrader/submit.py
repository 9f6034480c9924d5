"""nbgrader's ``submit``: whole or not at all, and read by nobody but the course's instructors.

nbgrader 0.9 copies into the exchange first and then into the cache in the home directory, where the
secret lies that feedback is fetched with. And it opens what it handed in to everybody who learns its
name (nbgrader/exchange/default/submit.py).
"""

# mypy: disable-error-code="misc, import-not-found, no-any-return, has-type"
# Jupyter and nbgrader are the image's: they have no types here.
from __future__ import annotations

import os
import secrets
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

from nbgrader.exchange import default
from nbgrader.utils import ignore_patterns, parse_utc

from . import fit, home
from .whole import replaced

_EVERYBODY = 0o777  # nbgrader's own mode


class ExchangeSubmit(default.ExchangeSubmit):
    """It has nbgrader's name, so that nbgrader's settings and options for it hold."""

    def set_timestamp(self) -> None:
        super().set_timestamp()
        now = datetime.now(timezone.utc).replace(tzinfo=None)  # noqa: UP017  (Python 3.9)
        # Short names of zones are not all known where the time is read: IST would be taken for UTC.
        if abs(parse_utc(self.timestamp) - now) > timedelta(minutes=1):
            self.timestamp = now.strftime("%Y-%m-%d %H:%M:%S.%f UTC")

    def copy_files(self) -> None:
        self.init_release()
        self._check_files()
        self._check_size()
        name = self.assignment_filename
        sent = Path(self.inbound_path, name)
        kept = Path(self.cache_path, name.rsplit("+", 1)[0] if self.add_random_string else name)
        try:
            # A home that is full is found before anything arrives.
            with replaced(kept) as copy:
                self._fill(copy)
                self._send(copy, sent)
        except OSError as error:
            shutil.rmtree(sent, ignore_errors=True)
            undone = f"The assignment '{self.coursedir.assignment_id}' was not submitted"
            self.fail(home.why(error, undone))
        about = f"{self.coursedir.course_id} {self.coursedir.assignment_id} {self.timestamp}"
        self.log.info("Submitted as: %s", about)

    def _check_files(self) -> None:
        """Refuse what could not be graded, or would not arrive."""
        directory, source = self.coursedir, Path(self.src_path)
        limit = 1000 * directory.max_file_size
        found = fit.handed_in(source, Path(self.release_path))
        for path, size in fit.too_large(source, directory.ignore, limit):
            found.append(
                f"{path} has {fit.megabytes(size)}, and a file may have {fit.megabytes(limit)}. "
                "Make it smaller, or remove it if it is not part of your work."
            )
        if found:
            undone = f"The assignment '{directory.assignment_id}' was not submitted."
            self.fail(" ".join([undone, *found]))

    def _check_size(self) -> None:
        size, most = self.get_size(self.src_path), 1000 * self.coursedir.max_dir_size
        if size > most:
            self.fail(
                f"The assignment '{self.coursedir.assignment_id}' was not submitted: its files have"
                f" {size // 1000} kB and may have {most // 1000} kB. Remove what is not part of it."
            )

    def _fill(self, folder: Path) -> None:
        directory = self.coursedir
        ignore = ignore_patterns(
            exclude=directory.ignore,
            include=directory.include,
            max_file_size=directory.max_file_size,
            log=self.log,
        )
        home.copy_tree(Path(self.src_path), folder, ignore)
        (folder / "timestamp.txt").write_text(self.timestamp, encoding="utf-8")
        (folder / "submission_secret.txt").write_text(secrets.token_hex(64), encoding="utf-8")

    def _send(self, copy: Path, sent: Path) -> None:
        """Hand in a copy; it has its name when it is complete."""
        # No pattern of a collect finds it, and nobody else comes in.
        beside = sent.with_name(f".{secrets.token_hex(16)}")
        beside.mkdir(mode=0o700)
        try:
            home.copy_tree(copy, beside, lambda *_: ())
            self._open(beside)
            beside.rename(sent)
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            raise

    def _open(self, top: Path) -> None:
        """Let those who collect in, the group that the folder has from ``inbound``.

        Where it did not get it, as in an exchange that was not made for it, nobody can be told from
        the others: then everybody may, and the random end of the name protects it.
        """
        course = top.stat().st_gid == top.parent.stat().st_gid
        folders, files = (0o770, 0o640) if course else (0o755, 0o644)
        for folder, _, names in os.walk(top, topdown=False):
            for name in names:
                Path(folder, name).chmod(files)
            Path(folder).chmod(folders)
        if not course:
            top.chmod(_EVERYBODY)
