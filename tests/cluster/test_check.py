"""``courseyard check --kubernetes`` against a site that runs: each fault is made, found and mended."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from kubernetes_asyncio.config import kube_config

from courseyard.backends.kubernetes.check import pods, probe, run, wanted
from courseyard.cli import init
from courseyard.cli.sites import open_site
from courseyard.errors import Problem
from tests.cluster.deployed import Deployed
from tests.cluster.rig import PYTHON

#: Courses of the site whose images are in no node.
WITHOUT_IMAGE = ("noimage", "scip-gpu")
ENFORCE = "pod-security.kubernetes.io/enforce"


@pytest.fixture(scope="module")
def whole(yard: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the site that runs, without the courses that lack an image."""
    folder = tmp_path_factory.mktemp("check") / "site"
    shutil.copytree(yard.folder, folder)
    for slug in WITHOUT_IMAGE:
        (folder / "courses" / f"{slug}.yaml").unlink()
        change(folder / "kustomization.yaml", f"      - courses/{slug}.yaml\n", "")
    return folder


@pytest.fixture
def site(whole: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(whole, tmp_path / "site"))


@pytest.fixture(autouse=True)
def nothing_is_left(yard: Deployed) -> Iterator[None]:
    yield
    yard.wait(lambda: not probe_pods(yard), 60, "the pods of probes are gone")


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def probe_pods(yard: Deployed) -> list[str]:
    words = ("get", "pods", "-A", "-l", pods.PROBE_LABEL, "-o", "name")
    return yard.kube.kubectl(*words).split()


def command(yard: Deployed, site: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "courseyard.cli", "check", "--kubernetes", str(site), *words]


def environment(yard: Deployed, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("COURSEYARD_")}
    return kept | {"KUBECONFIG": str(yard.kube.kubeconfig)} | more


