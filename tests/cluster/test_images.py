"""The images of deploy/images in a cluster: what they have, and under which rights they run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.rig import HUB, PROXY, PYTHON, REPOSITORY, Kube

NAMESPACE = "images-test"
UID, GID, GROUP = 20101, 20000, 20777
MOUNTS = ("/home/maija", "/tmp", "/notebooks", "/m/jupyter/u/01/maija", "/srv/nbgrader/exchange")

#: Runs in a pod of the Python image and writes what it found.
LOOK = r"""
import getpass, importlib.util, json, locale, os, pathlib, shutil, ssl, stat, struct, subprocess, sys

def told(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout

def files(top):
    for folder, _, names in os.walk(top):
        yield from (pathlib.Path(folder, name) for name in names)

def writable(path):
    try:
        pathlib.Path(path, "mine").touch()
    except OSError as error:
        return error.strerror
    return True

def fresh(path):
    "Whether Python takes the byte code of a file as it is."
    try:
        head = pathlib.Path(importlib.util.cache_from_source(path)).read_bytes()[:16]
    except FileNotFoundError:
        return False
    flags, changed = struct.unpack("<4xII4x", head)
    return flags == 1 or (flags == 0 and changed == int(path.stat().st_mtime))

def setuid():
    roots = [p for p in pathlib.Path("/").iterdir() if p.name not in ("proc", "sys", "dev")]
    for path in (path for root in roots for path in files(root)):
        try:
            if path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID):
                yield str(path)
        except FileNotFoundError:
            pass

import jupyterlab, nbgrader, numpy, pandas, matplotlib
modules = [p for top in (sys.prefix, "/opt/courseyard") for p in files(top) if p.suffix == ".py"]
print(json.dumps({
    "kernels": list(json.loads(told("jupyter", "kernelspec", "list", "--json"))["kernelspecs"]),
    "whoami": told("whoami").strip(),
    "groups": told("id", "-Gn").split(),
    "user": getpass.getuser(),
    "programs": [w for w in ("git", "ssh", "nano", "less", "ps", "uv", "pip", "sudo", "gcc") if shutil.which(w)],
    "prefix": sys.prefix,
    "encoding": locale.getpreferredencoding(),
    "authorities": ssl.create_default_context().cert_store_stats()["x509_ca"],
    "setuid": list(setuid()),
    "writable": {path: writable(path) for path in ("/", "/etc", sys.prefix, *MOUNTS)},
    "token": os.path.exists("/var/run/secrets/kubernetes.io"),
    "stale": [str(p) for p in modules if not fresh(p)],
    "modules": len(modules),
    "version": list(sys.version_info[:2]),
}))
"""


def pod(name: str, image: str, *words: str, as_person: bool = False) -> dict[str, Any]:
    """A pod under Pod Security ``restricted``, with a read-only root and no token.

    Args:
        words: the whole command line; empty for the image's own.
        as_person: with UID, groups, home and accounts of a person; else the image says the UID.
    """
    accounts = {
        "passwd": f"maija:x:{UID}:{GID}:Maija:/home/maija:/bin/bash\n",
        "group": f"users:x:{GID}:\nextra:x:{GROUP}:\n",
    }
    items = [
        {"path": key, "fieldRef": {"fieldPath": f"metadata.annotations['{key}']"}}
        for key in accounts
    ]
    security: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    mounts: list[dict[str, Any]] = [{"name": "scratch", "mountPath": "/tmp"}]
    if as_person:
        security |= {"runAsUser": UID, "runAsGroup": GID, "supplementalGroups": [GROUP]}
        mounts = [{"name": "scratch", "mountPath": path} for path in MOUNTS]
        mounts += [
            {"name": "accounts", "mountPath": f"/etc/{key}", "subPath": key} for key in accounts
        ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": accounts},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "securityContext": security,
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    **({"command": list(words)} if words else {}),
                    **({"env": [{"name": "HOME", "value": "/home/maija"}]} if as_person else {}),
                    "securityContext": {
                        "readOnlyRootFilesystem": True,
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": mounts,
                }
            ],
            "volumes": [
                {"name": "scratch", "emptyDir": {}},
                {"name": "accounts", "downwardAPI": {"items": items}},
            ],
        },
    }


@pytest.fixture(scope="module")
def cluster(kube: Kube) -> Iterator[Kube]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": NAMESPACE, "labels": labels}
    kube.delete("namespace", NAMESPACE)
    kube.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}])
    yield kube
    kube.delete("namespace", NAMESPACE, wait=False)


@pytest.fixture(scope="module")
def found(cluster: Kube) -> dict[str, Any]:
    """What a person sees in a pod of the Python image."""
    code = f"MOUNTS = {MOUNTS!r}\n{LOOK}"
    cluster.apply([pod("look", PYTHON, "python", "-c", code, as_person=True)])
    code_of_exit = cluster.ended("look", NAMESPACE, seconds=120)
    written = cluster.logs("look", NAMESPACE)
    assert code_of_exit == 0, written
    answer: dict[str, Any] = json.loads(written.splitlines()[-1])
    return answer


def outcome(cluster: Kube, manifest: dict[str, Any]) -> tuple[int, str]:
    name = manifest["metadata"]["name"]
    cluster.apply([manifest])
    return cluster.ended(name, NAMESPACE), cluster.logs(name, NAMESPACE)


def test_the_software_is_there(found: dict[str, Any]) -> None:
    assert found["prefix"] == "/opt/image"
    assert found["kernels"] == ["python3"]
    assert found["programs"] == ["git", "ssh", "nano", "less", "ps"]
    assert found["encoding"].lower() == "utf-8"
    assert found["authorities"] > 100


def test_the_person_has_a_name(found: dict[str, Any]) -> None:
    assert found["whoami"] == found["user"] == "maija"
    assert found["groups"] == ["users", "extra"]


def test_only_mounts_are_writable(found: dict[str, Any]) -> None:
    refused = dict.fromkeys(("/", "/etc", "/opt/image"), "Read-only file system")
    assert found["writable"] == refused | dict.fromkeys(MOUNTS, True)


def test_no_way_to_other_rights(found: dict[str, Any]) -> None:
    assert found["setuid"] == []
    assert found["token"] is False


def test_byte_code_is_there(found: dict[str, Any]) -> None:
    """A read-only root has no place for it later, and each start would compile anew."""
    assert found["modules"] > 5000
    assert len(found["stale"]) < 20, found["stale"][:40]


def test_the_start_program_asks_for_its_plan(cluster: Kube) -> None:
    """The image's own command and user: no shell, no root, nothing written."""
    status, written = outcome(cluster, pod("start", PYTHON))
    assert (status, "the plan of this server cannot be read" in written) == (1, True), written


