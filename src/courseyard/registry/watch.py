"""The registry of a running hub: reads what changes, never blocks the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from watchfiles import awatch

from courseyard.errors import Problem
from courseyard.images.catalog import ImageCatalog
from courseyard.registry.load import Loader, Snapshot
from courseyard.settings import Site

log = logging.getLogger(__name__)

#: Seconds between two looks at the whole folder, for storage that tells nobody of changes (NFS).
POLL = 5.0
#: Milliseconds: an editor's several writes are one change.
_DEBOUNCE, _STEP = 200, 25


class Registry:
    """Holds the current :class:`Snapshot`; may be used from every thread.

    Args:
        site: where the course files are and what it says about them.
        catalog: the images that courses may name.
        poll: seconds between two looks at the whole folder.
    """

    def __init__(self, site: Site, catalog: ImageCatalog, *, poll: float = POLL) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._loader = Loader(site, catalog)
        self._logged: frozenset[Problem] = frozenset()
        self._poll = poll

    @property
    def snapshot(self) -> Snapshot:
        """The courses as they are now; immutable."""
        return self._loader.snapshot

    def refresh(self, names: Iterable[str] | None = None, *, gentle: bool = False) -> Snapshot:
        """Read what changed.

        Args:
            names: of files that may have changed; None looks at the whole folder.
            gentle: pause now and then, so that other threads can work.
        """
        with self._lock:
            before = self._loader.snapshot
            after = self._loader.refresh(names, gentle=gentle)
            if after is not before and after.problems != before.problems:
                self._log(after.problems)
            return after

    def use(self, catalog: ImageCatalog) -> Snapshot:
        """Read all courses again, now against this list of images; last good versions stay."""
        with self._lock:
            after = self._loader.use(catalog)
            self._log(after.problems)
            return after

    async def watch(self) -> None:
        """Follow the folder until cancelled: by the system's notices, and by looking regularly."""
        while True:
            try:
                await self._follow()
            except Exception as error:
                # The folder is missing, the system has no watches left, or a name in the folder is
                # no text (watchfiles then raises an ExceptionGroup): looking still works.
                log.info("The folder of courses cannot be watched (%r); looking regularly", error)
            await asyncio.to_thread(self.refresh, gentle=True)
            await asyncio.sleep(self._poll)

    async def _follow(self) -> None:
        """Until the folder is another one than at the start."""
        folder = self._loader.folder
        watched = await asyncio.to_thread(_identity, folder)
        next_look = 0.0
        async for changes in awatch(
            folder,
            watch_filter=None,
            debounce=_DEBOUNCE,
            step=_STEP,
            rust_timeout=max(50, int(self._poll * 1000)),
            yield_on_timeout=True,
            recursive=False,
        ):
            if changes:
                names = {Path(path).name for _, path in changes}
                await asyncio.to_thread(self.refresh, names, gentle=True)
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + self._poll
                await asyncio.to_thread(self.refresh, gentle=True)
                if await asyncio.to_thread(_identity, folder) != watched:
                    return

    def _log(self, problems: tuple[Problem, ...]) -> None:
        """Tell the log what is new and what is mended."""
        current = frozenset(problems)
        for problem in problems:
            if problem not in self._logged:
                log.log(logging.ERROR if problem.is_error else logging.WARNING, "%s", problem)
        for file in sorted({p.file for p in self._logged} - {p.file for p in current}):
            log.info("%s: %s", file, "mended" if os.path.lexists(file) else "deleted")
        self._logged = current


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)
