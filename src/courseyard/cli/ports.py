"""The ports of a site on this machine: opened once by ``up``, and held until it ends."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass

from courseyard.errors import SettingsError
from courseyard.hub.login import ENTRY
from courseyard.hub.places import Places
from courseyard.hub.proxy import API_ENTRY, METRICS_ENTRY
from courseyard.settings import Site

_WAITING = 1024  # connections that wait for a part which starts again


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a site."""

    name: str  # of the proxy's: its entry point
    part: str  # which part listens on it: hub or proxy
    address: str
    number: int
    key: str  # where courseyard.yaml sets it

    def open(self, site: Site) -> socket.socket:
        """Listen on it; nobody else can from then on.

        Raises:
            SettingsError: somebody else does, or it takes root.
        """
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        everywhere = self.address == "::" and socket.has_dualstack_ipv6()
        try:
            return socket.create_server(
                (self.address, self.number),
                family=family, backlog=_WAITING, dualstack_ipv6=everywhere,
            )  # fmt: skip
        except PermissionError as error:
            raise SettingsError(
                f"Port {self.number} may be opened by root alone.",
                f"Run this as root, or set {self.key} in {site.folder}/courseyard.yaml to 1024 or more.",
            ) from error
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "another program has it" if taken else os.strerror(error.errno or 0)
            raise SettingsError(
                f"Port {self.number} of {self.address} cannot be used: {why}.",
                f"Stop what uses it, or set {self.key} in {site.folder}/courseyard.yaml.",
            ) from error


def ports(site: Site) -> list[Port]:
    """All ports at which hub and proxy listen."""
    places, loopback = Places(site), "127.0.0.1"
    found = [
        Port(ENTRY, "proxy", site.hub.address, site.hub.port, "hub.port"),
        Port("hub", "hub", loopback, places.hub_port, "hub.api_port"),
        Port(API_ENTRY, "proxy", loopback, places.proxy_api_port, "proxy.api_port"),
        Port("servers", "hub", loopback, places.servers_port, "hub.servers_port"),
    ]
    if number := site.proxy.metrics_port:
        found.append(Port(METRICS_ENTRY, "proxy", loopback, number, "proxy.metrics_port"))
    return found


class Listeners:
    """The open ports of a site; a context that closes them.

    Args:
        part: those of one part alone.

    Raises:
        SettingsError: a port cannot be had.
    """

    def __init__(self, site: Site, part: str = "") -> None:
        self._held = ExitStack()
        self._sockets: dict[str, dict[str, socket.socket]] = {}
        with ExitStack() as made:
            for port in ports(site):
                if part in ("", port.part):
                    opened = made.enter_context(port.open(site))
                    self._sockets.setdefault(port.part, {})[port.name] = opened
            self._held = made.pop_all()

    def of(self, part: str) -> dict[str, socket.socket]:
        """Those on which a part listens, by their names."""
        return self._sockets.get(part, {})

    def __enter__(self) -> Listeners:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()
