"""What must stand in the cluster, and what stands there → what is wrong. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator

from courseyard.backends.kubernetes.check import claims
from courseyard.backends.kubernetes.check.look import account_of, referenced
from courseyard.backends.kubernetes.check.seen import PATHS, Seen
from courseyard.backends.kubernetes.check.wanted import Generated, Manifests, Wanted
from courseyard.errors import Problem, Severity
from courseyard.inside import RefusedFileError, read_inside
from courseyard.settings import KubernetesSettings

_ENFORCE = "pod-security.kubernetes.io/enforce"
_USERS_OF = "courseyard/users-of"
#: Bytes that a ConfigMap or Secret holds, and all annotations of an object together
#: (kubernetes.io/docs/concepts/configuration/configmap, k8s.io/apimachinery TotalAnnotationSizeLimitB).
_LARGEST, _LARGEST_NOTES = 1024 * 1024, 256 * 1024
_NEAR = 0.8
_MOST = 16 * 1024 * 1024  # bytes of one file that are looked at
#: What the lack of an object means; others are told as not there.
_MEANS = {
    "NetworkPolicy": "is not there, so nothing that it refuses is refused",
    "RoleBinding": "is not there, so the hub may not start servers",
    "Role": "is not there, so the hub may not start servers",
}


def problems(manifests: Manifests, seen: Seen, settings: KubernetesSettings) -> list[Problem]:
    """Everything that can be told without trying it."""
    found = [*manifests.problems, *_of_files(manifests)]
    if not any(map(seen.has_namespace, (settings.namespace, settings.users_namespace))):
        found += _not_yet(manifests, seen, settings)
    else:
        found += _of_namespaces(manifests, seen, settings)
        found += _of_objects(manifests, seen)
        found += _of_deployments(manifests, seen)
        found += _of_rights(manifests, seen, settings)
        found += _of_pull_secrets(manifests, seen, settings)
    found += claims.problems(manifests, seen, settings)
    found += _of_unknown(manifests, seen)
    return found


def _not_yet(manifests: Manifests, seen: Seen, settings: KubernetesSettings) -> Iterator[Problem]:
    if ("Namespace", "", settings.namespace) not in seen.unknown:
        message = (
            "is not there yet, so only the storage was looked at: run this again after "
            "`kubectl apply -k`"
        )
        yield manifests.problem("Namespace", "", settings.namespace, message, Severity.WARNING)


def _of_files(manifests: Manifests) -> Iterator[Problem]:
    """Maps of files: files that are not there, and maps that come near their limit."""
    for made in manifests.generated:
        data = {}
        for key, path in made.files:
            try:
                text = read_inside(path, _MOST, within=made.file.parent)
                data[key] = text.decode(errors="replace")
            except (OSError, RefusedFileError) as error:
                why = getattr(error, "strerror", None) or str(error)
                yield made.problem(
                    f"its file {path} cannot be read ({why.lower()}), so `kubectl apply -k` stops: "
                    "put it there, or take its line away"
                )
        yield from _of_size(made, sum(len(text.encode()) for text in data.values()), data)


def _of_size(made: Generated, size: int, data: dict[str, str]) -> Iterator[Problem]:
    told = f"holds {size // 1024} KiB of files"
    if size > _LARGEST:
        yield made.problem(f"{told}, and the cluster takes 1024: take files out of it")
    elif size > _NEAR * _LARGEST:
        message = f"{told}, and the cluster takes 1024: take files out of it in time"
        yield made.problem(message, Severity.WARNING)
    elif len(json.dumps(data)) > _NEAR * _LARGEST_NOTES:
        message = (
            f"{told}: plain `kubectl apply` refuses from about 256 on; use `kubectl apply "
            "--server-side --force-conflicts -k`"
        )
        yield made.problem(message, Severity.WARNING)


def _of_namespaces(
    manifests: Manifests, seen: Seen, settings: KubernetesSettings
) -> Iterator[Problem]:
    users, hub = settings.users_namespace, settings.namespace
    for name in (hub, users):
        if seen.lacks("Namespace", "", name):
            message = "is not there: `kubectl apply -k` makes it"
            yield manifests.problem("Namespace", "", name, message)
    for name, key, right, why, severity in (
        (users, _ENFORCE, "restricted", "pods of people could have more rights than they need", Severity.ERROR),
        (users, _USERS_OF, hub, "the hub's policies do not know its servers", Severity.ERROR),
        (hub, _ENFORCE, "baseline", "pods beside the hub could have every right", Severity.WARNING),
    ):  # fmt: skip
        namespace = seen.get("Namespace", "", name)
        value = ((namespace or {}).get("metadata", {}).get("labels") or {}).get(key)
        if namespace is None or value == right:
            continue
        state = f"is {value}" if value else "is missing"
        if (name, key, value) == (hub, _ENFORCE, "restricted"):
            why, severity = "the agent is refused, and no folder is made", Severity.ERROR
        message = f"its label {key} {state}, so {why}: `kubectl label ns {name} --overwrite {key}={right}`"  # fmt: skip
        yield manifests.problem("Namespace", "", name, message, severity)


def _of_objects(manifests: Manifests, seen: Seen) -> Iterator[Problem]:
    """Objects that the site's files make, and that are not there."""
    for item in manifests.objects:
        told_elsewhere = item.kind in ("Namespace", "PersistentVolumeClaim")
        if item.kind not in PATHS or told_elsewhere:
            continue
        if seen.lacks(item.kind, item.namespace, item.name):
            yield item.problem(f"{_MEANS.get(item.kind, 'is not there')}: `kubectl apply -k` makes it")  # fmt: skip


