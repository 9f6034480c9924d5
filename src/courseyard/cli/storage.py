"""``courseyard storage``: the folders of courses under their owners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from courseyard.cli import output
from courseyard.cli.sites import HERE, SiteArgument, open_site
from courseyard.plan.model import StorageKind, StorageNeed
from courseyard.registry.course import Course
from courseyard.settings import Site
from courseyard.storage import apply as storage_apply
from courseyard.storage.needs import course_needs
from courseyard.storage.seed import seed

app = typer.Typer(help="Folders of users and courses.", no_args_is_help=True)


@app.callback()
def _storage() -> None:
    """Folders of users and courses."""


@app.command("apply")
def apply(
    site: SiteArgument = HERE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
) -> None:
    """Make the folders of all courses that are missing, and mend owners and modes."""
    known = open_site(site)
    done = make(known.site, known.courses, dry_run=dry_run)
    for text in done:
        output.plain(text)
    verb = "would be changed" if dry_run else "changed"
    output.note(f"{len(done)} {verb}." if done else "Everything is as it should be.")


def make(site: Site, courses: Mapping[str, Course], *, dry_run: bool = False) -> list[str]:
    """Make folders and first content; what was done, a line each.

    Raises:
        StorageError: something stands in the way.
    """
    needs = wanted(site, courses)
    actions = storage_apply.ensure(site.storage_root, needs, dry_run=dry_run)
    done = [str(action) for action in actions]
    if dry_run:
        return done
    for slug, course in sorted(courses.items()):
        if copied := seed(site.folder, site.storage_root, course):
            done.append(f"course/{slug}: {copied} first file{'s' if copied > 1 else ''}")
    return done


def wanted(site: Site, courses: Mapping[str, Course]) -> tuple[StorageNeed, ...]:
    """The folders of the site and of every course that has its own."""
    needs = [StorageNeed(kind=StorageKind.SITE, gid=site.people.users_group.gid)]
    for slug, course in sorted(courses.items()):
        # A variant that shares the directories may be the one that has the data.
        sharing = [each for each in courses.values() if each.directory_slug == slug]
        data = {
            "datadir": any(each.datadir for each in sharing),
            "datadir_writable": any(each.datadir_readwrite for each in sharing),
        }
        for need in course_needs(course):
            more = data if need.kind is StorageKind.COURSE else {}
            needs.append(need.model_copy(update=more))
    return tuple(needs)
