"""What courses need on disk, whoever starts a server of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from courseyard.plan.model import StorageKind, StorageNeed
from courseyard.registry.course import Course


def needs_of_all(
    courses: Mapping[str, Course],
) -> Iterator[tuple[Course, tuple[StorageNeed, ...]]]:
    """Each course that has directories of its own, and its folders."""
    sharing: defaultdict[str, list[Course]] = defaultdict(list)
    for course in courses.values():
        sharing[course.directory_slug].append(course)
    for slug, course in sorted(courses.items()):
        if course.gid is not None and not course.coursedir_slug:
            yield course, tuple(_needs(course, course.gid, sharing[slug]))


def _needs(course: Course, gid: int, sharing: list[Course]) -> Iterator[StorageNeed]:
    # A variant that shares the directories may be the one that has the data.
    yield StorageNeed(
        kind=StorageKind.COURSE,
        slug=course.slug,
        uid=course.uid,
        gid=gid,
        datadir=any(each.datadir for each in sharing),
        datadir_writable=course.datadir_readwrite,  # as for a start (plan/mounts.py)
        gradebook=True,
    )
    if any(each.datadir and each.create_userdata for each in sharing):
        # Without a username: the folder of them all.
        yield StorageNeed(kind=StorageKind.COURSE_USERDATA, slug=course.slug, gid=gid)
    yield StorageNeed(kind=StorageKind.EXCHANGE, slug=course.slug, uid=course.uid, gid=gid)
