"""What goes wrong in a cluster: told in words, nobody else disturbed, all whole afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.deployed import Deployed
from tests.cluster.rig import KubectlError
from tests.hub.sites import Visitor

NEIGHBOUR = "tomas"


class Person(Visitor):
    """Somebody of the deployed site, logged in."""

    def __init__(self, yard: Deployed, username: str) -> None:
        super().__init__(yard)
        self.username = username
        self.log_in(username, yard.passwords[username])

    def start(self, link: str, seconds: float = 90) -> str:
        """Start a server; the text of the last page: the server's, or the error's."""
        page = self.act(f"/hub/go/{link}")
        if page.status_code >= 400:
            return page.text
        return self.wait_running(link.replace("/", "-"), seconds).text

    def works(self, server: str) -> bool:
        """Whether the server answers, through the proxy."""
        reply = self.get(f"/user/{self.username}/{server}/api", timeout=20)
        return reply.status_code == 200 and "version" in reply.text

    def stop(self, server: str) -> None:
        self.act(f"/hub/stop/{server}")

    def home(self) -> str:
        """The course page, as a person reads it."""
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", self.get("/hub/home").text))


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


@pytest.fixture(scope="module")
def neighbour(yard: Deployed) -> Iterator[Person]:
    """Somebody whose server runs all the time."""
    person = Person(yard, NEIGHBOUR)
    person.start("stats")
    assert person.works("stats")
    yield person
    person.stop("stats")


@pytest.fixture(autouse=True)
def nobody_else_is_disturbed(request: pytest.FixtureRequest, neighbour: Person) -> Iterator[None]:
    yield
    if "node" not in request.node.name:
        assert neighbour.works("stats")


@pytest.fixture
def omar(yard: Deployed) -> Person:
    """A student without a server; an earlier test may have left one."""
    person = Person(yard, "omar")
    for pod in yard.servers("omar"):
        person.stop(pod["metadata"]["annotations"]["hub.jupyter.org/servername"])
    yard.wait(lambda: not yard.servers("omar"), 60, "no server of omar")
    return person


def pod_of(yard: Deployed, username: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = yard.wait(lambda: yard.servers(username), 30, "a pod")
    return found[0]


@pytest.mark.parametrize(
    ("course", "sentence"),
    [
        ("noimage", "The software of “No Image” is not there"),
        ("huge", "There was no place for your server: it needs 900 GB"),
        ("gpu", "nvidia.com/gpu, and no computer had that free"),
        ("hungry", "Your server needed more than its 64 MB of memory"),
    ],
)
def test_a_start_that_cannot_succeed(
    yard: Deployed, omar: Person, course: str, sentence: str
) -> None:
    said = words(omar.start(course))
    assert sentence in said
    assert "Traceback" not in said
    yard.wait(lambda: not yard.servers("omar"), 40, "nothing is left behind")


def test_quota_reached(yard: Deployed, omar: Person) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "full", "namespace": yard.users},
        "spec": {"hard": {"pods": "1"}},
    }
    yard.kube.apply([quota])
    try:
        yard.wait(
            lambda: (
                (yard.kube.get("quota", "full", yard.users) or {}).get("status", {}).get("used")
            ),
            20,
        )
        assert "All places of this service are taken" in words(omar.start("stats"))
    finally:
        yard.kube.delete("quota", "full", yard.users)
    assert omar.start("stats")
    assert omar.works("stats")
    omar.stop("stats")


def test_folder_that_cannot_be_trusted(yard: Deployed, omar: Person) -> None:
    """The storage of one person is broken: that person is told, and it works again once mended."""
    own = yard.storage / "u" / "04" / "omar"
    away = own.with_name("omar.away")
    own.parent.mkdir(exist_ok=True)
    if own.exists():
        own.rename(away)
    own.symlink_to("/etc")
    try:
        said = words(omar.start("stats"))
        assert "folder" in said
        assert not yard.servers("omar")
    finally:
        own.unlink()
        if away.exists():
            away.rename(own)
    omar.start("stats")
    assert omar.works("stats")
    omar.stop("stats")


#: End the agent, or whatever runs as it: all processes of its container but the first.
END_AGENT = """
import os, pathlib
own = (1, os.getpid())
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    if int(folder.name) not in own:
        os.kill(int(folder.name), 9)
