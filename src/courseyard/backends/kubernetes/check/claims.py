"""Storage: classes, claims and volumes as data → what is wrong with them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from courseyard.backends.kubernetes.check.seen import Object, Seen
from courseyard.backends.kubernetes.check.wanted import Manifests, Wanted
from courseyard.errors import Problem, Severity
from courseyard.settings import KubernetesSettings

_DEFAULT = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")  # fmt: skip
_CLAIM, _VOLUME, _CLASS = "PersistentVolumeClaim", "PersistentVolume", "StorageClass"
_MANY = "ReadWriteMany"


def problems(manifests: Manifests, seen: Seen, settings: KubernetesSettings) -> Iterator[Problem]:
    """Of every claim that the site's files want, of those that stand, and of the shared storage."""
    wanted = {(item.namespace, item.name): item for item in manifests.of(_CLAIM)}
    stand = {(space, name) for kind, space, name in seen.objects if kind == _CLAIM}
    shared = (settings.users_namespace, settings.storage_claim)
    for space, name in sorted({*wanted, *stand, shared}):
        for message, severity in _of_claim(seen, space, name, wanted.get((space, name))):
            yield manifests.problem(_CLAIM, space, name, message, severity)
    for item in manifests.of(_VOLUME):
        yield from _of_volume(item, seen)
    yield from _of_shared(manifests, seen, settings)


def _of_claim(
    seen: Seen, space: str, name: str, wanted: Wanted | None
) -> Iterator[tuple[str, Severity]]:
    claim = seen.get(_CLAIM, space, name)
    if claim is None and wanted is None:
        if {(_CLAIM, space), ("Namespace", "", space)} & seen.unknown:
            return
        how = "write the claim, or correct `kubernetes.storage_claim` of the site file"
        yield f"no file of the site makes it, and it is not there: {how}", Severity.ERROR
        return
    if seen.lacks(_CLAIM, space, name):
        yield "is not there: `kubectl apply -k` makes it", Severity.ERROR
    spec = (claim or (wanted.data if wanted else {})).get("spec") or {}
    phase = str(((claim or {}).get("status") or {}).get("phase") or "")
    if phase == "Lost":
        yield (
            (
                f"has lost its volume {spec.get('volumeName')}, which was deleted: delete the claim "
                "too and apply again; the files of an export or a folder stay"
            ),
            Severity.ERROR,
        )
    elif phase != "Bound":
        named_later = claim is None and wanted is not None and wanted.patched
        if (missing := _class_missing(seen, spec)) and not named_later:
            yield missing, Severity.ERROR
        elif phase:
            yield _pending(seen, spec)


def _class_missing(seen: Seen, spec: Object) -> str:
    """Why no StorageClass can make the claim's volume; "" when one may, or none is asked."""
    name, known = spec.get("storageClassName"), seen.all(_CLASS)
    if (_CLASS, "") in seen.unknown or spec.get("volumeName") or name == "":
        return ""
    there = ", ".join(sorted(item["metadata"]["name"] for item in known)) or "none"
    if name is None and not any(map(_is_default, known)):
        return (
            "names no StorageClass, and the cluster has no default: write `storageClassName` "
            f"(there: {there}), or mark one of them as the default"
        )
    if name and seen.get(_CLASS, "", name) is None:
        return f"the StorageClass {name} is not there: name another one (there: {there}), or make it"  # fmt: skip
    return ""


def _is_default(item: Object) -> bool:
    notes = item["metadata"].get("annotations") or {}
    return any(notes.get(key) == "true" for key in _DEFAULT)


def _pending(seen: Seen, spec: Object) -> tuple[str, Severity]:
    """A claim that no volume has yet, though a class or a volume is named."""
    volume = str(spec.get("volumeName") or "")
    if volume and (_VOLUME, "") not in seen.unknown and seen.get(_VOLUME, "", volume) is None:
        return f"waits for the volume {volume}, which is not there: apply again", Severity.ERROR
    of_class = seen.get(_CLASS, "", str(spec.get("storageClassName") or "")) or {}
    if of_class.get("volumeBindingMode") == "WaitForFirstConsumer":
        return "gets its volume with its first pod: check again once that runs", Severity.WARNING
    return (
        "is pending, so every pod that needs it waits: `kubectl describe pvc` says why; without a "
        "volume that fits nothing changes by waiting",
        Severity.ERROR,
    )


def _of_volume(item: Wanted, seen: Seen) -> Iterator[Problem]:
    """A volume of an earlier life of the site holds its claim's name and takes no new one."""
    volume = seen.get(_VOLUME, "", item.name)
    phase = str(((volume or {}).get("status") or {}).get("phase") or "")
    if phase in ("Released", "Failed"):
        yield item.problem(
            f"is {phase.lower()} and takes no claim again: `kubectl delete pv {item.name}` and "
            "apply again; the files of an export or a folder stay"
        )


def _of_shared(manifests: Manifests, seen: Seen, settings: KubernetesSettings) -> Iterator[Problem]:
    """The storage of all servers: seen from all nodes, and the same for the agent."""
    spaces, name = (settings.users_namespace, settings.namespace), settings.storage_claim
    volumes = [volume for space in spaces if (volume := _behind(manifests, seen, space, name))]
    nodes = [item for item in seen.all("Node") if not (item.get("spec") or {}).get("unschedulable")]
    for volume in volumes[:1]:
        modes = volume["spec"].get("accessModes") or []
        if _MANY not in modes and len(nodes) > 1:
            message = (
                f"its volume is not {_MANY} (but {', '.join(modes)}), and there are {len(nodes)} "
                "nodes: servers on all but one of them wait for ever; use storage that all nodes mount"
            )
            yield manifests.problem(_CLAIM, spaces[0], name, message, Severity.WARNING)
    if len(volumes) == 2 and (sources := list(map(_source, volumes)))[0] != sources[1]:
        message = (
            f"is {sources[0]}, and the agent's of the same name is {sources[1]}: servers would not "
            "find the folders that the agent makes; give both the same source"
        )
        yield manifests.problem(_CLAIM, spaces[0], name, message)


def _behind(manifests: Manifests, seen: Seen, space: str, name: str) -> Object | None:
    """The volume of a claim: the one that it is bound to, else the one that its file names."""
    claim, wanted = seen.get(_CLAIM, space, name), manifests.find(_CLAIM, space, name)
    spec = (claim or (wanted.data if wanted else {})).get("spec") or {}
    volume = str(spec.get("volumeName") or "")
    written = manifests.find(_VOLUME, "", volume)
    return seen.get(_VOLUME, "", volume) or (written.data if written else None)


def _source(volume: Object) -> str:
    """Where a volume's files lie, as far as two claims can have the same: NFS, or a folder."""
    spec = volume["spec"]
    if nfs := spec.get("nfs"):
        return f"{nfs.get('server')}:{str(nfs.get('path')).rstrip('/')}"
    if folder := spec.get("hostPath"):
        return str(folder.get("path")).rstrip("/")
    return "another kind of volume"
