"""An image in this backend is a directory: a virtual environment, or a root file tree."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from courseyard.errors import UnsupportedError

#: Where a root file tree has its Python, best first.
_PYTHONS = ("opt/conda/bin/python3", "usr/local/bin/python3", "usr/bin/python3")
_SYSTEM = (Path("/usr"), Path("/bin"), Path("/lib"), Path("/lib64"))


@dataclass(frozen=True, slots=True)
class Image:
    """What of an image a sandbox mounts."""

    python: str  # path inside
    #: Directories outside, bound read-only at their own paths; for a venv.
    folders: tuple[str, ...] = ()
    #: A root file tree: ``/`` of the sandbox comes from here, not from the machine.
    root: str = ""
    #: First part of PATH inside.
    bin: str = ""


def _missing(path: Path, detail: str) -> UnsupportedError:
    return UnsupportedError(
        "The software of this server is not installed on this machine.",
        "Ask an administrator to build it with `courseyard images build`.",
        detail=f"image {path}: {detail}",
    )


def _base_folders(path: Path) -> list[str]:
    """The base Python's folder of the virtual environment ``path``, and paths that lead to it."""
    settings = {}
    for line in (path / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        settings[key.strip().lower()] = value.strip()
    home = Path(settings.get("home", "/usr/bin"))
    python = (path / "bin" / "python").resolve()
    found: list[str] = []
    for folder in (home.parent, home.resolve().parent, python.parent.parent):
        inside_system = any(folder == top or top in folder.parents for top in _SYSTEM)
        if inside_system or folder == Path("/"):
            continue
        if str(folder) not in found:
            found.append(str(folder))
    return found


def examine(path: Path) -> Image:
    """How the image in the directory ``path`` (absolute) is mounted.

    Raises:
        UnsupportedError: there is no image, or none that has a Python.
    """
    try:
        if (path / "pyvenv.cfg").is_file():
            if not os.access(path / "bin" / "python", os.X_OK):
                raise _missing(path, "bin/python cannot be run")
            return Image(
                python=str(path / "bin" / "python"),
                folders=(*_base_folders(path), str(path)),
                bin=str(path / "bin"),
            )
        for name in _PYTHONS:
            # A link of the tree points inside it, so only its name counts here.
            if os.path.lexists(path / name) and (path / "usr").is_dir():
                return Image(python=f"/{name}", root=str(path), bin=str(Path(f"/{name}").parent))
    except OSError as error:
        raise _missing(path, str(error)) from error
    raise _missing(path, "neither a virtual environment nor a root file tree with a Python")
