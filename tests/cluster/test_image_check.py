"""`courseyard images check` in pods of the deployed site."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.deployed import Deployed

#: A smoke test that looks around in the pod.
LOOK = """\
import os, pathlib, socket
assert (os.getuid(), os.getgid()) == (65532, 65532), "not the checker"
assert set(os.getgroups()) <= {{65532}}, os.getgroups()
status = pathlib.Path("/proc/self/status").read_text()
assert "CapEff:\\t0000000000000000" in status and "NoNewPrivs:\\t1" in status, status
assert not os.path.exists("/var/run/secrets/kubernetes.io"), "there is a token"
assert pathlib.Path("/coursedata/words.txt").is_file()
for host in ("{hub}", "198.51.100.1"):
    try:
        socket.create_connection((host, 8083), timeout=3)
    except OSError:
        continue
    raise AssertionError(f"{{host}} is reached")
"""

Check = Callable[[str], tuple[int, dict[str, dict[str, Any]]]]


@pytest.fixture
def check(yard: Deployed, tmp_path: Path) -> Check:
    """Run the command as an administrator does, whose kubectl knows the cluster."""
    program = tmp_path / "kubectl"
    words = " ".join(f"'{word}'" for word in yard.kube.words())
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)

    def run(name: str) -> tuple[int, dict[str, dict[str, Any]]]:
        words = ["images", "check", name, str(yard.folder), "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "courseyard.cli", *words],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, {row["test"]: row for row in json.loads(done.stdout)}

    return run


def left(yard: Deployed) -> list[dict[str, Any]]:
    return [
        pod
        for pod in yard.pods(component="image-check")
        if not pod["metadata"].get("deletionTimestamp")
    ]


def test_the_examples_image_passes(yard: Deployed, check: Check) -> None:
    hub = (yard.kube.get("service", "hub", yard.namespace) or {})["spec"]["clusterIP"]
    smoke = yard.folder / "course" / "algo2026" / "smoke"
    (smoke / "look.py").write_text(LOOK.format(hub=hub))
    (smoke / "away.py").write_text("raise SystemExit('the licence server is away')")
    try:
        status, found = check("DEFAULT")
    finally:
        (smoke / "look.py").unlink()
        (smoke / "away.py").unlink()
    failed = {test: row["said"] for test, row in found.items() if row["state"] != "passed"}
    assert failed == {"algo2026: smoke/away.py": "the licence server is away"}
    assert status == 1
    assert {"kernel python3", "nbgrader feedback", "algo2026: smoke/look.py"} <= set(found)
    assert "algo2026: files/source/week1/sorting.ipynb" in found
    assert not left(yard)


def test_an_image_that_is_not_there(yard: Deployed, check: Check) -> None:
    status, found = check("GPU")
    assert status == 1
    assert "courseyard-gpu:2026-06-01 cannot be fetched" in found["the image runs"]["said"]
    assert not left(yard)
