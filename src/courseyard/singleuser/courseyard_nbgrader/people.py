"""Who takes the course, as the agent wrote it down: a folder ``<uid>.<username>`` for each.

In a server ``/etc/passwd`` knows the person alone, so that nbgrader's own look-up finds nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class People:
    """The pairs of UID and username that are known."""

    pairs: frozenset[tuple[int, str]] = frozenset()

    @classmethod
    def read(cls, folder: Path) -> People:
        """Those in ``folder``; nobody where every account is the same, or nobody has started.

        Raises:
            OSError: it cannot be read.
        """
        found = (path.name.partition(".") for path in folder.iterdir())
        return cls(
            frozenset((int(uid), name) for uid, _, name in found if uid.isdecimal() and name)
        )

    def objection(self, uid: int, username: str) -> str:
        """Why files of ``uid`` cannot be those of ``username``; "" when nothing speaks against it."""
        if (uid, username) in self.pairs:
            return ""
        names = sorted(name for number, name in self.pairs if number == uid)
        if names:
            return f"it was handed in by {' or '.join(names)}"
        if any(name == username for _, name in self.pairs):
            return f"it was handed in by somebody else (UID {uid})"
        return ""

    def knows(self, username: str) -> bool:
        return any(name == username for _, name in self.pairs)
