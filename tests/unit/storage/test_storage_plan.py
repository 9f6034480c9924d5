"""Layout, policy and difference, as an ordinary user would have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from courseyard.errors import StorageError
from courseyard.plan.model import StorageKind, StorageNeed
from courseyard.storage import layout
from courseyard.storage.apply import ensure
from courseyard.storage.policy import entries

NEEDS = (
    StorageNeed(kind=StorageKind.SITE),
    StorageNeed(kind=StorageKind.USER, username="alice", uid=20105, gid=20000),
    StorageNeed(kind=StorageKind.COURSE, slug="algo", uid=20500, gid=20500, gradebook=True),
    StorageNeed(kind=StorageKind.EXCHANGE, slug="algo", uid=20500, gid=20500),
)


def test_two_digits_of_the_uid() -> None:
    assert layout.user("alice", 20105) == "u/05/alice"
    assert layout.user("alice", 1000) == "u/00/alice"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a\0", "-a", "a" * 65, "a..b"])
def test_names_that_are_no_folders(name: str) -> None:
    with pytest.raises(ValueError, match="folder"):
        layout.name(name)


def test_parents_come_first_and_once() -> None:
    paths = [entry.path for entry in entries(NEEDS)]
    assert len(paths) == len(set(paths))
    for number, path in enumerate(paths):
        parent = path.rpartition("/")[0]
        assert not parent or parent in paths[:number]


def test_made_once_and_then_nothing(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    planned = ensure(root, NEEDS, dry_run=True, real_ids=False)
    assert not root.exists()
    done = ensure(root, NEEDS, real_ids=False)
    assert [str(a) for a in planned] == [str(a) for a in done]
    assert (root / "u/05/alice").stat().st_mode & 0o7777 == 0o700
    assert (root / "exchange/algo/algo/inbound").stat().st_mode & 0o7777 == 0o3773
    assert (root / "course/algo/files/gradebook.db").stat().st_mode & 0o7777 == 0o660
    assert ensure(root, NEEDS, real_ids=False) == ()


def test_one_account_for_all_writes_nobody_down(tmp_path: Path) -> None:
    member = StorageNeed(
        kind=StorageKind.COURSE_MEMBER, slug="algo", username="alice", uid=20105, gid=20500
    )
    ensure(tmp_path, (*NEEDS, member), real_ids=False)
    assert list((tmp_path / "course/algo/people").iterdir()) == []
    planned = ensure(tmp_path, (member,), real_ids=True, dry_run=True)
    assert "course/algo/people/20105.alice: make folder, 0:0 0755" in map(str, planned)


def test_dry_run_changes_nothing(tmp_path: Path) -> None:
    ensure(tmp_path, NEEDS, real_ids=False)
    (tmp_path / "u/05/alice").chmod(0o755)
    actions = ensure(tmp_path, NEEDS, dry_run=True, real_ids=False)
    assert [str(a) for a in actions] == ["u/05/alice: mode 0700"]
    assert (tmp_path / "u/05/alice").stat().st_mode & 0o777 == 0o755
    ensure(tmp_path, NEEDS, real_ids=False)
    assert (tmp_path / "u/05/alice").stat().st_mode & 0o777 == 0o700


def test_what_people_made_in_a_course_is_theirs(tmp_path: Path) -> None:
    ensure(tmp_path, NEEDS, real_ids=False)
    source = tmp_path / "course/algo/files/source"
    source.chmod(0o700)
    book = tmp_path / "course/algo/files/gradebook.db"
    book.write_text("grades")
    assert ensure(tmp_path, NEEDS, real_ids=False) == ()
    assert book.read_text() == "grades"


def test_a_file_where_a_folder_belongs(tmp_path: Path) -> None:
    (tmp_path / "u").write_text("")
    with pytest.raises(StorageError) as caught:
        ensure(tmp_path, NEEDS, real_ids=False)
    assert "u" in caught.value.detail
    assert str(tmp_path) not in str(caught.value)


def test_a_hostile_name_in_a_need(tmp_path: Path) -> None:
    need = StorageNeed(kind=StorageKind.EXCHANGE, slug="../../etc", uid=20500, gid=20500)
    with pytest.raises(StorageError):
        ensure(tmp_path / "s", (need,), real_ids=False)
    assert not (tmp_path / "s").exists()