"""
END_CONTAINER = "import os; os.kill(1, 15)"


def in_agent(yard: Deployed, code: str) -> None:
    python = "/opt/courseyard/venv/bin/python"
    words = ("exec", "-n", yard.namespace, "deploy/hub", "-c", "agent", "--", python, "-c", code)
    yard.kube.kubectl(*words)


def test_agent_killed(yard: Deployed, omar: Person) -> None:
    in_agent(yard, END_AGENT)
    said = words(omar.start("stats"))  # it is back within seconds, and a start waits for it
    assert omar.works("stats"), said
    omar.stop("stats")


@contextlib.contextmanager
def failing_agent(yard: Deployed, code: str) -> Iterator[None]:
    """The agent ends again and again, as soon as it lives."""
    over = threading.Event()

    def forever() -> None:
        while not over.wait(0.1):
            with contextlib.suppress(KubectlError):
                in_agent(yard, code)

    thread = threading.Thread(target=forever)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def hub_addresses(yard: Deployed) -> list[str]:
    """Where the hub's service leads."""
    slices = yard.kube.find("endpointslices", yard.namespace, "kubernetes.io/service-name=hub")
    ends = [end for each in slices for end in each["endpoints"] or ()]
    return [end["addresses"][0] for end in ends if end["conditions"].get("ready")]


def server_asks_hub(yard: Deployed, username: str) -> int:
    """The status of a call of the hub's API from somebody's server."""
    code = """
import os, urllib.request
request = urllib.request.Request(os.environ["JUPYTERHUB_API_URL"] + "/user",
    headers={"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]})
print(urllib.request.urlopen(request, timeout=5).status)
"""
    name = pod_of(yard, username)["metadata"]["name"]
    words = ("exec", "-n", yard.users, name, "--", "/opt/image/bin/python", "-c", code)
    return int(yard.kube.kubectl(*words))


def new_proxies(yard: Deployed) -> None:
    """All proxies anew: they begin with the hub's routes."""
    chosen = ("-n", yard.namespace, "-l", "component=proxy", "--grace-period=0", "--force")
    yard.kube.kubectl("delete", "pod", *chosen)
    yard.ready(90)


def test_an_agent_that_fails_costs_starts_alone(
    yard: Deployed, omar: Person, neighbour: Person
) -> None:
    (address,) = hub_addresses(yard)
    with failing_agent(yard, END_AGENT):
        for _ in range(40):
            assert hub_addresses(yard) == [address]
            time.sleep(0.3)
        assert server_asks_hub(yard, NEIGHBOUR) == 200
        new_proxies(yard)
        yard.wait(lambda: _quietly(neighbour.works, "stats"), 30, "new proxies know all routes")
        again = Person(yard, "maija")
        assert "Statistics for Everyone" in again.home()
        assert "does not answer" in words(omar.start("stats"))
        assert hub_addresses(yard) == [address]
    yard.wait(lambda: "does not answer" not in words(omar.start("stats")), 60)
    assert omar.works("stats")
    omar.stop("stats")


def test_an_agent_as_a_containers_first_process_takes_the_hub_away(yard: Deployed) -> None:
    """What the test above shows depends on what starts the agent again."""
    file = "kubernetes/base/hub/hub.yaml"
    kept = ("args: [agent, --keep, /srv/courseyard]", "args: [agent, /srv/courseyard]")
    yard.change(file, *kept)
    try:
        yard.apply()
        yard.ready()
        with failing_agent(yard, END_CONTAINER):
            yard.wait(lambda: not hub_addresses(yard), 60, "the hub's service leads nowhere")
    finally:
        yard.change(file, *reversed(kept))
        yard.apply()
        yard.ready()
    yard.wait(lambda: _quietly(Person, yard, "omar"), 60, "log in again")


