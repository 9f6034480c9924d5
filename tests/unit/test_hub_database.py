"""The hub's database in a file: commits that do not wait, and nothing lost."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine

from courseyard.hub import database


@pytest.fixture
def logged() -> Iterator[None]:
    before = event.contains(Engine, "connect", database._with_log)
    database.use_log()
    database.use_log()  # a second site in one process changes nothing
    yield
    if not before:
        event.remove(Engine, "connect", database._with_log)


@pytest.fixture(autouse=True)
def no_end() -> Iterator[None]:
    yield
    atexit.unregister(database.fold)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was logged as a warning."""
    found: list[str] = []
    log = SimpleNamespace(warning=lambda message, *about: found.append(message % about))
    monkeypatch.setattr(database, "get_logger", lambda: log)
    return found


def with_ada(file: Path) -> Any:
    """JupyterHub's session with a new database, which knows one person."""
    session = orm.new_session_factory(f"sqlite:///{file}")()
    session.add(orm.User(name="ada"))
    session.commit()
    return session


def people(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM users ORDER BY name")]


def test_jupyterhubs_database_has_a_log(tmp_path: Path, logged: None) -> None:
    session = orm.new_session_factory(f"sqlite:///{tmp_path}/hub.sqlite")()
    assert session.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    assert session.execute(text("PRAGMA synchronous")).scalar() == 1  # NORMAL
    assert session.execute(text("PRAGMA foreign_keys")).scalar() == 1  # JupyterHub's own
    session.close()


def test_what_is_folded_is_in_the_file(tmp_path: Path, logged: None) -> None:
    file = tmp_path / "hub.sqlite"
    session = with_ada(file)
    # A process that is killed leaves the log, and the next one has all of it.
    shutil.copytree(tmp_path, tmp_path / "killed")
    assert people(tmp_path / "killed" / "hub.sqlite") == ["ada"]
    database.fold(file)
    shutil.copy(file, tmp_path / "alone.sqlite")
    assert people(tmp_path / "alone.sqlite") == ["ada"]
    session.close()


async def test_it_is_folded_again_and_again(tmp_path: Path, logged: None) -> None:
    file = tmp_path / "hub.sqlite"
    session = orm.new_session_factory(f"sqlite:///{file}")()
    folding = asyncio.create_task(database.fold_forever(f"sqlite:///{file}", 0.01))
    session.add(orm.User(name="ada"))
    session.commit()
    async with asyncio.timeout(10):
        while True:
            copy = shutil.copy(file, tmp_path / "alone.sqlite")
            try:
                if people(Path(copy)) == ["ada"]:
                    break
            except sqlite3.Error:
                pass  # copied in the middle of a folding
            await asyncio.sleep(0.02)
    folding.cancel()
    session.close()


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://hub@db/hub", "sqlite://", "sqlite:///:memory:", "none"]
)
async def test_other_databases_are_left_alone(url: str) -> None:
    await database.fold_forever(url, 0.0)


def test_what_a_killed_hub_left_is_folded_before_the_next(tmp_path: Path, logged: None) -> None:
    """JupyterHub copies the file alone before it changes its tables."""
    file = tmp_path / "hub.sqlite"
    session = with_ada(file)
    shutil.copytree(tmp_path, tmp_path / "killed")
    killed = tmp_path / "killed" / "hub.sqlite"
    database.fold_at_once(f"sqlite:///{killed}")
    shutil.copy(killed, tmp_path / "alone.sqlite")
    assert people(tmp_path / "alone.sqlite") == ["ada"]
    session.close()


def test_a_file_that_is_missing_is_not_made(tmp_path: Path, said: list[str]) -> None:
    database.fold(tmp_path / "hub.sqlite")
    assert "unable to open database file" in "".join(said)
    assert not list(tmp_path.iterdir())


def test_a_log_that_is_in_use_is_told(tmp_path: Path, logged: None, said: list[str]) -> None:
    file = tmp_path / "hub.sqlite"
    session = with_ada(file)
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM users")
        database.fold(file, empty=True)
    assert f"{file}-wal belongs to it" in "".join(said)
    session.close()


def test_a_database_that_somebody_writes_just_now_is_opened(
    tmp_path: Path, logged: None, said: list[str]
) -> None:
    file = tmp_path / "hub.sqlite"
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE mine (x)")
        other.execute("BEGIN IMMEDIATE")
        with create_engine(f"sqlite:///{file}", connect_args={"timeout": 0.1}).connect() as mine:
            assert mine.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL
    assert "keeps its journal for now" in "".join(said)


def test_without_a_log_each_change_waits_for_the_disk(logged: None) -> None:
    with create_engine("sqlite:///:memory:").connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2


async def test_a_file_that_is_gone_stops_nothing(tmp_path: Path, said: list[str]) -> None:
    url = f"sqlite:///{tmp_path}/none/hub.sqlite"
    folding = asyncio.create_task(database.fold_forever(url, 0.01))
    await asyncio.sleep(0.1)
    assert not folding.done()
    folding.cancel()
    assert "unable to open database file" in "".join(said)
