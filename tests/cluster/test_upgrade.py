"""An upgrade as docs/howto/cluster.md tells it, while a student works.

The site goes back to the manifests of hub and proxy as they first landed (``earlier/``), to a site file
with other settings, and to the hub's image under another tag; then the new version is taken over.
Both tags are the same build, since a checkout need not have its history. With images of an earlier release in the
nodes, ``COURSEYARD_TEST_EARLIER_HUB=name:tag`` upgrades from that one, and ``COURSEYARD_TEST_EARLIER_PYTHON=name:tag``
is the software of servers until then.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from courseyard.cli import clusterfiles
from tests.cluster.deployed import Deployed
from tests.cluster.rig import HUB, PYTHON, Kube, KubectlError
from tests.cluster.test_faults import Person, pod_of
from tests.cluster.watching import PodsWatched, Visits

STUDENT, SERVER = "omar", "stats"
TEACHER, GRADES = "ada", "algo2026-instructor"
EARLIER = Path(__file__).parent / "earlier"
EARLIER_HUB = "courseyard-hub:earlier"
EARLIER_PYTHON = os.environ.get("COURSEYARD_TEST_EARLIER_PYTHON", PYTHON)
#: What the earlier proxies lacked, so that connections failed while they ended: no upgrade mends that.
GRACE = "            - --entrypoints.web.transport.lifecycle.gracetimeout"
ACCEPT = "            - --entrypoints.web.transport.lifecycle.requestacceptgracetimeout=5s"
#: Setting → what it was.
SETTINGS = {
    "name: Example University · Jupyter": "name: University of Yesteryear",
    "  mem_limit: 2G": "  mem_limit: 1500M",
    "home_links: [.julia/]": "home_links: [.julia/, .jupyter/]",
}
#: Makes a server ask the hub who somebody is at every second, where others wait for five minutes.
CURIOUS = """
import json, pathlib
file = pathlib.Path.home() / ".jupyter" / "jupyter_server_config.json"
file.write_text(json.dumps({"HubOAuth": {"cache_max_age": 1}}))
"""

#: Runs a program where students' code is graded, by what this server's nbgrader has for it.
GRADE = """
import pathlib, sys
sys.path.insert(0, "/opt/courseyard/singleuser")
from courseyard_nbgrader.tunnel import RemoteKernel
kernel = RemoteKernel(["/opt/image/bin/python", "-c", "print('graded', flush=True)"], environment={},
    connection={}, folder=pathlib.Path("/nowhere"), modules=None, seconds=30)
kernel.ended.wait(40)
print(kernel.returncode, kernel._said)
"""


@dataclass(frozen=True)
class Seen:
    """What the cluster, the hub and a browser know about the student's server."""

    pod: dict[str, Any]
    user: dict[str, Any]
    home: str

    @classmethod
    def now(cls, yard: Deployed, person: Person) -> Seen:
        return cls(pod_of(yard, STUDENT), user_of(person), person.home())

    @property
    def memory(self) -> str:
        return str(self.pod["spec"]["containers"][0]["resources"]["limits"]["memory"])


def user_of(person: Person) -> dict[str, Any]:
    """The student as the hub's API tells it."""
    page = {"Referer": f"{person.base}/hub/home"}
    found: dict[str, Any] = person.get("/hub/api/user", headers=page).json()
    return found


@dataclass(frozen=True)
class Upgrade:
    """What was there before and after, and what happened in between."""

    person: Person
    before: Seen
    after: Seen
    difference: str
    visits: Visits
    hubs: PodsWatched
    teacher: dict[str, Any]  # the pod of an instructor's server, made by the earlier hub


def earlier_hub(kube: Kube) -> str:
    """The image of the earlier hub: given, or this checkout's by another name."""
    if given := os.environ.get("COURSEYARD_TEST_EARLIER_HUB"):
        return given
    if kube.local is None:
        return f"docker.io/library/{HUB}"
    library = "docker.io/library"
    names = (f"{library}/{HUB}", f"{library}/{EARLIER_HUB}")
    kube.local.on_all_nodes("images", "tag", "--force", *names)
    return EARLIER_HUB


def image_line(image: str) -> str:
    name, _, tag = image.rpartition(":")
    return f"{{name: courseyard-hub, newName: {name}, newTag: {tag}}}"


