"""The first process of the sandbox that stands beside an instructor's server.

It runs one kernel after the other for nbgrader's autograding (courseyard_nbgrader/execute.py is the
other side) and carries their channels. What one submission leaves, the next one does not meet
(leftovers.py). As the first process of its PID namespace it cannot be killed from inside, and nobody
may look into it.

A connection begins with a line of JSON:

- ``{"do": "start", "argv", "environment", "connection", "seconds", "size"}`` and a tar of ``size``
  bytes with ``work/`` (the kernel's folder) and ``pymod/``. The answers are lines: ``{"error"}``; or
  ``{"kernel"}``, and ``{"ended", "why", "said"}`` when it ends. Meanwhile ``{"signal"}`` may be sent; the
  kernel lives no longer than the connection.
- ``{"do": "connect", "kernel", "channel"}``; after the answer ``{}`` the connection is that channel.

Where others can reach the port, as in a pod, the line also holds ``"key"``. This process knows only the
key's hash: nobody learns it here.

Standard library of Python 3.9 alone: the image may be old.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

if not __package__:  # it was started by its path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    __package__ = "grading"

from .leftovers import Leftovers
from .processes import PATIENCE, Processes

KERNEL = Path(__file__).resolve().with_name("kernel.py")
PORT = 8082
LOCK = "COURSEYARD_GRADING_LOCK"  # SHA-256 of the key, in hexadecimal digits
PROCESSES = "COURSEYARD_GRADING_PROCESSES"  # how many of this UID a kernel may see on its node
NOT_FOR_IT = ("COURSEYARD_", "KUBERNETES_")  # variables: ours, and those about a cluster's API
FIRST = 10.0  # seconds until a request has come
FOLDER = Path("/tmp/kernel")  # noqa: S108  a file system of this sandbox alone
MOST = 64  # connections at once
DRAIN = 2.0  # seconds for the other side to read the rest
CONNECT = 60.0  # seconds for a kernel to open a channel
LONGEST = 1024 * 1024  # bytes of a line
TAIL = 2000  # bytes of what a kernel wrote
PR_SET_DUMPABLE = 4  # prctl(2)
SI_USER = 0  # sigaction(2)


class Runner:
    """One kernel at a time: who shares a UID shares everything."""

    def __init__(self, lock: str = "") -> None:
        self.processes = Processes()
        self.leftovers = Leftovers(self.processes)
        self._lock = lock
        self._processes = os.environ.get(PROCESSES, "0")
        self._turn = threading.Lock()
        self._kernel = ""
        self._channels: set[socket.socket] = set()

    def serve(self, connection: socket.socket) -> None:
        """One connection, in a thread of its own."""
        with connection, connection.makefile("rb") as stream:
            try:
                request = self._request(connection, stream)
                if request["do"] == "start":
                    with self._turn:
                        self._start(connection, stream, request)
                elif request["do"] == "connect":
                    self._connect(connection, request)
            except (OSError, ValueError, KeyError, TypeError, tarfile.TarError) as error:
                with contextlib.suppress(OSError):
                    answer(connection, {"error": f"{type(error).__name__}: {error}"})

    def _request(self, connection: socket.socket, stream: BinaryIO) -> dict[str, Any]:
        """The first line, of somebody who has the key.

        Raises:
            ValueError: it has no key, or is no request.
            OSError: it did not come in time.
        """
        connection.settimeout(FIRST)
        request: dict[str, Any] = json.loads(stream.readline(LONGEST))
        key = hashlib.sha256(str(request.pop("key", "")).encode()).hexdigest()
        if self._lock and not secrets.compare_digest(key, self._lock):
            raise ValueError("wrong key")
        connection.settimeout(None)
        return request

    def _start(self, connection: socket.socket, stream: BinaryIO, request: dict[str, Any]) -> None:
        output, listener = -1, None
        try:
            pid, output = self._launch(stream, request)
            self._kernel = secrets.token_hex(16)
            answer(connection, {"kernel": self._kernel})
            listener = threading.Thread(target=self._listen, args=(stream, pid), daemon=True)
            listener.start()
            code = self.processes.wait(pid, request["seconds"] or None)
            said, why = tail(output), ""
            if code is None:
                self.processes.signal(pid, signal.SIGKILL)
                self.processes.wait(pid, PATIENCE)
                why = f"it ran for longer than {request['seconds']:g} seconds"
            answer(connection, {"ended": code, "why": why, "said": said})
        finally:
            self._kernel = ""
            if output >= 0:
                os.close(output)
            self.clean()
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)  # ends the listener
            if listener is not None:
                listener.join()  # the next kernel may have the number of this one

    def _launch(self, stream: BinaryIO, request: dict[str, Any]) -> tuple[int, int]:
        for name in ("work", "pymod", "home", "channels"):
            (FOLDER / name).mkdir(mode=0o700, parents=True)
        unpack(Limited(stream, request["size"]), FOLDER)
        file = FOLDER / "channels" / "connection.json"
        file.write_text(
            json.dumps(
                {
                    **request["connection"],
                    "transport": "ipc",
                    "ip": str(FOLDER / "channels" / "k"),
                }
            )
        )
        argv = [word.replace("{connection_file}", str(file)) for word in request["argv"]]
        environment = kernel_environment(request["environment"])
        # Unlinked, so that only this process reads what the kernel wrote.
        output = os.open(FOLDER, os.O_RDWR | os.O_APPEND | os.O_TMPFILE, 0o600)
        command = [sys.executable, "-I", str(KERNEL), str(FOLDER / "work"), self._processes, *argv]
        return self.processes.start(command, environment, output), output

    def _listen(self, stream: BinaryIO, pid: int) -> None:
        """Signals for the kernel; its end when the other side goes."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            while line := stream.readline(LONGEST):
                self.processes.signal(pid, json.loads(line)["signal"])
        self.processes.signal(pid, signal.SIGKILL)

    def clean(self) -> None:
        """Nothing of the last kernel stays; where that fails, neither does this sandbox."""
        try:
            self.processes.end_all()
            self._drain()
            self.leftovers.remove()
        except OSError as error:
            print(f"courseyard: {error}; the sandbox for grading ends", file=sys.stderr, flush=True)
            os._exit(1)

    def _drain(self) -> None:
        """Close the channels: what a kernel sent into one, open files too, lives until it is read.

        Raises:
            OSError: one stays open.
        """
        soon, deadline = time.monotonic() + DRAIN, time.monotonic() + PATIENCE
        while self._channels:
            if time.monotonic() > soon:  # the other side does not read
                for connection in list(self._channels):
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
            if time.monotonic() > deadline:
                raise OSError("a channel of the last kernel stays open")
            time.sleep(0.005)

    @contextlib.contextmanager
    def _channel(self, connection: socket.socket) -> Iterator[socket.socket]:
        self._channels.add(connection)
        try:
            with socket.socket(socket.AF_UNIX) as channel:
                yield channel
        finally:
            self._channels.discard(connection)

    def _connect(self, connection: socket.socket, request: dict[str, Any]) -> None:
        channel = int(request["channel"])
        with self._channel(connection) as kernel:
            deadline = time.monotonic() + CONNECT
            while True:
                if not self._kernel or not secrets.compare_digest(self._kernel, request["kernel"]):
                    raise ValueError("no such kernel")
                try:
                    kernel.connect(str(FOLDER / "channels" / f"k-{channel}"))
                    break
                except (FileNotFoundError, ConnectionRefusedError):
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
            answer(connection, {})
            there = threading.Thread(target=pump, args=(connection, kernel), daemon=True)
            there.start()
            pump(kernel, connection)
            there.join()


