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
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url
from traitlets.log import get_logger

_INTERVAL = 5.0  # seconds between two foldings
_PAGES = 25_000  # of the log (100 MB), after which a commit folds it if nobody else does


def use_log() -> None:
    """From now on every SQLite database that SQLAlchemy opens here has a write-ahead log."""
    if not event.contains(Engine, "connect", _with_log):
        event.listen(Engine, "connect", _with_log)


def _with_log(connection: Any, record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        # Where the file system cannot have one (shared memory is lacking), the journal stays.
        connection.execute("PRAGMA journal_mode = WAL").close()
        connection.execute("PRAGMA synchronous = NORMAL").close()
        connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES}").close()


async def fold_forever(url: str, interval: float = _INTERVAL) -> None:
    """Keep the log of the database at ``url`` short, and empty at the end of this process.

    Nothing to do for other databases.
    """
    parts = make_url(url)
    if parts.get_backend_name() != "sqlite" or parts.database in (None, "", ":memory:"):
        return
    file = str(parts.database)
    # JupyterHub ends without closing it, and who copies the file of a hub that was stopped wants all.
    atexit.register(fold, file, empty=True)
    while True:
        await asyncio.sleep(interval)
        await asyncio.to_thread(fold, file)


def fold(file: str, *, empty: bool = False) -> None:
    """Write what the log holds into the database, and wait for the disk; a failure is logged.

    Args:
        empty: make the log empty as well, which waits for who writes just now.
    """
    how = "TRUNCATE" if empty else "PASSIVE"
    try:
        with closing(sqlite3.connect(file, timeout=1)) as connection:
            connection.execute(f"PRAGMA wal_checkpoint({how})").close()
    except sqlite3.Error as error:
        get_logger().warning("The log of the database was not written into it: %s", error)
