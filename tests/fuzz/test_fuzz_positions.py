"""One key of a good file is broken: the problem names that key and its line, and no other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st
from test_fuzz_files import RULES

from courseyard.errors import Problem, SettingsError
from courseyard.images.catalog import load_catalog
from courseyard.people.static import load_people
from courseyard.registry.files import read_course, read_users
from courseyard.settings import PeopleSettings, Site
from courseyard.sitefile import check_site

#: Key or item, and what is wrong there. `¤` marks where the value stands in a template below.
COURSE: dict[str, list[str]] = {
    "name": ["[a]", '""', "{a: b}", '"a\\nb"', "12"],
    "uid": ["abc", "0", "-1", '"21000"', "1.5", "99999999999", "[1]"],
    "gid": ["x", "999", "true", "1" * 400],
    "contact": ["[a b]", "{a: b}", "[root]"],
    "instructors": ["{a: 1}", "12", "true"],
    "private": ["maybe", "1", '"true"', "[true]"],
    "archive": ["perhaps", "0"],
    "public_date": ["soon", "2026-02-30", "[2026-01-01]", "0001-01-01", "true"],
    "delete_date": ["never", "12"],
    "datadir": ["rw", "2"],
    "coursedir_slug": ["../x", "A", "[b]", "algo"],
    "image": ["NOSUCH", "[DEFAULT]", "12", "[DEFAULT, soon]", "-x", "[DEFAULT, 1999-01-01]"],
    "student_umask": ["27", '"9"', '"0700"', '"00000"'],
    "nbgrader_config": ['"x ="', "[a]", '"\\tif"'],
    "extra_student_groups": ["{a: 1}", "x"],
    "extra_student_groups[0]": ["[a]", "x", "[a, b, c]"],
    "extra_student_groups[0][1]": ["5", "abc"],
    "students[1]": ["12", "root", "A B", "[a]", "true", "2026-01-01"],
    "course_times[0].day": ["Foo", "12"],
    "course_times[0].from": ["25:99", "x"],
    "kubespawner_override.mem_limit": ["0", "-1", "many", "１２", "1e999", ".nan", "[1]"],
    "kubespawner_override.cpu_limit": ["0", "x", '"1e3"'],
    "kubespawner_override.environment.MARK": ["12", '"a\\0b"', "[a]"],
    "kubespawner_override.node_selector.disk": ["[a]", '"a/b"', "12"],
    "kubespawner_override.tolerations[0].key": ["12"],
    "kubespawner_override.cull_max_age": ["soon", "-1"],
}
COURSE_TEMPLATE = [
    ("name", "name: ¤"), ("uid", "uid: ¤"), ("gid", "gid: ¤"), ("contact", "contact: ¤"),
    ("instructors", "instructors: ¤"), ("private", "private: ¤"), ("archive", "archive: ¤"),
    ("public_date", "public_date: ¤"), ("delete_date", "delete_date: ¤"), ("datadir", "datadir: ¤"),
    ("coursedir_slug", "coursedir_slug: ¤"), ("image", "image: ¤"),
    ("student_umask", "student_umask: ¤"), ("nbgrader_config", "nbgrader_config: ¤"),
]  # fmt: skip
#: For keys inside others: the block, with the line of the key in it.
NESTED: dict[str, tuple[str, int]] = {
    "extra_student_groups": ("extra_student_groups: ¤", 0),
    "extra_student_groups[0]": ("extra_student_groups:\n- ¤", 1),
    "extra_student_groups[0][1]": ("extra_student_groups:\n  - - project\n    - ¤", 2),
    "students[1]": ("students:\n  - maija\n  - ¤\n  - otso", 2),
    "course_times[0].day": ('course_times:\n- day: ¤\n  from: "10:15"\n  to: "12:00"', 1),
    "course_times[0].from": ('course_times:\n- day: Mon\n  from: ¤\n  to: "12:00"', 2),
}
GOOD = {"name": "Algorithms", "uid": "21000", "gid": "21001", "contact": "ada", "private": "true",
        "instructors": "[ada]", "archive": "false", "public_date": "2026-09-01", "datadir": "true",
        "delete_date": "2027-01-01", "coursedir_slug": "other", "image": "DEFAULT",
        "student_umask": '"0027"', "nbgrader_config": '"x = 1"'}  # fmt: skip
#: Between keys: what is no key, also lines that only YAML counts as lines.
FILLERS = st.lists(
    st.sampled_from(
        ["", "# a comment", "# é", "x-note: |\n  two\n  lines",
         'x-odd: "NEL \x85 and LS \u2028 and PS \u2029"', "x-anchor: &a {b: 1}", "x-a: &a 1",
         "x-merge: {<<: {p: 1}, q: 2}", "x-long: [1,\n  2,\n\n  3]", "  ", "x-😀: 1"]
    ),
    max_size=4,
)  # fmt: skip


@pytest.mark.parametrize("unseen", ["\x85", "\u2028", "\u2029"])
def test_a_line_break_that_nobody_sees_is_told(unseen: str) -> None:
    source = f"name: X\n# a{unseen} comment\nuid: 21000\n".encode()
    (problem,) = read_course(source, Path("algo.yaml"), RULES).problems
    assert problem.line == 2
    assert f"U+{ord(unseen):04X}" in problem.message


@dataclass
class File:
    """A file that is being written line by line."""

    text: str = ""
    count: int = 0

    def add(self, block: str) -> int:
        """Append lines; the number of the first."""
        first = self.text.count("\n") + 1
        for line in block.split("\n"):
            if line.startswith("x-"):  # each key once
                self.count += 1
                line = f"x-{self.count}{line[2:]}"
            self.text += line + "\n"
        return first

    def ends(self, kind: str) -> bytes:
        """With these line ends."""
        bom = "\ufeff" if kind == "bom" else ""
        end = {"crlf": "\r\n", "cr": "\r"}.get(kind, "\n")
        return (bom + self.text.replace("\n", end)).encode()


ENDS = st.sampled_from(["lf", "crlf", "cr", "bom"])


def errors(problems: tuple[Problem, ...]) -> set[tuple[str, int]]:
    return {(p.key, p.line) for p in problems if p.is_error}


@st.composite
def broken_course(draw: st.DrawFn) -> tuple[bytes, str, int, str]:
    """A course file with one fault: bytes, key, line, and the bad value."""
    key = draw(st.sampled_from(sorted(COURSE)))
    bad = draw(st.sampled_from(COURSE[key]))
    file, line = File(), 0
    order = draw(st.permutations(COURSE_TEMPLATE))
    blocks = [(name, text.replace("¤", bad if name == key else GOOD[name])) for name, text in order]
    blocks = [(n, t) for n, t in blocks if n == key or draw(st.booleans())]
    if key in NESTED:
        at = draw(st.integers(0, len(blocks)))
        blocks.insert(at, (key, NESTED[key][0].replace("¤", bad)))
    elif "." in key:
        at = draw(st.integers(0, len(blocks)))
        blocks.insert(at, (key, _override(key, bad)))
    for name, text in blocks:
        for filler in draw(FILLERS):
            file.add(filler)
        first = file.add(text)
        if name == key:
            inner = NESTED[key][1] if key in NESTED else text.count("\n")
            line = first + inner
    return file.ends(draw(ENDS)), key, line, bad


def _override(key: str, bad: str) -> str:
    """``kubespawner_override`` with the bad value in its last line."""
    steps = key.split(".")
    if steps[1] == "tolerations[0]":
        return f"kubespawner_override:\n  tolerations:\n    - key: {bad}"
    lines = [f"{'  ' * depth}{step}:" for depth, step in enumerate(steps)]
    return "\n".join(lines) + f" {bad}"


@cases(400)
@given(broken_course())
def test_course_files(broken: tuple[bytes, str, int, str]) -> None:
    source, key, line, _ = broken
    found = errors(read_course(source, Path("algo.yaml"), RULES).problems)
    # A fault of a list may be told at the list or at its first item.
    assert {(k.removesuffix("[0]"), at) for k, at in found} == {(key.removesuffix("[0]"), line)}


@cases(150)
@given(st.data())
def test_users_files(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8))
    bad = data.draw(st.integers(0, len(names) - 1))
    file = File()
    for filler in data.draw(FILLERS):
        file.add(filler)
    first = file.add("students:")
    for index, name in enumerate(names):
        file.add(f"  - {'12' if index == bad else name}")
    source = file.ends(data.draw(ENDS))
    found = errors(read_users(source, Path("algo-users.yaml"), RULES).problems)
    assert found == {(f"students[{bad}]", first + bad + 1)}


#: File → key, block with `¤`, line of the key in the block, good value, bad values.
Others = list[tuple[str, str, int, str, list[str]]]
PEOPLE: Others = [
    ("groups.g1", "groups:\n  g1: ¤", 1, "30001", ["5", "x", '"30001"', "[1]"]),
    ("people.maija.uid", "people:\n  maija:\n    uid: ¤", 2, "21001", ["5", "x", "1.5", "null", "true"]),
]  # fmt: skip
IMAGES: Others = [
    ("families.R.title", "families:\n  R:\n    releases: {2026-01-01: }\n    title: ¤", 3, "R", ["[1]", '""', "12"]),
    ("families.R.prepull", "families:\n  R:\n    releases: {2026-01-01: }\n    prepull: ¤", 3, "true", ["x", "1"]),
    ("families.R.releases.2026-01-01.path", "families:\n  R:\n    releases:\n      2026-01-01:\n        path: ¤",
     4, "a", ["[1]", '"a\\nb"', '"a\\0b"', "12"]),
]  # fmt: skip
SITE: Others = [
    ("name", "name: ¤", 0, "X", ["12", '"a\\nb"', '""', "[a]"]),
    ("timezone", "timezone: ¤", 0, "Europe/Helsinki", ["Mars", "12", "../etc/passwd", '"a\\0"']),
    ("servers.mem_limit", "servers:\n  mem_limit: ¤", 1, "3G", ["x", "-1", "0", "１２", "9" * 400, ".inf"]),
    ("hub.port", "hub:\n  port: ¤", 1, "8000", ["0", "x", "99999", '"8000"', "1.5"]),
    ("people.administrators[1]", "people:\n  administrators:\n    - ada\n    - ¤", 3, "bo", ["root", "12", "A"]),
    ("people.users_group.gid", "people:\n  users_group:\n    name: users\n    gid: ¤", 3, "20000", ["5", "x"]),
    ("storage.public_root", "storage:\n  public_root: ¤", 1, "/m/x", ["x", "/", "/a/../b", "12"]),
    ("environments.py.name", "environments:\n  py:\n    name: ¤", 2, "Py", ["12", '""', '"a\\nb"']),
    ("proxy.trusted_proxies[0]", "proxy:\n  trusted_proxies:\n  - ¤", 2, "192.0.2.1", ["x", "0.0.0.0/0", "12"]),
    ("backend", "backend: ¤", 0, "sandbox", ["x", "12", "null"]),
]  # fmt: skip


def check_people(place: Path) -> tuple[Problem, ...]:
    load_people(place / "file.yaml", PeopleSettings())
    return ()


def check_images(place: Path) -> tuple[Problem, ...]:
    load_catalog(Site(folder=place, images=Path("file.yaml"), environments={}))
    return ()


def check_site_file(place: Path) -> tuple[Problem, ...]:
    (place / "file.yaml").rename(place / "courseyard.yaml")
    return check_site(place)[1]


def try_one(
    data: st.DataObject, others: Others, check: Callable[[Path], tuple[Problem, ...]]
) -> None:
    key, block, inner, _, bad = data.draw(st.sampled_from(others))
    blocks: list[Any] = [(key, block, data.draw(st.sampled_from(bad)))]
    top = key.split(".")[0]
    for name, other, _, good, _ in others:
        taken = {b[0].split(".")[0] for b in blocks}
        if (
            name.split(".")[0] not in taken
            and name.split(".")[0] != top
            and data.draw(st.booleans())
        ):
            blocks.append((name, other, good))
    file, line = File(), 0
    for name, text, value in data.draw(st.permutations(blocks)):
        if others is SITE:
            for filler in data.draw(FILLERS):
                file.add(filler)
        else:
            file.add("# é\n")
        first = file.add(text.replace("¤", value))
        if name == key:
            line = first + inner
    with tempfile.TemporaryDirectory(prefix="cy-fuzz-") as folder:
        (Path(folder) / "file.yaml").write_bytes(file.ends(data.draw(ENDS)))
        try:
            found = errors(check(Path(folder)))
        except SettingsError as error:
            found = errors(error.problems)
    assert found == {(key, line)}


@cases(150)
@given(st.data())
def test_the_people_file(data: st.DataObject) -> None:
    try_one(data, PEOPLE, check_people)


@cases(150)
@given(st.data())
def test_the_list_of_images(data: st.DataObject) -> None:
    try_one(data, IMAGES, check_images)


@cases(300)
@given(st.data())
def test_the_site_file(data: st.DataObject) -> None:
    try_one(data, SITE, check_site_file)
