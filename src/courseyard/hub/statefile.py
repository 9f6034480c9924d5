"""What the hub knows in a file of its own, so that a hub that starts again knows it at once."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
from pathlib import Path
from typing import Any

_DELAY = 5.0  # seconds in which changes gather


class StateFile:
    """A dictionary in a file that its owner alone reads, written every five seconds at most.

    Nobody but the next hub reads it, and that finds by itself what the last seconds of a hub that was
    killed had more. jupyterhub-traefik-proxy keeps its dynamic configuration with one where proxies
    ask for it.

    Args:
        file: where.
        delay: seconds in which changes gather; with 0 each is written at once.
    """

    def __init__(self, file: Path, delay: float | None = None) -> None:
        self._file = file
        self._delay = _DELAY if delay is None else delay
        self._data: dict[str, Any] = {}
        self._due: asyncio.TimerHandle | None = None

    def load(self) -> dict[str, Any]:
        """What was written last.

        Raises:
            FileNotFoundError: nothing was, or nothing that can be used.
        """
        try:
            found = json.loads(self._file.read_text())
        except ValueError as error:
            raise FileNotFoundError(f"{self._file} is damaged") from error
        if not isinstance(found, dict):
            raise FileNotFoundError(f"{self._file} is damaged")
        return found

    def atomic_dump(self, data: dict[str, Any]) -> None:
        """Write ``data``, as it is then, after the delay; called in the event loop."""
        self._data = data
        if not self._delay:
            self.write()
        elif self._due is None:
            self._due = asyncio.get_running_loop().call_later(self._delay, self.write)
            atexit.register(self._write_rest)

    def write(self) -> None:
        """Write what waits."""
        self._due = None
        atexit.unregister(self._write_rest)
        new = self._file.with_name(self._file.name + ".new")
        new.unlink(missing_ok=True)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as out:
            out.write(json.dumps(self._data))  # in C, unlike json.dump
        new.replace(self._file)

    def _write_rest(self) -> None:
        if self._due is not None:
            self.write()
