"""The way from an instructor's server to the sandbox for grading, and who is told when there is none."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from . import hub

#: ``unix:<path>``, ``tcp:<host>:<port>`` or ``hub:<key>``, from the backend. In a cluster the hub knows the
#: address, and the runner asks for the key.
ADDRESS = "COURSEYARD_GRADING"
CONNECT = 30.0  # seconds for the runner to answer
PATIENCE = 180.0  # seconds for the sandbox to be there
_BEGINS = 20.0  # seconds for a runner to begin in its container
_known: list[str] = []  # the last address
_AGAIN = "Stop this server, start it again, and autograde once more."


class NoSandboxError(Exception):
    """There is no sandbox for grading, or it refused; the text is for the instructor."""


class Way(NamedTuple):
    """How to come to the runner."""

    kind: str  # unix or tcp
    where: str
    key: str = ""

    def connect(self, request: dict[str, Any]) -> socket.socket:
        """A connection that has begun with ``request``.

        Raises:
            NoSandboxError: the runner is not there.
        """
        try:
            if self.kind == "unix":
                connection = socket.socket(socket.AF_UNIX)
                connection.connect(self.where)
            else:
                connection = self._connect()
        except OSError as error:
            raise NoSandboxError(
                f"The sandbox for grading does not answer ({error.strerror or error}). {_AGAIN}"
            ) from error
        if self.key:
            request = {**request, "key": self.key}
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it says why
            connection.sendall(json.dumps(request).encode() + b"\n")
        return connection

    def _connect(self) -> socket.socket:
        """Its container may run a moment longer than the runner in it."""
        host, _, port = self.where.rpartition(":")
        until = time.monotonic() + (_BEGINS if self.key else 0)
        while True:
            try:
                connection = socket.create_connection((host, int(port)), CONNECT)
            except ConnectionRefusedError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
            else:
                connection.settimeout(None)
                return connection


def find_way(tell: Callable[[str], None] = lambda sentence: None) -> Way:
    """The way to the runner, once it is there.

    Args:
        tell: told what it waits for.

    Raises:
        NoSandboxError: there is none.
    """
    kind, _, where = os.environ.get(ADDRESS, "").partition(":")
    if kind in ("unix", "tcp"):
        return Way(kind, where)
    if kind == "hub":
        return Way("tcp", _address(tell), where)
    raise NoSandboxError(
        "Students' code runs in a sandbox of its own, and this server has none. Autograde in an"
        " instructor server of the course; if this is one, stop it and start it again."
    )


def _address(tell: Callable[[str], None]) -> str:
    """Where the runner's pod is, by the hub, which makes it anew when it was lost.

    While the hub is away (it restarts in seconds) the last address holds.
    """
    until, told = time.monotonic() + PATIENCE, ""
    while True:
        try:
            answer: dict[str, str] = hub.ask("grading")
        except hub.UnknownError as error:
            sentence = f"The hub knows no sandbox for grading of this server. {_AGAIN}"
            raise NoSandboxError(sentence) from error
        except OSError as error:
            if _known:
                return _known[-1]
            answer = {
                "wait": f"The hub does not answer ({error}), and it knows where the sandbox is."
            }
        if "address" in answer:
            _known[:] = [answer["address"]]
            return answer["address"]
        if "error" in answer:
            raise NoSandboxError(answer["error"])
        told, before = answer["wait"], told
        if told != before:
            tell(told)
        if time.monotonic() > until:
            raise NoSandboxError(f"{told} It takes too long: autograde again in some minutes.")
        time.sleep(1)
