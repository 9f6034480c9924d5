"""The hub's own database, where it is a file: a commit does not wait for the disk.

JupyterHub commits several times while a server starts, and now and then for a page, all in its
event loop; with SQLite's rollback journal each of them waits for the disk four times, and everybody
with it. A write-ahead log waits only when it is folded into the file, which a thread does here.
The file stays whole whatever happens; a power cut may cost what the last moments brought
(sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import asyncio
import atexit
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError
from traitlets.log import get_logger

_INTERVAL = 5.0  # seconds between two foldings
_PAGES = 25_000  # of the log (100 MB), after which a commit folds it if nobody else does


def use_log() -> None:
    """From now on every SQLite database that SQLAlchemy opens here has a write-ahead log."""
    if not event.contains(Engine, "connect", _with_log):
        event.listen(Engine, "connect", _with_log)


def _with_log(connection: Any, record: Any) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.OperationalError as error:  # somebody writes just now, or nobody may
        get_logger().warning("The database keeps its journal for now: %s", error)
        return
    if mode == "wal":  # else the file system cannot have one, or there is no file
        connection.execute("PRAGMA synchronous = NORMAL").close()
        connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES}").close()


def fold_at_once(url: str) -> None:
    """Empty the log that a process which was killed left beside the database at ``url``."""
    file = _file(url)
    if file and file.with_name(f"{file.name}-wal").is_file():
        fold(file, empty=True)


async def fold_forever(url: str, interval: float = _INTERVAL) -> None:
    """Keep the log of the database at ``url`` short, and empty at the end of this process.

    Nothing to do for other databases.
    """
    file = _file(url)
    if file is None:
        return
    # JupyterHub ends without closing it, and who copies the file of a hub that was stopped wants all.
    atexit.register(fold, file, empty=True)
    while True:
        await asyncio.sleep(interval)
        await asyncio.to_thread(fold, file)


def fold(file: Path, *, empty: bool = False) -> None:
    """Write what the log holds into the database, and wait for the disk; a failure is logged.

    Args:
        empty: make the log empty as well, which waits for who writes just now.
    """
    how = "TRUNCATE" if empty else "PASSIVE"
    try:
        # Not made where it is missing.
        with closing(
            sqlite3.connect(f"{file.as_uri()}?mode=rw", timeout=1, uri=True)
        ) as connection:
            busy, _, _ = connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
    except sqlite3.Error as error:
        get_logger().warning("The log of the database was not written into it: %s", error)
        return
    if empty and busy:
        get_logger().warning("The log of the database is not empty: %s-wal belongs to it", file)


def _file(url: str) -> Path | None:
    """The file of the database at ``url``; None for one that is no file."""
    try:
        parts = make_url(url)
    except ArgumentError:  # JupyterHub says it
        return None
    if parts.get_backend_name() != "sqlite" or parts.database in (None, "", ":memory:"):
        return None
    return Path(str(parts.database)).absolute()
