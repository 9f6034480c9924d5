"""What short-lived pods found out → what is wrong with the cluster. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from courseyard.backends.kubernetes.check.outcome import Outcome, State
from courseyard.backends.kubernetes.check.probe import Probed
from courseyard.backends.kubernetes.check.wanted import Manifests
from courseyard.errors import Problem, Severity
from courseyard.settings import Site

#: Seconds that clocks may differ; the time of a submission would be wrong by as much.
_TOLERANCE = 5.0
_CLOSED = (
    ("neighbour", "one server reaches another one"),
    ("api", "servers reach the cluster's API server"),
)


def problems(probed: Probed, manifests: Manifests, site: Site) -> list[Problem]:
    """Everything that the pods of a probe show."""
    return [
        *_of_images(probed),
        *_of_starts(probed, manifests, site),
        *_of_network(probed, manifests, site),
        *_of_names(probed, manifests, site),
        *_of_rights(probed, manifests, site),
        *_of_clocks(probed, manifests),
    ]


def _of_images(probed: Probed) -> Iterator[Problem]:
    for image, found in probed.images:
        if found.state is State.NO_IMAGE:
            yield image.problem(
                f"the image {image.reference}, which {image.used_by} uses, cannot be fetched "
                f"({found.detail}): push it, or correct its name; for a registry with a log-in see "
                "`kubernetes.image_pull_secrets`"
            )
        elif found.state is State.LATE:
            message = (
                f"the image {image.reference}, which {image.used_by} uses, was not ready in two "
                f"minutes ({found.detail}): check again when nodes have fetched it"
            )
            yield image.problem(message, Severity.WARNING)
        elif found.state is State.ENDED or (found.said and not found.said.get("start")):
            why = found.detail or "it has no start program"
            yield image.problem(
                f"the image {image.reference}, which {image.used_by} uses, cannot run a server ({why}): "
                "build it with `script/images`"
            )


def _of_starts(probed: Probed, manifests: Manifests, site: Site) -> Iterator[Problem]:
    """Pods that did not come to their trial, for another reason than the image; each reason once."""
    told: set[str] = set()
    users, hub = site.kubernetes.users_namespace, site.kubernetes.namespace
    servers = [probed.caller, *(found for _, found in probed.images)]
    for space, found in [*((users, each) for each in servers), (hub, probed.names)]:
        if found is None or found.state not in (State.REFUSED, State.NO_PLACE):
            continue
        message, severity = _start(found)
        if message not in told:
            told.add(message)
            yield manifests.problem("Namespace", "", space, message, severity)


def _start(found: Outcome) -> tuple[str, Severity]:
    if found.state is State.NO_PLACE:
        message = (
            f"a small pod found no place ({found.detail or 'the scheduler gives no reason'}), so what "
            "needs it was not tried: look at `kubectl describe nodes`"
        )
        return message, Severity.ERROR
    if "is forbidden: User" in found.detail:
        message = (
            "you may not make pods in it, so the network was not tried: ask an administrator of the "
            "cluster, or leave it out by --no-probe"
        )
        return message, Severity.WARNING
    message = (
        f"the cluster refused a pod like a server's ({found.detail}): mend what it names; the network "
        "was not tried"
    )
    return message, Severity.ERROR


def _of_network(probed: Probed, manifests: Manifests, site: Site) -> Iterator[Problem]:
    """Who is reached and must not be; silence counts only where something else was heard."""
    listener, caller, users = probed.listener, probed.caller, site.kubernetes.users_namespace
    if listener is None or caller is None or caller.state is State.REFUSED:
        return
    if caller.state is not State.RAN or listener.said.get("own") != "open":
        why = caller.detail or f"the pod that listens says {listener.said.get('own')} itself"
        message = f"whether servers are kept apart could not be tried ({why}): check again"
        yield manifests.problem("NetworkPolicy", users, "servers", message, Severity.WARNING)
        return
    closed = caller.said.get("closed") or {}
    for key, what in _CLOSED:
        if closed.get(key) == "open":
            message = (
                f"{what}, so policies are not enforced: apply them again if they are not there, "
                "else install a network (CNI) that enforces NetworkPolicy, such as Calico or Cilium"
            )
            yield manifests.problem("NetworkPolicy", users, "nothing-else", message)
    hub = (caller.said.get("open") or {}).get("hub")
    if probed.hub_asked and hub != "open":
        port = site.hub.servers_port or site.hub.port + 3
        message = (
            f"a server does not reach the hub at {probed.hub_address}, port {port} ({hub}), so no "
            "server starts: compare the policies `servers` and `hub` with those of your files"
        )
        yield manifests.problem("NetworkPolicy", users, "servers", message)
    elif not probed.hub_asked and "open" not in closed.values():
        message = (
            "servers reach nobody, but the hub is not ready, so it is not known whether the network "
            "works at all: check again when the hub is ready"
        )
        yield manifests.problem("NetworkPolicy", users, "servers", message, Severity.WARNING)


def _of_names(probed: Probed, manifests: Manifests, site: Site) -> Iterator[Problem]:
    found, settings = probed.names, site.kubernetes
    if found is None or found.state in (State.REFUSED, State.NO_PLACE):
        return
    name = f"{settings.hub_service}.{settings.namespace}"
    names = found.said.get("names")
    if found.state is not State.RAN:
        message = f"whether {name} is found could not be tried ({found.detail}): check again"
        severity = Severity.WARNING
    elif not isinstance(names, list):
        message = (
            f"the name {name} is not found ({names}), so proxies do not find the hub, and servers do "
            "not start: look at the cluster's name server; the policies open port 53 to it"
        )
        severity = Severity.ERROR
    elif probed.hub_address and probed.hub_address not in names:
        message = (
            f"the name {name} means {', '.join(map(str, names))}, and the service has "
            f"{probed.hub_address}: correct `kubernetes.hub_service`, or look at the name server"
        )
        severity = Severity.ERROR
    else:
        return
    yield manifests.problem("Service", settings.namespace, settings.hub_service, message, severity)


def _of_rights(probed: Probed, manifests: Manifests, site: Site) -> Iterator[Problem]:
    if probed.rights_taken:
        message = (
            "a privileged pod would be taken, so a hub that is taken over would own the nodes: label "
            "it as its file says, and switch the admission plug-in PodSecurity on"
        )
        yield manifests.problem("Namespace", "", site.kubernetes.users_namespace, message)


def _of_clocks(probed: Probed, manifests: Manifests) -> Iterator[Problem]:
    told: set[str] = set()
    for found in probed.outcomes:
        if found.clock is None or found.node in told:
            continue
        least, most = found.clock
        if least > _TOLERANCE or most < -_TOLERANCE:
            told.add(found.node)
            way = "ahead of" if least > 0 else "behind"
            size = round(min(abs(least), abs(most)))
            message = (
                f"its clock is {size} s {way} this machine's: switch time synchronisation on, on both; "
                "hand-in times and log-ins depend on it"
            )
            yield manifests.problem("Node", "", found.node, message, Severity.WARNING)
