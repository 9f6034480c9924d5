"""What one person's course page offers: pure, and as fast with 10,000 courses as with 10.

"Everyone sees few; search finds all": a person's own courses, the site's default ones and running
ones are always there, then public ones up to :data:`MORE`. A search goes through all courses that
the person may see. Nothing is listed that :func:`courseyard.access.decide` does not allow, but for a person's own
servers that run already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from courseyard.access import (
    CLOSED,
    Action,
    Relation,
    Role,
    Standing,
    Target,
    refuse_person,
    standing,
)
from courseyard.errors import Problem
from courseyard.people.person import Person
from courseyard.registry.course import Course, general_server_name, server_name
from courseyard.registry.lifecycle import State
from courseyard.registry.snapshot import Snapshot
from courseyard.settings import Site

#: Public courses shown beside a person's own.
MORE = 12
#: Courses that a search shows.
FOUND = 50
#: Who is told what is wrong with a course's files.
STAFF = frozenset(
    {Relation.INSTRUCTOR, Relation.MANAGER, Relation.SUPERVISOR, Relation.ADMINISTRATOR}
)

#: What a course can be started as, in the order of its buttons.
_ROLES = ((Role.INSTRUCTOR, Action.START_INSTRUCTOR), (Role.STUDENT, Action.START_STUDENT))


@dataclass(frozen=True, slots=True)
class Running:
    """A server of the person's that runs or is starting or stopping."""

    target: Target | None  # None: its course is gone
    since: datetime | None = None
    pending: str = ""  # "spawn" or "stop"; "" when it runs


@dataclass(frozen=True, slots=True)
class Start:
    """One thing that a card lets the person start or open."""

    target: Target
    server_name: str
    running: Running | None


@dataclass(frozen=True, slots=True)
class Card:
    """One course. All text is plain text; the template escapes it."""

    slug: str
    title: str
    state: State
    roles: frozenset[Relation]
    starts: tuple[Start, ...]  # instructor first; none for an archived course
    stale_since: (
        datetime | None
    )  # for its staff: since then its files are broken, the last good act
    problems: tuple[Problem, ...]  # for staff alone
    incomplete: bool  # the list of its people cannot be read; for staff alone

    @property
    def running(self) -> bool:
        return any(start.running for start in self.starts)


@dataclass(frozen=True, slots=True)
class EnvironmentCard:
    """One general environment."""

    key: str
    title: str
    description: str
    start: Start


@dataclass(frozen=True, slots=True)
class Offers:
    cards: tuple[Card, ...]  # running first, then last used, then by title
    environments: tuple[EnvironmentCard, ...]  # in the site's order
    #: How many courses a search can find for this person.
    total: int
    #: Whether a search found more than it shows.
    more: bool = False


class _Reader:
    """Who looks, and at what; each course is judged once."""

    def __init__(
        self,
        site: Site,
        snapshot: Snapshot,
        person: Person,
        running: Mapping[str, Running],
        now: datetime,
    ) -> None:
        self.site = site
        self.snapshot = snapshot
        self.person = person
        self.running = running
        self.now = now
        self._standings: dict[str, Standing] = {}

    def standing(self, course: Course) -> Standing:
        found = self._standings.get(course.slug)
        if found is None:
            found = standing(self.site, self.person, course, self.now)
            self._standings[course.slug] = found
        return found

    def sees(self, course: Course) -> bool:
        return self.standing(course).decide(Action.SEE).allowed

    def offered(self, course: Course) -> bool:
        """Whether the person sees it and it is not archived."""
        return self.standing(course).state not in CLOSED and self.sees(course)


def offers(
    site: Site,
    snapshot: Snapshot,
    person: Person,
    running: Mapping[str, Running],
    now: datetime,
    *,
    recent: Sequence[str] = (),
    search: str = "",
) -> Offers:
    """The person's course page.

    Args:
        site: environments, administrators, time zone.
        snapshot: the courses as they are now.
        person: whose page.
        running: their servers by server name.
        now: an aware time.
        recent: server names, the last used first.
        search: what the person types to find a course; "" for the usual page.
    """
    if refuse_person(site, person) is not None:
        return Offers((), (), 0)
    reader = _Reader(site, snapshot, person, running, now)
    own = _own(reader)
    more = False
    courses: Iterable[Course]
    if search.strip():
        courses, more = _found(reader, search.strip())
    else:
        courses = _usual(reader, own)
    cards = [_card(reader, course) for course in courses]
    rank = {name: place for place, name in reversed(list(enumerate(recent)))}
    cards.sort(key=lambda card: _order(card, rank))
    environments = tuple(_environment(reader, key) for key in site.environments)
    return Offers(tuple(cards), environments, _total(reader, own), more)


