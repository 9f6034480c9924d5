"""A course on disk with its people, each able to run nbgrader as the plan configures it.

As root everyone has a UID of their own; as an ordinary user all share one, and what only
different UIDs can show is left out.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from courseyard.backends.sandbox import grading
from courseyard.images.build import build_image
from courseyard.plan.model import StorageKind, StorageNeed
from courseyard.plan.nbgrader import EXCHANGE_PARTS, fixed
from courseyard.settings import GRADING_UIDS
from courseyard.singleuser import configuration
from courseyard.storage.apply import ensure
from tests.conftest import bubblewrap

REPOSITORY = Path(__file__).parents[2]
UNIVERSITY = REPOSITORY / "examples" / "university"
PROGRAM = REPOSITORY / "src" / "courseyard" / "singleuser"
AS_ROOT = os.geteuid() == 0
COURSE, GROUP, USERS = "algo2026", 21001, 20000
INSTRUCTORS = {"ada": 20001, "tomas": 20002}
STUDENTS = {"maija": 20003, "omar": 20004}


@dataclass(frozen=True)
class Actor:
    """One person, running programs as in a server of theirs."""

    name: str
    uid: int
    gid: int
    umask: int
    folder: Path  # home and notebooks
    image: Path

    @property
    def notebooks(self) -> Path:
        return self.folder / "notebooks"

    @property
    def grading(self) -> str:
        """Where the runner for grading answers, as programs are told."""
        return f"unix:{self.folder / 'grading' / 'socket'}"

    def run(self, *command: str, ok: bool = True) -> str:
        """Run ``command`` in the notebooks folder; its output."""
        home = self.folder / "home"
        env = {
            "HOME": str(home),
            "USER": self.name,
            "LOGNAME": self.name,
            "PATH": f"{self.image}/bin:/usr/bin:/bin",
            "JUPYTER_CONFIG_PATH": str(home / ".courseyard" / "jupyter"),
            "LANG": "C.UTF-8",
            "TZ": "Europe/Helsinki",
            "COURSEYARD_GRADING": self.grading,
        }
        done = subprocess.run(
            [*self.as_myself(), *command],
            cwd=self.notebooks,
            env=env,
            umask=self.umask,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=240,
            check=False,
        )
        if ok:
            assert done.returncode == 0, f"{self.name}: {command}:\n{done.stdout}"
        return str(done.stdout)

    def as_myself(self, other: int = 0) -> list[str]:
        """Words that run a command as this person, under a passwd file that knows the name.

        Args:
            other: a UID in the place of the person's, where there are several.
        """
        passwd = self.folder / "passwd"
        uid = self.uid if AS_ROOT else os.geteuid()
        passwd.write_text(
            f"{self.name}:x:{uid}:{self.gid}:{self.name.title()}:{self.folder / 'home'}:/bin/sh\n"
        )
        if not AS_ROOT:
            return [bubblewrap(), "--dev-bind", "/", "/", "--ro-bind", str(passwd), "/etc/passwd"]
        # A mount namespace by root, so that every UID and GID stays real.
        script = 'mount --bind "$0" /etc/passwd && exec "$@"'
        drop = [
            "setpriv",
            f"--reuid={other or self.uid}",
            f"--regid={self.gid}",
            f"--groups={USERS}",
        ]
        return ["unshare", "--mount", "sh", "-c", script, str(passwd), *drop, "--no-new-privs"]

    @contextlib.contextmanager
    def sandbox(self) -> Iterator[None]:
        """The runner for grading in namespaces of its own, as an agent starts it beside a server."""
        uid = self.uid if AS_ROOT else None
        with socket.socket(socket.AF_UNIX) as listening:
            grading.listen(listening, self.folder / "grading", uid)
            number = listening.fileno()
            process = subprocess.Popen(
                [*self.as_myself(GRADING_UIDS[self.uid]), bubblewrap(), "--unshare-all", "--as-pid-1", "--die-with-parent",
                 "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev",
                 "--tmpfs", "/dev/shm", "--remount-ro", "/dev", "--tmpfs", "/tmp",
                 "--ro-bind", str(self.image), str(self.image),
                 "--ro-bind", str(PROGRAM), "/mnt",
                 str(self.image / "bin" / "python"), "-I", "/mnt/grading/runner.py"],
                env={"PATH": "/usr/bin:/bin", "COURSEYARD_SOCKET_FD": str(number)},
                pass_fds=[number],
            )  # fmt: skip
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def nbgrader(self, *words: str, ok: bool = True) -> str:
        return self.run("nbgrader", *words, ok=ok)

    def python(self, code: str) -> str:
        return self.run(str(self.image / "bin" / "python"), "-c", code)


@dataclass(frozen=True)
class Place:
    """The course's directories and its people."""

    course: Path
    exchange: Path
    people: dict[str, Actor]

    def __getattr__(self, name: str) -> Actor:
        try:
            return self.people[name]
        except KeyError:
            raise AttributeError(name) from None


