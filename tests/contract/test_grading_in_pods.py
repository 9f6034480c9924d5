"""Code that is graded in a cluster: a pod of its own, with a student's groups and no way to anywhere.

Each attack is made once as things are, where it fails, and once with what stops it taken away, where it works.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from courseyard.backends.kubernetes import grading
from courseyard.backends.kubernetes.gradingpods import NoGradingError
from courseyard.plan import model
from courseyard.plan.grading import nobodys
from courseyard.settings import GRADING_UIDS
from tests.conftest import Inside
from tests.contract.pods import NAMESPACE, PodYard
from tests.contract.test_walls_of_pods import until

TEACHER, OTHER = ("ada", 20111), ("tomas", 20112)
STUDENTS, TEACHERS = 20000, 20999
SECRET = "answers of another course"

#: Asks a runner for one program and gives what it says.
_ASK = """
import io, json, socket, tarfile
packed = io.BytesIO()
tarfile.open(fileobj=packed, mode="w").close()
there = socket.create_connection({address!r}, 5)
there.settimeout(60)
request = {{"do": "start", "key": {key!r}, "argv": ["/opt/image/bin/python", "-c", {code!r}],
           "environment": {{}}, "connection": {{}}, "seconds": 30, "size": len(packed.getvalue())}}
there.sendall(json.dumps(request).encode() + b"\\n" + packed.getvalue())
lines = there.makefile()
value = json.loads(lines.readline())
if "kernel" in value:
    value = json.loads(lines.readline())
"""
#: Tries addresses; what is open and what is not.
_CONNECTS = """
import json, socket
found = []
for target in {targets!r}:
    try:
        socket.create_connection(tuple(target), 1).close()
        found.append(True)
    except OSError:
        found.append(False)
print(json.dumps(found))
"""


class Teacher:
    """An instructor's server with its pod for grading."""

    def __init__(self, pods: PodYard, inside: Inside) -> None:
        self.pods = pods
        self.inside = inside
        self.address = pods.beside(inside.handle)
        (self.pod,) = pods.grading_pods(inside.handle)

    @property
    def where(self) -> tuple[str, int]:
        host, _, port = self.address.rpartition(":")
        return host, int(port)

    def ask(self, code: str, *, key: str = "", where: tuple[str, int] | None = None) -> Any:
        """What the runner says of a program: its own by its own key, if not told otherwise."""
        key = key or self.pods.key(self.inside.handle)
        asked = _ASK.format(address=where or self.where, key=key, code=code)
        return self.inside.run(asked, 90)

    def graded(self, code: str) -> Any:
        """What a program in the place of a student's prints as JSON."""
        found = self.ask(code)
        assert found.get("ended") == 0, found
        return json.loads(found["said"])

    def connects(self, targets: list[tuple[str, int]]) -> list[bool]:
        found: list[bool] = self.graded(_CONNECTS.format(targets=targets))
        return found


def plan_of(make_plan: Callable[..., Any], who: tuple[str, int]) -> model.ServerPlan:
    """An instructor of two courses."""
    plan: model.ServerPlan = make_plan("instructor", *who)
    group = model.GroupEntry(name="jupyter-other", gid=TEACHERS, reason="")
    identity = plan.identity.model_copy(
        update={"supplementary": (*plan.identity.supplementary, group)}
    )
    wanted = ("/coursedata", "/m/jupyter/shareddata", "/m/jupyter/software")
    student = {"gid": STUDENTS, "group": "users", "supplementary": ()}
    inner = model.Grading(
        identity=nobodys(identity.model_copy(update=student)),
        mounts=tuple(
            m.model_copy(update={"writable": False}) for m in plan.mounts if m.target in wanted
        ),
        environment=plan.environment,
    )
    return plan.model_copy(update={"identity": identity, "grading": inner})


@contextmanager
def teacher(pods: PodYard, plan: model.ServerPlan) -> Iterator[Teacher]:
    inside = pods.start(plan)
    try:
        yield Teacher(pods, inside)
    finally:
        pods.stop(inside.handle, now=True)


@pytest.fixture(scope="module")
def ada(pods: PodYard, make_plan: Callable[..., Any]) -> Iterator[Teacher]:
    with teacher(pods, plan_of(make_plan, TEACHER)) as found:
        yield found


@pytest.fixture(scope="module")
def shared(pods: PodYard, ada: Teacher) -> Path:
    """A file for the teachers of another course, where all courses share files."""
    file = pods.storage / "shareddata" / "for-teachers"
    file.write_text(SECRET)
    file.chmod(0o640)
    os.chown(file, 0, TEACHERS)
    return file


READ = """
import json
try:
    print(json.dumps(open("/m/jupyter/shareddata/for-teachers").read()))
except OSError as error:
    print(json.dumps(type(error).__name__))
"""


@contextmanager
def changed(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], None]
) -> Iterator[None]:
    """Pods for grading without a protection."""
    make = grading.pod

    def without(server: dict[str, Any], name: str) -> dict[str, Any]:
        pod = make(server, name)
        change(pod)
        return pod

    with monkeypatch.context() as patch:
        patch.setattr(grading, "pod", without)
        yield


