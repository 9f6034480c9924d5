"""The registry of a running hub: notices, looking regularly, and a free event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from courseyard.images.catalog import load_catalog
from courseyard.registry import watch
from courseyard.registry.watch import Registry
from courseyard.settings import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "courses").mkdir()
    (tmp_path / "images.yaml").write_text("families: {DEFAULT: {releases: {2026-01-01: {}}}}\n")
    return Site(folder=tmp_path)


def registry_of(site: Site, poll: float) -> Registry:
    registry = Registry(site, load_catalog(site), poll=poll)
    registry.refresh()
    return registry


@contextlib.asynccontextmanager
async def watching(registry: Registry) -> AsyncIterator[None]:
    task = asyncio.create_task(registry.watch())
    await asyncio.sleep(0.3)
    try:
        yield
    finally:
        task.cancel()
        start = time.monotonic()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert time.monotonic() - start < 3


async def until(what: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_notices_are_followed(site: Site) -> None:
    registry = registry_of(site, poll=60)
    path = site.courses_dir / "algo.yaml"
    async with watching(registry):
        path.write_text("name: A\n")
        await until(lambda: "algo" in registry.snapshot.courses)
        path.write_text("name: B\n")
        await until(lambda: registry.snapshot.courses["algo"].name == "B")
        new = path.with_name("new.tmp")
        new.write_text("name: C\n")
        new.replace(path)  # as careful editors do
        await until(lambda: registry.snapshot.courses["algo"].name == "C")
        path.write_text("name: [\n")
        await until(lambda: "algo" in registry.snapshot.stale)
        path.unlink()
        await until(lambda: not registry.snapshot.courses)


async def test_without_notices_looking_is_enough(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS, where another machine's change is told to nobody."""

    def no_watches(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")  # what inotify says without free watches

    monkeypatch.setattr(watch, "awatch", no_watches)
    registry = registry_of(site, poll=0.2)
    async with watching(registry):
        (site.courses_dir / "algo.yaml").write_text("name: A\n")
        await until(lambda: "algo" in registry.snapshot.courses)


async def test_a_folder_that_comes_late_or_is_replaced(site: Site) -> None:
    site.courses_dir.rmdir()
    registry = registry_of(site, poll=0.2)
    async with watching(registry):
        site.courses_dir.mkdir()
        (site.courses_dir / "a.yaml").write_text("name: A\n")
        await until(lambda: "a" in registry.snapshot.courses)
        site.courses_dir.rename(site.courses_dir.with_name("old"))
        site.courses_dir.mkdir()
        (site.courses_dir / "b.yaml").write_text("name: B\n")
        await until(lambda: set(registry.snapshot.courses) == {"b"})
        (site.courses_dir / "c.yaml").write_text("name: C\n")
        await until(lambda: set(registry.snapshot.courses) == {"b", "c"})


async def test_slow_storage_does_not_stop_the_loop(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = registry_of(site, poll=60)
    scandir = os.scandir

    def slow(path: object) -> object:
        time.sleep(0.5)
        return scandir(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", slow)
    async with watching(registry):
        ticks = 0
        refreshing = asyncio.create_task(asyncio.to_thread(registry.refresh))
        while not refreshing.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert ticks > 10


def test_problems_are_logged_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    registry = registry_of(site, poll=60)
    path = site.courses_dir / "algo.yaml"
    path.write_text("nmae: A\n")
    registry.refresh()
    (site.courses_dir / "b.yaml").write_text("name: B\n")
    registry.refresh()
    assert [r.getMessage() for r in caplog.records] == [
        f"{path}:1: nmae: unknown key; did you mean name?"
    ]
    path.write_text("name: A\n")
    registry.refresh()
    assert caplog.records[-1].getMessage() == f"{path}: mended"


async def test_a_name_that_is_no_text_does_not_end_the_watch(site: Site) -> None:
    registry = registry_of(site, poll=0.2)
    odd = os.fsencode(site.courses_dir) + b"/caf\xe9.yaml"
    async with watching(registry):
        Path(os.fsdecode(odd)).write_text("name: Latin\n")
        await asyncio.sleep(1)
        (site.courses_dir / "algo.yaml").write_text("name: A\n")
        await until(lambda: "algo" in registry.snapshot.courses)


def test_a_broken_file_that_is_deleted_is_not_mended(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    registry = registry_of(site, poll=60)
    for name in ("mended", "deleted"):
        (site.courses_dir / f"{name}.yaml").write_text("nam: A\n")
    registry.refresh()
    (site.courses_dir / "deleted.yaml").unlink()
    (site.courses_dir / "mended.yaml").write_text("name: A\n")
    with caplog.at_level("INFO"):
        registry.refresh()
    said = [message.rpartition("/")[2] for message in caplog.messages]
    assert {"mended.yaml: mended", "deleted.yaml: deleted"} <= set(said)
