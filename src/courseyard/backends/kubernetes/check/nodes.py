"""Nodes as data → whether servers find any on which they may run, and what bounds them there. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from courseyard.backends.kubernetes.check.look import bears
from courseyard.backends.kubernetes.check.seen import Object, Seen
from courseyard.errors import Problem, Severity
from courseyard.hints import some
from courseyard.registry.crosscheck import problem_at
from courseyard.settings import SITE_FILE, KubernetesSettings, Site

_FORBIDDING = ("NoSchedule", "NoExecute")


def problems(site: Site, seen: Seen) -> Iterator[Problem]:
    """That no node has the labels of `kubernetes.node_selector`, or all that have bear taints."""
    settings = site.kubernetes
    if ("Node", "") in seen.unknown:
        return
    nodes = [node for node in seen.all("Node") if bears(node, settings)]
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


def of_processes(site: Site, seen: Seen) -> Iterator[Problem]:
    """That kubelets do not bound the processes of a pod, or bound them below `servers.processes`."""
    wanted, place = site.servers.processes, ("servers", "processes")
    file = site.folder / SITE_FILE
    if unbounded := sorted(node for node, limit in seen.pids.items() if limit <= 0):
        message = (
            f"the kubelet of {some(unbounded)} has no podPidsLimit, so processes are counted by person and node, "
            f"not by server: set podPidsLimit: {wanted} in its configuration"
        )
        yield problem_at(file, place, message, Severity.WARNING)
    if lower := sorted(node for node, limit in seen.pids.items() if 0 < limit < wanted):
        message = (
            f"is {wanted}, and the kubelet of {some(lower)} gives a server "
            f"{min(seen.pids[node] for node in lower)} (podPidsLimit): write the same number in both"
        )
        yield problem_at(file, place, message, Severity.WARNING)


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