def test_identity_and_mounts_are_the_plans(ada: Teacher) -> None:
    look = """
import json, os
points = [line.split()[4] for line in open("/proc/self/mountinfo")]
print(json.dumps({"uid": os.getresuid(), "gid": os.getresgid(), "groups": sorted(set(os.getgroups())),
  "course": os.path.exists("/course"), "notebooks": os.path.exists("/notebooks"),
  "plan": os.path.exists("/etc/courseyard/plan.json"), "data": os.access("/coursedata", os.W_OK),
  "token": os.path.exists("/var/run/secrets"), "names": open("/etc/resolv.conf").read(),
  "ours": [n for n in os.environ if n.startswith(("COURSEYARD", "JUPYTERHUB", "KUBERNETES"))],
  "storage": sorted(p for p in points if p.startswith(("/course", "/m/", "/srv", "/notebooks")))}))
"""
    found = ada.graded(look)
    assert found["uid"] == [ada.pod["spec"]["securityContext"]["runAsUser"]] * 3
    assert found["uid"][0] in GRADING_UIDS
    assert found["gid"] == [STUDENTS] * 3
    assert set(found["groups"]) <= {STUDENTS}
    assert found["storage"] == ["/coursedata", "/m/jupyter/shareddata", "/m/jupyter/software"]
    for name in ("course", "notebooks", "plan", "data", "token", "ours"):
        assert not found[name], name
    assert found["names"].split() == ["nameserver", "127.0.0.1"]


