"""Look at the cluster: reads, and asks who may do what. Changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from courseyard.backends.kubernetes.check.api import Api, RefusedError
from courseyard.backends.kubernetes.check.seen import PATHS, Object, Seen
from courseyard.errors import BackendError
from courseyard.settings import KubernetesSettings

#: All that the hub's account needs in the users' namespace: resource, subresource, verbs.
RIGHTS = (
    ("pods", "", ("list", "watch", "create", "delete")),
    ("events", "", ("list", "watch")),
    ("pods", "log", ("get",)),
)
_EVERYWHERE = ("Node", "PersistentVolume", "StorageClass")
#: Those of which only some matter are got by name (below).
_LISTED = (
    "PersistentVolumeClaim", "Service", "ServiceAccount", "Deployment", "NetworkPolicy", "Role", "RoleBinding",
)  # fmt: skip
_NODES = 10  # whose kubelets are asked: they are alike
_REVIEW = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


async def look(api: Api, settings: KubernetesSettings) -> Seen:
    """Everything that a site of these settings depends on.

    Raises:
        BackendError: the cluster does not answer, or does not know the caller.
    """
    seen = Seen()
    spaces = (settings.namespace, settings.users_namespace)
    await asyncio.gather(
        *(_one(api, seen, "Namespace", "", name) for name in spaces),
        *(_list(api, seen, kind, "") for kind in _EVERYWHERE),
    )
    chosen = [node for node in seen.all("Node") if bears(node, settings)][:_NODES]
    await asyncio.gather(*(_kubelet(api, seen, node["metadata"]["name"]) for node in chosen))
    there = [name for name in spaces if seen.has_namespace(name)]
    await asyncio.gather(*(_list(api, seen, kind, space) for kind in _LISTED for space in there))
    named = {("Secret", settings.users_namespace, name) for name in settings.image_pull_secrets}
    for key in list(seen.objects):
        if key[0] == "Deployment":
            named |= {(kind, key[1], name) for kind, name, _ in referenced(seen.objects[key])}
    named = {key for key in named if key[1] in there}
    await asyncio.gather(*(_one(api, seen, *key) for key in sorted(named)))
    if settings.users_namespace in there:
        await _rights(api, seen, settings)
    return seen


async def _kubelet(api: Api, seen: Seen, node: str) -> None:
    """What the kubelet was configured with; nothing of one that is silent, or only pretends."""
    try:
        found = await api.get(f"{PATHS['Node']}/{node}/proxy/configz")
    except RefusedError as error:
        if error.status == 403:
            seen.unknown.add(("Node", "", "proxy"))
        return
    except BackendError:
        return
    if settings := (found or {}).get("kubeletconfig"):
        seen.pids[node] = int(settings.get("podPidsLimit") or -1)


def bears(node: Object, settings: KubernetesSettings) -> bool:
    """Whether it has the labels of nodes for servers."""
    labels = node["metadata"].get("labels") or {}
    return settings.node_selector.items() <= labels.items()


async def _list(api: Api, seen: Seen, kind: str, namespace: str) -> None:
    try:
        for item in await api.items(PATHS[kind].format(namespace)):
            seen.objects[kind, namespace, item["metadata"]["name"]] = item
    except RefusedError:
        seen.unknown.add((kind, namespace))


async def _one(api: Api, seen: Seen, kind: str, namespace: str, name: str) -> None:
    try:
        found = await api.get(f"{PATHS[kind].format(namespace)}/{name}")
    except RefusedError:
        seen.unknown.add((kind, namespace, name))
        return
    if found is not None:
        if kind == "Secret":  # which keys there are, and never what they hold
            found["data"] = dict.fromkeys(found.get("data") or {}, "")
        seen.objects[kind, namespace, name] = found


def referenced(deployment: Object) -> Iterator[tuple[str, str, str]]:
    """ConfigMaps and Secrets that the pods of a Deployment cannot start without: kind, name, key.

    The key is "" when the whole object is mounted.
    """
    pod = deployment["spec"]["template"]["spec"]
    for container in [*(pod.get("initContainers") or ()), *(pod.get("containers") or ())]:
        for variable in container.get("env") or ():
            source = variable.get("valueFrom") or {}
            yield from _reference(source.get("secretKeyRef"), "Secret", "name")
            yield from _reference(source.get("configMapKeyRef"), "ConfigMap", "name")
    for volume in pod.get("volumes") or ():
        for source in [volume, *((volume.get("projected") or {}).get("sources") or ())]:
            yield from _reference(source.get("secret"), "Secret", "secretName", "name")
            yield from _reference(source.get("configMap"), "ConfigMap", "name")
    for secret in pod.get("imagePullSecrets") or ():
        yield "Secret", str(secret["name"]), ""


def _reference(source: Object | None, kind: str, *names: str) -> Iterator[tuple[str, str, str]]:
    name = next((source[key] for key in names if source.get(key)), "") if source else ""
    if not source or not name or source.get("optional") or name == "kube-root-ca.crt":
        return
    keys = [str(item["key"]) for item in source.get("items") or ()] or [source.get("key") or ""]
    for key in keys:
        yield kind, str(name), str(key)


async def _rights(api: Api, seen: Seen, settings: KubernetesSettings) -> None:
    """Ask for each of the rights whether the hub's account has it."""
    asked = [(resource, sub, verb) for resource, sub, verbs in RIGHTS for verb in verbs]
    account = account_of(seen, settings.namespace)
    try:
        answers = await asyncio.gather(
            *(api.post(_REVIEW, _review(account, settings, *each)) for each in asked)
        )
    except RefusedError:
        seen.unknown.add(("SubjectAccessReview", ""))
        return
    seen.lacking = tuple(_lacking(asked, answers))


def _lacking(asked: Iterable[tuple[str, str, str]], answers: Iterable[Object]) -> Iterator[str]:
    for (resource, sub, verb), answer in zip(asked, answers, strict=True):
        if not (answer.get("status") or {}).get("allowed"):
            yield f"{verb} {resource}{'/' if sub else ''}{sub}"


def account_of(seen: Seen, namespace: str) -> str:
    """The name of the hub's ServiceAccount."""
    hub = seen.get("Deployment", namespace, "hub") or {}
    pod = ((hub.get("spec") or {}).get("template") or {}).get("spec") or {}
    return str(pod.get("serviceAccountName") or "hub")


def _review(
    account: str, settings: KubernetesSettings, resource: str, sub: str, verb: str
) -> Object:
    space = settings.namespace
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{space}", "system:authenticated"]
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{space}:{account}",
            "groups": groups,
            "resourceAttributes": {
                "namespace": settings.users_namespace,
                "verb": verb,
                "group": "",
                "version": "v1",
                "resource": resource,
                **({"subresource": sub} if sub else {}),
            },
        },
    }
