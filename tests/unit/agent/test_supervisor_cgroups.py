"""A cgroup that the kernel still holds when its server has ended is removed later."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from courseyard.agent import supervisor
from courseyard.agent.records import Ended, Known, Record, Records
from courseyard.agent.supervisor import Supervisor
from courseyard.backends.base import ExitReason
from courseyard.backends.sandbox.limits import Hierarchy

NOBODY = Known(pid=2**22, start=1)


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    """The folder of a cgroup that cannot be removed yet."""
    folder = tmp_path / "cgroup" / "alice.algo.1"
    folder.mkdir(parents=True)
    (folder / "held").write_text("")
    return folder


@pytest.fixture
def records(tmp_path: Path) -> Records:
    records = Records(tmp_path / "state" / "agent" / "servers")
    records.prepare()
    return records


def record(cgroup: Path, *, ended: float | None = None) -> Record:
    end = ended and Ended(reason=ExitReason.OUT_OF_MEMORY, code=137, message="", at=ended)
    return Record(
        handle=cgroup.name, username="alice", uid=20101, course="algo", title="A", mem_limit=1,
        boot="", begun=0.0, cgroup_version=1, cgroup_folders=(str(cgroup),),
        outer=NOBODY, init=NOBODY, server=NOBODY, ended=end or None,
    )  # fmt: skip


async def tended(tmp_path: Path, busy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run an agent's supervisor until the cgroup, now free, is gone."""
    monkeypatch.setattr(supervisor, "_LOOK", 0.05)
    found = Supervisor(tmp_path / "state", tmp_path / "storage", Hierarchy())
    await found.recover()
    for server in list(found.servers.values()):
        await server.ended.wait()
    task = asyncio.create_task(found.tend())
    await asyncio.sleep(0.2)
    assert busy.is_dir()
    (busy / "held").unlink()
    async with asyncio.timeout(5):
        while busy.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    task.cancel()


async def test_of_a_server_that_ends_now(
    tmp_path: Path, busy: Path, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = supervisor.processes.boot_id()
    records.write(record(busy).model_copy(update={"boot": boot}))
    await tended(tmp_path, busy, monkeypatch)


async def test_of_one_that_ended_under_an_earlier_agent(
    tmp_path: Path, busy: Path, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.write(record(busy, ended=time.time()))
    await tended(tmp_path, busy, monkeypatch)


def test_an_old_record_stays_as_long_as_its_cgroup(
    tmp_path: Path, busy: Path, records: Records
) -> None:
    records.write(record(busy, ended=1.0))
    Supervisor(tmp_path / "state", tmp_path, Hierarchy()).tidy(60)
    assert records.read(busy.name) is not None
    (busy / "held").unlink()
    Supervisor(tmp_path / "state", tmp_path, Hierarchy()).tidy(60)
    assert records.read(busy.name) is None
    assert not busy.exists()
