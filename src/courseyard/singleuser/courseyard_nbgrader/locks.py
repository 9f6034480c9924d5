"""One person at a time works on a submission or an assignment of the course directory.

nbgrader removes and writes folders there without asking who else does; two instructors at once left
a submission without its grade. A lock is a file that is locked for as long as it is held, so that
the lock of a process that was killed goes by itself. It works over NFS, as SQLite's locks of the
gradebook do (fcntl(2)); within one process it holds nobody back.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pwd
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .tree import shown

#: In the course directory; hidden, so that no pattern of nbgrader's finds it.
FOLDER = ".courseyard-locks"
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST = 1000  # bytes of what a holder wrote


class BusyError(Exception):
    """Somebody else works on it; the text is a sentence without its end."""


@contextlib.contextmanager
def held(root: Path, what: str, doing: str) -> Iterator[str]:
    """Hold the lock of ``what`` in the course directory ``root``.

    Args:
        what: names the lock; every program that must wait for another takes the same name.
        doing: what others read, such as ``autogrades it``.

    Yields:
        Who was cut off while doing the same, as by a kill; "" when nobody was.

    Raises:
        BusyError: another process holds it.
        OSError: the course directory cannot be written, or its file system has no locks.
    """
    folder = _folder(root)
    path = folder / hashlib.sha256(what.encode()).hexdigest()[:32]
    descriptor = _locked(path)
    try:
        before = _written(descriptor)
        about = {"what": what, "who": myself(), "doing": doing, "since": time.time()}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(about).encode(), 0)
        yield shown(str(before.get("who", ""))) if before.get("doing") == doing else ""
    finally:
        # Before it is let go: who waits for it finds that the name is another file's, and asks again.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def submission(assignment: str, student: str) -> str:
    """The name of the lock for all that one student handed in for an assignment."""
    return f"submission/{assignment}/{student}"


def assignment(name: str) -> str:
    """The name of the lock for what students get of an assignment."""
    return f"assignment/{name}"


def myself() -> str:
    """Who runs this process, for others to read."""
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        return f"UID {os.getuid()}"
    name = entry.pw_gecos.partition(",")[0].strip()
    return f"{name} ({entry.pw_name})" if name else entry.pw_name


def _folder(root: Path) -> Path:
    folder = root / FOLDER
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o2770)  # for all instructors, whatever the umask
    return folder


def _locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, _OPEN, 0o660)
        try:
            found = os.fstat(descriptor)
            if found.st_uid == os.geteuid() and found.st_mode & 0o777 != 0o660:
                os.fchmod(descriptor, 0o660)
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(path, descriptor):
                return descriptor
        except OSError as error:
            about = _written(descriptor)
            os.close(descriptor)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise BusyError(_sentence(about)) from None
            if error.errno != errno.ESTALE:  # the holder removed it meanwhile, on NFS
                raise
        else:
            os.close(descriptor)


def _is(path: Path, descriptor: int) -> bool:
    """Whether the open file still has its name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _written(descriptor: int) -> dict[str, Any]:
    """What the holder wrote; nothing where it has only begun, or is no holder of ours."""
    try:
        about = json.loads(os.pread(descriptor, _LONGEST, 0))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _sentence(about: dict[str, Any]) -> str:
    try:
        minutes = max(0, int(time.time() - float(about["since"])) // 60)
        begun = f"begun {minutes} min ago" if minutes else "begun just now"
        return shown(f"{about['who']} {about['doing']} ({begun})")
    except (KeyError, TypeError, ValueError):
        return "somebody else works on it"