def go_back(yard: Deployed) -> None:
    """Make the site's files those of the earlier version."""
    for file in EARLIER.iterdir():
        target = yard.folder / "kubernetes" / "base" / "hub" / file.name
        shutil.copyfile(file, target)
        clusterfiles._rename(target, yard.namespace)
    yard.change("kubernetes/base/hub/proxy.yaml", f"{GRACE}=10s\n", f"{GRACE}=10s\n{ACCEPT}\n")
    yard.change("kustomization.yaml", image_line(HUB), image_line(earlier_hub(yard.kube)))
    yard.change("images.yaml", PYTHON, EARLIER_PYTHON)
    for new, old in SETTINGS.items():
        yard.change("courseyard.yaml", new, old)


def take_over(yard: Deployed, fresh: Path) -> None:
    """Make them those of the new version, as the how-to says."""
    words = ["init", str(fresh), "--kubernetes", "--namespace", yard.namespace]
    subprocess.run(
        [sys.executable, "-m", "courseyard.cli", *words], check=True, stdout=subprocess.DEVNULL
    )
    base = Path("kubernetes") / "base"
    shutil.copytree(fresh / base, yard.folder / base, dirs_exist_ok=True)
    yard.change("kustomization.yaml", image_line(earlier_hub(yard.kube)), image_line(HUB))
    yard.change("images.yaml", EARLIER_PYTHON, PYTHON)
    for new, old in SETTINGS.items():
        yard.change("courseyard.yaml", old, new)


def difference(yard: Deployed) -> str:
    """What ``kubectl apply -k`` would change now; "" when nothing."""
    try:
        yard.kube.kubectl("diff", "-k", str(yard.folder))
    except KubectlError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def upgrade(yard: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgrade]:
    kept = tmp_path_factory.mktemp("kept") / "site"
    shutil.copytree(yard.folder, kept)
    try:
        go_back(yard)
        yard.apply()
        yard.ready()
        person = Person(yard, STUDENT)
        start_curious(yard, person)
        before = Seen.now(yard, person)
        teacher = Person(yard, TEACHER)
        said = teacher.start(GRADES)
        assert teacher.works(GRADES), said
        graded = pod_of(yard, TEACHER)
        watched = PodsWatched(yard.kube, yard.namespace, "component=hub")
        with watched, Visits(pages(yard), person.cookies) as visits:
            yard.wait(lambda: len(visits.answers) > 10 or visits.failures, 20)
            take_over(yard, tmp_path_factory.mktemp("new") / "site")
            told = difference(yard)
            yard.apply()
            yard.ready()
            # Until the earlier proxies are gone too.
            yard.wait(lambda: not ending(yard), 90, "the earlier proxies have ended")
        yield Upgrade(person, before, Seen.now(yard, person), told, visits, watched, graded)
        teacher.stop(GRADES)
    finally:
        shutil.copytree(kept, yard.folder, dirs_exist_ok=True)
        if difference(yard):
            yard.apply()
            yard.ready()


def ending(yard: Deployed) -> list[str]:
    """Proxies that the cluster has asked to end."""
    about = [pod["metadata"] for pod in yard.pods(yard.namespace, component="proxy")]
    return [each["name"] for each in about if "deletionTimestamp" in each]


def start_curious(yard: Deployed, person: Person) -> None:
    """Start the student's server, which asks the hub so often that it must miss it."""
    leave_none(yard, person)
    said = person.start(SERVER)
    assert person.works(SERVER), said
    name = pod_of(yard, STUDENT)["metadata"]["name"]
    yard.kube.kubectl("exec", "-n", yard.users, name, "--", "python", "-c", CURIOUS)
    leave_none(yard, person)
    said = person.start(SERVER)
    assert person.works(SERVER), said


def pages(yard: Deployed) -> list[str]:
    """A page of the server, by each node."""
    ways = [f"http://{yard.kube.node_address(n)}:{yard.node_port}" for n in yard.kube.node_names()]
    return [f"{way}/user/{STUDENT}/{SERVER}/api/status" for way in ways]


def leave_none(yard: Deployed, person: Person) -> None:
    """Stop the student's servers, some of which an earlier test may have left."""
    for pod in yard.servers(STUDENT):
        person.stop(pod["metadata"]["annotations"]["hub.jupyter.org/servername"])
    yard.wait(lambda: not yard.servers(STUDENT), 60, "no server of the student")
    # The pod goes a moment before the hub has done with it.
    yard.wait(lambda: not user_of(person)["servers"], 30, "the hub knows none either")