def test_pod_deleted_by_an_administrator(yard: Deployed, omar: Person) -> None:
    omar.start("stats")
    name = pod_of(yard, "omar")["metadata"]["name"]
    yard.kube.kubectl("delete", "pod", name, "-n", yard.users, "--grace-period=0", "--force")
    yard.wait(lambda: "has stopped" in omar.home(), 40, "the person is told")
    assert "Your server" in omar.home()
    omar.start("stats")
    assert omar.works("stats")
    omar.stop("stats")


def test_evicted(yard: Deployed, omar: Person) -> None:
    """By the API that `kubectl drain` uses."""
    omar.start("stats")
    about = {"name": pod_of(yard, "omar")["metadata"]["name"], "namespace": yard.users}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": about}
    path = f"/api/v1/namespaces/{yard.users}/pods/{about['name']}/eviction"
    yard.kube.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    yard.wait(lambda: "has stopped" in omar.home(), 60, "the person is told")
    omar.start("stats")
    assert omar.works("stats")
    omar.stop("stats")


def test_killed_without_a_word(yard: Deployed, omar: Person) -> None:
    """Exit code 137, and nothing in the cluster says why."""
    omar.start("stats")
    if yard.kube.local is None:
        pytest.skip("a process in a pod can be killed only in ../shared/cluster")
    pod = str(pod_of(yard, "omar")["metadata"]["uid"])
    (server,) = (
        pid
        for pid, line in _processes()
        if line[-1:] == ["/opt/courseyard/singleuser/start.py"]
        and pod in Path(f"/proc/{pid}/cgroup").read_text()
    )
    os.kill(server, signal.SIGKILL)
    yard.wait(lambda: "has stopped" in omar.home(), 40, "the person is told")
    assert "was killed, most often because memory ran out" in omar.home()


def test_memory_full_of_files(yard: Deployed, omar: Person) -> None:
    """Files in memory cannot be taken away from a server: it ends, and the person is told why."""
    omar.start("small")
    name = pod_of(yard, "omar")["metadata"]["name"]
    fill = (
        "import os\nfor place in ('/tmp', os.environ['HOME'], '/dev/shm'):\n"
        " try:\n  with open(place + '/fill', 'wb', 0) as file:\n"
        "   while True: file.write(b'x' * 1048576)\n except OSError: pass"
    )
    with contextlib.suppress(KubectlError):  # the server ends under it
        yard.kube.kubectl("exec", "-n", yard.users, name, "--", "python", "-c", fill)
    yard.wait(lambda: "has stopped" in omar.home(), 60, "the person is told")
    assert "count as memory" in omar.home()


#: A kernel keeps the server's own output, which is the container's log; a student's code finds it there.
FLOOD = """
import os, pathlib
def writes(fd):
    flags = (fd.parents[1] / "fdinfo" / fd.name).read_text().split("flags:")[1].split()[0]
    return int(flags, 8) & os.O_ACCMODE == os.O_WRONLY
own = str(os.getpid())
kernels = [
    p for p in pathlib.Path("/proc").glob("[0-9]*")
    if p.name not in ("1", own) and b"kernel-" in (p / "cmdline").read_bytes()
]
pipes = [fd for p in kernels for fd in (p / "fd").iterdir() if os.readlink(fd).startswith("pipe:")]
# Once it runs, a kernel has its first output at a higher number, and reads what goes to 1 and 2 itself.
for fd in sorted((fd for fd in pipes if writes(fd)), key=lambda fd: -int(fd.name)):
    with open(fd, "wb", 0) as log:
        for _ in range(6000):
            log.write(b"x" * 99 + b"\\n" + b"y" * 65000 + b"\\n")
"""