class Limited:
    """At most ``size`` bytes of a stream."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        return data


def unpack(archive: Limited, folder: Path) -> None:
    """Write the files of a tar below ``folder``.

    Raises:
        ValueError: it holds something else than files and folders of ``work`` and ``pymod``.
        OSError: there is no room for them.
    """
    with tarfile.open(fileobj=archive, mode="r|") as members:  # type: ignore[call-overload]
        for member in members:
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts or path.parts[0] not in ("work", "pymod"):
                raise ValueError(f"the file {member.name!r} cannot be taken")
            target = folder / path
            content = members.extractfile(member)
            if member.isdir():
                target.mkdir(mode=0o700, parents=True, exist_ok=True)
            elif content is not None and member.isreg():
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file)
                target.chmod(0o700 if member.mode & 0o100 else 0o600)
    while archive.read(65536):
        pass  # the padding at the end


def kernel_environment(more: dict[str, str]) -> dict[str, str]:
    """The sandbox's variables without ours, the request's, and folders that end with the kernel."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(NOT_FOR_IT)}
    paths = [str(FOLDER / "pymod"), own.get("PYTHONPATH", "")]
    return {
        **own,
        **more,
        "HOME": str(FOLDER / "home"),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def tail(output: int) -> str:
    end = os.lseek(output, 0, os.SEEK_END)
    return os.pread(output, TAIL, max(0, end - TAIL)).decode("utf-8", "replace").strip()


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def answer(connection: socket.socket, what: dict[str, Any]) -> None:
    connection.sendall(json.dumps(what).encode() + b"\n")


def listening(lock: str) -> socket.socket:
    """The socket that was handed in; a port in a pod, for this pod alone where nobody needs a key."""
    given = os.environ.pop("COURSEYARD_SOCKET_FD", "")
    if not given:
        return socket.create_server(("0.0.0.0" if lock else "127.0.0.1", PORT))
    os.set_inheritable(int(given), False)
    return socket.socket(fileno=int(given))


def end_when_told() -> None:
    """End at SIGTERM from outside, where the sender has no number of this PID namespace.

    A kernel may send it, too, and may invent the sender, but not as kill(2) names it.
    """
    while True:
        told = signal.sigwaitinfo({signal.SIGTERM})
        if told.si_code == SI_USER and told.si_pid == 0:
            os._exit(0)


def main() -> None:
    if os.getpid() != 1:
        raise SystemExit("courseyard: the grading runner ends all processes beside it: it must be"
                         " the first of a PID namespace")  # fmt: skip
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "what runs beside could look into this process")
    os.umask(0o077)
    # Python's own handler would let a kernel end this process; without one it is protected.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=end_when_told, daemon=True).start()
    lock = os.environ.pop(LOCK, "")
    runner = Runner(lock)
    runner.clean()  # in a pod its folders outlive it
    room = threading.Semaphore(MOST)

    def serve(connection: socket.socket) -> None:
        try:
            runner.serve(connection)
        finally:
            room.release()

    with listening(lock) as listener:
        while True:
            connection, _ = listener.accept()
            room.acquire()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
