"""``courseyard courses``: the courses of a site and their state."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from courseyard.cli import output
from courseyard.cli.sites import HERE, Known, SiteArgument, note_mistakes, open_site
from courseyard.images.model import ImageWish
from courseyard.registry import lifecycle
from courseyard.registry.course import Course


def courses(
    site: SiteArgument = HERE,
    as_json: Annotated[bool, typer.Option("--json", help="A list for programs.")] = False,
) -> None:
    """List the courses with state, people and software."""
    known = open_site(site)
    now = datetime.now(known.site.tz)
    rows = [_row(known, course, now) for _, course in sorted(known.courses.items())]
    if as_json:
        output.print_json(rows)
        return
    output.table(
        ("slug", "name", "state", "instructors", "students", "software"),
        [
            (
                row["slug"],
                row["name"],
                row["state"] + (" (stale)" if row["stale"] else ""),
                ", ".join(row["instructors"]),
                str(len(row["students"])) if row["students"] else "",
                row["image"],
            )
            for row in rows
        ],
    )
    note_mistakes(known)


def _row(known: Known, course: Course, now: datetime) -> dict[str, Any]:
    return {
        "slug": course.slug,
        "name": course.name,
        "state": lifecycle.state(course, now, known.site.tz).value,
        "stale": course.slug in known.snapshot.stale,
        "instructors": sorted(course.instructors),
        "students": sorted(course.students),
        "gid": course.gid,
        "image": _wish(course.image),
        "file": str(course.file),
    }


def _wish(wish: ImageWish) -> str:
    if wish.reference:
        return wish.reference
    return f"{wish.family}, by {wish.released_by}" if wish.released_by else str(wish.family)
