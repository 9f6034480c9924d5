"""Random sites, courses and people, few enough that their names meet.

Made from one number by Python's own generator: a university of hypothesis' parts takes forty times as
long, and a million of them are wanted. A failure prints the number.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from courseyard.images.catalog import ImageCatalog, Release
from courseyard.images.model import ImageWish
from courseyard.people.person import Group, Person
from courseyard.registry.course import Course, Override
from courseyard.settings import (
    HIGHEST_UID,
    Environment,
    GroupSetting,
    PeopleSettings,
    ServerSettings,
    Site,
    StorageSettings,
)

SLUGS = ("algo", "algo-x", "algo_x", "bio", "variant", "9lives", "u", "files-x", "a" * 40)
NAMES = ("ada", "bo", "eve", "ada.b", "root", "_x", "bo-")
EMAILS = (
    "",
    "ada@example.org",
    "Ada@Example.ORG",
    "bo@example.org",
    "ada",
    "straße@x.org",
    "STRASSE@x.org",
)
ZONES = ("UTC", "Europe/Helsinki", "America/New_York", "Pacific/Apia")
#: Around the end of summer time in Helsinki, where an hour comes twice.
BASE = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
MOMENTS = (
    *(BASE + timedelta(minutes=30 * n) for n in range(-3, 6)),
    *(BASE + timedelta(days=n) for n in (-300, -1, 1, 300)),
)
HELSINKI = ZoneInfo("Europe/Helsinki")
PREFIXES = ("jupyter-", "", "j-")
T = TypeVar("T")
#: Also names that the files may not set; a plan must not take them from anywhere.
VARIABLES = (
    *("A", "EDITOR", "PYTHONPATH", "HOME", "NB_USER", "COURSEDATA", "JUPYTERHUB_API_TOKEN"),
    *("JPY_API_TOKEN", "COURSEYARD_X", "OMP_NUM_THREADS", "NBGRADER_REHEARSAL_EXCHANGE"),
)
WISHES = (
    ImageWish(family="DEFAULT"),
    ImageWish(family="DEFAULT", released_by=date(2026, 8, 15)),
    ImageWish(family="R", released_by=date(2026, 2, 1)),
    ImageWish(reference="python:3"),
)
CATALOG = ImageCatalog(
    {
        "DEFAULT": (
            Release("DEFAULT", date(2026, 8, 1), "py:old", Path("/images/old"), "Python"),
            Release("DEFAULT", date(2026, 9, 1), "py:new", Path("/images/new"), "Python"),
        ),
        "R": (Release("R", date(2026, 1, 1), "r:1", Path("/images/r"), "R"),),
    }
)
#: The number that everything of a case is made from.
SEEDS = st.integers(0, 2**64 - 1)


class Dice(Random):
    """Python's generator with the words that are wanted here."""

    def some(self, of: tuple[T, ...], most: int = 3) -> tuple[T, ...]:
        """A few different ones."""
        return tuple(self.sample(of, min(len(of), self.randint(0, most))))

    def maybe(self, value: T, chance: float = 0.5) -> T | None:
        return value if self.random() < chance else None

    def flag(self, chance: float = 0.5) -> bool:
        return self.random() < chance

    def id(self) -> int:
        return self.choice((self.randint(1000, 1008), self.randint(20001, 2**31 - 1)))

    def moment(self) -> datetime:
        found = self.choice(MOMENTS)
        return found.astimezone(HELSINKI) if self.flag() else found

    def variables(self, value: str) -> dict[str, str]:
        return dict.fromkeys(self.some(VARIABLES), value)


