"""What reaches a server and what it reaches: the proxy in, the hub's API and the internet out.

A socket keeps the network namespace in which it was made, and so does what is accepted on it,
whoever holds it: with one of the machine's a program binds and connects as the machine. So none ever
enters a sandbox. A server listens on a socket made inside (become.py); a carrier (carrier.py)
accepts outside, connects inside and copies bytes. The relay to the hub's API is the same the other
way round: made and accepted inside, connected outside, by processes that the server does not see.
The machine's own network namespace is never shared.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from courseyard.errors import StartError, UnsupportedError

#: Where a server listens, on the loopback of its own network namespace.
SERVER_PORT = 8888
#: The hub's API as servers see it.
RELAY_PORT = 8081
_NS_GET_USERNS = 0xB701
_TUN = "/dev/net/tun"
_OWN_MOUNTS = ("unshare", "--mount", "--propagation=slave", "--")
_TOOL_TIMEOUT = 10.0  # seconds that the tool for the internet may take to be ready


def listen(port: int = 0) -> socket.socket:
    """A listening socket on the host's loopback, which only a carrier gets.

    Args:
        port: 0 for one that the kernel chooses.
    """
    return socket.create_server(("127.0.0.1", port), backlog=128)


@dataclass(frozen=True, slots=True)
class Internet:
    """slirp4netns, which gives a network namespace a way to the internet."""

    program: str
    resolver: str = "10.0.2.3"  # the name server that slirp4netns offers inside

    def words(self, pid: int, owner: int | None) -> list[str]:
        """Its command line for the network namespace of ``pid``; host loopback stays out of reach.

        Args:
            owner: descriptor of the user namespace that owns it; None as root.
        """
        options = [
            self.program, "--configure", "--mtu=65520", "--disable-host-loopback",
            "--enable-seccomp", "--netns-type=path",
        ]  # fmt: skip
        target = [f"/proc/{pid}/ns/net", "tap0"]
        if owner is not None:
            return [*options, f"--userns-path=/proc/self/fd/{owner}", *target]
        # Its sandbox takes its copy of the machine's mounts away, and where those are shared (such
        # as /run/netns) the machine loses them too (slirp4netns 1.2, sandbox.c).
        return [*_OWN_MOUNTS, *options, "--enable-sandbox", *target]

    def start(self, pid: int, *, real_ids: bool) -> int:
        """Start it for the namespaces of ``pid``; returns its process id.

        Raises:
            StartError: it was not ready in time.
        """
        owner = None if real_ids else _owner(pid)
        try:
            process = subprocess.Popen(
                self.words(pid, owner),
                pass_fds=() if owner is None else (owner,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )
        finally:
            if owner is not None:
                os.close(owner)
        try:
            _wait_for_interface(pid, process)
        except StartError:
            process.kill()
            process.wait()
            raise
        return process.pid


def _owner(pid: int) -> int:
    """A descriptor of the user namespace that owns the network namespace of ``pid``.

    Not the process's own: bubblewrap puts that one below the first (ioctl_ns(2)).
    """
    with open(f"/proc/{pid}/ns/net") as space:
        return fcntl.ioctl(space.fileno(), _NS_GET_USERNS)


def _wait_for_interface(pid: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the namespace has a default route."""
    for _ in range(int(_TOOL_TIMEOUT / 0.05)):
        routes = Path(f"/proc/{pid}/net/route").read_text().splitlines()[1:]
        if any(line.split()[1] == "00000000" for line in routes):
            return
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
        break
    raise StartError(
        "The server could not be connected to the internet.",
        "Try again; if it happens again, tell the administrators.",
        detail=f"{process.args!r} ended with {process.poll()}",
    )


def internet() -> Internet:
    """The tool for the internet.

    Raises:
        UnsupportedError: this machine does not have it.
    """
    path = os.pathsep.join(("/usr/local/bin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"))
    program = shutil.which("slirp4netns", path=path)
    if program is None:
        raise UnsupportedError(
            "This machine cannot connect servers to the internet.",
            "An administrator can install `slirp4netns`, or set `servers.network: none`.",
        )
    if not os.access(_TUN, os.R_OK | os.W_OK):
        raise UnsupportedError(
            "This machine cannot connect servers to the internet.",
            f"An administrator can run `chmod 666 {_TUN}`, or set `servers.network: none`.",
        )
    return Internet(program)
