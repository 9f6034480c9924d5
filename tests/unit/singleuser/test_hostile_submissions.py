"""Copying a folder whose owner changes it meanwhile; nbgrader around it is in tests/nbgrader."""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from courseyard.singleuser.courseyard_nbgrader import tree
from courseyard.singleuser.courseyard_nbgrader.people import People


class Place:
    def __init__(self, top: Path) -> None:
        self.source, self.target = top / "source", top / "target"
        self.secret = top / "secret"
        self.source.mkdir()
        self.target.mkdir()
        self.secret.write_text("the gradebook")

    def copy(self, **rules: object) -> list[str]:
        source, target = (os.open(p, os.O_RDONLY) for p in (self.source, self.target))
        try:
            return tree.copy(source, target, tree.Rules(**rules))  # type: ignore[arg-type]
        finally:
            os.close(source)
            os.close(target)

    def copied(self) -> dict[str, str]:
        found = (p for p in self.target.rglob("*") if p.is_file())
        return {str(p.relative_to(self.target)): p.read_text() for p in found}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_files_and_folders_alone(place: Place) -> None:
    (place.source / "a" / "b").mkdir(parents=True)
    (place.source / "a" / "b" / "c.txt").write_text("c")
    (place.source / "empty").write_text("")
    (place.source / ".hidden").symlink_to(place.secret)
    (place.source / "x.pyc").write_text("")
    os.utime(place.source / "empty", (1, 1))
    assert place.copy(ignore=(".*", "*.pyc")) == []
    assert place.copied() == {"a/b/c.txt": "c", "empty": ""}
    assert (place.target / "empty").stat().st_mtime == 1


def test_include_is_for_files_alone(place: Place) -> None:
    (place.source / "a").mkdir()
    for name in ("a/x.ipynb", "a/x.bin"):
        (place.source / name).write_text("")
    place.copy(include=("*.ipynb",))
    assert place.copied() == {"a/x.ipynb": ""}


@pytest.mark.parametrize("kind", ["link", "folder link", "broken link", "pipe", "socket"])
def test_what_else_lies_there_is_refused(place: Place, kind: str) -> None:
    odd = place.source / "odd"
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(odd))
    else:
        odd.symlink_to({"link": place.secret, "folder link": place.secret.parent}.get(kind, "none"))
    with pytest.raises(tree.RefusedError, match=r"odd is a (symbolic link|named pipe|socket)"):
        place.copy()
    assert place.copied() == {}


@pytest.fixture
def swapping(place: Place) -> Iterator[None]:
    """Somebody who puts a link in the place of a file and back, as fast as they can."""
    end = threading.Event()
    (place.source / "file").write_text("mine")
    (place.source / "deep").mkdir()
    (place.source / "deep" / "secret").write_text("mine")

    def swap() -> None:
        number = 0
        while not end.is_set():
            number += 1
            spare, folder = place.source / ".spare", place.source / ".folder"
            if number % 2:
                spare.symlink_to(place.secret)
                (place.source / "deep").rename(folder)
                (place.source / "deep").symlink_to(place.secret.parent)
            else:
                spare.write_text("mine")
                (place.source / "deep").unlink()
                folder.rename(place.source / "deep")
            spare.rename(place.source / "file")

    thread = threading.Thread(target=swap)
    thread.start()
    yield
    end.set()
    thread.join()


def test_nothing_is_swapped_between_the_look_and_the_copy(place: Place, swapping: None) -> None:
    refused = number = 0
    end = time.monotonic() + 20
    while number < 200 or (refused < 20 and time.monotonic() < end):
        number += 1
        place.target = place.source.parent / f"target{number}"
        place.target.mkdir()
        try:
            place.copy(ignore=(".*",))
        except tree.RefusedError:
            refused += 1
        assert set(place.copied().values()) <= {"mine", ""}
    assert refused, "the race was never there"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_is_not_followed_that_came_after_the_listing(
    place: Place, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The same race, decided: it is swapped at the last moment before the opening."""
    odd = place.source / "odd"
    odd.mkdir() if kind == "folder" else odd.write_text("mine")
    real = os.open

    def swap(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if name == "odd" and not flags & os.O_CREAT:
            odd.rename(place.source.parent / "away")
            odd.symlink_to(place.secret if kind == "file" else place.secret.parent)
        return real(name, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(tree.os, "open", swap)
    with pytest.raises(tree.RefusedError, match="odd is a symbolic link"):
        place.copy()
    assert place.copied() == {}


def test_a_file_that_grows_is_refused_and_its_rest_not_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = place.source / "log"
    growing.write_text("x" * 10)
    real = os.fstat

    def grown(number: int) -> os.stat_result:
        found = real(number)
        if stat.S_ISREG(found.st_mode):
            growing.write_text("x" * 100)
        return found

    monkeypatch.setattr(tree.os, "fstat", grown)
    with pytest.raises(tree.RefusedError, match="log changed while it was copied"):
        place.copy(largest_file=50)
    assert (place.target / "log").stat().st_size == 11


def test_limits(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.source / "big").write_text("x" * 100)
    (place.source / "small").write_text("x" * 60)
    assert place.copy(largest_file=60) == ["big"]
    assert set(place.copied()) == {"small"}
    (place.target / "small").unlink()
    with pytest.raises(tree.RefusedError, match="altogether"):
        place.copy(largest_folder=150)
    monkeypatch.setattr(tree, "_MOST", 1)
    place.target = place.source.parent / "other"
    place.target.mkdir()
    with pytest.raises(tree.RefusedError, match="more than 1 files"):
        place.copy()


def test_nobody_makes_a_teachers_log_lie(place: Place) -> None:
    (place.source / "a\n\x1b[2J[INFO] all good \u202e").symlink_to("x")
    with pytest.raises(tree.RefusedError) as caught:
        place.copy()
    assert str(caught.value).isprintable()
    assert "\\x1b[2J" in str(caught.value)


def test_people(tmp_path: Path) -> None:
    for name in ("20001.maija", "20002.omar", "20002.o.m", "x.y", "20003.", "20004", ".old"):
        (tmp_path / name).mkdir()
    people = People.read(tmp_path)
    assert people.objection(20001, "maija") == ""
    assert people.objection(20002, "omar") == people.objection(20002, "o.m") == ""
    assert people.objection(20002, "maija") == "it was handed in by o.m or omar"
    assert people.objection(20002, "nobody") == "it was handed in by o.m or omar"
    assert people.objection(20009, "maija") == "it was handed in by somebody else (UID 20009)"
    assert people.objection(20009, "nobody") == ""
    assert People().objection(1, "maija") == ""