def _of_deployments(manifests: Manifests, seen: Seen) -> Iterator[Problem]:
    for item in manifests.of("Deployment"):
        deployment = seen.get("Deployment", item.namespace, item.name)
        if deployment is None:
            continue
        for kind, name, key in sorted(set(referenced(deployment))):
            yield from _of_reference(item, seen, kind, name, key)
        wanted = max(1, int(deployment["spec"].get("replicas", 1)))  # scaled to none is no site
        ready = int((deployment.get("status") or {}).get("availableReplicas") or 0)
        if ready < wanted:
            message = (
                f"{ready} of {wanted} pods are ready: wait if it was applied just now, else "
                f"`kubectl describe pods -n {item.namespace} -l component={item.name}`"
            )
            yield item.problem(message, Severity.WARNING if ready else Severity.ERROR)


def _of_reference(item: Wanted, seen: Seen, kind: str, name: str, key: str) -> Iterator[Problem]:
    """One ConfigMap or Secret of a Deployment that stands, and a key of it."""
    if seen.lacks(kind, item.namespace, name):
        yield item.problem(
            f"its pods need the {kind} {name}, which is not there: `kubectl apply -k` makes it anew"
        )
        return
    found = seen.get(kind, item.namespace, name)
    held = {**((found or {}).get("data") or {}), **((found or {}).get("binaryData") or {})}
    if found is not None and key and key not in held:
        yield item.problem(
            f"its pods need {key} in the {kind} {name}, which lacks it: add it to `files` of the "
            "generator in kustomization.yaml and apply again"
        )


def _of_rights(manifests: Manifests, seen: Seen, settings: KubernetesSettings) -> Iterator[Problem]:
    if not seen.lacking:
        return
    account = account_of(seen, settings.namespace)
    message = (
        f"may not {', '.join(seen.lacking)} in {settings.users_namespace}, so servers do not start: "
        "`kubectl apply -k` gives its role and the binding"
    )
    yield manifests.problem("ServiceAccount", settings.namespace, account, message)


def _of_pull_secrets(
    manifests: Manifests, seen: Seen, settings: KubernetesSettings
) -> Iterator[Problem]:
    space = settings.users_namespace
    for name in settings.image_pull_secrets:
        if seen.lacks("Secret", space, name):
            message = "is named in `kubernetes.image_pull_secrets` and is not there: make it, or take the name away"  # fmt: skip
            yield manifests.problem("Secret", space, name, message)


def _of_unknown(manifests: Manifests, seen: Seen) -> Iterator[Problem]:
    """What the caller may not look at, so that silence is not taken for health."""
    for kind, *rest in sorted(seen.unknown):
        space, name = rest[0], rest[1] if len(rest) > 1 else ""
        message = (
            "you may not look at it, so nothing is said about it: ask an administrator of the "
            "cluster, or let one run this check"
        )
        yield manifests.problem(kind, space, name, message, Severity.WARNING)
