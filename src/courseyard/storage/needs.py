"""What a course needs on disk, whoever starts a server of it."""

from __future__ import annotations

from courseyard.plan.model import StorageKind, StorageNeed
from courseyard.registry.course import Course


def course_needs(course: Course) -> tuple[StorageNeed, ...]:
    """The folders of one course; none for an environment or a variant of another course."""
    if course.gid is None or course.coursedir_slug:
        return ()
    return (
        StorageNeed(
            kind=StorageKind.COURSE,
            slug=course.slug,
            uid=course.uid,
            gid=course.gid,
            datadir=course.datadir,
            datadir_writable=course.datadir_readwrite,
            gradebook=True,
        ),
        StorageNeed(kind=StorageKind.EXCHANGE, slug=course.slug, uid=course.uid, gid=course.gid),
    )