def test_files_of_another_courses_teachers(
    pods: PodYard,
    ada: Teacher,
    shared: Path,
    make_plan: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A student's notebook read one into its feedback: groups are of a pod, not of a container."""
    mine = "value = open('/m/jupyter/shareddata/for-teachers').read()"
    assert ada.inside.run(mine) == SECRET, "the instructor herself reads it"
    assert ada.graded(READ) == "PermissionError"

    def with_the_servers_groups(pod: dict[str, Any]) -> None:
        pod["spec"]["securityContext"]["supplementalGroups"] = [TEACHERS]

    with (
        changed(monkeypatch, with_the_servers_groups),
        teacher(pods, plan_of(make_plan, OTHER)) as other,
    ):
        assert other.graded(READ) == SECRET


def test_the_network_of_graded_code(pods: PodYard, ada: Teacher) -> None:
    """Neither its instructor's server, nor another, nor the hub, names, or the cluster."""
    server = pods.addresses[ada.inside.handle].rpartition(":")
    targets = [
        (server[0], int(server[2])),
        (pods.hub_address, 8083),
        (pods.hub_url.removeprefix("http://").split(":")[0], 8083),
        (pods.name_server, 53),
        (pods.kube.node_address(), 10250),
    ]
    nothing = [False] * len(targets)
    assert ada.connects(targets) == nothing
    own = [("127.0.0.1", 8888), ("127.0.0.1", 8083)]
    assert ada.connects(own) == [False, False], "they are another pod's"
    assert ada.inside.run(
        "import socket\nvalue = not socket.create_connection(('127.0.0.1', 8888)).close()"
    )
    with pods.without_policies():
        end = time.monotonic() + 20
        while (found := ada.connects(targets)) != [True] * len(targets):
            assert time.monotonic() < end, found
            time.sleep(0.5)
    end = time.monotonic() + 20
    while (found := ada.connects(targets)) != nothing:
        assert time.monotonic() < end, found
        time.sleep(0.5)


def test_who_comes_in(pods: PodYard, ada: Teacher, make_plan: Callable[..., Any]) -> None:
    """Servers that grade, and no student's."""
    student = pods.start(make_plan("student", "bob", 20102))
    try:
        assert until(student, [ada.where], False) == [False]
        assert until(ada.inside, [ada.where], True) == [True]
        with pods.without_policies():
            assert until(student, [ada.where], True) == [True]
        assert until(student, [ada.where], False) == [False]
    finally:
        pods.stop(student.handle, now=True)


#: The runner without its lock.
_OPEN = (
    "import sys; sys.path.insert(0, '/opt/courseyard/singleuser/grading'); import runner, secrets; "
    "secrets.compare_digest = lambda *_: True; runner.main()"
)


def test_a_colleagues_key_opens_nothing(
    pods: PodYard,
    ada: Teacher,
    make_plan: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All instructors' servers come as far as the runner; it starts nothing for them."""

    def without_lock(pod: dict[str, Any]) -> None:
        (container,) = pod["spec"]["containers"]
        container["command"] = ["/opt/image/bin/python", "-I", "-c", _OPEN]

    with (
        changed(monkeypatch, without_lock),
        teacher(pods, plan_of(make_plan, OTHER)) as other,
    ):
        hello = "print('\"hello\"')"
        for key in (pods.key(other.inside.handle), "0" * 64):
            assert other.ask(hello, where=ada.where, key=key) == {"error": "ValueError: wrong key"}
        assert ada.graded(hello) == "hello"
        theirs = ada.ask(hello, where=other.where, key="0" * 64)
        assert theirs["said"] == '"hello"', "without the lock everybody is let in"


def test_graded_code_learns_no_key(ada: Teacher) -> None:
    """It reaches the runner of its own pod, whose memory and environment are closed; and the hash is no key."""
    lock = next(
        each["value"]
        for each in ada.pod["spec"]["containers"][0]["env"]
        if each["name"].endswith("LOCK")
    )
    code = f"""
import json, socket
def tries(path):
    try:
        return open(path, "rb").read(1).hex() or "empty"
    except OSError as error:
        return type(error).__name__
found = [tries("/proc/1/environ"), tries("/proc/1/mem"), tries("/proc/1/maps")]
for key in ("", {lock!r}):
    with socket.create_connection(("127.0.0.1", 8082), 5) as there:
        there.sendall(json.dumps({{"do": "start", "key": key, "argv": ["/bin/true"]}}).encode() + b"\\n")
        found.append(there.makefile().readline())
print(json.dumps(found))
"""
    refused = '{"error": "ValueError: wrong key"}\n'
    assert ada.graded(code) == ["PermissionError"] * 3 + [refused] * 2


def test_it_is_found_again_and_made_anew(pods: PodYard, ada: Teacher) -> None:
    """By a hub that knows nothing of it; and when the cluster has lost it."""
    assert pods.beside(ada.inside.handle) == ada.address
    spawner = pods.pods[ada.inside.handle]
    spawner._grading = None  # as after a restart
    assert pods.beside(ada.inside.handle) == ada.address
    assert len(pods.grading_pods(ada.inside.handle)) == 1
    name = ada.pod["metadata"]["name"]
    pods.kube.delete("pod", name, f"{NAMESPACE}-users")
    ada.address = pods.beside(ada.inside.handle)
    (ada.pod,) = pods.grading_pods(ada.inside.handle)
    assert ada.pod["metadata"]["name"] != name
    assert ada.graded("print('\"again\"')") == "again"


def test_it_ends_with_its_server(pods: PodYard, make_plan: Callable[..., Any]) -> None:
    """Also when nobody but the cluster sees the end, and when it is made a moment too late."""
    with teacher(pods, plan_of(make_plan, OTHER)) as other:
        name = other.pod["metadata"]["name"]
        server = pods.kube.get("pod", other.inside.handle, f"{NAMESPACE}-users")
        assert server is not None
        pods.kube.kubectl(
            "delete", "pod", other.inside.handle, "-n", f"{NAMESPACE}-users", "--grace-period=0", "--force"
        )  # fmt: skip
        pods.kube.wait("pod", name, "delete", f"{NAMESPACE}-users", 60)
        late = grading.pod(server, f"{name}-late")
        pods.kube.kubectl("create", "-n", f"{NAMESPACE}-users", "-f", "-", input=json.dumps(late))
        pods.kube.wait("pod", f"{name}-late", "delete", f"{NAMESPACE}-users", 60)


def as_before(spawner: Any) -> None:
    """The settings of an instructor's pod as the version before made them: the runner is a second container."""
    spawner.environment = {**spawner.environment, "COURSEYARD_GRADING": "tcp:127.0.0.1:8082"}
    spawner.volumes = [
        *spawner.volumes,
        {"name": "grading-tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "67108864"}},
    ]
    spawner.init_containers = [
        {
            "name": "grading",
            "image": spawner.image,
            "imagePullPolicy": "IfNotPresent",
            "command": list(grading.RUNNER),
            "restartPolicy": "Always",
            "resources": {"limits": {"memory": "268435456", "cpu": "1"}},
            "securityContext": {
                "runAsGroup": STUDENTS,
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [{"name": "grading-tmp", "mountPath": "/tmp"}],
        }
    ]


def test_a_pod_of_the_version_before_goes_on(
    pods: PodYard, make_plan: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs no key and no other pod, and the new policies leave it alone."""
    make = PodYard.spawner

    def earlier(self: PodYard, plan: Any, environment: dict[str, str]) -> Any:
        spawner = make(self, plan, environment)
        as_before(spawner)
        return spawner

    with monkeypatch.context() as patch:
        patch.setattr(PodYard, "spawner", earlier)
        inside = pods.start(plan_of(make_plan, OTHER))
    try:
        with pytest.raises(NoGradingError):
            pods.call(pods.pods[inside.handle].beside())
        asked = _ASK.format(address=("127.0.0.1", 8082), key="", code="print('\"graded\"')")
        assert inside.run(asked, 90)["said"] == '"graded"'
    finally:
        pods.stop(inside.handle, now=True)


def test_a_students_server_has_none(pods: PodYard, make_plan: Callable[..., Any]) -> None:
    student = pods.start(make_plan("student", "bob", 20102))
    try:
        with pytest.raises(NoGradingError):
            pods.call(pods.pods[student.handle].beside())
    finally:
        pods.stop(student.handle, now=True)
