"""What of notebooks and files would fail later, said while somebody can still mend it.

nbgrader 0.9 takes a copied cell, a renamed notebook, a kernel that is not there and a file over the
limit without a word, and fails when it grades.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

#: Metadata of a released notebook, for what runs in students' servers.
ABOUT = "courseyard"
_CHANGE = "Choose another one by Kernel → Change Kernel, and save."


def notebook(path: Path, kernels: Collection[str], known: Path | None = None) -> list[str]:
    """Sentences about one notebook; none where it can be run and graded.

    Args:
        kernels: names of those that are here.
        known: the notebook as it was released; what is wrong in that is not said.
    """
    book = read(path)
    if book is None:
        return [f"{path.name} is damaged: it cannot be read as a notebook."]
    found = []
    released = read(known) if known is not None else None
    for name, cells in sorted((twice(book)).items()):
        if released is None or name not in twice(released):
            where = " and ".join(map(str, cells))
            found.append(
                f"{path.name} holds the nbgrader cell '{name}' more than once (cells {where}). "
                "Delete the copy; to keep its text, paste that into a new cell."
            )
    kernel = _about(book, "kernelspec").get("name")
    if kernel and kernel not in kernels:
        found.append(f"{path.name} asks for the kernel '{kernel}', which is not here. {_CHANGE}")
    return found


def handed_in(folder: Path, release: Path) -> list[str]:
    """Sentences about what a student hands in, against what was released."""
    found = []
    there = _kept(folder, "*.ipynb", (".*",))
    names = {path.name for path in release.glob("*.ipynb")}
    for known in sorted(release.glob("*.ipynb")):
        path = folder / known.name
        if not path.is_file():
            found.append(_missing(path, there, names))
            continue
        found += notebook(path, (_kernel(path),), known)
        ours, theirs = _language(path), _language(known)
        if ours and theirs and ours != theirs:
            found.append(
                f"{path.name} uses {ours}, and the assignment {theirs}: it would be run as {theirs}. "
                f"{_CHANGE}"
            )
    return found


def too_large(folder: Path, ignore: Iterable[str], limit: int) -> Iterator[tuple[str, int]]:
    """Files over ``limit`` bytes that are not left out anyway: the path in ``folder``, and its bytes."""
    for path in _kept(folder, "*", ignore):
        if path.is_file() and not path.is_symlink() and path.stat().st_size > limit:
            yield str(path.relative_to(folder)), path.stat().st_size


def in_folders(folder: Path, ignore: Iterable[str]) -> list[str]:
    """Notebooks in folders of an assignment: nbgrader takes those on top alone."""
    found = _kept(folder, "*.ipynb", ignore)
    return [str(path.relative_to(folder)) for path in found if path.parent != folder]


def _kept(folder: Path, pattern: str, ignore: Iterable[str]) -> list[Path]:
    """What is there, without what nbgrader leaves out."""
    patterns = tuple(ignore)
    return [
        path
        for path in sorted(folder.rglob(pattern))
        if not any(
            fnmatchcase(part, each) for part in path.relative_to(folder).parts for each in patterns
        )
    ]


def hides_tests(path: Path, mark: str) -> bool:
    """Whether a source notebook holds tests that students do not get.

    Args:
        mark: begins them (``ClearHiddenTests.begin_test_delimeter``).
    """
    book = read(path) or {"cells": []}
    return any(mark in _source(cell) for cell in book["cells"])


def hidden_tests(path: Path) -> bool:
    """Whether a released notebook says so."""
    return _about(read(path), ABOUT).get("hidden_tests") is True


def megabytes(size: int) -> str:
    """``45 MB``, rounded up, so that what is over a limit never looks like it."""
    return f"{-(-size // 1_000_000)} MB"


def read(path: Path | None) -> dict[str, Any] | None:
    """A notebook as it stands in its file; None where it is none."""
    try:
        book = json.loads(path.read_text(encoding="utf-8")) if path is not None else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(book, dict) or not isinstance(book.get("cells"), list):
        return None
    return book


def twice(book: dict[str, Any]) -> dict[str, list[int]]:
    """Names of nbgrader's cells that more than one cell has → which these are, from 1."""
    names = [_name(cell) for cell in book["cells"]]
    often = {name for name, count in Counter(names).items() if name and count > 1}
    return {name: [n for n, each in enumerate(names, 1) if each == name] for name in often}


def _name(cell: Any) -> str:
    metadata = cell.get("metadata") if isinstance(cell, dict) else None
    about = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    if not isinstance(about, dict) or not any(
        about.get(each) for each in ("grade", "solution", "locked", "task")
    ):
        return ""
    return str(about.get("grade_id", ""))


def _source(cell: Any) -> str:
    source = cell.get("source", "") if isinstance(cell, dict) else ""
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def _missing(path: Path, there: list[Path], names: Collection[str]) -> str:
    sentence = f"{path.name} is missing."
    for each in there:
        if each.name == path.name:
            folder = each.parent.relative_to(path.parent)
            return f"{sentence} It lies in the folder {folder}; move it back out of it."
    others = [each.name for each in there if each.parent == path.parent and each.name not in names]
    if others:
        return f"{sentence} If {' or '.join(others)} is it, give it the name {path.name} again."
    return f"{sentence} Fetch the assignment again: that brings it back."


def _about(book: dict[str, Any] | None, key: str) -> dict[str, Any]:
    metadata = book.get("metadata") if book else None
    found = metadata.get(key) if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def _kernel(path: Path) -> str:
    return str(_about(read(path), "kernelspec").get("name", ""))


def _language(path: Path) -> str:
    book = read(path)
    found = _about(book, "kernelspec").get("language") or _about(book, "language_info").get("name")
    return str(found or "").lower()
