"""Root works in folders that other people write: no planted link leads it anywhere."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from courseyard.errors import StorageError
from courseyard.plan.model import StorageKind, StorageNeed
from courseyard.registry.course import Course
from courseyard.storage import walk
from courseyard.storage.apply import ensure
from courseyard.storage.seed import seed

STUDENT, COURSE, USERS = 20101, 20500, 20000
USER = StorageNeed(kind=StorageKind.USER, username="alice", uid=STUDENT, gid=USERS)
FILES = StorageNeed(
    kind=StorageKind.COURSE, slug="algo", uid=COURSE, gid=COURSE, datadir=True, gradebook=True
)
EXCHANGE = StorageNeed(kind=StorageKind.EXCHANGE, slug="algo", uid=COURSE, gid=COURSE)
USERDATA = StorageNeed(
    kind=StorageKind.COURSE_USERDATA, slug="algo", username="alice", uid=STUDENT, gid=COURSE
)
MEMBER = USERDATA.model_copy(update={"kind": StorageKind.COURSE_MEMBER})


@pytest.fixture
def victim(tmp_path: Path, require: Any) -> Iterator[Path]:
    """A folder of root's with a secret in it, which must stay as it is."""
    require("root")
    folder = tmp_path / "victim"
    folder.mkdir(mode=0o700)
    (folder / "secret").write_text("s")
    (folder / "secret").chmod(0o600)
    yield folder
    found = folder.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (0, 0, 0o700)
    secret = (folder / "secret").stat()
    assert (secret.st_uid, secret.st_mode & 0o7777) == (0, 0o600)
    assert [p.name for p in folder.iterdir()] == ["secret"]