@pytest.fixture
def found(yard: Deployed, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What the check of a site says about the cluster; in this process, since imports take seconds."""
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(yard.kube.kubeconfig))

    def check(site: Path, *, probing: bool = False) -> list[str]:
        known = open_site(site)
        problems: list[Problem] = run.problems(
            known.site, known.catalog, known.snapshot, lambda part, what: None, probing=probing
        )
        return [str(problem).replace(f"{site}/", "") for problem in problems]

    return check


def told(found: list[str], *parts: str) -> None:
    """Each of the parts is in one of the sentences."""
    for part in parts:
        assert any(part in line for line in found), (part, found)


def test_all_good(yard: Deployed, whole: Path) -> None:
    words = command(yard, whole)
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, env=environment(yard))
    assert (done.stdout, done.returncode) == ("", 0), done.stdout + done.stderr
    assert done.stderr.splitlines()[-1] == "All good."
    assert "Trying whether one server reaches another …" in done.stderr


def test_a_site_that_is_not_there_yet(tmp_path: Path, found: Callable[..., list[str]]) -> None:
    site = tmp_path / "fresh"
    init.make_site(site, namespace="fresh")
    [only] = found(site, probing=True)
    assert "namespace/fresh: warning: is not there yet" in only
    change(
        site / "kubernetes/base/hub/hub.yaml",
        "spec:\n  accessModes: [ReadWriteOnce]",
        "spec:\n  storageClassName: fast\n  accessModes: [ReadWriteOnce]",
    )
    told(found(site), "fresh/persistentvolumeclaim/hub-state: the StorageClass fast is not there")


def test_policies_that_are_gone(
    yard: Deployed, whole: Path, found: Callable[..., list[str]]
) -> None:
    yard.kube.kubectl("delete", "networkpolicy", "--all", "-n", yard.users)
    try:
        said = found(whole, probing=True)
    finally:
        yard.apply()
    told(
        said,
        "yard-users/networkpolicy/nothing-else: is not there",
        "yard-users/networkpolicy/servers: is not there",
        "one server reaches another one, so policies are not enforced",
        "servers reach the cluster's API server, so policies are not enforced",
    )
    assert found(whole, probing=True) == []


def test_policies_that_stand_and_do_not_act(
    yard: Deployed, whole: Path, found: Callable[..., list[str]]
) -> None:
    """As with a network that enforces none: everything is there, and nothing is closed."""
    anything = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "anything", "namespace": yard.users},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{}],
            "egress": [{}],
        },
    }
    yard.kube.apply([anything])
    try:
        assert found(whole) == []
        said = found(whole, probing=True)
    finally:
        yard.kube.delete("networkpolicy", "anything", yard.users)
    assert len(said) == 2, said
    told(said, "one server reaches another one", "servers reach the cluster's API server")


def test_names_that_are_not_found(
    yard: Deployed, whole: Path, found: Callable[..., list[str]]
) -> None:
    """The policy that lets proxies ask for names is away."""
    yard.kube.delete("networkpolicy", "proxy", yard.namespace)
    try:
        said = found(whole, probing=True)
    finally:
        yard.apply()
    assert len(said) == 2, said
    told(
        said,
        "yard/networkpolicy/proxy: is not there",
        "yard/service/hub: the name hub.yard is not found",
    )


def test_servers_that_do_not_reach_the_hub(
    yard: Deployed, whole: Path, found: Callable[..., list[str]]
) -> None:
    """Told as that, and not as a network that is well closed."""
    yard.kube.delete("networkpolicy", "servers", yard.users)
    try:
        said = found(whole, probing=True)
    finally:
        yard.apply()
    assert len(said) == 2, said
    told(said, "networkpolicy/servers: is not there", "a server does not reach the hub at ")


def test_a_right_that_is_taken_away(
    yard: Deployed, whole: Path, found: Callable[..., list[str]]
) -> None:
    files = wanted.read(whole)
    role = next(item.data for item in files.objects if item.kind == "Role")
    less = json.loads(json.dumps(role))
    less["metadata"]["namespace"] = yard.users
    less["rules"] = [
        rule | {"verbs": [verb for verb in rule["verbs"] if verb != "delete"]}
        for rule in less["rules"]
        if rule["resources"] != ["pods/log"]
    ]
    yard.kube.apply([less])
    try:
        [said] = found(whole)
    finally:
        yard.apply()
    assert "yard/serviceaccount/hub: may not delete pods, get pods/log in yard-users" in said
    assert found(whole) == []


def claim(yard: Deployed, **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"storage": "1Mi"}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "trial", "namespace": yard.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources, **spec},
    }


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"storageClassName": ""}, "is pending, so every pod that needs it waits"),
        ({"storageClassName": "fast"}, "the StorageClass fast is not there"),
        (
            {"storageClassName": "", "volumeName": "nowhere"},
            "waits for the volume nowhere, which is not there",
        ),
    ],
)
def test_a_claim_that_stays_pending(
    yard: Deployed,
    whole: Path,
    found: Callable[..., list[str]],
    spec: dict[str, Any],
    sentence: str,
) -> None:
    yard.kube.apply([claim(yard, **spec)])
    try:
        yard.kube.wait("pvc", "trial", "jsonpath={.status.phase}=Pending", yard.namespace)
        [said] = found(whole)
    finally:
        yard.kube.delete("pvc", "trial", yard.namespace)
    assert f"yard/persistentvolumeclaim/trial: {sentence}" in said


def test_no_class_is_the_default(
    yard: Deployed, whole: Path, tmp_path: Path, found: Callable[..., list[str]]
) -> None:
    classes = yard.kube.find("storageclass")
    key = "storageclass.kubernetes.io/is-default-class"
    defaults = [
        item["metadata"]["name"]
        for item in classes
        if (item["metadata"].get("annotations") or {}).get(key) == "true"
    ]
    fresh = tmp_path / "fresh"
    init.make_site(fresh, namespace="fresh")
    try:
        for name in defaults:
            yard.kube.kubectl("annotate", "storageclass", name, f"{key}-")
        yard.kube.apply([claim(yard)])
        yard.kube.wait("pvc", "trial", "jsonpath={.status.phase}=Pending", yard.namespace)
        [said] = found(whole)
        before = found(fresh)
    finally:
        for name in defaults:
            yard.kube.kubectl("annotate", "storageclass", name, f"{key}=true", "--overwrite")
        yard.kube.delete("pvc", "trial", yard.namespace)
    assert "trial: names no StorageClass, and the cluster has no default" in said
    told(before, "fresh/persistentvolumeclaim/hub-state: names no StorageClass")


def test_no_node_for_servers(site: Path, found: Callable[..., list[str]]) -> None:
    """Told without pods that would wait for a node until their time is over."""
    change(
        site / "courseyard.yaml", "kubernetes:\n", "kubernetes:\n  node_selector: {room: none}\n"
    )
    told(found(site), "kubernetes.node_selector: ", "no node has the label room=none")


@pytest.mark.parametrize("policy", ["Never", "IfNotPresent"])
def test_an_image_that_is_missing(site: Path, found: Callable[..., list[str]], policy: str) -> None:
    course = "name: Lost\nimage: nowhere/missing:1\n"
    override = f"kubespawner_override: {{image_pull_policy: {policy}}}\n"
    (site / "courses" / "lost.yaml").write_text(course + override)
    [said] = found(site, probing=True)
    assert said.startswith("courses/lost.yaml:2: image: the image nowhere/missing:1, which"), said
    assert "cannot be fetched" in said


def test_the_image_of_everything_is_missing(site: Path, found: Callable[..., list[str]]) -> None:
    """Then nothing ran, and nothing is said about the network."""
    change(site / "images.yaml", PYTHON, "courseyard-python:never")
    [said] = found(site, probing=True)
    assert said.startswith("images.yaml:")
    assert "the image courseyard-python:never, which the environment python uses" in said


def test_an_image_that_is_no_server(site: Path, found: Callable[..., list[str]]) -> None:
    """The hub's image has another Python and no start program."""
    (site / "courses" / "odd.yaml").write_text("name: Odd\nimage: courseyard-hub:dev\n")
    [said] = found(site, probing=True)
    assert said.startswith("courses/odd.yaml:2: image: the image courseyard-hub:dev"), said
    assert "cannot run a server" in said


def test_a_label_that_is_removed(
    yard: Deployed, whole: Path, found: Callable[..., list[str]]
) -> None:
    yard.kube.kubectl("label", "ns", yard.users, f"{ENFORCE}-")
    try:
        said = found(whole, probing=True)
    finally:
        yard.apply()
    assert len(said) == 2, said
    told(said, f"its label {ENFORCE} is missing", "a privileged pod would be taken")
    assert found(whole) == []


def test_a_secret_that_is_deleted(
    yard: Deployed, whole: Path, found: Callable[..., list[str]]
) -> None:
    hub = yard.kube.get("deployment", "hub", yard.namespace) or {}
    containers = hub["spec"]["template"]["spec"]["containers"]
    reference = next(e["valueFrom"] for c in containers for e in c.get("env", ()))
    name = reference["secretKeyRef"]["name"]
    yard.kube.delete("secret", name, yard.namespace)
    yard.kube.delete("configmap", "courseyard-courses", yard.namespace)
    try:
        said = found(whole)
    finally:
        yard.apply()
    told(
        said,
        f"yard/deployment/proxy: its pods need the Secret {name}, which is not there",
        f"yard/deployment/hub: its pods need the Secret {name}, which is not there",
        "yard/deployment/hub: its pods need the ConfigMap courseyard-courses, which is not there",
    )
    assert found(whole) == []


def test_a_clock_that_is_wrong(
    whole: Path, found: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of this machine, as the nodes' own cannot be set: they are then ahead of it."""
    late = SimpleNamespace(time=lambda: time.time() - 3600, monotonic=time.monotonic)
    monkeypatch.setattr(probe, "time", late)
    said = found(whole, probing=True)
    assert said
    assert all("its clock is 3600 s ahead of this machine's" in line for line in said), said


def test_whoever_may_only_look(yard: Deployed, whole: Path, tmp_path: Path) -> None:
    """Rights that the caller lacks are told as that, and no pod is made."""
    kube = yard.kube
    about = {"name": "looker", "namespace": yard.namespace}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "yard-looker"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", **about}],
    }
    kube.apply([account, binding])
    try:
        token = kube.kubectl("create", "token", "looker", "-n", yard.namespace).strip()
        config = json.loads(kube.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(config))
        done = subprocess.run(
            command(yard, whole, "--json"), capture_output=True, text=True, timeout=240,
            env=environment(yard, KUBECONFIG=str(file)),
        )  # fmt: skip
    finally:
        kube.kubectl("delete", "clusterrolebinding", "yard-looker")
        kube.delete("serviceaccount", "looker", yard.namespace)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert {item["severity"] for item in said} == {"warning"}
    keys = {item["key"] for item in said}
    assert {"node", "yard/role", "subjectaccessreview"} <= keys, keys
    assert any("you may not make pods in it" in item["message"] for item in said), said


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_check_that_is_interrupted(yard: Deployed, whole: Path, how: signal.Signals) -> None:
    words, more = command(yard, whole), environment(yard)
    # A program that a script starts by `&` ignores SIGINT, and what it starts ignores it as well.
    heeds = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, env=more, preexec_fn=heeds
    ) as process:
        try:
            yard.wait(lambda: probe_pods(yard), 60, "pods of the probe")
            process.send_signal(how)
            _, written = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode not in (0, -how)
    assert "Traceback" not in written
    yard.wait(lambda: not probe_pods(yard), 60, "the pods are gone")


