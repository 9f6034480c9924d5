"""Plans of the example university, made by ``plan_server``, run and looked at from inside."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from courseyard.access import Target
from courseyard.errors import DeniedError, UnsupportedError
from courseyard.images.catalog import load_catalog
from courseyard.people import open_people
from courseyard.plan.build import Known, plan_server
from courseyard.registry.watch import Registry
from courseyard.settings import Site
from courseyard.sitefile import load_site

EXAMPLE = Path(__file__).parents[2] / "examples" / "university"
NOW = datetime(2026, 11, 2, 10, tzinfo=UTC)
CASES = [
    ("omar", "general"),
    ("ada", "general/classic"),
    ("omar", "algo2026"),
    ("omar", "stats"),
    ("ada", "algo2026-instructor"),
    ("ada", "algo2026"),
    ("maija", "scip"),
    ("helmi", "scip"),
    ("tomas", "scip-instructor"),
    ("ilkka", "algo2026"),
    ("ada", "ml2027-instructor"),
]
RIGHTS = """
import os
def rights(path):
    listing = writing = False
    try:
        os.listdir(path); listing = True
    except OSError: pass
    name = os.path.join(path, ".probe-" + os.urandom(4).hex())
    try:
        open(name, "w").close(); writing = True
        os.unlink(name)
    except OSError: pass
    return [listing, writing]
"""


class University:
    def __init__(self, yard: Any, site: Site) -> None:
        self.yard = yard
        self.site = site
        self.catalog = load_catalog(site)
        registry = Registry(site, self.catalog)
        self.known = Known(registry.refresh().courses, self.catalog)
        self.people = open_people(site)

    def plan(self, username: str, target: str) -> Any:
        person = self.people.get_now(username)
        return plan_server(self.site, self.known, person, Target.parse(target), NOW)


@pytest.fixture(scope="module", params=["sandbox", "pods"])
def university(request: Any) -> University:
    if request.param == "pods":
        return University(request.getfixturevalue("pods"), load_site(EXAMPLE))
    yard = request.getfixturevalue("make_yard")(EXAMPLE)
    return University(yard, yard.site)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case).replace("/", "-"))
def started(request: Any, university: University) -> Iterator[Any]:
    plan = university.plan(*request.param)
    inside = university.yard.start(plan)
    yield plan, inside
    university.yard.stop(inside.handle, now=True)


def test_mounts_are_the_plans(started: Any) -> None:
    plan, inside = started
    found = set(inside.run("value = [l.split()[1] for l in open('/proc/mounts')]"))
    assert {m.target for m in plan.mounts} <= found
    shared = {"/notebooks", "/course", "/coursedata", "/srv/nbgrader/exchange"}
    public = {p for p in found if p.startswith("/m/jupyter/")}
    assert (found & shared) | public <= {m.target for m in plan.mounts}


def test_rights_are_the_plans(started: Any, university: University) -> None:
    plan, inside = started
    teaching = plan.role == "instructor"
    for mount in plan.mounts:
        listing, writing = inside.run(f"{RIGHTS}\nvalue = rights({mount.target!r})")
        if not mount.writable:
            assert not writing, mount.target
        by_permissions = mount.source == "shareddata" or (
            mount.source.startswith("exchange/") and not teaching and university.yard.real
        )
        if mount.writable and not by_permissions:
            assert writing, mount.target
        assert listing, mount.target


def test_exchange_lets_submit_exactly_whom_the_plan_says(
    started: Any, university: University
) -> None:
    plan, inside = started
    exchange = next((m for m in plan.mounts if m.target == "/srv/nbgrader/exchange"), None)
    if exchange is None:
        assert not inside.run("import os\nvalue = os.path.exists('/srv/nbgrader')")
        return
    slug = exchange.source.partition("/")[2]
    inbound = f"/srv/nbgrader/exchange/{slug}/inbound"
    listing, writing = inside.run(f"{RIGHTS}\nvalue = rights({inbound!r})")
    assert writing == exchange.writable
    if university.yard.real:
        assert listing == (plan.role == "instructor")


def test_identity_umask_and_environment(started: Any, university: University) -> None:
    plan, inside = started
    who = plan.identity
    found = inside.run(
        "import os\nmask = os.umask(0); os.umask(mask)\n"
        "value = [os.getuid(), os.getgid(), sorted(os.getgroups()), mask, dict(os.environ)]"
    )
    assert found[0] == who.uid
    assert found[1] == who.gid
    assert found[3] == who.umask
    if university.yard.real:
        # A container's runtime lists the primary group among the others; that gives no right.
        assert set(found[2]) - {who.gid} == {g.gid for g in who.supplementary} - {who.gid}
    for name, value in plan.environment.items():
        if name != "PATH":
            assert found[4][name] == value


def test_gpu_course_is_refused_politely(university: University) -> None:
    if university.yard.runs_gpus:
        pytest.skip("a cluster may have GPUs; where it has none: tests/cluster")
    with pytest.raises(UnsupportedError) as caught:
        university.yard.start(university.plan("maija", "scip-gpu"))
    assert "nvidia.com/gpu" in caught.value.message
    assert caught.value.next_step


def test_archived_course_is_nobodys_and_read_only_for_its_teacher(university: University) -> None:
    with pytest.raises(DeniedError):
        university.plan("ada", "algo2025-instructor")
    plan = university.plan("ada", "general")
    old = [m for m in plan.mounts if "algo2025" in m.source]
    assert old
    assert not any(m.writable for m in old)


def test_restricted_exchange_differs_by_person(university: University) -> None:
    """The seed system compared a literal "username": read-only for everyone."""
    rights = {}
    for username in ("maija", "helmi"):
        plan = university.plan(username, "scip")
        rights[username] = next(m.writable for m in plan.mounts if m.source == "exchange/scip")
    assert rights == {"maija": True, "helmi": False}


def test_userdata_is_private_between_students(university: University) -> None:
    inside = university.yard.start(university.plan("maija", "scip"))
    other = university.yard.start(university.plan("helmi", "scip"))
    try:
        inside.run("open('/coursedata/users/maija/x', 'w').close()")
        if university.yard.real:
            code = f"{RIGHTS}\nvalue = rights('/coursedata/users/maija')"
            assert other.run(code) == [False, False]
            found = (university.yard.storage / "course/scip/data/users/maija").stat()
            assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (20003, 21002, 0o750)
    finally:
        university.yard.stop(inside.handle, now=True)
        university.yard.stop(other.handle, now=True)
