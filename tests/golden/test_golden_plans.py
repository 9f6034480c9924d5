"""The plans of the example university, compared with those in the repository; see README.md."""

from __future__ import annotations

import json
import os
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from courseyard.access import Target
from courseyard.errors import DeniedError
from courseyard.images.catalog import load_catalog
from courseyard.people import People, open_people
from courseyard.plan.build import Known, plan_server
from courseyard.plan.model import ServerPlan
from courseyard.registry.watch import Registry
from courseyard.settings import Site
from courseyard.sitefile import load_site

HERE = Path(__file__).parent
EXAMPLE = HERE.parent.parent / "examples" / "university"
UPDATE = os.environ.get("COURSEYARD_UPDATE_GOLDEN") == "1"
NOW = datetime(2026, 11, 24, 12, tzinfo=ZoneInfo("Europe/Helsinki"))

#: For each kind of course, everyone who is something else to it.
PLANS = [
    # light computing: a general user, a teacher
    "omar.general",
    "omar.general/classic",
    "ada.general",
    "tomas.general",
    # a public course: student, manager, administrator, instructor, instructor in student mode
    "omar.algo2026",
    "helmi.algo2026",
    "ilkka.algo2026",
    "ada.algo2026-instructor",
    "ada.algo2026",
    # a private one: listed student, test student, administrator, instructor in both modes
    "maija.scip",
    "helmi.scip",
    "ilkka.scip",
    "tomas.scip-instructor",
    "tomas.scip",
    # its variant with a GPU
    "maija.scip-gpu",
    "tomas.scip-gpu-instructor",
    # one that opens next year
    "ada.ml2027-instructor",
    "helmi.ml2027",
    # just an environment
    "omar.stats",
]


@cache
def example() -> tuple[Site, Known, People]:
    site = load_site(EXAMPLE)
    catalog = load_catalog(site)
    snapshot = Registry(site, catalog).refresh()
    assert not [p for p in snapshot.problems if p.is_error]
    known = Known(snapshot.courses, catalog, named=snapshot.of_instructor)
    return site, known, open_people(site)


def plan(who: str, target: str) -> ServerPlan:
    site, known, people = example()
    return plan_server(site, known, people.get_now(who), Target.parse(target), NOW)


def compare(file: Path, value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    if UPDATE:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.exists(), f"{file.name} is missing: see tests/golden/README.md"
    assert value == json.loads(file.read_text(encoding="utf-8"))
    assert text == file.read_text(encoding="utf-8")


def file_of(name: str) -> Path:
    return HERE / "plans" / f"{name.replace('/', '-')}.json"


@pytest.mark.parametrize("name", PLANS)
def test_plan(name: str) -> None:
    who, target = name.split(".", 1)
    value = json.loads(plan(who, target).to_json())
    if value["image"]["path"]:
        value["image"]["path"] = str(Path(value["image"]["path"]).relative_to(EXAMPLE))
    compare(file_of(name), value)


def test_decisions() -> None:
    site, known, _ = example()
    targets = [f"general/{key}" for key in site.environments]
    for slug in sorted(known.courses):
        targets += [slug, f"{slug}-instructor"]
    found: dict[str, dict[str, str]] = {}
    for who in ("ada", "tomas", "maija", "omar", "helmi", "ilkka"):
        for target in targets:
            try:
                reason = plan(who, target).reasons["access"]
                rule = "yes, " + reason.partition(":")[0]
            except DeniedError as error:
                rule = "no, " + error.detail.removeprefix("rule ").partition(":")[0]
            found.setdefault(target, {})[who] = rule
    compare(HERE / "decisions.json", found)


def test_no_file_is_left_over() -> None:
    wanted = {file_of(name) for name in PLANS}
    assert set((HERE / "plans").glob("*")) == wanted


def test_no_file_holds_a_path_of_one_machine() -> None:
    for file in HERE.rglob("*.json"):
        assert str(EXAMPLE.parent.parent) not in file.read_text(encoding="utf-8"), file
