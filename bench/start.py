"""From the click to a ready JupyterLab, and what an idle server costs: Courseyard and stock.

Baseline, in the same run: JupyterHub's own ``SimpleLocalProcessSpawner`` (LocalProcessSpawner
without system accounts) with the same image and the same proxy. Both hubs stand all the time and
take turns, the first one changing, so that what the machine does meanwhile falls on both. Each start
is asked for through the hub's REST API and waited for by its event stream, as the page does, and ends
when ``/user/<name>/<server>/lab`` answers 200.

Usage, as root, because a server is closed to other processes: ``python bench/start.py SITE
[--rounds 5] [--at-once 10]``, where SITE is a folder made by ``courseyard init`` whose image is
built. The site's own hub must not be running.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from courseyard.images.catalog import load_catalog
from courseyard.images.model import ImageWish
from courseyard.registry.course import general_server_name
from courseyard.sitefile import load_site

SERVICE = """
c.JupyterHub.services = [*c.JupyterHub.services, {{"name": "bench", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [
    *c.JupyterHub.load_roles,
    {{"name": "bench", "scopes": ["admin:users", "admin:servers", "access:servers"], "services": ["bench"]}},
]
c.JupyterHub.concurrent_spawn_limit = 0
"""

STOCK = """
c = get_config()
from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy
c.JupyterHub.proxy_class = TraefikFileProviderProxy
c.TraefikFileProviderProxy.should_start = True
c.TraefikFileProviderProxy.traefik_api_url = "http://127.0.0.1:{api}"
c.TraefikFileProviderProxy.traefik_entrypoint = "http"
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.allow_named_servers = True
c.Spawner.cmd = ["{singleuser}", "--allow-root"]
c.Spawner.environment = {{"PATH": "{path}"}}
c.Spawner.http_timeout = 120
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home/{{username}}"
c.JupyterHub.services = []
c.JupyterHub.load_roles = []
"""


def free_port() -> int:
    """A port that is free, with the three after it, which belong to a hub as well.

    Not among those from which the kernel takes the ports of connections: one of them may be taken soon.
    """
    for _ in range(200):
        port = random.randrange(20000, 32000, 4)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for number in range(port, port + 4):
                sock = stack.enter_context(socket.socket())
                sock.bind(("127.0.0.1", number))
            return port
    raise RuntimeError("no four free ports in a row")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A page of the hub's that says "starting" is no answer of the server."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass
class Hub:
    """A running hub and the token that may start servers on it."""

    base: str
    token: str

    def request(self, method: str, path: str, body: object = None) -> int:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, method=method)
        request.add_header("Authorization", f"token {self.token}")
        request.add_header("Content-Type", "application/json")
        try:
            with _OPENER.open(request, timeout=60) as answer:
                status: int = answer.status
                return status
        except urllib.error.HTTPError as error:
            return error.code
        except (urllib.error.URLError, ConnectionError):
            return 0

    def start(self, user: str, server: str) -> float:
        """Seconds from the request to a JupyterLab page that answers."""
        self.request("POST", f"/hub/api/users/{user}")
        begin = time.perf_counter()
        status = self.request("POST", f"/hub/api/users/{user}/servers/{server}", {})
        if status not in (201, 202):
            raise RuntimeError(f"start of {user}/{server} was refused: {status}")
        self.wait_until_ready(f"/hub/api/users/{user}/servers/{server}/progress")
        while time.perf_counter() - begin < 300:
            if self.request("GET", f"/user/{user}/{server}/lab") == 200:
                return time.perf_counter() - begin
            time.sleep(0.05)
        raise RuntimeError(f"{user}/{server} did not answer in 300 s")

    def wait_until_ready(self, path: str) -> None:
        """Follow the hub's event stream of a start to its last event; RuntimeError if that failed."""
        request = urllib.request.Request(self.base + path)
        request.add_header("Authorization", f"token {self.token}")
        with _OPENER.open(request, timeout=300) as stream:
            for line in stream:
                event = json.loads(line[5:]) if line.startswith(b"data:") else {}
                if event.get("ready"):
                    return
                if event.get("failed"):
                    raise RuntimeError(f"{path}: {event.get('message')}")

    def stop(self, user: str, server: str) -> None:
        """Stop and wait until the hub says that it has ended."""
        for _ in range(300):
            if self.request("DELETE", f"/hub/api/users/{user}/servers/{server}") in (204, 404):
                return
            time.sleep(0.2)
        raise RuntimeError(f"{user}/{server} did not stop")


def pss(pid: int) -> int:
    """Proportional set size of a process in bytes; 0 when it is gone."""
    try:
        match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    except OSError:
        return 0
    return int(match[1]) * 1024 if match else 0


def processes_of(prefix: str) -> set[int]:
    """Processes of the servers below ``prefix``, with bubblewrap around them and their carriers."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"JUPYTERHUB_SERVICE_PREFIX={prefix}".encode() in (folder / "environ").read_bytes():
                found.add(int(folder.name))
        except OSError:
            continue
    networks = {network_of(pid) for pid in found} - {network_of(os.getpid())}
    for folder in Path("/proc").glob("[0-9]*"):
        if network_of(int(folder.name)) in networks:
            found.add(int(folder.name))
    for pid in list(found):
        while (parent := parent_of(pid)) and ("bwrap" in command(parent) or carries(parent)):
            found.add(parent)
            pid = parent
    return found


def network_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")  # noqa: PTH115
    except OSError:
        return ""


def carries(pid: int) -> bool:
    try:
        return b"carrier.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def wait_for(base: str, process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(base + "/hub/health", timeout=5)
            return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"the hub ended:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.2)
    raise RuntimeError(f"the hub did not answer:\n{log.read_text()[-3000:]}")


def end_at_sigterm() -> None:
    """From now on SIGTERM ends this program as an error does: what it started is stopped."""

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one would leave the rest as it is
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)


@contextmanager
def run(argv: list[str], base: str, log: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as out:
        path = f"{Path(argv[0]).parent}:{os.environ['PATH']}"  # for traefik
        process = subprocess.Popen(
            argv, stdout=out, stderr=out, text=True, cwd=folder, env={**os.environ, "PATH": path}
        )
        try:
            wait_for(base, process, log)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(90)
            except subprocess.TimeoutExpired:
                print(f"process {process.pid} does not end: {log}", file=sys.stderr)
                process.kill()
                process.wait()


@contextmanager
def courseyard_hub(
    site_folder: Path, work: Path, token: str, users: int, python: str = sys.executable
) -> Iterator[Hub]:
    """The site's copy with ``users`` accounts, by ``courseyard up`` of ``python``'s Courseyard."""
    folder = work / "courseyard"
    shutil.copytree(
        site_folder,
        folder,
        symlinks=True,
        ignore=shutil.ignore_patterns("state", "storage", "images", "*.lock"),
    )
    (folder / "images").symlink_to((site_folder / "images").resolve())
    people = yaml.safe_load((folder / "people.yaml").read_text())
    people["people"].update(
        {f"bench{n}": {"uid": 29000 + n, "name": f"B {n}"} for n in range(users)}
    )
    (folder / "people.yaml").write_text(yaml.safe_dump(people))
    port = free_port()
    site_file = folder / "courseyard.yaml"
    site_file.write_text(
        re.sub(r"(?m)^(\s+)#?\s*port: \d+", rf"\g<1>port: {port}", site_file.read_text())
    )
    config = folder / "jupyterhub_config.py"
    config.write_text(config.read_text() + SERVICE.format(token=token))
    base = f"http://127.0.0.1:{port}"
    argv = [python, "-m", "courseyard.cli", "up", str(folder)]
    with run(argv, base, work / "courseyard.log", work):
        yield Hub(base, token)


@contextmanager
def stock_hub(image: Path, work: Path, token: str) -> Iterator[Hub]:
    """JupyterHub as it comes, with the same image."""
    folder = work / "stock"
    folder.mkdir()
    port = free_port()
    text = STOCK.format(
        api=free_port(),
        port=port,
        hub=free_port(),
        singleuser=image / "bin" / "jupyterhub-singleuser",
        path=f"{image / 'bin'}:{os.environ['PATH']}",
        folder=folder,
    )
    (folder / "config.py").write_text(text + SERVICE.format(token=token))
    base = f"http://127.0.0.1:{port}"
    argv = [sys.executable, "-m", "jupyterhub", "-f", str(folder / "config.py")]
    with run(argv, base, work / "stock.log", folder):
        yield Hub(base, token)


@dataclass
class Figures:
    """What was measured of one hub: seconds, and bytes of an idle server."""

    alone: list[float] = field(default_factory=list)
    together: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


def start_alone(hub: Hub, server: str, figures: Figures) -> None:
    figures.alone.append(hub.start("bench0", server))
    hub.stop("bench0", server)


def together(count: int, work: Callable[[int], object]) -> None:
    """Do ``work`` so many times at once. An end of this program waits for none of them."""
    errors: list[BaseException] = []

    def one(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def start_together(
    hub: Hub,
    server: str,
    figures: Figures,
    at_once: int,
    look: Callable[[set[int]], None] = lambda pids: None,
) -> None:
    """Start servers at once, ``look`` at their processes a moment later, and stop them."""
    begin = time.perf_counter()
    together(at_once, lambda n: hub.start(f"bench{n}", server))
    figures.together.append(time.perf_counter() - begin)
    time.sleep(5)
    pids = {pid for n in range(at_once) for pid in processes_of(f"/user/bench{n}/")}
    figures.memory.append(sum(map(pss, pids)) / at_once)
    look(pids)
    together(at_once, lambda n: hub.stop(f"bench{n}", server))


def take_turns(hubs: list[tuple[Hub, Figures]], rounds: int, step: Callable[..., None]) -> None:
    """Each round measures every hub once, in the other order than the round before."""
    for number in range(rounds):
        for hub, figures in hubs if number % 2 == 0 else reversed(hubs):
            step(hub, figures)
            time.sleep(2)  # what has just ended gives its processor and memory back


def row(label: str, stock: list[float], ours: list[float], unit: str) -> str:
    """Medians, and the span of all rounds behind them."""
    cells = [
        f"{statistics.median(found):.2f} {unit} ({min(found):.2f}-{max(found):.2f})"
        for found in (stock, ours)
    ]
    return f"{label:34}{cells[0]:>26}{cells[1]:>26}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=10)
    arguments = parser.parse_args()
    end_at_sigterm()
    site = load_site(arguments.site)
    image = load_catalog(site).resolve(ImageWish(family="DEFAULT")).path
    if image is None or not image.exists():
        raise SystemExit("The image is not built: run `courseyard images build` first.")
    token = secrets.token_hex(16)
    server = general_server_name(next(iter(site.environments)))
    with tempfile.TemporaryDirectory(prefix="courseyard-bench-") as folder:
        work = Path(folder)
        work.chmod(0o755)
        stock, ours = Figures(), Figures()
        with (
            stock_hub(image.resolve(), work, token) as stock_base,
            courseyard_hub(arguments.site.resolve(), work, token, arguments.at_once) as our_base,
        ):
            hubs = [(stock_base, stock), (our_base, ours)]
            take_turns(hubs, arguments.rounds, lambda hub, to: start_alone(hub, server, to))
            take_turns(
                hubs,
                arguments.rounds,
                lambda hub, to: start_together(hub, server, to, arguments.at_once),
            )
    print(f"{'median (all rounds)':34}{'stock':>26}{'Courseyard':>26}")
    print(row("click to JupyterLab, alone", stock.alone, ours.alone, "s"))
    label = f"{arguments.at_once} at once, until all answer"
    print(row(label, stock.together, ours.together, "s"))
    memory = [[size / 2**20 for size in figures.memory] for figures in (stock, ours)]
    print(row("memory of an idle server (PSS)", memory[0], memory[1], "MB"))


if __name__ == "__main__":
    main()