def _own(reader: _Reader) -> dict[str, Course]:
    """Open courses that name the person, or whose group they are in."""
    snapshot, person = reader.snapshot, reader.person
    named: list[Course] = list(snapshot.of_person(person.username))
    if person.email:
        named += snapshot.of_person(person.email)
    prefix = reader.site.people.course_group_prefix
    for group in person.groups:
        if group.name.startswith(prefix):
            course = snapshot.courses.get(group.name.removeprefix(prefix))
            if course is not None:
                named.append(course)
    return {c.slug: c for c in named if reader.offered(c)}


def _usual(reader: _Reader, own: dict[str, Course]) -> Iterable[Course]:
    shown = dict(own)
    for server in reader.running.values():
        slug = server.target.course if server.target else None
        course = reader.snapshot.courses.get(slug) if slug else None
        if course is not None:  # also one that they no longer see: it can be opened and stopped
            shown[course.slug] = course
    for course in reader.snapshot.defaults:
        if reader.offered(course):
            shown[course.slug] = course
    room = MORE
    for course in reader.snapshot.public(reader.now):
        if room == 0:
            break
        if course.slug not in shown and reader.sees(course):
            shown[course.slug] = course
            room -= 1
    return shown.values()


def _found(reader: _Reader, text: str) -> tuple[list[Course], bool]:
    """Courses of a search that the person sees; hidden ones never push visible ones out."""
    limit = 4 * FOUND
    while True:
        hits = reader.snapshot.search(text, limit)
        visible = [course for course in hits if reader.sees(course)]
        if len(visible) > FOUND or len(hits) < limit:
            return visible[:FOUND], len(visible) > FOUND
        limit *= 8


def _total(reader: _Reader, own: dict[str, Course]) -> int:
    public = len(reader.snapshot.public(reader.now))
    sees_all = (*reader.site.people.administrators, *reader.site.people.test_students)
    if reader.person.username in sees_all:
        return max(public, len(reader.snapshot.courses))
    hidden = sum(reader.standing(c).state is not State.PUBLIC for c in own.values())
    return public + hidden


def _card(reader: _Reader, course: Course) -> Card:
    known = reader.standing(course)
    staff = bool(known.relations & STAFF)
    stale = reader.snapshot.stale.get(course.slug)
    return Card(
        slug=course.slug,
        title=course.name,
        state=known.state,
        roles=known.relations,
        starts=_starts(reader, course, known),
        stale_since=stale.since if stale and staff else None,
        problems=tuple(stale.problems) if stale and staff else (),
        incomplete=staff and not course.complete,
    )


def _starts(reader: _Reader, course: Course, known: Standing) -> tuple[Start, ...]:
    starts = []
    for role, action in _ROLES:
        name = server_name(course.slug, instructor=role is Role.INSTRUCTOR)
        running = reader.running.get(name)
        # A server that runs stays in sight, to be stopped, when its course closes under it.
        if running or known.decide(action).allowed:
            starts.append(Start(Target(role, course.slug), name, running))
    return tuple(starts)


def _environment(reader: _Reader, key: str) -> EnvironmentCard:
    environment = reader.site.environments[key]
    name = general_server_name(key)
    start = Start(Target(Role.GENERAL, environment=key), name, reader.running.get(name))
    return EnvironmentCard(key, environment.name, environment.description, start)


def _order(card: Card, rank: Mapping[str, int]) -> tuple[bool, int, str, str]:
    never = len(rank) + 1_000_000
    used = min((rank.get(start.server_name, never) for start in card.starts), default=never)
    return (not card.running, used, card.title.casefold(), card.slug)
