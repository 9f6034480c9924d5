"""A server's output: through a FIFO into a file of bounded size.

A server cannot fill the disk with what it writes, and the FIFO survives the agent: it is opened
for reading and writing on both sides, so nobody gets an end of file or a broken pipe.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from pathlib import Path

FIFO = "output"
FILE = "log"
_SIZE = 512 * 1024  # bytes of the file; one older is kept beside it
_CHUNK = 64 * 1024
_LINE = 2000  # characters of a line that are shown
_PAUSE = 0.05  # seconds between two reads: about 1.3 MB/s, a faster server waits
_PIPE = 1024 * 1024  # bytes that wait while no agent reads


class LogPump:
    """Reads one server's FIFO into its log file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fifo = -1
        self._later: asyncio.TimerHandle | None = None

    def make(self, uid: int | None) -> int:
        """Make the FIFO; a descriptor for the server's output, to be closed by the caller."""
        path = self._folder / FIFO
        os.mkfifo(path, 0o600)
        number = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        if uid is not None:
            os.fchown(number, uid, -1)  # so that programs can open /dev/stderr
        with contextlib.suppress(OSError):
            fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, _PIPE)
        return number

    def open(self) -> None:
        """Begin to read, on the running loop."""
        path = self._folder / FIFO
        self._fifo = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        asyncio.get_running_loop().add_reader(self._fifo, self._read)

    def close(self) -> None:
        """Read what is left and stop; idempotent."""
        if self._fifo < 0:
            return
        asyncio.get_running_loop().remove_reader(self._fifo)
        if self._later is not None:
            self._later.cancel()
        for _ in range(_PIPE // _CHUNK):
            if not self._take():
                break
        os.close(self._fifo)
        self._fifo = -1

    def _read(self) -> None:
        loop = asyncio.get_running_loop()
        if self._take() >= _CHUNK:
            loop.remove_reader(self._fifo)
            self._later = loop.call_later(_PAUSE, self._again)

    def _again(self) -> None:
        if self._fifo >= 0:
            asyncio.get_running_loop().add_reader(self._fifo, self._read)

    def _take(self) -> int:
        try:
            data = os.read(self._fifo, _CHUNK)
        except BlockingIOError:
            return 0
        append(self._folder, data)
        return len(data)


def append(folder: Path, data: bytes) -> None:
    """Add ``data`` to the log in ``folder``, which stays bounded."""
    path = folder / FILE
    with contextlib.suppress(OSError):
        if path.exists() and path.stat().st_size + len(data) > _SIZE:
            path.replace(path.with_suffix(".1"))
        with open(path, "ab", opener=_private) as file:
            file.write(data)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def tail(folder: Path, lines: int) -> str:
    """The last ``lines`` lines of the log in ``folder``, without control characters."""
    text = b""
    for name in (f"{FILE}.1", FILE):
        with contextlib.suppress(OSError):
            text += (folder / name).read_bytes()
    wanted = text.decode(errors="replace").splitlines()[-lines:]
    cut = (line[:_LINE] for line in wanted)
    return "\n".join("".join(c for c in line if c == "\t" or c.isprintable()) for line in cut)