@pytest.fixture(scope="session")
def image() -> Path:
    """The example's image; built once for this account, or the one in COURSEYARD_TEST_IMAGE."""
    given = os.environ.get("COURSEYARD_TEST_IMAGE")
    if given:
        return Path(given)
    account = pwd.getpwuid(os.geteuid()).pw_name
    folder = Path(tempfile.gettempdir()) / f"courseyard-images-{account}"
    folder.mkdir(mode=0o755, exist_ok=True)
    assert folder.stat().st_uid == os.geteuid(), f"{folder} belongs to somebody else"
    (lock,) = (UNIVERSITY / "images").glob("python-*.txt")
    shutil.copyfile(lock, folder / lock.name)
    return build_image(folder / lock.stem).path


@pytest.fixture(scope="module")
def place(image: Path) -> Iterator[Place]:
    top = Path(tempfile.mkdtemp(prefix="courseyard-nbgrader-"))
    top.chmod(0o755)
    uid, gid = (GROUP, GROUP) if AS_ROOT else (os.geteuid(), os.getegid())
    of_course = {"slug": COURSE, "uid": uid, "gid": gid}
    needs = [
        StorageNeed(kind=StorageKind.COURSE, gradebook=True, **of_course),
        StorageNeed(kind=StorageKind.EXCHANGE, **of_course),
        *(
            StorageNeed(
                kind=StorageKind.COURSE_MEMBER, slug=COURSE, username=name, uid=number, gid=gid
            )
            for name, number in STUDENTS.items()
        ),
    ]
    root = top / "storage"
    ensure(root, needs)
    course, exchange = root / "course" / COURSE / "files", root / "exchange" / COURSE
    shutil.copytree(
        UNIVERSITY / "course" / COURSE / "files" / "source", course / "source", dirs_exist_ok=True
    )
    _own(course / "source", uid, gid, 0o2770)
    people = {}
    for name, number in (INSTRUCTORS | STUDENTS).items():
        teaches = name in INSTRUCTORS
        folder = top / name
        _configure(folder, course, exchange, teaches=teaches)
        if AS_ROOT:
            _own(folder, number, USERS, 0o700)
        group = GROUP if teaches else USERS
        umask = 0o007 if teaches else 0o022
        people[name] = Actor(name, number, group, umask, folder, image)
    with contextlib.ExitStack() as sandboxes:
        for name in INSTRUCTORS:
            sandboxes.enter_context(people[name].sandbox())
        yield Place(course, exchange, people)
    shutil.rmtree(top)


def _own(top: Path, uid: int, gid: int, folders: int) -> None:
    for path in (top, *top.rglob("*")):
        os.chown(path, uid, gid)
        path.chmod(folders if path.is_dir() else folders & 0o660)


def _configure(folder: Path, course: Path, exchange: Path, *, teaches: bool) -> None:
    """What the start program writes from a plan, with these folders in the place of /course, …."""
    (folder / "notebooks").mkdir(parents=True)
    config = {
        "CourseDirectory": {"root": str(course), "course_id": COURSE, "groupshared": True},
        "Exchange": {
            "root": str(exchange),
            "assignment_dir": f"{folder / 'notebooks'}/",
            "path_includes_course": True,
            "timezone": "Europe/Helsinki",
        },
        "ExchangeFactory": dict(EXCHANGE_PARTS),
        "Execute": {"timeout": 240},
        "Validator": {"validate_all": True},
    }
    if teaches:
        config["NbGraderAPI"] = {
            "timezone": "Europe/Helsinki",
            "timestamp_format": "%Y-%m-%d %H:%M",
        }
        config["CourseDirectory"]["db_url"] = f"sqlite:///{course}/gradebook.db?timeout=60"
    plan = {
        "default_url": "/lab",
        "start_folder": str(folder / "notebooks"),
        "nbgrader": {
            "config": config,
            "extra_lines": "",
            "fixed": fixed(str(course.parent / "people")) if teaches else {},
            "append_file": str(course / "etc.jupyter.nbgrader_config.py.append") if teaches else "",
            "formgrader": teaches,
            "create_assignment": teaches,
            "assignment_list": True,
            "validate_assignment": True,
        },
    }
    configuration.write(plan, folder / "home" / ".courseyard", PROGRAM)
