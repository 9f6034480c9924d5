"""Graded code reads what a student of the course reads, and no file because its instructor owns it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from courseyard.backends import beside
from courseyard.backends.sandbox import namespaces
from courseyard.plan import model
from courseyard.plan.grading import nobodys
from courseyard.settings import GRADING_UIDS
from tests.contract.pods import PodYard
from tests.contract.test_grading_in_pods import Teacher
from tests.contract.test_inside import backend as backend  # the fixture

TEACHER, STUDENT = ("ada", 20111), ("bob", 20102)
#: Path inside → path below the storage root, mode, and whether a student may read it.
FILES = {
    "/coursedata/numbers.csv": ("course/algo/data/numbers.csv", 0o644, True),
    # As her umask makes them, until she opens them:
    "/coursedata/exam-draft.txt": ("course/algo/data/exam-draft.txt", 0o660, False),
    "/m/jupyter/shareddata/of-users": ("shareddata/of-users", 0o640, True),
    "/m/jupyter/shareddata/own": ("shareddata/own", 0o600, False),
    "/m/jupyter/shareddata/folder/own": ("shareddata/folder/own", 0o644, False),
}
LOOK = f"""
import json, os
def tries(path):
    try:
        return open(path).read()
    except OSError as error:
        return type(error).__name__
value = [os.getuid(), {{path: tries(path) for path in {list(FILES)}}}]
"""
_ASK = f"""
import http.client, json, socket
there = http.client.HTTPConnection("grading")
there.sock = socket.socket(socket.AF_UNIX)
there.sock.connect({namespaces.GRADING + "/socket"!r})
there.request("POST", "/", {LOOK!r})
value = json.load(there.getresponse())["value"]
"""


def plan_of(make_plan: Callable[..., Any]) -> model.ServerPlan:
    plan: model.ServerPlan = make_plan("instructor", *TEACHER)
    student = {"gid": 20000, "group": "users", "supplementary": (), "umask": 0o022}
    shown = ("/coursedata", "/m/jupyter/shareddata")
    inner = model.Grading(
        identity=nobodys(plan.identity.model_copy(update=student)),
        mounts=tuple(
            m.model_copy(update={"writable": False}) for m in plan.mounts if m.target in shown
        ),
        environment={},
    )
    return plan.model_copy(update={"grading": inner})


@contextmanager
def teaching(backend: Any, plan: model.ServerPlan) -> Iterator[Any]:
    inside = backend.start(plan)
    try:
        yield inside
    finally:
        backend.stop(inside.handle, now=True)


def graded(backend: Any, inside: Any) -> Any:
    """What :data:`LOOK` finds in the place of a student's code."""
    if isinstance(backend, PodYard):
        return Teacher(backend, inside).graded(f"{LOOK}\nprint(json.dumps(value))")
    return inside.run(_ASK)


@pytest.fixture(scope="module")
def files(request: Any, backend: Any, make_plan: Callable[..., Any], require: Any) -> None:
    """The instructor's files in folders that students see."""
    require("root")  # an ordinary account has one UID for everybody
    if not isinstance(backend, PodYard):  # a probe in the place of the runner, too
        programs: Path = request.getfixturevalue("probe_programs")
        (programs / "grading").mkdir(exist_ok=True)
        (programs / "grading" / "runner.py").write_text((programs / "start.py").read_text())
    with teaching(backend, make_plan("instructor", *TEACHER)):
        pass  # makes the folders
    for path, mode, _ in FILES.values():
        file = backend.storage / path
        if not file.parent.exists():
            file.parent.mkdir(mode=0o700)
            os.chown(file.parent, TEACHER[1], 20000)
        file.write_text("content")
        file.chmod(mode)
        os.chown(file, TEACHER[1], 20000 if mode == 0o640 else 20500)


@pytest.mark.usefixtures("files")
def test_no_file_is_read_because_the_instructor_owns_it(
    backend: Any, make_plan: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = {path: "content" if may else "PermissionError" for path, (_, _, may) in FILES.items()}
    with teaching(backend, make_plan("student", *STUDENT)) as student:
        assert student.run(LOOK) == [STUDENT[1], right]
    plan = plan_of(make_plan)
    with teaching(backend, plan) as ada:
        assert ada.run(LOOK)[1] == dict.fromkeys(FILES, "content"), "she herself reads them"
        uid, found = graded(backend, ada)
    assert found == right
    assert uid in GRADING_UIDS, "it tells nothing of who grades"

    make = beside.plan_of

    def as_herself(plan: model.ServerPlan, server: str) -> model.ServerPlan:
        inner = make(plan, server)
        identity = inner.identity.model_copy(update={"uid": plan.identity.uid})
        return inner.model_copy(update={"identity": identity})

    monkeypatch.setattr(beside, "plan_of", as_herself)
    with teaching(backend, plan) as ada:
        assert graded(backend, ada) == [TEACHER[1], dict.fromkeys(FILES, "content")]


@pytest.mark.usefixtures("files")
def test_no_two_sandboxes_share_a_uid(backend: Any, make_plan: Callable[..., Any]) -> None:
    """Linux counts a user's processes and more by it; and it follows from no name."""
    found = []
    for _ in range(2):
        with teaching(backend, plan_of(make_plan)) as ada:
            found.append(graded(backend, ada)[0])
    assert found[0] != found[1]
