"""``access.decide`` against a second model, slow and simple, written from DOMAIN.md and from nothing else.

Each rule below quotes the sentence it comes from. No input may give a person more than they say; nor
less, so that the two cannot drift apart unseen.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st
from universities import BASE, SEEDS, Dice, make_course, make_person, make_site

from courseyard import access
from courseyard.access import Action, Target, decide, roles_of
from courseyard.people.person import Person
from courseyard.registry.course import Course
from courseyard.settings import Site


def is_user(site: Site, person: Person) -> bool:
    """ "UIDs under 1000 are refused." "Usernames: `[a-z_][a-z0-9_.-]{0,31}`; never `root`." """
    name = person.username
    if person.uid < 1000 or person.uid > site.people.max_uid or name == "root" or not name:
        return False
    first, rest = "abcdefghijklmnopqrstuvwxyz_", "abcdefghijklmnopqrstuvwxyz_0123456789.-"
    return name[0] in first and all(letter in rest for letter in name[1:]) and len(name) <= 32


def is_instructor(site: Site, course: Course, person: Person) -> bool:
    """ "The institution's group `jupyter-<slug>` lists the instructors of the course (members may also
    stand in the course file)." """
    by_group = [g for g in person.groups if g.name == site.people.course_group_prefix + course.slug]
    return person.username in list(course.instructors) or len(by_group) > 0


def is_responsible(course: Course, person: Person) -> bool:
    """ "supervisor, contact, manager: people responsible (e-mail or username, one or a list)"; of them
    contact is only asked. Addresses are compared without regard to case."""
    for written in [*course.manager, *course.supervisor]:
        if written == person.username:
            return True
        if person.email and written.casefold() == person.email.casefold():
            return True
    return False


def what_counts(course: Course, now: datetime) -> str:
    """ "`archive: true` archives whatever the dates say. Otherwise the latest of the dates that have
    passed decides, and before any has passed the flags do. A `public_date` that is still to come hides
    the course until then, with or without `private`." """
    passed = []
    for rank, (moment, means) in enumerate(
        [
            (course.public_date, "public"),
            (course.private_date, "hidden"),
            (course.archive_date, "archived"),
            (course.delete_date, "archived"),
        ]
    ):
        if moment is not None and moment.timestamp() <= now.timestamp():
            passed.append((moment.timestamp(), rank, means))
    if course.archive:
        return "archived"
    if passed:
        return max(passed)[2]
    if course.public_date is not None or course.private:
        return "hidden"
    return "public"


def allowed(
    site: Site, person: Person, course: Course | None, action: Action, now: datetime
) -> bool:
    if not is_user(site, person):
        return False
    # "The service is open by default, courses are an add-on."
    if action is Action.START_GENERAL:
        return True
    if course is None:
        return False
    teaches, state = is_instructor(site, course, person), what_counts(course, now)
    # "A course without a `gid` has no directories: it is just an environment in the list."
    has_folders = course.gid is not None
    if (
        action is Action.READ_FILES
    ):  # "`/course`: instructors of that course, rw; nobody else sees it"
        return teaches and has_folders
    if action is Action.WRITE_FILES:  # "read-only once archived"
        return teaches and has_folders and state != "archived"
    if state == "archived":
        # "offered to nobody"; its people are asked about its files, so they see that it is there
        return action is Action.SEE and (teaches or is_responsible(course, person))
    # "private: hidden from all but instructors, listed students, the site's test students and
    # administrators", and the people responsible for it
    mine = teaches or person.username in course.students or is_responsible(course, person)
    staff = (*site.people.test_students, *site.people.administrators)
    sees = state == "public" or mine or person.username in staff
    if action in (Action.SEE, Action.START_STUDENT):
        return sees
    if action is Action.START_INSTRUCTOR:
        return teaches and has_folders
    # "restrict_submit: only listed students and instructors may write to the exchange"
    listed = teaches or person.username in course.students
    return sees and has_folders and (listed or not course.restrict_submit)


@cases(1000)
@given(SEEDS)
def test_nobody_gets_more_or_less_than_the_domain_says(seed: int) -> None:
    dice = Dice(seed)
    site, person, now = make_site(dice), make_person(dice), dice.moment()
    course = make_course(dice) if dice.flag(0.95) else None
    for action in Action:
        decision = decide(site, person, course, action, now)
        wanted = allowed(site, person, course, action, now)
        told = f"{action}: {decision.rule}, the domain says {wanted}: {person} {course} {now}"
        assert decision.allowed == wanted, told
        assert decision.message.endswith(".")


@cases(400)
@given(SEEDS)
def test_more_rights_come_from_more_relations_alone(seed: int) -> None:
    """Who is nothing to a course may at most what everyone may; who is added loses nothing."""
    dice = Dice(seed)
    site, person, course, now = make_site(dice), make_person(dice), make_course(dice), dice.moment()
    stranger = Person("stranger", 23456, 20000)
    enrolled = course.model_copy(update={"students": course.students | {person.username}})
    is_person = decide(site, person, None, Action.START_GENERAL, now)
    for action in Action:
        may = decide(site, person, course, action, now).allowed
        if decide(site, stranger, course, action, now) and is_person:
            assert may
        if may:
            assert decide(site, person, enrolled, action, now)
        if not roles_of(site, course, person):
            assert may <= decide(site, stranger, course, action, now).allowed


@cases(200)
@given(SEEDS, st.integers(0, 24))
def test_the_hour_that_comes_twice(seed: int, tens: int) -> None:
    """The same moment said in another zone decides the same."""
    dice = Dice(seed)
    site, course, now = make_site(dice), make_course(dice), BASE + timedelta(minutes=10 * tens)
    instructor = Person("ada", 21001, 20000)
    for action in Action:
        here = decide(site, instructor, course, action, now)
        assert here == decide(site, instructor, course, action, now.astimezone(site.tz))


def test_a_fault_in_the_rules_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack on the test itself: with a rule that forgets its question, the models differ."""
    monkeypatch.setattr(access, "is_instructor", lambda site, course, person: True)
    with pytest.raises(AssertionError, match="the domain says"):
        test_nobody_gets_more_or_less_than_the_domain_says()


@cases(300)
@given(
    st.text(max_size=60)
    | st.sampled_from(["general/", "general/r/x", "-instructor", "general-instructor"])
)
def test_any_text_is_a_target_that_says_itself(text: str) -> None:
    """No text of a browser raises, and none turns into another target."""
    found = Target.parse(text)
    again = str(found)
    assert again == text or (text == "general/" and again == "general")
