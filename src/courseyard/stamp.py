"""By what a file is known to have changed, without being read."""

from __future__ import annotations

import os
from pathlib import Path

#: Modification and change of status (nanoseconds), size (bytes), inode. A file that replaces another
#: has another inode; a change of the mode alone, which may decide whether it counts, another status.
Stamp = tuple[int, int, int, int]


def stamp(status: os.stat_result) -> Stamp:
    """The stamp in what ``stat`` found."""
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


def stamp_of(file: Path) -> Stamp | None:
    """The stamp of ``file`` now; None when it cannot be looked at. Not for the event loop."""
    try:
        return stamp(file.stat())
    except OSError:
        return None
