"""Short-lived pods: what they are, what runs in them, and what their findings mean."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from courseyard.backends.kubernetes.check import inside, outcome, pods, verdict, wanted
from courseyard.backends.kubernetes.check.images import Image, images
from courseyard.backends.kubernetes.check.outcome import Outcome, State
from courseyard.backends.kubernetes.check.probe import Probed
from courseyard.backends.kubernetes.manifests import COMPONENT, SITE_LABEL
from courseyard.cli import init
from courseyard.cli.sites import Known, open_site
from courseyard.errors import Severity

HUB = {"spec": {"template": {"spec": {"containers": [{"image": "courseyard-hub:dev"}]}}}}
PROXIES = {"spec": {"selector": {"matchLabels": {"app": "docs", "component": "proxy"}}}}
WISH = {"closed": {"neighbour": ["10.0.0.1", 8888]}, "api": True, "listen": 8888}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    folder = tmp_path_factory.mktemp("probe") / "site"
    init.make_site(folder, namespace="docs")
    return open_site(folder)


# --- the pods ----------------------------------------------------------------------------------


def trials(known: Known) -> list[pods.Trial]:
    settings = known.site.kubernetes
    return [
        pods.server("abc", "calls", "python:1", settings, WISH),
        pods.proxy("abc", HUB, PROXIES, settings, {"resolve": "hub.docs"}),
    ]


@pytest.mark.parametrize("version", ["1.28", "1.37"])
def test_pods_are_valid(known: Known, version: str) -> None:
    for trial in trials(known):
        pod = pods.manifest(trial, known.site.kubernetes)
        kubernetes_validate.validate(pod, version, strict=True)


def test_pods_have_nothing_to_lose(known: Known) -> None:
    for trial in trials(known):
        spec = pods.manifest(trial, known.site.kubernetes)["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert "volumes" not in spec
        assert 0 < spec["activeDeadlineSeconds"] <= pods.LIFETIME
        assert spec["securityContext"]["runAsUser"] > 0


def test_the_network_takes_them_for_ours_and_the_hub_does_not(known: Known) -> None:
    server, proxy = trials(known)
    assert server.labels["component"] == COMPONENT
    assert SITE_LABEL not in server.labels
    assert proxy.labels.items() >= PROXIES["spec"]["selector"]["matchLabels"].items()
    assert server.namespace == "docs-users" and proxy.namespace == "docs"
    # Never ready, so no visitor is ever sent to it.
    assert pods.manifest(proxy, known.site.kubernetes)["spec"]["readinessGates"]


# --- what runs inside --------------------------------------------------------------------------


@pytest.fixture
def port() -> Iterator[int]:
    """Of somebody who listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_the_program_tries_and_tells(port: int) -> None:
    """As in a pod: only source and wish, and the API server's address in the environment."""
    source = Path(inside.__file__).read_text()
    wish = {
        "listen": free_port(),
        "open": {"hub": ["127.0.0.1", port]},
        "closed": {"neighbour": ["127.0.0.1", free_port()]},
        "api": True,
        "resolve": "localhost",
    }
    api = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(free_port())}
    words = [sys.executable, "-I", "-c", source, json.dumps(wish)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=api) as process:
        try:
            assert process.stdout
            log = process.stdout.readline() + process.stdout.readline()
            said = outcome.said_in(log)
            with socket.create_connection(("127.0.0.1", int(str(wish["listen"]))), 10):
                pass
        finally:
            process.kill()
    assert said == {
        "start": False,
        "own": "open",
        "open": {"hub": "open"},
        "closed": {"neighbour": "refused", "api": "refused"},
        "names": said and said["names"],
    }
    assert "127.0.0.1" in said["names"]
    assert outcome.clock_in(log) is not None


def test_what_is_open_and_should_not_be(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "PAUSE", 0)
    assert inside.patient(("127.0.0.1", port), wanted=False) == "open"
    assert inside.patient(("127.0.0.1", free_port()), wanted=True) == "refused"
    assert isinstance(inside.resolve("nobody.invalid"), str)


# --- how a pod went ----------------------------------------------------------------------------

SAID = json.dumps({"said": {"own": "open"}})


def pod(phase: str = "Pending", state: Any = None, **status: Any) -> dict[str, Any]:
    status |= {"phase": phase, "podIP": "10.0.0.2"}
    if state:
        status["containerStatuses"] = [{"name": "probe", "state": state}]
    return {"spec": {"nodeName": "node1"}, "status": status}


def waits(reason: str) -> dict[str, Any]:
    return pod(state={"waiting": {"reason": reason, "message": f"{reason} said"}})


