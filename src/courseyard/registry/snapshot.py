"""All courses at one moment: immutable, and quick to derive from the one before.

A change of one file copies lists of references and the few parts of the index that it touches;
nothing is counted or sorted anew, so ten thousand courses cost as little as ten.
"""

from __future__ import annotations

import math
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from types import MappingProxyType

from courseyard.errors import Problem
from courseyard.registry.course import Course
from courseyard.registry.lifecycle import State, changes, state

_SHARDS = 1024
#: Called now and then in long work, so that other threads get their turn.
Pause = Callable[[], None]


def nothing() -> None:
    """The pause of who is in a hurry."""


@dataclass(frozen=True, slots=True)
class Stale:
    """Files of a course are broken; their last good versions stay in force."""

    since: datetime  # aware: when that was first seen
    problems: tuple[Problem, ...]


def searchable(text: str) -> str:
    """``text`` as searches compare it: no capitals, no accents."""
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


def people_of(course: Course) -> frozenset[str]:
    """Usernames and e-mail addresses (small letters) that the course's files name."""
    staff = {name.lower() if "@" in name else name for name in course.manager + course.supervisor}
    return course.instructors | course.students | staff


def _instructors_of(course: Course) -> frozenset[str]:
    return course.instructors


class People:
    """Username → slugs of the courses that name it; immutable, in parts by hash."""

    __slots__ = ("_parts",)

    def __init__(self, parts: tuple[dict[str, tuple[str, ...]], ...] | None = None) -> None:
        self._parts = parts or ({},) * _SHARDS

    def get(self, username: str) -> tuple[str, ...]:
        return self._parts[hash(username) % _SHARDS].get(username, ())

    def changed(
        self,
        pairs: Iterable[tuple[str, Course | None, Course | None]],
        named: Callable[[Course], frozenset[str]],
        pause: Pause = nothing,
    ) -> People:
        """The index after courses changed from the first to the second; only their parts differ.

        Args:
            pairs: slug, the course before and after.
            named: the usernames that a course stands under.
            pause: called for each course.
        """
        parts = list(self._parts)
        own: dict[int, dict[str, tuple[str, ...]]] = {}
        for slug, before, after in pairs:
            pause()
            old = named(before) if before is not None else frozenset()
            new = named(after) if after is not None else frozenset()
            one = (slug,)
            for username in old ^ new if old else new:
                place = hash(username) % _SHARDS
                part = own.get(place)
                if part is None:
                    part = own[place] = parts[place] = parts[place].copy()
                slugs = part.get(username)
                if username in new:
                    part[username] = one if slugs is None else slugs + one
                elif slugs is not None and len(slugs) > 1:
                    part[username] = tuple([other for other in slugs if other != slug])
                else:
                    part.pop(username, None)
        return People(tuple(parts))


class Row:
    """A course in the order of titles, with its state and how long it lasts."""

    __slots__ = ("course", "key", "line", "public", "start", "until")

    def __init__(self, course: Course, at: float, tz: tzinfo) -> None:
        self.course = course
        name = searchable(course.name).replace("\n", " ")
        self.key = (name, course.slug)
        self.line = f"{course.slug} {name}"
        moments = changes(course, tz)
        self.start = max((moment for moment in moments if moment <= at), default=-math.inf)
        self.until = min((moment for moment in moments if moment > at), default=math.inf)
        self.public = state(course, datetime.fromtimestamp(at, UTC), tz) is State.PUBLIC

    def at(self, moment: float, tz: tzinfo) -> Row:
        """This row while it holds, else what it is at ``moment``."""
        return self if self.start <= moment < self.until else Row(self.course, moment, tz)


@dataclass(slots=True)
class _Public:
    """Rows of the courses that everyone sees from ``start`` until ``until``."""

    start: float
    until: float
    rows: list[Row]
    courses: tuple[Course, ...]

    @classmethod
    def of(cls, rows: list[Row]) -> _Public:
        seen = [row for row in rows if row.public]
        start = max((row.start for row in rows), default=-math.inf)
        until = min((row.until for row in rows), default=math.inf)
        return cls(start, until, seen, tuple(row.course for row in seen))


def _replaced(rows: list[Row], gone: list[Row], fresh: list[Row]) -> list[Row]:
    """``rows``, which are in order, without ``gone`` and with ``fresh``."""
    if len(gone) + len(fresh) > 20:
        left = {id(row) for row in gone}
        kept = [row for row in rows if id(row) not in left]
        return sorted(kept + fresh, key=lambda row: row.key)
    rows = rows.copy()
    for row in gone:
        place = bisect_left(rows, row.key, key=_key)
        if place < len(rows) and rows[place].key == row.key:
            del rows[place]
    for row in fresh:
        rows.insert(bisect_left(rows, row.key, key=_key), row)
    return rows


