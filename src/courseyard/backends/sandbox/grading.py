"""The second sandbox of an instructor's server, in which students' code is graded.

It is an ordinary launch of a plan made from the server's (backends/beside.py). Its socket lies in a folder that the server
sees read-only; the sandbox itself has the open socket and no folder of the server's.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from courseyard.backends.sandbox import namespaces
from courseyard.singleuser.courseyard_nbgrader import way

RUNNER = f"{namespaces.PROGRAMS}/grading/runner.py"
#: What an instructor's programs connect to.
VARIABLES = {way.ADDRESS: f"unix:{namespaces.GRADING}/socket"}


def listen(listening: socket.socket, folder: Path, uid: int | None) -> None:
    """Listen on a Unix socket, made inside the sandbox, as ``socket`` in ``folder``, which is made.

    Args:
        uid: who may connect; None: this account alone.
    """
    folder.mkdir(mode=0o755)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # By the descriptor: an address of a Unix socket has 107 bytes at most.
        listening.bind(f"/proc/self/fd/{descriptor}/socket")
        os.chmod("socket", 0o600, dir_fd=descriptor)
        if uid is not None:
            os.chown("socket", uid, -1, dir_fd=descriptor, follow_symlinks=False)
        listening.listen(64)
    finally:
        os.close(descriptor)
