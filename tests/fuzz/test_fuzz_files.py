"""Whatever a file of a site holds: a value or problems with a place in the file, never a traceback."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from cases import cases
from hypothesis import example, given
from hypothesis import strategies as st
from written import COURSE, IMAGES, PEOPLE, SITE, USERS, damaged, lines_of

from courseyard.errors import Problem, SettingsError
from courseyard.images.catalog import ImageCatalog, Release, load_catalog
from courseyard.people.static import load_people
from courseyard.registry.files import read_course, read_users
from courseyard.registry.load import Loader
from courseyard.registry.reader import Rules
from courseyard.settings import PeopleSettings, Site
from courseyard.sitefile import check_site

PATH = Path("algo.yaml")
CATALOG = ImageCatalog({"DEFAULT": (Release("DEFAULT", date(2026, 8, 1), "python:1"),)})
RULES = Rules(Site(timezone="Europe/Helsinki"), CATALOG)


def told(source: bytes, problems: Iterable[Problem]) -> None:
    """Each problem can be shown in one line, and stands in the file."""
    most = lines_of(source)
    for problem in problems:
        assert problem.message
        assert 0 <= problem.line <= most, problem
        text = str(problem)
        assert len(text) < 2000
        assert text.isprintable(), repr(text)


@contextmanager
def folder() -> Iterator[Path]:
    """Not pytest's: one test has many cases."""
    with tempfile.TemporaryDirectory(prefix="cy-fuzz-") as name:
        yield Path(name)


def test_the_good_ones_are_good() -> None:
    read = read_course(COURSE.encode(), PATH, RULES)
    assert read.problems == ()
    assert read.course is not None
    assert read_users(USERS.encode(), PATH, RULES).problems == ()
    with folder() as place:
        (place / "courseyard.yaml").write_text(SITE)
        (place / "images.yaml").write_text(IMAGES)
        (place / "people.yaml").write_text(PEOPLE)
        site, problems = check_site(place)
        assert problems == ()
        assert site is not None
        assert len(load_catalog(site).families) == 2
        assert len(load_people(place / "people.yaml", site.people)) == 2


@cases(400)
@given(damaged(COURSE) | st.binary(max_size=200))
@example(b'"a\\nb": 1\n')
@example(b'"\\e[2J": 1\n')
@example(b"x-a: &a 1\nx-b: &a 2\nuid: x\n")
@example('x-a: "\u2028"\nuid: x\n'.encode())
def test_course_files(source: bytes) -> None:
    found = read_course(source, PATH, RULES)
    assert (found.course is None) == any(problem.is_error for problem in found.problems)
    told(source, found.problems)


@cases(250)
@given(damaged(USERS) | st.binary(max_size=100))
def test_users_files(source: bytes) -> None:
    found = read_users(source, PATH, RULES)
    assert (found.people is None) == any(problem.is_error for problem in found.problems)
    told(source, found.problems)


@cases(200)
@given(damaged(IMAGES) | st.binary(max_size=100))
def test_the_list_of_images(source: bytes) -> None:
    with folder() as place:
        (place / "images.yaml").write_bytes(source)
        try:
            catalog = load_catalog(Site(folder=place))
        except SettingsError as error:
            assert error.problems
            told(source, error.problems)
        else:
            assert catalog.families
            for releases in catalog.families.values():
                assert all(a.released <= b.released for a, b in itertools.pairwise(releases))


@cases(200)
@given(damaged(PEOPLE) | st.binary(max_size=100))
def test_the_people_file(source: bytes) -> None:
    with folder() as place:
        (place / "people.yaml").write_bytes(source)
        try:
            people = load_people(place / "people.yaml", PeopleSettings())
        except SettingsError as error:
            assert error.problems
            told(source, error.problems)
        else:
            assert all(person.uid >= 1000 and person.gid >= 1000 for person in people.values())
            assert len({person.uid for person in people.values()}) == len(people)
            assert "root" not in people


@cases(400)
@given(damaged(SITE) | st.binary(max_size=100))
@example(("servers: {mem_limit: " + "9" * 400 + "}").encode())
@example(b"servers: {mem_limit: .inf, cpu_limit: .nan}")
@example(b"people: {username_pattern: '(a*)*'}")
@example(b'storage: {root: "a\\0b"}')
def test_the_site_file(source: bytes) -> None:
    with folder() as place:
        (place / "courseyard.yaml").write_bytes(source)
        site, problems = check_site(place)
        assert (site is None) == any(problem.is_error for problem in problems)
        told(source, problems)


@cases(60)
@given(
    st.lists(
        st.tuples(st.sampled_from(("-users", "", "2", " b", "é")), damaged(COURSE)), max_size=4
    ),
    st.lists(damaged(COURSE), max_size=3),
)
def test_the_rest_of_the_folder_goes_on(
    others: list[tuple[str, bytes]], versions: list[bytes]
) -> None:
    """Good courses are there, whatever stands beside them; a broken one keeps its good version."""
    with folder() as place:
        courses = place / "courses"
        courses.mkdir()
        site = Site(folder=place)
        for slug in ("good1", "good2"):
            (courses / f"{slug}.yaml").write_text(f"name: {slug}\nstudents: [maija]\n")
        (courses / "changing.yaml").write_text("name: First\n")
        loader = Loader(site, CATALOG)
        loader.refresh()
        for suffix, source in others:
            (courses / f"bad{suffix}.yaml").write_bytes(source)
        for source in [*versions, b"name: [\n"]:
            before = loader.snapshot.courses["changing"]
            (courses / "changing.yaml").write_bytes(source)
            snapshot = loader.refresh()
            assert {"good1", "good2", "changing"} <= set(snapshot.courses)
            assert snapshot.courses["good1"].students == {"maija"}
            now = snapshot.courses["changing"]
            broken = [p for p in snapshot.problems if p.is_error and p.file.name == "changing.yaml"]
            if broken and source == b"name: [\n":
                assert now == before
            for problem in snapshot.problems:
                assert str(problem).isprintable()


@pytest.mark.parametrize(
    "name", [b"a\x1b[2J.yaml", b"\xff.yaml", b"a\nb.yaml", b"\xe2\x80\xae.yaml"]
)
def test_a_files_name_can_be_shown_too(tmp_path: Path, name: bytes) -> None:
    import os

    (tmp_path / "courses").mkdir()
    with open(os.fsencode(tmp_path / "courses") + b"/" + name, "w") as file:
        file.write("name: X\n")
    problems = Loader(Site(folder=tmp_path), CATALOG).refresh().problems
    assert len(problems) == 1
    assert str(problems[0]).isprintable()
    str(problems[0]).encode()
