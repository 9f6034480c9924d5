"""Root: real UIDs on disk, shared course files, out-of-memory kills, cgroups that go away."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from courseyard.backends.base import ExitReason
from courseyard.backends.sandbox import launch
from courseyard.errors import StartError


@pytest.fixture(scope="module")
def yard(make_yard: Callable[..., Any], require: Any) -> Any:
    require("root")
    return make_yard()


@pytest.fixture(scope="module", autouse=True)
def _needs_root(require: Any) -> None:
    require("root")


def ended(yard: Any, handle: str, seconds: float = 20) -> Any:
    for _ in range(int(seconds / 0.05)):
        found = yard.poll(handle)
        if found is not None:
            return found
        time.sleep(0.05)
    raise AssertionError("still running")


def test_files_have_the_persons_owner(yard: Any, make_plan: Any) -> None:
    inside = yard.start(make_plan("student", "carol", 20103))
    inside.run("open('/notebooks/a', 'w').close()")
    found = (yard.storage / "u/03/carol/a").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (20103, 20000, 0o644)
    pid = next(iter(inside.run("import os\nvalue = [os.getpid()]")))
    assert pid > 1
    yard.stop(inside.handle, now=True)


def test_instructors_share_and_students_see_nothing(yard: Any, make_plan: Any) -> None:
    one = yard.start(make_plan("instructor", "anna", 20301))
    two = yard.start(make_plan("instructor", "ben", 20302))
    student = yard.start(make_plan("student", "carol", 20103))
    try:
        one.run(
            "import os\nos.makedirs('/course/source/ps1')\nopen('/course/source/ps1/a', 'w').write('1')"
        )
        two.run(
            "open('/course/source/ps1/a', 'a').write('2')\nopen('/course/source/ps1/b', 'w').close()"
        )
        assert one.run("value = open('/course/source/ps1/a').read()") == "12"
        one.run("import os\nos.unlink('/course/source/ps1/b')")
        made = (yard.storage / "course/algo/files/source/ps1/a").stat()
        assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (20301, 20500, 0o660)
        code = (
            "import os, sqlite3\nd = sqlite3.connect('/course/gradebook.db'); d.execute('create table t (x)')\n"
            "d.commit()\nvalue = oct(os.stat('/course/gradebook.db').st_mode & 0o777)"
        )
        assert one.run(code) == "0o660"
        two.run(
            "import sqlite3\nd = sqlite3.connect('/course/gradebook.db'); d.execute('insert into t values (1)'); d.commit()"
        )
        assert not student.run("import os\nvalue = os.path.exists('/course')")
        inbound = "/srv/nbgrader/exchange/algo/inbound"
        student.run(f"import os\nos.mkdir('{inbound}/carol+ps1')")
        listing = f"import os\ntry:\n    value = os.listdir('{inbound}')\nexcept OSError:\n    value = None"
        assert student.run(listing) is None
        assert one.run(listing) == ["carol+ps1"]
    finally:
        for inside in (one, two, student):
            yard.stop(inside.handle, now=True)


def test_out_of_memory_is_told_in_words(yard: Any, make_plan: Any, require: Any) -> None:
    require("cgroup")
    inside = yard.start(make_plan())
    inside.run(
        "import threading\n"
        "def eat():\n    kept = []\n    while True:\n        kept.append(b'x' * (1 << 24))\n"
        "threading.Timer(0.2, eat).start()"
    )
    found = ended(yard, inside.handle)
    assert found.reason is ExitReason.OUT_OF_MEMORY
    assert "512 MB" in found.message


def test_killed_kernel_is_told_in_words(yard: Any, make_plan: Any, require: Any) -> None:
    require("cgroup")
    inside = yard.start(make_plan())
    code = (
        "import subprocess as s, sys\n"
        "value = s.run([sys.executable, '-c', 'kept = []\\nwhile True: kept.append(b\"x\" * (1 << 24))']).returncode"
    )
    assert inside.run(code, 60) == -9
    assert yard.poll(inside.handle) is None
    read = "import os\np = '/run/courseyard/notice'\nvalue = open(p).read() if os.path.exists(p) else ''"
    for _ in range(100):
        if text := inside.run(read):
            break
        time.sleep(0.1)
    assert "512 MB of memory" in text
    assert "512 MB of memory" in yard.call(yard.client.log(inside.handle))
    yard.stop(inside.handle, now=True)


def test_cgroups_hold_and_go(yard: Any, make_plan: Any, require: Any) -> None:
    require("cgroup")
    from courseyard.backends.sandbox import limits

    parents = set(limits.detect().parents.values())
    inside = yard.start(make_plan())
    folders = [parent / inside.handle for parent in parents]
    assert all(folder.is_dir() for folder in folders)
    for folder in folders:
        assert len((folder / "cgroup.procs").read_text().split()) >= 3
    yard.stop(inside.handle)
    assert not any(folder.exists() for folder in folders)


def test_cpu_is_bounded(yard: Any, make_plan: Any, require: Any) -> None:
    require("cgroup")
    plan = make_plan()
    limits = plan.limits.model_copy(update={"cpu_limit": 0.25})
    inside = yard.start(plan.model_copy(update={"limits": limits}))
    code = (
        "import time\nbegun, used = time.monotonic(), time.process_time()\n"
        "while time.monotonic() - begun < 2: pass\nvalue = time.process_time() - used"
    )
    assert inside.run(code) < 0.25 * 2 * 1.5
    yard.stop(inside.handle, now=True)


def test_source_swapped_during_the_start(
    yard: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Between opening a folder and mounting it, another one came to its place."""
    other = tmp_path / "other"
    other.mkdir()
    number = os.open(other, os.O_PATH | os.O_DIRECTORY)
    ready = launch.Launch._ready

    def swapped(self: Any) -> Any:
        found = ready(self)
        dict.__setitem__(self.wanted.sources, self.wanted.plan.mounts[0].source, number)
        return found

    monkeypatch.setattr(launch.Launch, "_ready", swapped)
    with pytest.raises(StartError) as caught:
        yard.start(make_plan())
    assert "replaced" in caught.value.detail
    os.close(number)


def test_start_cut_off_by_a_dead_agent(yard: Any, make_plan: Any) -> None:
    """A record without processes, as an agent killed in mid-start leaves it."""
    from courseyard.agent.records import Record
    from courseyard.backends.sandbox.processes import boot_id

    yard.down()
    folder = yard.folder / "state" / "agent" / "servers" / "alice.algo.dead0001"
    folder.mkdir()
    record = Record(
        handle=folder.name, username="alice", uid=20101, course="algo", title="A",
        mem_limit=1, boot=boot_id(), begun=0.0,
    )  # fmt: skip
    (folder / "record.json").write_text(record.model_dump_json())
    old = yard.folder / "state" / "agent" / "servers" / "alice.algo.old00001"
    old.mkdir()
    earlier = {"pid": 1, "start": 1}
    text = record.model_copy(update={"handle": old.name, "boot": "another"}).model_dump()
    text |= {"outer": earlier, "init": earlier, "server": earlier}
    (old / "record.json").write_text(Record.model_validate(text).model_dump_json())
    yard.up()
    assert not folder.exists()
    assert yard.poll(folder.name).reason is ExitReason.GONE
    assert "restarted" in yard.poll(old.name).message
