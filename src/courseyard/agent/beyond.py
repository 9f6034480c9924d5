"""What a request has that the site's own files do not give. Pure; texts are for the log alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from courseyard.people.person import Person
from courseyard.plan.model import (
    Identity,
    Limits,
    Mount,
    ServerPlan,
    StorageKind,
    StorageNeed,
)
from courseyard.registry.course import Course
from courseyard.settings import PeopleSettings

#: Needs that belong to one person.
PERSONAL = (StorageKind.USER, StorageKind.COURSE_USERDATA, StorageKind.COURSE_MEMBER)
_IDENTITY = ("username", "uid", "gid", "group", "umask", "home")
_AMOUNTS = (
    *("mem_limit", "mem_guarantee", "cpu_limit", "cpu_guarantee"),
    *("processes", "tmp_size", "shm_size"),
)


def of_plan(given: ServerPlan, own: ServerPlan, people: PeopleSettings) -> str:
    """The first thing in which ``given`` goes beyond ``own``; "" when there is none.

    Less is allowed: fewer mounts and groups, lower limits. What runs in a server (environment,
    configuration, any image of the site) is the hub's to say.
    """
    found = [
        *_identity(given.identity, own.identity, people),
        *_mounts(given.mounts, own.mounts),
        *_limits(given.limits, own.limits),
    ]
    if given.grading is not None:
        if own.grading is None:
            found.append("a sandbox for grading")
        else:
            found += _identity(given.grading.identity, own.grading.identity, people)
            found += _mounts(given.grading.mounts, own.grading.mounts)
    return next(iter(found), "")


def _identity(given: Identity, own: Identity, people: PeopleSettings) -> Iterator[str]:
    for field in _IDENTITY:
        asked, right = getattr(given, field), getattr(own, field)
        if asked != right:
            yield f"{field} {asked!r}; that of {own.username} here is {right!r}"
    users = people.users_group
    may = {(g.name, g.gid) for g in own.supplementary} | {(users.name, users.gid)}
    for group in given.supplementary:
        if (group.name, group.gid) not in may:
            yield f"the group {group.name} ({group.gid}) for {own.username}"


def _mounts(given: tuple[Mount, ...], own: tuple[Mount, ...]) -> Iterator[str]:
    may = {(mount.target, mount.source): mount.writable for mount in own}
    for mount in given:
        writable = may.get((mount.target, mount.source))
        if writable is None:
            yield f"the mount of {mount.source} at {mount.target}"
        elif mount.writable and not writable:
            yield f"the mount of {mount.source} at {mount.target}, writable"


def _limits(given: Limits, own: Limits) -> Iterator[str]:
    for field in _AMOUNTS:
        asked, most = getattr(given, field), getattr(own, field)
        if asked > most:
            yield f"{field} {asked}; at most {most}"


def of_need(
    need: StorageNeed, courses: Mapping[str, Course], person: Person | None, people: PeopleSettings
) -> str:
    """In what a folder goes beyond what the site's files say; "" when in nothing.

    Args:
        person: who ``need.username`` is; None where it names nobody.
    """
    if need.kind in PERSONAL and (person is None or person.uid != need.uid):
        return f"{need.kind}: the UID {need.uid} for {need.username!r}"
    if need.kind is StorageKind.SITE:
        return ""  # always root's, whatever it says
    if need.kind is StorageKind.USER:
        right = need.gid == people.users_group.gid
        return "" if right else f"{need.kind}: the group {need.gid}"
    return _of_course(need, courses)


def _of_course(need: StorageNeed, courses: Mapping[str, Course]) -> str:
    home = courses.get(need.slug)
    if home is None or home.gid is None:
        return f"{need.kind}: {need.slug!r}, which is no course with directories"
    owner = need.uid if need.kind in PERSONAL else home.uid
    if (need.uid, need.gid) != (owner, home.gid):
        return f"{need.kind} {need.slug}: {need.uid}:{need.gid}; its own are {home.uid}:{home.gid}"
    sharing = (c for c in (home, *courses.values()) if c.directory_slug == home.slug or c is home)
    if need.kind is StorageKind.COURSE:
        if need.datadir_writable != home.datadir_readwrite:
            return f"course {need.slug}: data that students {'may' if need.datadir_writable else 'may not'} change"
        if need.datadir and not any(course.datadir for course in sharing):
            return f"course {need.slug}: data, which it does not have"
    if need.kind is StorageKind.COURSE_USERDATA and not any(c.create_userdata for c in sharing):
        return f"course {need.slug}: folders of students in its data"
    return ""
