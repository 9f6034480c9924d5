"""What stands in the cluster, as plain dictionaries; what could not be looked at is unknown, not absent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
Key = tuple[str, str, str]  # kind, namespace, name

#: Kind → where the API keeps it. With {} it has a namespace.
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "Node": "/api/v1/nodes",
    "PersistentVolume": "/api/v1/persistentvolumes",
    "StorageClass": "/apis/storage.k8s.io/v1/storageclasses",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
}


@dataclass
class Seen:
    """Objects by kind, namespace and name.

    ``unknown`` holds what the caller may not look at: a kind and namespace, or one object of it.
    """

    objects: dict[Key, Object] = field(default_factory=dict)
    unknown: set[tuple[str, ...]] = field(default_factory=set)
    #: Rights that the hub's account lacks, as `kubectl auth can-i` takes them; None: not to be known.
    lacking: tuple[str, ...] | None = None
    #: Node → its kubelet's podPidsLimit; not above 0: none. Of some nodes.
    pids: dict[str, int] = field(default_factory=dict)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self.objects.get((kind, namespace, name))

    def all(self, kind: str) -> list[Object]:
        return [item for (its, _, _), item in self.objects.items() if its == kind]

    def has_namespace(self, name: str) -> bool:
        return not name or ("Namespace", "", name) in self.objects

    def lacks(self, kind: str, namespace: str, name: str) -> bool:
        """Whether the object is surely not there, though its namespace is."""
        asked = {("Namespace", "", namespace), (kind, namespace), (kind, namespace, name)}
        return (
            self.has_namespace(namespace)
            and not asked & self.unknown
            and (kind, namespace, name) not in self.objects
        )
