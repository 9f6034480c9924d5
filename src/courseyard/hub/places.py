"""Where the hub and its proxy keep their files, and the addresses at which they answer."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from courseyard.settings import Site

#: What a server is told: inside its own network this address leads to the hub (SANDBOX.md).
INNER_HUB = "http://127.0.0.1:8081"
#: Name of the value that tells the agent where that address leads outside.
HUB_ADDRESS = "COURSEYARD_HUB_ADDRESS"


@dataclass(frozen=True, slots=True)
class Places:
    """Paths and ports of one site's hub and proxy."""

    site: Site

    @property
    def hub_dir(self) -> Path:
        return self.site.state_dir / "hub"

    @property
    def proxy_dir(self) -> Path:
        return self.site.state_dir / "proxy"

    @property
    def routes_dir(self) -> Path:
        """The folder that Traefik watches: the hub's routes and our own beside them."""
        return self.proxy_dir / "routes"

    @property
    def agent_socket(self) -> Path:
        return self.site.state_dir / "run" / "agent.sock"

    @property
    def hub_port(self) -> int:
        """The hub's own port, behind the proxy."""
        return self.site.ports["hub", "api_port"]

    @property
    def servers_port(self) -> int:
        """Where servers reach the hub's API; those started before a restart still talk to it."""
        return self.site.ports["hub", "servers_port"]

    @property
    def proxy_api_port(self) -> int:
        return self.site.ports["proxy", "api_port"]

    @property
    def hub_host(self) -> str:
        """Where the hub is reached: a service's name in a cluster, loopback on one machine."""
        cluster = self.site.kubernetes
        in_cluster = self.site.backend == "kubernetes"
        return f"{cluster.hub_service}.{cluster.namespace}" if in_cluster else "127.0.0.1"

    @property
    def hub_url(self) -> str:
        return f"http://{self.hub_host}:{self.hub_port}"

    @property
    def own_url(self) -> str:
        """The hub as its own process reaches it, with the base of its paths."""
        return f"http://127.0.0.1:{self.hub_port}{self.base_url}"

    @property
    def bind_host(self) -> str:
        """Where the hub itself listens: in a cluster policies say who gets there."""
        return "0.0.0.0" if self.site.backend == "kubernetes" else "127.0.0.1"

    @property
    def hub_bind_url(self) -> str:
        return f"http://{self.bind_host}:{self.hub_port}"

    @property
    def is_https(self) -> bool:
        tls = self.site.proxy.tls
        return tls.certificate is not None or tls.acme_domain is not None

    @property
    def public_url(self) -> str:
        """The address that people open."""
        return self.site.hub.public_url or self.proxy_url

    @property
    def proxy_url(self) -> str:
        """The address of the proxy itself."""
        scheme = "https" if self.is_https else "http"
        return f"{scheme}://{self.site.hub.address}:{self.site.hub.port}{self.base_url}"

    @property
    def base_url(self) -> str:
        """``hub.base_url`` with a slash at both ends."""
        inner = self.site.hub.base_url.strip("/")
        return f"/{inner}/" if inner else "/"

    def database(self) -> str:
        return self.site.hub.database.replace("{state}", str(self.site.state_dir))

    def make(self) -> None:
        """Make the folders, for the hub's own account alone."""
        for folder in (self.hub_dir, self.proxy_dir, self.routes_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def proxy_password(self) -> str:
        """The password of the proxy's own API; made at the first call."""
        return secret_file(self.proxy_dir / "api-password")


def secret_file(path: Path) -> str:
    """The secret in ``path`` (mode 0600), made when there is none.

    An empty file is none: what a full disk or a kill left of the first try must not become a
    password that everybody knows.
    """
    with suppress(FileNotFoundError):
        if secret := path.read_text(encoding="ascii").strip():
            return secret
    number, fresh = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(number, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            if path.stat().st_size == 0:
                path.unlink()
        with suppress(FileExistsError):  # somebody was faster: theirs it is
            os.link(fresh, path)
    finally:
        Path(fresh).unlink()
    return path.read_text(encoding="ascii").strip()
