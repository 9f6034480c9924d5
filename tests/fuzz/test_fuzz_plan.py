"""Plans of random universities: what no plan may hold, whoever asks for what."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePosixPath

from cases import cases
from hypothesis import given
from test_fuzz_access import is_instructor, what_counts
from universities import CATALOG, SEEDS, SLUGS, Dice, make_courses, make_person, make_site

from courseyard.access import Role, Target
from courseyard.agent.checks import check_plan
from courseyard.errors import DeniedError, PlanError
from courseyard.people.person import Person
from courseyard.plan.build import Known, plan_server
from courseyard.plan.model import Mount, ServerPlan
from courseyard.registry.course import Course
from courseyard.settings import Site

Made = tuple[ServerPlan, Site, dict[str, Course], Person, datetime]


def make_plan(seed: int) -> Made | None:
    """A plan and what it was made from; None where the person gets none."""
    dice = Dice(seed)
    site, known, person, now = make_site(dice), make_courses(dice), make_person(dice), dice.moment()
    slug = dice.choice((*known, dice.choice(SLUGS)))
    general = dice.choice(("general", "general/r", "general/x"))
    wish = dice.choice((slug, f"{slug}-instructor", f"{slug}-instructor", general))
    if dice.flag() and slug in known:  # somebody who gets in
        names = frozenset({person.username})
        known[slug] = known[slug].model_copy(update={"instructors": names, "archive": False})
    with contextlib.suppress(DeniedError, PlanError):
        plan = plan_server(site, Known(known, CATALOG), person, Target.parse(wish), now)
        return plan, site, known, person, now
    return None


def at(plan: ServerPlan, place: str) -> Mount | None:
    return next((m for m in plan.mounts if m.target == place), None)


def all_mounts(plan: ServerPlan) -> Iterator[Mount]:
    yield from plan.mounts
    if plan.grading is not None:
        yield from plan.grading.mounts


def home_of(known: dict[str, Course], course: Course) -> Course:
    return known[course.coursedir_slug] if course.coursedir_slug else course


@cases(800)
@given(SEEDS)
def test_every_plan(seed: int) -> None:
    made = make_plan(seed)
    if made is None:
        return
    plan, site, known, person, now = made
    check_places(plan, site, person)
    check_identity(plan, site)
    check_course(plan, site, known, person, now)
    check_public(plan, site, known, person, now)
    check_environment(plan)
    assert ServerPlan.from_json(plan.to_json()) == plan
    # The agent asks once more; what the hub plans it must not refuse.
    check_plan(site, CATALOG, plan)


def check_places(plan: ServerPlan, site: Site, person: Person) -> None:
    """Nothing lies outside the storage or is mounted where it does not belong, or twice."""
    root = re.escape(site.storage.public_root)
    own = f"u/{person.uid % 100:02d}/{person.username}"
    name = r"[a-z0-9][a-z0-9_-]{0,39}"
    allowed = {
        r"/notebooks": re.escape(own),
        rf"{root}/u/[0-9]{{2}}/[^/]+": re.escape(own),
        rf"{root}/shareddata": "shareddata",
        rf"{root}/software": "software",
        rf"{root}/course/({name})/(files|data)": r"course/\1/\2",
        r"/course": rf"course/{name}/files",
        r"/coursedata": rf"course/{name}/data",
        r"/coursedata/users/([^/]+)": rf"course/{name}/data/users/{re.escape(person.username)}",
        r"/srv/nbgrader/exchange": rf"exchange/{name}",
        r"/srv/nbgrader/people": rf"course/{name}/people",
    }
    for mount in all_mounts(plan):
        fits = [(p, s) for p, s in allowed.items() if re.fullmatch(p, mount.target)]
        assert len(fits) == 1, mount
        place, source = fits[0]
        wanted = re.fullmatch(place, mount.target)
        assert wanted
        if "\\1" in source:
            assert mount.source == wanted.expand(
                source.replace(r"\1", r"\g<1>").replace(r"\2", r"\g<2>")
            )
        else:
            assert re.fullmatch(source, mount.source), mount
        assert ".." not in PurePosixPath(mount.source).parts
        assert str(PurePosixPath(mount.source)) == mount.source
        if mount.source.startswith(("software",)) or mount.source.endswith("/people"):
            assert not mount.writable
    targets = [m.target for m in plan.mounts]
    assert len(set(targets)) == len(targets)
    for index, target in enumerate(targets):  # parents first
        assert not any(target.startswith(later + "/") for later in targets[index + 1 :])


def check_identity(plan: ServerPlan, site: Site) -> None:
    who = plan.identity
    assert 1000 <= who.uid <= site.people.max_uid
    groups = [who.gid, *(g.gid for g in who.supplementary)]
    assert all(1000 <= gid < 2**31 for gid in groups)
    assert len(set(groups)) == len(groups)
    assert 0 <= who.umask <= 0o777
    assert not who.umask & 0o700
    if plan.role is Role.INSTRUCTOR:
        assert who.umask == 0o007
    else:
        assert who.gid == site.people.users_group.gid
        assert plan.grading is None
    if plan.grading is not None:
        graded = plan.grading.identity
        assert graded.uid > site.people.max_uid
        assert graded.gid == site.people.users_group.gid
        assert not any(m.writable for m in plan.grading.mounts)
        for mount in plan.grading.mounts:
            assert re.fullmatch(r"shareddata|software|course/[^/]+/data", mount.source)


def check_course(
    plan: ServerPlan, site: Site, known: dict[str, Course], person: Person, now: datetime
) -> None:
    """The course's own folders: who sees them, who writes."""
    course = known.get(plan.course)
    folder, data, exchange = (
        at(plan, p) for p in ("/course", "/coursedata", "/srv/nbgrader/exchange")
    )
    teaching = plan.role is Role.INSTRUCTOR
    assert (folder is not None) == teaching
    assert (at(plan, "/srv/nbgrader/people") is not None) == teaching
    if course is None or course.gid is None:
        assert not teaching
        assert data is exchange is plan.nbgrader is None
        return
    assert what_counts(course, now) != "archived"
    assert not teaching or is_instructor(site, course, person)
    home = home_of(known, course)
    closed = what_counts(home, now) == "archived"
    if folder is not None:
        assert folder.source == f"course/{home.slug}/files"
        assert folder.writable != closed
        assert plan.identity.gid == home.gid
    assert (data is not None) == course.datadir
    if data is not None:
        student_writes = course.datadir_readwrite and home.datadir_readwrite
        assert data.writable == ((teaching or student_writes) and not closed)
    listed = is_instructor(site, course, person) or person.username in course.students
    assert exchange is not None
    assert exchange.source == f"exchange/{home.slug}"
    assert exchange.writable == ((listed or not course.restrict_submit) and not closed)
    check_nbgrader(plan, home, teaching)


