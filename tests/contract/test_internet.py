"""``network: full``: the internet, but not this machine's own services; nothing without the tool."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

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
