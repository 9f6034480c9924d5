"""Images of other shapes really run: a file tree, and a Python under a private folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from courseyard.plan.model import PlanImage


@pytest.fixture
def listed(make_yard: Callable[..., Any], make_plan: Callable[..., Any]) -> Callable[[Path], Any]:
    """Start a server of an image that the site lists."""

    def start(path: Path) -> tuple[Any, Any]:
        yard = make_yard()
        text = (yard.folder / "images.yaml").read_text().replace(str(yard.image), str(path))
        (yard.folder / "images.yaml").write_text(text)
        image = PlanImage(reference="default:2026-09-01", path=path)
        return yard, yard.start(make_plan().model_copy(update={"image": image}))

    return start


def test_a_file_tree(tmp_path: Path, listed: Callable[[Path], Any]) -> None:
    tree = tmp_path / "tree"
    for folder in ("usr/bin", "etc", "opt"):
        (tree / folder).mkdir(parents=True)
    python = Path("/usr/bin/python3").resolve()
    shutil.copy2(python, tree / "usr/bin/python3")
    version = python.name
    copied = {Path(f"/usr/lib/{version}"): None}
    binaries = [python, *Path(f"/usr/lib/{version}/lib-dynload").glob("*.so")]
    words = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=True)
    for word in words.stdout.split():
        if word.startswith("/") and not word.endswith(":"):
            copied[Path(word)] = None
    for source in copied:
        target = tree / str(source.resolve() if source.is_dir() else source).lstrip("/")
        if not target.is_relative_to(tree / "usr"):
            target = tree / "usr" / str(source).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("test*", "*.pyc"),
                            ignore_dangling_symlinks=True)  # fmt: skip
        else:
            shutil.copy2(source, target)
    for name in ("lib", "lib64", "bin"):
        (tree / "usr" / name).mkdir(exist_ok=True)
        (tree / name).symlink_to(f"usr/{name}")
    (tree / "etc" / "os-release").write_text("NAME=tree\n")
    yard, inside = listed(tree)
    assert inside.run("value = open('/etc/os-release').read()") == "NAME=tree\n"
    assert not inside.run("import os\nvalue = os.path.exists('/usr/share/doc')")
    assert inside.run("import pwd, os\nvalue = pwd.getpwuid(os.getuid()).pw_name") == "alice"
    yard.stop(inside.handle, now=True)


def test_python_under_a_private_folder(tmp_path: Path, listed: Callable[[Path], Any]) -> None:
    private = tmp_path / "private"
    base = private / "python"
    (base / "bin").mkdir(parents=True)
    python = Path("/usr/bin/python3").resolve()
    shutil.copy2(python, base / "bin" / "python3")
    (base / "lib").mkdir()
    shutil.copytree(Path(f"/usr/lib/{python.name}"), base / "lib" / python.name, symlinks=True,
                    ignore=shutil.ignore_patterns("test*", "*.pyc"), ignore_dangling_symlinks=True)  # fmt: skip
    subprocess.run(
        [str(base / "bin" / "python3"), "-m", "venv", "--without-pip", str(private / "venv")],
        check=True,
    )
    private.chmod(0o700)
    yard, inside = listed(private / "venv")
    assert inside.run("import sys\nvalue = sys.base_prefix") == str(base)
    yard.stop(inside.handle, now=True)
