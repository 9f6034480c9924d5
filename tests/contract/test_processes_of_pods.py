"""How many processes a pod may have, whatever its node's kubelet was told (podPidsLimit)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract import pods as pods_module
from tests.contract.pods import PodYard
from tests.contract.test_grading_in_pods import TEACHER, changed, plan_of, teacher

#: How many processes a program can start, of 300.
BOMB = """
import json, os, signal
made = []
try:
    for _ in range(300):
        pid = os.fork()
        if pid == 0:
            signal.pause()
        made.append(pid)
except OSError:
    pass
for pid in made:
    os.kill(pid, 9)
for pid in made:
    os.waitpid(pid, 0)
value = len(made)
"""
#: Holds 60 processes, and lets them go.
HOLDS = """
import builtins, os, signal
builtins.held = []
for _ in range(60):
    pid = os.fork()
    if pid == 0:
        signal.pause()
    builtins.held.append(pid)
"""
LETS_GO = """
import os
for pid in held:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
"""
#: A start program that sets no such limit.
UNLIMITED = """
import resource
set_limit = resource.setrlimit
resource.setrlimit = lambda which, limit: which == resource.RLIMIT_NPROC or set_limit(which, limit)
"""


def test_a_fork_bomb_ends_at_the_plans_limit(
    pods: PodYard, make_plan: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan("student", "nina", 20121)
    assert plan.limits.processes == 100
    inside = pods.start(plan)
    try:
        assert 0 < inside.run(BOMB, 60) < 100
    finally:
        pods.stop(inside.handle, now=True)
    monkeypatch.setattr(pods_module, "PROBE", UNLIMITED + pods_module.PROBE)
    inside = pods.start(plan)
    try:
        assert inside.run(BOMB, 60) == 300
    finally:
        pods.stop(inside.handle, now=True)


def test_a_graded_one_leaves_room_for_the_instructor(
    pods: PodYard, make_plan: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel counts by UID, and graded code has another one."""
    tells = f"{BOMB}\nprint(json.dumps(value))"
    with teacher(pods, plan_of(make_plan, TEACHER)) as ada:
        ada.inside.run(HOLDS)
        assert 60 < ada.graded(tells) < 100, "as many as a server may have"
        ada.inside.run(LETS_GO)

    def without(pod: dict[str, Any]) -> None:
        (container,) = pod["spec"]["containers"]
        container["env"] = [e for e in container["env"] if not e["name"].endswith("PROCESSES")]

    with (
        changed(monkeypatch, without),
        teacher(pods, plan_of(make_plan, TEACHER)) as ada,
    ):
        assert ada.graded(tells) == 300

    def as_herself(pod: dict[str, Any]) -> None:
        pod["spec"]["securityContext"]["runAsUser"] = TEACHER[1]

    with (
        changed(monkeypatch, as_herself),
        teacher(pods, plan_of(make_plan, TEACHER)) as ada,
    ):
        ada.inside.run(HOLDS)
        assert ada.graded(tells) < 40, "what one has the other lacks"
        ada.inside.run(LETS_GO)


LOWER = """
before = int(open("/proc/self/oom_score_adj").read())
try:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(before - 100))
except OSError:
    pass
print([before, int(open("/proc/self/oom_score_adj").read())])
"""
#: As a kernel: the server itself is closed to everybody, its own files of /proc too.
AS_A_KERNEL = f"""
import json, subprocess, sys
done = subprocess.run([sys.executable, "-c", {LOWER!r}], capture_output=True, text=True, check=True)
value = json.loads(done.stdout)
"""
_SYS_RESOURCE = 24  # bit of CAP_SYS_RESOURCE, linux/capability.h


def test_who_goes_first_when_a_node_has_no_memory_left(
    pods: PodYard, make_plan: Callable[..., Any]
) -> None:
    """No server can put itself behind its neighbours below what the kubelet gave it.

    The kernel takes a value as the lowest where its writer, the container runtime, has CAP_SYS_RESOURCE
    (fs/proc/base.c, ``__set_oom_adj``). On a machine whose root lacks it a server can, and this shows it.
    """
    own = next(x for x in Path("/proc/self/status").read_text().splitlines() if "CapEff" in x)
    holds = pods.kube.local is None or int(own.split()[1], 16) >> _SYS_RESOURCE & 1
    inside = pods.start(make_plan("student", "nina", 20121))
    try:
        before, after = inside.run(AS_A_KERNEL)
        assert before > 0, "after the node's own programs"
        assert (after == before) == bool(holds)
    finally:
        pods.stop(inside.handle, now=True)