def test_pods_of_a_check_that_was_killed(
    yard: Deployed, whole: Path, found: Callable[..., list[str]]
) -> None:
    """They end by themselves, and the next check takes them away."""
    settings = open_site(whole).site.kubernetes
    left = pods.manifest(pods.server("old", "listens", PYTHON, settings, {}), settings)
    left["spec"]["activeDeadlineSeconds"] = 1
    yard.kube.apply([left])
    name = left["metadata"]["name"]
    yard.kube.wait("pod", name, "jsonpath={.status.phase}=Failed", yard.users, 60)
    assert found(whole, probing=True) == []
    yard.wait(lambda: not probe_pods(yard), 60, "the old pod is gone")


def test_files_are_read_as_kustomize_reads_them(yard: Deployed) -> None:
    """Every object with its namespace; what is made of files has a hash in its name there."""
    made = yaml.safe_load_all(yard.kube.kubectl("kustomize", str(yard.folder)))
    theirs = {
        (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])
        for item in made
    }
    files = wanted.read(yard.folder)
    ours = {(item.kind, item.namespace, item.name) for item in files.objects}
    generated = {(item.kind, item.namespace, item.name) for item in files.generated}
    rest = theirs - ours
    assert ours <= theirs
    assert len(rest) == len(generated)
    for kind, space, name in rest:
        assert any(
            (kind, space) == (its, at) and name.startswith(stem) for its, at, stem in generated
        )