@pytest.mark.parametrize(
    ("found", "log", "state"),
    [
        (pod("Running", {"running": {}}), f"noise\n{SAID}\n", State.RAN),
        (pod("Running", {"running": {}}), "noise\n", None),
        (pod(), "", None),
        (waits("ErrImagePull"), "", None),  # the kubelet tries once more before it backs off
        (waits("ImagePullBackOff"), "", State.NO_IMAGE),
        (waits("ErrImageNeverPull"), "", State.NO_IMAGE),
        (waits("CreateContainerError"), "", State.ENDED),
        (pod("Failed", {"terminated": {"exitCode": 1}}), "Traceback\nOSError: x\n", State.ENDED),
        (pod("Failed", reason="DeadlineExceeded"), "", State.ENDED),
        (None, "", State.ENDED),
    ],
)
def test_outcome(found: Any, log: str, state: State | None) -> None:
    ended = outcome.of_pod(found, log)
    assert (ended.state if ended else None) == state


def test_outcome_names_what_was_said() -> None:
    ran = outcome.of_pod(pod("Running", {"running": {}}), SAID)
    assert ran == Outcome(State.RAN, "", {"own": "open"}, "node1", "10.0.0.2")
    failed = outcome.of_pod(
        pod("Failed", {"terminated": {"exitCode": 1}}), "Traceback\nOSError: x\n"
    )
    assert failed and failed.detail == "OSError: x"


def test_outcome_of_a_pod_that_is_late() -> None:
    why = [{"type": "PodScheduled", "status": "False", "message": "0/2 nodes"}]
    assert outcome.too_late(pod(conditions=why)) == Outcome(State.NO_PLACE, "0/2 nodes")
    there = [{"type": "PodScheduled", "status": "True"}]
    late = pod(state={"waiting": {"reason": "ContainerCreating"}}, conditions=there)
    assert outcome.too_late(late) == Outcome(State.LATE, "ContainerCreating")


# --- what it means -----------------------------------------------------------------------------

CLOSED = {"neighbour": "silent", "api": "refused"}
IMAGE = Image("python:1", "the course stats", Path("images.yaml"), ("families", "DEFAULT"))


def ran(clock: tuple[float, float] | None = (-0.1, 0.2), node: str = "a", **said: Any) -> Outcome:
    return Outcome(State.RAN, "", {"start": True, **said}, node, "10.0.0.2", clock)


def probed(**changes: Any) -> Probed:
    listener = changes.pop("listener", ran(own="open"))
    fields: dict[str, Any] = {
        "images": ((IMAGE, listener),),
        "listener": listener,
        "caller": ran(open={"hub": "open"}, closed=CLOSED),
        "hub_asked": True,
        "names": ran(names=["10.9.9.9"]),
        "hub_address": "10.9.9.9",
        "rights_taken": False,
    }
    return Probed(**(fields | changes))


def told(known: Known, found: Probed) -> list[tuple[Severity, str]]:
    every = verdict.problems(found, wanted.read(known.site.folder), known.site)
    return [(problem.severity, str(problem)) for problem in every]


def test_all_good(known: Known) -> None:
    assert told(known, probed()) == []


