"""``courseyard up``: a whole site on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from courseyard.agent.client import AgentClient
from courseyard.cli import greeting, images, output, passwords, state
from courseyard.cli.health import agent_answers, hub_answers, proxy_answers
from courseyard.cli.ports import Listeners
from courseyard.cli.sites import HERE, Known, SiteArgument, open_site
from courseyard.cli.supervise import Part, rotate
from courseyard.errors import CourseyardError, SettingsError
from courseyard.hints import make_room, system_says
from courseyard.hub.places import Places
from courseyard.settings import Site
from courseyard.storage import courses

_SERVERS_STOP = 60.0  # seconds for all servers together


def up(
    site: SiteArgument = HERE,
    keep_servers: Annotated[
        bool,
        typer.Option("--keep-servers", help="Leave people's servers running at the end."),
    ] = False,
) -> None:
    """Start everything: agent, proxy and hub. Ctrl-C stops it; files stay."""
    known = open_site(site)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    account = state.account_of(known.site, make=True)
    try:
        state.prepare(known.site, account)
        with _alone(known.site):
            try:
                with Listeners(known.site) as listeners:
                    accounts = _prepare(known, account)
                    _run(known.site, accounts, listeners, keep_servers=keep_servers)
            except KeyboardInterrupt:
                output.note("Stopped.")
    except OSError as error:  # what was written has no name any more: most of it is in this folder
        where = "" if error.filename else f"{known.site.state_dir}: "
        raise SettingsError(
            f"The site cannot run: {where}{system_says(error)}.",
            make_room(error, "Mend that, then start it again."),
        ) from error


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _alone(site: Site) -> Iterator[None]:
    """Hold the site's lock: two `up` on one site would fight."""
    file = site.state_dir / "run" / "up.lock"
    with open(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="ascii") as lock:
        os.fchmod(lock.fileno(), 0o600)  # whoever may read it may hold it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise SettingsError(
                f"This site is running already (process {lock.read().strip() or 'unknown'}).",
                "Stop that one first, with Ctrl-C in its terminal.",
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _prepare(known: Known, account: state.Account | None) -> dict[str, str]:
    """Passwords, software and folders; returns the demo's passwords."""
    site = known.site
    for problem in known.problems:
        if problem.is_error:
            output.note(output.clean(str(problem)), "yellow")
    accounts: dict[str, str] = {}
    if site.hub.authenticator == "demo":
        names = greeting.usernames(site)
        accounts = passwords.complete(site.folder, names, account.uid if account else None)
    images.build_missing(known.catalog)
    for refusal in courses.make(site, known.courses).refusals.values():
        output.note(output.clean(f"Warning: {refusal.problem(site.storage_root)}"), "yellow")
    return accounts


def _parts(site: Site, listeners: Listeners) -> list[Part]:
    """In the order of their start: the hub needs both others."""
    log = site.state_dir / "log"

    def part(name: str, **more: Any) -> Part:
        command = [sys.executable, "-m", "courseyard.cli", name, str(site.folder)]
        return Part(name, command, log / f"{name}.log", sockets=listeners.of(name), **more)

    return [
        part("agent", ready=lambda: agent_answers(site), patience=60),
        part("proxy", ready=lambda: proxy_answers(site), patience=60, walled=True),
        part("hub", ready=lambda: hub_answers(site), patience=180, walled=True),
    ]


def _run(site: Site, accounts: dict[str, str], listeners: Listeners, *, keep_servers: bool) -> None:
    agent, proxy, hub = parts = _parts(site, listeners)
    client = AgentClient(Places(site).agent_socket)
    try:
        with output.progress("Starting") as tell:
            for number, part in enumerate(parts):
                tell(number / len(parts), f"Starting the {part.name}")
                rotate(part.log)
                part.start()
                part.wait_ready()
        greeting.show(site, accounts, asyncio.run(client.ping()))
        while True:
            time.sleep(0.5)
            for part in parts:
                part.look_after(output.note)
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        hub.stop()
        if not keep_servers and agent.alive:
            _stop_servers(client)
        agent.stop()
        proxy.stop()


def _stop_servers(client: AgentClient) -> None:
    """Stop everyone's servers, all at once; files stay where they are."""

    async def stop_all() -> int:
        handles = list((await client.ping()).get("servers", ()))
        if handles:
            output.note(f"Stopping {len(handles)} server{'s' if len(handles) > 1 else ''} …")
        await asyncio.gather(*(client.stop(handle) for handle in handles), return_exceptions=True)
        return len(handles)

    with contextlib.suppress(CourseyardError, TimeoutError):
        asyncio.run(asyncio.wait_for(stop_all(), _SERVERS_STOP))
