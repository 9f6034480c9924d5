"""Who may do what: pure decisions, each with the rule that made it.

Nobody may do anything until a rule allows it. Rules are tried in the order of :func:`decide`; the
first that fits decides, and its name goes to the log, to ``courseyard plan`` and to tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from courseyard.people.person import Person
from courseyard.registry.course import Course
from courseyard.registry.lifecycle import State, state
from courseyard.settings import LOWEST_ID, Site

#: States in which nobody may start a server of a course and its files are read-only.
CLOSED = frozenset({State.ARCHIVED, State.DELETABLE})


class Role(StrEnum):
    """The mode of a server, not of a person: an instructor may start a student server too."""

    GENERAL = "general"
    STUDENT = "student"
    INSTRUCTOR = "instructor"


class Relation(StrEnum):
    """What a person is to a course; one person may be several of these."""

    INSTRUCTOR = "instructor"
    STUDENT = "student"  # listed in its files; a public course is open to others too
    MANAGER = "manager"
    SUPERVISOR = "supervisor"
    ADMINISTRATOR = "administrator"  # of the hub
    TEST_STUDENT = "test-student"  # of the site


class Action(StrEnum):
    START_GENERAL = "start-general"
    START_STUDENT = "start-student"
    START_INSTRUCTOR = "start-instructor"
    SEE = "see"  # that the course exists, and its state
    READ_FILES = "read-files"  # the course directory at its public path
    WRITE_FILES = "write-files"
    SUBMIT = "submit"  # write to the exchange


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    rule: str  # short and stable, for the log and tests
    message: str  # one sentence for the person

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True, slots=True)
class Target:
    """What a person wants to start: a course in a role, or a general environment."""

    role: Role
    course: str | None = None
    environment: str | None = None  # None in a general target: the site's first

    def __post_init__(self) -> None:
        if (self.role is Role.GENERAL) != (self.course is None):
            raise ValueError("a general target has no course, every other target has one")
        if self.course is not None and self.environment is not None:
            raise ValueError("a course's target has no environment")

    @classmethod
    def parse(cls, text: str) -> Target:
        """The target of a link: ``algo2026``, ``algo2026-instructor``, ``general``, ``general/r``.

        No slug ends in ``-instructor`` or is ``general`` (the registry refuses them), so this is
        unambiguous. Whether the course exists is not asked here.
        """
        if text == "general":
            return cls(Role.GENERAL)
        if text.startswith("general/"):
            return cls(Role.GENERAL, environment=text.removeprefix("general/"))
        if text.endswith("-instructor"):
            return cls(Role.INSTRUCTOR, text.removesuffix("-instructor"))
        return cls(Role.STUDENT, text)

    def __str__(self) -> str:
        if self.course is None:
            return f"general/{self.environment}" if self.environment else "general"
        return f"{self.course}-instructor" if self.role is Role.INSTRUCTOR else self.course

    @property
    def action(self) -> Action:
        """The action that starting this target is."""
        return _STARTS[self.role]


_STARTS = {
    Role.GENERAL: Action.START_GENERAL,
    Role.STUDENT: Action.START_STUDENT,
    Role.INSTRUCTOR: Action.START_INSTRUCTOR,
}


def _named(people: tuple[str, ...], person: Person) -> bool:
    """Whether a list of e-mail addresses and usernames names the person.

    An address is compared without regard to case; usernames are compared exactly.
    """
    email = person.email.casefold()
    return any(p == person.username or (email and p.casefold() == email) for p in people)


def is_instructor(site: Site, course: Course, person: Person) -> bool:
    """Named in the course's files, or a member of the institution's group for it."""
    return person.username in course.instructors or person.in_group(
        site.people.course_group_prefix + course.slug
    )


def roles_of(site: Site, course: Course, person: Person) -> frozenset[Relation]:
    """Everything that the person is to the course; empty for a passer-by."""
    found = set()
    if is_instructor(site, course, person):
        found.add(Relation.INSTRUCTOR)
    if person.username in course.students:
        found.add(Relation.STUDENT)
    if course.manager and _named(course.manager, person):
        found.add(Relation.MANAGER)
    if course.supervisor and _named(course.supervisor, person):
        found.add(Relation.SUPERVISOR)
    if person.username in site.people.administrators:
        found.add(Relation.ADMINISTRATOR)
    if person.username in site.people.test_students:
        found.add(Relation.TEST_STUDENT)
    return frozenset(found)


def taught(
    site: Site,
    courses: Mapping[str, Course],
    person: Person,
    named: Iterable[Course] | None = None,
) -> tuple[Course, ...]:
    """The courses of which the person is an instructor, archived ones too, sorted by slug.

    Args:
        site: for the prefix of course groups.
        courses: all courses by slug.
        person: whose courses.
        named: courses whose files name the person as an instructor (the registry has an index),
            others are left out; without it all courses are looked through.
    """
    if named is None:
        found = {c.slug for c in courses.values() if is_instructor(site, c, person)}
    else:
        found = {c.slug for c in named if person.username in c.instructors}
        prefix = site.people.course_group_prefix
        groups = (g.name.removeprefix(prefix) for g in person.groups if g.name.startswith(prefix))
        found.update(slug for slug in groups if slug in courses)
    return tuple(courses[slug] for slug in sorted(found))


def refuse_person(site: Site, person: Person) -> Decision | None:
    """Why no server may run as this person; None when one may."""
    if person.username == "root" or person.uid < LOWEST_ID:
        return Decision(
            False, "system-account", "This is an account of the system; servers are for people."
        )
    if person.uid > site.people.max_uid:
        return Decision(
            False,
            "uid-out-of-range",
            "Your user number is outside the range that this site serves.",
        )
    # The username becomes a folder's name and a path, whatever a site's pattern lets through.
    safe = "/" not in person.username and person.username.strip(".") != ""
    if not safe or not re.fullmatch(site.people.username_pattern, person.username):
        return Decision(False, "bad-username", "Your username cannot be used on this site.")
    return None


def decide(
    site: Site,
    person: Person,
    course: Course | None,
    action: Action,
    now: datetime,
    look: Callable[[Course], Standing] | None = None,
) -> Decision:
    """Whether ``person`` may do ``action``; every "yes" has a rule below, all else is "no".

    Args:
        site: administrators, test students, time zone.
        person: who asks; the caller knows their identity, never the browser.
        course: None for :attr:`Action.START_GENERAL`, and for a course that does not exist.
        action: what they want.
        now: an aware time.
        look: what gives the person's standing, where it is asked for more than once.
    """
    refused = refuse_person(site, person)
    if refused is not None:
        return refused
    if action is Action.START_GENERAL:
        return _EVERYONE
    if course is None:
        return NO_SUCH_COURSE
    found = look(course) if look else standing(site, person, course, now)
    return found.decide(action)


@dataclass(frozen=True, slots=True)
class Standing:
    """One person and one course at one moment: what decisions about the two rest on.

    For pages that ask several things about many courses; they call :func:`refuse_person` first.
    """

    course: Course
    relations: frozenset[Relation]
    state: State

    def decide(self, action: Action) -> Decision:
        """As :func:`decide`, for a person who is not refused."""
        if action is Action.SEE:
            return _see(self.relations, self.state)
        if action in _FILE_ACTIONS:
            return _files(self.course, self.relations, self.state, action)
        # Whoever may not see a course learns nothing more of it than whoever mistypes its name.
        seen = _see(self.relations, self.state)
        if not seen.allowed:
            return NO_SUCH_COURSE
        if self.state in CLOSED:
            return Decision(False, "archived", f"The course “{self.course.name}” is archived.")
        if action is Action.START_INSTRUCTOR:
            return _start_instructor(self.course, self.relations)
        if action is Action.START_STUDENT:
            return seen
        if action is Action.SUBMIT:
            return _submit(self.course, self.relations)
        return Decision(False, "default", "That is not allowed.")


def standing(site: Site, person: Person, course: Course, now: datetime) -> Standing:
    """What ``person`` is to ``course`` and where it is in its life."""
    return Standing(course, roles_of(site, course, person), state(course, now, site.tz))


_FILE_ACTIONS = frozenset({Action.READ_FILES, Action.WRITE_FILES})
NO_SUCH_COURSE = Decision(False, "no-such-course", "There is no course of that name for you.")


def _see(relations: frozenset[Relation], current: State) -> Decision:
    if current in CLOSED:
        for relation in (Relation.INSTRUCTOR, Relation.MANAGER, Relation.SUPERVISOR):
            if relation in relations:
                return _YES[relation]
        return NO_SUCH_COURSE
    if Relation.INSTRUCTOR in relations:
        return _YES[Relation.INSTRUCTOR]
    if current is State.PUBLIC:
        return _PUBLIC
    for relation in _SEE_UNPUBLISHED:
        if relation in relations:
            return _YES[relation]
    return NO_SUCH_COURSE


_SEE_UNPUBLISHED = (
    Relation.STUDENT,
    Relation.MANAGER,
    Relation.SUPERVISOR,
    Relation.ADMINISTRATOR,
    Relation.TEST_STUDENT,
)
_YES = {
    relation: Decision(True, relation.value, f"You are {who} of this course.")
    for relation, who in (
        (Relation.INSTRUCTOR, "an instructor"),
        (Relation.STUDENT, "a student"),
        (Relation.MANAGER, "a manager"),
        (Relation.SUPERVISOR, "a supervisor"),
        (Relation.ADMINISTRATOR, "an administrator"),
        (Relation.TEST_STUDENT, "a test student"),
    )
}
_PUBLIC = Decision(True, "public", "This course is open to everyone.")
_EVERYONE = Decision(True, "everyone", "General environments are open to everyone.")
_OPEN_SUBMIT = Decision(True, "open-submit", "Everyone who sees this course may submit.")


def _start_instructor(course: Course, relations: frozenset[Relation]) -> Decision:
    if Relation.INSTRUCTOR in relations:
        if not course.has_directories:
            return Decision(
                False,
                "no-directories",
                f"“{course.name}” has no course directory, so there is nothing to open as "
                "instructor; start it as a student.",
            )
        return _YES[Relation.INSTRUCTOR]
    return Decision(
        False,
        "not-instructor",
        f"Only instructors of “{course.name}” may open it as instructor; you are not one of them.",
    )


def _files(
    course: Course, relations: frozenset[Relation], current: State, action: Action
) -> Decision:
    if Relation.INSTRUCTOR not in relations:
        return Decision(False, "not-instructor", "Only instructors may open a course's files.")
    if not course.has_directories:
        return Decision(False, "no-directories", f"“{course.name}” has no course directory.")
    if action is Action.WRITE_FILES and current in CLOSED:
        return Decision(False, "archived", f"“{course.name}” is archived: its files are read-only.")
    return _YES[Relation.INSTRUCTOR]


def _submit(course: Course, relations: frozenset[Relation]) -> Decision:
    if not course.has_directories:
        return Decision(False, "no-directories", f"“{course.name}” has no exchange.")
    if not course.restrict_submit:
        return _OPEN_SUBMIT
    for relation in (Relation.INSTRUCTOR, Relation.STUDENT):
        if relation in relations:
            return _YES[relation]
    return Decision(
        False,
        "not-enrolled",
        f"Only listed students of “{course.name}” may submit; you are not on its list.",
    )
