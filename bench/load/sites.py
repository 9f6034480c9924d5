"""The two hubs that are compared, each with the same people and courses, in one cluster."""

from __future__ import annotations

import base64
import json
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.load.visitors import Place
from tests.cluster.deployed import Deployed
from tests.cluster.rig import HUB, PROXY, PYTHON, Kube

SCOPES = ["admin:users", "admin:servers", "access:servers", "read:metrics"]
SIMULATED: dict[str, Any] = {
    "node_selector": {"type": "simulated"},
    "tolerations": [{"key": "simulated", "operator": "Exists", "effect": "NoSchedule"}],
}
ANYWHERE: dict[str, Any] = {"node_selector": {}, "tolerations": []}
#: Room for 1,000 servers, the same for both.
HUB_ROOM = {
    "requests": {"cpu": "1", "memory": "512Mi"},
    "limits": {"cpu": "2", "memory": "3Gi"},
}
PROXY_ROOM = {
    "requests": {"cpu": "500m", "memory": "64Mi"},
    "limits": {"cpu": "2", "memory": "512Mi"},
}
_SERVICE = """
c.JupyterHub.services = [*c.JupyterHub.services, {{"name": "bench", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [
    *c.JupyterHub.load_roles,
    {{"name": "bench", "scopes": {scopes}, "services": ["bench"]}},
]
"""
_TRAEFIK = [
    "--global.checknewversion=false",
    "--global.sendanonymoususage=false",
    "--log.level=WARN",
    "--entrypoints.web.address=:8000",
    "--entrypoints.api.address=:8099",
    "--api=true",
    "--providers.providersthrottleduration=0s",
    "--providers.file.directory=/routes",
    "--providers.file.watch=true",
]
_CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


@dataclass(frozen=True)
class Crowd:
    """Who and what there is: ``people`` with UIDs, ``courses`` that each lists some of them."""

    people: list[str]
    courses: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, people: int, courses: int) -> Crowd:
        """Every fifth course is public; each person is on the list of three private ones."""
        names = [f"person{number:04d}" for number in range(people)]
        made: dict[str, dict[str, Any]] = {}
        for number in range(courses):
            listed = [name for i, name in enumerate(names) if (i - number) % courses < 3]
            made[f"course{number:03d}"] = {
                "name": f"Course {number}",
                "uid": 30000 + number,
                "gid": 30000 + number,
                "datadir": True,
                "private": number % 5 != 0,
                "contact": "help@example.org",
                "instructors": [names[number % people]],
                "students": listed,
                # So little that 60 of them have a place on two nodes of two cores.
                "kubespawner_override": {
                    "mem_limit": "1G",
                    "mem_guarantee": "100M",
                    "cpu_guarantee": 0.02,
                },
            }
        return cls(names, made)

    def people_file(self) -> str:
        found = {
            name: {"uid": 40000 + number, "gid": 20000, "name": f"Person {number}"}
            for number, name in enumerate(self.people)
        }
        return yaml.safe_dump({"groups": {"users": 20000}, "people": found})

    def course_of(self, username: str) -> str:
        """The course that a person starts: spread over all that are public."""
        public = [slug for slug, course in self.courses.items() if not course["private"]]
        return public[self.people.index(username) % len(public)]


def _server_side(kube: Kube, *words: str, stdin: str | None = None) -> None:
    """Apply without the copy in an annotation, which holds 256 KiB at most."""
    kube.kubectl("apply", "--server-side", "--force-conflicts", *words, input=stdin)


@contextmanager
def courseyard(kube: Kube, crowd: Crowd, pods: dict[str, Any]) -> Iterator[Place]:
    """Courseyard as ``courseyard init --kubernetes`` writes it."""
    yard = Deployed(kube, "loadyard", 30091)
    token = secrets.token_hex(16)
    try:
        yard.down()
        yard.make()
        _fill(yard, crowd, pods, token)
        shutil.rmtree(yard.storage, ignore_errors=True)
        _server_side(kube, "-k", str(yard.folder))
        yard.ready()
        yard.agent("storage", "apply", "/srv/courseyard")
        yield Place(
            "Courseyard",
            yard.namespace,
            yard.base,
            "/hub/home",
            token,
            lambda username: (crowd.course_of(username), {}),
        )
    finally:
        yard.down()


def _fill(yard: Deployed, crowd: Crowd, pods: dict[str, Any], token: str) -> None:
    """The crowd in the place of the example's courses and people."""
    for file in (yard.folder / "courses").glob("*.yaml"):
        file.unlink()
    for slug, course in crowd.courses.items():
        (yard.folder / "courses" / f"{slug}.yaml").write_text(yaml.safe_dump(course))
    kustomization = yard.folder / "kustomization.yaml"
    listed = "".join(f"      - courses/{slug}.yaml\n" for slug in crowd.courses)
    text = re.sub(r"(?:      - courses/.*\n)+", listed, kustomization.read_text())
    kustomization.write_text(text)
    (yard.folder / "people.yaml").write_text(crowd.people_file())
    passwords = {name: name for name in crowd.people}
    (yard.folder / "passwords.yaml").write_text(yaml.safe_dump(passwords))
    file = yard.folder / "courseyard.yaml"
    site = yaml.safe_load(file.read_text())
    site["kubernetes"] |= pods
    site["people"] |= {"administrators": [], "test_students": []}
    site["proxy"] = {"login_rate": 1_000_000}  # everybody comes from one address here
    file.write_text(yaml.safe_dump(site, allow_unicode=True))
    with (yard.folder / "jupyterhub_config.py").open("a") as config:
        config.write(_SERVICE.format(token=token, scopes=SCOPES))
    overlay = yard.folder / "kubernetes" / "overlays" / "one-node" / "kustomization.yaml"
    with overlay.open("a") as patches:
        path = "/spec/template/spec/containers/0/resources"
        for name, room in (("hub", HUB_ROOM), ("proxy", PROXY_ROOM)):
            patches.write(
                f"  - target: {{kind: Deployment, name: {name}}}\n    patch: |\n"
                f"      - {{op: replace, path: {path}, value: {json.dumps(room)}}}\n"
            )


