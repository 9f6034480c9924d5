"""A hub that was taken over, at the agent's real socket, with real UIDs.

Each attack is refused and leaves nothing, and each works when the agent does not ask people and
courses itself (`Border` taken away): so it is that wall which holds.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from courseyard.agent.border import Border
from courseyard.errors import (
    AgentRefusedError,
    PlanError,
    SourceDownError,
    UnknownPersonError,
)
from courseyard.people.static import StaticSource
from courseyard.plan.grading import nobodys
from courseyard.plan.model import Grading, StorageKind, StorageNeed
from courseyard.storage import apply

BOB, OTHER = 20102, 20600  # a person's UID, and the GID of another course
READ = "try:\n    value = open({!r}).read()\nexcept OSError as e:\n    value = type(e).__name__"


@pytest.fixture(scope="module")
def yard(make_yard: Callable[..., Any], require: Any) -> Any:
    require("root")
    yard = make_yard()
    other = {"name": "Other", "uid": 20600, "gid": OTHER, "instructors": ["carol"]}
    (yard.folder / "courses" / "other.yaml").write_text(json.dumps(other))
    return yard


@pytest.fixture(scope="module", autouse=True)
def served(yard: Any, make_plan: Any) -> None:
    """Alice, Bob and an instructor have been here, so all folders are made."""
    for plan in (
        make_plan(), make_plan("student", "bob", BOB), make_plan("instructor", "anna", 20301)
    ):  # fmt: skip
        yard.stop(yard.start(plan).handle, now=True)
    secret(yard, "shareddata/of-bob", BOB, 20000)
    secret(yard, "shareddata/of-other", 20600, OTHER)
    secret(yard, "course/algo/files/mark-scheme", 20301, 20500)
    apply.ensure(
        yard.storage, [StorageNeed(kind=StorageKind.COURSE, slug="other", uid=20600, gid=OTHER)]
    )
    secret(yard, "course/other/files/mark-scheme", 20600, OTHER)


def secret(yard: Any, path: str, uid: int, gid: int) -> None:
    (yard.storage / path).write_text("secret")
    (yard.storage / path).chmod(0o640)
    os.chown(yard.storage / path, uid, gid)


@pytest.fixture
def taken_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    async def as_it_is(self: Any, asked: Any) -> Any:
        return asked

    def take() -> None:
        monkeypatch.setattr(Border, "admit", as_it_is)
        monkeypatch.setattr(Border, "admit_needs", as_it_is)

    return take


def tree(yard: Any) -> dict[str, tuple[int, int, int, int]]:
    """Every path of the storage with owner, group, mode and inode."""
    found = {}
    for path in (yard.storage, *sorted(yard.storage.rglob("*"))):
        status = path.lstat()
        found[str(path)] = (status.st_uid, status.st_gid, status.st_mode, status.st_ino)
    return found


def who(plan: Any, **values: Any) -> Any:
    return plan.model_copy(update={"identity": plan.identity.model_copy(update=values)})


def also_mounting(plan: Any, source: str, target: str, writable: bool = True) -> Any:
    mount = plan.mounts[0].model_copy(
        update={"source": source, "target": target, "writable": writable}
    )
    return plan.model_copy(update={"mounts": (*plan.mounts, mount)})


def in_group(plan: Any, name: str, gid: int) -> Any:
    group = plan.identity.supplementary[0].model_copy(update={"name": name, "gid": gid})
    return who(plan, supplementary=(*plan.identity.supplementary, group))


def alice_with_bobs_uid(plan: Any) -> Any:
    own = plan.mounts[0].model_copy(update={"source": "u/02/alice"})
    mounts = (own, *(m for m in plan.mounts if not m.source.startswith("u/")))
    needs = (plan.storage[0], plan.storage[1].model_copy(update={"uid": BOB}))
    return who(plan, uid=BOB).model_copy(update={"mounts": mounts, "storage": needs})


def as_bob(plan: Any) -> Any:
    mounts = tuple(m for m in plan.mounts if not m.source.startswith("u/"))
    plan = plan.model_copy(update={"mounts": mounts, "storage": ()})
    return who(plan, username="bob", uid=BOB, home="/home/bob")


def graded_in_group(plan: Any) -> Any:
    identity = nobodys(in_group(plan, "jupyter-other", OTHER).identity)
    return plan.model_copy(
        update={"grading": Grading(identity=identity, mounts=(), environment={})}
    )


#: Name → the forged plan, and what its server sees when nobody refuses it.
PLANS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "alice with bob's UID": (
        lambda p: alice_with_bobs_uid(p("student")),
        "/m/jupyter/shareddata/of-bob",
    ),
    "another course's group": (
        lambda p: in_group(p("student"), "jupyter-other", OTHER),
        "/m/jupyter/shareddata/of-other",
    ),
    "another course's group as the first": (
        lambda p: who(p("student"), gid=OTHER, group="jupyter-other"),
        "/m/jupyter/shareddata/of-other",
    ),
    "an instructor's folder and group for a student": (
        lambda p: also_mounting(
            in_group(p("student"), "jupyter-algo", 20500), "course/algo/files", "/course"
        ),
        "/course/mark-scheme",
    ),
    "the role of an instructor for a student": (
        lambda p: as_bob(p("instructor", "anna", 20301)),
        "/course/mark-scheme",
    ),
    "another course's files": (
        lambda p: also_mounting(
            in_group(p("student"), "jupyter-other", OTHER), "course/other/files", "/course"
        ),
        "/course/mark-scheme",
    ),
    "no limit that the site has": (
        lambda p: p("student").model_copy(
            update={"limits": p("student").limits.model_copy(update={"mem_limit": 2**40})}
        ),
        "/proc/self/status",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", PLANS)
def test_a_server_that_nobody_may_have(
    yard: Any, make_plan: Any, what: str, taken_away: Callable[[], None]
) -> None:
    forge, seen = PLANS[what]
    before = tree(yard)
    with pytest.raises(AgentRefusedError) as caught:
        yard.start(forge(make_plan))
    assert caught.value.detail
    assert "/" not in caught.value.message + caught.value.next_step
    assert tree(yard) == before
    assert yard.call(yard.client.ping())["servers"] == []
    taken_away()
    inside = yard.start(forge(make_plan))
    try:
        assert not inside.run(READ.format(seen)).endswith("Error")
    finally:
        yard.stop(inside.handle, now=True)


def test_graded_code_in_another_courses_group(
    yard: Any, make_plan: Any, taken_away: Callable[[], None]
) -> None:
    with pytest.raises(AgentRefusedError):
        yard.start(graded_in_group(make_plan("instructor", "anna", 20301)))
    taken_away()
    inside = yard.start(graded_in_group(make_plan("instructor", "anna", 20301)))
    yard.stop(inside.handle, now=True)


def course(**values: Any) -> StorageNeed:
    right = {"slug": "algo", "uid": 20500, "gid": 20500, "datadir": True}
    return StorageNeed(**({"kind": StorageKind.COURSE} | right | values))


NEEDS: dict[str, StorageNeed] = {
    "a course's files for a student": course(uid=BOB),
    "a course's files for all users": course(gid=20000),
    "a course's files for another course": course(gid=OTHER),
    "a course's data that everyone may change": course(datadir_writable=True),
    "an exchange for a student": course(kind=StorageKind.EXCHANGE, uid=BOB, datadir=False),
    "a course that no file knows": course(slug="made-up"),
    "a folder of alice under another UID": StorageNeed(
        kind=StorageKind.USER, username="alice", uid=20203, gid=20000
    ),
    "a folder of nobody": StorageNeed(kind=StorageKind.USER, username="eve", uid=20199, gid=20000),
    "a folder for a course's group": StorageNeed(
        kind=StorageKind.USER, username="carol", uid=20103, gid=20500
    ),
    "bob's work under alice's name": StorageNeed(
        kind=StorageKind.COURSE_MEMBER, slug="algo", username="alice", uid=BOB, gid=20500
    ),
}


@pytest.fixture(scope="module")
def in_cluster(make_yard: Callable[..., Any]) -> Any:
    """The agent of a cluster's hub, which makes folders and nothing else."""
    yard = make_yard(backend="kubernetes")
    needs = [course(), course(kind=StorageKind.EXCHANGE, datadir=False)]
    yard.call(yard.client.ensure_storage(needs))
    return yard


