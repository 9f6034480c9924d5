"""What ``kubectl apply -k`` would make of a site, as far as a check needs it: objects and their places.

Resources are followed and namespaces set as kustomize does it; patches are not applied, an object
that one may touch is only marked. So no ``kubectl`` is needed here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from courseyard.errors import Problem, SettingsError, Severity
from courseyard.yamlfile import read_bytes

Object = dict[str, Any]
KUSTOMIZATION = "kustomization.yaml"
_NO_NAMESPACE = frozenset(("Namespace", "PersistentVolume", "StorageClass", "ClusterRole"))
_DEEPEST = 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object of the site's manifests, and where it is written."""

    file: Path
    line: int
    kind: str
    namespace: str  # "" for what has none
    name: str
    data: Object
    patched: bool = False  # a patch may change it

    def problem(self, message: str, severity: Severity = Severity.ERROR) -> Problem:
        return Problem(self.file, self.line, key_of(self.kind, self.namespace, self.name), message, severity)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Generated:
    """A ConfigMap or Secret made of files: the key of each and its file."""

    file: Path  # the kustomization
    kind: str
    namespace: str
    name: str
    files: tuple[tuple[str, Path], ...]

    def problem(self, message: str, severity: Severity = Severity.ERROR) -> Problem:
        return Problem(self.file, 0, key_of(self.kind, self.namespace, self.name), message, severity)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Manifests:
    """Everything of a site, and what is wrong with the files themselves."""

    folder: Path
    objects: tuple[Wanted, ...] = ()
    generated: tuple[Generated, ...] = ()
    problems: tuple[Problem, ...] = ()

    def of(self, kind: str) -> tuple[Wanted, ...]:
        return tuple(item for item in self.objects if item.kind == kind)

    def find(self, kind: str, namespace: str, name: str) -> Wanted | None:
        every = (item for item in self.of(kind) if item.namespace == namespace)
        return next((item for item in every if item.name == name), None)

    def problem(
        self,
        kind: str,
        namespace: str,
        name: str,
        message: str,
        severity: Severity = Severity.ERROR,
    ) -> Problem:
        """A problem at the object's own place; at the site's kustomization when no file makes it."""
        found = self.find(kind, namespace, name)
        if found is not None:
            return found.problem(message, severity)
        key = key_of(kind, namespace, name)
        return Problem(self.folder / KUSTOMIZATION, 0, key, message, severity)


def key_of(kind: str, namespace: str, name: str) -> str:
    """An object in a message: ``docs-users/networkpolicy/servers``."""
    return "/".join(part for part in (namespace, kind.lower(), name) if part)


def read(folder: Path) -> Manifests:
    """The manifests of the site in ``folder``; nothing is raised, ``problems`` says what is wrong."""
    objects: list[Wanted] = []
    generated: list[Generated] = []
    problems: list[Problem] = []
    for found in _kustomization(folder, _DEEPEST):
        if isinstance(found, Wanted):
            objects.append(found)
        elif isinstance(found, Generated):
            generated.append(found)
        else:
            problems.append(found)
    return Manifests(folder, tuple(objects), tuple(generated), tuple(problems))


def _kustomization(folder: Path, depth: int) -> Iterator[Wanted | Generated | Problem]:
    file = folder / KUSTOMIZATION
    try:
        made = next(_documents(file), (1, {}))[1]
    except SettingsError as error:
        yield from error.problems
        return
    namespace = str(made.get("namespace") or "")
    patched = _patched(made)
    for entry in map(str, made.get("resources") or ()):
        for found in _resource(file, Path(os.path.normpath(folder / entry)), entry, depth):
            if isinstance(found, Wanted):
                own = found.kind in _NO_NAMESPACE
                space = "" if own else namespace or found.namespace
                touched = found.patched or found.kind in patched or "" in patched
                yield replace(found, namespace=space, patched=touched)
            else:
                yield found
    for key, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")):
        for entry in made.get(key) or ():
            files = tuple(_keyed(folder, str(text)) for text in entry.get("files") or ())
            space = namespace or str(entry.get("namespace") or "")
            yield Generated(file, kind, space, str(entry.get("name")), files)


def _resource(
    listed_in: Path, path: Path, entry: str, depth: int
) -> Iterator[Wanted | Generated | Problem]:
    if path.is_dir() and depth:
        yield from _kustomization(path, depth - 1)
    elif path.is_file():
        try:
            for line, data in _documents(path, listed_in.parent):
                about = data.get("metadata") or {}
                kind, name = str(data.get("kind")), str(about.get("name"))
                yield Wanted(path, line, kind, str(about.get("namespace") or ""), name, data)
        except SettingsError as error:
            yield from error.problems
    elif "://" not in entry and "?ref=" not in entry and not path.exists():
        message = f"{entry} is not there: `kubectl apply -k` stops at it; correct the line"
        yield Problem(listed_in, 0, "resources", message)


def _documents(file: Path, within: Path | None = None) -> Iterator[tuple[int, Object]]:
    """The mappings of a file of several documents, each with its line; kubectl too reads a file
    only below the folder ``within`` that names it.

    Raises:
        SettingsError: it cannot be read; ``problems`` holds the one problem.
    """
    loader = yaml.CSafeLoader(read_bytes(file, within=within))
    try:
        while loader.check_node():
            node: Any = loader.get_node()
            data = loader.construct_document(node)
            if isinstance(data, dict):
                yield node.start_mark.line + 1, data
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or "is no YAML"
        found = Problem(file, mark.line + 1 if mark else 0, "", f"cannot be read: {said}")
        raise SettingsError(str(found), problems=(found,)) from None
    finally:
        loader.dispose()


def _patched(made: Object) -> set[str]:
    """Kinds that patches of a kustomization may change; "" is any."""
    kinds = set()
    for patch in made.get("patches") or ():
        kind = (patch.get("target") or {}).get("kind", "")
        if not kind and patch.get("patch"):
            try:
                kind = (yaml.safe_load(str(patch["patch"])) or {}).get("kind", "")
            except (yaml.YAMLError, AttributeError):
                kind = ""
        kinds.add(str(kind))
    return kinds


def _keyed(folder: Path, text: str) -> tuple[str, Path]:
    key, sign, path = text.partition("=")
    return (key, folder / path) if sign else (Path(text).name, folder / text)
