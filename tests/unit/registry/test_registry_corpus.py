"""Every broken and odd course file of tests/corpus against what people are told about it.

After a change that is meant: ``COURSEYARD_UPDATE=1 pytest <this file>``, then read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from courseyard.images.catalog import load_catalog
from courseyard.registry.load import load_snapshot
from courseyard.registry.snapshot import Snapshot
from courseyard.settings import Site

CORPUS = Path(__file__).parents[2] / "corpus"
EXPECTED = CORPUS / "expected.txt"


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    site = Site(folder=CORPUS, timezone="Europe/Helsinki")
    return load_snapshot(site, load_catalog(site))


def told(snapshot: Snapshot) -> dict[str, list[str]]:
    """File name → messages, and `in force` when the course is there."""
    found: dict[str, list[str]] = {p.name: [] for p in (CORPUS / "courses").iterdir()}
    for problem in snapshot.problems:
        found[problem.file.name].append(str(problem).removeprefix(f"{CORPUS}/courses/"))
    for slug in snapshot.courses:
        found[f"{slug}.yaml"].append("in force")
    return found


def expected() -> dict[str, list[str]]:
    blocks = EXPECTED.read_text(encoding="utf-8").strip().split("\n\n")
    return {block.split("\n")[0]: block.split("\n")[1:] for block in blocks}


if os.environ.get("COURSEYARD_UPDATE"):
    site = Site(folder=CORPUS, timezone="Europe/Helsinki")
    blocks = told(load_snapshot(site, load_catalog(site)))
    text = "\n\n".join("\n".join([name, *lines]) for name, lines in sorted(blocks.items()))
    EXPECTED.write_text(text + "\n", encoding="utf-8")


@pytest.mark.parametrize("name", sorted(p.name for p in (CORPUS / "courses").iterdir()))
def test_what_is_told(snapshot: Snapshot, name: str) -> None:
    assert told(snapshot)[name] == expected()[name]


def test_the_corpus_is_large_and_mostly_broken() -> None:
    blocks = expected()
    assert len([lines for lines in blocks.values() if "in force" not in lines]) >= 50


def test_nobody_reads_a_traceback_or_python(snapshot: Snapshot) -> None:
    for problem in snapshot.problems:
        assert problem.message.isprintable()
        for word in ("Traceback", "Error", "NoneType", "dict", "pydantic"):
            assert word not in problem.message, problem


def test_every_problem_has_a_line_or_is_the_whole_file(snapshot: Snapshot) -> None:
    for problem in snapshot.problems:
        assert problem.line > 0 or not problem.key, problem
