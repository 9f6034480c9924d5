"""Somebody else with an account on the machine, who waits for ports of a site to be free."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: Binds what it can get in every way that there is, answers like a hub, and prints what it was sent. The
#: pair of [::] and [::] is one: beside a socket with SO_REUSEPORT Linux lets it have 127.0.0.1, too.
_PROGRAM = """
import os, select, socket, sys
from socket import AF_INET, AF_INET6
ports = [int(word) for word in sys.argv[1:]]
os.setgroups([]); os.setresgid(30777, 30777, 30777); os.setresuid(30777, 30777, 30777)
REUSEADDR, REUSEPORT = (2,), (15,)
WAYS = [(AF_INET, "127.0.0.1", None, REUSEADDR), (AF_INET, "127.0.0.1", None, REUSEPORT),
        (AF_INET6, "::", 1, REUSEPORT), (AF_INET6, "::", 0, REUSEPORT)]
held = {}
def take(port, way):
    family, address, only, options = way
    taken = socket.socket(family)
    try:
        for option in options:
            taken.setsockopt(socket.SOL_SOCKET, option, 1)
        if only is not None:
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        taken.bind((address, port))
        taken.listen(50)
        held[port, way] = taken
    except OSError:
        taken.close()
def answer(listener):
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(1)
        got = b""
        try:
            while b"hunter2" not in got and (more := connection.recv(65536)):
                got += more
            print(listener.getsockname()[:2], got, flush=True)
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nhi")
        except OSError:
            pass
print("ready", flush=True)
while True:
    for port in ports:
        for way in WAYS:
            if (port, way) not in held:
                take(port, way)
    for ready in select.select(list(held.values()), [], [], 0.005)[0]:
        answer(ready)
"""


class Neighbour:
    """What it got; known at its end."""

    got = ""


@contextmanager
def neighbour(*ports: int) -> Iterator[Neighbour]:
    """It tries to have ``ports`` until the end of the context. It needs root to become somebody else."""
    found = Neighbour()
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *map(str, ports)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield found
        assert process.poll() is None, "it has ended"
    finally:
        process.kill()
        found.got = process.communicate(timeout=10)[0]
