"""Who a server's processes are: UID, groups, umask."""

from __future__ import annotations

from functools import lru_cache

from courseyard.access import Role
from courseyard.errors import PlanError
from courseyard.people.person import Person
from courseyard.plan.context import Context
from courseyard.plan.model import GroupEntry, Identity
from courseyard.registry.course import Course
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
    found: dict[int, GroupEntry] = {}
    prefix = ctx.site.people.course_group_prefix
    for course in ctx.taught:  # empty in a student's server
        try:
            home = ctx.home_of(course)
        except PlanError:
            continue  # its files are not mounted either
        if home.gid is not None and home.gid not in found:
            reason = f"you are an instructor of {home.slug}"
            found[home.gid] = _entry(prefix + home.slug, home.gid, reason)
    _add_groups(found, ctx.course, teaching=ctx.teaching)
    return _identity(ctx.person, gid, group, found, _umask(ctx))


def student_identity(ctx: Context) -> Identity:
    """What :func:`identity_of` gives the same person in a student's server of the course.

    Raises:
        PlanError: as there.
    """
    users = ctx.site.people.users_group
    found: dict[int, GroupEntry] = {}
    _add_groups(found, ctx.course, teaching=False)
    umask = None if ctx.course is None else ctx.course.student_umask
    umask = DEFAULT_UMASK if umask is None else umask
    return _identity(ctx.person, users.gid, users.name, found, umask)


def _identity(
    person: Person, gid: int, group: str, groups: dict[int, GroupEntry], umask: int
) -> Identity:
    groups.pop(gid, None)
    return Identity(
        username=person.username,
        full_name=person.full_name,
        email=person.email,
        uid=person.uid,
        gid=gid,
        group=group,
        supplementary=tuple(groups.values()),
        umask=umask,
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


def _add_groups(found: dict[int, GroupEntry], course: Course | None, *, teaching: bool) -> None:
    """The groups that the course file gives to its students or its instructors."""
    if course is None:
        return
    groups = course.extra_instructor_groups if teaching else course.extra_student_groups
    key = "extra_instructor_groups" if teaching else "extra_student_groups"
    for name, gid in groups:
        if gid < LOWEST_ID:
            raise PlanError(
                f"The course “{course.name}” asks for a group of the system ({name}), which "
                "no server may have.",
                "Ask the people of the course to remove it.",
                detail=f"{course.file}: group {name} with GID {gid} is below {LOWEST_ID}",
            )
        if gid not in found:
            found[gid] = _entry(name, gid, f"`{key}` of the course")


@lru_cache(maxsize=8192)
def _entry(name: str, gid: int, reason: str) -> GroupEntry:
    # Kept, as mounts are: it holds nothing that can change.
    return GroupEntry(name=name, gid=gid, reason=reason)
