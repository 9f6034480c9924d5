"""``courseyard images prepull``: the images that nodes of a cluster have before the first start."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
import yaml

from courseyard.access import CLOSED
from courseyard.backends.kubernetes import prepull as manifests
from courseyard.backends.kubernetes.manifests import full_reference
from courseyard.cli import output
from courseyard.cli.sites import HERE, Known, SiteArgument, open_site
from courseyard.errors import PlanError, Problem, SettingsError, Severity
from courseyard.images.catalog import Release, parse_wish
from courseyard.plan.build import image_wishes
from courseyard.registry.lifecycle import state
from courseyard.yamlfile import VanishedError, read_bytes

#: Beside the overlays, since it is the site's own: its kustomization.yaml names it.
FILE = Path("kubernetes", "prepuller.yaml")
_HEAD = """\
# Brings the software images to all nodes before somebody waits for them. Written by
# `courseyard images prepull`: run it again when `courseyard check` says so. To do without, take the
# line of this file out of kustomization.yaml, and delete the file.
"""


def prepull(
    site: SiteArgument = HERE,
    show: Annotated[
        bool, typer.Option("--print", help="Print it instead of writing the file.")
    ] = False,
) -> None:
    """Write the DaemonSet that brings images to the nodes of a cluster.

    It holds the newest release of each family, and older ones that a course or environment still
    uses; not those of a family with `prepull: false`.
    """
    known = open_site(site)
    if known.site.backend != "kubernetes":
        raise SettingsError("Only a site in a cluster has nodes to bring images to.")
    if show:
        output.plain(text_of(known, wanted(known)).rstrip("\n"))
        return
    write(known)
    output.line(f"{known.site.folder / FILE}: apply it with `kubectl apply -k`")


def write(known: Known) -> None:
    """Write the file of a site; everyone may read it.

    Raises:
        OSError: it cannot be written.
    """
    file = known.site.folder / FILE
    file.write_text(text_of(known, wanted(known)), encoding="utf-8")
    file.chmod(0o644)


def wanted(known: Known, now: datetime | None = None) -> list[Release]:
    """The newest of each family, and what courses that are not over and environments use."""
    site, catalog = known.site, known.catalog
    now = now or datetime.now(site.tz)
    wishes = [parse_wish(environment.image) for environment in site.environments.values()]
    for course in known.courses.values():
        if state(course, now, site.tz) not in CLOSED:
            wishes += image_wishes(course)
    used = [releases[-1] for releases in catalog.families.values()]
    for wish in wishes:
        try:
            used.append(catalog.resolve(wish))
        except PlanError:
            continue  # the course's own mistake, which `courseyard check` tells
    # A reference that no family lists is one course's own affair.
    return [release for release in _listed(known) if release in used and release.prepull]


def _listed(known: Known) -> list[Release]:
    return [release for releases in known.catalog.families.values() for release in releases]


def text_of(known: Known, releases: list[Release]) -> str:
    """The file.

    Raises:
        SettingsError: there is no image for it, and Kubernetes takes no pod without containers.
    """
    if not releases:
        raise SettingsError(
            "No image of this site is to be brought to nodes beforehand.",
            f"Take {FILE} out of kustomization.yaml, and delete it.",
        )
    made = manifests.daemon_set(known.site.kubernetes, releases)
    return _HEAD + yaml.safe_dump(made, sort_keys=False, width=100)


def problems(known: Known) -> Iterator[Problem]:
    """A warning when the file is not what it would be now.

    Images that are only no longer used are no reason: a course that ends would bring a warning.
    """
    file = known.site.folder / FILE
    try:
        found = yaml.safe_load(read_bytes(file).decode())
    except VanishedError:
        return
    except (SettingsError, ValueError, yaml.YAMLError):
        found = None
    there = manifests.images_of(found)
    registry = known.site.kubernetes.registry
    needed = wanted(known)
    kept = [
        release
        for release in _listed(known)
        if release in needed
        or (release.prepull and full_reference(release.reference, registry) in there)
    ]
    if found != manifests.daemon_set(known.site.kubernetes, kept):
        message = "is not what the images and settings of the site ask for: run `courseyard images prepull`"
        yield Problem(file, 0, "", message, Severity.WARNING)
