"""Starts what carries the connections of servers (carrier.py).

One process has that program loaded, and a carrier is forked from it: it is there in a few milliseconds,
and the memory of Python itself is there once for all servers.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from courseyard.backends.sandbox.limits import Cgroup
from courseyard.backends.sandbox.network import RELAY_PORT, SERVER_PORT
from courseyard.backends.sandbox.processes import Process

_PROGRAM = str(Path(__file__).with_name("carrier.py"))
_TIMEOUT = 10.0  # seconds that a carrier may take to be ready


class Starting:
    """A carrier that gets ready, as a helper process of a server.

    Raises:
        OSError: it could not be started.
    """

    def __init__(self, answers: socket.socket) -> None:
        self._answers = answers
        answers.settimeout(_TIMEOUT)
        said = self._hear()
        if said.isdigit():
            with contextlib.suppress(ProcessLookupError):
                self.process = Process.of(int(said))
                return
            said = self._hear()  # it has ended at once
        answers.close()
        raise _failure(said)

    def wait(self) -> Process:
        """Wait until it carries; where it fails it is gone.

        Raises:
            OSError: it failed or took too long.
        """
        with self._answers:
            said = self._hear()
        if said != "ok":
            self.process.signal(signal.SIGKILL)
            raise _failure(said)
        return self.process

    def _hear(self) -> str:
        try:
            return self._answers.recv(1024).decode()
        except TimeoutError:
            return "it takes too long"


def _failure(said: str) -> OSError:
    return OSError(f"no connections can be carried: {said or 'nobody answered'}")


class Carriers:
    """Carriers of one agent's servers. They go on when this is closed.

    What they are forked from starts with the first one, and anew where it was lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parent: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def start(
        self,
        server: Process,
        *,
        entrance: socket.socket | None,
        hub: tuple[str, int] | None,
        uid: int,
        cgroup: Cgroup,
        inner_port: int = SERVER_PORT,
    ) -> Starting:
        """Start the carrier of one server.

        Args:
            server: a process in the server's namespaces.
            entrance: where connections to the server's port arrive; None: nothing is carried to it.
            hub: address and port of the hub's API, for the relay; None: there is no relay.
            uid: whom it runs as where this process is root.
            cgroup: what it costs is the server's.
            inner_port: where the server listens, in its own network.

        Raises:
            OSError: it could not be started, or the server has ended.
        """
        ports = {"port": inner_port, "relay": RELAY_PORT}
        wanted = {**ports, "hub": hub, "uid": uid, "cgroup": cgroup.folders}
        with contextlib.ExitStack() as stack:
            described = server.descriptor()
            stack.callback(os.close, described)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            kept = stack.enter_context(contextlib.ExitStack())
            kept.enter_context(ours)
            with theirs:
                passed = [theirs.fileno(), described]
                if entrance is not None:
                    passed.append(entrance.fileno())
                self._ask(wanted, passed)
            kept.pop_all()
        return Starting(ours)

    def close(self) -> None:
        """Fork no more."""
        with self._lock:
            self._end()

    def _ask(self, wanted: dict[str, Any], passed: list[int]) -> None:
        request = json.dumps(wanted).encode()
        with self._lock:
            if self._requests is not None:
                with contextlib.suppress(OSError):
                    socket.send_fds(self._requests, [request], passed)
                    return
            self._end()  # it was lost
            socket.send_fds(self._begin(), [request], passed)

    def _begin(self) -> socket.socket:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._requests.settimeout(_TIMEOUT)
        with theirs:
            self._parent = subprocess.Popen(
                [sys.executable, "-I", "-S", _PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,
            )
        return self._requests

    def _end(self) -> None:
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._parent is not None:
            self._parent.kill()
            self._parent.wait()
            self._parent = None
