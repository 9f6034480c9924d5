"""Nodes as data → whether servers find any on which they may run. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from courseyard.backends.kubernetes.check.seen import Object, Seen
from courseyard.errors import Problem
from courseyard.registry.crosscheck import problem_at
from courseyard.settings import SITE_FILE, KubernetesSettings, Site

_FORBIDDING = ("NoSchedule", "NoExecute")


def problems(site: Site, seen: Seen) -> Iterator[Problem]:
    """That no node has the labels of `kubernetes.node_selector`, or all that have bear taints."""
    settings = site.kubernetes
    if ("Node", "") in seen.unknown:
        return
    nodes = [node for node in seen.all("Node") if _chosen(node, settings)]
    if not nodes:
        labels = ", ".join(f"{key}={value}" for key, value in settings.node_selector.items())
        wanted = f"has the label {labels}" if labels else "is there"
        message = f"no node {wanted}, so no server finds a place: correct it, or label a node"
        yield problem_at(site.folder / SITE_FILE, ("kubernetes", "node_selector"), message)
        return
    unborne = [_unborne(node, settings) for node in nodes]
    if all(unborne):
        message = (
            f"does not bear the taint {sorted(set().union(*unborne))[0]} of the nodes on which servers "
            "may run, so no server finds a place: add it, or take it from a node"
        )
        yield problem_at(site.folder / SITE_FILE, ("kubernetes", "tolerations"), message)


def _chosen(node: Object, settings: KubernetesSettings) -> bool:
    labels = node["metadata"].get("labels") or {}
    return settings.node_selector.items() <= labels.items()


def _unborne(node: Object, settings: KubernetesSettings) -> set[str]:
    """Taints that keep servers away, as `kubectl taint` writes them."""
    taints = (node.get("spec") or {}).get("taints") or ()
    return {
        f"{taint['key']}{'=' if taint.get('value') else ''}{taint.get('value') or ''}:{taint['effect']}"
        for taint in taints
        if taint["effect"] in _FORBIDDING
        and not any(_bears(toleration, taint) for toleration in settings.tolerations)
    }


def _bears(toleration: Object, taint: Object) -> bool:
    """As the scheduler compares (kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration)."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    same = (toleration.get("value") or "") == (taint.get("value") or "")
    return bool(toleration.get("key") == taint["key"] and same)
