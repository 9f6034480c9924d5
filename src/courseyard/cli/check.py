"""``courseyard check``: everything that is wrong with a site's files, for people and for CI."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from courseyard.cli import certificates, clusterproblems, homes, output, prepull
from courseyard.cli.sites import HERE, Known, SiteArgument, as_written, open_site
from courseyard.errors import Problem, SettingsError, Severity, StorageError, UnsupportedError
from courseyard.hints import some
from courseyard.hub.home import looks
from courseyard.images.build import is_built, lock_file
from courseyard.images.catalog import ImageCatalog, load_catalog
from courseyard.inside import RefusedFileError
from courseyard.people import nss
from courseyard.people.person import Person
from courseyard.people.static import load_people
from courseyard.registry.crosscheck import problem_at
from courseyard.registry.load import Snapshot, load_snapshot
from courseyard.settings import SITE_FILE, Site
from courseyard.sitefile import load_site
from courseyard.storage import courses
from courseyard.storage.diff import Verb
from courseyard.storage.walk import denied


def check(
    site: SiteArgument = HERE,
    strict: Annotated[
        bool, typer.Option("--strict", help="Warnings count as errors for the exit status.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A list for programs.")] = False,
    kubernetes: Annotated[
        bool,
        typer.Option(
            "--kubernetes",
            help="Check the cluster of kubectl's current context, too; before and after "
            "`kubectl apply -k`.",
        ),
    ] = False,
    no_probe: Annotated[
        bool,
        typer.Option(
            "--no-probe",
            help="With --kubernetes: only look. Otherwise short-lived pods try the network, names, "
            "images and clocks.",
        ),
    ] = False,
) -> None:
    """Check site, courses, images, people and storage; exit status 1 when something is wrong."""
    in_cluster = _of_cluster(site, probing=not no_probe) if kubernetes else []
    found = [*problems_of(site), *in_cluster]
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
        site = as_written(load_site(folder))
    except SettingsError as error:
        yield from _of_error(error, folder / SITE_FILE)
        return
    people, problems = _people(site)
    yield from problems
    if people is not None:
        yield from _of_named(site, people)
    yield from _of_authenticator(site)
    yield from certificates.problems(site)
    yield from _of_looks(site)
    yield from _of_access_log(site)
    try:
        catalog = load_catalog(site)
    except SettingsError as error:
        yield from _of_error(error, site.path(site.images))
        return
    yield from clusterproblems.problems(site)
    if site.backend == "sandbox":  # a cluster fetches images by their references
        yield from _of_images(site, catalog)
    snapshot = load_snapshot(site, catalog)
    yield from snapshot.problems
    if site.backend == "kubernetes":
        yield from prepull.problems(Known(site, catalog, snapshot))
    if people is not None:
        yield from _of_owners(people, snapshot)
        yield from _of_instructors(site, people, snapshot)
    yield from _of_storage(site, snapshot)
    yield from homes.problems(site, people)


def _of_cluster(folder: Path, *, probing: bool) -> list[Problem]:
    """What would fail in the cluster; nothing where the site's files cannot be used at all.

    Raises:
        BackendError: there is no cluster to ask, or nothing to ask it with.
    """
    try:
        known = open_site(folder)
    except SettingsError:
        return []  # told by `problems_of`
    if known.site.backend != "kubernetes":
        raise UnsupportedError(
            "This site does not run on a cluster: its `backend` is sandbox.",
            "Leave --kubernetes out, or make a site by `courseyard init --kubernetes`.",
        )
    if find_spec("kubernetes_asyncio") is None:
        raise UnsupportedError(
            "This installation cannot ask a cluster: the extra `kubernetes` is missing.",
            "Install it with Courseyard's wheel: pip install './courseyard-….whl[kubernetes]'.",
        )
    with output.progress_when_long("Asking the cluster") as tell:
        from courseyard.backends.kubernetes.check import run  # needs the extra, and seconds

        try:
            return run.problems(known.site, known.catalog, known.snapshot, tell, probing=probing)
        except asyncio.CancelledError:  # by SIGTERM; the pods are gone
            raise typer.Exit(128 + signal.SIGTERM) from None


def _of_error(error: SettingsError, file: Path) -> Iterable[Problem]:
    return error.problems or (Problem(file, 0, "", f"{error.message} {error.next_step}".strip()),)


def _people(site: Site) -> tuple[dict[str, Person] | None, Iterable[Problem]]:
    """The people where a file tells them, and what is wrong with their source."""
    if site.people.source != "static":
        return None, _of_directory(site)
    file = site.path(site.people.file)
    try:
        return load_people(file, site.people), ()
    except SettingsError as error:
        return None, _of_error(error, file)


def _of_directory(site: Site) -> Iterator[Problem]:
    """Lists of the machine's people that do not answer."""
    for said in nss.silent():
        message = (
            f"the machine's directory does not answer ({said}): nobody new is known until it does. "
            "Try `getent passwd NAME`, and look at its service (sssd, nslcd) and /etc/nsswitch.conf"
        )
        yield problem_at(site.folder / SITE_FILE, ("people", "source"), message, Severity.WARNING)