NOT_TRIED = Outcome(State.ENDED, "OSError: x")
FAULTS: dict[str, tuple[dict[str, Any], Severity, str]] = {
    "neighbour": (
        {"caller": ran(open={"hub": "open"}, closed=CLOSED | {"neighbour": "open"})},
        Severity.ERROR, "docs-users/networkpolicy/nothing-else: one server reaches another one",
    ),
    "api": (
        {"caller": ran(open={"hub": "open"}, closed=CLOSED | {"api": "open"})},
        Severity.ERROR, "servers reach the cluster's API server, so policies are not enforced",
    ),
    "hub": (
        {"caller": ran(open={"hub": "silent"}, closed=CLOSED)},
        Severity.ERROR, "a server does not reach the hub at 10.9.9.9, port 8083 (silent)",
    ),
    "silence without a hub": (
        {"caller": ran(open={}, closed=CLOSED), "hub_asked": False},
        Severity.WARNING, "so it is not known whether the network works at all",
    ),
    "caller did not start": (
        {"caller": NOT_TRIED}, Severity.WARNING, "could not be tried (OSError: x)",
    ),
    "nobody listened": (
        {"listener": ran(own="refused")}, Severity.WARNING, "the pod that listens says refused itself",
    ),
    "no image": (
        {"listener": Outcome(State.NO_IMAGE, "not found"), "caller": None}, Severity.ERROR,
        "families.DEFAULT: the image python:1, which the course stats uses, cannot be fetched (not found)",
    ),
    "image that is slow": (
        {"listener": Outcome(State.LATE, "Pulling"), "caller": None}, Severity.WARNING,
        "was not ready in two minutes",
    ),
    "another image": (
        {"listener": Outcome(State.RAN, "", {"start": False, "own": "open"})}, Severity.ERROR,
        "cannot run a server (it has no start program)",
    ),
    "no name": (
        {"names": ran(names="Name or service not known")}, Severity.ERROR,
        "docs/service/hub: the name hub.docs is not found (Name or service not known)",
    ),
    "another hub": (
        {"names": ran(names=["10.1.1.1"])}, Severity.ERROR,
        "means 10.1.1.1, and the service has 10.9.9.9",
    ),
    "quota": (
        {"listener": Outcome(State.REFUSED, "exceeded quota: full"), "caller": None}, Severity.ERROR,
        "the cluster refused a pod like a server's (exceeded quota: full)",
    ),
    "rights of the caller": (
        {"listener": Outcome(State.REFUSED, 'pods is forbidden: User "x" cannot create'), "caller": None},
        Severity.WARNING, "leave it out by --no-probe",
    ),
    "no place": (
        {"listener": Outcome(State.NO_PLACE, "0/2 nodes"), "caller": None}, Severity.ERROR,
        "found no place (0/2 nodes)",
    ),
    "privileged": (
        {"rights_taken": True}, Severity.ERROR, "namespace/docs-users: a privileged pod would be taken",
    ),
    "clock ahead": (
        {"names": ran((59.8, 60.3), "b", names=["10.9.9.9"])}, Severity.WARNING,
        "node/b: warning: its clock is 60 s ahead of this machine's",
    ),
    "clock behind": (
        {"listener": ran((-90.3, -89.8), own="open")}, Severity.WARNING, "its clock is 90 s behind",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(known: Known, fault: str) -> None:
    changes, severity, sentence = FAULTS[fault]
    found = told(known, probed(**changes))
    assert [each[0] for each in found if sentence in each[1]] == [severity], found
    assert len(found) == 1, found  # one cause, one sentence


def test_a_refusal_is_not_silence(known: Known) -> None:
    """A caller that never ran proves nothing: no word about closed networks."""
    found = told(known, probed(listener=Outcome(State.NO_IMAGE, "x"), caller=None))
    assert not any("reaches" in sentence or "enforced" in sentence for _, sentence in found)


# --- images ------------------------------------------------------------------------------------

NOW = datetime(2026, 10, 1, tzinfo=UTC)


def test_images_of_the_example(known: Known) -> None:
    found, gpu = images(known.site, known.catalog, known.snapshot, NOW)
    assert found.reference == "courseyard-python:2026-08-15"
    assert gpu.used_by == "the course scip-gpu"
    assert "families.DEFAULT.releases.2026-08-15: x" in str(found.problem("x"))
    assert found.problem("x").line > 1


def test_the_newest_release_that_is_used(tmp_path: Path) -> None:
    init.make_site(tmp_path / "site", namespace="docs")
    site = tmp_path / "site"
    (site / "images.yaml").write_text(
        "families:\n"
        "  DEFAULT: {releases: {2026-01-01: {reference: a:1}, 2026-08-15: {reference: a:2}}}\n"
        "  R: {releases: {2026-01-01: {reference: r:1}, 2026-06-01: {reference: r:2}}}\n"
    )
    for file in (site / "courses").glob("*.yaml"):
        file.unlink()
    texts = {
        "old": "image: [DEFAULT, 2026-02-01]",
        "r": "image: [R, 2026-02-01]",
        "own": "image: registry.example.org/x/own:3\nkubespawner_override: {image_pull_policy: Never}",
        "gone": "image: archived:1\narchive: true",
    }
    for slug, text in texts.items():
        (site / "courses" / f"{slug}.yaml").write_text(f"name: {slug}\n{text}\n")
    text = (site / "courseyard.yaml").read_text()
    registry = "  site_label: docs\n  registry: example.org/cy\n"
    (site / "courseyard.yaml").write_text(text.replace("  site_label: docs\n", registry))
    known = open_site(site)
    found = images(known.site, known.catalog, known.snapshot, NOW)
    assert [image.reference for image in found] == [
        "example.org/cy/a:2",
        "registry.example.org/x/own:3",
        "example.org/cy/r:1",
    ]
    own = found[1]
    assert own.pull_policy == "Never"
    assert str(own.problem("x")).endswith("courses/own.yaml:2: image: x")
