"""One table: which path has which owner, group and mode. Pure.

An entry is **kept** (mended when it differs) where its parent belongs to root, and **made once**
where other people write the parent: what lies there is theirs, and nobody's link leads us anywhere.
The one exception is ``users`` in the data of a course.

``inbound`` and ``feedback`` have the modes that nbgrader 0.9 gives them itself when course
directories are shared by a group (nbgrader/exchange/default/release_*.py); but for one bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from courseyard.plan.model import StorageKind, StorageNeed
from courseyard.storage import layout


class Kind(StrEnum):
    FOLDER = "folder"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Entry:
    """One path below the storage root as it should be."""

    path: str
    uid: int
    gid: int
    mode: int
    kind: Kind = Kind.FOLDER
    kept: bool = True  # False: made when missing, never touched again
    #: The owner is a person whose files lie there: another owner is refused, not mended.
    personal: bool = False


def entries(needs: Iterable[StorageNeed]) -> tuple[Entry, ...]:
    """What ``needs`` ask for, parents first, each path once.

    Raises:
        ValueError: a name in them cannot be a path.
    """
    found: dict[str, Entry] = {}
    for need in needs:
        for entry in _ROWS[need.kind](need):
            before = found.get(entry.path)
            if before is None or (entry.kept and not before.kept):
                found[entry.path] = entry
    return tuple(found.values())


def _user(need: StorageNeed) -> Iterator[Entry]:
    path = layout.user(need.username, need.uid)
    yield Entry("u", 0, 0, 0o755)
    yield Entry(path.rpartition("/")[0], 0, 0, 0o755)
    yield Entry(path, need.uid, need.gid, 0o700, personal=True)


def _course(need: StorageNeed) -> Iterator[Entry]:
    top, files = layout.course(need.slug), layout.files(need.slug)
    yield Entry("course", 0, 0, 0o755)
    yield Entry(top, 0, 0, 0o755)
    yield _people(need)
    yield Entry(files, need.uid, need.gid, 0o2770)
    for folder in layout.COURSE_FOLDERS:
        yield Entry(f"{files}/{folder}", need.uid, need.gid, 0o2770, kept=False)
    if need.gradebook:
        path = f"{files}/{layout.GRADEBOOK}"
        yield Entry(path, need.uid, need.gid, 0o660, Kind.FILE, kept=False)
    if need.datadir:
        # Sticky where students write, so that nobody removes another's files.
        mode = 0o3777 if need.datadir_writable else 0o2775
        yield Entry(layout.data(need.slug), need.uid, need.gid, mode)
        if need.datadir_writable:
            # Before a student takes the name: who owns it could swap the folders of others.
            yield replace(_users(need), kept=False)


def _people(need: StorageNeed) -> Entry:
    """The folder of those who take a course, read by its instructors alone."""
    return Entry(layout.people(need.slug), 0, need.gid, 0o750)


def _member(need: StorageNeed) -> Iterator[Entry]:
    """A name with its UID, in a place that root alone writes: submissions are known by it."""
    yield Entry("course", 0, 0, 0o755)
    yield Entry(layout.course(need.slug), 0, 0, 0o755)
    yield _people(need)
    yield Entry(layout.member(need.slug, need.username, need.uid), 0, 0, 0o755)


def _users(need: StorageNeed) -> Entry:
    """The folder of students' own folders in the data of a course.

    Kept, although the course's people write the parent: it is opened without following links, so
    that at worst somebody's own folder becomes root's.
    """
    # Passable, not listable: who takes the course is nobody else's business.
    return Entry(layout.users(need.slug), 0, need.gid, 0o2771)


def _user_data(need: StorageNeed) -> Iterator[Entry]:
    # `uid` is the student's here and `gid` the course's.
    yield _users(need)
    if need.username:
        path = layout.user_data(need.slug, need.username)
        yield Entry(path, need.uid, need.gid, 0o750, kept=False, personal=True)


def _exchange(need: StorageNeed) -> Iterator[Entry]:
    top = layout.exchange(need.slug)
    inner = f"{top}/{layout.name(need.slug)}"
    yield Entry("exchange", 0, 0, 0o755)
    yield Entry(top, need.uid, need.gid, 0o2775)
    yield Entry(inner, need.uid, need.gid, 0o2775, kept=False)
    # Sticky, so that nobody moves away what another handed in.
    yield Entry(f"{inner}/inbound", need.uid, need.gid, 0o3773, kept=False)
    yield Entry(f"{inner}/outbound", need.uid, need.gid, 0o2775, kept=False)
    yield Entry(f"{inner}/feedback", need.uid, need.gid, 0o2771, kept=False)


def _site(need: StorageNeed) -> Iterator[Entry]:
    for folder in layout.SITE_FOLDERS:
        yield Entry(folder, 0, 0, 0o755, kept=False)


_ROWS = {
    StorageKind.USER: _user,
    StorageKind.COURSE: _course,
    StorageKind.COURSE_USERDATA: _user_data,
    StorageKind.COURSE_MEMBER: _member,
    StorageKind.EXCHANGE: _exchange,
    StorageKind.SITE: _site,
}
