"""Links from the home directory, which is new at every start, into ``/notebooks/.home/``.

The person owns both ends and may have put anything there: nothing of it may stop a start, and
nothing of theirs is removed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Any


def make_links(home: Path, persistent: Path, links: list[dict[str, Any]]) -> list[str]:
    """Link ``home/<path>`` to ``persistent/<path>`` for each of the plan's ``home_links``.

    Returns:
        One sentence for each link that could not be made; the server starts without it.
    """
    problems = []
    for link in links:
        try:
            _make_link(home, persistent, link["path"], folder=link["folder"])
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            problems.append(f"~/{link['path']} is not kept after this server: {reason}")
    return problems


def _make_link(home: Path, persistent: Path, path: str, *, folder: bool) -> None:
    source, target = home / path, persistent / path
    if folder:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
    else:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(target)
    kind = target.stat().st_mode
    if not (stat.S_ISDIR(kind) if folder else stat.S_ISREG(kind)):
        raise ValueError(f"{target} is not a {'folder' if folder else 'file'}")
    source.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink() and source.readlink() == target:
        return
    if source.is_dir() and not source.is_symlink():
        source.rmdir()  # an empty folder of the new home; one with content stays
    source.symlink_to(target, target_is_directory=folder)


def _create(target: Path) -> None:
    """An empty private file; no-op when there is something. Never follows a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with contextlib.suppress(FileExistsError):
        os.close(os.open(target, flags, 0o600))
