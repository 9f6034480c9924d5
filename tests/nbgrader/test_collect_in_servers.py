"""Handing in and collecting between real servers, with plans as the site makes them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from courseyard.access import Target
from courseyard.backends.sandbox import launch, namespaces
from courseyard.images.catalog import load_catalog
from courseyard.people import open_people
from courseyard.plan.build import Known, plan_server
from courseyard.registry.watch import Registry
from tests.conftest import PROBE
from tests.nbgrader.conftest import AS_ROOT, COURSE, PROGRAM, UNIVERSITY

NOW = datetime(2026, 11, 2, 10, tzinfo=UTC)
INBOUND = f"/srv/nbgrader/exchange/{COURSE}/inbound"
RUN = """
import json, os, pathlib, subprocess, sys
sys.path.insert(0, "/opt/courseyard")
from singleuser import configuration
plan = json.loads(pathlib.Path("/etc/courseyard/plan.json").read_text())
folder = pathlib.Path(os.environ["HOME"], ".courseyard")
found = configuration.write(plan, folder, pathlib.Path("/opt/courseyard/singleuser"))
done = subprocess.run(WORDS, cwd="/notebooks", env={**os.environ, "JUPYTER_CONFIG_PATH": str(found)},
                      text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
value = done.stdout
"""


@pytest.fixture(scope="module")
def servers(
    make_yard: Callable[..., Any], image: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Callable[..., str]]]:
    """For each person a function that runs a program in their server."""
    yard = make_yard(UNIVERSITY)
    ours = yard.folder / "images" / image.name
    shutil.rmtree(ours)
    ours.symlink_to(image)
    shutil.copyfile(image.with_suffix(".txt"), ours.with_suffix(".txt"))
    program = yard.folder / "program" / "singleuser"
    shutil.copytree(PROGRAM, program)
    (program / "start.py").write_text(PROBE)
    before = launch.PROGRAMS
    launch.PROGRAMS = namespaces.Programs(str(program), before.become)
    catalog = load_catalog(yard.site)
    known = Known(Registry(yard.site, catalog).refresh().courses, catalog)
    people = open_people(yard.site)
    found: dict[str, Callable[..., str]] = {}
    handles = []
    try:
        for name, target in (
            ("ada", f"{COURSE}-instructor"),
            ("maija", COURSE),
            ("omar", COURSE),
        ):
            person = people.get_now(name)
            inside = yard.start(plan_server(yard.site, known, person, Target.parse(target), NOW))
            handles.append(inside.handle)

            def run(*words: str, inside: Any = inside) -> str:
                return str(inside.run(RUN.replace("WORDS", repr(words)), timeout=200))

            found[name] = run
        source = UNIVERSITY / "course" / COURSE / "files" / "source"
        shutil.copytree(
            source, yard.storage / "course" / COURSE / "files" / "source", dirs_exist_ok=True
        )
        yield found
    finally:
        launch.PROGRAMS = before
        for handle in handles:
            yard.stop(handle, now=True)


def test_between_servers(servers: dict[str, Callable[..., str]]) -> None:
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
    servers: dict[str, Callable[..., str]],
) -> None:
    found = servers["ada"]("ls", "/srv/nbgrader/people").split()
    assert found == (["20003.maija", "20004.omar"] if AS_ROOT else [])
    assert "cannot" in servers["ada"]("mkdir", "/srv/nbgrader/people/20004.maija")
    for student in ("maija", "omar"):
        assert "No such file" in servers[student]("ls", "/srv/nbgrader/people")
        assert "No such file" in servers[student]("ls", "/course")
