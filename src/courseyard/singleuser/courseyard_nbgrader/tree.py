"""A copy of a folder that somebody else owns and may change at any moment.

Everything is opened below a descriptor without following a link, looked at by that descriptor and
copied from it: between the look and the copy nothing can be put in its place.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: opening a FIFO would wait for whoever writes into it.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 30  # folders in folders
_MOST = 10_000  # files and folders
_PIECE = 1024**2  # bytes
_KINDS = {
    stat.S_IFLNK: "is a symbolic link",
    stat.S_IFIFO: "is a named pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFBLK: "is a device",
    stat.S_IFCHR: "is a device",
}


class RefusedError(Exception):
    """Something in the folder is not to be copied.

    Args:
        path: where it lies in the folder; "" for the folder itself.
        reason: continues a sentence that begins with the path.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{shown(path)} {reason}" if path else reason)
        self.path = path
        self.reason = reason


@dataclass(frozen=True)
class Rules:
    """What of a folder is copied; the patterns are nbgrader's ``ignore`` and ``include``."""

    ignore: tuple[str, ...] = ()
    include: tuple[str, ...] = ("*",)
    largest_file: int = 0  # bytes; larger files are left out; 0: no limit
    largest_folder: int = 0  # bytes of all files; more is refused
    shared: bool = False  # writable by the group, whatever the umask


def shown(text: str) -> str:
    """``text`` without what could move a cursor or forge a line."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def open_folder(name: str, folder: int, path: str) -> int:
    """A descriptor of the folder ``name`` in ``folder``.

    Raises:
        RefusedError: it is none, or cannot be opened.
    """
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        raise RefusedError(path, _why_not(name, folder, error)) from error


def _why_not(name: str, folder: int, error: OSError) -> str:
    try:
        kind = stat.S_IFMT(os.lstat(name, dir_fd=folder).st_mode)
    except OSError:
        return "changed while it was read"
    if kind in (stat.S_IFDIR, stat.S_IFREG):
        return f"cannot be read: {error.strerror}"
    return _KINDS.get(kind, "is neither a file nor a folder")


def copy(source: int, target: int, rules: Rules) -> list[str]:
    """Copy what lies in the folder ``source`` into the folder ``target``; both are descriptors.

    Files and folders alone, and only those of the owner of ``source``: a hard link may lead to a
    file of somebody else.

    Returns:
        The files that were left out because they are too large.

    Raises:
        RefusedError: something else lies there; what was copied until then stays in ``target``.
    """
    work = _Copy(rules, os.fstat(source).st_uid)
    work.folder(source, target, "", 0)
    return work.left_out


def check(top: Path) -> None:
    """See that a folder of the course directory holds files and folders alone.

    Nobody changes it meanwhile but the instructors: what others hand in is copied (:func:`copy`).
    nbgrader follows links in it, and would wait for ever for who writes into a pipe.

    Raises:
        RefusedError: something else lies there, or a file that has another name elsewhere.
        OSError: it cannot be read.
    """
    names: dict[tuple[int, int], tuple[str, int]] = {}
    for parent, folders, files in os.walk(top, onerror=_raise):
        for name in (*folders, *files):
            path = os.path.join(parent, name)  # noqa: PTH118
            found = os.lstat(path)
            inside = os.path.relpath(path, top)
            if stat.S_ISDIR(found.st_mode):
                continue
            if not stat.S_ISREG(found.st_mode):
                kind = _KINDS.get(stat.S_IFMT(found.st_mode), "is neither a file nor a folder")
                raise RefusedError(inside, kind)
            if found.st_nlink > 1:
                _, others = names.get((found.st_dev, found.st_ino), (inside, found.st_nlink))
                names[found.st_dev, found.st_ino] = (inside, others - 1)
    for inside, others in names.values():
        if others:
            raise RefusedError(inside, "is a hard link to a file that lies elsewhere too")


def _raise(error: OSError) -> None:
    raise error


@dataclass
class _Copy:
    rules: Rules
    owner: int
    left_out: list[str] = field(default_factory=list)
    entries: int = 0
    size: int = 0

    def folder(self, source: int, target: int, path: str, depth: int) -> None:
        if depth > _DEEPEST:
            raise RefusedError(path, f"lies in more than {_DEEPEST} folders")
        if self.rules.shared:
            os.fchmod(target, 0o2770)
        with os.scandir(source) as items:
            for item in items:
                if any(fnmatch(item.name, pattern) for pattern in self.rules.ignore):
                    continue
                self.entries += 1
                inside = f"{path}/{item.name}" if path else item.name
                if self.entries > _MOST:
                    raise RefusedError("", f"it holds more than {_MOST} files and folders")
                try:
                    self._entry(item, source, target, inside, depth)
                except OSError as error:
                    raise RefusedError(inside, f"cannot be copied: {error.strerror}") from error

    def _entry(self, item: Any, source: int, target: int, path: str, depth: int) -> None:
        if item.is_dir(follow_symlinks=False):
            opened = open_folder(item.name, source, path)
            try:
                self._check_owner(os.fstat(opened), path)
                os.mkdir(item.name, dir_fd=target)
                made = os.open(item.name, _FOLDER, dir_fd=target)
                try:
                    self.folder(opened, made, path, depth + 1)
                finally:
                    os.close(made)
            finally:
                os.close(opened)
            return
        try:
            opened = os.open(item.name, _READ, dir_fd=source)
        except OSError as error:
            raise RefusedError(path, _why_not(item.name, source, error)) from error
        try:
            self._file(item.name, opened, target, path)
        finally:
            os.close(opened)

    def _file(self, name: str, opened: int, target: int, path: str) -> None:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            kind = _KINDS.get(stat.S_IFMT(found.st_mode), "is neither a file nor a folder")
            raise RefusedError(path, kind)
        self._check_owner(found, path)
        rules = self.rules
        if rules.include and not any(fnmatch(name, pattern) for pattern in rules.include):
            return
        if rules.largest_file and found.st_size > rules.largest_file:
            self.left_out.append(path)
            return
        self.size += found.st_size
        if rules.largest_folder and self.size > rules.largest_folder:
            limit = rules.largest_folder // 1000
            raise RefusedError("", f"its files have more than {limit} kB altogether")
        made = os.open(name, _MAKE, 0o666, dir_fd=target)
        try:
            if rules.shared:
                os.fchmod(made, 0o660)
            if _pour(opened, made, found.st_size) != found.st_size:
                raise RefusedError(path, "changed while it was copied")
            os.utime(made, ns=(found.st_atime_ns, found.st_mtime_ns))
        finally:
            os.close(made)

    def _check_owner(self, found: os.stat_result, path: str) -> None:
        if found.st_uid != self.owner:
            raise RefusedError(path, f"belongs to somebody else (UID {found.st_uid})")


def _pour(source: int, target: int, size: int) -> int:
    """Copy at most one byte more than ``size``; how many there were."""
    done = 0
    while piece := os.read(source, min(_PIECE, size + 1 - done)):
        done += len(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(target, view) :]
    return done


def write(folder: int, name: str, content: bytes, *, shared: bool) -> None:
    """Put a file in the place of whatever lies there in a folder of our own."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    made = os.open(name, _MAKE, 0o666, dir_fd=folder)
    try:
        if shared:
            os.fchmod(made, 0o660)
        os.write(made, content)
    finally:
        os.close(made)
