"""One course file, and one users file beside it, as values and problems."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from courseyard.errors import Problem
from courseyard.registry.course import Course
from courseyard.registry.keys import KEYS, USERS_KEYS
from courseyard.registry.reader import Reader, Rules
from courseyard.registry.slugs import slug_problem
from courseyard.yamlfile import YamlError, parse_yaml

#: People of one course, both files together.
MAX_PEOPLE = 5000
TOO_MANY = f"the course names more than {MAX_PEOPLE} people; take some out"
_SITES_OWN = "x-"
#: (earlier, later, what is wrong when they stand the other way round)
_ORDER = (
    ("public_date", "private_date", "is after"),
    ("public_date", "archive_date", "is after"),
    ("private_date", "archive_date", "is after"),
    ("archive_date", "delete_date", "is after"),
    ("start_date", "end_date", "is after"),
)


@dataclass(frozen=True, slots=True)
class CourseFile:
    """What one course file says; ``course`` is None when it cannot be used."""

    course: Course | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class UsersFile:
    """What one users file says; ``people`` is None when it cannot be used."""

    people: tuple[frozenset[str], frozenset[str]] | None  # instructors, students
    problems: tuple[Problem, ...]


def read_course(source: bytes, path: Path, rules: Rules) -> CourseFile:
    """The course of the file ``path``, whose bytes are ``source``. Raises nothing."""
    slug = path.stem
    wrong_name = slug_problem(slug)
    if wrong_name is not None:
        return CourseFile(None, (Problem(path, 0, "", wrong_name),))
    try:
        document = parse_yaml(source, path)
    except YamlError as error:
        return CourseFile(None, error.problems)
    reader = Reader(document, rules, list(document.warnings))
    values: dict[str, Any] = {}
    extensions = {}
    for key, value in document.data.items():
        known = KEYS.get(key)
        if known is not None:
            if value is not None:
                values[key] = known.parse(reader, (key,), value)
        elif key.startswith(_SITES_OWN):
            extensions[key] = value
        else:
            reader.unknown((key,), KEYS, "; the site's own keys start with x-")
    if not reader.broken:
        _check(reader, slug, values)
    if reader.broken:
        return CourseFile(None, reader.sorted())
    values.setdefault("name", slug)
    try:
        course = Course(slug=slug, file=path, extensions=extensions, **values)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            reader.wrong(found["loc"], str(found["msg"]))
        return CourseFile(None, reader.sorted())
    return CourseFile(course, reader.sorted())


def read_users(source: bytes, path: Path, rules: Rules) -> UsersFile:
    """The people of the users file ``path``, whose bytes are ``source``. Raises nothing.

    A file that is empty or holds comments alone names nobody.
    """
    try:
        document = parse_yaml(source, path, may_be_empty=True)
    except YamlError as error:
        return UsersFile(None, error.problems)
    reader = Reader(document, rules, list(document.warnings))
    found: dict[str, frozenset[str]] = {}
    for key, value in document.data.items():
        if key in USERS_KEYS:
            if value is not None:
                found[key] = KEYS[key].parse(reader, (key,), value)
        elif not key.startswith(_SITES_OWN):
            where = "; it belongs into the course file" if key in KEYS else ""
            reader.unknown((key,), USERS_KEYS, where or "; this file holds only these two")
    none: frozenset[str] = frozenset()
    people = (found.get("instructors", none), found.get("students", none))
    if not reader.broken and len(people[0] | people[1]) > MAX_PEOPLE:
        reader.wrong((larger_list(*people),), TOO_MANY)
    return UsersFile(None if reader.broken else people, reader.sorted())


def larger_list(instructors: Collection[str], students: Collection[str]) -> str:
    """The key of the list in which too many people stand."""
    return USERS_KEYS[len(students) > len(instructors)]


def _check(reader: Reader, slug: str, values: dict[str, Any]) -> None:
    """What no single key can tell."""
    if "name" not in values:
        reader.warn(("name",), f"is missing; people see {slug}. Write `name:` and a title")
    instructors, students = (values.get(key, frozenset()) for key in USERS_KEYS)
    if len(instructors | students) > MAX_PEOPLE:
        reader.wrong((larger_list(instructors, students),), TOO_MANY)
    if values.get("coursedir_slug") == slug:
        reader.wrong(("coursedir_slug",), "names the course itself; leave it out")
    gid = values.get("gid")
    users = reader.rules.site.people.users_group
    if gid == users.gid:
        message = (
            f"is the group {users.name}, in which everyone is: every student would get the "
            "course's files; give the course a group of its own"
        )
        reader.wrong(("gid",), message)
    for index, (_, extra) in enumerate(values.get("extra_student_groups", ())):
        if extra == gid:
            message = "is the course's own group: students would get the instructors' files"
            reader.wrong(("extra_student_groups", index), message)
    if gid is None:
        _check_without_directories(reader, values)
    for key in ("datadir_readwrite", "create_userdata"):
        if values.get(key) and not values.get("datadir"):
            reader.warn((key,), "does nothing without `datadir: true`")
    for earlier, later, verb in _ORDER:
        first, second = values.get(earlier), values.get(later)
        if first is not None and second is not None and first > second:
            reader.warn((earlier,), f"{verb} `{later}`")


def _check_without_directories(reader: Reader, values: dict[str, Any]) -> None:
    for key in ("instructors", "datadir", "restrict_submit", "coursedir_slug"):
        if values.get(key):
            reader.warn((key,), "the course has no directories, because it has no `gid`")
