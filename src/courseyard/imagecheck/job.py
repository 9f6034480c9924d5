"""What is checked in an image: a folder ("kit") with the program, the job and the courses' files."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from courseyard.access import CLOSED, Target
from courseyard.errors import PlanError
from courseyard.images.build import CHECKED, normal
from courseyard.images.catalog import Release
from courseyard.images.model import ImageWish
from courseyard.inside import RefusedFileError, opened_inside
from courseyard.people.person import Person
from courseyard.plan.build import Known, image_wishes, plan_server
from courseyard.plan.model import Mount, Nbgrader, ServerPlan
from courseyard.plan.mounts import COURSE, COURSEDATA, EXCHANGE, NOTEBOOKS, PEOPLE
from courseyard.registry.course import Course
from courseyard.registry.lifecycle import state
from courseyard.settings import GroupSetting, PeopleSettings, Site
from courseyard.yamlfile import VanishedError, read_bytes

#: What every image must have; beside it all that the `.in` file of its lock file names.
NEEDED = ("jupyterhub", "jupyter-server", "jupyterlab", "notebook", "nbgrader", "ipykernel")
#: Nobody: the tests see no storage, so it owns nothing.
CHECKER = Person(username="checker", uid=65532, gid=65532, full_name="Image check")
COURSE_ID = "image-check"
#: Where the kit is shown in a sandbox and in a pod.
KIT = "/srv/check"
#: What the image's Python runs (after ``-I``).
COMMAND = (
    "-c",
    "import sys; sys.path.insert(0, sys.argv[1])\n"
    "from inside.main import main; sys.path.pop(0); main(sys.argv[1])",
    KIT,
)
#: Folders of a server that the tests write to: name in a scratch folder → place inside.
SCRATCH = {
    "notebooks": NOTEBOOKS,
    "course": COURSE,
    "coursedata": COURSEDATA,
    "exchange": EXCHANGE,
    "people": PEOPLE,
}
_INSIDE = Path(__file__).parent / "inside"
#: Folders of a course directory whose notebooks are nobody's example.
_NOT_EXAMPLES = {".ipynb_checkpoints", "submitted", "autograded", "feedback"}
_CELL_SECONDS = 240  # that one cell may take, as in autograding


@dataclass(frozen=True, slots=True)
class Job:
    """The tests of one image."""

    release: Release
    student: ServerPlan
    instructor: ServerPlan
    courses: tuple[Course, ...]  # that get this image


def make_job(site: Site, known: Known, release: Release, now: datetime) -> Job:
    """What to check in ``release``, with the configuration that a course's servers would have."""
    # Whatever the site says about names and numbers of its people: this is none of them.
    group = GroupSetting(name=CHECKER.username, gid=CHECKER.gid)
    site = site.model_copy(update={"people": PeopleSettings(users_group=group)})
    course = Course(
        slug=COURSE_ID,
        name="Image check",
        uid=CHECKER.uid,
        gid=CHECKER.uid,
        instructors=frozenset({CHECKER.username}),
        datadir=True,
        datadir_readwrite=True,
        image=ImageWish(reference=release.reference),
    )
    alone = Known({COURSE_ID: course}, known.catalog)

    def plan(target: str) -> ServerPlan:
        made = plan_server(site, alone, CHECKER, Target.parse(target), now)
        image = made.image.model_copy(update={"path": release.path})
        mounts = tuple(
            Mount(target=place, source=name, writable=True, reason="for the tests")
            for name, place in SCRATCH.items()
        )
        changes = {
            "image": image,
            "mounts": mounts,
            "storage": (),
            "network": "none",
            "nbgrader": _graded_here(made.nbgrader),
            "grading": None,
        }
        return made.model_copy(update=changes)

    courses = courses_of(site, known, release, now)
    return Job(release, plan(COURSE_ID), plan(f"{COURSE_ID}-instructor"), tuple(courses))


