"""Cgroups of both versions, on made-up trees; the real ones are under tests/privileged."""

from __future__ import annotations

from pathlib import Path

import pytest

from courseyard.backends.sandbox import limits, machine
from courseyard.plan.model import Limits

LIMITS = Limits(
    mem_limit=512 * 1024**2, mem_guarantee=64 * 1024**2, cpu_limit=1.5, cpu_guarantee=0.1,
    processes=77, tmp_size=1, shm_size=1,
)  # fmt: skip


def proc(tmp_path: Path, mounts: list[str], own: str) -> Path:
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "mountinfo").write_text("".join(f"{line}\n" for line in mounts))
    (folder / "cgroup").write_text(own)
    return folder


def version_2(tmp_path: Path, controllers: str = "cpuset cpu io memory pids") -> Path:
    top = tmp_path / "cg"
    (top / "service").mkdir(parents=True)
    (top / "cgroup.controllers").write_text(controllers)
    line = f"30 24 0:26 / {top} rw - cgroup2 cgroup2 rw"
    return proc(tmp_path, [line], "0::/service\n")


def test_version_2(tmp_path: Path) -> None:
    found = limits.detect(proc=version_2(tmp_path))
    assert found.version == 2
    servers = tmp_path / "cg" / "service" / "courseyard"
    assert set(found.parents.values()) == {servers}
    assert (servers / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"
    assert (servers.parent / "courseyard-agent" / "cgroup.procs").read_text()
    made = found.make("alice.x", LIMITS)
    folder = servers / "alice.x"
    assert made.folders == (str(folder),)
    assert (folder / "memory.max").read_text() == str(512 * 1024**2)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "cpu.max").read_text() == "150000 100000"
    assert (folder / "pids.max").read_text() == "77"
    (folder / "memory.events").write_text("low 0\nmax 4\noom 1\noom_kill 2\noom_group_kill 0\n")
    assert made.out_of_memory_kills() == 2


def test_version_1(tmp_path: Path) -> None:
    lines = []
    for names in ("memory", "cpu,cpuacct", "pids"):
        folder = tmp_path / "cg" / names
        folder.mkdir(parents=True)
        lines.append(f"30 24 0:26 / {folder} rw - cgroup cgroup rw,{names}")
    found = limits.detect(proc=proc(tmp_path, lines, "4:memory:/x\n"))
    assert found.version == 1
    made = found.make("alice.x", LIMITS)
    assert len(made.folders) == 3
    cpu = tmp_path / "cg" / "cpu,cpuacct" / "courseyard" / "alice.x"
    assert (cpu / "cpu.cfs_quota_us").read_text() == "150000"
    memory = tmp_path / "cg" / "memory" / "courseyard" / "alice.x"
    assert (memory / "memory.limit_in_bytes").read_text() == str(512 * 1024**2)
    (memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert made.out_of_memory_kills() == 1


@pytest.mark.parametrize("controllers", ["", "memory pids"])
def test_without_controllers_it_says_so(tmp_path: Path, controllers: str) -> None:
    found = limits.detect(proc=version_2(tmp_path, controllers))
    assert found.version == 0
    assert found.why_not


def test_rlimits_where_there_is_no_cgroup() -> None:
    assert limits.rlimits(LIMITS, cgroup=False)["RLIMIT_NPROC"] == (77, 77)
    assert "RLIMIT_DATA" not in limits.rlimits(LIMITS, cgroup=True)
    assert limits.rlimits(LIMITS, cgroup=True)["RLIMIT_CORE"] == (0, 0)


@pytest.mark.parametrize(
    ("setting", "value", "word"),
    [
        ("kernel/unprivileged_userns_clone", "0", "unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "max_user_namespaces=10000"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "apparmor_restrict"),
        ("kernel/none", "0", "as root"),
    ],
)
def test_what_to_enable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, word: str
) -> None:
    (tmp_path / setting).parent.mkdir()
    (tmp_path / setting).write_text(value)
    monkeypatch.setattr(machine, "_SYSCTL", tmp_path)
    assert word in machine.obstacle()