def _of_named(site: Site, people: Mapping[str, Person]) -> Iterator[Problem]:
    """Whom the site file names, though the people's file does not."""
    for key in ("administrators", "test_students"):
        for index, name in enumerate(getattr(site.people, key)):
            if name not in people:
                message = (
                    f"{name!r} is not in {site.people.file}; add them there, or correct the name"
                )
                place = ("people", key, index)
                yield problem_at(site.folder / SITE_FILE, place, message, Severity.WARNING)


def _of_instructors(
    site: Site, people: Mapping[str, Person], snapshot: Snapshot
) -> Iterator[Problem]:
    """Whom a course names as instructors, though the people's file does not."""
    for course in snapshot.courses.values():
        if unknown := sorted(course.instructors - people.keys()):
            verb = "are" if len(unknown) > 1 else "is"
            message = (
                f"{some(unknown)} {verb} not in {site.people.file}; add them there, or correct the "
                "names"
            )
            yield problem_at(course.file, "instructors", message, Severity.WARNING)


def _of_looks(site: Site) -> Iterator[Problem]:
    """A logo that pages cannot show."""
    file, why = site.branding.logo, ""
    try:
        looks.read_logo(site)
    except FileNotFoundError:
        why = "is not there; put it there, or correct the path"
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
    except RefusedFileError as error:
        why = str(error)
    if why:
        message = f"{file} {why}. Until then pages have no logo"
        yield problem_at(site.folder / SITE_FILE, ("branding", "logo"), message, Severity.WARNING)


def _of_access_log(site: Site) -> Iterator[Problem]:
    """A log that the proxy could not open: it would not start."""
    log = site.proxy.access_log
    if log is None or site.backend == "kubernetes" or site.path(log).parent.is_dir():
        return
    message = f"the folder of {log} is not there; make it, or correct the path"
    yield problem_at(site.folder / SITE_FILE, ("proxy", "access_log"), message, Severity.ERROR)


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


def _of_authenticator(site: Site) -> Iterator[Problem]:
    name = site.hub.authenticator
    if name in ("demo", "pam"):
        return
    from courseyard.hub.authenticators import installed  # JupyterHub needs its time

    try:
        installed(name)
    except SettingsError as error:
        message, severity = f"{error.message} {error.next_step}".strip(), Severity.ERROR
        if site.backend == "kubernetes" and isinstance(error.__cause__, ModuleNotFoundError):
            message = f"{name!r} is not installed here; the hub's image must have it"
            severity = Severity.WARNING
        message = message.removeprefix("hub.authenticator: ")
        yield problem_at(site.folder / SITE_FILE, ("hub", "authenticator"), message, severity)


def _of_storage(site: Site, snapshot: Snapshot) -> Iterator[Problem]:
    """What `courseyard storage apply` would mend; folders not yet made are no problem."""
    root = site.storage_root
    if not root.is_dir():
        return
    try:
        made = courses.make(site, snapshot.courses, dry_run=True)
    except StorageError as error:
        if not _roots_alone(denied(error)):
            yield Problem(root, 0, "", error.detail or error.message)
        return
    for refusal in made.refusals.values():
        if not _roots_alone(refusal.denied):
            yield refusal.problem(root)
    for action in made.actions:
        if action.verb is not Verb.MAKE:
            message = f"should be changed ({action}): run `courseyard storage apply`"
            yield Problem(root / action.entry.path, 0, "", message, Severity.WARNING)


def _roots_alone(was_denied: bool) -> bool:
    """Whether this is no finding: the storage belongs to root, and only root can look."""
    return was_denied and os.geteuid() != 0


def _of_owners(people: Mapping[str, Person], snapshot: Snapshot) -> Iterator[Problem]:
    """Courses whose files would be some person's own, or those of a person's group."""
    owners: dict[int, list[str]] = {}
    groups: dict[int, list[str]] = {}
    for name, person in people.items():
        owners.setdefault(person.uid, []).append(name)
        groups.setdefault(person.gid, []).append(name)
    for course in snapshot.courses.values():
        if course.gid is None or course.coursedir_slug:
            continue
        if names := owners.get(course.uid):
            message = f"is the UID of {some(names)}, who owns all files of the course then"
            yield problem_at(course.file, "uid", message, Severity.WARNING)
        if names := groups.get(course.gid):
            message = (
                f"is the primary group of {some(names)}, who can read and write all files of "
                "the course then"
            )
            yield problem_at(course.file, "gid", message, Severity.WARNING)


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
