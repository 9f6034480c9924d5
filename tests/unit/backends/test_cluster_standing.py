"""What stands in a cluster, as data → what `courseyard check --kubernetes` says about it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from courseyard.backends.kubernetes.check import nodes, standing, wanted
from courseyard.backends.kubernetes.check.look import RIGHTS
from courseyard.backends.kubernetes.check.seen import PATHS, Seen
from courseyard.cli import init
from courseyard.cli.clusterfiles import manifests as deployed
from courseyard.errors import Severity
from courseyard.settings import KubernetesSettings, Site
from courseyard.sitefile import load_site

SETTINGS = KubernetesSettings(namespace="docs", users_namespace="docs-users", site_label="docs")
CLAIM = ("PersistentVolumeClaim", "docs-users", "courseyard-storage")
STATE = ("PersistentVolumeClaim", "docs", "hub-state")
HUB = ("Deployment", "docs", "hub")
USERS = ("Namespace", "", "docs-users")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "site"
    init.make_site(folder, namespace="docs")
    return folder


def whole(manifests: wanted.Manifests) -> Seen:
    """A cluster in which everything of the site stands, as the API server would tell it."""
    seen = Seen(lacking=())
    for item in manifests.objects:
        if item.kind in PATHS:
            seen.objects[item.kind, item.namespace, item.name] = copy.deepcopy(item.data)
    for (kind, _, _), item in seen.objects.items():
        if kind == "PersistentVolumeClaim":
            item["status"] = {"phase": "Bound"}
        elif kind == "Deployment":
            item["status"] = {"availableReplicas": item["spec"]["replicas"]}
    for made in manifests.generated:
        data = {key: path.read_text() for key, path in made.files}
        seen.objects[made.kind, made.namespace, made.name] = {"data": data}
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    about = {"name": "standard", "annotations": default}
    seen.objects["StorageClass", "", "standard"] = {"metadata": about}
    for number in (0, 1):
        seen.objects["Node", "", f"node{number}"] = {"metadata": {"name": f"node{number}"}}
    return seen


@pytest.fixture
def seen(made: Path) -> Seen:
    return whole(wanted.read(made))


def said(folder: Path, seen: Seen, settings: KubernetesSettings = SETTINGS) -> list[str]:
    found = standing.problems(wanted.read(folder), seen, settings)
    return [str(problem).replace(f"{folder}/", "") for problem in found]


def test_all_good(made: Path, seen: Seen) -> None:
    assert said(made, seen) == []


def test_the_rights_are_those_of_the_role() -> None:
    file = deployed() / "base" / "users" / "rights.yaml"
    role = next(item for item in yaml.safe_load_all(file.read_text()) if item["kind"] == "Role")
    given = {
        (rule["resources"][0], verb) for rule in role["rules"] for verb in rule["verbs"]
    }  # fmt: skip
    needed = {
        (f"{resource}/{sub}" if sub else resource, verb)
        for resource, sub, verbs in RIGHTS
        for verb in verbs
    }
    assert needed == given


def test_the_settings_of_a_made_site_name_its_claim(made: Path) -> None:
    settings = load_site(made).kubernetes
    assert said(made, whole(wanted.read(made)), settings) == []


def gone(*key: str) -> Callable[[Seen], None]:
    def change(seen: Seen) -> None:
        del seen.objects[key]  # type: ignore[arg-type]

    return change


def phase(key: tuple[str, str, str], value: str) -> Callable[[Seen], None]:
    return lambda seen: seen.objects[key].update(status={"phase": value})


def pending(spec: dict[str, Any]) -> Callable[[Seen], None]:
    def change(seen: Seen) -> None:
        seen.objects[STATE].update(status={"phase": "Pending"}, spec=spec)

    return change


def label(key: str, value: str | None) -> Callable[[Seen], None]:
    def change(seen: Seen) -> None:
        labels = seen.objects[USERS]["metadata"]["labels"]
        labels.update({key: value}) if value else labels.pop(key)

    return change


def lacks(*rights: str) -> Callable[[Seen], None]:
    return lambda seen: setattr(seen, "lacking", rights)


def both(first: Callable[[Seen], None], second: Callable[[Seen], None]) -> Callable[[Seen], None]:
    def change(seen: Seen) -> None:
        first(seen)
        second(seen)

    return change


def no_default(seen: Seen) -> None:
    del seen.objects["StorageClass", "", "standard"]["metadata"]["annotations"]


def without_key(seen: Seen) -> None:
    del seen.objects["Secret", "docs", "courseyard-secrets"]["data"]["routes-token"]


def one_node_alone(seen: Seen) -> None:
    seen.objects["PersistentVolume", "", "docs-users-storage"]["spec"]["accessModes"] = [
        "ReadWriteOnce"
    ]


def another_folder(seen: Seen) -> None:
    seen.objects["PersistentVolume", "", "docs-users-storage"]["spec"]["hostPath"]["path"] = (
        "/srv/x"
    )


def not_ready(seen: Seen) -> None:
    seen.objects[HUB]["status"] = {}


def later_class(seen: Seen) -> None:
    pending({"storageClassName": "standard"})(seen)
    seen.objects["StorageClass", "", "standard"]["volumeBindingMode"] = "WaitForFirstConsumer"


ENFORCE = "pod-security.kubernetes.io/enforce"
FAULTS: dict[str, tuple[Callable[[Seen], None], Severity, str]] = {
    "policy": (
        gone("NetworkPolicy", "docs-users", "servers"), Severity.ERROR,
        "kubernetes/base/users/policies.yaml:10: docs-users/networkpolicy/servers: is not there, so "
        "nothing that it refuses is refused: `kubectl apply -k` makes it",
    ),
    "namespace": (gone(*USERS), Severity.ERROR, "namespace/docs-users: is not there"),
    "binding": (
        gone("RoleBinding", "docs-users", "courseyard-hub"), Severity.ERROR,
        "so the hub may not start servers",
    ),
    "rights": (
        lacks("watch pods", "get pods/log"), Severity.ERROR,
        "docs/serviceaccount/hub: may not watch pods, get pods/log in docs-users, so servers do not start",
    ),
    "unlabelled": (label(ENFORCE, None), Severity.ERROR, f"its label {ENFORCE} is missing"),
    "privileged": (
        label(ENFORCE, "privileged"), Severity.ERROR,
        f"`kubectl label ns docs-users --overwrite {ENFORCE}=restricted`",
    ),
    "other site": (
        label("courseyard/users-of", "physics"), Severity.ERROR,
        "its label courseyard/users-of is physics, so the hub's policies do not know its servers",
    ),
    "no claim": (gone(*CLAIM), Severity.ERROR, "docs-users/persistentvolumeclaim/courseyard-storage: is not there"),
    "lost": (phase(CLAIM, "Lost"), Severity.ERROR, "has lost its volume docs-users-storage"),
    "pending": (phase(CLAIM, "Pending"), Severity.ERROR, "is pending, so every pod that needs it waits"),
    "volume gone": (
        both(phase(CLAIM, "Pending"), gone("PersistentVolume", "", "docs-users-storage")),
        Severity.ERROR, "waits for the volume docs-users-storage, which is not there",
    ),
    "released": (
        phase(("PersistentVolume", "", "docs-storage"), "Released"), Severity.ERROR,
        "is released and takes no claim again: `kubectl delete pv docs-storage`",
    ),
    "no default class": (
        both(pending({}), no_default),
        Severity.ERROR, "names no StorageClass, and the cluster has no default: write `storageClassName` (there: standard)",
    ),
    "no such class": (
        pending({"storageClassName": "fast"}), Severity.ERROR,
        "the StorageClass fast is not there: name another one (there: standard)",
    ),
    "first consumer": (later_class, Severity.WARNING, "gets its volume with its first pod"),
    "one node": (one_node_alone, Severity.WARNING, "its volume is not ReadWriteMany (but ReadWriteOnce), and there are 2 nodes"),
    "two folders": (another_folder, Severity.ERROR, "is /srv/x, and the agent's of the same name is /srv/docs-storage"),
    "secret": (
        gone("Secret", "docs", "courseyard-secrets"), Severity.ERROR,
        "docs/deployment/hub: its pods need the Secret courseyard-secrets, which is not there",
    ),
    "key of a secret": (
        without_key, Severity.ERROR,
        "docs/deployment/proxy: its pods need routes-token in the Secret courseyard-secrets, which lacks it",
    ),
    "map": (
        gone("ConfigMap", "docs", "courseyard-courses"), Severity.ERROR,
        "its pods need the ConfigMap courseyard-courses, which is not there",
    ),
    "not ready": (not_ready, Severity.ERROR, "docs/deployment/hub: 0 of 1 pods are ready"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(made: Path, seen: Seen, fault: str) -> None:
    change, severity, sentence = FAULTS[fault]
    change(seen)
    found = standing.problems(wanted.read(made), seen, SETTINGS)
    told = [problem for problem in found if sentence in str(problem)]
    assert told, [str(problem) for problem in found]
    assert {problem.severity for problem in told} == {severity}


def test_what_may_not_be_looked_at_is_not_called_absent(made: Path, seen: Seen) -> None:
    policies = [key for key in seen.objects if key[:2] == ("NetworkPolicy", "docs-users")]
    for key in policies:
        del seen.objects[key]
    seen.unknown.add(("NetworkPolicy", "docs-users"))
    found = standing.problems(wanted.read(made), seen, SETTINGS)
    assert [problem.severity for problem in found] == [Severity.WARNING]
    assert "docs-users/networkpolicy: warning: you may not look at it" in said(made, seen)[0]


def test_before_the_first_apply(made: Path) -> None:
    """Nothing stands: the storage is told, and what is to come is no error."""
    seen = Seen()
    seen.objects["Node", "", "a"] = {"metadata": {"name": "a"}}
    found = standing.problems(wanted.read(made), seen, SETTINGS)
    assert [(problem.is_error, problem.key) for problem in found] == [
        (False, "namespace/docs"),
        (True, "docs/persistentvolumeclaim/hub-state"),
    ]
    assert "(there: none)" in found[1].message


def test_a_claim_that_no_file_makes(made: Path, seen: Seen) -> None:
    other = SETTINGS.model_copy(update={"storage_claim": "elsewhere"})
    assert "no file of the site makes it, and it is not there" in "".join(said(made, seen, other))


def test_a_patch_may_name_the_class(made: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    init.make_site(site, namespace="docs")
    file = site / "kubernetes" / "overlays" / "one-node" / "kustomization.yaml"
    text = file.read_text()
    target = "  - target: {kind: PersistentVolumeClaim, name: hub-state}\n    patch: '[]'\n"
    file.write_text(text.replace("patches:\n", f"patches:\n{target}"))
    assert not any("StorageClass" in line for line in said(site, Seen()))


def test_files_that_stop_an_apply(tmp_path: Path) -> None:
    site = tmp_path / "site"
    init.make_site(site, namespace="docs")
    (site / "passwords.yaml").unlink()
    (site / "kubernetes" / "base" / "hub" / "proxy.yaml").unlink()
    (site / "kubernetes" / "base" / "users" / "rights.yaml").write_text("kind: [\n")
    found = "\n".join(said(site, Seen()))
    assert "docs/secret/courseyard-secrets: its file passwords.yaml cannot be read" in found
    assert "base/hub/kustomization.yaml: resources: proxy.yaml is not there" in found
    assert "base/users/rights.yaml:2: cannot be read" in found


@pytest.mark.parametrize(
    ("size", "severity", "sentence"),
    [
        (150, None, ""),
        (230, Severity.WARNING, "plain `kubectl apply` refuses from about 256 on"),
        (900, Severity.WARNING, "the cluster takes 1024: take files out of it in time"),
        (1100, Severity.ERROR, "the cluster takes 1024: take files out of it"),
    ],
)
def test_course_files_near_the_limit(
    tmp_path: Path, size: int, severity: Severity | None, sentence: str
) -> None:
    site = tmp_path / "site"
    init.make_site(site, namespace="docs")
    for name in ("stats", "scip"):  # a file alone may have 1 MiB
        (site / "courses" / f"{name}.yaml").write_text("x" * (size * 512))
    found = standing.problems(wanted.read(site), whole(wanted.read(site)), SETTINGS)
    assert [problem.severity for problem in found] == [severity] * bool(severity)
    assert all(sentence in problem.message for problem in found)
    assert all(problem.key == "docs/configmap/courseyard-courses" for problem in found)


def test_every_object_of_the_site_is_read(made: Path) -> None:
    """Both overlays: each object with its namespace, and none twice."""
    for overlay in ("one-node", "site"):
        found = wanted.read(made / "kubernetes" / "overlays" / overlay)
        assert not found.problems
        keys = [(item.kind, item.namespace, item.name) for item in found.objects]
        assert len(keys) == len(set(keys))
        assert ("NetworkPolicy", "docs-users", "internet") in keys
        assert ("PersistentVolume", "", "docs-storage") in keys
        assert {space for _, space, _ in keys} == {"", "docs", "docs-users"}
        for item in found.objects:
            first = item.file.read_text().splitlines()[item.line - 1]
            assert first.startswith(("apiVersion", "kind")), (item.file, item.line)


def test_values_of_secrets_are_never_told(made: Path, seen: Seen) -> None:
    token = (made / "secrets" / "routes-token").read_text()
    for fault in FAULTS:
        changed = copy.deepcopy(seen)
        FAULTS[fault][0](changed)
        assert token not in json.dumps(said(made, changed))


TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("selector", "tolerations", "said"),
    [
        ({}, [], ""),
        ({"disk": "fast"}, [], ""),
        ({"disk": "fats"}, [], "courseyard.yaml:LINE: kubernetes.node_selector: no node has the label disk=fats,"),
        ({"room": "1"}, [], "courseyard.yaml:LINE: kubernetes.tolerations: does not bear the taint gpu=yes:NoSchedule"),
        ({"room": "1"}, [{"key": "gpu", "value": "yes"}], ""),
        ({"room": "1"}, [{"key": "gpu", "value": "no"}], "does not bear"),
        ({"room": "1"}, [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}], ""),
        ({"room": "1"}, [{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}], "does not bear"),
        ({"room": "1"}, [{"operator": "Exists"}], ""),
    ],
)  # fmt: skip
def test_servers_find_a_node(
    tmp_path: Path, selector: dict[str, str], tolerations: list[dict[str, str]], said: str
) -> None:
    seen = Seen()
    for name, labels, taints in (("a", {"disk": "fast"}, []), ("b", {"room": "1"}, [TAINT])):
        about = {"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}}
        seen.objects["Node", "", name] = about
    text = f"backend: kubernetes\nkubernetes:\n  node_selector: {json.dumps(selector)}\n"
    text += f"  tolerations: {json.dumps(tolerations)}\n"
    (tmp_path / "courseyard.yaml").write_text(text)
    (tmp_path / "courses").mkdir()
    settings = KubernetesSettings(node_selector=selector, tolerations=tuple(tolerations))
    site = Site(folder=tmp_path, backend="kubernetes", kubernetes=settings)
    found = [str(problem) for problem in nodes.problems(site, seen)]
    line = "3" if "node_selector" in said else "4"
    assert len(found) == bool(said)
    assert said.replace("LINE", line) in "".join(found)
    seen.unknown.add(("Node", ""))
    assert not list(nodes.problems(site, seen))


def test_what_kubelets_say_of_processes(made: Path, seen: Seen) -> None:
    site = load_site(made)
    wanted_limit = site.servers.processes

    def said(**limits: int) -> list[str]:
        seen.pids = limits
        return [str(problem).replace(f"{made}/", "") for problem in nodes.of_processes(site, seen)]

    assert said(node0=wanted_limit, node1=4 * wanted_limit) == []
    assert said() == [], "nobody said anything"
    (one,) = said(node0=wanted_limit, node1=-1)
    assert "courseyard.yaml" in one
    assert "the kubelet of node1 has no podPidsLimit" in one
    assert f"podPidsLimit: {wanted_limit}" in one
    (one,) = said(node0=100, node1=wanted_limit)
    assert "the kubelet of node0 gives a server 100" in one
