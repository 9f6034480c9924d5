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

from courseyard.backends import beside, identity
from courseyard.backends.kubernetes import grading, plainpods
from courseyard.plan.model import Mount, ServerPlan
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
COMPONENT = "courseyard-server"
HOSTNAME = "courseyard"
_START = ("/opt/image/bin/python", "-I", "/opt/courseyard/singleuser/start.py")
_STORAGE, _HOME, _TMP, _SHM, _IDENTITY = "storage", "home", "tmp", "shm", "identity"
#: Logs and the layer that nobody can write: what a container may use of its node's disk.
_NODE_DISK = 256 * 1024**2


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
        "extra_labels": {**plan.labels, NETWORK_LABEL: plan.network},
        "extra_annotations": annotations_of(plan),
        "environment": environment(plan) | (grading.VARIABLES if plan.grading else {}),
        "init_containers": _beside(plan, cluster.settings),
        "volumes": [*volumes(plan, cluster.settings.storage_claim), *grading.volumes(plan)],
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


def _beside(plan: ServerPlan, settings: KubernetesSettings) -> list[dict[str, Any]]:
    """The container in which students' code is graded; none where nothing is."""
    if plan.grading is None:
        return []
    inner = beside.plan_of(plan)
    software = _software(plan, settings)
    server = {
        "image": software["image"],
        "imagePullPolicy": software["image_pull_policy"],
        "env": [
            {"name": name, "value": value.replace("$", "$$")}
            for name, value in sorted(environment(inner).items())
        ],
        "volumeMounts": [*_identity_mounts("passwd", "group"), *_storage_mounts(inner.mounts)],
    }
    limits = {**_quantities(plan.limits.cpu_limit, plan.limits.mem_limit), **_disk()}
    return [grading.container(server, limits, inner)]


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
    disk = _disk()
    return {
        "mem_limit": limits.mem_limit,
        "mem_guarantee": limits.mem_guarantee,
        "cpu_limit": limits.cpu_limit,
        "cpu_guarantee": limits.cpu_guarantee,
        "extra_resource_limits": {
            **_quantities(limits.cpu_limit, limits.mem_limit), **disk, **limits.extra_limits,
        },
        "extra_resource_guarantees": {
            **_quantities(limits.cpu_guarantee, limits.mem_guarantee),
            **disk,
            **limits.extra_guarantees,
        },
    }  # fmt: skip


def _disk() -> dict[str, str]:
    return {"ephemeral-storage": str(_NODE_DISK)}


def _quantities(cores: float, memory: int) -> dict[str, str]:
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


def annotations_of(plan: ServerPlan) -> dict[str, str]:
    """What the pod's files are made of, and who and what for a person who looks at it."""
    who = plan.identity
    texts = {
        "plan.json": plan.to_json(indent=None),
        "passwd": identity.passwd(who),
        "group": identity.group(who),
    }
    return {
        "courseyard/title": plan.title,
        "courseyard/username": who.username,
        **{f"{ANNOTATION}{name}": text for name, text in texts.items()},
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
    limits = plan.limits
    files = [
        {"path": name, "fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION}{name}']"}}
        for name in FILES
    ]
    return [
        {"name": _STORAGE, "persistentVolumeClaim": {"claimName": claim}},
        {"name": _IDENTITY, "downwardAPI": {"items": files, "defaultMode": 0o444}},
        *(
            {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": str(size)}}
            for name, size in (
                (_HOME, limits.tmp_size), (_TMP, limits.tmp_size), (_SHM, limits.shm_size),
            )
        ),
    ]  # fmt: skip


def volume_mounts(plan: ServerPlan) -> list[dict[str, Any]]:
    """Where they are seen; parents before children, as in the plan."""
    home = plan.identity.home.rsplit("/", 1)[0]
    return [
        # The person's home is made inside, so that it is theirs alone (singleuser/start.py).
        {"name": _HOME, "mountPath": home},
        {"name": _TMP, "mountPath": "/tmp"},  # noqa: S108
        {"name": _SHM, "mountPath": "/dev/shm"},  # noqa: S108
        *_identity_mounts(*FILES),
        *_storage_mounts(plan.mounts),
    ]


def _identity_mounts(*names: str) -> Iterator[dict[str, Any]]:
    for name in names:
        yield {"name": _IDENTITY, "mountPath": FILES[name], "subPath": name, "readOnly": True}


def _storage_mounts(mounts: tuple[Mount, ...]) -> Iterator[dict[str, Any]]:
    for mount in mounts:
        yield {
            "name": _STORAGE,
            "mountPath": mount.target,
            "subPath": mount.source,
            "readOnly": not mount.writable,
        }
