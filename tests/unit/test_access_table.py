"""Every access rule as one numbered table: person, course, action → rule.

Read a line as: *who* may (or may not) do *what* with *which course*, by *which rule*.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from courseyard.access import Action, Decision, Relation, Role, Target, decide, roles_of, taught
from courseyard.people.person import Group, Person
from courseyard.registry.course import Course
from courseyard.settings import PeopleSettings, Site

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BEFORE = datetime(2026, 11, 1, tzinfo=UTC)
AFTER = datetime(2026, 12, 24, tzinfo=UTC)
SITE = Site(people=PeopleSettings(administrators=("admin",), test_students=("tessa",)))

STAFF: dict[str, Any] = {
    "instructors": frozenset({"ines"}),
    "students": frozenset({"stu"}),
    "manager": ("manu", "Mail.Manager@example.org"),
    "supervisor": ("sue",),
    "contact": ("cora",),
}
COURSES = {
    "open": Course(slug="open", name="Open", gid=30001, **STAFF),
    "closed-list": Course(slug="closed-list", name="L", gid=30002, restrict_submit=True, **STAFF),
    "private": Course(slug="private", name="Private", gid=30003, private=True, **STAFF),
    "draft": Course(slug="draft", name="Draft", gid=30004, public_date=AFTER, **STAFF),
    "hidden": Course(slug="hidden", name="Hidden", gid=30005, private_date=BEFORE, **STAFF),
    "archived": Course(slug="archived", name="Archived", gid=30006, archive=True, **STAFF),
    "ended": Course(slug="ended", name="Ended", gid=30007, archive_date=BEFORE, **STAFF),
    "deletable": Course(slug="deletable", name="D", gid=30008, delete_date=BEFORE, **STAFF),
    "env": Course(slug="env", name="Environment", gid=None, **STAFF),
}


def person(name: str, uid: int = 21000, email: str = "", groups: tuple[str, ...] = ()) -> Person:
    members = frozenset(Group(group, 30100 + i) for i, group in enumerate(groups))
    return Person(name, uid, 20000, members, name.title(), email)


PEOPLE = {
    "ines": person("ines"),
    "stu": person("stu"),
    "manu": person("manu"),
    "mail": person("mail", email="mail.manager@EXAMPLE.org"),
    "sue": person("sue"),
    "cora": person("cora"),
    "admin": person("admin"),
    "tessa": person("tessa"),
    "nobody": person("nobody"),
    # By the institution's group, and by groups that only look like it.
    "grete": person("grete", groups=("jupyter-open", "jupyter-private", "jupyter-archived")),
    "fake": person("fake", groups=("open", "jupyter-", "jupyter-openx", "xjupyter-open")),
    # Accounts that no server may run as.
    "root": person("root", uid=0),
    "system": person("daemon", uid=999),
    "toor": person("toor", uid=0),
    "huge": person("huge", uid=2**31),
    "dots": person(".."),
    "slash": person("a/b"),
}

A = Action
YES, NO = True, False
#    who       course         action              allowed  rule
CASES: list[tuple[str, str, Action, bool, str]] = [
    # general environments: open to everyone with an account
    ("nobody", "", A.START_GENERAL, YES, "everyone"),  # 0
    ("root", "", A.START_GENERAL, NO, "system-account"),
    ("system", "", A.START_GENERAL, NO, "system-account"),
    ("toor", "", A.START_GENERAL, NO, "system-account"),
    ("huge", "", A.START_GENERAL, NO, "uid-out-of-range"),
    ("dots", "", A.START_GENERAL, NO, "bad-username"),  # 5
    ("slash", "", A.START_GENERAL, NO, "bad-username"),
    # a public course is open to everyone, as a student
    ("nobody", "open", A.SEE, YES, "public"),
    ("nobody", "open", A.START_STUDENT, YES, "public"),
    ("nobody", "open", A.SUBMIT, YES, "open-submit"),
    ("nobody", "open", A.START_INSTRUCTOR, NO, "not-instructor"),  # 10
    ("nobody", "open", A.READ_FILES, NO, "not-instructor"),
    ("nobody", "open", A.WRITE_FILES, NO, "not-instructor"),
    ("root", "open", A.START_STUDENT, NO, "system-account"),
    # instructors: listed, or by the institution's group
    ("ines", "open", A.START_INSTRUCTOR, YES, "instructor"),
    ("ines", "open", A.START_STUDENT, YES, "instructor"),  # 15
    ("ines", "open", A.WRITE_FILES, YES, "instructor"),
    ("grete", "open", A.START_INSTRUCTOR, YES, "instructor"),
    ("grete", "private", A.START_INSTRUCTOR, YES, "instructor"),
    ("grete", "private", A.WRITE_FILES, YES, "instructor"),
    ("grete", "draft", A.SEE, NO, "no-such-course"),  # 20
    ("fake", "open", A.START_INSTRUCTOR, NO, "not-instructor"),
    ("fake", "private", A.START_INSTRUCTOR, NO, "no-such-course"),
    # nobody else opens a course as instructor, whatever they are to it
    ("stu", "open", A.START_INSTRUCTOR, NO, "not-instructor"),
    ("manu", "open", A.START_INSTRUCTOR, NO, "not-instructor"),
    ("sue", "open", A.START_INSTRUCTOR, NO, "not-instructor"),  # 25
    ("admin", "open", A.START_INSTRUCTOR, NO, "not-instructor"),
    ("admin", "open", A.READ_FILES, NO, "not-instructor"),
    ("tessa", "open", A.START_INSTRUCTOR, NO, "not-instructor"),
    # a private course: instructors, listed students, test students, administrators, its people
    ("nobody", "private", A.SEE, NO, "no-such-course"),
    ("nobody", "private", A.START_STUDENT, NO, "no-such-course"),  # 30
    ("nobody", "private", A.START_INSTRUCTOR, NO, "no-such-course"),
    ("nobody", "private", A.SUBMIT, NO, "no-such-course"),
    ("cora", "private", A.SEE, NO, "no-such-course"),
    ("ines", "private", A.START_STUDENT, YES, "instructor"),
    ("stu", "private", A.START_STUDENT, YES, "student"),  # 35
    ("manu", "private", A.START_STUDENT, YES, "manager"),
    ("mail", "private", A.START_STUDENT, YES, "manager"),
    ("sue", "private", A.START_STUDENT, YES, "supervisor"),
    ("admin", "private", A.START_STUDENT, YES, "administrator"),
    ("tessa", "private", A.START_STUDENT, YES, "test-student"),  # 40
    ("manu", "private", A.START_INSTRUCTOR, NO, "not-instructor"),
    # a course whose day is still to come, or has passed, is like a private one
    ("nobody", "draft", A.START_STUDENT, NO, "no-such-course"),
    ("stu", "draft", A.START_STUDENT, YES, "student"),
    ("ines", "draft", A.START_INSTRUCTOR, YES, "instructor"),
    ("nobody", "hidden", A.START_STUDENT, NO, "no-such-course"),  # 45
    ("tessa", "hidden", A.START_STUDENT, YES, "test-student"),
    # restrict_submit: listed students and instructors alone
    ("stu", "closed-list", A.SUBMIT, YES, "student"),
    ("ines", "closed-list", A.SUBMIT, YES, "instructor"),
    ("nobody", "closed-list", A.SUBMIT, NO, "not-enrolled"),
    ("admin", "closed-list", A.SUBMIT, NO, "not-enrolled"),  # 50
    ("tessa", "closed-list", A.SUBMIT, NO, "not-enrolled"),
    ("nobody", "closed-list", A.START_STUDENT, YES, "public"),
    # archived: nobody starts it, its instructors read its files, its people see its state
    ("nobody", "archived", A.SEE, NO, "no-such-course"),
    ("stu", "archived", A.START_STUDENT, NO, "no-such-course"),
    ("admin", "archived", A.SEE, NO, "no-such-course"),  # 55
    ("tessa", "archived", A.START_STUDENT, NO, "no-such-course"),
    ("ines", "archived", A.SEE, YES, "instructor"),
    ("manu", "archived", A.SEE, YES, "manager"),
    ("sue", "archived", A.SEE, YES, "supervisor"),
    ("ines", "archived", A.START_STUDENT, NO, "archived"),  # 60
    ("ines", "archived", A.START_INSTRUCTOR, NO, "archived"),
    ("ines", "archived", A.SUBMIT, NO, "archived"),
    ("ines", "archived", A.READ_FILES, YES, "instructor"),
    ("ines", "archived", A.WRITE_FILES, NO, "archived"),
    ("grete", "archived", A.READ_FILES, YES, "instructor"),  # 65
    ("grete", "archived", A.WRITE_FILES, NO, "archived"),
    ("ines", "ended", A.START_INSTRUCTOR, NO, "archived"),
    ("ines", "ended", A.WRITE_FILES, NO, "archived"),
    ("ines", "deletable", A.START_INSTRUCTOR, NO, "archived"),
    ("ines", "deletable", A.WRITE_FILES, NO, "archived"),  # 70
    ("stu", "deletable", A.START_STUDENT, NO, "no-such-course"),
    # a course without directories is an environment in the list
    ("nobody", "env", A.START_STUDENT, YES, "public"),
    ("ines", "env", A.START_INSTRUCTOR, NO, "no-directories"),
    ("ines", "env", A.READ_FILES, NO, "no-directories"),
    ("nobody", "env", A.SUBMIT, NO, "no-directories"),  # 75
    # a course that is not there
    ("admin", "missing", A.SEE, NO, "no-such-course"),
    ("admin", "missing", A.START_STUDENT, NO, "no-such-course"),
    ("ines", "missing", A.START_INSTRUCTOR, NO, "no-such-course"),
    ("ines", "missing", A.WRITE_FILES, NO, "no-such-course"),
]


@pytest.mark.parametrize(
    ("who", "course", "action", "allowed", "rule"),
    CASES,
    ids=[f"{i}-{c[0]}-{c[1] or 'general'}-{c[2].value}" for i, c in enumerate(CASES)],
)
def test_case(who: str, course: str, action: Action, allowed: bool, rule: str) -> None:
    decision = decide(SITE, PEOPLE[who], COURSES.get(course), action, NOW)
    assert (decision.allowed, decision.rule) == (allowed, rule)
    assert decision.message.endswith(".")


def test_unseen_and_missing_courses_get_the_same_answer() -> None:
    for action in Action:
        if action not in (A.START_GENERAL, A.READ_FILES, A.WRITE_FILES):
            unseen = decide(SITE, PEOPLE["nobody"], COURSES["private"], action, NOW)
            missing = decide(SITE, PEOPLE["nobody"], None, action, NOW)
            assert unseen == missing


def test_everything_not_in_a_rule_is_denied() -> None:
    """Every action for a stranger to a hidden course is a no."""
    for slug in ("private", "draft", "hidden", "archived", "ended", "deletable"):
        for action in set(Action) - {A.START_GENERAL}:
            assert not decide(SITE, PEOPLE["nobody"], COURSES[slug], action, NOW)


def test_an_empty_email_names_nobody() -> None:
    course = Course(slug="odd", name="Odd", private=True, manager=("",))
    assert roles_of(SITE, course, PEOPLE["nobody"]) == frozenset()


def test_roles_add_up() -> None:
    course = Course(slug="all", name="All", instructors=frozenset({"admin"}), manager=("admin",))
    assert roles_of(SITE, course, PEOPLE["admin"]) == {
        Relation.INSTRUCTOR,
        Relation.MANAGER,
        Relation.ADMINISTRATOR,
    }


def test_taught_finds_the_same_by_index_and_by_looking_through_all() -> None:
    for who in PEOPLE.values():
        named = [c for c in COURSES.values() if who.username in c.instructors | c.students]
        assert taught(SITE, COURSES, who) == taught(SITE, COURSES, who, named)
    assert [c.slug for c in taught(SITE, COURSES, PEOPLE["grete"])] == [
        "archived",
        "open",
        "private",
    ]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("algo2026", Target(Role.STUDENT, "algo2026")),
        ("algo2026-instructor", Target(Role.INSTRUCTOR, "algo2026")),
        ("general", Target(Role.GENERAL)),
        ("general/r", Target(Role.GENERAL, environment="r")),
    ],
)
def test_a_target_is_its_link(text: str, target: Target) -> None:
    assert Target.parse(text) == target
    assert str(target) == text


def test_a_target_is_a_course_or_an_environment() -> None:
    with pytest.raises(ValueError, match="general target"):
        Target(Role.GENERAL, "algo")
    with pytest.raises(ValueError, match="general target"):
        Target(Role.STUDENT)
    with pytest.raises(ValueError, match="environment"):
        Target(Role.STUDENT, "algo", "r")


def test_a_decision_is_true_or_false() -> None:
    assert Decision(True, "r", "m.")
    assert not Decision(False, "r", "m.")
