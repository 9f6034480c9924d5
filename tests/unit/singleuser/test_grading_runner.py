"""The runner for grading where it must not run, and what it takes and gives."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from courseyard.singleuser.courseyard_nbgrader import tunnel, way
from courseyard.singleuser.grading import runner


def test_it_ends_nobody_elses_processes() -> None:
    """As any process but the first it would end all of this account."""
    program = Path(runner.__file__)
    done = subprocess.run(
        [sys.executable, "-I", str(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert "must be the first of a PID namespace" in done.stderr


@pytest.mark.parametrize("name", ["/etc/x", "work/../../x", "home/.profile", "channels/k-1"])
def test_files_stay_in_their_folders(tmp_path: Path, name: str) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as made:
        made.addfile(tarfile.TarInfo(name), io.BytesIO())
    size = archive.tell()
    archive.seek(0)
    with pytest.raises(ValueError, match="cannot be taken"):
        runner.unpack(runner.Limited(archive, size), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_travels_with_a_submission(tmp_path: Path) -> None:
    work, modules = tmp_path / "week1", tmp_path / "pymod"
    for folder in (work / "data", work / ".ipynb_checkpoints", modules):
        folder.mkdir(parents=True)
    for file in ("data/a.csv", "tool.py", "week1.ipynb", ".ipynb_checkpoints/x.py", "data/b.ipynb"):
        (work / file).write_text(file)
    (work / "gradebook.db").symlink_to("/etc/passwd")
    (modules / "helper.py").write_text("")
    with io.BytesIO() as archive:
        tunnel.pack(archive, work, modules)
        size = archive.tell()
        archive.seek(0)
        target = tmp_path / "inside"
        target.mkdir()
        runner.unpack(runner.Limited(archive, size), target)
    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files == {"work/data/a.csv", "work/tool.py", "pymod/helper.py"}


@pytest.mark.parametrize("address", ["", "unix:/nowhere/socket", "tcp:127.0.0.1:1"])
def test_without_a_sandbox_nothing_runs(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(way.ADDRESS, address)
    with pytest.raises(way.NoSandboxError, match="start it again"):
        way.find_way().connect({})