def make_site(dice: Dice) -> Site:
    return Site(
        name="Fuzz",
        timezone=dice.choice(ZONES),
        storage=StorageSettings(
            public_root=dice.choice(("/m/uni", "/srv/x", "/data")),
            home_links=dice.choice(((), (".julia/",), (".gitconfig", ".R/lib/"))),
        ),
        people=PeopleSettings(
            administrators=dice.some(NAMES, 2),
            test_students=dice.some(NAMES, 2),
            users_group=GroupSetting(name="users", gid=20000),
            course_group_prefix=dice.choice(PREFIXES),
            max_uid=dice.choice((HIGHEST_UID, 30000)),
        ),
        environments={
            "python": Environment(name="Python"),
            "r": Environment(name="R", image=("R", "2026-02-01"), jupyterlab=False),
        },
        servers=ServerSettings(
            network=dice.choice(("none", "full")),
            environment=dice.variables("site"),
            cpu_limit=dice.choice((0.5, 4.0)),
        ),
    )


def make_person(dice: Dice) -> Person:
    names = tuple(prefix + slug for prefix in (*PREFIXES, "x-") for slug in (*SLUGS, ""))
    odd = dice.flag(0.2)
    return Person(
        username=dice.choice(("", ".", "..", "a/b", "A", "é", "a\n", "root", "-x", "a" * 33))
        if odd and dice.flag()
        else dice.choice(NAMES),
        uid=dice.choice((0, 1, 999, 30001, 2**31 - 1, 2**31, -1))
        if odd
        else dice.choice((1000, 21001)),
        gid=20000,
        groups=frozenset(Group(name, dice.id()) for name in dice.some(names, 4)),
        full_name="Somebody",
        email=dice.choice(EMAILS),
    )


def make_course(dice: Dice, slug: str = "algo") -> Course:
    flags = {key: dice.flag() for key in ("datadir", "datadir_readwrite", "restrict_submit")}
    flags |= {key: dice.flag(0.2) for key in ("private", "archive")}
    flags |= {key: dice.flag() for key in ("create_userdata", "jupyterlab", "default", "complete")}
    dates = ("public_date", "private_date", "archive_date", "delete_date")
    contacts: dict[str, Any] = {
        key: dice.some((*NAMES, *EMAILS), 2) for key in ("manager", "supervisor", "contact")
    }
    lists: dict[str, Any] = {
        key: frozenset(dice.some(NAMES)) for key in ("instructors", "students")
    }
    groups: dict[str, Any] = {
        f"extra_{role}_groups": tuple((name, dice.id()) for name in dice.some(("extra", "more")))
        for role in ("student", "instructor")
    }
    return Course(
        slug=slug,
        name=f"Course {slug}",
        uid=dice.choice((0, 21500)),
        gid=dice.maybe(dice.id(), 0.8),
        coursedir_slug=dice.maybe(dice.choice([s for s in SLUGS if s != slug]), 0.25),
        image=dice.choice(WISHES),
        image_instructor=dice.maybe(dice.choice(WISHES), 0.2),
        student_umask=dice.choice((None, 0o022, 0o027, 0o077, 0)),
        nbgrader_config=dice.choice(("", "c.Exchange.root = '/'")),
        kubespawner_override=Override(
            mem_limit=dice.maybe(dice.randint(2**30, 2**34)),
            cpu_limit=dice.choice((None, 0.5, 8.0)),
            environment=dice.variables("course"),
            default_url=dice.maybe("/tree", 0.2),
            cull_inactive_time=dice.maybe(dice.randint(0, 9999)),
        ),
        **{key: dice.maybe(dice.moment(), 0.2) for key in dates},
        **contacts,
        **lists,
        **groups,
        **flags,
    )


def make_courses(dice: Dice) -> dict[str, Course]:
    """All courses of a site by slug; the end of each chain of variants has directories or is missing."""
    slugs = dice.sample(SLUGS, dice.randint(2, 6))
    found = {slug: make_course(dice, slug) for slug in slugs}
    for slug, course in found.items():  # the registry follows chains to their end
        home = found.get(course.coursedir_slug or "")
        if home is not None and home.coursedir_slug is not None:
            found[slug] = course.model_copy(update={"coursedir_slug": None})
    return found