def test_the_server_answers_all_the_time(upgrade: Upgrade) -> None:
    """By all nodes, while the hub and both proxies are replaced under it; and it is one server."""
    assert upgrade.visits.failures == []
    assert len(upgrade.visits.answers) > 50
    started = {json.loads(text)["started"] for text in upgrade.visits.answers}
    assert len(started) == 1
    assert upgrade.after.pod["metadata"]["uid"] == upgrade.before.pod["metadata"]["uid"]


def test_never_two_hubs(upgrade: Upgrade) -> None:
    """One process with one database: the earlier one had ended before the new one began."""
    running = upgrade.hubs.running("hub")
    assert max(len(names) for names in running) == 1
    assert len(set().union(*running)) == 2


def test_the_student_stays_logged_in_and_the_hub_knows_the_server(upgrade: Upgrade) -> None:
    assert "running since" in upgrade.after.home
    before, after = upgrade.before.user, upgrade.after.user
    assert after["name"] == STUDENT
    assert after["created"] == before["created"]
    assert set(after["servers"]) == {SERVER}
    assert after["servers"][SERVER]["started"] == before["servers"][SERVER]["started"]


def test_an_instructors_server_of_before_grades_on(yard: Deployed, upgrade: Upgrade) -> None:
    """In the pod beside it; one made before there were such pods, in its second container."""
    pod = pod_of(yard, TEACHER)["metadata"]
    assert pod["uid"] == upgrade.teacher["metadata"]["uid"]
    words = ("exec", "-n", yard.users, pod["name"], "-c", "notebook", "--", "python", "-c", GRADE)
    assert yard.kube.kubectl(*words).split() == ["0", "graded"]
    beside = yard.pods(yard.users, component="courseyard-grading")
    assert len(beside) == (0 if "initContainers" in upgrade.teacher["spec"] else 1)


def test_the_new_version_is_there(yard: Deployed, upgrade: Upgrade) -> None:
    assert "University of Yesteryear" in upgrade.before.home
    assert "Example University" in upgrade.after.home
    hub = yard.pods(yard.namespace, component="hub")[0]["spec"]
    assert {c["image"] for c in hub["initContainers"] + hub["containers"]} == {HUB}
    # Both were missing in the earlier manifests, and the last was dropped.
    names = {variable["name"] for variable in hub["containers"][0]["env"]}
    assert "JUPYTERHUB_XSRF_ANONYMOUS_IP_CIDRS" in names
    for proxy in yard.pods(yard.namespace, component="proxy"):
        assert "podAntiAffinity" in proxy["spec"]["affinity"]
        assert "topologySpreadConstraints" not in proxy["spec"]


def test_the_same_again_changes_nothing(yard: Deployed, upgrade: Upgrade) -> None:
    assert "podAntiAffinity" in upgrade.difference  # so there was something to do before
    pods = {pod["metadata"]["uid"] for pod in yard.pods(yard.namespace)}
    changes = generations(yard)
    assert difference(yard) == ""
    yard.apply()
    assert difference(yard) == ""
    assert generations(yard) == changes
    assert {pod["metadata"]["uid"] for pod in yard.pods(yard.namespace)} == pods


def generations(yard: Deployed) -> dict[str, int]:
    """Counts of what was ever asked of Deployments and policies."""
    kinds = ("deployment", "networkpolicy", "poddisruptionbudget")
    found = [thing for kind in kinds for thing in yard.kube.find(kind, yard.namespace)]
    return {f"{it['kind']}/{it['metadata']['name']}": it["metadata"]["generation"] for it in found}


def test_the_new_hub_stops_the_server_and_starts_the_next(yard: Deployed, upgrade: Upgrade) -> None:
    """A running server kept what it had; the next one has what the new site file gives."""
    assert upgrade.before.memory == upgrade.after.memory
    leave_none(yard, upgrade.person)
    said = upgrade.person.start(SERVER)
    assert upgrade.person.works(SERVER), said
    assert Seen.now(yard, upgrade.person).memory != upgrade.before.memory
    leave_none(yard, upgrade.person)
