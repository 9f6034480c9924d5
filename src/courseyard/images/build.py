"""Build the directory of an image from its lock file.

The lock file of ``images/python-2026-08-15`` is ``images/python-2026-08-15.txt``: what
``uv pip compile --generate-hashes`` wrote. The image is a virtual environment that can be moved
(``uv venv --relocatable``), made beside its place and renamed into it, readable by everyone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from courseyard.errors import ImageError

#: Called with a part done (0 to 1) and what is being done.
Progress = Callable[[float, str], None]
STAMP = ".courseyard-image.json"
OLDEST_PYTHON = (3, 11)
SYSTEM_PYTHON = Path("/usr/bin/python3")
_TIMEOUT = 1800  # seconds; a slow line needs minutes for 200 MB
#: Distribution → module: imported at the end of a build when the lock file has the distribution,
#: and by `courseyard images check`.
CHECKED = {
    "jupyterhub": "jupyterhub.singleuser.extension",
    "jupyter-server": "jupyter_server.serverapp",
    "jupyterlab": "jupyterlab.labapp",
    "notebook": "notebook.app",
    "nbgrader": "nbgrader.apps",
    "ipykernel": "ipykernel",
    "numpy": "numpy",
    "pandas": "pandas",
    "matplotlib": "matplotlib",
}
_NEEDED = ("jupyterhub", "jupyter-server")


@dataclass(frozen=True, slots=True)
class Built:
    """An image directory that is ready."""

    path: Path
    packages: int  # distributions in the lock file
    fresh: bool  # False: it was there already


def lock_file(image: Path) -> Path:
    """Where the lock file of the image directory ``image`` lies."""
    return image.with_name(f"{image.name}.txt")


def is_built(image: Path) -> bool:
    """Whether ``image`` is complete and made from the lock file beside it."""
    try:
        stamp = json.loads((image / STAMP).read_text(encoding="utf-8"))
        wanted = _hash(lock_file(image))
    except (OSError, ValueError):
        return False
    return stamp.get("lock") == wanted and os.access(image / "bin" / "python", os.X_OK)


def build_image(image: Path, progress: Progress | None = None, *, force: bool = False) -> Built:
    """Make the image directory ``image`` from its lock file; quick when it is there already.

    Args:
        image: absolute path of the directory.
        progress: told what is done.
        force: build again.

    Raises:
        ImageError: no lock file, no Python, a download that fails, or a check at the end.
    """
    tell = progress or (lambda part, message: None)
    lock = lock_file(image)
    if not lock.is_file():
        raise ImageError(
            f"The image {image.name} cannot be built: there is no lock file {lock.name}.",
            f"Put the output of `uv pip compile --generate-hashes` there, or build {image.name} "
            "by other means.",
            detail=str(lock),
        )
    names = _distributions(lock)
    image.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(image.parent / f".{image.name}.lock"):
        if is_built(image) and not force:
            return Built(image, len(names), fresh=False)
        scratch = image.with_name(f".{image.name}.building")
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            _build(scratch, lock, names, tell)
            _replace(scratch, image)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    tell(1.0, f"{image.name} is ready")
    return Built(image, len(names), fresh=True)


def _build(scratch: Path, lock: Path, names: frozenset[str], tell: Progress) -> None:
    python = choose_python()
    uv = _uv()
    tell(0.0, f"Making {lock.stem} with {python}")
    _run(
        [
            uv,
            "venv",
            "--quiet",
            "--no-project",
            "--relocatable",
            "--python",
            str(python),
            str(scratch),
        ]
    )
    install = [uv, "pip", "install", "--quiet", "--no-progress", "--require-hashes", "--no-deps"]
    # Copies: a hard link would share its file with a cache that others may write.
    install += [
        "--compile-bytecode",
        "--link-mode",
        "copy",
        "--python",
        str(scratch / "bin/python"),
    ]
    install += ["--requirements", str(lock)]
    _install(install, scratch, len(names), tell)
    tell(0.95, "Checking it")
    _open_to_all(scratch)
    _check(scratch, names)
    stamp = {"lock": _hash(lock), "python": str(python)}
    (scratch / STAMP).write_text(json.dumps(stamp), encoding="utf-8")
    (scratch / STAMP).chmod(0o644)


def _replace(scratch: Path, image: Path) -> None:
    """Put ``scratch`` in the place of ``image``. Servers that run keep the old files open."""
    old = image.with_name(f".{image.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if image.exists():
        image.rename(old)
    scratch.rename(image)
    shutil.rmtree(old, ignore_errors=True)


def choose_python() -> Path:
    """A Python for images: Debian's own, which every UID can read, or the running one.

    Raises:
        ImageError: neither is new enough.
    """
    running = Path(getattr(sys, "_base_executable", "") or sys.executable)
    for python in (SYSTEM_PYTHON, running):
        code = "import sys; print(*sys.version_info[:2])"
        try:
            out = subprocess.run(
                [str(python), "-I", "-c", code],
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            ).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        if tuple(map(int, out.split())) >= OLDEST_PYTHON:
            return python
    raise ImageError(
        "No Python 3.11 or newer was found to build an image with.",
        "Install python3 from your distribution.",
    )


def _uv() -> str:
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise ImageError(
            "The program uv, which builds images, is missing.", "Install it: pip install uv"
        )
    return found


def _environment() -> dict[str, str]:
    """Ours, without what would point uv at another environment."""
    names = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT")
    return {name: value for name, value in os.environ.items() if name not in names}


def _run(command: list[str]) -> None:
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            umask=0o022,
            env=_environment(),
            stdin=subprocess.DEVNULL,
        )
    except subprocess.CalledProcessError as error:
        raise _failed(error.stderr) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(str(error)) from error


def _install(command: list[str], scratch: Path, packages: int, tell: Progress) -> None:
    """Run uv and tell how many packages have arrived."""
    message = f"Installing {packages} packages"
    tell(0.05, message)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        umask=0o022,
        env=_environment(),
    ) as process:
        waited = 0.0
        try:
            while True:
                try:
                    _, errors = process.communicate(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    waited += 0.5
                    if waited > _TIMEOUT:
                        raise _failed(f"it took more than {_TIMEOUT} s") from None
                    there = sum(1 for _ in scratch.glob("lib/python3*/site-packages/*.dist-info"))
                    tell(0.05 + 0.85 * min(1.0, there / packages), message)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise _failed(errors)


def _failed(errors: str) -> ImageError:
    lines = [line for line in errors.strip().splitlines() if line.strip()]
    return ImageError(
        "The image could not be built.",
        "Look at the lines below, check the connection to the package index, and try again.",
        detail="\n".join(lines[-20:]),
    )


def _open_to_all(folder: Path) -> None:
    """Every UID may read all and run what its owner may run, whatever the umask was."""
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            continue
        bits = 0o755 if stat.S_ISDIR(mode) or mode & 0o100 else 0o644
        if stat.S_IMODE(mode) != bits:
            path.chmod(bits)


def _check(image: Path, names: frozenset[str]) -> None:
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise ImageError(
            f"The lock file lacks {' and '.join(missing)}, which every server needs.",
            "Add them to the .in file and make the lock file again.",
        )
    modules = [module for name, module in CHECKED.items() if name in names]
    code = f"import importlib; [importlib.import_module(m) for m in {modules!r}]"
    _run([str(image / "bin" / "python"), "-I", "-c", code])
    if (
        "nbgrader" in names
        and not (image / "share/jupyter/labextensions/@jupyter/nbgrader").is_dir()
    ):
        raise ImageError("nbgrader's extension of JupyterLab is missing from the image.")


def _distributions(lock: Path) -> frozenset[str]:
    """Names in a lock file, as the package index normalises them."""
    names = re.findall(r"(?m)^([A-Za-z0-9][A-Za-z0-9._-]*)==", lock.read_text(encoding="utf-8"))
    return frozenset(map(normal, names))


def normal(name: str) -> str:
    """A distribution's name as the package index writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold the lock ``path``: two builds of one image at once would spoil each other."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
