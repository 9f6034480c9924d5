"""What can be said about building images without a download."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from courseyard.errors import ImageError
from courseyard.images import build

LOCKS = Path(__file__).parents[3] / "examples" / "university" / "images"


def a_lock(folder: Path, text: str = "jupyterhub==6.1.1\njupyter_server==2.0\n") -> Path:
    image = folder / "python-2026-08-15"
    build.lock_file(image).write_text(text)
    return image


def stamped(image: Path) -> None:
    (image / "bin").mkdir(parents=True)
    (image / "bin" / "python").symlink_to("/usr/bin/env")
    lock = build._hash(build.lock_file(image))
    (image / build.STAMP).write_text(json.dumps({"lock": lock}))


def test_the_lock_file_lies_beside_the_image(tmp_path: Path) -> None:
    assert build.lock_file(tmp_path / "python-3.11") == tmp_path / "python-3.11.txt"


def test_without_a_lock_file_the_message_names_it(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"there is no lock file python\.txt"):
        build.build_image(tmp_path / "python")


def test_a_built_image_is_left_alone(tmp_path: Path) -> None:
    image = a_lock(tmp_path)
    stamped(image)
    built = build.build_image(image)
    assert (built.fresh, built.packages) == (False, 2)


@pytest.mark.parametrize("spoil", ["lock", "stamp", "python"])
def test_a_changed_or_broken_image_is_not_built(tmp_path: Path, spoil: str) -> None:
    image = a_lock(tmp_path)
    stamped(image)
    assert build.is_built(image)
    if spoil == "lock":
        a_lock(tmp_path, "jupyterhub==6.1.2\n")
    elif spoil == "stamp":
        (image / build.STAMP).write_text("{")
    else:
        (image / "bin" / "python").unlink()
    assert not build.is_built(image)


def test_a_lock_file_without_the_hub_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="lacks jupyterhub and jupyter-server"):
        build._check(tmp_path, frozenset({"numpy"}))


def test_a_failed_build_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = a_lock(tmp_path)
    image.mkdir()
    (image / "old").touch()

    def broken(*args: object) -> None:
        raise ImageError("The image could not be built.")

    monkeypatch.setattr(build, "_build", broken)
    with pytest.raises(ImageError):
        build.build_image(image)
    assert (image / "old").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".building")]


def test_everyone_may_read_an_image(tmp_path: Path) -> None:
    program, text = tmp_path / "bin" / "program", tmp_path / "text"
    program.parent.mkdir(mode=0o700)
    program.touch(0o700)
    text.touch(0o600)
    (tmp_path / "link").symlink_to("/etc/shadow")
    build._open_to_all(tmp_path)
    assert program.stat().st_mode & 0o777 == 0o755
    assert text.stat().st_mode & 0o777 == 0o644
    assert program.parent.stat().st_mode & 0o777 == 0o755


def test_the_examples_lock_has_hashes_for_all_and_names_no_host() -> None:
    (lock,) = LOCKS.glob("*.txt")
    text = lock.read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) > 100
    assert all("--hash=sha256:" in entry for entry in entries)
    assert {"jupyterhub", "nbgrader", "jupyterlab", "notebook"} <= build._distributions(lock)