def owner(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid, found.st_mode & 0o7777


def test_owners_and_modes(tmp_path: Path, require: Any) -> None:
    require("root")
    root = tmp_path / "storage"
    ensure(root, (USER, FILES, EXCHANGE, USERDATA))
    assert owner(root / "u/01/alice") == (STUDENT, USERS, 0o700)
    assert owner(root / "u/01") == (0, 0, 0o755)
    assert owner(root / "course/algo") == (0, 0, 0o755)
    assert owner(root / "course/algo/files") == (COURSE, COURSE, 0o2770)
    assert owner(root / "course/algo/files/submitted") == (COURSE, COURSE, 0o2770)
    assert owner(root / "course/algo/files/gradebook.db") == (COURSE, COURSE, 0o660)
    assert owner(root / "course/algo/data") == (COURSE, COURSE, 0o2775)
    assert owner(root / "course/algo/data/users") == (0, COURSE, 0o2771)
    assert owner(root / "course/algo/data/users/alice") == (STUDENT, COURSE, 0o750)
    assert owner(root / "exchange/algo") == (COURSE, COURSE, 0o2775)
    assert owner(root / "exchange/algo/algo/inbound") == (COURSE, COURSE, 0o3773)
    assert owner(root / "exchange/algo/algo/outbound") == (COURSE, COURSE, 0o2775)
    assert ensure(root, (USER, FILES, EXCHANGE, USERDATA)) == ()


@pytest.mark.parametrize("needs", [(MEMBER,), (FILES, MEMBER)])
def test_who_takes_a_course(tmp_path: Path, require: Any, needs: tuple[StorageNeed, ...]) -> None:
    require("root")
    ensure(tmp_path, needs)
    people = tmp_path / "course/algo/people"
    assert owner(people) == (0, COURSE, 0o750)
    assert [path.name for path in people.iterdir()] == [f"{STUDENT}.alice"]
    assert owner(people / f"{STUDENT}.alice") == (0, 0, 0o755)
    assert ensure(tmp_path, needs) == ()


def test_mends_what_root_keeps_and_nothing_below(tmp_path: Path, require: Any) -> None:
    require("root")
    root = tmp_path / "storage"
    ensure(root, (FILES,))
    files = root / "course/algo/files"
    os.chown(files, 0, 0)
    theirs = files / "source" / "ps1"
    theirs.mkdir()
    os.chown(theirs, 1234, 1234)
    ensure(root, (FILES,))
    assert owner(files) == (COURSE, COURSE, 0o2770)
    assert owner(theirs)[:2] == (1234, 1234)


@pytest.mark.parametrize(
    ("needs", "place"),
    [
        ((USER,), "u/01/alice"),
        ((USER,), "u/01"),
        ((USER,), "u"),
        ((FILES,), "course/algo"),
        ((FILES,), "course/algo/files"),
        ((FILES,), "course/algo/data"),
        ((EXCHANGE,), "exchange/algo"),
        ((FILES, USERDATA), "course/algo/data/users"),
        ((FILES, USERDATA), "course/algo/data/users/alice"),
        ((EXCHANGE,), "exchange/algo/algo"),
        ((FILES,), "course/algo/people"),
        ((MEMBER,), "course/algo/people"),
        ((MEMBER,), f"course/algo/people/{STUDENT}.alice"),
    ],
)
def test_planted_link_is_refused(
    tmp_path: Path, victim: Path, needs: tuple[StorageNeed, ...], place: str
) -> None:
    """Trap 3: root's chown went where a link of somebody's led."""
    root = tmp_path / "storage"
    path = root / place
    path.parent.mkdir(parents=True)
    path.symlink_to(victim)
    with pytest.raises(StorageError) as caught:
        ensure(root, needs)
    assert str(victim) not in caught.value.message
    assert path.is_symlink()


WRITABLE = FILES.model_copy(update={"datadir_writable": True})


def test_nobody_is_earlier_than_root_in_data_that_students_write(
    tmp_path: Path, require: Any
) -> None:
    require("root")
    ensure(tmp_path, (WRITABLE,))
    assert owner(tmp_path / "course/algo/data") == (COURSE, COURSE, 0o3777)
    assert owner(tmp_path / "course/algo/data/users") == (0, COURSE, 0o2771)


@pytest.mark.parametrize("needs", [(WRITABLE, USERDATA), (USERDATA,)])
def test_a_students_folder_of_users_becomes_roots(
    tmp_path: Path, require: Any, needs: tuple[StorageNeed, ...]
) -> None:
    require("root")
    ensure(tmp_path, (WRITABLE,))
    users = tmp_path / "course/algo/data/users"
    os.chown(users, 20666, 20000)
    users.chmod(0o777)
    ensure(tmp_path, (WRITABLE,))  # any start of the course; theirs until it matters
    assert owner(users) == (20666, 20000, 0o777)
    ensure(tmp_path, needs)
    assert owner(users) == (0, COURSE, 0o2771)
    assert owner(users / "alice") == (STUDENT, COURSE, 0o750)


def test_what_a_student_put_in_place_of_users_costs_what_needs_it(
    tmp_path: Path, victim: Path
) -> None:
    ensure(tmp_path, (FILES,))
    users = tmp_path / "course/algo/data/users"
    users.symlink_to(victim)
    ensure(tmp_path, (WRITABLE,))  # an instructor's start
    with pytest.raises(StorageError) as caught:
        ensure(tmp_path, (WRITABLE, USERDATA))
    assert "data/users: is not a folder" in caught.value.detail
    assert owner(victim) == (0, 0, 0o700)
    users.unlink()
    users.mkdir()
    (users / "alice").mkdir()
    os.chown(users / "alice", 20666, 20000)
    with pytest.raises(StorageError) as caught:
        ensure(tmp_path, (WRITABLE, USERDATA))
    assert "belongs to UID 20666" in caught.value.detail


@pytest.mark.parametrize("place", ["source", "feedback", "gradebook.db"])
def test_planted_link_in_a_course_is_left_alone(tmp_path: Path, victim: Path, place: str) -> None:
    """Trap 3, where the course's people write."""
    root = tmp_path / "storage"
    path = root / "course/algo/files" / place
    path.parent.mkdir(parents=True)
    path.symlink_to(victim / "secret" if "." in place else victim)
    ensure(root, (FILES,))
    assert path.is_symlink()


def test_hard_link_is_left_alone(tmp_path: Path, victim: Path) -> None:
    root = tmp_path / "storage"
    path = root / "course/algo/files/gradebook.db"
    path.parent.mkdir(parents=True)
    os.link(victim / "secret", path)
    ensure(root, (FILES,))
    path.unlink()


def test_folder_of_somebody_else_is_not_given_away(tmp_path: Path, require: Any) -> None:
    require("root")
    root = tmp_path / "storage"
    ensure(root, (USER,))
    other = USER.model_copy(update={"uid": 20201})
    with pytest.raises(StorageError) as caught:
        ensure(root, (other,))
    assert "belongs to UID 20101" in caught.value.detail
    assert owner(root / "u/01/alice") == (STUDENT, USERS, 0o700)


def test_race_of_a_folder_and_a_link(tmp_path: Path, victim: Path) -> None:
    """Trap 3: somebody swaps a folder for a link as fast as they can."""
    root = tmp_path / "storage"
    ensure(root, (EXCHANGE,))
    place, real = root / "exchange/algo/algo", root / "exchange/algo/.real"
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            try:
                place.rename(real)
                place.symlink_to(victim)
                place.unlink()
                real.rename(place)
            except OSError:
                continue

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(500):
            try:
                ensure(root, (EXCHANGE,))
            except StorageError:
                continue
    finally:
        stop.set()
        swapper.join(10)


def test_mount_source_through_a_link_is_refused(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "storage/u/01").mkdir(parents=True)
    (tmp_path / "storage/u/01/alice").symlink_to(victim)
    with walk.opened_root(tmp_path / "storage") as top:
        with pytest.raises(StorageError):
            walk.open_folder(top, "u/01/alice")
        for path in ("../victim", "u/../../victim", "/etc", "u//01", ""):
            with pytest.raises(StorageError):
                walk.open_folder(top, path)


@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "protection taken away"])
@pytest.mark.parametrize("by", ["apply", "seed"])
def test_a_folder_swapped_between_making_and_opening(
    tmp_path: Path, require: Any, monkeypatch: pytest.MonkeyPatch, by: str, guarded: bool
) -> None:
    """Who may rename in the parent puts another's folder there: it must not be given to the course."""
    require("root")
    root, site = tmp_path / "storage", tmp_path / "site"
    ensure(root, (FILES,))
    parent = root / "course/algo/files" if by == "apply" else root / "course/algo/files/source"
    name = "release" if by == "apply" else "week1"
    theirs = parent / "theirs"
    theirs.mkdir()
    os.chown(theirs, STUDENT, USERS)
    theirs.chmod(0o700)
    if by == "apply":
        (parent / name).rmdir()
    (site / "course/algo/files/source/week1").mkdir(parents=True)
    make = os.mkdir

    def swapped(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        make(path, mode, dir_fd=dir_fd)
        if path == name:
            (parent / name).rename(parent / "away")
            theirs.rename(parent / name)

    monkeypatch.setattr(os, "mkdir", swapped)
    if not guarded:
        monkeypatch.setattr(walk, "is_new", lambda number: True)
    if by == "apply":
        ensure(root, (FILES,))
    else:
        monkeypatch.setattr("courseyard.storage.seed._is_empty", lambda *_, **__: True)
        seed(site, root, Course(slug="algo", name="Algorithms", uid=COURSE, gid=COURSE))
    found = owner(parent / name)
    assert found == ((STUDENT, USERS, 0o700) if guarded else (COURSE, COURSE, 0o2770))
