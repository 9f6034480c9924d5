"""The people file and the machine's own users."""

from __future__ import annotations

import grp
import os
import pwd
import time
from pathlib import Path

import pytest

from courseyard.errors import SettingsError
from courseyard.people import open_people
from courseyard.people.nss import NssSource
from courseyard.people.person import Group, Person
from courseyard.people.static import StaticSource, load_people
from courseyard.settings import PeopleSettings, Site

GOOD = """\
groups:
  jupyter-algo: 30001
people:
  maija:
    uid: 21001
    name: "Maija \\"the teacher\\" O'Neil"
    email: maija@example.org
    groups: [jupyter-algo]
  olli: {uid: 21002, gid: 20500}
"""
SETTINGS = PeopleSettings()


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "people.yaml"
    file.write_text(text)
    return file


def test_a_good_file(tmp_path: Path) -> None:
    assert load_people(write(tmp_path, GOOD), SETTINGS) == {
        "maija": Person(
            "maija",
            21001,
            20000,
            frozenset({Group("jupyter-algo", 30001)}),
            'Maija "the teacher" O\'Neil',
            "maija@example.org",
        ),
        "olli": Person("olli", 21002, 20500),
    }


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("people: {root: {uid: 21001}}", "1: people.root", "never a user"),
        ("people:\n  sys: {uid: 999}", "2: people.sys.uid", "must be 1000 to"),
        ("people:\n  zero: {uid: 0}", "2: people.zero.uid", "must be 1000 to"),
        ("people:\n  a: {uid: '21001'}", "2: people.a.uid", "remove the quotes"),
        ("people:\n  a: {uid: true}", "2: people.a.uid", "whole number"),
        ("people:\n  a: {name: A}", "2: people.a", "has no `uid`"),
        ("people:\n  A: {uid: 21001}", "2: people.A", "username_pattern"),
        ("people:\n  ../x: {uid: 21001}", "2: people.../x", "username_pattern"),
        ("people:\n  a: {uid: 21001, grops: []}", "2: people.a.grops", "did you mean groups?"),
        ("people:\n  a: {uid: 21001}\n  b: {uid: 21001}", "3: people.b.uid", "a has this UID too"),
        ("people:\n  a: {uid: 21001, groups: [x]}", "2: people.a.groups[0]", "no group 'x'; add"),
        (
            "groups: {jupyter-algo: 30001}\npeople:\n  a:\n    uid: 21001\n    groups:\n"
            "    - jupyter-allgo",
            "6: people.a.groups[0]",
            "did you mean jupyter-algo?",
        ),
        ("groups: {sudo: 27}", "1: groups.sudo", "must be 1000 to"),
        ("groups: {users: 30000}", "1: groups.users", "`people.users_group` of the site"),
        ("groups: {a b: 30000}", "1: groups.a b", "small letters"),
        ("people:\n  a: {uid: 21001, email: nope}", "2: people.a.email", "not an e-mail"),
        ('people:\n  a: {uid: 21001, name: "x\\nroot:x:0"}', "2: people.a.name", "one line"),
        ("people:\n  a: {uid: 21001, name: 5}", "2: people.a.name", "must be text"),
        ("people: [a]", "1: people", "`key: value`"),
        ("poeple: {}", "1: poeple", "did you mean people?"),
        ("people:\n  a: {uid: 1\n", "2", ""),
    ],
)
def test_every_problem_names_file_line_and_key(
    tmp_path: Path, text: str, where: str, message: str
) -> None:
    file = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_people(file, SETTINGS)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{file}:{where}: ")
    assert message in problem.message


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_people(write(tmp_path, "people:\n  a: {uid: 1}\n  B: {uid: x}\n"), SETTINGS)
    assert [p.line for p in caught.value.problems] == [2, 3, 3]


def test_a_changed_file_acts_and_a_broken_one_leaves_the_last_good(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    source = StaticSource(file, SETTINGS)
    file.write_text(GOOD.replace("21002", "21003"))
    os.utime(file, ns=(time.time_ns(), time.time_ns() + 1))
    olli = source.look_up("olli")
    assert olli is not None
    assert olli.uid == 21003
    file.write_text("people: [")
    assert source.look_up("olli") == olli
    file.unlink()
    assert source.look_up("olli") == olli
    assert source.look_up("nobody-here") is None


def test_open_people_reads_the_sites_file(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    assert open_people(Site(folder=tmp_path)).get_now("maija").uid == 21001
    with pytest.raises(SettingsError):
        open_people(Site(folder=tmp_path / "elsewhere"))


def test_the_machines_users_as_id_sees_them() -> None:
    me = pwd.getpwuid(os.getuid())
    person = NssSource().look_up(me.pw_name)
    assert person is not None
    assert (person.uid, person.gid) == (me.pw_uid, me.pw_gid)
    wanted = set(os.getgrouplist(me.pw_name, me.pw_gid)) - {me.pw_gid}
    assert {group.gid for group in person.groups} == wanted
    for group in person.groups:
        assert grp.getgrgid(group.gid).gr_name == group.name
    assert person.email == ""
    assert NssSource().look_up("no-such-user-here") is None


def test_open_people_nss() -> None:
    people = open_people(Site(people=PeopleSettings(source="nss")))
    entry = next((e for e in pwd.getpwall() if 1000 <= e.pw_uid < 60000), None)
    if entry is None:
        pytest.skip("this machine has no ordinary account")
    assert people.get_now(entry.pw_name).uid == entry.pw_uid
