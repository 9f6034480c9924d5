"""The second container of an instructor's pod, in which students' code is graded. Pure.

It begins before the server and ends with it (a "sidecar": an init container that is restarted,
kubernetes.io/docs/concepts/workloads/pods/sidecar-containers). It has the image and the UID of the
server, the pod's network, and none of its folders but those that students may read.
"""

from __future__ import annotations

from typing import Any

from courseyard.plan.model import Grading, ServerPlan

CONTAINER = "grading"
#: Containers of a pod share its loopback (singleuser/grading/runner.py).
VARIABLES = {"COURSEYARD_GRADING": "tcp:127.0.0.1:8082"}
RUNNER = ("/opt/image/bin/python", "-I", "/opt/courseyard/singleuser/grading/runner.py")
_TMP, _SHM = "grading-tmp", "grading-shm"
#: What it asks for while it waits.
_CORES, _MEMORY = "10m", str(48 * 1024**2)


def volumes(plan: ServerPlan) -> list[dict[str, Any]]:
    """Its folders in memory; none without grading."""
    if plan.grading is None:
        return []
    sizes = {_TMP: plan.limits.tmp_size, _SHM: plan.limits.shm_size}
    return [
        {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": str(size)}}
        for name, size in sizes.items()
    ]


def containers(
    plan: ServerPlan, server: dict[str, Any], environment: dict[str, str], disk: str
) -> list[dict[str, Any]]:
    """The container beside the server's; none without grading.

    Args:
        server: ``image``, ``imagePullPolicy`` of the server's.
        environment: what every program of a pod gets, over the plan's.
        disk: bytes of the node's disk that it may use.
    """
    if plan.grading is None:
        return []
    limits = plan.limits
    variables = {**plan.grading.environment, **environment}
    return [
        {
            "name": CONTAINER,
            **server,
            "command": list(RUNNER),
            "restartPolicy": "Always",
            "env": [
                {"name": name, "value": value.replace("$", "$$")}
                for name, value in sorted(variables.items())
            ],
            "securityContext": _rights(plan.grading),
            "resources": {
                "requests": {"cpu": _CORES, "memory": _MEMORY, "ephemeral-storage": disk},
                "limits": {
                    "cpu": f"{round(limits.cpu_limit * 1000)}m",
                    "memory": str(limits.mem_limit),
                    "ephemeral-storage": disk,
                },
            },
            "volumeMounts": _mounts(plan.grading),
        }
    ]


def _rights(grading: Grading) -> dict[str, Any]:
    return {
        "runAsUser": grading.identity.uid,
        "runAsGroup": grading.identity.gid,
        "runAsNonRoot": True,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _mounts(grading: Grading) -> list[dict[str, Any]]:
    return [
        {"name": _TMP, "mountPath": "/tmp"},  # noqa: S108
        {"name": _SHM, "mountPath": "/dev/shm"},  # noqa: S108
        *(
            {"name": "identity", "mountPath": f"/etc/{name}", "subPath": name, "readOnly": True}
            for name in ("passwd", "group")
        ),
        *(
            {
                "name": "storage",
                "mountPath": mount.target,
                "subPath": mount.source,
                "readOnly": True,
            }
            for mount in grading.mounts
        ),
    ]
