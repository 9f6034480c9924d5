"""What a source of people is."""

from __future__ import annotations

from typing import Protocol

from courseyard.errors import SourceDownError
from courseyard.people.person import Person


class Source(Protocol):
    """Where people come from; may block for as long as it likes."""

    def look_up(self, username: str) -> Person | None:
        """The person; None when the source knows that nobody has this name.

        Raises:
            SourceDownError: it does not answer (any other exception counts as one).
        """


def down(detail: str) -> SourceDownError:
    """The error of a source that does not answer; ``detail`` is for the log."""
    return SourceDownError(
        "The directory of users does not answer, so it is not known who you are.",
        "Your files are safe. Try again in a few minutes.",
        detail=detail,
    )