@contextmanager
def seed(kube: Kube, crowd: Crowd, pods: dict[str, Any]) -> Iterator[Place]:
    """JupyterHub with KubeSpawner, a profile list and a pre-spawn hook (seed_config.py)."""
    token = secrets.token_hex(16)
    spaces = ("loadseed", "loadseed-users")
    try:
        _delete(kube, spaces)
        settings = {
            "token": token,
            "scopes": SCOPES,
            "namespace": spaces[0],
            "proxy_password": secrets.token_hex(16),
            "image": PYTHON,
            "simulated": pods is SIMULATED,
            **pods,
        }
        manifests = _seed_manifests(crowd, settings)
        _server_side(kube, "-f", "-", stdin=yaml.safe_dump_all(manifests))
        kube.kubectl("rollout", "status", "deployment/hub", "-n", spaces[0], "--timeout=180s")
        yield Place(
            "KubeSpawner, the seed's way",
            spaces[0],
            f"http://{kube.node_address()}:30092",
            "/hub/spawn",
            token,
            lambda username: (crowd.course_of(username), {"profile": crowd.course_of(username)}),
        )
    finally:
        _delete(kube, spaces)


def _delete(kube: Kube, spaces: tuple[str, ...]) -> None:
    for name in reversed(spaces):
        kube.kubectl("delete", "ns", name, "--ignore-not-found", "--timeout=240s")


def _seed_manifests(crowd: Crowd, settings: dict[str, Any]) -> list[dict[str, Any]]:
    space, users = settings["namespace"], f"{settings['namespace']}-users"
    config = (Path(__file__).parent / "seed_config.py").read_text()
    site = {
        "jupyterhub_config.py": config,
        "settings.json": json.dumps(settings),
        "people.yaml": crowd.people_file(),
    }
    courses = {f"{slug}.yaml": yaml.safe_dump(course) for slug, course in crowd.courses.items()}
    labels = {"app": "seed", "component": "hub"}
    return [
        _object("Namespace", space),
        _object("Namespace", users),
        _object("ServiceAccount", "hub", space),
        _object(
            "Role",
            "hub",
            users,
            api="rbac.authorization.k8s.io/v1",
            rules=[{"apiGroups": [""], "resources": ["*"], "verbs": ["*"]}],
        ),
        _object(
            "RoleBinding",
            "hub",
            users,
            api="rbac.authorization.k8s.io/v1",
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "hub"},
            subjects=[{"kind": "ServiceAccount", "name": "hub", "namespace": space}],
        ),
        _object("ConfigMap", "site", space, binaryData=_encoded(site)),
        _object("ConfigMap", "courses", space, binaryData=_encoded(courses)),
        _object("PersistentVolumeClaim", "state", space, spec=_CLAIM),
        _object("PersistentVolumeClaim", "storage", users, spec=_CLAIM),
        _object("Service", "hub", space, spec={"selector": labels, "ports": [{"port": 8081}]}),
        _object(
            "Service",
            "proxy",
            space,
            spec={
                "type": "NodePort",
                "selector": labels,
                "ports": [{"port": 8000, "nodePort": 30092}],
            },
        ),
        _object(
            "Deployment",
            "hub",
            space,
            api="apps/v1",
            spec={
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": _seed_pod()},
            },
        ),
    ]


def _seed_pod() -> dict[str, Any]:
    state = {"name": "state", "mountPath": "/state"}
    own = "import os; os.chown('/state', 10001, 10001)"
    routes = {"name": "routes", "mountPath": "/routes"}
    return {
        "serviceAccountName": "hub",
        "enableServiceLinks": False,
        "securityContext": {"runAsUser": 10001, "runAsGroup": 10001},
        "initContainers": [
            {
                "name": "own-state",
                "image": HUB,
                "command": ["/opt/courseyard/venv/bin/python", "-c", own],
                "securityContext": {"runAsUser": 0},
                "volumeMounts": [state],
            }
        ],
        "containers": [
            {
                "name": "hub",
                "image": HUB,
                "command": ["/opt/courseyard/venv/bin/jupyterhub"],
                "args": ["--config", "/srv/site/jupyterhub_config.py"],
                "workingDir": "/state",
                "resources": HUB_ROOM,
                "readinessProbe": {
                    "httpGet": {"path": "/hub/health", "port": 8081},
                    "periodSeconds": 2,
                    "timeoutSeconds": 10,
                },
                "volumeMounts": [
                    {"name": "site", "mountPath": "/srv/site"},
                    {"name": "courses", "mountPath": "/srv/courses"},
                    state,
                    {"name": "tmp", "mountPath": "/tmp"},
                    routes,
                ],
            },
            {
                "name": "proxy",
                "image": PROXY,
                "args": _TRAEFIK,
                "volumeMounts": [routes],
                "resources": PROXY_ROOM,
            },
        ],
        "volumes": [
            {"name": "site", "configMap": {"name": "site"}},
            {"name": "courses", "configMap": {"name": "courses"}},
            {"name": "state", "persistentVolumeClaim": {"claimName": "state"}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "routes", "emptyDir": {}},
        ],
    }


def _object(
    kind: str, name: str, namespace: str = "", api: str = "v1", **more: Any
) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **more}


def _encoded(files: dict[str, str]) -> dict[str, str]:
    return {name: base64.b64encode(text.encode()).decode() for name, text in files.items()}
