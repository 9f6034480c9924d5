"""Servers of one course as an agent starts them, in which nbgrader's programs run."""

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
from tests.nbgrader.conftest import COURSE, PROGRAM, UNIVERSITY

NOW = datetime(2026, 11, 2, 10, tzinfo=UTC)
MEMORY = 800 * 1024**2  # bytes that each may use
#: A function for each person: runs a program in their server, gives what it wrote.
Servers = dict[str, Callable[..., str]]
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
) -> Iterator[Servers]:
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
    found: Servers = {}
    handles = []
    try:
        for name, target in (
            ("ada", f"{COURSE}-instructor"),
            ("maija", COURSE),
            ("omar", COURSE),
        ):
            person = people.get_now(name)
            plan = plan_server(yard.site, known, person, Target.parse(target), NOW)
            limits = plan.limits.model_copy(update={"mem_limit": MEMORY})
            inside = yard.start(plan.model_copy(update={"limits": limits}))
            handles.append(inside.handle)

            def run(*words: str, inside: Any = inside) -> str:
                return str(inside.run(RUN.replace("WORDS", repr(words)), timeout=200))

            found[name] = run
        source = yard.storage / "course" / COURSE / "files" / "source"
        shutil.copytree(UNIVERSITY / source.relative_to(yard.storage), source, dirs_exist_ok=True)
        (source / "week1" / "numbers.csv").write_text("42\n")
        yield found
    finally:
        launch.PROGRAMS = before
        for handle in handles:
            yard.stop(handle, now=True)
