"""A start that failed, as JupyterHub carries it to the page and to the log."""

from __future__ import annotations

from jupyterhub.spawner import SpawnException

from courseyard.errors import (
    AgentDownError,
    CourseyardError,
    DeniedError,
    PlanError,
    SourceDownError,
    UnknownPersonError,
    UnsupportedError,
)

#: The first match counts.
_STATUS: tuple[tuple[type[CourseyardError], int], ...] = (
    (DeniedError, 403),
    (UnknownPersonError, 403),
    (SourceDownError, 503),
    (AgentDownError, 503),
    (PlanError, 409),
    (UnsupportedError, 409),
)


def status_of(error: CourseyardError) -> int:
    """The HTTP status of a page that tells about ``error``."""
    if error.reason == "too-many-servers":
        return 409
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


class StartFailed(SpawnException):
    """Carries the error's sentence, next step and id; the cause goes to the log alone."""

    def __init__(
        self, error: CourseyardError, *, tail: str = "", for_instructor: bool = False
    ) -> None:
        self.error = error
        self.tail = tail
        self.for_instructor = for_instructor
        sentence = f"{error} (error {error.id})"
        super().__init__(
            sentence,
            reason=error.reason,
            log_message=log_line(error),
            status_code=status_of(error),
        )
        # What JupyterHub's API and progress stream show.
        self.jupyterhub_message = sentence


def log_line(error: CourseyardError) -> str:
    """One line for the log: reason, id, sentence, and the detail that people do not see."""
    cause = f"; cause: {error.__cause__!r}" if error.__cause__ is not None else ""
    detail = f"; {error.detail}" if error.detail else ""
    return f"[{error.reason} {error.id}] {error}{detail}{cause}".replace("\n", " ")
