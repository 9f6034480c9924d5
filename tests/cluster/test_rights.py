"""What the hub may do with the cluster's API: enough, and nothing of it could be left out."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.rig import PYTHON, REPOSITORY, Kube

NAMESPACE = "rights-test"
BASE = REPOSITORY / "deploy" / "kubernetes" / "base"
ROLE = next(
    item
    for item in yaml.safe_load_all((BASE / "users" / "rights.yaml").read_text())
    if item["kind"] == "Role"
)
VERBS = [(rule["resources"][0], verb) for rule in ROLE["rules"] for verb in rule["verbs"]]


@pytest.fixture(scope="module")
def account(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A kubeconfig of a service account with the hub's role."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    about = {"name": "hub", "namespace": NAMESPACE}
    kube.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about},
            ROLE | {"metadata": {"name": "hub", "namespace": NAMESPACE}},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": about,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "hub"},
                "subjects": [{"kind": "ServiceAccount", **about}],
            },
        ]
    )  # fmt: skip
    token = kube.kubectl("create", "token", "hub", "-n", NAMESPACE).strip()
    config = json.loads(kube.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    file = tmp_path_factory.mktemp("rights") / "kubeconfig"
    file.write_text(json.dumps(config))
    yield file
    kube.kubectl("delete", "ns", NAMESPACE, "--wait=false")


def probe(account: Path) -> str:
    """``ok``, or the end of what the probe says."""
    name = f"server-{secrets.token_hex(4)}"
    words = [
        sys.executable,
        "-m",
        "tests.cluster.rbac_probe",
        str(account),
        NAMESPACE,
        PYTHON,
        name,
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, cwd=REPOSITORY)
    return done.stdout.strip() if done.returncode == 0 else done.stderr[-2000:]


def test_the_rights_are_enough(account: Path) -> None:
    assert probe(account) == "ok"


@pytest.mark.parametrize(("resource", "verb"), VERBS, ids=lambda word: word.replace("/", "-"))
def test_none_could_be_left_out(kube: Kube, account: Path, resource: str, verb: str) -> None:
    rules: list[dict[str, Any]] = json.loads(json.dumps(ROLE["rules"]))
    for rule in rules:
        if rule["resources"] == [resource]:
            rule["verbs"].remove(verb)
    kept = [rule for rule in rules if rule["verbs"]]
    kube.apply([ROLE | {"rules": kept, "metadata": {"name": "hub", "namespace": NAMESPACE}}])
    try:
        assert probe(account) != "ok"
    finally:
        kube.apply([ROLE | {"metadata": {"name": "hub", "namespace": NAMESPACE}}])


@pytest.mark.parametrize(
    "words",
    [
        ("get", "secrets"),
        ("list", "configmaps"),
        ("create", "pods", "--subresource=exec"),
        ("create", "pods", "--subresource=ephemeralcontainers"),
        ("patch", "pods"),
        ("create", "serviceaccounts", "--subresource=token"),
        ("create", "rolebindings"),
        ("list", "nodes"),
    ],
    ids=lambda words: "-".join(words).replace("/", "-"),
)
def test_nothing_else_is_allowed(kube: Kube, account: Path, words: tuple[str, ...]) -> None:
    asked = [f"--kubeconfig={account}", "auth", "can-i", *words, "-n", NAMESPACE]
    done = subprocess.run([*kube.program, *asked], capture_output=True, text=True)
    assert done.stdout.strip() == "no"
    elsewhere = [f"--kubeconfig={account}", "auth", "can-i", "list", "pods", "-n", "default"]
    done = subprocess.run([*kube.program, *elsewhere], capture_output=True, text=True)
    assert done.stdout.strip() == "no"


HOSTILE: dict[str, dict[str, Any]] = {
    "root": {"securityContext": {"runAsUser": 0}},
    "privileged": {"containers": [{"name": "x", "image": PYTHON, "securityContext": {"privileged": True}}]},
    "capability": {
        "containers": [
            {"name": "x", "image": PYTHON, "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}
        ]
    },
    "host path": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
    "host network": {"hostNetwork": True},
    "host processes": {"hostPID": True},
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hub_that_was_taken_over_makes_no_pod_with_rights(
    kube: Kube, account: Path, what: str
) -> None:
    """Refused by Pod Security, and taken by the API server once that label is away."""
    harmless = {
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": 20000, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "x",
                "image": PYTHON,
                "securityContext": {
                    "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }  # fmt: skip

    def make(changes: dict[str, Any]) -> str:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "evil", "namespace": NAMESPACE},
               "spec": harmless | changes}  # fmt: skip
        words = [*kube.program, f"--kubeconfig={account}", "create", "--dry-run=server", "-f", "-"]
        done = subprocess.run(words, input=json.dumps(pod), capture_output=True, text=True)
        return done.stderr

    label = "pod-security.kubernetes.io/enforce"
    assert make({}) == ""
    assert "violates PodSecurity" in make(HOSTILE[what])
    kube.kubectl("label", "ns", NAMESPACE, f"{label}-")
    try:
        assert "violates PodSecurity" not in make(HOSTILE[what])
    finally:
        kube.kubectl("label", "ns", NAMESPACE, f"{label}=restricted")
