"""Opening paths below the storage root component by component, never through a link."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from courseyard.errors import StorageError

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def refused(path: str, why: str, mend: str = "mend that") -> StorageError:
    """``path`` cannot be used; ``mend`` says to an administrator what to do about it."""
    error = StorageError(
        "A folder that this server needs cannot be used.",
        "Tell the administrators.",
        detail=f"{path}: {why}",
    )
    error.path, error.why, error.mend = path, why, mend
    return error


def denied(error: StorageError) -> bool:
    """Whether only the rights of this process stood in the way."""
    return isinstance(error.__cause__, PermissionError)


@contextlib.contextmanager
def opened_root(root: Path) -> Iterator[int]:
    """The storage root; links above it are the administrator's own.

    Raises:
        StorageError: it is not there.
    """
    try:
        number = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise refused(str(root), f"the storage root cannot be opened: {error.strerror}") from error
    try:
        yield number
    finally:
        os.close(number)


def open_folder(root: int, path: str) -> int:
    """A descriptor (``O_PATH``) of the folder ``path`` below ``root``.

    Raises:
        FileNotFoundError: it, or a folder above it, is missing.
        StorageError: a component is a link or no folder.
    """
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise refused(path, "not a path below the storage root")
    current = os.dup(root)
    try:
        for number, part in enumerate(parts, 1):
            try:
                following = os.open(part, _FOLDER, dir_fd=current)
            except FileNotFoundError:
                raise
            except OSError as error:
                here = "/".join(parts[:number])
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    why = "is a link or not a folder"
                    raise refused(here, why, "put a real folder there") from error
                raise refused(here, f"cannot be opened: {error.strerror}") from error
            os.close(current)
            current = following
    except BaseException:
        os.close(current)
        raise
    return current


def is_new(number: int) -> bool:
    """Whether an open folder is one that this process just made: its own, private and empty.

    Between making a folder and opening it, who writes its parent may have put another there.
    """
    found = os.fstat(number)
    private = stat.S_IMODE(found.st_mode) & 0o777 == 0o700
    return found.st_uid == os.geteuid() and private and not os.listdir(number)


@contextlib.contextmanager
def opened(root: int, path: str) -> Iterator[int]:
    """As :func:`open_folder`, closed at the end; ``""`` is the root itself."""
    number = open_folder(root, path) if path else os.dup(root)
    try:
        yield number
    finally:
        os.close(number)
