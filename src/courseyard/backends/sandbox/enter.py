"""Make a listening socket in a running server's network namespace and hand it back.

Run as ``python -I -S enter.py CHANNEL PID PORT`` by an agent that was restarted: its old listener
died with it. Alone in a process, because a user namespace can be entered by one thread alone.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # setns(2)


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    spaces = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(os.pidfd_open(int(sys.argv[2])), spaces) != 0:
        raise OSError(ctypes.get_errno(), "the network namespace cannot be entered")
    listener = socket.create_server(("127.0.0.1", int(sys.argv[3])), backlog=64)
    socket.send_fds(channel, [b"ok"], [listener.fileno()])


if __name__ == "__main__":
    main()
