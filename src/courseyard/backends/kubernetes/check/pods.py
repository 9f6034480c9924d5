"""The pods of a probe as data: restricted, without a token or storage, and short-lived. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from courseyard.backends.kubernetes import plainpods
from courseyard.backends.kubernetes.manifests import COMPONENT, NETWORK_LABEL
from courseyard.settings import KubernetesSettings

Object = dict[str, Any]
#: On every pod of a probe; its value tells two checks apart.
PROBE_LABEL = "courseyard/probe"
CONTAINER = "probe"
#: A pod that nobody could delete (a check that was killed) ends by itself. In seconds.
LIFETIME = 300
SERVER_PYTHON = "/opt/image/bin/python"
HUB_PYTHON = "/opt/courseyard/venv/bin/python"
_NOBODY = 65534


@dataclass(frozen=True)
class Trial:
    """One pod: what it runs in, and what it is to try (inside.py)."""

    name: str
    namespace: str
    image: str
    labels: dict[str, str]
    wish: Object = field(default_factory=dict)
    python: str = SERVER_PYTHON
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    dns: bool = False
    ready: bool = True  # False: it never takes what comes to a service of its labels


def server(
    run: str, part: str, image: str, settings: KubernetesSettings, wish: Object, policy: str = ""
) -> Trial:
    """A pod that the network takes for a person's server (without `network: full`).

    It lacks the label of the site, so the hub never takes it for one of its own.
    """
    return Trial(
        f"courseyard-probe-{run}-{part}",
        settings.users_namespace,
        image,
        {PROBE_LABEL: run, "component": COMPONENT, NETWORK_LABEL: "none"},
        wish,
        pull_policy=policy or settings.image_pull_policy,
        pull_secrets=settings.image_pull_secrets,
    )


def proxy(
    run: str, hub: Object, proxies: Object, settings: KubernetesSettings, wish: Object
) -> Trial:
    """A pod that the network takes for a proxy: those and the hub alone may ask for names.

    Args:
        hub: the hub's Deployment, whose image is there.
        proxies: their Deployment, whose labels the policies of this site choose.
    """
    pod = hub["spec"]["template"]["spec"]
    return Trial(
        f"courseyard-probe-{run}-names",
        settings.namespace,
        str(pod["containers"][0]["image"]),
        {**proxies["spec"]["selector"]["matchLabels"], PROBE_LABEL: run},
        wish,
        HUB_PYTHON,
        pull_secrets=tuple(item["name"] for item in pod.get("imagePullSecrets") or ()),
        dns=True,
        ready=False,
    )


def manifest(trial: Trial, settings: KubernetesSettings) -> Object:
    """The pod of a trial."""
    source = resources.files(__package__).joinpath("inside.py").read_text(encoding="utf-8")
    run = trial.labels[PROBE_LABEL]
    apart = {
        "weight": 100,
        "podAffinityTerm": {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {PROBE_LABEL: run}},
        },
    }
    spec = plainpods.spec(settings, _NOBODY, _NOBODY)
    if trial.namespace != settings.users_namespace:  # not bound to the nodes of servers
        spec |= {"nodeSelector": {}, "tolerations": []}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": trial.name, "namespace": trial.namespace, "labels": trial.labels},
        "spec": {
            **spec,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LIFETIME,
            "terminationGracePeriodSeconds": 1,
            "affinity": {
                "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [apart]}
            },
            **({} if trial.ready else {"readinessGates": [{"conditionType": "courseyard/never"}]}),
            **_names(trial),
            "imagePullSecrets": [{"name": name} for name in trial.pull_secrets],
            "containers": [_container(trial, source)],
        },
    }


def _names(trial: Trial) -> Object:
    """As servers have it: no name server; or one whose silence does not last."""
    if not trial.dns:
        return {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["127.0.0.1"]}}
    patience = [{"name": "timeout", "value": "1"}, {"name": "attempts", "value": "2"}]
    return {"dnsConfig": {"options": patience}}


def _container(trial: Trial, source: str) -> Object:
    sizes = {"memory": "64Mi", "ephemeral-storage": "16Mi"}
    # Kubernetes expands $(NAME) in words; a doubled $ is one.
    words = [source.replace("$", "$$"), json.dumps(trial.wish).replace("$", "$$")]
    return {
        "name": CONTAINER,
        "image": trial.image,
        "imagePullPolicy": trial.pull_policy,
        "command": [trial.python, "-I", "-c", *words],
        "securityContext": plainpods.rights(),
        "resources": {"requests": {"cpu": "10m", **sizes}, "limits": {"cpu": "1", **sizes}},
    }


def with_rights(name: str, settings: KubernetesSettings) -> Object:
    """A pod that Pod Security `restricted` refuses; only ever sent as a dry run."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": settings.users_namespace},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": CONTAINER,
                    "image": "none",
                    "securityContext": {"privileged": True, "runAsUser": 0},
                    "resources": {"requests": {"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"},
                                  "limits": {"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"}},
                }
            ],
        },
    }  # fmt: skip
