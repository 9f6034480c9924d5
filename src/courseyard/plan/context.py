"""What one plan is made from, gathered once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from courseyard.access import Role, Standing, standing
from courseyard.errors import PlanError
from courseyard.images.catalog import ImageCatalog
from courseyard.people.person import Person
from courseyard.registry.course import Course, Override
from courseyard.settings import Environment, Site

_NOTHING = Override()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known when a plan is made.

    Args:
        courses: all courses by slug, the last good versions.
        catalog: the software images.
        named: the courses whose files name a username as an instructor
            (``Snapshot.of_instructor``); without it a plan looks through all courses, which takes
            0.2 ms for a thousand.
    """

    courses: Mapping[str, Course]
    catalog: ImageCatalog
    named: Callable[[str], Iterable[Course]] | None = None


@dataclass(slots=True)
class Context:
    """One person's wish, decided and looked up; lives for one plan only (trap 6)."""

    site: Site
    known: Known
    person: Person
    role: Role
    course: Course | None  # None: a general server
    environment_key: str  # "" in a course's server
    environment: Environment | None
    now: datetime
    taught: tuple[Course, ...]  # with directories; empty in student servers
    reasons: dict[str, str] = field(default_factory=dict)
    _standings: dict[str, Standing] = field(init=False, default_factory=dict)
    teaching: bool = field(init=False)
    override: Override = field(init=False)  # the course's; an empty one in general servers

    def __post_init__(self) -> None:
        self.teaching = self.role is Role.INSTRUCTOR
        self.override = _NOTHING if self.course is None else self.course.kubespawner_override

    def standing(self, course: Course) -> Standing:
        """What the person is to ``course``; found out once for each course."""
        found = self._standings.get(course.slug)
        if found is None:
            found = standing(self.site, self.person, course, self.now)
            self._standings[course.slug] = found
        return found

    def home_of(self, course: Course) -> Course:
        """The course that owns the directories that ``course`` uses.

        Raises:
            PlanError: it is not there, or has no directories.
        """
        if course.coursedir_slug is None:
            return course
        home = self.known.courses.get(course.coursedir_slug)
        if home is None or home.gid is None:
            raise PlanError(
                f"The files of the course “{course.name}” cannot be found: it uses those of "
                f"{course.coursedir_slug}, which has none now.",
                "Ask the people of the course; your own files are safe.",
                detail=f"{course.file}: coursedir_slug: {course.coursedir_slug}",
            )
        return home