def _graded_here(nbgrader: Nbgrader | None) -> Nbgrader | None:
    """The tests' own assignment is graded without a second sandbox: no student wrote it."""
    if nbgrader is None:
        return None
    fixed = {name: traits for name, traits in nbgrader.fixed.items() if name != "Autograde"}
    return nbgrader.model_copy(update={"fixed": fixed})


def courses_of(site: Site, known: Known, release: Release, now: datetime) -> Iterator[Course]:
    """Courses that are not over whose students or instructors get ``release``."""
    for _, course in sorted(known.courses.items()):
        if state(course, now, site.tz) in CLOSED:
            continue
        for wish in image_wishes(course):
            try:
                given = known.catalog.resolve(wish)
            except PlanError:
                continue  # the course's own mistake, which `courseyard check` tells
            if (given.reference, given.path) == (release.reference, release.path):
                yield course
                break


def write_kit(folder: Path, site: Site, job: Job) -> None:
    """Write all that the tests need into ``folder``, readable by everyone.

    Raises:
        OSError: the disk is full, or the site's files cannot be read.
    """
    shutil.copytree(_INSIDE, folder / "inside", ignore=shutil.ignore_patterns("__pycache__"))
    content = {
        "hub": version("jupyterhub"),
        "packages": packages(job.release.path),
        "plans": {
            "student": json.loads(job.student.to_json()),
            "instructor": json.loads(job.instructor.to_json()),
        },
        "places": SCRATCH,
        "course_id": COURSE_ID,
        "username": CHECKER.username,
        "cell_seconds": _CELL_SECONDS,
        "courses": [_course(folder / "courses", site, course) for course in job.courses],
    }
    (folder / "job.json").write_text(json.dumps(content), encoding="utf-8")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _course(folder: Path, site: Site, course: Course) -> dict[str, Any]:
    """Copy the files of a course below ``folder``; what is to be run of them."""
    slug = course.directory_slug
    target = folder / slug
    if not target.exists():  # a variant has those of another course
        _copy(site.folder / "course" / slug, target)
    notebooks = (*_notebooks(target / "files"), *_notebooks(target / "data"))
    smoke = sorted((target / "smoke").glob("*.py"))
    return {
        "slug": course.slug,
        "files": slug,
        "notebooks": [str(path.relative_to(target)) for path in notebooks],
        "smoke": [str(path.relative_to(target)) for path in smoke],
    }


def packages(image: Path | None) -> dict[str, str]:
    """Distribution → module to import; "" for those that it has itself."""
    names = dict.fromkeys((*NEEDED, *(required(image) if image else ())))
    return {name: CHECKED.get(name, "") for name in names}


def required(image: Path) -> list[str]:
    """What the `.in` file beside ``image``, from which its lock file was made, names; if it is there."""
    try:
        text = read_bytes(image.with_name(f"{image.name}.in")).decode()
    except VanishedError:
        return []
    return [normal(name) for name in re.findall(r"(?m)^([A-Za-z0-9][A-Za-z0-9._-]*)", text)]


def _copy(source: Path, target: Path, top: Path | None = None) -> None:
    """Plain files and folders of a course; a link could lead anywhere on this machine."""
    top = source if top is None else top
    target.mkdir(parents=True)
    if not source.is_dir():
        return
    for item in sorted(source.iterdir()):
        if item.is_symlink():
            continue
        if item.is_dir():
            _copy(item, target / item.name, top)
        elif item.is_file():
            _copy_file(item, target / item.name, top)


def _copy_file(source: Path, target: Path, top: Path) -> None:
    with (
        suppress(RefusedFileError),  # it became a link just now
        opened_inside(source, within=top) as number,
        open(number, "rb", closefd=False) as file,
        target.open("wb") as copy,
    ):
        shutil.copyfileobj(file, copy)


def _notebooks(top: Path) -> list[Path]:
    found = sorted(top.rglob("*.ipynb"))
    return [path for path in found if not _NOT_EXAMPLES & set(path.relative_to(top).parts)]