def test_disk_full(yard: Deployed, omar: Person) -> None:
    """A server that writes more to its log than it may have of the node's disk."""
    omar.start("stats")
    omar.get("/user/omar/stats/lab")
    own = next(c.value for c in omar.cookies if c.name == "_xsrf" and c.path.startswith("/user/"))
    made = omar.post("/user/omar/stats/api/kernels", json={}, headers={"X-XSRFToken": str(own)})
    assert made.status_code == 201, made.text
    name = pod_of(yard, "omar")["metadata"]["name"]
    with contextlib.suppress(KubectlError):  # the server ends under it
        yard.kube.kubectl("exec", "-n", yard.users, name, "--", "python", "-c", FLOOD)
    yard.wait(lambda: "too much temporary disk space" in omar.home(), 120, "the person is told")
    omar.start("stats")
    assert omar.works("stats")
    omar.stop("stats")


def test_proxies_killed(yard: Deployed, neighbour: Person) -> None:
    """New proxies ask the hub for all routes."""
    new_proxies(yard)
    yard.wait(lambda: _quietly(neighbour.works, "stats"), 30, "the routes are back")


def test_hub_restart_cuts_nobody_off(yard: Deployed, neighbour: Person) -> None:
    yard.kube.kubectl("rollout", "restart", "deployment/hub", "-n", yard.namespace)
    until, seen = time.monotonic() + 12, 0
    while time.monotonic() < until:
        reply = neighbour.get("/user/tomas/stats/api", timeout=5)
        assert reply.status_code == 200, reply.status_code
        seen += 1
        time.sleep(0.3)
    assert seen > 10
    yard.ready()
    yard.wait(lambda: _quietly(lambda: "running since" in neighbour.home()), 60)


def test_hub_killed_in_the_middle_of_a_start(yard: Deployed, omar: Person) -> None:
    """The new hub knows nothing of that start: the person starts again, and nothing is left."""
    omar.act("/hub/go/stats")
    pod_of(yard, "omar")
    yard.kube.kubectl(
        "delete", "pod", "-n", yard.namespace, "-l", "component=hub", "--grace-period=0", "--force"
    )
    yard.ready()
    again = yard.wait(lambda: _quietly(Person, yard, "omar"), 60, "log in again")
    again.start("stats")
    assert again.works("stats")
    assert len(yard.servers("omar")) == 1
    again.stop("stats")
    yard.wait(lambda: not yard.servers("omar"), 40)


