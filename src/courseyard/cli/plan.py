"""``courseyard plan``: what a server of somebody gets, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from courseyard.access import Role, Target, standing
from courseyard.cli import output
from courseyard.cli.sites import HERE, Known, SiteOption, complete_course, note_mistakes, open_site
from courseyard.errors import DeniedError, PlanError, SourceDownError, UnknownPersonError
from courseyard.hints import did_you_mean
from courseyard.people import open_people
from courseyard.people.person import Person
from courseyard.plan import build
from courseyard.plan.explain import explain, sections
from courseyard.plan.model import ServerPlan
from courseyard.settings import Site


def plan(
    user: Annotated[str, typer.Argument(metavar="USER", help="A username.", show_default=False)],
    course: Annotated[
        str,
        typer.Argument(
            metavar="COURSE",
            help="A course's slug, or `general/<key>` for a general environment.",
            autocompletion=complete_course,
            show_default="the first general environment",
        ),
    ] = "general",
    role: Annotated[
        Role | None,
        typer.Option(
            metavar="|".join(Role),
            help="The role of the server.",
            show_default="student, for a course",
        ),
    ] = None,
    site: SiteOption = HERE,
    as_json: Annotated[bool, typer.Option("--json", help="The plan itself, as JSON.")] = False,
) -> None:
    """Show the plan of a server, with the reason of each mount, group and limit."""
    known = open_site(site)
    note_mistakes(known)
    target = _target(course, role)
    if target.course is not None and target.course not in known.courses:
        hint = did_you_mean(target.course, known.courses, "; see `courseyard courses`")
        raise PlanError(f"There is no course {target.course!r}{hint}")
    person = _person(known.site, user)
    everything = build.Known(
        courses=known.courses, catalog=known.catalog, named=known.snapshot.of_instructor
    )
    now = datetime.now(known.site.tz)
    try:
        made = build.plan_server(known.site, everything, person, target, now)
    except DeniedError as error:
        # What the person would read ("for you") is not for who asks here.
        what = target.course or target.environment or course
        output.fail(
            f"{user} may not start {what} as {target.role.value}.",
            _why(known, person, target, error),
        )
    if as_json:
        output.plain(made.to_json())
    else:
        _show(made)


def _why(known: Known, person: Person, target: Target, error: DeniedError) -> str:
    """Why a person may not start a course: the rule, what they are to it, and where it stands."""
    if target.course is None:
        return f"Why: {error.message} {error.detail}".strip()
    course = known.courses[target.course]
    found = standing(known.site, person, course, datetime.now(known.site.tz))
    relations = ", ".join(sorted(found.relations)) or "neither its staff nor a listed student"
    where = f"the course is {found.state.value}, and {person.username} is {relations}"
    return f"Why: {where} ({error.detail})."


def _person(site: Site, username: str) -> Person:
    """The person, or a sentence about them: the errors of ``people`` speak to themselves."""
    try:
        return open_people(site).get_now(username)
    except UnknownPersonError as error:
        output.fail(f"{username!r} cannot have a server here.", f"Why: {error.detail}.")
    except SourceDownError as error:
        what = f"The directory of users does not answer, so nothing is known of {username!r}."
        output.fail(what, f"Why: {error.detail}.")


def _target(course: str, role: Role | None) -> Target:
    target = Target.parse(course)
    if role is None or role is target.role:
        return target
    if role is Role.GENERAL or target.role is Role.GENERAL:
        raise typer.BadParameter(
            f"{course!r} has no role {role.value}: a course takes student or instructor, a general "
            "environment takes general",
            param_hint="--role",
        )
    return Target(role, target.course)


def _show(made: ServerPlan) -> None:
    if not output.out().is_terminal:
        for text in explain(made):
            output.plain(text)
        return
    for heading, rows in sections(made):
        if rows:
            output.line()
            output.line(heading, "bold")
            output.table(("", "", "because"), rows)
