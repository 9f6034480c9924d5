"""The second step of a start: what becomes the server.

bubblewrap runs this file as ``<image's python> -I -S become.py CHANNEL LISTEN`` in the new namespaces.
It makes the server's listening socket, because a socket keeps the network namespace in which it was
made: on the loopback at the port LISTEN, or, where that is ``unix``, one that the agent outside gives
its name. It waits until the agent has checked the mounts, gives up every right for good and replaces
itself with the server. Standard library of Python 3.9 alone: the image may be old.

A problem is answered on the channel as ``{"error": "…"}``; when the channel closes without an
answer the server's program runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import socket
import sys
from typing import Any

PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 23, 24, 38, 47  # prctl(2)
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION_3 = 0x20080522  # capset(2)
LONGEST = 1024 * 1024


def prctl(libc: ctypes.CDLL, *words: int) -> int:
    padded = [ctypes.c_ulong(word) for word in (*words, 0, 0, 0, 0)[:5]]
    return int(libc.prctl(*padded))


def drop_identity(wanted: dict[str, Any]) -> None:
    """Groups, GID, UID; nothing to do where the namespace has only this person."""
    if os.getuid() == wanted["uid"]:
        return
    os.chown(wanted["home"], wanted["uid"], wanted["gid"])
    os.setgroups(wanted["groups"])
    os.setresgid(wanted["gid"], wanted["gid"], wanted["gid"])
    os.setresuid(wanted["uid"], wanted["uid"], wanted["uid"])


def drop_bounding(libc: ctypes.CDLL) -> None:
    """No program started from here can gain a capability."""
    for number in range(64):
        state = prctl(libc, PR_CAPBSET_READ, number)
        if state < 0:
            break
        if state:
            prctl(libc, PR_CAPBSET_DROP, number)


def drop_capabilities(libc: ctypes.CDLL) -> None:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "the capabilities cannot be dropped")
    prctl(libc, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    if prctl(libc, PR_SET_NO_NEW_PRIVS, 1) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs cannot be set")


def close_others(keep: set[int]) -> None:
    """Close every other descriptor: an outside folder's would be a way out of the sandbox."""
    for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208
        if number > 2 and number not in keep:
            with contextlib.suppress(OSError):  # the one that listed the folder is gone
                os.close(number)


def become(wanted: dict[str, Any]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for name, (soft, hard) in wanted["rlimits"].items():
        number = getattr(resource, name)
        ceiling = resource.getrlimit(number)[1]
        values = [v if ceiling == -1 or 0 <= v <= ceiling else ceiling for v in (soft, hard)]
        resource.setrlimit(number, (values[0], values[1]))
    if wanted["nice"]:
        os.nice(wanted["nice"])
    drop_bounding(libc)
    drop_identity(wanted)
    drop_capabilities(libc)
    os.umask(wanted["umask"])
    os.chdir(wanted["folder"])
    os.execve(wanted["argv"][0], wanted["argv"], wanted["environment"])  # noqa: S606


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(channel.fileno(), False)
    try:
        close_others({channel.fileno()})
        if sys.argv[2] == "unix":
            listening = socket.socket(socket.AF_UNIX)
            socket.send_fds(channel, [b'{"ready": true}'], [listening.fileno()])
        else:
            listening = socket.create_server(("127.0.0.1", int(sys.argv[2])), backlog=128)
            channel.send(b'{"ready": true}')
        request = channel.recv(LONGEST)
        if not request:
            raise SystemExit(1)
        wanted = json.loads(request)
        wanted["environment"]["COURSEYARD_SOCKET_FD"] = str(listening.fileno())
        listening.set_inheritable(True)
        become(wanted)
    except Exception as error:
        channel.send(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
