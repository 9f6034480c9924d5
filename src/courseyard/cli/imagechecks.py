"""``courseyard images check``: an image's own tests, before people meet it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from courseyard.cli import output
from courseyard.cli.sites import HERE, SiteArgument, open_site
from courseyard.errors import ImageError
from courseyard.hints import did_you_mean
from courseyard.imagecheck import pod, sandbox
from courseyard.imagecheck.job import Job, make_job
from courseyard.imagecheck.results import Result, State, Tell
from courseyard.images.catalog import FAMILY, ImageCatalog, Release
from courseyard.plan.build import Known
from courseyard.settings import SITE_FILE, Site

_DATED = re.compile(rf"({FAMILY.pattern}):(\d{{4}}-\d{{2}}-\d{{2}})")
_STYLES = {State.PASSED: "green", State.FAILED: "red", State.NOT_RUN: "yellow"}


def check(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A family (its newest release), FAMILY:DATE, or an image reference that is listed.",
            show_default="all that can be run here",
        ),
    ] = None,
    site: SiteArgument = HERE,
    as_json: Annotated[bool, typer.Option("--json", help="A list for programs.")] = False,
) -> None:
    """Run an image's own tests; exit status 1 when one fails.

    As an ordinary user, without anybody's files and without a network: do packages import, do
    kernels start, does nbgrader go from release to feedback, and do the notebooks and smoke tests
    of the courses that get this image run? On one machine in a sandbox, on a cluster in a pod (by
    `kubectl`, which must be in the PATH and know the cluster).
    """
    if name is not None and (Path(name) / SITE_FILE).is_file() and site == HERE:
        site, name = Path(name), None  # `courseyard images check DIR`
    known = open_site(site)
    plans = Known(known.courses, known.catalog)
    now = datetime.now(known.site.tz)
    rows: list[dict[str, Any]] = []
    for release in chosen(known.site, known.catalog, name):
        job = make_job(known.site, plans, release, now)
        with output.progress(f"Checking {called(release)}") as tell:
            rows += [_row(release, found) for found in _results(known.site, job, tell)]
    if as_json:
        output.print_json(rows)
    else:
        _show(rows)
    if any(row["state"] != State.PASSED for row in rows):
        raise typer.Exit(1)


def _results(site: Site, job: Job, tell: Tell) -> list[Result]:
    run: Callable[[Site, Job, Tell], list[Result]]
    run = pod.run if site.backend == "kubernetes" else sandbox.run
    try:
        return run(site, job, tell)
    except ImageError as error:
        # One image that cannot be run does not hide what the others say.
        said = " ".join(f"{error} {error.detail}".split())
        return [Result("the image runs", State.FAILED, said=said)]


def called(release: Release) -> str:
    """A release as people name it."""
    return f"{release.family}:{release.released}"


def chosen(site: Site, catalog: ImageCatalog, name: str | None) -> list[Release]:
    """The releases that ``name`` means; all that can be run without one.

    Raises:
        ImageError: there is no such image, or this machine cannot run it.
    """
    if name is not None:
        return [_runnable(site, _named(catalog, name))]
    found: dict[tuple[object, ...], Release] = {}
    for releases in catalog.families.values():
        for release in releases:
            folder = release.path
            if site.backend == "kubernetes":
                found.setdefault((release.reference,), release)
            elif folder is not None and folder.is_dir():
                found.setdefault((folder,), release)
    if not found:
        raise ImageError(
            "No image of this site is on this machine.", "Build them: `courseyard images build`."
        )
    return list(found.values())


def _named(catalog: ImageCatalog, name: str) -> Release:
    dated = _DATED.fullmatch(name)
    family = dated[1] if dated else name
    if releases := catalog.families.get(family):
        if not dated:
            return releases[-1]
        for release in releases:
            if str(release.released) == dated[2]:
                return release
        days = ", ".join(str(release.released) for release in releases)
        raise ImageError(f"{family} has no release of {dated[2]}; it has {days}.")
    if listed := catalog.by_reference(name):
        return listed
    hint = did_you_mean(family, catalog.families, f"; listed are {', '.join(catalog.families)}")
    raise ImageError(f"The site lists no image {name!r}{hint}.", "See `courseyard images list`.")


def _runnable(site: Site, release: Release) -> Release:
    if site.backend == "kubernetes":
        return release
    if release.path is None:
        raise ImageError(
            f"{called(release)} is listed without a folder, so this machine cannot run it.",
            "Give it a `path` in images.yaml, or check it on the machine or cluster that has it.",
        )
    if not release.path.is_dir():
        raise ImageError(
            f"{called(release)} is not on this machine: {release.path} is missing.",
            "Build it: `courseyard images build`.",
        )
    return release


def _row(release: Release, found: Result) -> dict[str, Any]:
    return {
        "image": called(release),
        "reference": release.reference,
        "test": found.test,
        "state": found.state.value,
        "seconds": found.seconds,
        "said": found.said,
    }


def _show(rows: list[dict[str, Any]]) -> None:
    columns = ("image", "test", "state", "seconds", "said")
    output.table(columns, [[str(row[column]) for column in columns] for row in rows])
    for state in State:
        number = sum(row["state"] == state for row in rows)
        if number or state is State.FAILED:
            style = _STYLES[state] if number else "green"
            output.note(f"{number} {state.value}", style)
