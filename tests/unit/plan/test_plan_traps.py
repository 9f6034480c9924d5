"""Traps of the seed system (DOMAIN.md): each test here would fail on it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courseyard.access import Target, taught
from courseyard.errors import CourseyardError
from courseyard.people.person import Group, Person
from courseyard.plan.build import Known, plan_server
from courseyard.plan.explain import explain
from courseyard.plan.model import Mount, ServerPlan
from courseyard.registry.course import Course, Override
from courseyard.settings import Site

World = Any
Find = Callable[[ServerPlan, str], Mount | None]
EXCHANGE = "/srv/nbgrader/exchange"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("who", "target", "writable"),
    [
        ("stu", "r", True),  # the seed compared with the word "username": read-only for all
        ("ines", "r", True),
        ("ines", "r-instructor", True),
        ("username", "r", False),
        ("nobody", "r", False),
        ("admin", "r", False),
        ("tessa", "r", False),
        ("nobody", "algo", True),
    ],
)
def test_trap_1_restrict_submit_looks_at_who_it_is(
    world: World, mount: Find, who: str, target: str, writable: bool
) -> None:
    world.course("r", restrict_submit=True, students={"stu"}, instructors={"ines"})
    found = mount(world.plan(who, target), EXCHANGE)
    assert found is not None
    assert found.writable is writable
    assert ("restrict_submit" in found.reason) is not writable


@pytest.mark.parametrize(
    "how",
    [
        {"archive": True},
        {"archive_date": NOW - timedelta(days=1)},
        {"delete_date": NOW - timedelta(days=1)},
        {"archive": True, "public_date": NOW - timedelta(days=1)},
    ],
)
def test_trap_2_an_archived_course_is_never_writable(world: World, how: dict[str, Any]) -> None:
    world.course("old", instructors={"ines"}, datadir=True, datadir_readwrite=True, **how)
    for target in ("general", "algo-instructor"):
        seen = [m for m in world.plan("ines", target).mounts if "/old" in m.source]
        assert {m.target for m in seen} == {"/m/uni/course/old/files", "/m/uni/course/old/data"}
        assert not any(m.writable for m in seen)
        assert all("archived" in m.reason for m in seen)


@pytest.mark.parametrize("course_is_there", [True, False])
def test_trap_4_a_group_or_course_that_is_missing_costs_itself(
    world: World, course_is_there: bool
) -> None:
    """A course without its group, and a group without its course: others' groups still count."""
    if course_is_there:
        world.course("testcourse")
    groups = ("jupyter-algo",) if course_is_there else ("jupyter-testcourse", "jupyter-algo")
    person = world.person("grete", *groups)
    assert world.plan(person, "algo-instructor").identity.group == "jupyter-algo"
    for named in (None, ()):  # without the registry's index, and with it as the hub looks up
        found = taught(world.site, world.courses, person, named)
        assert [course.slug for course in found] == ["algo"]


NASTY = [
    'It\'s "quoted" $(touch /tmp/x) `id` ; rm -rf ~',
    "line\nbreak\r\n'''\nimport os",
    "</script><b>bold</b>&amp;",
    "\\x00 \\ {} %s {0} ${HOME}",
    "\u202egnp.\u2066 \x1b[31mred",
]


@pytest.mark.parametrize("text", NASTY)
def test_trap_5_values_travel_as_data(world: World, text: str) -> None:
    world.course(
        "nasty",
        name=text,
        instructors={"ines"},
        nbgrader_config=text,
        kubespawner_override=Override(environment={"X": text}),
    )
    person = Person("ines", 21007, 20000, frozenset(), text, "a@b")
    plan = world.plan(person, "nasty-instructor")
    back = ServerPlan.from_json(plan.to_json())
    assert back == plan
    assert back.title == back.identity.full_name == back.environment["X"] == text
    assert json.loads(plan.to_json())["nbgrader"]["extra_lines"] == text
    # And an administrator who prints it sees one printable line for each value.
    assert all(line.isprintable() for line in explain(plan))


def test_trap_5_a_username_cannot_leave_its_folder(world: World) -> None:
    people = world.site.people.model_copy(update={"username_pattern": ".*"})
    world.site = world.site.model_copy(update={"people": people})
    for name in ("../02/olli", "a/b", "..", ".", ""):
        with pytest.raises(CourseyardError):
            world.plan(world.person(name), "general")


SLUGS = ("a", "b", "c", "d")
USERS = ("ines", "stu", "otto")


