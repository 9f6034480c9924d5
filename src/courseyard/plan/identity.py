"""Who a server's processes are: UID, groups, umask."""

from __future__ import annotations

from functools import lru_cache

from courseyard.access import Role
from courseyard.errors import PlanError
from courseyard.plan.context import Context
from courseyard.plan.model import GroupEntry, Identity
from courseyard.settings import LOWEST_ID

#: Instructors share files through the course's group; nobody else reads them.
INSTRUCTOR_UMASK = 0o007
#: A person's own area is 0700 already, so this opens nothing there. What they put into shared
#: places on purpose (site data, writable course data) is readable by others, never writable.
#: nbgrader sets the modes of submissions itself (nbgrader/exchange/default/submit.py).
DEFAULT_UMASK = 0o022


def identity_of(ctx: Context) -> Identity:
    """The identity of one server.

    Raises:
        PlanError: a group of the course is one of the system's.
    """
    gid, group = _primary(ctx)
    person = ctx.person
    return Identity(
        username=person.username,
        full_name=person.full_name,
        email=person.email,
        uid=person.uid,
        gid=gid,
        group=group,
        supplementary=_supplementary(ctx, gid),
        umask=_umask(ctx),
        home=f"/home/{person.username}",
    )


def _primary(ctx: Context) -> tuple[int, str]:
    if ctx.teaching and ctx.course is not None:
        home = ctx.home_of(ctx.course)
        if home.gid is not None:
            ctx.reasons["identity.gid"] = "the group of the course, shared with fellow instructors"
            return home.gid, ctx.site.people.course_group_prefix + home.slug
    ctx.reasons["identity.gid"] = "the site's group of users"
    users = ctx.site.people.users_group
    return users.gid, users.name


def _umask(ctx: Context) -> int:
    key = "identity.umask"
    if ctx.teaching:
        ctx.reasons[key] = "files are shared with fellow instructors and nobody else"
        return INSTRUCTOR_UMASK
    if ctx.role is Role.STUDENT and ctx.course and ctx.course.student_umask is not None:
        ctx.reasons[key] = "`student_umask` of the course"
        return ctx.course.student_umask
    ctx.reasons[key] = "the default; your own area is closed to others whatever it says"
    return DEFAULT_UMASK


def _supplementary(ctx: Context, primary: int) -> tuple[GroupEntry, ...]:
    """Other courses the person teaches (never in a student server), then the course file's."""
    found: dict[int, GroupEntry] = {}
    prefix = ctx.site.people.course_group_prefix
    for course in ctx.taught:
        try:
            home = ctx.home_of(course)
        except PlanError:
            continue  # its files are not mounted either
        if home.gid is not None and home.gid not in found and home.gid != primary:
            reason = f"you are an instructor of {home.slug}"
            found[home.gid] = _entry(prefix + home.slug, home.gid, reason)
    for name, gid in _extra(ctx):
        if gid not in found and gid != primary:
            key = "extra_instructor_groups" if ctx.teaching else "extra_student_groups"
            found[gid] = _entry(name, gid, f"`{key}` of the course")
    return tuple(found.values())


@lru_cache(maxsize=8192)
def _entry(name: str, gid: int, reason: str) -> GroupEntry:
    # Kept, as mounts are: it holds nothing that can change.
    return GroupEntry(name=name, gid=gid, reason=reason)


def _extra(ctx: Context) -> tuple[tuple[str, int], ...]:
    if ctx.course is None:
        return ()
    teaching = ctx.teaching
    groups = ctx.course.extra_instructor_groups if teaching else ctx.course.extra_student_groups
    for name, gid in groups:
        if gid < LOWEST_ID:
            raise PlanError(
                f"The course “{ctx.course.name}” asks for a group of the system ({name}), which "
                "no server may have.",
                "Ask the people of the course to remove it.",
                detail=f"{ctx.course.file}: group {name} with GID {gid} is below {LOWEST_ID}",
            )
    return groups
