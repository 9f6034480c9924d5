"""A plan as the settings of a KubeSpawner, which makes the pod. Pure: reads and writes nothing.

The pod fits the Pod Security standard ``restricted``
(kubernetes.io/docs/concepts/security/pod-security-standards): an ordinary UID, no capabilities, no
service-account token, the runtime's seccomp filter; besides, a read-only root file system.

``fsGroup`` is never set: the kubelet would give the whole storage to that group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from courseyard.backends import identity
from courseyard.backends.kubernetes import plainpods
from courseyard.plan.model import Limits, Mount, ServerPlan
from courseyard.settings import KubernetesSettings, Site

PORT = 8888
#: Where the start program finds the plan; the other two are where every program looks.
FILES = {
    "plan.json": "/etc/courseyard/plan.json",
    "passwd": "/etc/passwd",
    "group": "/etc/group",
}
ANNOTATION = "courseyard/file-"
SITE_LABEL = "courseyard/site"
NETWORK_LABEL = "courseyard/network"
#: Of servers that have a pod for grading beside them: the network opens the way to those.
GRADES_LABEL = "courseyard/grades"
COMPONENT = "courseyard-server"
HOSTNAME = "courseyard"
_START = ("/opt/image/bin/python", "-I", "/opt/courseyard/singleuser/start.py")
STORAGE = "storage"
_HOME, _TMP, _SHM, _IDENTITY = "home", "tmp", "shm", "identity"
#: Logs and the layer that nobody can write: what a container may use of its node's disk.
DISK = {"ephemeral-storage": str(256 * 1024**2)}


@dataclass(frozen=True, slots=True)
class Cluster:
    """What pods need to know of their cluster."""

    site: str  # label value; tells the pods of two sites apart
    settings: KubernetesSettings

    @classmethod
    def of(cls, site: Site) -> Cluster:
        return cls(site.kubernetes.site_label, site.kubernetes)


def traits(plan: ServerPlan, cluster: Cluster) -> dict[str, Any]:
    """Trait → value of a KubeSpawner (7.1) that runs ``plan``; the same traits for every plan.

    What a site allows beside the usual keys comes first, so that it never hides a line of ours.
    """
    own = plan.kubernetes
    return {
        **_untouched(),
        **own.site_allowed,
        **_software(plan, cluster.settings),
        **_rights(plan),
        **_resources(plan),
        **_place(plan, cluster.settings),
        "namespace": cluster.settings.users_namespace,
        "component_label": COMPONENT,
        "common_labels": {SITE_LABEL: cluster.site},
        "extra_labels": labels_of(plan),
        "extra_annotations": annotations_of(plan),
        "environment": environment(plan),
        "volumes": volumes(plan, cluster.settings.storage_claim),
        "volume_mounts": volume_mounts(plan),
        # A server that ends has ended: the hub tells the person why.
        "extra_pod_config": {
            "restart_policy": "Never",
            "hostname": HOSTNAME,
            "enable_service_links": False,
            "dns_policy": "ClusterFirst" if plan.network == "full" else "None",
            "dns_config": None if plan.network == "full" else {"nameservers": ["127.0.0.1"]},
        },
    }


def _untouched() -> dict[str, Any]:
    """Traits that no plan sets, so that nothing of an earlier start or a profile stays."""
    return {
        "profile_list": [],
        "init_containers": [],
        "extra_containers": [],
        "lifecycle_hooks": {},
        "modify_pod_hook": None,
        "after_pod_created_hook": None,
        "working_dir": None,
        "scheduler_name": None,
        "pod_affinity_preferred": [],
        "pod_affinity_required": [],
        "pod_anti_affinity_preferred": [],
        "pod_anti_affinity_required": [],
        "storage_pvc_ensure": False,
        "delete_stopped_pods": True,
        "enable_user_namespaces": False,
        "services_enabled": False,
    }


def _software(plan: ServerPlan, settings: KubernetesSettings) -> dict[str, Any]:
    return {
        "image": full_reference(plan.image.reference, settings.registry),
        "image_pull_policy": plan.kubernetes.image_pull_policy or settings.image_pull_policy,
        "image_pull_secrets": list(settings.image_pull_secrets),
        # As the command, so that an image's own entry point does not matter.
        "extra_container_config": {"command": list(_START), **plainpods.LAST_WORD},
        "cmd": None,
        "args": [],
        "ip": "0.0.0.0",
        "port": PORT,
    }


def full_reference(reference: str, registry: str) -> str:
    """``reference`` with the site's registry before it, unless it names a host itself.

    A first part with a dot or a colon, or ``localhost``, is a host
    (github.com/distribution/reference, normalize.go).
    """
    first, slash, _ = reference.partition("/")
    names_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return reference if names_host or not registry else f"{registry.rstrip('/')}/{reference}"


def _rights(plan: ServerPlan) -> dict[str, Any]:
    who = plan.identity
    return {
        "uid": who.uid,
        "gid": who.gid,
        "fs_gid": None,
        "supplemental_gids": sorted({group.gid for group in who.supplementary} - {who.gid}),
        "privileged": False,
        "allow_privilege_escalation": False,
        "service_account": None,
        "automount_service_account_token": False,
        "container_security_context": {
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "pod_security_context": {
            "runAsNonRoot": True,
            "runAsUser": who.uid,
            "runAsGroup": who.gid,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _resources(plan: ServerPlan) -> dict[str, Any]:
    """Requests and limits; as text too, because a quantity is text in Kubernetes' own schema."""
    limits = plan.limits
    return {
        "mem_limit": limits.mem_limit,
        "mem_guarantee": limits.mem_guarantee,
        "cpu_limit": limits.cpu_limit,
        "cpu_guarantee": limits.cpu_guarantee,
        "extra_resource_limits": {
            **quantities(limits.cpu_limit, limits.mem_limit), **DISK, **limits.extra_limits,
        },
        "extra_resource_guarantees": {
            **quantities(limits.cpu_guarantee, limits.mem_guarantee),
            **DISK,
            **limits.extra_guarantees,
        },
    }  # fmt: skip


