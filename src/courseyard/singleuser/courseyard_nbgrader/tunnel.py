"""The way from an instructor's server to a kernel in the sandbox for grading.

The other end is grading/runner.py, which says what is spoken. The channels of the kernel appear here
as Unix sockets of this side; threads carry them, so that no event loop has to run meanwhile.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .way import NoSandboxError, find_way

#: Sockets of a kernel by their numbers, which end their names.
PORTS = {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5}
MOST = 256 * 1024**2  # bytes that one kernel may send
_LONGEST = 1024 * 1024  # bytes of a line
#: Hidden tests stand in the notebooks of an assignment.
_LEFT_OUT = ("*.ipynb", ".ipynb_checkpoints", "__pycache__")


class RemoteKernel:
    """One kernel in the sandbox; it lives until :meth:`close`.

    Args:
        argv: its command; ``{connection_file}`` in it stands for that file.
        connection: key and signature scheme of its messages.
        folder: what it finds in its working directory, but for notebooks.
        modules: further Python modules, or None.
        seconds: after which it is ended; 0: never.
        tell: told what it waits for.

    Raises:
        NoSandboxError: there is none, or it could not start the kernel.
    """

    def __init__(
        self,
        argv: list[str],
        *,
        environment: dict[str, str],
        connection: dict[str, str],
        folder: Path,
        modules: Path | None,
        seconds: float,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.returncode: int | None = None
        self._why = ""  # it was ended from outside
        self._said = ""  # what it wrote last
        self.ended = threading.Event()
        self._left = MOST
        self._way = find_way(tell)
        request = {
            "do": "start",
            "argv": argv,
            "environment": environment,
            "connection": {**connection, **PORTS},
            "seconds": seconds,
        }
        with tempfile.TemporaryFile() as archive:
            pack(archive, folder, modules)
            size = archive.tell()
            archive.seek(0)
            self._control = self._way.connect({**request, "size": size})
            self._stream = self._control.makefile("rb")
            try:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it says why
                    self._control.sendfile(archive)
                self._id = str(self._answer()["kernel"])
            except BaseException:
                self.close()
                raise
        threading.Thread(target=self._watch, daemon=True).start()
        #: Sockets ``<prefix>-1`` … ``<prefix>-5`` are its channels.
        self._folder = Path(tempfile.mkdtemp(prefix="grading-"))
        self.prefix = str(self._folder / "k")
        self._listeners = [self._offer(channel) for channel in PORTS.values()]

    @property
    def reason(self) -> str:
        """Why it ended, for the instructor."""
        if self._why:
            return self._why
        if self.returncode == -signal.SIGKILL:
            return "it was killed, most often because it used more memory than this server has"
        return f"exit status {self.returncode}; it wrote last: {self._said[-200:]!r}"

    def signal(self, number: int) -> None:
        with contextlib.suppress(OSError):
            self._control.sendall(json.dumps({"signal": number}).encode() + b"\n")

    def close(self) -> None:
        """End it, and everything that it started; idempotent."""
        for listener in getattr(self, "_listeners", []):
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        if hasattr(self, "_folder"):
            shutil.rmtree(self._folder, ignore_errors=True)

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._stream.readline(_LONGEST)
        except OSError:  # it ended in the middle
            line = b""
        found: dict[str, Any] = json.loads(line) if line else {"error": "the sandbox ended"}
        if "error" in found:
            raise NoSandboxError(f"The sandbox for grading could not start: {found['error']}.")
        return found

    def _watch(self) -> None:
        with contextlib.suppress(OSError, ValueError, NoSandboxError):
            end = self._answer()
            self._why, self._said = self._why or str(end["why"]), str(end["said"])
            self.returncode = end["ended"]
        if self.returncode is None:
            self.returncode = -signal.SIGKILL
        self.ended.set()

    def _offer(self, channel: int) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{self.prefix}-{channel}")
        listener.listen()
        threading.Thread(target=self._accept, args=(listener, channel), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket, channel: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=self._carry, args=(near, channel), daemon=True).start()

    def _carry(self, near: socket.socket, channel: int) -> None:
        request = {"do": "connect", "kernel": self._id, "channel": channel}
        with (
            contextlib.suppress(OSError, NoSandboxError, ValueError),
            near,
            self._way.connect(request) as far,
        ):
            with far.makefile("rb", buffering=0) as stream:
                if stream.readline(_LONGEST) != b"{}\n":
                    return
            threading.Thread(target=_pump, args=(near, far), daemon=True).start()
            for data in _received(far):
                self._left -= len(data)
                if self._left < 0:
                    self._why = f"it sent more than {MOST // 1024**2} MiB of output"
                    self.signal(signal.SIGKILL)
                    return
                near.sendall(data)


def pack(archive: io.BufferedRandom | Any, folder: Path, modules: Path | None) -> None:
    """A tar of the plain files below both folders, as ``work/`` and ``pymod/``; no link is followed."""
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, top in (("work", folder), ("pymod", modules)):
            if top is not None and top.is_dir():
                _add(made, top, name, _LEFT_OUT if name == "work" else ())


def _add(made: tarfile.TarFile, top: Path, name: str, left_out: tuple[str, ...]) -> None:
    for parent, folders, files in os.walk(top):
        here = Path(parent)
        folders[:] = [each for each in folders if not _matches(Path(each), left_out)]
        for each in files:
            path = here / each
            if path.is_symlink() or not path.is_file() or _matches(path, left_out):
                continue
            made.add(path, str(name / path.relative_to(top)), recursive=False)


def _matches(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(path.match(pattern) for pattern in patterns)


def _received(source: socket.socket) -> Iterator[bytes]:
    while data := source.recv(65536):
        yield data


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        for data in _received(source):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
