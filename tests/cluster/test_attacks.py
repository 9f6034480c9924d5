"""What a student tries from a browser and from inside a server of the deployed site; all of it refused.

That the network's policies are what refuses is shown in tests/contract/test_walls_of_pods.py, by
taking them away.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.cluster.deployed import Deployed
from tests.cluster.test_faults import Person, pod_of
from tests.nbgrader.test_autograde_in_servers import LEAVE, LOOK, seen

STUDENT, TEACHER, COURSE = "omar", "ada", "algo2026"
#: As collected: for each student the released notebook, every solution the code that is given.
SUBMIT = """
import json, pathlib, sys
for student, code in json.loads(sys.argv[1]).items():
    folder = pathlib.Path("/course/submitted", student, "week1")
    folder.mkdir(parents=True, exist_ok=True)
    book = json.loads(pathlib.Path("/course/release/week1/sorting.ipynb").read_text())
    for cell in book["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("solution") and cell["cell_type"] == "code":
            cell["source"] = code
    (folder / "sorting.ipynb").write_text(json.dumps(book))
    (folder / "numbers.csv").write_text("42")
"""

#: Put the course directory back; the gradebook keeps its owner and mode.
BEFORE = """
cd /course && rm -rf submitted/* autograded/* release/* pymod
cat /tmp/before/gradebook.db > gradebook.db
"""


@pytest.fixture(scope="module")
def omar(yard: Deployed) -> Iterator[Person]:
    """A student whose server runs."""
    person = Person(yard, STUDENT)
    person.start("stats")
    assert person.works("stats")
    yield person
    person.stop("stats")


def call(person: Person, path: str, **options: Any) -> int:
    """The status of a start asked for at the hub's API, as its own pages ask."""
    headers = {"X-XSRFToken": person.xsrf, "Referer": f"{person.base}/hub/home"}
    return person.post(path, json=options, headers=headers).status_code


@pytest.mark.parametrize("server", ["algo2026-instructor", "scip", "algo2025", "nowhere"])
def test_a_course_or_role_of_others(yard: Deployed, omar: Person, server: str) -> None:
    assert call(omar, f"/hub/api/users/{STUDENT}/servers/{server}") == 403
    assert omar.act(f"/hub/go/{server}").status_code in (403, 404)
    assert len(yard.servers(STUDENT)) == 1


def test_a_server_in_somebody_elses_name(yard: Deployed, omar: Person) -> None:
    assert call(omar, f"/hub/api/users/{TEACHER}/servers/stats") in (403, 404)
    assert omar.get(f"/user/{TEACHER}/stats/api/contents").status_code in (403, 404)
    assert not yard.servers(TEACHER)


def test_the_door_of_a_server(yard: Deployed, omar: Person) -> None:
    """Both proxies know the keys; tests/hub/test_hub_door.py says what opens and what does not."""
    path = f"/user/{STUDENT}/stats/api"
    key = omar.cookies["courseyard-key"]
    other = Person(yard, TEACHER)
    for _ in range(6):  # the proxies take turns
        assert other.get(path).status_code == 404
        bare = {"Cookie": f"courseyard-key={key}"}
        assert "version" in requests.get(yard.base + path, headers=bare, timeout=20).text
        shut = requests.get(yard.base + path, timeout=20, allow_redirects=False)
        assert shut.status_code == 302
        assert shut.headers["Location"].startswith("/hub/")
    second = Person(yard, STUDENT)
    assert second.works("stats")
    bare = {"Cookie": f"courseyard-key={second.cookies['courseyard-key']}"}
    second.get("/hub/logout")
    yard.wait(
        lambda: all(
            requests.get(
                yard.base + path, headers=bare, timeout=20, allow_redirects=False
            ).is_redirect
            for _ in range(6)
        ),
        30,
        "her key is no longer one",
    )
    assert omar.works("stats")


def test_wishes_about_the_pod(yard: Deployed, omar: Person) -> None:
    """What a start brings along has no effect on the pod."""
    wishes = {
        "image": "nowhere/else:1",
        "uid": 0,
        "profile": "algo2026-instructor",
        "volumes": [{"name": "root", "hostPath": {"path": "/"}}],
        "container_security_context": {"privileged": True},
        "node_selector": {"kubernetes.io/hostname": "node0"},
    }
    omar.stop("stats")
    yard.wait(lambda: not yard.servers(STUDENT), 60)
    address = f"/hub/api/users/{STUDENT}/servers/stats"
    # The hub learns a moment later that the last one has ended.
    yard.wait(lambda: call(omar, address, **wishes) in (201, 202), 30, "it starts")
    spec = pod_of(yard, STUDENT)["spec"]
    text = json.dumps(spec)
    assert "nowhere" not in text
    assert "hostPath" not in text
    assert "privileged" not in text.replace('"privileged": false', "")
    assert spec["securityContext"]["runAsUser"] == 20004
    assert "nodeSelector" not in spec or "kubernetes.io/hostname" not in spec["nodeSelector"]
    omar.wait_running("stats", 90)
    assert omar.works("stats")


def inside(yard: Deployed, code: str) -> Any:
    """What ``value`` became in a Python of the student's pod."""
    pod = pod_of(yard, STUDENT)["metadata"]["name"]
    words = (
        "-c",
        "notebook",
        "--",
        "/opt/image/bin/python",
        "-c",
        f"{code}\nimport json; print(json.dumps(value))",
    )
    return json.loads(yard.kube.kubectl("exec", "-n", yard.users, pod, *words))


def addresses(yard: Deployed) -> dict[str, tuple[str, int]]:
    """What a server must not reach."""
    hub = yard.pods(yard.namespace, component="hub")[0]["status"]
    proxy = yard.pods(yard.namespace, component="proxy")[0]["status"]
    other = next(pod for pod in yard.pods(yard.namespace) if pod["status"]["podIP"] != hub["podIP"])
    node = yard.kube.node_address()
    api = yard.kube.get("svc", "kubernetes") or {}
    return {
        "pages of the hub": (hub["podIP"], 8081),
        "routes of the proxies": (hub["podIP"], 8082),
        "the proxy's page": (proxy["podIP"], 8000),
        "the proxy's ping": (proxy["podIP"], 8090),
        "another pod of the hub's": (other["status"]["podIP"], 8000),
        "the API server": (api["spec"]["clusterIP"], 443),
        "the API server's own port": (node, 6443),
        "a kubelet": (node, 10250),
        "the node port": (node, yard.node_port),
        "metadata of a cloud": ("169.254.169.254", 80),
        "the name server": ("198.18.0.10", 53),
        "the world": ("192.0.2.1", 443),
    }


def test_the_network_from_inside(yard: Deployed, omar: Person) -> None:
    targets = addresses(yard)
    code = f"""
import socket
value = []
for name, target in {targets!r}.items():
    try:
        socket.create_connection(target, 1).close()
        value.append(name)
    except OSError:
        pass
"""
    assert inside(yard, code) == []


def test_the_hubs_api_from_inside(yard: Deployed, omar: Person) -> None:
    """The server's own token opens what the server needs, and nothing of others or of the hub."""
    code = f"""
import os, urllib.request, urllib.error
base = os.environ["JUPYTERHUB_API_URL"]
token = os.environ["JUPYTERHUB_API_TOKEN"]
def status(path, method="GET", root=base):
    request = urllib.request.Request(root + path, method=method, headers={{"Authorization": "token " + token}})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
def tried():
    auth = b'{{"auth": {{"username": "{TEACHER}", "password": "guess"}}}}'
    request = urllib.request.Request(base + "/users/{TEACHER}/tokens", data=auth)
    try:
        return urllib.request.urlopen(request, timeout=10).status
    except urllib.error.HTTPError as error:
        # A wrong password is told in other words: this one was not looked at.
        return error.code if b"after your password" in error.read() else "looked at"
pages = base.removesuffix("/api")
value = {{
    "own": status("/users/{STUDENT}"),
    "teacher": status("/users/{TEACHER}"),
    "all": status("/users"),
    "proxy": status("/proxy"),
    "stop hub": status("/shutdown", "POST"),
    "own grading": status("/users/{STUDENT}/servers/stats/grading", "POST"),
    "a teacher's grading": status("/users/{TEACHER}/servers/{COURSE}-instructor/grading", "POST"),
    "start as teacher": status("/users/{STUDENT}/servers/algo2026-instructor", "POST"),
    "a token": status("/users/{TEACHER}/tokens", "POST"),
    "pages": status("/home", root=pages),
    "log-in": status("/login", "POST", root=pages),
    "a password": tried(),
}}
"""
    found = inside(yard, code)
    assert found.pop("own") == 200
    assert set(found.values()) <= {403, 404}, found


def test_nothing_of_the_clusters_is_inside(yard: Deployed, omar: Person) -> None:
    code = """
import glob, os
value = {
    "token": os.path.exists("/var/run/secrets/kubernetes.io"),
    "state": [f for d in ("/var/lib/courseyard", "/srv/courseyard", "/state") for f in glob.glob(d)],
    "storage of all": glob.glob("/srv/storage"),
    "uid": os.getuid(),
    "capabilities": [l.split()[1].strip("0") for l in open("/proc/self/status") if l.startswith("Cap")],
    "others": glob.glob("/m/jupyter/u/*/*"),
}
"""
    found = inside(yard, code)
    assert found == {
        "token": False,
        "state": [],
        "storage of all": [],
        "uid": 20004,
        "capabilities": [""] * 5,
        "others": ["/m/jupyter/u/04/omar"],
    }


def test_the_last_word_takes_no_bytes(yard: Deployed, omar: Person) -> None:
    """The kubelet's file for it lies on the node's disk, and no limit counts it."""
    code = """
