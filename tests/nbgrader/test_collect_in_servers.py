"""Handing in and collecting between real servers, with plans as the site makes them."""

from __future__ import annotations

from tests.nbgrader.conftest import AS_ROOT, COURSE
from tests.nbgrader.servers import Servers
from tests.nbgrader.servers import servers as servers  # the fixture

INBOUND = f"/srv/nbgrader/exchange/{COURSE}/inbound"


def test_between_servers(servers: Servers) -> None:
    ada, maija, omar = (servers[name] for name in ("ada", "maija", "omar"))
    ada("nbgrader", "generate_assignment", "week1")
    ada("nbgrader", "release_assignment", "week1")
    for student in (maija, omar):
        student("nbgrader", "fetch_assignment", "week1")
    assert "Submitted as" in maija("nbgrader", "submit", "week1")
    folder = f"{INBOUND}/{{}}+week1+2099-01-01 10:00:00.000000 EET+x"
    script = 'mkdir "$0" && cd "$0" && echo evil > sorting.ipynb && echo x > submission_secret.txt'
    assert omar("sh", "-c", script, folder.format("maija")) == ""
    linking = 'mkdir "$0" && cd "$0" && ln -s /course/gradebook.db sorting.ipynb'
    assert omar("sh", "-c", linking, folder.format("omar")) == ""
    said = ada("nbgrader", "collect", "week1")
    assert "cheating" not in said
    refused = [line for line in said.splitlines() if "ERROR]" in line]
    assert any("'omar'" in line and "sorting.ipynb is a symbolic link" in line for line in refused)
    # One account for all cannot tell people apart, and says so.
    assert any("'maija'" in line and "by omar" in line for line in refused) == AS_ROOT
    assert ("Who handed in is not checked" in said) != AS_ROOT
    got = ada("sh", "-c", "cd /course/submitted; find . -name sorting.ipynb; cat */*/sorting.ipynb")
    assert ("./maija/week1/sorting.ipynb" in got, "./omar" in got) == (True, False)
    assert ("evil" not in got) == AS_ROOT


def test_who_takes_the_course_is_seen_by_instructors_alone(
    servers: Servers,
) -> None:
    found = servers["ada"]("ls", "/srv/nbgrader/people").split()
    assert found == (["20003.maija", "20004.omar"] if AS_ROOT else [])
    assert "cannot" in servers["ada"]("mkdir", "/srv/nbgrader/people/20004.maija")
    for student in ("maija", "omar"):
        assert "No such file" in servers[student]("ls", "/srv/nbgrader/people")
        assert "No such file" in servers[student]("ls", "/course")
