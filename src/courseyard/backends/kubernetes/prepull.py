"""The DaemonSet that brings images to nodes before the first start. Pure.

Each image is a container of its own that only waits. Containers are started one after the other and
each fails for itself, so an image that is missing holds up none of the others (init containers would
wait for it for ever). While they wait, no node throws their images away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from courseyard.backends.kubernetes import plainpods
from courseyard.backends.kubernetes.manifests import full_reference
from courseyard.images.catalog import Release
from courseyard.settings import KubernetesSettings

NAME = "prepuller"
_NOBODY = 65532
_WAIT = ["/opt/image/bin/python", "-I", "-S", "-c", "import signal; signal.pause()"]


def daemon_set(settings: KubernetesSettings, releases: Iterable[Release]) -> dict[str, Any]:
    """What brings ``releases`` to all nodes on which servers may run."""
    containers: dict[str, dict[str, Any]] = {}
    for release in releases:
        image = full_reference(release.reference, settings.registry)
        containers.setdefault(image, _container(release, image, settings.image_pull_policy))
    labels = plainpods.labels(NAME)
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": NAME, "namespace": settings.users_namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": dict(labels)},
            # A pod that lacks one image is never ready: the other nodes do not wait for it.
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": "100%"},
            },
            "template": {
                "metadata": {"labels": dict(labels)},
                "spec": {
                    **plainpods.spec(settings, _NOBODY, _NOBODY),
                    "terminationGracePeriodSeconds": 1,
                    "containers": list(containers.values()),
                },
            },
        },
    }


def _container(release: Release, image: str, policy: str) -> dict[str, Any]:
    family = release.family.lower().replace("_", "-")
    return {
        "name": f"{family}-{release.released}",
        "image": image,
        "imagePullPolicy": policy,
        "command": list(_WAIT),
        "securityContext": plainpods.rights(),
        "resources": {
            "requests": {"cpu": "1m", "memory": "8Mi"},
            "limits": {"cpu": "100m", "memory": "32Mi"},
        },
    }


def images_of(manifest: Any) -> set[str]:
    """The images that a DaemonSet, as read from a file, brings; none where it is no such thing."""
    try:
        containers = manifest["spec"]["template"]["spec"]["containers"]
        return {str(container["image"]) for container in containers}
    except (KeyError, TypeError):
        return set()
