"""Kernels of the image's own Python, started so that opening a notebook runs nothing that lies beside it.

Jupyter starts a kernel when a notebook is opened, in the notebook's folder, by ``python -m``: this
puts the folder before Python's own modules. Whoever can write there (a student who hands in, everybody in
a shared folder) would run an ``importlib.py`` with the rights of who looks.
"""

# mypy: disable-error-code="misc, import-not-found"
# Jupyter is the image's: it has no types here.
from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

IPYTHON = ("ipykernel_launcher", "ipykernel")


def guard() -> None:
    """Guard all kernels that this process starts: notebooks', *Validate*'s, those for grading."""
    from jupyter_client.kernelspec import KernelSpecManager

    start = Path(__file__).with_name("kernelstart.py").read_text(encoding="utf-8")
    stock = KernelSpecManager.get_kernel_spec

    @functools.wraps(stock)
    def get_kernel_spec(self: Any, kernel_name: str) -> Any:
        spec = stock(self, kernel_name)
        spec.argv = guarded(spec.argv, start)
        return spec

    KernelSpecManager.get_kernel_spec = get_kernel_spec


def guarded(argv: list[str], start: str) -> list[str]:
    """The command of a kernel without the folder it starts in.

    Args:
        argv: of a kernel spec. What is no module of the image's Python stays as it is.
        start: the text of kernelstart.py.
    """
    at = module_at(argv)
    if at is None or not is_ours(argv[0]):
        return argv
    safe = ["-P"] if sys.version_info >= (3, 11) else []
    if argv[at + 1] in IPYTHON:
        return [argv[0], *safe, *argv[1:at], "-c", start, *argv[at + 2 :]]
    return [argv[0], *safe, *argv[1:]]


def module_at(argv: list[str]) -> int | None:
    """Where Python's own ``-m`` stands; None where it runs no module."""
    at = 1
    while at < len(argv) - 1 and argv[at].startswith("-"):
        if argv[at] == "-m":
            return at
        at += 2 if argv[at] in ("-X", "-W") else 1  # these take a word
    return None


def is_ours(program: str) -> bool:
    """Whether a kernel spec means the Python of this process by ``program``."""
    folder, name = os.path.split(program)
    if not folder:
        # As Jupyter does it (jupyter_client, KernelManager.format_kernel_cmd).
        major, minor = sys.version_info[:2]
        return name in ("python", f"python{major}", f"python{major}.{minor}")
    return name.startswith("python") and Path(folder) == Path(sys.executable).parent
