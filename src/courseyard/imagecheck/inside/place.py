"""Where things lie inside, and with which configuration the image's programs run."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from .report import FailedError

#: The start program with Courseyard's configuration of Jupyter and nbgrader.
_PROGRAM = Path("/opt/courseyard/singleuser")


class Place:
    """The folders of a server, and an environment for each role."""

    def __init__(self, job: dict[str, Any], kit: Path) -> None:
        self.kit = kit
        self.course: str = job["places"]["course"]
        self.coursedata: str = job["places"]["coursedata"]
        self.notebooks: str = job["places"]["notebooks"]
        self.people: str = job["places"]["people"]
        self.home = Path(os.environ["HOME"])
        self._plans = job["plans"]
        self._config: dict[str, str] = {}

    def environment(self, role: str) -> dict[str, str]:
        """As the start program makes it for a server of ``role`` (singleuser/start.py).

        Raises:
            FailedError: the image lacks that program.
        """
        folder = os.path.join(sys.prefix, "bin")  # noqa: PTH118
        path = f"{folder}:{os.environ.get('PATH', os.defpath)}"
        own = {**os.environ, **self._plans[role]["environment"], "PATH": path}
        own.pop("COURSEYARD_SOCKET_FD", None)
        return {**own, "JUPYTER_CONFIG_PATH": self._configuration(role)}

    def umask(self, role: str) -> int:
        return int(self._plans[role]["identity"]["umask"])

    def _configuration(self, role: str) -> str:
        if role not in self._config:
            self.home.mkdir(mode=0o700, exist_ok=True)
            sys.path.insert(0, str(_PROGRAM.parent))
            try:
                writer = importlib.import_module(f"{_PROGRAM.name}.configuration")
            except ImportError as error:
                raise FailedError(
                    f"The image lacks the start program {_PROGRAM}, without which it is no server's: "
                    "build it with deploy/images/singleuser/Dockerfile."
                ) from error
            finally:
                sys.path.remove(str(_PROGRAM.parent))
            folder = self.home / ".courseyard" / role
            self._config[role] = str(writer.write(self._plans[role], folder, _PROGRAM))
        return self._config[role]


def fill(folder: str, source: Path) -> None:
    """Make ``folder``, which is a mount and stays, a copy of ``source``; empty without one."""
    for item in Path(folder).iterdir():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink()
    # Item by item: the mount itself may be somebody else's, and keeps its mode.
    for item in source.iterdir() if source.is_dir() else ():
        target = Path(folder, item.name)
        if item.is_dir():
            shutil.copytree(item, target, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(item, target)
