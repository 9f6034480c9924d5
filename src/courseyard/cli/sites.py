"""The site that a command works on, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from courseyard.errors import Problem
from courseyard.images.catalog import ImageCatalog, load_catalog
from courseyard.registry.course import Course
from courseyard.registry.load import Snapshot
from courseyard.registry.watch import Registry
from courseyard.settings import Site
from courseyard.sitefile import load_site

_HELP = "The site's folder, with courseyard.yaml in it."

#: The site folder as the last argument of a command.
SiteArgument = Annotated[
    Path, typer.Argument(metavar="DIR", envvar="COURSEYARD_SITE", help=_HELP, show_default="here")
]
#: The same as an option, where a command has other arguments.
SiteOption = Annotated[
    Path,
    typer.Option(
        "--site", "-s", metavar="DIR", envvar="COURSEYARD_SITE", help=_HELP, show_default="here"
    ),
]
HERE = Path()


def complete_course(context: typer.Context, incomplete: str) -> list[str]:
    """Slugs for the shell's completion; none rather than an error."""
    try:
        known = open_site(Path(context.params.get("site") or HERE))
    except Exception:
        return []
    return [slug for slug in known.courses if slug.startswith(incomplete)]


@dataclass(frozen=True, slots=True)
class Known:
    """A site with its images and courses, as its files are now."""

    site: Site
    catalog: ImageCatalog
    registry: Registry
    snapshot: Snapshot

    @property
    def courses(self) -> Mapping[str, Course]:
        return self.snapshot.courses

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self.snapshot.problems)


def open_site(folder: Path) -> Known:
    """Load everything that files say about the site in ``folder``.

    Raises:
        SettingsError: the site file or the list of images cannot be used.
    """
    site = load_site(folder)
    catalog = load_catalog(site)
    registry = Registry(site, catalog)
    return Known(site, catalog, registry, registry.refresh())
