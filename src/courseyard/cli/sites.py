"""The site that a command works on, and what is known of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from courseyard.cli import output
from courseyard.errors import Problem, SettingsError
from courseyard.images.catalog import ImageCatalog, load_catalog
from courseyard.people.person import Person
from courseyard.people.static import load_people
from courseyard.registry.course import Course
from courseyard.registry.load import Snapshot, load_snapshot
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
    logging.disable()  # whatever is said here lands in what the person types
    try:
        known = open_site(Path(context.params.get("site") or HERE))
    except Exception:
        return []
    finally:
        logging.disable(logging.NOTSET)
    return [slug for slug in known.courses if slug.startswith(incomplete)]


@dataclass(frozen=True, slots=True)
class Known:
    """A site with its images and courses, as its files are now."""

    site: Site
    catalog: ImageCatalog
    snapshot: Snapshot

    @property
    def courses(self) -> Mapping[str, Course]:
        return self.snapshot.courses

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self.snapshot.problems)


def as_written(site: Site) -> Site:
    """``site`` with the course files where somebody writes them.

    The site file of a cluster names the folder of the hub's pod; beside the file, where
    ``kubectl apply -k`` takes them from, they lie in ``courses/``.
    """
    beside = site.folder / "kustomization.yaml"
    if site.backend == "kubernetes" and beside.is_file():
        return site.model_copy(update={"courses": Path("courses")})
    return site


def open_site(folder: Path) -> Known:
    """Load everything that files say about the site in ``folder``.

    Raises:
        SettingsError: the site file or the list of images cannot be used.
    """
    site = as_written(load_site(folder))
    catalog = load_catalog(site)
    return Known(site, catalog, load_snapshot(site, catalog))


def people_of(site: Site) -> dict[str, Person] | None:
    """The people where a file tells them; None where the machine does, or the file cannot be used."""
    if site.people.source != "static":
        return None
    try:
        return load_people(site.path(site.people.file), site.people)
    except SettingsError:
        return None


def note_mistakes(known: Known) -> None:
    """One line beside the output when course files have errors."""
    if number := sum(problem.is_error for problem in known.problems):
        output.note(f"Errors in course files: {number}; `courseyard check` shows them.", "yellow")
