"""``courseyard check``: everything that is wrong with a site's files, for people and for CI."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from courseyard.cli import output
from courseyard.cli.sites import HERE, SiteArgument
from courseyard.cli.storage import wanted
from courseyard.errors import Problem, SettingsError, Severity, StorageError
from courseyard.images.build import is_built, lock_file
from courseyard.images.catalog import ImageCatalog, load_catalog
from courseyard.people.static import load_people
from courseyard.registry.load import Snapshot
from courseyard.registry.watch import Registry
from courseyard.settings import SITE_FILE, Site
from courseyard.sitefile import load_site
from courseyard.storage import apply
from courseyard.storage.diff import Verb


def check(
    site: SiteArgument = HERE,
    strict: Annotated[
        bool, typer.Option("--strict", help="Warnings count as errors for the exit status.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A list for programs.")] = False,
) -> None:
    """Check site, courses, images, people and storage; exit status 1 when something is wrong."""
    found = list(problems_of(site))
    errors = sum(problem.is_error for problem in found)
    warnings = len(found) - errors
    if as_json:
        output.print_json([_as_data(problem) for problem in found])
    else:
        for problem in found:
            output.problem(problem)
        output.note(_summary(errors, warnings), "" if errors else "green")
    if errors or (strict and warnings):
        raise typer.Exit(1)


def problems_of(folder: Path) -> Iterator[Problem]:
    """Every problem of the site in ``folder``; the site file's own alone when it cannot be used."""
    try:
        site = load_site(folder)
    except SettingsError as error:
        yield from _of_error(error, folder / SITE_FILE)
        return
    yield from _of_people(site)
    try:
        catalog = load_catalog(site)
    except SettingsError as error:
        yield from _of_error(error, site.path(site.images))
        return
    yield from _of_images(site, catalog)
    snapshot = Registry(site, catalog).refresh()
    yield from snapshot.problems
    yield from _of_storage(site, snapshot)


def _of_error(error: SettingsError, file: Path) -> Iterable[Problem]:
    return error.problems or (Problem(file, 0, "", f"{error.message} {error.next_step}".strip()),)


def _of_people(site: Site) -> Iterator[Problem]:
    if site.people.source != "static":
        return
    file = site.path(site.people.file)
    try:
        people = load_people(file, site.people)
    except SettingsError as error:
        yield from _of_error(error, file)
        return
    for key in ("administrators", "test_students"):
        for name in getattr(site.people, key):
            if name not in people:
                message = f"nobody in {site.people.file} has the name {name!r}"
                site_file = site.folder / SITE_FILE
                yield Problem(site_file, 0, f"people.{key}", message, Severity.WARNING)


def _of_images(site: Site, catalog: ImageCatalog) -> Iterator[Problem]:
    """Releases whose folder is missing or old: their servers cannot start on this machine."""
    file = site.path(site.images)
    for family, releases in catalog.families.items():
        for release in releases:
            if release.path is None:
                continue
            locked = lock_file(release.path).is_file()
            if release.path.is_dir() and (not locked or is_built(release.path)):
                continue
            how = "run `courseyard images build`" if locked else "put its folder there"
            state = "is not built from its lock file" if release.path.is_dir() else "is not there"
            key = f"families.{family}.releases.{release.released}.path"
            yield Problem(file, 0, key, f"{release.path} {state}: {how}", Severity.WARNING)


def _of_storage(site: Site, snapshot: Snapshot) -> Iterator[Problem]:
    """What `courseyard storage apply` would mend; folders not yet made are no problem."""
    root = site.storage_root
    if not root.is_dir():
        return
    try:
        actions = apply.ensure(root, wanted(site, snapshot.courses), dry_run=True)
    except StorageError as error:
        yield Problem(root, 0, "", error.detail or error.message)
        return
    except PermissionError:
        return  # the storage belongs to root; only root can look
    for action in actions:
        if action.verb is not Verb.MAKE:
            message = f"should be changed ({action}): run `courseyard storage apply`"
            yield Problem(root / action.entry.path, 0, "", message, Severity.WARNING)


def _as_data(problem: Problem) -> dict[str, Any]:
    return {
        "file": str(problem.file),
        "line": problem.line or None,
        "key": problem.key,
        "severity": problem.severity.value,
        "message": problem.message,
    }


def _summary(errors: int, warnings: int) -> str:
    if not errors and not warnings:
        return "All good."
    parts = [
        f"{number} {word}{'s' if number > 1 else ''}"
        for number, word in ((errors, "error"), (warnings, "warning"))
        if number
    ]
    return ", ".join(parts) + "."