def _courses() -> st.SearchStrategy[dict[str, Course]]:
    def one(slug: str) -> st.SearchStrategy[Course]:
        return st.builds(
            Course,
            slug=st.just(slug),
            name=st.text(min_size=1, max_size=20),
            gid=st.one_of(st.none(), st.integers(30000, 30010)),
            instructors=st.frozensets(st.sampled_from(USERS)),
            students=st.frozensets(st.sampled_from(USERS)),
            private=st.booleans(),
            archive=st.booleans(),
            datadir=st.booleans(),
            datadir_readwrite=st.booleans(),
            create_userdata=st.booleans(),
            restrict_submit=st.booleans(),
            coursedir_slug=st.sampled_from([None, None, *(s for s in SLUGS if s != slug)]),
            student_umask=st.sampled_from([None, 0o027, 0o077]),
            extra_student_groups=st.sampled_from([(), (("project", 40000),)]),
            kubespawner_override=st.builds(
                Override,
                mem_limit=st.one_of(st.none(), st.integers(2**28, 2**33)),
                environment=st.dictionaries(st.sampled_from(["X", "Y"]), st.text(max_size=5)),
                extra_resource_limits=st.sampled_from([{}, {"nvidia.com/gpu": "1"}]),
                tolerations=st.sampled_from([(), ({"key": "gpu"},)]),
            ),
        )

    return st.fixed_dictionaries({slug: one(slug) for slug in SLUGS})


TARGETS = st.sampled_from(["general", *SLUGS, *(f"{slug}-instructor" for slug in SLUGS)])
WISHES = st.lists(st.tuples(st.sampled_from(USERS), TARGETS), min_size=1, max_size=12)


def _outcome(known: Known, who: str, target: str) -> ServerPlan | str:
    person = Person(who, 21000 + USERS.index(who), 20000, frozenset({Group("jupyter-a", 5000)}))
    try:
        return plan_server(SITE, known, person, Target.parse(target), NOW)
    except CourseyardError as error:
        return f"{error.reason}: {error.message} {error.detail}"


SITE = Site()


@settings(max_examples=60, deadline=None)
@given(courses=_courses(), wishes=WISHES)
def test_trap_6_nothing_leaks_from_one_plan_to_the_next(
    world_catalog: Any, courses: dict[str, Course], wishes: list[tuple[str, str]]
) -> None:
    """A plan is the same whatever was planned before it, and changes nothing it was made from."""
    before = copy.deepcopy(courses)
    known = Known(courses, world_catalog)
    first = {wish: copy.deepcopy(_outcome(known, *wish)) for wish in wishes}
    for wish in reversed(wishes):
        again = _outcome(Known(copy.deepcopy(courses), world_catalog), *wish)
        assert again == first[wish] == _outcome(known, *wish)
        _spoil(again)
    assert courses == before
    for (who, target), plan in first.items():
        if isinstance(plan, ServerPlan):
            _only_ones_own(courses, plan, who, target)


def _spoil(plan: ServerPlan | str) -> None:
    """What a careless backend could do to the plan it was given."""
    if isinstance(plan, ServerPlan):
        plan.environment["LEAK"] = "1"
        plan.limits.extra_limits["nvidia.com/gpu"] = "8"
        plan.kubernetes.node_selector["leak"] = "1"
        for toleration in plan.kubernetes.tolerations:
            toleration["leak"] = True
        plan.reasons.clear()
        if plan.nbgrader:
            plan.nbgrader.config["CourseDirectory"]["ignore"].append("leak")


def _only_ones_own(courses: dict[str, Course], plan: ServerPlan, who: str, target: str) -> None:
    """No mount, group or device that neither the person nor the course of the target has."""
    own = courses.get(target.removesuffix("-instructor"))
    homes = {c.coursedir_slug or c.slug for c in courses.values() if who in c.instructors}
    homes |= {courses["a"].coursedir_slug or "a"}  # by the institution's group
    taught = set() if own and target == own.slug else homes
    for mount in plan.mounts:
        area, *rest = mount.source.split("/")
        if area == "u":
            assert rest[1] == who
        elif area in ("course", "exchange"):
            assert rest[0] in taught | ({own.coursedir_slug or own.slug} if own else set())
        if target == (own and own.slug):
            assert not re.match(r"course/[^/]+/files", mount.source)
    wanted = own.kubespawner_override.extra_resource_limits if own else {}
    assert plan.limits.extra_limits == wanted


@pytest.fixture(scope="session")
def world_catalog() -> Any:
    from datetime import date

    from courseyard.images.catalog import ImageCatalog, Release

    return ImageCatalog({"DEFAULT": (Release("DEFAULT", date(2026, 9, 1), "py:new"),)})
