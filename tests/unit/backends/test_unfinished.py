"""A start that was cut off leaves a sandbox that only its status file knows."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from courseyard.backends.sandbox import launch
from courseyard.backends.sandbox.machine import bubblewrap

WORDS = ("--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc")


@pytest.mark.parametrize("first", [(), ("--as-pid-1",)], ids=["reaped", "first"])
def test_it_is_ended(tmp_path: Path, first: tuple[str, ...]) -> None:
    status = tmp_path / launch.STATUS
    with status.open("wb") as file:
        number = str(file.fileno())
        process = subprocess.Popen(
            [bubblewrap(), *WORDS, *first, "--json-status-fd", number, "sleep", "300"],
            pass_fds=[file.fileno()],
        )
    try:
        deadline = time.monotonic() + 30
        # It is what it will be once its program runs.
        while b"child-pid" not in status.read_bytes() or not _sleeps(status):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        launch.kill_unfinished(tmp_path)
        assert process.wait(30) != 0
    finally:
        process.kill()
        process.wait()


def _sleeps(status: Path) -> bool:
    pid = json.loads(status.read_text().splitlines()[0])["child-pid"]
    tree = [pid, *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return any(Path(f"/proc/{each}/comm").read_text() == "sleep\n" for each in tree)


def test_another_process_with_its_number_lives(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "300"]) as process:
        (tmp_path / launch.STATUS).write_text(json.dumps({"child-pid": process.pid}))
        launch.kill_unfinished(tmp_path)
        assert process.poll() is None
        process.kill()