def _key(row: Row) -> tuple[str, str]:
    return row.key


class Snapshot:
    """The courses in force at one moment and what is wrong with their files."""

    __slots__ = (
        *("_by_slug", "_lines", "_people", "_public", "_rows", "_teachers", "_tz"),
        *("courses", "defaults", "problems", "stale"),
    )

    def __init__(self, tz: tzinfo) -> None:
        """The snapshot of a site without courses; others come from :meth:`changed`."""
        #: By slug: of each course its last good version.
        self.courses: Mapping[str, Course] = MappingProxyType({})
        self.problems: tuple[Problem, ...] = ()
        #: By slug: courses with broken files whose last good versions are in force.
        self.stale: Mapping[str, Stale] = MappingProxyType({})
        #: Courses with `default: true`, by title.
        self.defaults: tuple[Course, ...] = ()
        self._by_slug: dict[str, Row] = {}
        self._rows: list[Row] = []
        self._people = People()
        self._teachers = People()
        self._public = _Public.of([])
        self._lines: str | None = ""
        self._tz = tz

    def changed(
        self,
        changed: Mapping[str, Course | None],
        problems: tuple[Problem, ...],
        stale: dict[str, Stale],
        now: datetime,
        pause: Pause = nothing,
    ) -> Snapshot:
        """The snapshot after the courses of ``changed`` (None: gone) took these values."""
        following = copy(self)
        following.problems = problems
        following.stale = MappingProxyType(stale)
        if not changed:
            return following
        moment = now.timestamp()
        courses, by_slug = dict(self.courses), self._by_slug.copy()
        pairs, gone, fresh = [], [], []
        for slug, course in changed.items():
            pause()
            pairs.append((slug, courses.pop(slug, None), course))
            if slug in by_slug:
                gone.append(by_slug.pop(slug))
            if course is not None:
                courses[slug] = course
                by_slug[slug] = row = Row(course, moment, self._tz)
                fresh.append(row)
        following.courses = MappingProxyType(courses)
        following._by_slug = by_slug
        following._rows = _replaced(self._rows, gone, fresh)
        following._people = self._people.changed(pairs, people_of, pause)
        following._teachers = self._teachers.changed(pairs, _instructors_of)
        following._lines = None
        if any(row.course.default for row in gone + fresh):
            rows = following._rows
            following.defaults = tuple(row.course for row in rows if row.course.default)
        self.public(now)
        following._public = self._public_after(gone, fresh)
        return following

    def _public_after(self, gone: list[Row], fresh: list[Row]) -> _Public:
        before = self._public
        rows = _replaced(before.rows, gone, [row for row in fresh if row.public])
        return _Public(
            max([before.start, *(row.start for row in fresh)]),
            min([before.until, *(row.until for row in fresh)]),
            rows,
            tuple([row.course for row in rows]),
        )

    def of_person(self, username: str) -> tuple[Course, ...]:
        """Courses whose files name ``username`` in any role; an e-mail address works as well."""
        key = username.lower() if "@" in username else username
        return self._courses(self._people.get(key))

    def of_instructor(self, username: str) -> tuple[Course, ...]:
        """Courses whose files name ``username`` as an instructor."""
        return self._courses(self._teachers.get(username))

    def _courses(self, slugs: Iterable[str]) -> tuple[Course, ...]:
        found = [self.courses.get(slug) for slug in slugs]
        return tuple([course for course in found if course is not None])

    def public(self, now: datetime) -> Sequence[Course]:
        """Courses that everyone sees at ``now``, by title; kept until the next one changes."""
        moment = now.timestamp()
        known = self._public
        if not known.start <= moment < known.until:
            rows = self._rows
            self._public = known = _Public.of([row.at(moment, self._tz) for row in rows])
        return known.courses

    def search(self, text: str, limit: int = 50) -> list[Course]:
        """Courses whose slug or title holds every word of ``text``, by title, visible or not.

        Capitals and accents do not matter. The caller shows only what the person may see.
        """
        words = searchable(text[:200]).split()
        if not words or limit < 1:
            return []
        lines = self._lines
        if lines is None:
            self._lines = lines = "\n".join([row.line for row in self._rows])
        rarest = min(words, key=lines.count)
        found: list[Course] = []
        place, line_start, at = 0, 0, lines.find(rarest)
        while at >= 0 and len(found) < limit:
            place += lines.count("\n", line_start, at)
            row = self._rows[place]
            line_start = lines.rfind("\n", line_start, at) + 1 or line_start
            if all(word in row.line for word in words):
                found.append(row.course)
            line_start += len(row.line) + 1
            place += 1
            at = lines.find(rarest, line_start)
        return found
