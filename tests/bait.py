"""Files that look like hooks, and leave a mark where something on this machine runs one."""

from __future__ import annotations

import runpy
import shutil
import tempfile
from pathlib import Path

#: Names that systems run by themselves, and modules that a program would import.
NAMES = (
    *("hooks.py", "pre_spawn.py", "post_stop.py", "config.py", "jupyterhub_config.py"),
    *("jupyter_server_config.py", "nbgrader_config.py", "sitecustomize.py", "usercustomize.py"),
    *("json.py", "socket.py", "yaml.py", "courseyard.py"),
)


class Bait:
    """Python that leaves a mark; ``courses`` and ``plant`` lay it out."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cy-bait-", dir="/tmp"))
        self.folder.chmod(0o777)
        self.mark = self.folder / "ran"
        self.python = f"import os; os.system('touch {self.mark}')\n"

    def plant(self, folder: Path) -> None:
        """As files of Python and of the shell in ``folder``."""
        for name in NAMES:
            (folder / name).write_text(self.python)
        for name in (".bashrc", ".profile", "pre-start.sh"):
            (folder / name).write_text(f"touch {self.mark}\n")
            (folder / name).chmod(0o755)

    def courses(self, folder: Path) -> None:
        """Beside the course files: Python, and ``evil.yaml``, whose name is a call."""
        self.plant(folder)
        evil = f"name: !!python/object/apply:os.system ['touch {self.mark}']\n"
        (folder / "evil.yaml").write_text(evil)

    def untouched(self, folder: Path) -> bool:
        """Whether nothing ran so far, shown with a file of ``folder`` that does leave the mark."""
        ran = self.mark.exists()
        runpy.run_path(str(folder / NAMES[0]))
        assert self.mark.exists(), "the bait itself does not work"
        shutil.rmtree(self.folder)
        return not ran
