"""Which images servers of a site would ask the cluster for, and where that is written. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from courseyard.access import CLOSED
from courseyard.backends.kubernetes.manifests import full_reference
from courseyard.errors import PlanError, Problem, Severity
from courseyard.images.catalog import ImageCatalog, Release, parse_wish
from courseyard.images.model import ImageWish
from courseyard.plan.build import image_wishes
from courseyard.registry.crosscheck import problem_at
from courseyard.registry.lifecycle import state
from courseyard.registry.load import Snapshot
from courseyard.settings import Site


@dataclass(frozen=True, slots=True)
class Image:
    """An image that servers need."""

    reference: str  # as a node asks for it
    used_by: str  # a course or an environment
    file: Path
    key: tuple[str, ...]
    pull_policy: str = ""  # of the course; "" is the site's

    def problem(self, message: str, severity: Severity = Severity.ERROR) -> Problem:
        return problem_at(self.file, self.key, message, severity)


def images(site: Site, catalog: ImageCatalog, snapshot: Snapshot, now: datetime) -> list[Image]:
    """The newest release of each family that something uses, and every other image by its name.

    The first is that of the site's first environment. Courses in the archive start nothing.
    """
    found: dict[str, tuple[Release, Image]] = {}
    for wish, used_by, file, policy in _wishes(site, snapshot, now):
        try:
            release = catalog.resolve(wish)
        except PlanError:
            continue  # `courseyard check` tells it
        family = release.family or release.reference
        newer = family not in found or _day(release) > _day(found[family][0])
        if newer:
            found[family] = release, _image(site, release, used_by, file, policy)
    return [image for _, image in found.values()]


def _image(site: Site, release: Release, used_by: str, file: Path, policy: str) -> Image:
    reference = full_reference(release.reference, site.kubernetes.registry)
    if release.released is None:
        return Image(reference, used_by, file, ("image",), policy)
    key = ("families", release.family, "releases", release.released.isoformat())
    return Image(reference, used_by, site.path(site.images), key, policy)


def _day(release: Release) -> str:
    return release.released.isoformat() if release.released else ""


def _wishes(
    site: Site, snapshot: Snapshot, now: datetime
) -> Iterator[tuple[ImageWish, str, Path, str]]:
    for key, environment in site.environments.items():
        try:
            yield (
                parse_wish(environment.image),
                f"the environment {key}",
                site.path(site.images),
                "",
            )
        except ValueError:
            continue  # `courseyard check` tells it
    for slug, course in snapshot.courses.items():
        if state(course, now, site.tz) in CLOSED:
            continue
        policy = course.kubespawner_override.image_pull_policy or ""
        for wish in image_wishes(course):
            yield wish, f"the course {slug}", course.file, policy
