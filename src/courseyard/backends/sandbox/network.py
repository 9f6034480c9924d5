"""What a server reaches: its own listening socket, the hub by a relay, the internet if the site says so.

A socket keeps the network namespace in which it was made. The server's listening socket is made
outside and handed in; the relay's is made inside and accepted outside. Nothing else crosses, and
the machine's own network namespace is never shared.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from courseyard.errors import StartError, UnsupportedError

#: The hub's API as servers see it.
RELAY_PORT = 8081
_CONNECTIONS = 64  # at once, of one server to the hub
_CHUNK = 64 * 1024
_NS_GET_USERNS = 0xB701
_TUN = "/dev/net/tun"
_OWN_MOUNTS = ("unshare", "--mount", "--propagation=slave", "--")
_TOOL_TIMEOUT = 10.0  # seconds that the tool for the internet may take to be ready


def listen() -> socket.socket:
    """A listening socket on the host's loopback, at a port that the kernel chooses."""
    return socket.create_server(("127.0.0.1", 0), backlog=128)


def remake_listener(pid: int, port: int = RELAY_PORT) -> socket.socket:
    """A listening socket inside the network namespace of the process ``pid``.

    Raises:
        OSError: it cannot be made.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(_TOOL_TIMEOUT)
        program = str(Path(__file__).with_name("enter.py"))
        done = subprocess.run(
            [sys.executable, "-I", "-S", program, str(theirs.fileno()), str(pid), str(port)],
            pass_fds=(theirs.fileno(),),
            capture_output=True,
            text=True,
            timeout=_TOOL_TIMEOUT,
            check=False,
        )
        if done.returncode != 0:
            raise OSError(done.stderr.strip().rpartition("\n")[2] or "enter.py failed")
        descriptors = socket.recv_fds(ours, 16, 1)[1]
    return socket.socket(fileno=descriptors[0])


class Relay:
    """Carries connections of one server to one address outside."""

    def __init__(self, listener: socket.socket, host: str, port: int) -> None:
        self._listener = listener
        self._target = (host, port)
        self._room = asyncio.Semaphore(_CONNECTIONS)
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, sock=self._listener)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._room:
            try:
                out_reader, out_writer = await asyncio.open_connection(*self._target)
            except OSError:
                writer.close()
                return
            await asyncio.gather(_copy(reader, out_writer), _copy(out_reader, writer))
            for end in (writer, out_writer):
                end.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


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
