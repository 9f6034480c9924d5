"""NSS with a directory that is there, goes away and comes back: "not there" is not "not known"."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import bubblewrap

BWRAP = bubblewrap()
pytestmark = pytest.mark.skipif(not BWRAP, reason="bubblewrap is not installed")

MAIJA, OTSO = 21001, 21002
DOWN, UNKNOWN = "people-source-down", "unknown-person"
#: What NSS says while the directory is away: that it is; or, as some do, that nobody is there.
WAYS = ["away", "mute"]


class Machine:
    """A machine of its own with Hesiod as its directory."""

    def __init__(self, folder: Path) -> None:
        files = {
            "nsswitch.conf": "passwd: files hesiod\ngroup: files hesiod\ninitgroups: files\n",
            "resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
        }
        binds = []
        for name, text in files.items():
            (folder / name).write_text(text)
            binds += ["--ro-bind", str(folder / name), f"/etc/{name}"]
        script = Path(__file__).with_name("directory.py")
        self.process = subprocess.Popen(
            [BWRAP, "--ro-bind", "/", "/", "--dev", "/dev", *binds, "--unshare-user", "--uid", "0",
             "--bind", str(folder), str(folder), "--unshare-net", "--cap-add", "CAP_NET_BIND_SERVICE", "--die-with-parent",
             sys.executable, str(script)],
            env=os.environ | {"HESIOD_CONFIG": str(folder / "hesiod.conf")},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, command: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def why(self, username: str) -> str:
        """Why this person is not given."""
        found = self(f"get {username}")
        return str(found["error"]) if isinstance(found, dict) else "none"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    machine("up")
    yield machine
    machine.process.kill()
    machine.process.communicate()


def comes_back(machine: Machine) -> None:
    machine("mute")
    machine("up")
    assert machine("get maija") == MAIJA
    assert machine.why("stranger") == UNKNOWN


@pytest.mark.parametrize("way", WAYS)
def test_a_directory_that_goes_away_and_comes_back(machine: Machine, way: str) -> None:
    assert machine("get maija") == MAIJA
    assert machine("get otso") == OTSO
    assert machine.why("newcomer") == UNKNOWN
    machine(way)
    machine("wait 600")
    assert machine("get maija") == MAIJA  # of before
    assert machine.why("stranger") == DOWN
    machine("wait 7200")  # longer than anything is kept
    assert machine.why("maija") == DOWN
    assert machine.why("stranger") == DOWN
    comes_back(machine)


def test_who_has_left_is_unknown(machine: Machine) -> None:
    assert machine("get maija") == MAIJA
    assert machine("get otso") == OTSO
    machine("remove otso")
    machine("wait 7200")
    assert machine.why("otso") == UNKNOWN
    assert machine("get maija") == MAIJA


@pytest.mark.parametrize("way", WAYS)
def test_a_hub_that_starts_meanwhile(machine: Machine, way: str) -> None:
    """It has asked nobody yet; those whose log-ins it kept were known."""
    machine(way)
    machine("restart otso maija")
    assert machine.why("maija") == DOWN
    assert machine.why("stranger") == DOWN
    comes_back(machine)


def test_groups_that_cannot_be_asked_for_are_not_no_groups(machine: Machine) -> None:
    """An account of the machine itself, whose groups are the directory's."""
    assert machine("look games") == 5
    machine("away")
    assert machine("look games")["error"] == DOWN


def test_what_is_silent_is_named(machine: Machine) -> None:
    assert machine("silent") == []
    machine("away")
    assert [part.partition(":")[0] for part in machine("silent")] == ["passwd", "group"]
    told = [line for line in machine("check") if "does not answer" in line]
    assert len(told) == 2
    assert "courseyard.yaml:2: people.source: warning:" in told[0]
