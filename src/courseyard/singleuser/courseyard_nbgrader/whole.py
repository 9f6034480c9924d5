"""A folder that is there as a whole or not at all."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

#: Hidden, so that no pattern of nbgrader's finds it.
_BESIDE = ".collecting-"
_STALE = 3600  # seconds


@contextlib.contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """An empty folder that takes the place of ``target`` at the end of the block.

    On an error nothing of it stays, and ``target`` is as it was.
    """
    parent = target.parent
    new = not parent.is_dir()
    parent.mkdir(parents=True, exist_ok=True)
    _tidy(parent)
    beside = parent / f"{_BESIDE}{secrets.token_hex(6)}"
    beside.mkdir()
    try:
        yield beside
        _swap(beside, target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        if new:
            with contextlib.suppress(OSError):  # something else may be in it by now
                parent.rmdir()
        raise


def _swap(beside: Path, target: Path) -> None:
    old = beside.with_name(f"{beside.name}-old")
    if target.is_dir():
        target.rename(old)
    try:
        beside.rename(target)
    except OSError:
        if old.is_dir():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _tidy(parent: Path) -> None:
    """Remove what a process left that was killed in the middle."""
    for path in parent.glob(f"{_BESIDE}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.lstat().st_mtime > _STALE:
                shutil.rmtree(path, ignore_errors=True)
