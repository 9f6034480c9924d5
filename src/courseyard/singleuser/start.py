"""Become a person's Jupyter server.

Run as ``<image>/bin/python start.py`` inside the namespaces of a backend, which has set identity,
mounts, environment and umask from the plan. Here the rest of the plan is carried out: links of the
home directory and Jupyter's configuration; then this process becomes ``jupyterhub-singleuser``.

Inputs: the plan (``/etc/courseyard/plan.json``, or the file in ``COURSEYARD_PLAN``), the environment
that JupyterHub gives to a single-user server, and ``COURSEYARD_SOCKET_FD``, a listening socket
(without it, as in a pod, the server opens the port of ``JUPYTERHUB_SERVICE_URL`` itself).

Python 3.9 and the standard library alone, because the software of a course may be old.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import logging
import os
import resource
import sys
from pathlib import Path
from typing import Any

PLAN = "/etc/courseyard/plan.json"
FOLDER = Path(__file__).resolve().parent
PR_SET_DUMPABLE = 4  # prctl(2)
log = logging.getLogger("courseyard")


def isolate() -> None:
    """Start again without PYTHONPATH, which holds folders that other people may write.

    Kernels keep the variable. A course's ``pymod/json.py`` must not become the server's ``json``.
    """
    if not sys.flags.isolated or sys.flags.no_site:
        os.execv(sys.executable, [sys.executable, "-I", str(FOLDER / "start.py"), *sys.argv[1:]])  # noqa: S606


def close_memory() -> None:
    """Nobody looks into this process, or takes its descriptors: kernels have the same UID.

    Not inherited by programs that are started from here.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "kernels could look into this server")


def part(name: str) -> Any:
    """The module ``name`` beside this file, wherever the folder is bound."""
    parent = str(FOLDER.parent)
    sys.path.insert(0, parent)
    try:
        return importlib.import_module(f"{FOLDER.name}.{name}")
    finally:
        sys.path.remove(parent)


def read_plan(path: Path) -> dict[str, Any]:
    """The plan, a ServerPlan in JSON.

    Raises:
        SystemExit: it cannot be read or is of another version.
    """
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"courseyard: the plan of this server cannot be read: {error}") from error
    if not isinstance(plan, dict) or plan.get("version") != 1:
        raise SystemExit("courseyard: the plan of this server has another version than its start")
    return plan


def check_umask(wanted: int) -> None:
    """Set the plan's umask where the launcher did not."""
    before = os.umask(wanted)
    if before != wanted:
        log.warning("the umask was %04o; it is %04o now", before, wanted)


def prefer_image() -> None:
    """Find the image's programs first: nbgrader runs ``alembic``, terminals run ``nbgrader``."""
    folder = os.path.join(sys.prefix, "bin")  # noqa: PTH118
    others = [p for p in os.environ.get("PATH", os.defpath).split(os.pathsep) if p != folder]
    os.environ["PATH"] = os.pathsep.join([folder, *others])


def confine(processes: int) -> None:
    """In a pod: what a sandbox brings besides; nothing about the cluster's API, no core files.

    Args:
        processes: and threads; the kernel counts all of this UID on the node (getrlimit(2), RLIMIT_NPROC).
    """
    part("seccomp").install()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    for name in [name for name in os.environ if name.startswith("KUBERNETES_")]:
        del os.environ[name]


def main() -> None:
    isolate()
    close_memory()
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("courseyard: %(message)s"))
    log.addHandler(handler)
    log.propagate = False
    inherited = os.environ.pop("COURSEYARD_SOCKET_FD", "")
    plan = read_plan(Path(os.environ.pop("COURSEYARD_PLAN", PLAN)))
    if not inherited:
        confine(plan["limits"]["processes"])
    # A hub of an earlier version has students' code run in a second container, which shares the loopback.
    shared = os.environ.get("COURSEYARD_GRADING", "").startswith("tcp:")
    check_umask(plan["identity"]["umask"])
    home = Path(os.environ.setdefault("HOME", plan["identity"]["home"]))
    # In a pod the folder above it is an empty volume; a sandbox brings the folder itself.
    home.mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("SHELL", "/bin/bash")
    prefer_image()
    persistent = Path(plan["own_folder"]) / ".home"
    for problem in part("links").make_links(home, persistent, plan["home_links"]):
        log.warning("%s", problem)
    configuration = part("configuration")
    config = configuration.write(plan, home / ".courseyard", FOLDER, shared=shared)
    if shared:
        # Short, since a path of a socket has 107 bytes at most.
        os.environ["JUPYTER_RUNTIME_DIR"] = str(home / ".courseyard" / "run")
    os.environ["JUPYTER_CONFIG_PATH"] = str(config)
    # The home directory, not /notebooks: configuration files lying there must not stop a start.
    os.chdir(home)
    # Last, so that nothing there hides a module of the server's own.
    sys.path.extend(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    part("server").become(plan, inherited)


if __name__ == "__main__":
    main()
