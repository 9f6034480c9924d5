"""Whatever a course file holds, reading it raises nothing: it gives a course or problems."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from courseyard.images.catalog import ImageCatalog, Release
from courseyard.registry.files import read_course, read_users
from courseyard.registry.keys import KEYS
from courseyard.registry.override import PARSERS
from courseyard.registry.reader import Rules
from courseyard.settings import Site

PATH = Path("course.yaml")
RULES = Rules(
    Site(timezone="Europe/Helsinki"),
    ImageCatalog({"DEFAULT": (Release("DEFAULT", None, "python:1"),)}),
)
SYNTAX = st.text(alphabet=string.ascii_letters + " \n\t:-[]{}&*#'\"|>!%@`,?~<=0123456789.\\\0é")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.dates()
    | st.datetimes()
    | st.sampled_from(["5G", "-1G", "1e999", "2026-09-01", "DEFAULT", "root", "0027", "Mon", "/"])
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
COURSES = st.dictionaries(st.sampled_from([*KEYS, "x-own"]) | st.text(max_size=12), VALUES)
OVERRIDES = st.dictionaries(st.sampled_from([*PARSERS, "uid"]) | st.text(max_size=12), VALUES)
QUICK = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def read(source: bytes) -> None:
    found = read_course(source, PATH, RULES)
    assert (found.course is None) == any(problem.is_error for problem in found.problems)
    users = read_users(source, PATH, RULES)
    assert (users.people is None) == any(problem.is_error for problem in users.problems)
    for problem in (*found.problems, *users.problems):
        assert len(str(problem)) < 2000
        assert problem.message


@QUICK
@given(st.binary())
def test_bytes(source: bytes) -> None:
    read(source)


@QUICK
@given(SYNTAX)
def test_syntax(source: str) -> None:
    read(source.encode())


@QUICK
@given(st.sampled_from(sorted(KEYS)), SYNTAX)
def test_syntax_after_a_key(key: str, source: str) -> None:
    read(f"{key}: {source}".encode())


@QUICK
@given(COURSES)
def test_wrong_values(course: dict[str, Any]) -> None:
    read(yaml.safe_dump(course, allow_unicode=True).encode())


@QUICK
@given(OVERRIDES)
def test_wrong_overrides(override: dict[str, Any]) -> None:
    read(yaml.safe_dump({"kubespawner_override": override}).encode())
