"""Two sites in one cluster: the same student at both, and neither hub nor server reaches the other site."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.cluster.deployed import Deployed
from tests.cluster.rig import REPOSITORY, Kube, KubectlError
from tests.cluster.test_faults import Person, pod_of

STUDENT, SERVER = "omar", "stats"
RIGHTS = REPOSITORY / "deploy" / "kubernetes" / "base" / "users" / "rights.yaml"
ROLE = next(each for each in yaml.safe_load_all(RIGHTS.read_text()) if each["kind"] == "Role")
VERBS = [(rule["resources"][0], verb) for rule in ROLE["rules"] for verb in rule["verbs"]]
#: Which of some addresses are reached.
REACH = """
import json, socket, sys
found = []
for host, port in json.loads(sys.argv[1]):
    try:
        socket.create_connection((host, port), 2).close()
        found.append(True)
    except OSError:
        found.append(False)
print(json.dumps(found))
"""
Target = tuple[str, int]


@pytest.fixture(scope="module")
def other(kube: Kube) -> Iterator[Deployed]:
    """A second site, with everything named anew by ``init --namespace`` alone."""
    site = Deployed(kube, "other", 30082)
    try:
        site.down()
        site.make()
        site.change("kubernetes/base/hub/proxy.yaml", "replicas: 2", "replicas: 1")
        site.apply()
        site.ready()
        site.agent("storage", "apply", "/srv/courseyard")
        yield site
    finally:
        site.down()


@pytest.fixture(scope="module")
def people(yard: Deployed, other: Deployed) -> Iterator[list[Person]]:
    """The student with a running server at each site."""
    found = [Person(site, STUDENT) for site in (yard, other)]
    for person in found:
        said = person.start(SERVER)
        assert person.works(SERVER), said
    yield found
    for person in found:
        person.stop(SERVER)


def reached(kube: Kube, where: tuple[str, ...], targets: list[Target]) -> list[bool]:
    """Which targets a Python in the pod ``where`` reaches."""
    words = ("exec", "-n", *where, "--", "python", "-c", REACH, json.dumps(targets))
    found: list[bool] = json.loads(kube.kubectl(*words))
    return found


def doors(site: Deployed) -> dict[str, Target]:
    """Every port that something of the site listens on."""
    hub, proxy = (
        str(site.pods(site.namespace, component=name)[0]["status"]["podIP"])
        for name in ("hub", "proxy")
    )
    server = str(pod_of(site, STUDENT)["status"]["podIP"])
    return {
        "page": (hub, 8081), "routes": (hub, 8082), "api": (hub, 8083),
        "proxy": (proxy, 8000), "server": (server, 8888),
    }  # fmt: skip


@pytest.mark.parametrize("here", [0, 1], ids=["yard", "other"])
def test_policies_keep_them_apart(
    yard: Deployed, other: Deployed, people: list[Person], here: int
) -> None:
    mine, theirs = ((yard, other), (other, yard))[here]
    own, foreign = doors(mine), doors(theirs)
    pod = (mine.users, pod_of(mine, STUDENT)["metadata"]["name"])
    assert reached(yard.kube, pod, [own["api"], *foreign.values()]) == [True] + [False] * 5
    hub = (mine.namespace, "deploy/hub", "-c", "hub")
    assert reached(yard.kube, hub, [own["server"], *foreign.values()]) == [True] + [False] * 5


@pytest.mark.parametrize(("resource", "verb"), VERBS, ids=lambda word: word.replace("/", "-"))
def test_a_hub_has_its_rights_at_home_alone(
    yard: Deployed, other: Deployed, resource: str, verb: str
) -> None:
    kind, _, part = resource.partition("/")
    asked = ["auth", "can-i", verb, kind, *([f"--subresource={part}"] if part else [])]
    who = f"--as=system:serviceaccount:{other.namespace}:hub"
    assert may(yard.kube, [*asked, who, "-n", other.users])
    for namespace in (yard.users, yard.namespace, other.namespace):
        assert not may(yard.kube, [*asked, who, "-n", namespace])


def may(kube: Kube, words: list[str]) -> bool:
    """The API server's own answer; kubectl fails when it is no."""
    try:
        return kube.kubectl(*words).strip() == "yes"
    except KubectlError as error:
        assert str(error).endswith(": no"), error
        return False


def test_a_stop_at_one_site_is_none_at_the_other(
    yard: Deployed, other: Deployed, people: list[Person]
) -> None:
    """Both servers have the same name, and the same person."""
    here, there = people
    before = pod_of(yard, STUDENT)["metadata"]
    assert before["name"] == pod_of(other, STUDENT)["metadata"]["name"]
    there.stop(SERVER)
    other.wait(lambda: not other.servers(STUDENT), 60, "the other site's server is gone")
    assert here.works(SERVER)
    assert pod_of(yard, STUDENT)["metadata"]["uid"] == before["uid"]
