"""What the files of a site in a cluster say against each other, for ``courseyard check``.

What is said here stands in several files, because `kubectl apply -k` reads them without Courseyard.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from courseyard.backends.kubernetes.check.wanted import KUSTOMIZATION
from courseyard.cli import clusterfiles
from courseyard.errors import Problem, SettingsError, Severity
from courseyard.hints import some
from courseyard.settings import SITE_FILE, Site
from courseyard.yamlfile import Document, YamlError, read_bytes, read_yaml

_COURSES = "courseyard-courses"
_ROUTES = "secrets/routes-token"
_SOUND_TOKEN = re.compile(rb"[A-Za-z0-9._~+/=-]{32,}")


def problems(site: Site) -> Iterator[Problem]:
    """Of a site for a cluster with a ``kustomization.yaml``; none of others."""
    file = site.folder / KUSTOMIZATION
    if site.backend != "kubernetes" or not file.is_file():
        return
    yield from _of_trust(site, file)
    yield from _of_token(site.folder / _ROUTES)
    try:
        document = read_yaml(file)
    except YamlError as error:
        yield from error.problems
        return
    yield from _of_courses(site, document)
    yield from _of_namespaces(site, document)


def _of_trust(site: Site, file: Path) -> Iterator[Problem]:
    """The proxies are told in two places whom they trust; nobody is until both agree."""
    wanted = site.proxy.trusted_proxies
    try:
        given = clusterfiles.trusted_proxies(site.folder)
    except SettingsError as error:
        yield from error.problems
        return
    except ValueError as error:
        yield Problem(file, 0, "patches", f"the proxies' argument cannot be read: {error}")
        return
    if given == frozenset(wanted):
        return
    if wanted:
        message = (
            f"the proxies' argument must be {clusterfiles.TRUST}{','.join(wanted)}, as "
            f"`proxy.trusted_proxies` of {SITE_FILE} says"
        )
    else:
        message = f"the proxies trust {some(sorted(given))}; `proxy.trusted_proxies` of {SITE_FILE} does not"
    yield Problem(file, 0, "patches", message, Severity.WARNING)


def _of_token(file: Path) -> Iterator[Problem]:
    try:
        token = read_bytes(file)
    except SettingsError:
        return  # kubectl says that it is not there; others than its owner cannot read it
    if not _SOUND_TOKEN.fullmatch(token):
        message = (
            "must be at least 32 letters and digits, with no line break at the end, or proxies get no "
            f"routes: openssl rand -hex 32 | tr -d '\\n' > {_ROUTES}"
        )
        yield Problem(file, 1, "", message)


def _of_courses(site: Site, document: Document) -> Iterator[Problem]:
    """Each course file needs a line, and each line a file."""
    for number, each in _generators(document):
        if each.get("name") != _COURSES:
            continue
        key = ("configMapGenerator", number, "files")
        listed = each.get("files") or []
        if not isinstance(listed, list):
            return  # kubectl says so
        paths = [str(line).rpartition("=")[2] for line in listed]  # key=path, or the path alone
        there = {f.name for f in site.path(site.courses).glob("*.yaml") if f.name[0] != "."}
        for name in sorted(there - {Path(path).name for path in paths}):
            message = f"courses/{name} has no line here, so the cluster does not get it"
            yield document.problem(key, message, Severity.WARNING)
        for item, path in enumerate(paths):
            if not (site.folder / path).is_file():
                yield document.problem((*key, item), f"there is no file {path}")


def _generators(document: Document) -> list[tuple[int, dict[str, Any]]]:
    found = document.data.get("configMapGenerator")
    if not isinstance(found, list):
        return []
    return [(number, each) for number, each in enumerate(found) if isinstance(each, dict)]


def _of_namespaces(site: Site, document: Document) -> Iterator[Problem]:
    """The names in the manifests are those that the hub works with."""
    settings = site.kubernetes
    for number, each in _generators(document):
        path = ("configMapGenerator", number, "namespace")
        yield from _of_name(document, path, each.get("namespace"), "namespace", settings.namespace)
    bases = {
        "hub": ("namespace", settings.namespace),
        "users": ("users_namespace", settings.users_namespace),
    }
    for part, (key, wanted) in bases.items():
        file = site.folder / "kubernetes" / "base" / part / KUSTOMIZATION
        try:
            base = read_yaml(file)
        except YamlError:
            continue  # a site may have manifests of another shape
        yield from _of_name(base, ("namespace",), base.data.get("namespace"), key, wanted)


def _of_name(
    document: Document, path: tuple[str | int, ...], found: Any, key: str, wanted: str
) -> Iterator[Problem]:
    if found is not None and found != wanted:
        message = (
            f"is {found}, but `kubernetes.{key}` of {SITE_FILE} is {wanted}: write the same name"
        )
        yield document.problem(path, message)
