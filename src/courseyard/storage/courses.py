"""The folders and first files of all courses: what stands in one course's way costs that course."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from courseyard.errors import Problem, StorageError
from courseyard.hints import some
from courseyard.plan.model import StorageKind, StorageNeed
from courseyard.registry.course import Course
from courseyard.settings import Site
from courseyard.storage import apply, walk
from courseyard.storage.diff import Action
from courseyard.storage.needs import needs_of_all
from courseyard.storage.seed import seed


@dataclass(slots=True)
class Refusal:
    """A place that cannot be used, and the courses that it costs."""

    error: StorageError
    slugs: list[str] = field(default_factory=list)

    @property
    def denied(self) -> bool:
        """Whether only the rights of this process stood in the way."""
        return walk.denied(self.error)

    def problem(self, root: Path) -> Problem:
        """As an error of that path, for an administrator."""
        error = self.error
        message = (
            f"{error.why}, so the folders of the course {some(self.slugs)} are not made or mended; "
            f"{error.mend} and run `courseyard storage apply`"
        )
        return Problem(root / error.path, 0, "", message)


@dataclass(slots=True)
class Made:
    """What was done, or would be."""

    actions: dict[Action, None] = field(default_factory=dict)
    #: Course → how many first files it got.
    copied: dict[str, int] = field(default_factory=dict)
    #: By place and reason.
    refusals: dict[str, Refusal] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """What was done, a line each."""
        yield from map(str, self.actions)
        for slug, number in self.copied.items():
            yield f"course/{slug}: {number} first file{'s' if number > 1 else ''}"


def make(site: Site, courses: Mapping[str, Course], *, dry_run: bool = False) -> Made:
    """Make the folders of the site and of all courses, and copy first content.

    Raises:
        StorageError: something stands in the way of the whole site.
    """
    root = site.storage_root
    made = Made()
    shared = StorageNeed(kind=StorageKind.SITE, gid=site.people.users_group.gid)
    made.actions |= dict.fromkeys(apply.ensure(root, (shared,), dry_run=dry_run))
    for course, needs in needs_of_all(courses):
        try:
            # A dry run finds folders that courses share missing at each of them.
            made.actions |= dict.fromkeys(apply.ensure(root, needs, dry_run=dry_run))
            if number := seed(site.folder, root, course, dry_run=dry_run):
                made.copied[course.slug] = number
        except StorageError as error:
            refusal = made.refusals.setdefault(error.detail, Refusal(error))
            refusal.slugs.append(course.slug)
    return made
