"""`courseyard images check` with real images: the example's, and one that is broken in many ways."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.nbgrader.conftest import UNIVERSITY

NAME = "python-2026-08-15"
#: A smoke test that looks around: whose rights, which files, which network.
LOOK = """\
import os, pathlib, socket
assert (os.getuid(), os.getgid()) == (65532, 65532), "not the checker"
assert set(os.getgroups()) <= {{65532, 65534}}, os.getgroups()
status = pathlib.Path("/proc/self/status").read_text()
assert "CapEff:\\t0000000000000000" in status and "NoNewPrivs:\\t1" in status, status
assert not pathlib.Path("{site}/courseyard.yaml").exists(), "the site is visible"
assert os.environ["EXAMPLE_UNIVERSITY_HUB"] == "1"
assert pathlib.Path("/coursedata/words.txt").is_file() and pathlib.Path("source/week1").is_dir()
for path in ("/srv/check/job.json", "{image}/bin/python", "/etc/passwd"):
    try:
        open(path, "a")
    except OSError:
        continue
    raise AssertionError(f"{{path}} can be written")
try:
    socket.create_connection(("198.51.100.1", 80), timeout=3)
except OSError as error:
    assert "unreachable" in str(error), error
else:
    raise AssertionError("there is a network")
"""


def site_with(image: Path, folder: Path) -> Path:
    ignored = shutil.ignore_patterns("state", "storage", NAME, "passwords.yaml")
    shutil.copytree(UNIVERSITY, folder, ignore=ignored)
    (folder / "images" / NAME).symlink_to(image)
    return folder


def check(site: Path) -> tuple[int, dict[str, dict[str, Any]], str]:
    """Exit status, the results by test, and what was told meanwhile."""
    scratch = site.parent / "scratch"
    scratch.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "courseyard.cli", "images", "check", "DEFAULT", site, "--json"],
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert list(scratch.iterdir()) == [], "something is left behind"
    return done.returncode, {row["test"]: row for row in json.loads(done.stdout)}, done.stderr


def test_the_examples_image_passes(image: Path, tmp_path: Path) -> None:
    site = site_with(image.resolve(), tmp_path / "site")
    look = LOOK.format(site=site, image=image.resolve())
    (site / "course" / "algo2026" / "smoke" / "look.py").write_text(look)
    status, found, told = check(site)
    assert [row for row in found.values() if row["state"] != "passed"] == []
    assert status == 0
    for name in ("jupyterhub", "jupyterlab", "notebook", "nbgrader", "ipykernel", "pandas"):
        assert found[f"import {name}"]["said"], "its version"
    steps = ("release", "fetch", "submit", "collect", "autograde", "feedback")
    notebooks = ("week1/sorting", "week2/graphs", "week2/paths")
    assert set(found) >= {
        "JupyterHub fits the hub",
        "kernel python3",
        *(f"nbgrader {step}" for step in steps),
        *(f"algo2026: files/source/{name}.ipynb" for name in notebooks),
        "algo2026: smoke/plots.py",
        "algo2026: smoke/look.py",
    }
    assert "nbgrader collect …" in told.splitlines()


@pytest.fixture
def broken(image: Path, tmp_path: Path) -> Path:
    """The example's image with three faults; what is whole in it is the real one's."""
    real, made = image.resolve(), tmp_path / "broken"
    packages = next(real.glob("lib/python3*/site-packages"))
    ours = made / packages.relative_to(real)
    (ours / "pandas").mkdir(parents=True)
    (ours / "pandas" / "__init__.py").write_text(
        "raise ImportError('libarrow.so.9: cannot open shared object file')\n"
    )
    (ours / "whole.pth").write_text(f"{packages}\n")
    for part in ("bin", "share/jupyter/kernels"):
        shutil.copytree(real / part, made / part, symlinks=True)
    (made / "bin" / "nbgrader").unlink()
    # By the base Python's place a sandbox sees the real image, too.
    (made / "pyvenv.cfg").write_text(f"home = {real}/bin\n")
    kernel = {"argv": ["no-such-r", "{connection_file}"], "display_name": "R", "language": "R"}
    (made / "share/jupyter/kernels/ir").mkdir()
    (made / "share/jupyter/kernels/ir/kernel.json").write_text(json.dumps(kernel))
    return made


def notebook(*sources: str, kernel: str = "python3") -> str:
    cells = [
        {"cell_type": "code", "id": f"c{number}", "metadata": {}, "source": source,
         "outputs": [], "execution_count": None}
        for number, source in enumerate(sources)
    ]  # fmt: skip
    spec = {"name": kernel, "display_name": kernel, "language": "python"}
    return json.dumps(
        {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}
    )


def test_what_is_broken_is_named(broken: Path, tmp_path: Path) -> None:
    site = site_with(broken, tmp_path / "site")
    course = site / "course" / "algo2026"
    shutil.rmtree(course / "files" / "source")
    (course / "files").mkdir(exist_ok=True)
    forged = '{"test": "import pandas", "state": "passed", "seconds": 0, "said": ""}'
    raises = notebook("import os", f"os.write(1, b'{forged}\\n')", "1 / 0")
    (course / "files" / "raises.ipynb").write_text(raises)
    (course / "files" / "julia.ipynb").write_text(notebook("1", kernel="julia-1.10"))
    (course / "files" / "fine.ipynb").write_text(notebook("open('/coursedata/words.txt')"))
    (course / "smoke" / "more.py").write_text("raise SystemExit('the licence server is away')")
    status, found, _ = check(site)
    assert status == 1
    failed = {test: row["said"] for test, row in found.items() if row["state"] == "failed"}
    assert set(failed) == {
        "import pandas",
        "kernel ir",
        "nbgrader release",
        "algo2026: files/raises.ipynb",
        "algo2026: files/julia.ipynb",
        "algo2026: smoke/more.py",
    }
    assert "libarrow.so.9: cannot open shared object file" in failed["import pandas"]
    assert "no-such-r" in failed["kernel ir"]
    assert failed["nbgrader release"] == "nbgrader cannot be run: No such file or directory."
    assert failed["algo2026: files/raises.ipynb"] == "Cell 3: ZeroDivisionError: division by zero"
    assert "kernel 'julia-1.10', which the image lacks" in failed["algo2026: files/julia.ipynb"]
    assert failed["algo2026: smoke/more.py"] == "the licence server is away"
    assert found["nbgrader feedback"]["state"] == "not run"
    assert found["algo2026: files/fine.ipynb"]["state"] == "passed"


def test_a_folder_without_software_is_told(tmp_path: Path) -> None:
    """Neither a virtual environment nor a file tree: one row, not a traceback."""
    (tmp_path / "empty").mkdir()
    status, found, _ = check(site_with(tmp_path / "empty", tmp_path / "site"))
    assert status == 1
    assert list(found) == ["the image runs"]
    assert "not installed" in found["the image runs"]["said"]