def test_the_hub_answers(cluster: Kube) -> None:
    program = "/opt/courseyard/venv/bin/courseyard"
    status, written = outcome(cluster, pod("hub-version", HUB, program, "--version"))
    assert status == 0 and written.startswith("courseyard "), written
    # The image's own command, without words.
    _, written = outcome(cluster, pod("hub-help", HUB))
    assert "Usage: courseyard" in written


def test_the_hub_has_what_a_cluster_needs(cluster: Kube) -> None:
    code = (
        "import getpass, kubespawner, psycopg, jupyterhub_traefik_proxy, courseyard.hub.configure;"
        "print(getpass.getuser())"
    )
    words = ("/opt/courseyard/venv/bin/python", "-I", "-c", code)
    status, written = outcome(cluster, pod("hub-modules", HUB, *words))
    assert (status, written.strip()) == (0, "courseyard"), written


def test_the_proxy_is_traefik(cluster: Kube) -> None:
    status, written = outcome(cluster, pod("proxy-version", PROXY, "traefik", "version"))
    assert status == 0 and "Version:" in written, written


def test_the_images_share_their_first_stages() -> None:
    """What is the same line by line is built once, and loaded once into a node."""
    files = [
        REPOSITORY / "deploy" / "images" / name / "Dockerfile"
        for name in ("singleuser", "hub", "proxy")
    ]
    starts = {_first_stages(file) for file in files}
    assert len(starts) == 1


def _first_stages(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    return text[text.index("ARG BASE") : text.index("ENV UV_SYSTEM_CERTS")]
