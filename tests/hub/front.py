"""A real proxy in front of a site's own: a second Traefik that speaks HTTPS."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from sites import Hub, Visitor, certificate, program

#: Where it connects from; people are at other addresses of the loopback network.
ADDRESS = "127.0.0.1"


class Front:
    """Ends TLS, and says by X-Forwarded-For who it saw.

    Args:
        folder: for its files.
        sloppy: it keeps what its clients claim, and writes on the right of it.
        name: its name, which all names below belong to; an address without.
    """

    def __init__(self, folder: Path, *, sloppy: bool = False, name: str = "") -> None:
        self.folder = folder
        self.sloppy = sloppy
        self.port = _free_port()
        self.base = f"https://{name or '127.0.0.1'}:{self.port}"
        self.name = name
        self.chain = folder / "chain.pem"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, hub: Hub) -> None:
        (self.folder / "routes").mkdir()
        names = [self.name, f"*.{self.name}"] if self.name else []
        key = certificate(self.folder, *names)["key"]
        entry = {
            "address": f"127.0.0.1:{self.port}",
            "http": {"tls": {}},
            "forwardedHeaders": {"insecure": self.sloppy},
        }
        static = {
            "entryPoints": {"web": entry},
            "providers": {"file": {"directory": str(self.folder / "routes")}},
        }
        pair = {"certFile": str(self.chain), "keyFile": key}
        routes = {
            "http": {
                "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "site"}},
                "services": {"site": {"loadBalancer": {"servers": [{"url": hub.base}]}}},
            },
            "tls": {"certificates": [pair], "stores": {"default": {"defaultCertificate": pair}}},
        }
        (self.folder / "routes" / "site.yaml").write_text(json.dumps(routes))
        (self.folder / "front.yaml").write_text(json.dumps(static))
        with (self.folder / "front.log").open("wb") as log:
            self.process = subprocess.Popen(
                [program("traefik"), "--configfile", str(self.folder / "front.yaml")],
                stdout=log, stderr=log,
            )  # fmt: skip
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                reply = requests.get(f"{self.base}/hub/health", timeout=5, verify=str(self.chain))
            except requests.ConnectionError:
                time.sleep(0.2)
                continue
            if reply.status_code == 200:
                return
        raise AssertionError((self.folder / "front.log").read_text())

    def close(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)


class Guest(Visitor):
    """A browser at an address of its own, before the front proxy or the site's own.

    Args:
        hub: the site.
        address: of the loopback network.
        front: the proxy in front; None connects to the site's own.
        direct: connect to the hub's own port, as who has an account on the machine can.
        headers: what it claims with every request.
    """

    def __init__(
        self, hub: Hub, address: str, front: Front | None, *, direct: bool = False, **headers: str
    ) -> None:
        super().__init__(hub)
        self.base = front.base if front else hub.base
        if direct:
            self.base = f"http://127.0.0.1:{hub.port + 1}"
        self.verify = str(front.chain) if front else True
        self.headers.update({name.replace("_", "-"): text for name, text in headers.items()})
        self.mount(self.base, _From(address))

    def guesses(self, number: int) -> list[int]:
        """Statuses of so many log-ins as aino with a wrong password."""
        return [self.log_in("aino", password="guess").status_code for _ in range(number)]


class _From(HTTPAdapter):
    """Connects from one address."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, source_address=(self.address, 0), **kwargs)  # type: ignore[no-untyped-call]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
