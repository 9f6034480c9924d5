"""``courseyard storage``: the folders of courses under their owners."""

from __future__ import annotations

from typing import Annotated

import typer

from courseyard.cli import homes, output
from courseyard.cli.sites import HERE, SiteArgument, note_mistakes, open_site, people_of
from courseyard.storage import courses

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
    made = courses.make(known.site, known.courses, dry_run=dry_run)
    done = list(made.lines())
    for text in done:
        output.plain(text)
    note_mistakes(known)
    for refusal in made.refusals.values():
        output.note(output.clean(str(refusal.problem(known.site.storage_root))), "red")
    strange = list(homes.problems(known.site, people_of(known.site)))
    for problem in strange:
        output.note(output.clean(str(problem)), "red")
    verb = "would be changed" if dry_run else "changed"
    if done:
        output.note(f"{len(done)} {verb}.")
    elif not made.refusals and not strange:
        output.note("Everything is as it should be.")
    if made.refusals or strange:
        raise typer.Exit(1)
