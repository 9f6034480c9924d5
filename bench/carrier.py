"""What the carrier of connections costs a person: this commit, and others (``--before``).

Baseline, in the same run: the commit before the carrier, taken out of git, whose servers got a listening
socket of the machine's. All hubs stand all the time and take turns, each round in the other order; the
same image, proxy, accounts and client. Measured through the proxy, as a browser does: a WebSocket of a
kernel from a message to its answer (``kernel_info_request``, and ``1+1`` until the kernel is idle), an
upload of 200 MB to the home directory in pieces of 1 MiB as JupyterLab sends them, and ten starts at
once of servers that are a small HTTP server: a JupyterLab's own five seconds would hide what is looked
for. First, the carrier alone on the loopback against no carrier: a round trip of 100 bytes, and 512 MB
in one direction.

Usage, as root: ``python bench/carrier.py SITE [--rounds 3] [--at-once 10] [--before COMMIT …]``, where SITE
is a folder made by ``courseyard init`` whose image is built. SIGTERM ends it and all that it started.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import runpy
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from start import Hub, courseyard_hub, end_at_sigterm, pss, start_together, take_turns
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from courseyard.registry.course import general_server_name
from courseyard.sitefile import load_site

ROOT = Path(__file__).resolve().parents[1]
BEFORE = "af811de"
MESSAGES = 100  # of each kind a round
PIECE, PIECES = 1024 * 1024, 200
QUESTIONS, BULK = 2000, 512 * 1024**2  # of the carrier alone
LIGHT = "light"
CARRIER = "src/courseyard/backends/sandbox/carrier.py"


@dataclass
class Figures:
    """Of one hub; seconds, and bytes of an idle server."""

    info: list[float] = field(default_factory=list)
    execute: list[float] = field(default_factory=list)
    upload: list[float] = field(default_factory=list)
    together: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    carriers: list[float] = field(default_factory=list)
    starting: list[float] = field(default_factory=list)  # processor time of a carrier until then
    trip: list[float] = field(default_factory=list)  # of the carrier alone
    bulk: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Side:
    """A commit that is measured."""

    name: str
    python: str
    tree: Path
    figures: Figures = field(default_factory=Figures)

    @property
    def program(self) -> Path | None:
        """Its carrier; None where it has none."""
        file = self.tree / CARRIER
        return file if file.exists() else None


def ask(hub: Hub, method: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"token {hub.token}", "Content-Type": "application/json"}
    request = urllib.request.Request(hub.base + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read() or b"null")


def message(kind: str, content: dict[str, Any], session: str) -> str:
    header = {
        "msg_id": uuid.uuid4().hex, "msg_type": kind, "username": "", "session": session,
        "version": "5.3", "date": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    parts = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
    return json.dumps({**parts, "channel": "shell", "buffers": []})


async def until(
    connection: WebSocketClientConnection, sent: str, done: Callable[..., bool]
) -> None:
    wanted = json.loads(sent)["header"]["msg_id"]
    await connection.write_message(sent)
    while True:
        text = await connection.read_message()
        assert isinstance(text, str), text
        answer = json.loads(text)
        if answer["parent_header"].get("msg_id") == wanted and done(answer):
            return


def replied(answer: dict[str, Any]) -> bool:
    return str(answer["msg_type"]).endswith("_reply")


def idle(answer: dict[str, Any]) -> bool:
    return bool(answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle")


async def talk(hub: Hub, server: str, figures: Figures) -> None:
    prefix = f"/user/bench0/{server}"
    kernel = ask(hub, "POST", f"{prefix}/api/kernels", {})["id"]
    session = uuid.uuid4().hex
    address = f"{hub.base.replace('http', 'ws')}{prefix}/api/kernels/{kernel}/channels"
    request = HTTPRequest(address, headers={"Authorization": f"token {hub.token}"})
    connection = await websocket_connect(request)
    code = {"code": "1+1", "silent": False, "store_history": False, "allow_stdin": False}
    kinds = (
        ("kernel_info_request", {}, replied, figures.info),
        ("execute_request", code, idle, figures.execute),
    )
    for kind, content, done, to in kinds:
        times = []
        for number in range(MESSAGES + 10):
            sent = message(kind, content, session)
            begin = time.perf_counter()
            await asyncio.wait_for(until(connection, sent, done), 60)
            if number >= 10:
                times.append(time.perf_counter() - begin)
        to.append(statistics.median(times))
    connection.close()
    ask(hub, "DELETE", f"{prefix}/api/kernels/{kernel}")


def upload(hub: Hub, server: str, figures: Figures) -> None:
    path = f"/user/bench0/{server}/api/contents/notebooks/upload.bin"
    content = base64.b64encode(os.urandom(PIECE)).decode()
    begin = time.perf_counter()
    for number in range(1, PIECES + 1):
        piece = {"type": "file", "format": "base64", "name": "upload.bin", "path": "notebooks/upload.bin",
                 "content": content, "chunk": number if number < PIECES else -1}  # fmt: skip
        ask(hub, "PUT", path, piece)
    figures.upload.append(time.perf_counter() - begin)
    ask(hub, "DELETE", path)


def use(hub: Hub, server: str, figures: Figures) -> None:
    """One round with a server that runs already."""
    asyncio.run(talk(hub, server, figures))
    upload(hub, server, figures)
    found = (figures.info[-1], figures.execute[-1], figures.upload[-1])
    print(hub.base, *(f"{seconds:.4f} s" for seconds in found), file=sys.stderr, flush=True)


def forked(work: Callable[[], None]) -> int:
    """The pid of a process that does ``work`` and nothing else."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    return pid


