"""Every error of Courseyard.

::

    CourseyardError             a sentence for the person, a next step, a reason code
    ├── SettingsError           the site file (or images, people file) cannot be used
    ├── PeopleError             who is this?
    │   ├── UnknownPersonError  nobody has this name
    │   └── SourceDownError     the source of people does not answer
    ├── DeniedError             a decision said no
    ├── PlanError               no plan can be made (image missing, GPU asked of a sandbox, …)
    ├── ImageError              a software image cannot be built
    ├── StorageError            a folder cannot be made, mended or trusted
    ├── BackendError            a server could not be started, watched or stopped
    │   ├── UnsupportedError    this machine or backend cannot do what the plan asks
    │   ├── StartError          the server's process ended or never answered
    │   └── OutOfMemoryError_   the server used more memory than its limit
    └── AgentError              the agent
        ├── AgentDownError      it does not answer
        └── AgentRefusedError   it refused the request

An error has two audiences (rule 8): ``message`` and ``next_step`` are for the person and never
hold a token, a path of the hub or a traceback; the cause (``__cause__``) and ``detail`` go to the log.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class CourseyardError(Exception):
    """Base of all errors that Courseyard raises on purpose.

    Args:
        message: one sentence that a first-year student understands.
        next_step: what the person can do now; empty when there is nothing.
        detail: for the log alone (paths, causes).
    """

    reason = "error"

    def __init__(self, message: str, next_step: str = "", *, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.detail = detail
        #: For the help desk: the same id stands on the page and in the log.
        self.id = secrets.token_hex(4)

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".strip()


class SettingsError(CourseyardError):
    """The site file, the image list or the people file cannot be used; ``problems`` says why."""

    reason = "settings"

    def __init__(
        self,
        message: str,
        next_step: str = "",
        *,
        detail: str = "",
        problems: tuple[Problem, ...] = (),
    ) -> None:
        super().__init__(message, next_step, detail=detail)
        self.problems = problems


class PeopleError(CourseyardError):
    reason = "people"


class UnknownPersonError(PeopleError):
    reason = "unknown-person"


class SourceDownError(PeopleError):
    reason = "people-source-down"


class DeniedError(CourseyardError):
    reason = "denied"


class PlanError(CourseyardError):
    reason = "plan"


class ImageError(CourseyardError):
    reason = "image"


class StorageError(CourseyardError):
    reason = "storage"
    #: For administrators: the place below the storage root, what is wrong there, what to do.
    path = ""
    why = ""
    mend = ""


class BackendError(CourseyardError):
    reason = "backend"


class UnsupportedError(BackendError):
    reason = "unsupported"


class StartError(BackendError):
    reason = "start-failed"


class OutOfMemoryError_(BackendError):
    reason = "out-of-memory"


class AgentError(CourseyardError):
    reason = "agent"


class AgentDownError(AgentError):
    reason = "agent-down"


class AgentRefusedError(AgentError):
    reason = "agent-refused"


def one_line(text: str) -> str:
    """``text`` with a question mark for whatever is no printable character."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


class Severity(StrEnum):
    """How much a problem in a file costs."""

    ERROR = "error"  # the file's last good version stays in force
    WARNING = "warning"  # the file is used


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one file, as people and CI see it: ``file:line: key: message``."""

    file: Path
    line: int  # 1-based; 0 when the problem is the whole file
    key: str  # dotted, "" when the problem is the whole file
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        what = f"{self.key}: " if self.key else ""
        level = "warning: " if self.severity is Severity.WARNING else ""
        # A name of a file or key may hold what a terminal obeys, or what cannot be written at all.
        return one_line(f"{where}{what}{level}{self.message}")

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR
