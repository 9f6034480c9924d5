"""Telling a person, in words, that the kernel of a notebook was killed for its memory.

The machine kills the largest process, mostly a notebook's kernel; the server goes on, and Jupyter
only says that the kernel died. So the agent looks at the cgroup and leaves one sentence where the
server can read it (``/run/courseyard/notice``), and in its log.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from courseyard.agent import logs
from courseyard.agent.records import Record
from courseyard.backends.sandbox.launch import NOTICES
from courseyard.units import format_bytes

FILE = "notice"


def killed(limit: int) -> str:
    """What a person is told; ``limit`` in bytes."""
    return (
        f"Your server needed more than its {format_bytes(limit)} of memory, so a program in it was "
        "stopped. Close notebooks that you do not need, or load less data at once."
    )


def look(folder: Path, record: Record, seen: int) -> int:
    """Leave a notice when programs were killed since ``seen``; how many it is now."""
    kills = record.cgroup.out_of_memory_kills()
    if kills > seen:
        text = killed(record.mem_limit)
        with contextlib.suppress(OSError):
            fresh = folder / NOTICES / f".{FILE}"
            fresh.write_text(text + "\n")
            fresh.chmod(0o644)
            fresh.replace(folder / NOTICES / FILE)
            logs.append(folder, f"courseyard: {text}\n".encode())
    return max(kills, seen)
