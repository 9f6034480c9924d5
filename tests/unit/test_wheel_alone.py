"""The built wheel alone is enough: ``courseyard init demo && courseyard up demo``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert UV, "uv is one of our dependencies"
    folder = tmp_path_factory.mktemp("dist")
    # From a copy: a build must not see (or leave) anything beside the sources.
    source = folder / "source"
    for name in ("src", "examples"):
        left_out = shutil.ignore_patterns("__pycache__", "python-*[0-9]")
        shutil.copytree(REPOSITORY / name, source / name, ignore=left_out, symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copyfile(REPOSITORY / name, source / name)
    built = source / "examples" / "university" / "images" / "python-2026-08-15"
    (built / "bin").mkdir(parents=True)
    (built / "bin" / "python").write_text("")
    (source / "examples" / "university" / "passwords.yaml").write_text("ada: secret\n")
    (source / "examples" / "university" / "state").mkdir()
    (source / "examples" / "university" / "state" / "log").write_text("")
    command = [UV, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(source)]
    subprocess.run(command, check=True, timeout=300)
    (made,) = folder.glob("*.whl")
    return made


def test_it_holds_the_example_and_no_leftovers(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "courseyard/_university/courseyard.yaml" in names
    assert "courseyard/_university/course/algo2026/files/source/week1/sorting.ipynb" in names
    assert any(name.startswith("courseyard/hub/templates/") for name in names)
    assert any(name.startswith("courseyard/hub/static/") for name in names)
    bad = ("/images/python-2026-08-15/", "passwords.yaml", "/state/", "__pycache__")
    assert [name for name in names if any(word in name for word in bad)] == []
    assert all(name.startswith("courseyard") for name in names)


def test_init_check_and_plan_run_from_it(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "installed")
    # Its dependencies are those of this environment; Courseyard itself is only the wheel's.
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "courseyard.cli", *words], cwd=tmp_path, env=environment,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("init", "demo")
    assert "error" not in run("check", "demo")
    assert "/course " in run("plan", "ada", "algo2026", "--role", "instructor", "-s", "demo")
    code = "import courseyard; print(courseyard.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert where.startswith(str(tmp_path))
