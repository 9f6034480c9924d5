"""The hub's routes in a file of its own, so that a hub that starts again knows them at once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

_DELAY = 5.0  # seconds in which changes gather


class RoutesFile:
    """What jupyterhub-traefik-proxy keeps its dynamic configuration with, every five seconds at most.

    Its own writes all routes as TOML for Traefik at every change, in the event loop. Nobody but the
    next hub reads this one, and that looks for routes that the last seconds had more (JupyterHub's
    ``check_routes``).
    """

    def __init__(self, file: Path) -> None:
        self._file = file
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
        """Write ``data``, as it is then, some seconds later; called in the event loop."""
        self._data = data
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_DELAY, self.write)

    def write(self) -> None:
        """Write what waits."""
        self._due = None
        new = self._file.with_name(self._file.name + ".new")
        new.write_text(json.dumps(self._data))
        new.replace(self._file)
