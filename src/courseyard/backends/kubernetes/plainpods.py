"""What pods of ours that are no server have in common: no token, no rights, the nodes of servers."""

from __future__ import annotations

from typing import Any

from courseyard.settings import KubernetesSettings

#: Of every container in which code of people's runs. The kubelet gives each a file for a last word: on the
#: node's disk, writable by all, counted by no limit, by default as `/dev/termination-log`. Here it lies
#: below a folder that no person enters; nothing of ours reads or writes it.
LAST_WORD = {"terminationMessagePath": "/root/termination-log"}


def rights() -> dict[str, Any]:
    """Those of a container, as Pod Security `restricted` asks for."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def labels(part: str) -> dict[str, str]:
    """Never `courseyard/site`: the hub removes pods with it that none of its servers has."""
    return {"app": "courseyard", "component": part}


def spec(settings: KubernetesSettings, uid: int, gid: int) -> dict[str, Any]:
    """The part of a pod's specification that says under which rights and where it runs."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": uid,
            "runAsGroup": gid,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
        "nodeSelector": dict(settings.node_selector),
        "tolerations": [dict(each) for each in settings.tolerations],
    }
