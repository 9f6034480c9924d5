"""The example shows every key between its courses, and all of it can be loaded and planned."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from courseyard.access import Target
from courseyard.errors import DeniedError
from courseyard.images.catalog import load_catalog
from courseyard.people.static import load_people
from courseyard.plan.build import Known, plan_server
from courseyard.registry.course import Course, Override
from courseyard.registry.watch import Registry
from courseyard.settings import Site

UNIVERSITY = Path(__file__).parents[3] / "examples" / "university"
#: Fields of a course that no file says.
NOT_KEYS = {"slug", "extensions", "file", "complete"}


@pytest.fixture(scope="module")
def site() -> Site:
    values = yaml.safe_load((UNIVERSITY / "courseyard.yaml").read_text())
    return Site(**values, folder=UNIVERSITY)


def files() -> dict[str, dict[str, object]]:
    return {
        file.stem: yaml.safe_load(file.read_text())
        for file in sorted((UNIVERSITY / "courses").glob("*.yaml"))
    }


def test_every_key_is_shown() -> None:
    shown = {key for values in files().values() for key in values}
    assert set(Course.model_fields) - NOT_KEYS - shown == set()
    overrides = {
        key
        for values in files().values()
        for key in values.get("kubespawner_override", {})  # type: ignore[attr-defined]
    }
    assert set(Override.model_fields) - {"site_allowed"} - overrides == set()


def test_it_loads_without_a_problem(site: Site) -> None:
    snapshot = Registry(site, load_catalog(site)).refresh()
    assert [str(problem) for problem in snapshot.problems] == []
    assert len(snapshot.courses) == 6


def test_who_may_start_what(site: Site) -> None:
    catalog = load_catalog(site)
    courses = Registry(site, catalog).refresh().courses
    people = load_people(site.path(site.people.file), site.people)
    assert len(people) == 6
    now = datetime(2026, 11, 24, 12, tzinfo=site.tz)

    def may(username: str) -> set[str]:
        found = set()
        for target in [*courses, *[f"{slug}-instructor" for slug in courses]]:
            try:
                plan_server(
                    site, Known(courses, catalog), people[username], Target.parse(target), now
                )
            except DeniedError:
                continue
            found.add(target)
        return found

    assert may("omar") == {"algo2026", "stats"}
    assert may("maija") == {"algo2026", "stats", "scip", "scip-gpu"}
    teaching = {target for target in may("ada") if target.endswith("-instructor")}
    assert teaching == {"algo2026-instructor", "ml2027-instructor"}
    teaching = {target for target in may("tomas") if target.endswith("-instructor")}
    assert teaching == {"algo2026-instructor", "scip-instructor", "scip-gpu-instructor"}
    assert not any(target.endswith("-instructor") for target in may("helmi") | may("ilkka"))


def test_the_assignments_hold_all_kinds_of_cells() -> None:
    kinds, sources = set(), ""
    for file in (UNIVERSITY / "course").rglob("source/*/*.ipynb"):
        for cell in json.loads(file.read_text())["cells"]:
            about = cell["metadata"].get("nbgrader")
            sources += "".join(cell["source"])
            if about:
                kinds.add((cell["cell_type"], about["grade"], about["solution"], about["task"]))
            assert not cell.get("outputs")
    assert ("code", True, False, False) in kinds, "graded by tests"
    assert ("markdown", True, True, False) in kinds, "a text graded by hand"
    assert ("code", True, True, False) in kinds, "a program graded by hand"
    assert ("markdown", False, False, True) in kinds, "a task"
    assert "### BEGIN HIDDEN TESTS" in sources