import os
mounts = [line.split()[4] for line in open("/proc/self/mountinfo")]
value = [m for m in mounts if "termination-log" in m and os.access(m, os.W_OK)]
"""
    assert inside(yard, code) == []


#: What of the cluster and of the instructor's other courses a student's code reaches; told beside LOOK's.
REACH = """
def reaches(target):
    try:
        socket.create_connection(tuple(target), 1).close()
        return True
    except OSError:
        return False
print("REACHED" + json.dumps({{
    "targets": [name for name, target in {targets!r}.items() if reaches(target)],
    "of another course": tries(lambda: open({file!r}).read()),
    "groups": sorted({{os.getgid(), *os.getgroups()}}),
}}))
"""


@pytest.fixture
def others_file(yard: Deployed) -> Iterator[str]:
    """A file for the teachers of another course of ada's, where all courses share files."""
    of_ml2027 = 21004
    file = yard.storage / "shareddata" / "answers"
    file.write_text("of another course")
    os.chown(file, 0, of_ml2027)
    file.chmod(0o640)
    yield "/m/jupyter/shareddata/answers"
    file.unlink()


def test_autograding_meets_nothing_of_anybodys(yard: Deployed, others_file: str) -> None:
    """Trap 10: what runs students' code is a pod of its own beside the instructor's server."""
    teacher = Person(yard, TEACHER)
    server = f"{COURSE}-instructor"
    page = teacher.start(server)
    assert teacher.works(server), (page, yard.logs())
    pod = pod_of(yard, TEACHER)
    targets = addresses(yard) | {
        "its instructor's server": (pod["status"]["podIP"], 8888),
        "the servers' door of the hub": (addresses(yard)["pages of the hub"][0], 8083),
        "8888": ("127.0.0.1", 8888),
        "8083": ("127.0.0.1", 8083),
    }
    reach = REACH.format(targets=targets, file=others_file)

    def run(*words: str) -> str:
        inside = ("exec", "-n", yard.users, pod["metadata"]["name"], "-c", "notebook", "--")
        config = "JUPYTER_CONFIG_PATH=/home/ada/.courseyard/jupyter"
        return str(yard.kube.kubectl(*inside, "env", "-C", "/notebooks", config, *words))

    try:
        # The course is as before at the end: the loop's tests begin with it.
        run("sh", "-c", "rm -rf /tmp/before; cp -a /course /tmp/before")
        run("sh", "-c", "mkdir -p /course/pymod; echo NAME = 5 > /course/pymod/helper.py")
        run("nbgrader", "generate_assignment", "week1", "--force")
        code = {"maija": LOOK + reach + LEAVE, "omar": LOOK + reach}
        run("python3", "-c", SUBMIT, json.dumps(code))
        run("nbgrader", "autograde", "week1", "--student", "maija", "--force")
        run("nbgrader", "autograde", "week1", "--student", "omar", "--force")
        for student in ("maija", "omar"):
            found = seen(run, student)
            for name in ("notebooks", "places", "secrets", "written", "left"):
                assert found[name] == [], name
            assert found["gradebook"] == "FileNotFoundError"
            assert found["first"] == found["memory"] == "PermissionError"
            assert found["processes"] == [1, found["own"]]
            assert found["hub"] == "ConnectionRefusedError"
            assert "error" in found["runner"], "it answers strangers with an error alone"
            assert (found["data"], found["helper"]) == ("42", 5)
            assert reached(run, student) == {
                "targets": [],
                "of another course": "PermissionError",
                "groups": [20000],
            }
        # The instructor herself has the group, and reaches her own server.
        assert run("cat", others_file) == "of another course"
        assert teacher.works(server)
    finally:
        run("sh", "-c", BEFORE)
        teacher.stop(server)
    yard.wait(lambda: not graders(yard), 60, "it ends with its server")


def reached(run: Any, student: str) -> Any:
    """What REACH found in the submission of ``student``."""
    text = run("cat", f"/course/autograded/{student}/week1/sorting.ipynb")
    outputs = [o for cell in json.loads(text)["cells"] for o in cell.get("outputs", ())]
    lines = [line for o in outputs for line in "".join(o.get("text", "")).splitlines()]
    return json.loads(next(x for x in lines if x.startswith("REACHED")).removeprefix("REACHED"))


def graders(yard: Deployed) -> list[dict[str, Any]]:
    """Pods in which something is graded."""
    return yard.pods(yard.users, component="courseyard-grading")
