"""Sockets that listen already when hub and proxy begin, and go on listening when these end.

``courseyard up`` makes them and holds them open as long as the site is up (``cli/ports.py``). So while a part
starts again nobody else on the machine can take its port, to which passwords and cookies are sent, and whoever
connects meanwhile waits. SO_REUSEPORT, with which a second socket could keep a port, does not do: Linux lets a
stranger bind ``[::]`` beside it, who then gets what comes to 127.0.0.1 (inet_csk_get_port, sk_reuseport_match).

A part finds them by a variable, an object in JSON: name → descriptor. Without it a part opens its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Mapping
from typing import Any

from tornado import tcpserver  # type: ignore[attr-defined]
from tornado.netutil import bind_sockets as ordinary

VARIABLE = "COURSEYARD_LISTENERS"
_FIRST = 3  # where those of LISTEN_FDS begin (sd_listen_fds(3))
_OUT_OF_THE_WAY = 64


def hand_on(sockets: Mapping[str, socket.socket]) -> dict[str, str]:
    """The variable that names ``sockets``, for a program which inherits them; nothing for none."""
    numbers = {name: each.fileno() for name, each in sockets.items()}
    return {VARIABLE: json.dumps(numbers)} if numbers else {}


def handed() -> dict[str, int]:
    """What this process was handed: name → descriptor. The next question finds none."""
    found: dict[str, int] = json.loads(os.environ.pop(VARIABLE, "{}"))
    return found


def use() -> None:
    """Let servers of tornado listen on what was handed; JupyterHub opens its own by its address alone."""
    sockets = [socket.socket(fileno=number) for number in handed().values()]
    ready = {each.getsockname()[:2]: each for each in sockets}
    for each in sockets:
        each.set_inheritable(False)
        each.setblocking(False)
    if not ready:
        return

    def bind_sockets(port: int, address: str | None = None, **more: Any) -> list[socket.socket]:
        found = ready.pop((address, port), None)
        return [found] if found else ordinary(port, address, **more)

    tcpserver.bind_sockets = bind_sockets


def for_traefik() -> dict[str, str]:
    """Move what was handed to where Traefik looks; the variables that it reads, for its exec by this process.

    Its entry points take sockets of their own names (doc.traefik.io, "EntryPoints", systemd socket activation).
    """
    sockets = handed()
    if not sockets:
        return {}
    away = {n: fcntl.fcntl(fd, fcntl.F_DUPFD, _OUT_OF_THE_WAY) for n, fd in sockets.items()}
    for place, number in enumerate(away.values(), _FIRST):
        os.dup2(number, place)
        os.close(number)
    return {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": str(len(away)),
        "LISTEN_FDNAMES": ":".join(away),
    }
