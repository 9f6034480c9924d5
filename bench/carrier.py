"""What the carrier of connections costs a person: this commit, and one that handed the socket in.

Baseline, in the same run: the commit before the carrier (``--before``), taken out of git, whose servers
got a listening socket of the machine's. Both hubs stand all the time and take turns, the first one
changing; the same image, proxy, accounts and client. Measured through the proxy, as a browser does:
a WebSocket of a kernel from a message to its answer (``kernel_info_request``, and ``1+1`` until the
kernel is idle), an upload of 200 MB to the home directory in pieces of 1 MiB as JupyterLab sends them,
and ten starts at once. Last, the carrier alone on the loopback against no carrier: a round trip of 100
bytes and 2 GB in one direction.

Usage, as root: ``python bench/carrier.py SITE [--rounds 5] [--at-once 10] [--before COMMIT]``, where SITE is
a folder made by ``courseyard init`` whose image is built.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
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
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from start import Hub, courseyard_hub, processes_of, pss, start_together, take_turns
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from courseyard.backends.sandbox import carrier
from courseyard.registry.course import general_server_name
from courseyard.sitefile import load_site

ROOT = Path(__file__).resolve().parents[1]
BEFORE = "af811de"
MESSAGES = 100  # of each kind a round
PIECE, PIECES = 1024 * 1024, 200
QUESTIONS, BULK = 5000, 2 * 1024**3  # of the carrier alone


@dataclass
class Figures:
    """Of one hub; seconds, and bytes of an idle server."""

    info: list[float] = field(default_factory=list)
    execute: list[float] = field(default_factory=list)
    upload: list[float] = field(default_factory=list)
    together: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    carriers: list[float] = field(default_factory=list)


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


@contextmanager
def carried(target: tuple[str, int]) -> Iterator[tuple[str, int]]:
    """The carrier alone, in a process of its own, as it is beside a server."""
    entrance = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:
        carrier.Carrier(entrance, target, 10).run([])
    try:
        yield entrance.getsockname()
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        entrance.close()


def alone(where: tuple[str, int]) -> tuple[float, float]:
    """Seconds of a round trip (the median), and of the bulk."""
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
    with socket.create_connection(where) as connection:
        piece = bytes(1 << 20)
        begin = time.perf_counter()
        connection.sendall(b"sink")
        for _ in range(BULK // len(piece)):
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
        return statistics.median(times), time.perf_counter() - begin


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


def carrier_alone(rounds: int) -> tuple[Figures, Figures]:
    listening = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:
        serve(listening)
    without, with_ = Figures(), Figures()
    try:
        with carried(listening.getsockname()) as entrance:
            sides = [(listening.getsockname(), without), (entrance, with_)]
            for number in range(rounds):
                for where, figures in sides if number % 2 == 0 else reversed(sides):
                    trip, bulk = alone(where)
                    figures.info.append(trip)
                    figures.upload.append(BULK / bulk)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    return without, with_


def row(label: str, before: list[float], now: list[float], factor: float, unit: str) -> str:
    """Medians, and the span of all rounds behind them."""
    cells = [
        f"{statistics.median(found) * factor:.2f} {unit} ({min(found) * factor:.2f}-{max(found) * factor:.2f})"
        if found
        else "-"
        for found in (before, now)
    ]
    return f"{label:38}{cells[0]:>30}{cells[1]:>30}"


def take_out(commit: str, folder: Path) -> Path:
    """A Python whose Courseyard is that of a commit; all else is this one's. Lies in ``folder``."""
    tree, environment = folder / "tree", folder / "environment"
    tree.mkdir(parents=True)
    with subprocess.Popen(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x"], cwd=tree, stdin=archive.stdout, check=True)
    shutil.copytree(sys.prefix, environment, symlinks=True)
    for file in environment.glob("lib/python*/site-packages/*courseyard*.pth"):
        file.write_text(f"{tree / 'src'}\n")
    return environment / "bin" / "python"


def carriers(hub: Hub, at_once: int) -> float:
    """Bytes of the carrier of one server."""
    found = {pid for n in range(at_once) for pid in processes_of(f"/user/bench{n}/")}
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in found}
    return sum(pss(pid) for pid, line in lines.items() if b"carrier.py" in line) / at_once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=10)
    parser.add_argument("--before", default=BEFORE)
    arguments = parser.parse_args()
    server = general_server_name(next(iter(load_site(arguments.site).environments)))
    token, site, users = secrets.token_hex(16), arguments.site.resolve(), arguments.at_once
    before, now = Figures(), Figures()
    with tempfile.TemporaryDirectory(prefix="courseyard-bench-") as folder:
        work = Path(folder)
        work.chmod(0o755)
        old = str(take_out(arguments.before, work / "commit"))
        for name in ("before", "now"):
            (work / name).mkdir(mode=0o755)
        with (
            courseyard_hub(site, work / "before", token, users, old) as first,
            courseyard_hub(site, work / "now", token, users) as second,
        ):
            hubs: list[tuple[Hub, Any]] = [(first, before), (second, now)]
            for hub, _ in hubs:
                hub.start("bench0", server)
            take_turns(hubs, arguments.rounds, lambda hub, to: use(hub, server, to))
            now.carriers.append(carriers(second, 1))
            for hub, _ in hubs:
                hub.stop("bench0", server)
            take_turns(
                hubs,
                arguments.rounds,
                lambda hub, to: start_together(hub, server, to, arguments.at_once),
            )
    print(f"{'median (all rounds)':38}{'socket handed in':>30}{'carrier':>30}")
    print(row("kernel_info over a WebSocket", before.info, now.info, 1000, "ms"))
    print(row("1+1 over a WebSocket, until idle", before.execute, now.execute, 1000, "ms"))
    print(row("200 MB to the home directory", before.upload, now.upload, 1, "s"))
    print(row(f"{users} starts at once", before.together, now.together, 1, "s"))
    print(row("memory of an idle server (PSS)", before.memory, now.memory, 1 / 2**20, "MB"))
    print(row("of it the carrier", before.carriers, now.carriers, 1 / 2**20, "MB"))
    without, with_ = carrier_alone(arguments.rounds)
    print(f"\n{'on the loopback, without Jupyter':38}{'no carrier':>30}{'carrier':>30}")
    print(row("100 bytes there and back", without.info, with_.info, 1e6, "µs"))
    print(row("one direction", without.upload, with_.upload, 1e-9, "GB/s"))


if __name__ == "__main__":
    main()
