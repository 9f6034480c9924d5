"""Floods at the agent: a server's output, and names exchanged in folders that it prepares."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from courseyard.agent import logs
from courseyard.errors import CourseyardError, StorageError
from courseyard.plan.model import StorageKind, StorageNeed
from courseyard.storage import apply
from courseyard.storage.apply import ensure

FLOOD = """
import os, threading
def flood():
    while True:
        os.write(1, b"a line of output\\n" * 4000)
for _ in range(4):
    threading.Thread(target=flood, daemon=True).start()
"""


@pytest.fixture(scope="module")
def yard(make_yard: Callable[..., Any]) -> Any:
    return make_yard()


def written(yard: Any, handle: str) -> int:
    """Bytes of all logs of a server."""
    folders = (yard.folder / "state" / "agent").rglob(f"{handle}/{logs.FILE}*")
    return sum(p.stat().st_size for p in folders)


def slowest_ping(yard: Any, seconds: float) -> float:
    worst, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        yard.call(yard.client.ping())
        worst = max(worst, time.monotonic() - began)
        time.sleep(0.02)
    return worst


def test_a_flood_of_output(yard: Any, make_plan: Any) -> None:
    """The log stays bounded, the writer waits, and the agent starts others meanwhile."""
    loud = yard.start(make_plan())
    loud.run(FLOOD)
    try:
        assert slowest_ping(yard, 3) < 5
        other = yard.start(make_plan(username="bob", uid=20102))
        assert other.run("value = 1 + 1") == 2
        yard.stop(other.handle)
        assert 0 < written(yard, loud.handle) <= 2 * logs._SIZE + logs._CHUNK
        assert "a line of output" in yard.call(yard.client.log(loud.handle))
    finally:
        yard.stop(loud.handle, now=True)


def test_a_flood_of_output_without_the_bounds(
    yard: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without them one server fills the disk while one looks on."""
    monkeypatch.setattr(logs, "_PAUSE", 0.0)
    monkeypatch.setattr(logs, "_SIZE", 2**40)
    loud = yard.start(make_plan())
    loud.run(FLOOD)
    try:
        deadline = time.monotonic() + 20
        while written(yard, loud.handle) < 20 * 1024 * 1024:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        yard.stop(loud.handle, now=True)


STUDENT, COURSE = 20101, 20500
EXCHANGE_NAMES = """
import os, sys
pairs = [pair.split("=") for pair in sys.argv[1:]]
print("ready", flush=True)
while True:
    for place, trap in pairs:
        away = place + ".away"
        for one, other in ((place, away), (trap, place), (place, trap), (away, place)):
            try:
                os.rename(one, other)
            except OSError:
                pass  # the agent was quicker
"""


@contextlib.contextmanager
def exchanging(uid: int, *pairs: tuple[Path, Path]) -> Iterator[None]:
    """A process of somebody by whom a name is a folder, nothing and a link in turn, as fast as can be."""
    words = [f"{one}={other}" for one, other in pairs]
    process = subprocess.Popen(
        [getattr(sys, "_base_executable", sys.executable), "-I", "-c", EXCHANGE_NAMES, *words],
        user=uid, group=uid, extra_groups=[], stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


class Victim:
    """A folder of root's with a file, and whether somebody touched them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "secret"
        folder.mkdir(mode=0o700)
        self.file.write_text("s")
        self.file.chmod(0o600)
        self.before = self.state()

    def state(self) -> list[tuple[str, int, int, int]]:
        found = [self.folder, *sorted(self.folder.rglob("*"))]
        return [(str(p), (s := p.lstat()).st_uid, s.st_gid, s.st_mode) for p in found]

    def is_touched(self) -> bool:
        return self.state() != self.before


@pytest.fixture
def course(tmp_path: Path, require: Any) -> tuple[Path, Victim, StorageNeed]:
    """A course's exchange, made once; root's folder that links in it shall lead to."""
    require("root")
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.name.startswith("pytest"):
            parent.chmod(0o755)
    need = StorageNeed(kind=StorageKind.EXCHANGE, slug="algo", uid=COURSE, gid=COURSE)
    ensure(tmp_path / "storage", (need,))
    return tmp_path / "storage", Victim(tmp_path / "victim"), need


NAMES = ("exchange/algo/algo/inbound", "exchange/algo/algo/outbound")


def traps(root: Path, victim: Victim) -> list[tuple[Path, Path]]:
    """In the exchange, by its owner: links beside the folders that the agent makes."""
    pairs = []
    for name in NAMES:
        place = root / name
        trap = place.with_name(f".{place.name}")
        trap.symlink_to(victim.folder)
        os.chown(trap, COURSE, COURSE, follow_symlinks=False)
        pairs.append((place, trap))
    return pairs


def prepare(root: Path, need: StorageNeed, seconds: float, until: Callable[[], bool]) -> None:
    """As the agent at a start, again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        with contextlib.suppress(StorageError):
            ensure(root, (need,))


def test_names_exchanged_while_the_agent_prepares(course: tuple[Path, Victim, StorageNeed]) -> None:
    root, victim, need = course
    with exchanging(COURSE, *traps(root, victim)):
        prepare(root, need, 4, victim.is_touched)
    assert not victim.is_touched()


def test_names_exchanged_without_the_protection(
    course: tuple[Path, Victim, StorageNeed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A root that works on names, and follows links, gives its own folder away."""
    root, victim, need = course

    def by_name(top: int, action: Any, real_ids: bool) -> None:
        path, entry = root / action.entry.path, action.entry
        with contextlib.suppress(FileExistsError):
            path.mkdir()
        os.chown(path, entry.uid, entry.gid)
        path.chmod(entry.mode)

    monkeypatch.setattr(apply, "_apply_one", by_name)
    with exchanging(COURSE, *traps(root, victim)):
        prepare(root, need, 30, victim.is_touched)
    assert victim.is_touched()


def test_a_home_full_of_exchanges_starts_or_is_refused(
    yard: Any, make_plan: Any, require: Any, tmp_path: Path
) -> None:
    """Real starts of a person whose home changes all the time: hers alone may fail."""
    require("root")
    victim = Victim(yard.folder / "victim")
    inside = yard.start(make_plan())  # makes the home
    yard.stop(inside.handle)
    home = yard.storage / "u/01/alice"
    (home / ".home").mkdir(exist_ok=True)
    pairs = []
    for name in (".home", ".home/.ssh", ".home/.gitconfig"):
        place, trap = home / name, home / (name + ".trap")
        if not place.exists():
            place.mkdir()
        trap.symlink_to(victim.folder)
        for each in (place, trap):
            os.chown(each, STUDENT, STUDENT, follow_symlinks=False)
        pairs.append((place, trap))
    with exchanging(STUDENT, *pairs):
        for _ in range(3):
            with contextlib.suppress(CourseyardError):
                yard.stop(yard.start(make_plan()).handle, now=True)
        neighbour = yard.start(make_plan(username="bob", uid=20102))
        assert neighbour.run("value = 2") == 2
        yard.stop(neighbour.handle)
    assert not victim.is_touched()