@contextmanager
def carried(program: Path, target: tuple[str, int]) -> Iterator[tuple[tuple[str, int], int]]:
    """The carrier alone, in a process of its own, as it is beside a server: its address and pid."""
    entrance = socket.create_server(("127.0.0.1", 0))
    pid = forked(lambda: runpy.run_path(str(program))["Carrier"](entrance, target, 10).run([]))
    try:
        yield entrance.getsockname(), pid
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        entrance.close()


def processor_time(pid: int) -> float:
    """Seconds that a process has used; 0 for none."""
    if not pid:
        return 0
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def alone(where: tuple[str, int], pid: int, figures: Figures) -> None:
    """A round with the carrier ``pid``."""
    with socket.create_connection(where) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"echo")
        times = []
        for _ in range(QUESTIONS):
            begin = time.perf_counter()
            connection.sendall(bytes(100))
            left = 100
            while left:
                left -= len(connection.recv(left))
            times.append(time.perf_counter() - begin)
    figures.trip.append(statistics.median(times))
    with socket.create_connection(where) as connection:
        piece = bytes(1 << 20)
        begin, used = time.perf_counter(), processor_time(pid)
        connection.sendall(b"sink")
        for _ in range(BULK // len(piece)):
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    figures.bulk.append(time.perf_counter() - begin)
    figures.processor.append(processor_time(pid) - used)


def serve(listening: socket.socket) -> None:
    """Echo or swallow, as the first word of a connection says; for one at a time."""
    buffer = bytearray(1 << 20)
    while True:
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        echo = connection.recv(4) == b"echo"
        while size := connection.recv_into(buffer):
            if echo:
                connection.sendall(memoryview(buffer)[:size])
        connection.close()


def carriers_alone(sides: list[Side], rounds: int) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    pid = forked(lambda: serve(listening))
    target = listening.getsockname()
    with ExitStack() as stack:
        stack.callback(os.waitpid, pid, 0)
        stack.callback(os.kill, pid, 9)
        runs = [
            (stack.enter_context(carried(s.program, target)) if s.program else (target, 0), s)
            for s in sides
        ]
        for number in range(rounds):
            for (where, carrier), side in runs if number % 2 == 0 else reversed(runs):
                alone(where, carrier, side.figures)


def table(title: str, sides: list[Side], rows: list[tuple[str, str, float, str]]) -> None:
    """Medians, and the span of all rounds behind them."""
    print(f"\n{title:36}" + "".join(f"{side.name:>28}" for side in sides))
    for label, name, factor, unit in rows:
        cells = []
        for side in sides:
            found = [value * factor for value in getattr(side.figures, name)]
            span = f"({min(found):.2f}-{max(found):.2f})"
            cells.append(f"{statistics.median(found):.2f} {unit} {span}")
        print(f"{label:36}" + "".join(f"{cell:>28}" for cell in cells), flush=True)


def take_out(commit: str, folder: Path) -> Side:
    """A Python whose Courseyard is that of a commit; all else is this one's. Lies in ``folder``."""
    tree, environment = folder / "tree", folder / "environment"
    tree.mkdir(parents=True)
    with subprocess.Popen(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x"], cwd=tree, stdin=archive.stdout, check=True)
    shutil.copytree(sys.prefix, environment, symlinks=True, copy_function=link_or_copy)
    for file in environment.glob("lib/python*/site-packages/*courseyard*.pth"):
        file.unlink()  # the same file as this one's
        file.write_text(f"{tree / 'src'}\n")
    return Side(commit, str(environment / "bin" / "python"), tree)


def link_or_copy(source: str, target: str) -> None:
    """A second name costs nothing; between two file systems there is none."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def carriers_of(pids: set[int]) -> list[int]:
    """The carriers among processes, with what they were forked from."""
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids}
    return [pid for pid, line in lines.items() if b"carrier.py" in line]


def with_light(site: Path, work: Path) -> Path:
    """A copy of the site with an environment whose servers cost little."""
    copy = work / "site"
    left_out = shutil.ignore_patterns("state", "storage", "images", "*.lock")
    shutil.copytree(site, copy, symlinks=True, ignore=left_out)
    (copy / "images").symlink_to((site / "images").resolve())
    runpy.run_path(str(ROOT / "tests" / "faults" / "light_image.py"))["make"](work / LIGHT)
    listed = {"title": "Light", "releases": {"2026-01-01": {"path": str(work / LIGHT)}}}
    environment = {"name": "Light", "image": LIGHT.upper()}
    for file, key, added in (
        ("images.yaml", "families", {LIGHT.upper(): listed}),
        ("courseyard.yaml", "environments", {LIGHT: environment}),
    ):
        content = yaml.safe_load((copy / file).read_text())
        content[key].update(added)
        (copy / file).write_text(yaml.safe_dump(content))
    return copy


def measure(sides: list[Side], site: Path, work: Path, rounds: int, users: int) -> None:
    """Hubs of all sides, in turns."""
    server = general_server_name(next(iter(load_site(site).environments)))
    site, token = with_light(site, work), secrets.token_hex(16)

    def starts(hub: Hub, figures: Figures) -> None:
        def look(pids: set[int]) -> None:
            found = carriers_of(pids)
            figures.carriers.append(sum(map(pss, found)) / users)
            figures.starting.append(sum(map(processor_time, found)) / users)

        start_together(hub, general_server_name(LIGHT), figures, users, look)
        print(hub.base, f"{figures.together[-1]:.2f} s", file=sys.stderr, flush=True)

    with ExitStack() as stack:
        hubs: list[tuple[Hub, Any]] = []
        for side in sides:
            folder = work / f"{side.name}.hub"
            folder.mkdir(mode=0o755)
            hub = stack.enter_context(courseyard_hub(site, folder, token, users, side.python))
            print(f"{side.name} is at {hub.base}", file=sys.stderr, flush=True)
            hubs.append((hub, side.figures))
        for hub, _ in hubs:
            hub.start("bench0", server)
        take_turns(hubs, rounds, lambda hub, to: use(hub, server, to))
        for hub, _ in hubs:
            hub.stop("bench0", server)
        take_turns(hubs, rounds, starts)


def tell(sides: list[Side], users: int) -> None:
    rows = [
        ("kernel_info over a WebSocket", "info", 1000, "ms"),
        ("1+1 over a WebSocket, until idle", "execute", 1000, "ms"),
        ("200 MB to the home directory", "upload", 1, "s"),
        (f"{users} starts at once", "together", 1, "s"),
        (f"memory of each of the {users} (PSS)", "memory", 1 / 2**20, "MB"),
        ("of it the carrier", "carriers", 1 / 2**20, "MB"),
        ("processor time of a carrier's start", "starting", 1e3, "ms"),
    ]
    table("median (all rounds)", sides, rows)
    rows = [
        ("100 bytes there and back", "trip", 1e6, "µs"),
        ("512 MB in one direction", "bulk", 1, "s"),
        ("of it processor time of the carrier", "processor", 1, "s"),
    ]
    table("on the loopback, without Jupyter", sides, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=10)
    parser.add_argument("--before", nargs="+", default=[BEFORE])
    arguments = parser.parse_args()
    end_at_sigterm()
    rounds, users, load = arguments.rounds, arguments.at_once, os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="courseyard-bench-") as folder:
        work = Path(folder)
        work.chmod(0o755)
        sides = [take_out(commit, work / commit) for commit in arguments.before]
        sides.append(Side("this commit", sys.executable, ROOT))
        carriers_alone(sides, rounds)
        measure(sides, arguments.site.resolve(), work, rounds, users)
        tell(sides, users)
        print(
            f"\nload average: {load[0]:.1f} before, {os.getloadavg()[0]:.1f} at the end", flush=True
        )


if __name__ == "__main__":
    main()
