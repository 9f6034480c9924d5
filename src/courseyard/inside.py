"""Reading a file that people of a site write, without being led out of its folder.

Whoever may write into a folder of course files can put a link there, and an administrator's check,
run as root, would print what it points to. So a link that stays in the folder is followed (a
ConfigMap's files are links to ``..data``), one that leaves it is refused unread. Every component is
opened by the descriptor of the one before and looked at by its own, so nothing can be exchanged in
between. How the folder itself is reached, by links too, is its administrator's own business.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_PART = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: As the kernel's own limit (path_resolution(7)).
_MOST_LINKS = 40
_LEADS_OUT = "leads out of its folder by a link, so it is not read; put the file itself here"


class RefusedFileError(Exception):
    """The file is there and is not read; says why, as the end of a sentence about it."""


def read_inside(file: Path, most: int, *, within: Path | None = None) -> bytes:
    """The bytes of a regular file of at most ``most`` bytes; never waits, never reads more.

    Args:
        within: the folder that links may not leave; the file's own by default.

    Raises:
        FileNotFoundError: it, or what a link names, is not there.
        RefusedFileError: it leads out of the folder, or is no plain file of this size.
        OSError: it cannot be read.
    """
    with opened_inside(file, within=within) as number:
        return read_all(number, most)


@contextmanager
def opened_inside(file: Path, *, within: Path | None = None) -> Iterator[int]:
    """A descriptor of the regular file, for reading; raises as :func:`read_inside`."""
    folder = file.parent if within is None else within
    name = os.path.relpath(file, folder) if within is not None else file.name
    found = _find(folder, name)
    try:
        number = os.open(f"/proc/self/fd/{found}", _FILE)  # the same file, whatever its name is now
    finally:
        os.close(found)
    try:
        yield number
    finally:
        os.close(number)


def read_all(number: int, most: int) -> bytes:
    """What a descriptor of :func:`opened_inside` holds; raises as :func:`read_inside`."""
    data = b""
    while len(data) <= most:
        part = os.read(number, most + 1 - len(data))
        if not part:
            return data
        data += part
    size = most // 1024 // 1024
    raise RefusedFileError(f"is larger than {size} MiB; such files hold settings, not data")


def _find(folder: Path, name: str) -> int:
    """A descriptor (``O_PATH``) of the regular file ``name`` below ``folder``."""
    opened = [os.open(folder, _FOLDER)]  # from the folder to where we are
    ahead = name.split("/")[::-1]
    links = 0
    try:
        while ahead:
            part = ahead.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if len(opened) == 1:
                    raise RefusedFileError(_LEADS_OUT)
                os.close(opened.pop())
                continue
            number = os.open(part, _PART, dir_fd=opened[-1])
            opened.append(number)
            status = os.fstat(number)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    raise RefusedFileError("is a link in a circle")
                target = os.readlink("", dir_fd=number)
                os.close(opened.pop())
                if target.startswith("/"):
                    target = _below(folder, target)
                    while len(opened) > 1:
                        os.close(opened.pop())
                ahead += target.split("/")[::-1]
            elif not stat.S_ISDIR(status.st_mode):
                _check(status, ahead)
                return opened.pop()
        raise RefusedFileError("is not a regular file")
    finally:
        for number in opened:
            os.close(number)


def _below(folder: Path, target: str) -> str:
    """An absolute link's target as seen from ``folder``, when it is below."""
    for top in (folder.absolute(), folder.resolve()):
        if target.startswith(f"{top}/"):
            return target.removeprefix(f"{top}/")
    raise RefusedFileError(_LEADS_OUT)


def _check(status: os.stat_result, ahead: list[str]) -> None:
    if ahead or not stat.S_ISREG(status.st_mode):
        raise RefusedFileError("is not a regular file")
    # Where the kernel lets people link what they cannot read (fs.protected_hardlinks is 0).
    if status.st_nlink > 1 and not status.st_mode & stat.S_IROTH:
        raise RefusedFileError(
            "has a second name (a hard link) and is not for everybody to read, so it is not read; "
            "put a copy here"
        )
