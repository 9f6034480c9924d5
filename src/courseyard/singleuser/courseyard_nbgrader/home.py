"""Copying into a home directory, which may be full: whole or not at all, and a sentence that says why."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

#: As ``shutil.copytree`` has it: a folder and the names in it → the names to leave out.
Ignore = Callable[[str, list[str]], Iterable[str]]
_FULL = (errno.ENOSPC, errno.EDQUOT)
_BESIDE = ".courseyard-"


def copy_tree(source: Path, target: Path, ignore: Ignore) -> None:
    """Copy all files below ``source`` into the folder ``target``.

    The first error ends it, unlike ``shutil.copytree``, which goes on and forgets what kind it was.

    Raises:
        OSError: something cannot be copied; what was copied until then stays.
    """
    for entry in _entries(source, ignore):
        if entry.is_dir():
            (target / entry.name).mkdir(exist_ok=True)
            copy_tree(entry, target / entry.name, ignore)
        else:
            shutil.copy(entry, target / entry.name)


def copy_missing(source: Path, target: Path, ignore: Ignore) -> list[Path]:
    """The same, without what is there already; each file is there as a whole or not at all.

    A file without content counts as missing: what was fetched into a full home left such files.

    Returns:
        The files that were missing.
    """
    found: list[Path] = []
    for entry in _entries(source, ignore):
        here = target / entry.name
        if entry.is_dir():
            here.mkdir(exist_ok=True)
            found += copy_missing(entry, here, ignore)
        elif lacks(here, entry):
            copy_file(entry, here)
            found.append(here)
    return found


def lacks(here: Path, source: Path) -> bool:
    """Whether a file is missing here, or has no content although the one it came from has."""
    try:
        return here.stat().st_size == 0 < source.stat().st_size
    except FileNotFoundError:
        return not here.is_symlink()


def copy_file(source: Path, target: Path) -> None:
    """Put a copy in the place of ``target``, whole or not at all.

    Raises:
        OSError: it cannot be copied; ``target`` is as it was.
    """
    beside = target.with_name(f"{_BESIDE}{secrets.token_hex(6)}")
    try:
        shutil.copy(source, beside)
        beside.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def why(error: OSError, undone: str) -> str:
    """A sentence for a person, and what to do.

    Args:
        undone: what did not happen, such as ``The assignment 'week1' was not fetched``.
    """
    if error.errno in _FULL:
        return (
            f"{undone}: there is no room left. Remove files that you do not need, then try again."
        )
    where = f" ({error.filename})" if error.filename else ""
    return f"{undone}: {error.strerror or error}{where}. If it stays so, tell your teachers."


def _entries(source: Path, ignore: Ignore) -> list[Path]:
    names = sorted(os.listdir(source))  # noqa: PTH208
    left_out = set(ignore(str(source), names))
    return [source / name for name in names if name not in left_out]
