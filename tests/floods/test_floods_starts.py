"""Fifty starts and stops in a row, by a program with a person's own token."""

from __future__ import annotations

import re
import time
from pathlib import Path

import psutil
import requests
from flooding import MB, Neighbour, memory
from sites import PASSWORD, Hub

SERVER = "/hub/api/users/aino/servers/scip"


def own_token(hub: Hub) -> str:
    person = Neighbour(hub, "aino").visitor
    words = {"_xsrf": person.xsrf, "password": PASSWORD.format("aino"), "note": "program"}
    found = re.search(r"<pre[^>]*>([^<]+)</pre>", person.post("/hub/token", data=words).text)
    assert found
    return found[1]


def test_fifty_starts_and_stops(protected: Hub) -> None:
    assert protected.hub is not None
    neighbour, before = Neighbour(protected), memory(protected.hub.pid)
    program = requests.Session()
    program.headers["Authorization"] = f"token {own_token(protected)}"
    seen: dict[int, int] = {}
    for number in range(50):
        for method in ("POST", "DELETE"):
            reply = program.request(method, protected.base + SERVER, timeout=40)
            seen[reply.status_code] = seen.get(reply.status_code, 0) + 1
            # 400: the last one is still pending. Never a fault of the hub.
            assert reply.status_code in (201, 202, 204, 400, 404, 409, 429), reply.text
        if number % 10 == 5:
            neighbour.goes_on(start=False)
    assert seen.get(201, 0) + seen.get(202, 0) >= 10, seen
    neighbour.goes_on()
    deadline = time.monotonic() + 40
    while servers_of(protected, "aino") and time.monotonic() < deadline:
        program.delete(protected.base + SERVER, timeout=40)
        time.sleep(0.3)
    assert servers_of(protected, "aino") == 0
    assert memory(protected.hub.pid) < before + 60 * MB


def servers_of(hub: Hub, name: str) -> int:
    """Processes of servers of a person, whatever the hub believes."""
    folder = Path(hub.folder / "servers")
    pids = [int(p.stem) for p in folder.glob("*.name") if p.read_text().startswith(f"{name}-")]
    return sum(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)