@pytest.mark.parametrize("way", ["of a server", "alone", "in a cluster"])
@pytest.mark.parametrize("what", NEEDS)
def test_a_folder_that_nobody_may_have(
    yard: Any, in_cluster: Any, make_plan: Any, what: str, way: str, taken_away: Callable[[], None]
) -> None:
    yard = in_cluster if way == "in a cluster" else yard
    make_plan("student", "carol", 20103)  # the people's file knows her
    before = tree(yard)

    def ask() -> None:
        if way != "of a server":
            yard.call(yard.client.ensure_storage((NEEDS[what],)))
        else:
            plan = make_plan()
            inside = yard.start(plan.model_copy(update={"storage": (*plan.storage, NEEDS[what])}))
            yard.stop(inside.handle, now=True)

    with pytest.raises(AgentRefusedError) as caught:
        ask()
    assert caught.value.detail
    assert tree(yard) == before
    if way == "of a server":
        return
    taken_away()
    ask()
    assert tree(yard) != before
    # Right again, as the next honest start makes it.
    for need in (course(), course(kind=StorageKind.EXCHANGE, datadir=False)):
        yard.call(yard.client.ensure_storage((need,)))


# --- the right answer, while the files change -------------------------------------------------


def test_what_the_files_give_is_given(yard: Any, make_plan: Any) -> None:
    for plan in (
        make_plan("general"),
        make_plan("student"),
        make_plan("instructor", "anna", 20301),
    ):
        inside = yard.start(plan)
        assert inside.run("import os\nvalue = os.getuid()") == plan.identity.uid
        yard.stop(inside.handle, now=True)
    yard.call(yard.client.ensure_storage(make_plan().storage))


