"""Plans of the example university, made by ``plan_server``, run and looked at from inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from tests.bait import Bait
from tests.conftest import Yard

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

#: Rights of every process, and of each set-uid program (`su`, `mount`, `sudo`, …) while it runs.
PROCESSES = """
import os, stat, subprocess
def rights(number):
    with open(f"/proc/{number}/status") as file:
        found = {key: words.split() for key, _, words in (line.partition(":") for line in file)}
    sets = ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd")
    return [found["Uid"], found["Gid"], *(int(found[key][0], 16) for key in sets), found["NoNewPrivs"]]
def gives_rights(path):
    try:
        mode = os.stat(path).st_mode
        special = mode & 0o6000 or "security.capability" in os.listxattr(path)
        return bool(special) and stat.S_ISREG(mode) and os.access(path, os.X_OK)
    except OSError:
        return False
def started(path):
    with subprocess.Popen([path], stdin=subprocess.PIPE, stdout=-3, stderr=-3) as process:
        found = rights(process.pid)
        process.kill()
    return found
folders = {os.path.realpath(f) for f in ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin")}
files = [os.path.join(f, name) for f in folders if os.path.isdir(f) for name in os.listdir(f)]
value = {f"process {n}": rights(n) for n in os.listdir("/proc") if n.isdigit()}
value |= {path: started(path) for path in files if gives_rights(path)}
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


def test_trap_8_nobody_is_root_or_becomes_it(started: Any, university: University) -> None:
    """Trap 8: servers started as root with sudo granted."""
    plan, inside = started
    found = inside.run(PROCESSES)
    sandbox, real = isinstance(university.yard, Yard), university.yard.real
    if sandbox:
        # bubblewrap itself, which made the namespaces and waits: root's where root runs it, and
        # without any capability; it starts nothing more.
        _, _, *capabilities, _, no_new_rights = found.pop("process 1")
        assert set(capabilities) == {0}
        assert no_new_rights == ["1"]
        assert inside.run("value = open('/proc/1/comm').read()") == "bwrap\n"
    assert any(name.startswith("process") for name in found)
    assert "/usr/bin/mount" in found or not sandbox, "no set-uid program was tried"
    who = plan.identity
    for name, (uids, gids, *capabilities, no_new_rights) in found.items():
        assert uids == [str(who.uid)] * 4, name
        assert gids == [str(who.gid)] * 4, name
        # An ordinary user cannot empty the last, which bounds what set-uid programs could give.
        assert set(capabilities if real else capabilities[:-1]) == {0}, name
        assert no_new_rights == ["1"], name


def test_trap_8_files_are_data_to_the_agent(make_yard: Callable[..., Yard]) -> None:
    """Trap 8: hooks were executed from files. Where a mark could be left is out of every server."""
    yard, bait = make_yard(EXAMPLE), Bait()
    courses = yard.folder / "courses"
    with (courses / "algo2026.yaml").open("a") as file:
        file.write(f"nbgrader_config: |\n  {bait.python}")
    bait.courses(courses)
    university = University(yard, yard.site)
    assert not set(university.known.courses) & {"evil", "hooks"}
    plans = [
        university.plan(*who) for who in (("ada", "algo2026-instructor"), ("omar", "algo2026"))
    ]
    assert all(plan.nbgrader.extra_lines == bait.python for plan in plans)
    for turn in ("makes the folders", "finds what lies there"):
        for plan in plans:
            inside = yard.start(plan)
            seen = inside.run("import os\nvalue = os.path.exists('/notebooks/hooks.py')")
            assert seen == (turn == "finds what lies there")
            yard.stop(inside.handle, now=True)
            assert yard.poll(inside.handle) is not None
        for folder in ("course/algo2026/files", "course/algo2026/data", "u/01/ada", "u/04/omar"):
            bait.plant(yard.storage / folder)
    assert bait.untouched(courses)


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
