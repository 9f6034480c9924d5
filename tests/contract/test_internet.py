"""``network: full``: the internet, but not this machine's own services; nothing without the tool."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from courseyard.backends.sandbox import network
from courseyard.errors import UnsupportedError


def line(process: Path) -> str:
    try:
        return Path((process / "cmdline").read_bytes().split(b"\0")[0].decode()).name
    except OSError:
        return ""


def test_internet_but_not_this_machine(
    make_yard: Callable[..., Any], make_plan: Callable[..., Any], require: Any
) -> None:
    require("slirp4netns")
    yard = make_yard(servers={"network": "full"})
    inside = yard.start(make_plan().model_copy(update={"network": "full"}))
    assert inside.run("import socket\nvalue = [n for _, n in socket.if_nameindex()]") == [
        "lo",
        "tap0",
    ]
    assert "10.0.2.3" in inside.run("value = open('/etc/resolv.conf').read()")
    for host in ("127.0.0.1", "10.0.2.2"):
        code = (
            f"import socket\ntry:\n    socket.create_connection(({host!r}, {yard.hub_port}), 2)\n"
            "    value = True\nexcept OSError:\n    value = False"
        )
        assert inside.run(code) is False
    hub = (
        "import urllib.request as u\nvalue = u.urlopen('http://127.0.0.1:8081/', timeout=5).status"
    )
    assert inside.run(hub) == 200
    helpers = [p for p in Path("/proc").iterdir() if p.name.isdigit() and line(p) == "slirp4netns"]
    assert helpers
    yard.stop(inside.handle, now=True)
    assert not any(line(p) for p in helpers)


def reached(inside: Any, hosts: list[str], port: int) -> list[str]:
    """The addresses among ``hosts`` at which a program inside can open a connection."""
    return list(
        inside.run(
            "import socket\nvalue = []\n"
            f"for host in {hosts!r}:\n"
            "    try:\n"
            f"        socket.create_connection((host, {port}), 2).close(); value.append(host)\n"
            "    except OSError: pass"
        )
    )


def own_addresses() -> list[str]:
    """Of this machine, but for its loopback."""
    return [
        address.address.partition("%")[0]
        for found in psutil.net_if_addrs().values()
        for address in found
        if address.family in (socket.AF_INET, socket.AF_INET6)
        and not ipaddress.ip_address(address.address.partition("%")[0]).is_loopback
    ]


def test_the_machines_loopback_has_no_other_way(
    make_yard: Callable[..., Any],
    make_plan: Callable[..., Any],
    require: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What listens on the loopback is closed. What listens on all addresses is not: it is as the
    internet sees it, and no firewall of the machine stands between (docs/explanation/security.md)."""
    require("slirp4netns")
    yard = make_yard(servers={"network": "full"})
    plan = make_plan().model_copy(update={"network": "full"})
    hosts = ["127.0.0.1", "127.0.0.2", "::1", "10.0.2.2", "10.0.2.3", "fd00::2", "0.0.0.0"]
    inside = yard.start(plan)
    assert reached(inside, [*hosts, *own_addresses()], yard.hub_port) == []
    with socket.create_server(("", 0)) as everywhere:
        port = everywhere.getsockname()[1]
        assert set(reached(inside, [*hosts, *own_addresses()], port)) <= set(own_addresses())
    yard.stop(inside.handle, now=True)
    words = network.Internet.words
    monkeypatch.setattr(
        network.Internet,
        "words",
        lambda *all_: [word for word in words(*all_) if word != "--disable-host-loopback"],
    )
    inside = yard.start(plan)
    assert reached(inside, hosts, yard.hub_port) == ["10.0.2.2"]
    yard.stop(inside.handle, now=True)


@pytest.fixture
def shared_mount(tmp_path: Path) -> Iterator[Path]:
    """A mount below a shared one, as `ip netns add` makes them in /run/netns."""
    inner = tmp_path / "inner"
    run = partial(subprocess.run, check=True)
    run(["mount", "--bind", str(tmp_path), str(tmp_path)])
    try:
        run(["mount", "--make-shared", str(tmp_path)])
        inner.mkdir()
        run(["mount", "-t", "tmpfs", "tmpfs", str(inner)])
        yield inner
    finally:
        run(["umount", "--recursive", str(tmp_path)])


def test_the_machine_keeps_its_mounts(
    make_yard: Callable[..., Any],
    make_plan: Callable[..., Any],
    require: Any,
    request: pytest.FixtureRequest,
) -> None:
    """As root the tool makes a sandbox of its own, whose end must not reach the machine."""
    require("slirp4netns")
    require("root")
    mount = request.getfixturevalue("shared_mount")
    yard = make_yard(servers={"network": "full"})
    inside = yard.start(make_plan().model_copy(update={"network": "full"}))
    assert mount.is_mount()
    yard.stop(inside.handle, now=True)
    assert mount.is_mount()


def test_without_the_tool_it_is_refused(
    make_yard: Callable[..., Any], make_plan: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    yard = make_yard(servers={"network": "full"})
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(UnsupportedError) as caught:
        yard.start(make_plan().model_copy(update={"network": "full"}))
    assert "slirp4netns" in caught.value.next_step
