"""Links of the home directory, with whatever a person may have put in their way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from courseyard.singleuser.links import make_links

FILE = {"path": ".gitconfig", "folder": False}
FOLDER = {"path": ".ssh", "folder": True}
DEEP = {"path": ".local/share/jupyter/nbgrader_cache", "folder": True}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "notebooks" / ".home"


def test_files_and_folders_persist(home: Path, kept: Path) -> None:
    assert make_links(home, kept, [FILE, FOLDER, DEEP]) == []
    (home / ".gitconfig").write_text("[user]\n")
    (home / ".local/share/jupyter/nbgrader_cache/x").write_text("1")
    assert (kept / ".gitconfig").read_text() == "[user]\n"
    assert (kept / ".local/share/jupyter/nbgrader_cache/x").exists()
    assert (kept / ".ssh").stat().st_mode & 0o777 == 0o700
    assert (kept / ".gitconfig").stat().st_mode & 0o777 == 0o600


def test_a_second_start_changes_nothing(home: Path, kept: Path) -> None:
    make_links(home, kept, [FILE, FOLDER])
    (kept / ".gitconfig").write_text("mine")
    assert make_links(home, kept, [FILE, FOLDER]) == []
    assert (home / ".gitconfig").read_text() == "mine"


def test_a_loop_of_links(home: Path, kept: Path) -> None:
    kept.mkdir(parents=True)
    (kept / ".ssh").symlink_to(kept / "b")
    (kept / "b").symlink_to(kept / ".ssh")
    (problem,) = make_links(home, kept, [FOLDER])
    assert problem.startswith("~/.ssh is not kept")
    assert (kept / "b").is_symlink()


def test_a_file_where_the_folder_of_all_should_be(home: Path, kept: Path) -> None:
    kept.parent.mkdir()
    kept.write_text("mine")
    assert len(make_links(home, kept, [FILE, FOLDER, DEEP])) == 3
    assert kept.read_text() == "mine"


def test_a_file_instead_of_a_folder_and_the_reverse(home: Path, kept: Path) -> None:
    kept.mkdir(parents=True)
    (kept / ".ssh").write_text("")
    (kept / ".gitconfig").mkdir()
    assert len(make_links(home, kept, [FILE, FOLDER])) == 2


def test_a_pipe_does_not_block(home: Path, kept: Path) -> None:
    kept.mkdir(parents=True)
    os.mkfifo(kept / ".gitconfig")
    (problem,) = make_links(home, kept, [FILE])
    assert "is not a file" in problem


def test_a_dangling_link_is_left_alone(home: Path, kept: Path) -> None:
    kept.mkdir(parents=True)
    (kept / ".gitconfig").symlink_to("/nowhere/at/all")
    assert len(make_links(home, kept, [FILE])) == 1


def test_content_in_the_new_home_stays(home: Path, kept: Path) -> None:
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text("kept")
    assert len(make_links(home, kept, [FOLDER])) == 1
    assert (home / ".ssh" / "config").read_text() == "kept"


def test_one_problem_costs_that_link_alone(home: Path, kept: Path) -> None:
    kept.mkdir(parents=True)
    (kept / ".ssh").write_text("")
    assert len(make_links(home, kept, [FOLDER, FILE])) == 1
    assert (home / ".gitconfig").is_symlink()
