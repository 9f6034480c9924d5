"""The course page's offers: who sees which cards, in which order, how many."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from courseyard.access import Relation, Role, Target
from courseyard.errors import Problem
from courseyard.hub.home.offers import FOUND, MORE, Card, Offers, Running, offers
from courseyard.people.person import Group, Person
from courseyard.registry.course import Course, server_name
from courseyard.registry.lifecycle import State
from courseyard.registry.snapshot import Snapshot, Stale
from courseyard.settings import Environment, PeopleSettings, Site

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SITE = Site(
    people=PeopleSettings(administrators=("admin",), test_students=("tessa",)),
    environments={
        "python": Environment(name="Python"),
        "r": Environment(name="R", description="d"),
    },
)


def course(slug: str, **values: Any) -> Course:
    for key in ("instructors", "students"):
        values[key] = frozenset(values.get(key, ()))
    return Course(**{"slug": slug, "name": slug.title(), "gid": 30000} | values)


def person(name: str, *groups: str) -> Person:
    members = frozenset(Group(group, 39000) for group in groups)
    return Person(name, 21000, 20000, members, email=f"{name}@example.org")


def page(courses: list[Course], who: Person | str, **more: Any) -> Offers:
    running: Mapping[str, Running] = more.pop("running", {})
    stale = more.pop("stale", {})
    snapshot = snapshot_of(courses, stale)
    reader = person(who) if isinstance(who, str) else who
    return offers(SITE, snapshot, reader, running, NOW, **more)


def slugs(result: Offers) -> list[str]:
    return [card.slug for card in result.cards]


def card(result: Offers, slug: str) -> Card:
    return next(c for c in result.cards if c.slug == slug)


def many(count: int, **values: Any) -> list[Course]:
    return [course(f"p{i:04d}", **values) for i in range(count)]


def run(slug: str, role: Role = Role.STUDENT) -> dict[str, Running]:
    name = server_name(slug, instructor=role is Role.INSTRUCTOR)
    return {name: Running(Target(role, slug), NOW)}


def test_few_public_courses_beside_ones_own() -> None:
    courses = [*many(100), course("zz", private=True, students={"stu"})]
    result = page(courses, "stu")
    assert len(result.cards) == MORE + 1
    assert "zz" in slugs(result)
    assert result.total == 101


def test_nobody_sees_what_is_hidden() -> None:
    courses = [
        course("private", private=True),
        course("draft", public_date=NOW + timedelta(days=1)),
        course("old", archive=True, instructors={"ines"}),
    ]
    assert page(courses, "nobody") == page([], "nobody")
    assert slugs(page(courses, "nobody", search="private")) == []
    assert slugs(page(courses, "ines")) == []


def test_own_by_every_list_and_by_group() -> None:
    courses = [
        *many(50),
        course("a", private=True, instructors={"x"}),
        course("b", private=True, students={"x"}),
        course("c", private=True, manager=("x",)),
        course("d", private=True, supervisor=("x@example.org",)),
        course("e", private=True),
    ]
    assert set(slugs(page(courses, person("x", "jupyter-e", "e")))) >= {"a", "b", "c", "d", "e"}
    assert page(courses, person("x", "jupyter-e")).total == 55


def test_defaults_and_running_ones_are_always_there() -> None:
    courses = [*many(50), course("zd", default=True), course("zr")]
    result = page(courses, "stu", running=run("zr"))
    assert slugs(result)[0] == "zr"
    assert "zd" in slugs(result)
    assert len(result.cards) == MORE + 2


def test_order_running_then_recent_then_title() -> None:
    courses = [course(s) for s in ("c", "b", "a", "e", "d")]
    result = page(courses, "stu", running=run("d"), recent=["e", "c"])
    assert slugs(result) == ["d", "e", "c", "a", "b"]


def test_a_person_in_several_roles_sees_each() -> None:
    result = page([course("x", instructors={"ines"}, students={"ines"})], "ines")
    one = card(result, "x")
    assert one.roles == {Relation.INSTRUCTOR, Relation.STUDENT}
    assert [s.target.role for s in one.starts] == [Role.INSTRUCTOR, Role.STUDENT]
    assert [s.server_name for s in one.starts] == ["x-instructor", "x"]
    assert [s.target.role for s in card(page([course("x")], "stu"), "x").starts] == [Role.STUDENT]


def test_running_is_of_the_role_that_runs() -> None:
    result = page([course("x", instructors={"ines"})], "ines", running=run("x", Role.INSTRUCTOR))
    teaching, student = card(result, "x").starts
    assert teaching.running is not None
    assert student.running is None


def test_a_running_server_of_a_course_archived_meanwhile_can_be_stopped_by_its_teacher() -> None:
    courses = [course("x", archive=True, instructors={"ines"})]
    result = page(courses, "ines", running=run("x", Role.INSTRUCTOR))
    one = card(result, "x")
    assert one.state is State.ARCHIVED
    assert [s.target.role for s in one.starts] == [Role.INSTRUCTOR]


def test_a_running_server_can_be_stopped_whatever_became_of_its_course() -> None:
    """Hidden or archived after the start: the server stays in sight, nothing else of the course."""
    for how in ({"private": True}, {"archive": True}):
        courses = [course("x", **how)]
        one = card(page(courses, "stu", running=run("x")), "x")
        assert [s.target.role for s in one.starts] == [Role.STUDENT]
        assert one.running
        assert slugs(page(courses, "stu")) == []


def test_an_archived_course_is_found_by_its_staff_alone() -> None:
    courses = [course("old", archive=True, instructors={"ines"}, manager=("manu",))]
    found = page(courses, "ines", search="old")
    assert slugs(found) == ["old"]
    assert card(found, "old").starts == ()
    assert slugs(page(courses, "manu", search="old")) == ["old"]
    assert slugs(page(courses, "admin", search="old")) == []


def test_search_finds_all_that_one_may_see() -> None:
    hidden = [course(f"alg-h{i:04d}", private=True) for i in range(500)]
    result = page([*hidden, course("alg-zz"), *many(30)], "stu", search=" ALG ")
    assert slugs(result) == ["alg-zz"]
    assert not result.more
    result = page(many(200), "stu", search="p0")
    assert len(result.cards) == FOUND
    assert result.more


@pytest.mark.parametrize("who", ["admin", "tessa"])
def test_administrators_and_test_students_find_private_ones(who: str) -> None:
    courses = [course("x", private=True), *many(3)]
    assert slugs(page(courses, who, search="x")) == ["x"]
    assert page(courses, who).total == 4


def test_a_mistake_in_a_file_is_shown_to_its_staff_alone() -> None:
    problem = Problem(Path("x.yaml"), 3, "uid", "wrong")
    stale = {"x": Stale(NOW, (problem,))}
    courses = [course("x", instructors={"ines"}, complete=False)]
    student = card(page(courses, "stu", stale=stale), "x")
    assert (student.stale_since, student.problems, student.incomplete) == (None, (), False)
    teacher = card(page(courses, "ines", stale=stale), "x")
    assert (teacher.stale_since, teacher.problems, teacher.incomplete) == (NOW, (problem,), True)


def test_environments_are_in_the_sites_order() -> None:
    running = {"general-r-env": Running(Target(Role.GENERAL, environment="r"), NOW)}
    result = page([], "stu", running=running)
    assert [(e.key, e.title, e.description) for e in result.environments] == [
        ("python", "Python", ""),
        ("r", "R", "d"),
    ]
    assert result.environments[1].start.running is not None
    assert str(result.environments[1].start.target) == "general/r"


def test_a_server_whose_course_is_gone_breaks_nothing() -> None:
    assert slugs(page([course("x")], "stu", running={"gone": Running(None, NOW)})) == ["x"]


def snapshot_of(courses: list[Course], stale: dict[str, Any]) -> Snapshot:
    return Snapshot(UTC).changed({c.slug: c for c in courses}, (), stale, NOW)
