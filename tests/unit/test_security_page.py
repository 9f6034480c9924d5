"""What docs/explanation/security.md claims, a test shows: each row names some, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "explanation" / "security.md"
#: Columns of a table of attacks: attack, what stops it, where, tests.
_COLUMNS = 4
_WHERE = {"machine", "as root", "cluster", "both"}
_TEST = re.compile(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`")


def rows() -> list[list[str]]:
    """The rows of all tables of attacks, without their headings."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    wide = [row for row in cells if len(row) == _COLUMNS]
    return [row for row in wide if not row[0].startswith("---") and row[3] != "test"]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:50])
def test_a_claim_names_tests_that_exist(row: list[str]) -> None:
    named = _TEST.findall(row[3])
    assert named, f"no test shows it: {row[0]}"
    assert re.sub(r"`[^`]*`", "", row[3]).strip(" ,") == "", "only names of tests stand here"
    for file, name in named:
        source = (REPOSITORY / file).read_text(encoding="utf-8")
        assert re.search(rf"^(?:    )?(?:async )?def {name}\(", source, re.M), f"{file}::{name}"


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:50])
def test_a_claim_says_where_it_holds(row: list[str]) -> None:
    assert row[2] in _WHERE, row[2]


def test_there_are_claims() -> None:
    assert len(rows()) > 30
