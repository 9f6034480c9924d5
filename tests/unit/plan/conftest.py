"""A small university in memory: one of each kind of course, one of each kind of person."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from courseyard.access import Target
from courseyard.images.catalog import ImageCatalog, Release
from courseyard.people.person import Group, Person
from courseyard.plan.build import Known, plan_server
from courseyard.plan.model import Mount, ServerPlan
from courseyard.registry.course import Course
from courseyard.settings import Environment, PeopleSettings, ServerSettings, Site, StorageSettings

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PAST = datetime(2026, 11, 1, tzinfo=UTC)


class World:
    """What a plan is made from; tests change it before they plan."""

    def __init__(self) -> None:
        self.site = Site(
            name="Test",
            timezone="Europe/Helsinki",
            storage=StorageSettings(public_root="/m/uni"),
            people=PeopleSettings(administrators=("admin",), test_students=("tessa",)),
            environments={
                "python": Environment(name="Python"),
                "classic": Environment(
                    name="Old", jupyterlab=False, image=("DEFAULT", "2026-08-31")
                ),
            },
            servers=ServerSettings(marker="TEST_HUB"),
        )
        self.courses: dict[str, Course] = {}
        self.catalog = ImageCatalog(
            {
                "DEFAULT": (
                    Release("DEFAULT", date(2026, 8, 1), "py:old", Path("/images/old"), "Python"),
                    Release("DEFAULT", date(2026, 9, 1), "py:new", Path("/images/new"), "Python"),
                )
            }
        )
        self.course("algo", instructors={"ines"}, students={"stu"})

    def course(self, slug: str, **values: Any) -> Course:
        for key in ("instructors", "students"):
            values[key] = frozenset(values.get(key, ()))
        gid = 30001 + len(self.courses)
        course = Course(**{"slug": slug, "name": slug.title(), "gid": gid, "uid": gid} | values)
        self.courses[slug] = course
        return course

    def person(self, name: str, *groups: str, uid: int = 21007) -> Person:
        members = frozenset(Group(group, 39000) for group in groups)
        return Person(name, uid, 20000, members, f"{name.title()} Person", f"{name}@example.org")

    def plan(self, who: str | Person, target: str) -> ServerPlan:
        person = self.person(who) if isinstance(who, str) else who
        known = Known(self.courses, self.catalog)
        return plan_server(self.site, known, person, Target.parse(target), NOW)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def mount() -> Callable[[ServerPlan, str], Mount | None]:
    def find(plan: ServerPlan, target: str) -> Mount | None:
        return next((m for m in plan.mounts if m.target == target), None)

    return find
