"""The second container of an instructor's pod, in which students' code is graded. Pure.

It begins before the server and ends with it (a "sidecar": an init container that is restarted,
kubernetes.io/docs/concepts/workloads/pods/sidecar-containers). It has the image and the UID of the
server, the pod's network, and none of its folders but those that students may read.
"""

from __future__ import annotations

from typing import Any

from courseyard.backends.kubernetes import plainpods
from courseyard.plan.model import Identity, ServerPlan
from courseyard.singleuser.courseyard_nbgrader import tunnel
from courseyard.singleuser.grading import runner

CONTAINER = "grading"
#: Containers of a pod share its loopback.
VARIABLES = {tunnel.ADDRESS: f"tcp:127.0.0.1:{runner.PORT}"}
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


def container(server: dict[str, Any], limits: dict[str, str], inner: ServerPlan) -> dict[str, Any]:
    """The container beside the server's.

    Args:
        server: what it has in common with the server's, and its ``env`` and ``volumeMounts``.
        limits: what it may use, as quantities.
        inner: its plan (backends/beside.py).
    """
    disk = {"ephemeral-storage": limits["ephemeral-storage"]}
    return {
        **server,
        **plainpods.LAST_WORD,
        "name": CONTAINER,
        "command": list(RUNNER),
        "restartPolicy": "Always",
        "securityContext": _rights(inner.identity),
        "resources": {"requests": {"cpu": _CORES, "memory": _MEMORY, **disk}, "limits": limits},
        "volumeMounts": [
            {"name": _TMP, "mountPath": "/tmp"},  # noqa: S108
            {"name": _SHM, "mountPath": "/dev/shm"},  # noqa: S108
            *server["volumeMounts"],
        ],
    }


def _rights(who: Identity) -> dict[str, Any]:
    return {
        "runAsUser": who.uid,
        "runAsGroup": who.gid,
        "runAsNonRoot": True,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