def check_nbgrader(plan: ServerPlan, home: Course, teaching: bool) -> None:
    nbgrader = plan.nbgrader
    assert nbgrader is not None
    assert (nbgrader.formgrader, nbgrader.create_assignment) == (teaching, teaching)
    assert bool(nbgrader.append_file) == teaching
    assert nbgrader.config["CourseDirectory"]["course_id"] == home.slug
    assert nbgrader.config["CourseDirectory"]["root"] == "/course"
    assert nbgrader.config["Exchange"]["root"] == "/srv/nbgrader/exchange"
    assert ("db_url" in nbgrader.config["CourseDirectory"]) == teaching


def check_public(
    plan: ServerPlan, site: Site, known: dict[str, Course], person: Person, now: datetime
) -> None:
    """Courses at their public paths: never for a student's server, only what the person teaches."""
    prefix = f"{site.storage.public_root}/course/"
    seen = [m for m in plan.mounts if m.target.startswith(prefix)]
    if plan.role is Role.STUDENT:
        assert seen == []
        extra = {g for _, g in known[plan.course].extra_student_groups}
        assert {g.gid for g in plan.identity.supplementary} <= extra
        return
    taught = [c for c in known.values() if c.gid is not None and is_instructor(site, c, person)]
    for mount in seen:
        slug = mount.target.removeprefix(prefix).split("/")[0]
        through = [c for c in taught if c.slug == slug or c.coursedir_slug == slug]
        assert through, mount
        home = known[slug]
        open_ones = [c for c in through if what_counts(c, now) != "archived"]
        assert mount.writable == (bool(open_ones) and what_counts(home, now) != "archived")


def check_environment(plan: ServerPlan) -> None:
    grading = plan.grading.environment if plan.grading else {}
    for environment in (plan.environment, grading):
        for name, value in environment.items():
            assert not re.search("TOKEN|SECRET|PASSWORD", name)
            assert not name.startswith(("JUPYTERHUB_", "JPY_", "COURSEYARD_"))
            assert "\0" not in value
    ours = plan.environment
    assert (ours["HOME"], ours["NB_USER"]) == (plan.identity.home, plan.identity.username)
    assert ours.get("NB_COURSE", "") == plan.course
    assert ("COURSEDATA" in ours) == (at(plan, "/coursedata") is not None) or ours[
        "COURSEDATA"
    ] in ("site", "course")
    assert ("/course/pymod" in ours["PYTHONPATH"]) == (plan.role is Role.INSTRUCTOR)
    assert int(ours["OMP_NUM_THREADS"]) >= 1
    assert "/course" not in grading.get("PYTHONPATH", "").split(":")[0]


@cases(300)
@given(SEEDS)
def test_the_next_plan_holds_nothing_of_the_last(seed: int) -> None:
    """The same wish gives the same plan, whatever was planned in between."""
    made = make_plan(seed)
    if made is None:
        return
    plan, site, known, person, now = made
    wish = f"{plan.course}-instructor" if plan.role is Role.INSTRUCTOR else plan.course
    wish = wish or next(
        f"general/{key}" for key in site.environments if f"-{key}-" in plan.server_name
    )
    for slug in known:
        with contextlib.suppress(DeniedError, PlanError):
            plan_server(site, Known(known, CATALOG), person, Target.parse(slug), now)
    again = plan_server(site, Known(known, CATALOG), person, Target.parse(wish), now)
    assert again == plan


def test_all_kinds_of_plans_are_among_them() -> None:
    """The generator makes what the checks above are about."""
    found = [made[0] for seed in range(600) if (made := make_plan(seed)) is not None]
    for role in Role:
        assert sum(plan.role is role for plan in found) > 20
    public = [m for plan in found for m in plan.mounts if m.target.count("/course/")]
    assert any(m.writable for m in public)
    assert any(not m.writable for m in public)
    exchanges = [m for plan in found if (m := at(plan, "/srv/nbgrader/exchange"))]
    assert any(m.writable for m in exchanges)
    assert any(not m.writable for m in exchanges)
    assert any(at(plan, "/coursedata") for plan in found)