def test_api_server_away(yard: Deployed, omar: Person) -> None:
    """Servers and pages go on; a start is told, and works once the cluster is back."""
    local = yard.kube.local
    if local is None:
        pytest.skip("the API server can be stopped only in ../shared/cluster")
    pid = int((local.state / "pids" / "apiserver").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        before = time.monotonic()
        assert omar.get("/hub/home", timeout=10).status_code == 200
        assert time.monotonic() - before < 5
        omar.act("/hub/go/stats")
        time.sleep(12)
        assert omar.get("/hub/home", timeout=10).status_code == 200
    finally:
        os.kill(pid, signal.SIGCONT)
    yard.wait(lambda: _quietly(lambda: omar.start("stats") and omar.works("stats")), 90)
    omar.stop("stats")


@contextlib.contextmanager
def halting(process: int, on: float, off: float) -> Iterator[None]:
    """A process that works for ``on`` seconds and stands still for ``off``, again and again."""
    ended = threading.Event()

    def forever() -> None:
        while not ended.wait(on):
            os.kill(process, signal.SIGSTOP)
            time.sleep(off)
            os.kill(process, signal.SIGCONT)

    thread = threading.Thread(target=forever)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_etcd_slow(yard: Deployed, omar: Person) -> None:
    """Starts take longer, pages do not."""
    local = yard.kube.local
    if local is None:
        pytest.skip("etcd can be slowed only in ../shared/cluster")
    with halting(int((local.state / "pids" / "etcd").read_text()), 0.3, 0.7):
        omar.act("/hub/go/stats")
        for _ in range(10):
            assert omar.get("/hub/home", timeout=5).status_code == 200
            time.sleep(0.3)
        yard.wait(lambda: _quietly(lambda: omar.start("stats") and omar.works("stats")), 120)
        omar.stop("stats")
        yard.wait(lambda: _quietly(lambda: not yard.servers("omar")), 60)


def test_storage_away(yard: Deployed, omar: Person) -> None:
    """An institution's storage that does not answer holds up whoever asks it: the agent."""
    local = yard.kube.local
    if local is None:
        pytest.skip("a process in a pod can be held up only in ../shared/cluster")
    agent = next(pid for pid, words in _processes() if words[-2:] == ["agent", "/srv/courseyard"])
    os.kill(agent, signal.SIGSTOP)
    try:
        omar.act("/hub/go/stats")
        assert omar.get("/hub/home", timeout=5).status_code == 200
        assert "does not answer" in words(omar.wait_running("stats", 120).text)
        assert not yard.servers("omar")
    finally:
        os.kill(agent, signal.SIGCONT)
    yard.wait(lambda: _quietly(lambda: omar.start("stats") and omar.works("stats")), 60)
    omar.stop("stats")


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Process numbers and command lines of this machine, pods included."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            yield int(folder.name), words[:-1]


def test_claim_pending(yard: Deployed, omar: Person) -> None:
    """A claim that nothing fulfils: told as folders, not as a place."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "unfulfilled", "namespace": yard.users},
        "spec": {
            "storageClassName": "nobody-has-this",
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    yard.kube.apply([claim])
    setting = ("  node_lost_after: 5s\n", "  node_lost_after: 5s\n  storage_claim: unfulfilled\n")
    yard.change("courseyard.yaml", *setting)
    try:
        yard.apply()
        yard.ready()
        person = yard.wait(lambda: _quietly(Person, yard, "omar"), 60, "log in again")
        said = words(person.start("hasty", 60))
        assert "folders of your server could not be opened" in said, said
        yard.wait(lambda: not yard.servers("omar"), 40, "nothing is left behind")
    finally:
        yard.change("courseyard.yaml", *reversed(setting))
        yard.apply()
        yard.ready()
        yard.kube.delete("pvc", "unfulfilled", yard.users, wait=False)
    person = yard.wait(lambda: _quietly(Person, yard, "omar"), 60, "log in again")
    yard.wait(lambda: _quietly(lambda: person.start("stats") and person.works("stats")), 60)
    person.stop("stats")


def test_node_killed_under_running_servers(yard: Deployed, neighbour: Person, omar: Person) -> None:
    """People of the lost node are told and start again elsewhere; those of the other go on."""
    hub = yard.pods(yard.namespace, component="hub")[0]["spec"]["nodeName"]
    lost = next(n for n in yard.kube.node_names() if n != hub)
    victim = omar
    yard.kube.kubectl("cordon", hub)
    try:
        yard.wait(lambda: _quietly(lambda: victim.start("stats") and victim.works("stats")), 180)
    finally:
        yard.kube.kubectl("uncordon", hub)
    assert pod_of(yard, "omar")["spec"]["nodeName"] == lost
    yard.kube.node("kill", int(re.sub(r"\D", "", lost)))
    try:
        yard.wait(lambda: _quietly(lambda: "was lost" in victim.home()), 120, "the person is told")
        yard.wait(
            lambda: _quietly(lambda: victim.start("stats", 60) and victim.works("stats")), 120
        )
        assert pod_of(yard, "omar")["spec"]["nodeName"] == hub
    finally:
        yard.kube.node("start", int(re.sub(r"\D", "", lost)))
    yard.kube.kubectl("wait", f"node/{lost}", "--for=condition=Ready", "--timeout=90s")
    victim.stop("stats")
    yard.ready()
    neighbour.start("stats")
    yard.wait(lambda: _quietly(neighbour.works, "stats"), 60)


def _quietly(what: Any, *arguments: Any) -> Any:
    """What ``what`` gives; None while nobody answers."""
    with contextlib.suppress(OSError, AssertionError, StopIteration, KeyError):
        return what(*arguments)
    return None
