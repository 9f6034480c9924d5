"""Control groups of version 2 as a systemd service has them, with the kernel's own rules.

Machines whose memory, cpu and pids are of version 1 have another controller to show them with.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from courseyard.backends.sandbox import limits
from tests.conftest import require

#: Puts itself into the group given, then looks where it may make groups.
LOOK = """
import os, sys
from pathlib import Path
from courseyard.backends.sandbox import limits
Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
limits._V1, limits._V2 = ("none-of-these",), (sys.argv[2],)
found = limits.detect()
print(found.version, found.why_not, *{str(f) for f in found.parents.values()}, sep="|")
"""


def _top() -> tuple[Path, str]:
    """Where version 2 is mounted, and a controller that it has."""
    for point, _root, kind, _options in limits._mounts(Path("/proc/self")):
        if kind == "cgroup2":
            found = Path(point, "cgroup.controllers").read_text().split()
            if found:
                return Path(point), found[-1]
    pytest.skip("no controller is of version 2 here")


@pytest.fixture
def service() -> Iterator[tuple[Path, str, int]]:
    """A service's control group, the controller, and a process to be in it besides the agent."""
    require("root")
    top, controller = _top()
    had = controller in (top / "cgroup.subtree_control").read_text().split()
    try:
        (top / "cgroup.subtree_control").write_text(f"+{controller}")
    except OSError as error:
        pytest.skip(f"the groups of this machine are not its own: {error}")
    folder = top / f"cy-test-{os.getpid()}.service"
    folder.mkdir()
    other = subprocess.Popen(["sleep", "60"])
    try:
        yield folder, controller, other.pid
    finally:
        other.kill()
        other.wait()
        for made in [*sorted(folder.rglob("*"), reverse=True), folder]:
            if made.is_dir():
                _remove(made)
        if not had:
            (top / "cgroup.subtree_control").write_text(f"-{controller}")


def _remove(folder: Path) -> None:
    for _ in range(100):  # the kernel needs a moment after the last process
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.02)


def look(group: Path, controller: str, neighbour: int) -> list[str]:
    """Version, reason why not, and parent of servers, as an agent in ``group`` finds them."""
    (group / "cgroup.procs").write_text(str(neighbour))
    words = [sys.executable, "-c", LOOK, str(group), controller]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return done.stdout.strip().split("|")


def test_a_service_with_a_group_for_its_own_processes(service: tuple[Path, str, int]) -> None:
    """``Delegate=yes`` with ``DelegateSubgroup=courseyard-agent``."""
    folder, controller, neighbour = service
    own = folder / "courseyard-agent"
    own.mkdir()
    assert look(own, controller, neighbour) == ["2", "", str(folder / "courseyard")]
    assert controller in (folder / "courseyard" / "cgroup.subtree_control").read_text().split()
    # An agent that starts again finds the same.
    assert look(own, controller, neighbour)[0] == "2"


def test_a_service_without_one_is_told_what_to_write(service: tuple[Path, str, int]) -> None:
    folder, controller, neighbour = service
    version, why_not, *_ = look(folder, controller, neighbour)
    assert version == "0"
    assert "DelegateSubgroup=courseyard-agent" in why_not
