"""Become an IPython kernel that imports nothing from the notebook's folder before a cell is run.

kernels.py gives this text to ``python -c``, so it needs no path: a kernel for grading starts in another
sandbox. IPython itself puts the folder before the installed packages, and ``-m`` before Python's own.

Python 3.9, for whatever IPython an image has.
"""

# mypy: disable-error-code="misc, import-not-found, no-untyped-call"
# IPython is the image's: it has no types here.
import sys

# With -c Python itself puts the folder first, where it does not know -P (before 3.11). Before any import.
sys.path[:] = [place for place in sys.path if place]

import ipykernel_launcher  # noqa: E402
from ipykernel.kernelapp import IPKernelApp  # noqa: E402


class GuardedKernelApp(IPKernelApp):
    """The configuration of IPKernelApp holds for it."""

    def init_path(self) -> None:
        """The folder is added later."""

    def start(self) -> None:
        # Not earlier: a person's own IPython profile may run cells.
        if self.shell is not None:
            self.shell.events.register("pre_run_cell", self.add_folder)
        super().start()

    def add_folder(self, info: object) -> None:
        """Add the folder at the end: nothing in it takes the place of an installed module."""
        self.shell.events.unregister("pre_run_cell", self.add_folder)
        if "" not in sys.path:
            sys.path.append("")


if __name__ == "__main__":
    # What notebooks read there, and tell Jupyter by.
    sys.argv[0] = ipykernel_launcher.__file__
    GuardedKernelApp.launch_instance()