@pytest.fixture
def algo(yard: Any) -> Iterator[Path]:
    """The file of the course; as it was in the end."""
    file = yard.folder / "courses" / "algo.yaml"
    before = file.read_text()
    yield file
    file.write_text(before)


def test_a_hub_that_reads_a_change_first_is_not_refused(
    yard: Any, make_plan: Any, algo: Path
) -> None:
    plan = in_group(make_plan(), "lab", 20888)
    with pytest.raises(AgentRefusedError):
        yard.start(plan)
    changed = json.loads(algo.read_text())
    changed["extra_student_groups"].append(["lab", 20888])
    algo.write_text(json.dumps(changed))
    inside = yard.start(plan)  # at once
    assert 20888 in inside.run("import os\nvalue = os.getgroups()")
    yard.stop(inside.handle, now=True)


def test_a_broken_course_file(yard: Any, make_plan: Any, algo: Path) -> None:
    """The last good version stays in force; an agent that never saw one refuses with a sentence."""
    yard.stop(yard.start(make_plan()).handle, now=True)
    algo.write_text("name: [")
    yard.stop(yard.start(make_plan()).handle, now=True)
    yard.down()
    yard.up()
    with pytest.raises(PlanError) as caught:
        yard.start(make_plan())
    assert "course file" in caught.value.message
    # It costs itself alone: its instructor's other servers start, without its folder and group.
    more = also_mounting(
        make_plan("general", "anna", 20301), "course/algo/files", "/m/jupyter/course/algo/files"
    )
    group = (
        make_plan()
        .identity.supplementary[0]
        .model_copy(update={"name": "jupyter-algo", "gid": 20500})
    )
    inside = yard.start(who(more, supplementary=(group,)))
    assert inside.run("import os\nvalue = os.path.exists('/m/jupyter/course')") is False
    assert 20500 not in inside.run("import os\nvalue = os.getgroups()")
    yard.stop(inside.handle, now=True)


def test_a_source_of_people_that_hangs_costs_that_start_alone(
    yard: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = yard.start(make_plan())
    let_go = threading.Event()
    look_up = StaticSource.look_up

    def hangs(self: StaticSource, username: str) -> Any:
        if username == "carol":
            let_go.wait(60)
        return look_up(self, username)

    make_plan("student", "carol", 20103)
    yard.down()
    monkeypatch.setattr(StaticSource, "look_up", hangs)
    quick = yard.site.people.model_copy(update={"timeout": 0.3})
    monkeypatch.setattr(yard, "site", yard.site.model_copy(update={"people": quick}))
    yard.up()
    try:
        with pytest.raises(SourceDownError) as caught:
            yard.start(make_plan("student", "carol", 20103))
        assert "directory of users" in caught.value.message
        assert yard.poll(inside.handle) is None
        yard.stop(yard.start(make_plan("student", "bob", BOB)).handle, now=True)
    finally:
        let_go.set()
    yard.stop(yard.start(make_plan("student", "carol", 20103)).handle, now=True)
    yard.stop(inside.handle, now=True)


def test_nobody_is_told_as_nobody(yard: Any, make_plan: Any) -> None:
    plan = make_plan()
    eve = who(plan, username="eve", uid=20199, home="/home/eve")
    mounts = tuple(m for m in plan.mounts if not m.source.startswith("u/"))
    with pytest.raises(UnknownPersonError):
        yard.start(eve.model_copy(update={"mounts": mounts}))