def quantities(cores: float, memory: int) -> dict[str, str]:
    """As Kubernetes writes them; ``memory`` in bytes."""
    return {"cpu": f"{round(cores * 1000)}m", "memory": str(memory)}


def _place(plan: ServerPlan, settings: KubernetesSettings) -> dict[str, Any]:
    own = plan.kubernetes
    lost = [
        {
            "key": f"node.kubernetes.io/{state}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": settings.node_lost_after,
        }
        for state in ("not-ready", "unreachable")
    ]
    return {
        "node_selector": {**settings.node_selector, **own.node_selector},
        "tolerations": [*map(dict, settings.tolerations), *map(dict, own.tolerations), *lost],
        "node_affinity_required": list(own.node_affinity_required),
        "node_affinity_preferred": list(own.node_affinity_preferred),
        "priority_class_name": own.priority_class_name or "",
    }


def labels_of(plan: ServerPlan) -> dict[str, str]:
    """What the pod is found by, and what the network knows it by."""
    found = {**plan.labels, NETWORK_LABEL: plan.network}
    return found if plan.grading is None else {**found, GRADES_LABEL: "true"}


def annotations_of(plan: ServerPlan, *names: str) -> dict[str, str]:
    """What the pod's files ``names`` (all without any) are made of, and who it is for a person who looks."""
    who = plan.identity
    texts = {
        "plan.json": plan.to_json(indent=None),
        "passwd": identity.passwd(who),
        "group": identity.group(who),
    }
    return {
        "courseyard/title": plan.title,
        "courseyard/username": who.username,
        **{f"{ANNOTATION}{name}": texts[name] for name in names or FILES},
    }


def environment(plan: ServerPlan) -> dict[str, str]:
    """The plan's variables, and what the sandbox's launcher gives besides (backends/sandbox/launch.py)."""
    who = plan.identity
    return dict(plan.environment) | {
        "PATH": "/opt/image/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": who.home,
        "USER": who.username,
        "LOGNAME": who.username,
        **({"EMAIL": who.email} if who.email else {}),  # read by git
        **({} if "LANG" in plan.environment else {"LANG": "C.UTF-8"}),
    }


def volumes(plan: ServerPlan, claim: str) -> list[dict[str, Any]]:
    """The storage, the files about the person, and three folders in memory that end with the pod."""
    return [
        {"name": STORAGE, "persistentVolumeClaim": {"claimName": claim}},
        identity_volume(*FILES),
        _memory(_HOME, plan.limits.tmp_size),
        *memory_volumes(plan.limits),
    ]


def volume_mounts(plan: ServerPlan) -> list[dict[str, Any]]:
    """Where they are seen; parents before children, as in the plan."""
    home = plan.identity.home.rsplit("/", 1)[0]
    return [
        # The person's home is made inside, so that it is theirs alone (singleuser/start.py).
        {"name": _HOME, "mountPath": home},
        *memory_mounts(),
        *identity_mounts(*FILES),
        *storage_mounts(plan.mounts),
    ]


def identity_volume(*names: str) -> dict[str, Any]:
    """The files ``names`` of :data:`FILES`, from the pod's annotations."""
    files = [
        {"path": name, "fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION}{name}']"}}
        for name in names
    ]
    return {"name": _IDENTITY, "downwardAPI": {"items": files, "defaultMode": 0o444}}


def identity_mounts(*names: str) -> Iterator[dict[str, Any]]:
    """Where they are seen."""
    for name in names:
        yield {"name": _IDENTITY, "mountPath": FILES[name], "subPath": name, "readOnly": True}


def memory_volumes(limits: Limits) -> list[dict[str, Any]]:
    """``/tmp`` and ``/dev/shm``: they end with the pod and count against its limit."""
    return [_memory(_TMP, limits.tmp_size), _memory(_SHM, limits.shm_size)]


def memory_mounts() -> list[dict[str, Any]]:
    """Where they are seen."""
    return [
        {"name": _TMP, "mountPath": "/tmp"},  # noqa: S108
        {"name": _SHM, "mountPath": "/dev/shm"},  # noqa: S108
    ]


def _memory(name: str, size: int) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": str(size)}}


def storage_mounts(mounts: tuple[Mount, ...]) -> Iterator[dict[str, Any]]:
    """Parts of the storage, parents before children."""
    for mount in mounts:
        yield {
            "name": STORAGE,
            "mountPath": mount.target,
            "subPath": mount.source,
            "readOnly": not mount.writable,
        }
