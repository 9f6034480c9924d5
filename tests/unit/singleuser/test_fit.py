"""What of a notebook is said before it is run and graded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from courseyard.singleuser.courseyard_nbgrader import fit

HERE = ("python3", "ir")


def cell(name: str = "", source: str = "1") -> dict[str, Any]:
    about = {"nbgrader": {"grade_id": name, "solution": True}} if name else {}
    return {"cell_type": "code", "metadata": about, "source": source}


def write(
    path: Path, *cells: dict[str, Any], name: str = "python3", language: str = "python"
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    spec = {"name": name, "language": language} if name else {}
    path.write_text(json.dumps({"cells": list(cells), "metadata": {"kernelspec": spec}}))
    return path


def test_a_good_notebook_is_not_worth_a_word(tmp_path: Path) -> None:
    book = write(tmp_path / "a.ipynb", cell("one"), cell("two"), cell(), cell())
    assert fit.notebook(book, HERE) == []
    assert fit.notebook(write(tmp_path / "b.ipynb", cell(), name=""), HERE) == []


def test_a_copied_cell_and_a_kernel_that_is_not_here(tmp_path: Path) -> None:
    book = write(tmp_path / "a.ipynb", cell("one"), cell(), cell("one"), name="julia-1.9")
    copied, kernel = fit.notebook(book, HERE)
    assert "a.ipynb holds the nbgrader cell 'one' more than once (cells 1 and 3)" in copied
    assert "asks for the kernel 'julia-1.9', which is not here" in kernel
    assert fit.notebook(book, ("julia-1.9",), known=book) == [], "it was so when it was released"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"cells": 1}', "[" * 100_000, '{"cells": [1, {"metadata": 2}]}']
)
def test_any_file_has_an_answer(tmp_path: Path, text: str) -> None:
    book = tmp_path / "a.ipynb"
    book.write_text(text)
    found = fit.notebook(book, HERE)
    assert found == (
        [] if text.endswith("]}") else ["a.ipynb is damaged: it cannot be read as a notebook."]
    )
    assert not fit.hides_tests(book, "BEGIN")
    assert not fit.hidden_tests(book)


def test_what_is_handed_in_against_the_release(tmp_path: Path) -> None:
    release, work = tmp_path / "release", tmp_path / "work"
    for name in ("a", "b", "c", "d"):
        write(release / f"{name}.ipynb", cell("one"))
    write(work / "a.ipynb", cell("one"), name="my-own")
    write(work / "part" / "b.ipynb", cell("one"))
    write(work / ".ipynb_checkpoints" / "b-checkpoint.ipynb", cell("one"))
    write(work / "d.ipynb", cell("one"), name="ir", language="R")
    lies, missing, language = fit.handed_in(work, release)
    assert lies == "b.ipynb is missing. It lies in the folder part; move it back out of it."
    assert missing == "c.ipynb is missing. Fetch the assignment again: that brings it back."
    assert language.startswith("d.ipynb uses r, and the assignment python")
    write(work / "mine.ipynb", cell("one"))
    assert "If mine.ipynb is it, give it the name c.ipynb again." in fit.handed_in(work, release)[1]


def test_too_large_and_in_folders(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 1001)
    (tmp_path / "fits").write_bytes(b"x" * 1000)
    (tmp_path / ".hidden").write_bytes(b"x" * 2000)
    write(tmp_path / "sub" / "x.ipynb", cell())
    write(tmp_path / "sub" / ".ipynb_checkpoints" / "x.ipynb", cell())
    assert list(fit.too_large(tmp_path, [".*"], 1000)) == [("big", 1001)]
    assert fit.in_folders(tmp_path, [".*"]) == ["sub/x.ipynb"]
    assert [fit.megabytes(size) for size in (1, 30_000_000, 30_000_001)] == [
        "1 MB",
        "30 MB",
        "31 MB",
    ]


def test_hidden_tests_are_known_by_their_mark(tmp_path: Path) -> None:
    book = write(tmp_path / "a.ipynb", cell("one", "### BEGIN HIDDEN TESTS"))
    assert fit.hides_tests(book, "BEGIN HIDDEN TESTS")
    assert not fit.hides_tests(write(tmp_path / "b.ipynb", cell("one")), "BEGIN HIDDEN TESTS")
    told = json.loads(book.read_text())
    told["metadata"][fit.ABOUT] = {"hidden_tests": True}
    book.write_text(json.dumps(told))
    assert fit.hidden_tests(book)
