"""The pod beside an instructor's, in which students' code is graded. Pure.

It has the image and the place of the server, a UID that owns nothing, a student's groups, and of the server's folders
only those that students may read. Its network lets that server in and nothing out (deploy/kubernetes/base/users/policies.yaml).

It is made from what the cluster tells of the server's pod, so a hub that has just started needs no memory of it.
The server's pod owns it: Kubernetes ends it with the server
(kubernetes.io/docs/concepts/architecture/garbage-collection).
"""

from __future__ import annotations

import hashlib
from typing import Any

from courseyard.backends import beside
from courseyard.backends.kubernetes import manifests, plainpods, reasons
from courseyard.plan.model import ServerPlan
from courseyard.singleuser.courseyard_nbgrader import way
from courseyard.singleuser.grading import runner

Object = dict[str, Any]
COMPONENT = "courseyard-grading"
CONTAINER = "grading"
#: The UID of the server's pod; names are used again, UIDs are not.
OF_LABEL = "courseyard/grades-for"
RUNNER = ("/opt/image/bin/python", "-I", "/opt/courseyard/singleuser/grading/runner.py")
#: What it asks for while it waits.
_CORES, _MEMORY = "10m", str(48 * 1024**2)
#: What it has in common with the server's pod: where it may run, and how its image is fetched.
_SHARED = (
    *("affinity", "imagePullSecrets", "nodeSelector", "priorityClassName", "runtimeClassName"),
    *("schedulerName", "tolerations", "enableServiceLinks", "hostname"),
)
_WAY = "hub:"


def variables(key: str) -> dict[str, str]:
    """What the server's programs are told: the hub knows the address, and the runner asks for ``key``."""
    return {way.ADDRESS: f"{_WAY}{key}"}


def key_of(server: Object) -> str:
    """The key of an instructor's pod; "" of others, and of those whose runner is a second container."""
    given = _notebook(server["spec"]).get("env") or ()
    told = {each["name"]: each.get("value") or "" for each in given}
    found: str = told.get(way.ADDRESS, "")
    return found.removeprefix(_WAY) if found.startswith(_WAY) else ""


def pod(server: Object, name: str) -> Object:
    """The pod ``name`` beside ``server``, whose key is set.

    Raises:
        pydantic.ValidationError: the server's plan is of another version.
    """
    about = server["metadata"]
    plan = ServerPlan.from_json(about["annotations"][f"{manifests.ANNOTATION}plan.json"])
    inner = beside.plan_of(plan, about["uid"])
    owner = {"apiVersion": "v1", "kind": "Pod", "name": about["name"], "uid": about["uid"]}
    files = manifests.annotations_of(inner, "passwd", "group")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {**inner.labels, **plainpods.labels(COMPONENT), OF_LABEL: about["uid"]},
            "annotations": files | {"courseyard/title": plan.title},
            "ownerReferences": [owner],
        },
        "spec": _spec(server["spec"], inner, key_of(server)),
    }


def _spec(server: Object, inner: ServerPlan, key: str) -> Object:
    who, limits = inner.identity, inner.limits
    notebook = _notebook(server)
    (storage,) = (each for each in server["volumes"] if each["name"] == manifests.STORAGE)
    return {
        **{name: server[name] for name in _SHARED if name in server},
        "dnsPolicy": "None",  # a name is a way out
        "dnsConfig": {"nameservers": ["127.0.0.1"]},
        # A runner that cannot clean up after a submission ends, and begins anew.
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": who.uid,
            "runAsGroup": who.gid,
            "supplementalGroups": sorted({g.gid for g in who.supplementary} - {who.gid}),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                **plainpods.LAST_WORD,
                "name": CONTAINER,
                "image": notebook["image"],
                "imagePullPolicy": notebook["imagePullPolicy"],
                "command": list(RUNNER),
                "env": _environment(inner, key),
                "ports": [{"name": "runner", "containerPort": runner.PORT}],
                "securityContext": plainpods.rights(),
                "resources": {
                    "requests": {"cpu": _CORES, "memory": _MEMORY, **manifests.DISK},
                    "limits": {
                        **manifests.quantities(limits.cpu_limit, limits.mem_limit),
                        **manifests.DISK,
                    },
                },
                "volumeMounts": [
                    *manifests.memory_mounts(),
                    *manifests.identity_mounts("passwd", "group"),
                    *manifests.storage_mounts(inner.mounts),
                ],
            }
        ],
        "volumes": [
            storage,
            manifests.identity_volume("passwd", "group"),
            *manifests.memory_volumes(limits),
        ],
    }


def _notebook(server: Object) -> Object:
    """The container of the server itself; a cluster may have put others beside it."""
    found: Object = next(c for c in server["containers"] if c["name"] == reasons.CONTAINER)
    return found


def _environment(inner: ServerPlan, key: str) -> list[Object]:
    own = {
        # The lock alone: whoever reads it has no key.
        runner.LOCK: hashlib.sha256(key.encode()).hexdigest(),
        runner.PROCESSES: str(inner.limits.processes),
    }
    return [
        {"name": name, "value": value.replace("$", "$$")}
        for name, value in sorted((manifests.environment(inner) | own).items())
    ]
