"""Fixtures for all tests: what a machine must have, and a real agent with real servers.

``require(part)`` skips with one line that names what is missing; where ``CI=true`` a missing part
fails instead. A second run as an ordinary user says so by ``COURSEYARD_TEST_ACCOUNT=ordinary``:
then the tests that need root are skipped there as well.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = os.geteuid() == 0
#: When plans of the example university are made: dates of its courses act.
EXAMPLE_NOW = datetime(2026, 11, 2, 10, tzinfo=UTC)
PARTS: dict[str, tuple[Callable[[], bool], str]] = {
    "root": (lambda: ROOT, "run as root"),
    "bubblewrap": (lambda: bool(bubblewrap()), "apt install bubblewrap"),
    "cgroup": (lambda: _cgroup(), "cgroups with memory, cpu and pids that this user may make"),
    "slirp4netns": (
        lambda: shutil.which("slirp4netns") is not None and os.access("/dev/net/tun", os.W_OK),
        "apt install slirp4netns; chmod 666 /dev/net/tun",
    ),
    "git": (lambda: shutil.which("git") is not None, "apt install git"),
    "postgresql": (lambda: _postgresql(), "apt install postgresql"),
    "cluster": (
        lambda: _cluster(),
        "KUBECONFIG and kubectl, or run as root beside ../shared/cluster",
    ),
}


def bubblewrap() -> str:
    """The path of the one that a site here would use, the system's or the locked package's; "" without."""
    from courseyard.backends.sandbox import machine
    from courseyard.errors import UnsupportedError

    try:
        return machine.bubblewrap()
    except UnsupportedError:
        return ""


def _cgroup() -> bool:
    from courseyard.backends.sandbox import limits

    return limits.detect().version > 0


def _postgresql() -> bool:
    from tests.cluster import postgres

    return postgres.programs() is not None


def _cluster() -> bool:
    from tests.cluster import rig

    return rig.usable()


def require(part: str) -> None:
    """Skip (fail where ``CI=true``) when this machine lacks ``part``."""
    has, how = PARTS[part]
    if has():
        return
    message = f"needs {part}: {how}"
    second_run = os.environ.get("COURSEYARD_TEST_ACCOUNT") == "ordinary"
    if os.environ.get("CI") == "true" and not (
        part in ("root", "cgroup", "slirp4netns", "cluster") and second_run
    ):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(name="require", scope="session")
def _require() -> Callable[[str], None]:
    return require


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """A command that runs in this process sets the level of all logs; the next test has it back."""
    root = logging.getLogger()
    before = root.level
    yield
    root.setLevel(before)


PROBE = """
import contextlib, http.server, io, json, os, socket, traceback
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        code = self.rfile.read(int(self.headers["Content-Length"])).decode()
        space = {}
        try:
            exec(code, space)
            answer = {"value": space.get("value")}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        body = json.dumps(answer).encode()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
class Server(http.server.ThreadingHTTPServer):
    def server_bind(self): pass
server = Server(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=int(os.environ["COURSEYARD_SOCKET_FD"]))
print("probe ready", flush=True)
server.serve_forever()
"""


class Inside:
    """A probe process inside a started server: runs Python and answers what ``value`` became."""

    def __init__(self, handle: str, port: int) -> None:
        self.handle = handle
        self.port = port

    def run(self, code: str, timeout: float = 30) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", code.encode())
        for _ in range(100):
            try:
                with urllib.request.urlopen(request, timeout=timeout) as reply:
                    answer = json.load(reply)
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["value"]


#: Who plans by hand are for (``make_plan``), and the one course that they are of.
ALGO: dict[str, Any] = {
    "name": "Algorithms", "uid": 20500, "gid": 20500, "datadir": True,
    "extra_student_groups": [["extra", 20777]],
    "extra_instructor_groups": [["extra", 20777]],
}  # fmt: skip


class Census:
    """What the files of yards say of people: who a plan was ever made for, in every yard."""

    def __init__(self) -> None:
        self.folders: list[Path] = []
        self.people: dict[str, int] = {}
        self.instructors: set[str] = set()

    def add(self, username: str, uid: int, *, teaching: bool) -> None:
        before = (dict(self.people), len(self.instructors))
        if username not in self.people:  # the first one stands: a forged one is nobody's
            # Suites that share a run may give one UID to two names; no file of people may.
            self.people = {name: known for name, known in self.people.items() if known != uid}
            self.people[username] = uid
        if teaching:
            self.instructors.add(username)
        if (self.people, len(self.instructors)) != before:
            for folder in self.folders:
                self.write(folder)

    def write(self, folder: Path) -> None:
        people = {name: {"uid": uid} for name, uid in self.people.items()}
        (folder / "courses").mkdir(exist_ok=True)
        course = ALGO | {"instructors": sorted(self.instructors)}
        for name, content in (("people", {"people": people}), ("courses/algo", course)):
            fresh = folder / f"{name}.new"
            fresh.write_text(json.dumps(content))  # which is YAML
            fresh.replace(folder / f"{name}.yaml")


CENSUS = Census()


class Yard:
    """One site with its agent, in a thread with a loop of its own."""

    #: What of a server is this backend's own, beside the plan; the contract knows no more.
    real = ROOT  # files are the person's own
    own_mounts: frozenset[str] = frozenset()
    own_variables = frozenset({"COURSEYARD_SOCKET_FD"})
    own_files: tuple[str, ...] = ()  # in the home directory
    own_processes = ("bwrap", "start.py")
    hub_url = "http://127.0.0.1:8081/hub/api"
    runs_gpus = False

    def __init__(self, folder: Path, image: Path, hub_port: int = 0, **settings: Any) -> None:
        from courseyard.agent.client import AgentClient
        from courseyard.settings import Site
        from courseyard.sitefile import load_site

        self.folder = folder
        self.image = image
        self.hub_port = hub_port
        #: The time at which dates of courses act for the agent; None: the real one.
        self.now: Callable[[], datetime] | None = None
        has_file = (folder / "courseyard.yaml").exists()
        self.site = load_site(folder) if has_file else Site(folder=folder, **settings)
        self.client = AgentClient(folder / "state" / "run" / "agent.sock")
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._agent: Future[None] | None = None
        self._thread.start()

    @property
    def storage(self) -> Path:
        return self.site.storage_root

    def call(self, work: Coroutine[Any, Any, Any], timeout: float = 90) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def up(self, allowed: frozenset[int] = frozenset()) -> None:
        from courseyard.agent.server import serve

        work = serve(self.site, allowed, now=self.now)
        self._agent = asyncio.run_coroutine_threadsafe(work, self.loop)
        for _ in range(200):
            if self._agent.done():
                self._agent.result()
            try:
                self.call(self.client.ping())
                return
            except Exception:
                time.sleep(0.05)
        raise AssertionError("the agent did not come up")

    def down(self) -> None:
        """Stop the agent; its servers go on."""
        if self._agent is not None:
            self._agent.cancel()
            for _ in range(100):
                if not (self.folder / "state" / "run" / "agent.sock").exists():
                    break
                time.sleep(0.05)
            self._agent = None

    async def _start(self, plan: Any, secrets: dict[str, str]) -> Any:
        steps = [step async for step in self.client.start(plan, secrets)]
        return steps[-1]

    def secrets(self) -> dict[str, str]:
        return {"COURSEYARD_HUB_ADDRESS": f"127.0.0.1:{self.hub_port}"} if self.hub_port else {}

    def start(self, plan: Any, **secrets: str) -> Inside:
        started = self.call(self._start(plan, self.secrets() | secrets))
        return Inside(started.handle, started.port)

    def unreachable(self, neighbour: Inside) -> list[tuple[str, int]]:
        """What another server must not reach: ports of this machine."""
        return [("127.0.0.1", self.hub_port), ("127.0.0.1", neighbour.port)]

    def poll(self, handle: str) -> Any:
        return self.call(self.client.poll(handle))

    def stop(self, handle: str, *, now: bool = False) -> None:
        self.call(self.client.stop(handle, now=now))

    def close(self) -> None:
        try:
            for handle in self.call(self.client.ping())["servers"]:
                self.stop(handle, now=True)
        finally:
            self.down()
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(10)
            self.loop.close()


@pytest.fixture(scope="session")
def probe_image() -> Iterator[Path]:
    """An image: a virtual environment with nothing but Python, under a short path."""
    folder = Path(tempfile.mkdtemp(prefix="cy-image-", dir="/tmp"))
    folder.chmod(0o755)
    image = folder / "python-2026-09-01"
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", "--without-pip", str(image)], check=True)
    yield image
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def probe_programs(probe_image: Path) -> Path:
    folder = probe_image.parent / "singleuser"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "start.py").write_text(PROBE)
    return folder


@pytest.fixture(scope="session")
def hub_double(probe_image: Path) -> Iterator[int]:
    """Something that listens on this machine's loopback, as the hub does."""
    import http.server

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"version": "hub"}')

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(scope="session")
def make_yard(
    probe_image: Path, probe_programs: Path, hub_double: int
) -> Iterator[Callable[..., Yard]]:
    """Make a site whose servers run the probe; all are closed at the end."""
    from courseyard.backends.sandbox import launch, namespaces

    made: list[Yard] = []
    before = launch.PROGRAMS
    launch.PROGRAMS = namespaces.Programs(str(probe_programs), before.become)

    def make(template: Path | None = None, **settings: Any) -> Yard:
        folder = Path(tempfile.mkdtemp(prefix="cy-", dir="/tmp"))
        folder.chmod(0o755)
        if template is not None:
            ignored = shutil.ignore_patterns("storage", "state", "python-*", "passwords.yaml")
            shutil.copytree(template, folder, dirs_exist_ok=True, ignore=ignored)
            image = folder / "images" / "python-2026-08-15"
            image.parent.mkdir(exist_ok=True)
            shutil.copytree(probe_image, image, symlinks=True)
        else:
            release = {"2026-09-01": {"path": str(probe_image)}}
            listed = {"DEFAULT": {"title": "Python", "releases": release}}
            (folder / "images.yaml").write_text(json.dumps({"families": listed}))
            CENSUS.folders.append(folder)
            CENSUS.write(folder)
        yard = Yard(folder, probe_image, hub_double, **settings)
        if template is not None:
            yard.now = lambda: EXAMPLE_NOW
        made.append(yard)
        yard.up()
        return yard

    yield make
    launch.PROGRAMS = before
    CENSUS.folders.clear()
    for yard in made:
        yard.close()
        shutil.rmtree(yard.folder)


@pytest.fixture(scope="session")
def make_plan(probe_image: Path) -> Callable[..., Any]:
    """Make a plan by hand, as ``plan_server`` would for one course ``algo``."""
    from courseyard.access import Role
    from courseyard.plan import model

    def make(
        role: str = "student", username: str = "alice", uid: int = 20101, **changes: Any
    ) -> model.ServerPlan:
        own = f"u/{uid % 100:02d}/{username}"
        teaching, general = role == "instructor", role == "general"
        CENSUS.add(username, uid, teaching=teaching)
        mounts = [("/notebooks", own, True), (f"/m/jupyter/{own}", own, True)]
        mounts += [("/m/jupyter/software", "software", False)]
        mounts += [("/m/jupyter/shareddata", "shareddata", True)]
        needs = [
            model.StorageNeed(kind="site"),
            model.StorageNeed(kind="user", username=username, uid=uid, gid=20000),
        ]
        if not general:
            mounts += [("/coursedata", "course/algo/data", teaching)]
            mounts += [("/srv/nbgrader/exchange", "exchange/algo", True)]
            shared = {"slug": "algo", "uid": 20500, "gid": 20500}
            needs.append(model.StorageNeed(kind="course", datadir=True, gradebook=True, **shared))
            needs.append(model.StorageNeed(kind="exchange", **shared))
        if teaching:
            mounts += [("/course", "course/algo/files", True)]
            mounts += [("/m/jupyter/course/algo/files", "course/algo/files", True)]
        values: dict[str, Any] = {
            "site": "Test",
            "course": "" if general else "algo",
            "title": "Algorithms",
            "role": Role(role),
            "server_name": "general-python-env" if general else f"algo-{role}",
            "image": model.PlanImage(reference="default:2026-09-01", path=probe_image),
            "identity": model.Identity(
                username=username,
                full_name="Alice Ålund, M.Sc.: the: first",
                email=f"{username}@example.org",
                uid=uid,
                gid=20500 if teaching else 20000,
                group="jupyter-algo" if teaching else "users",
                supplementary=(
                    *([model.GroupEntry(name="users", gid=20000, reason="")] if teaching else []),
                    *([] if general else [model.GroupEntry(name="extra", gid=20777, reason="")]),
                ),
                umask=0o007 if teaching else 0o022,
                home=f"/home/{username}",
            ),
            "mounts": tuple(
                model.Mount(target=t, source=s, writable=w, reason="") for t, s, w in mounts
            ),
            "storage": tuple(needs),
            "environment": {"NB_USER": username, "COURSEDATA": "/coursedata/", "QUOTE": "a'b\"$c\n"},
            "home_links": (),
            "limits": model.Limits(
                mem_limit=512 * 1024**2, mem_guarantee=64 * 1024**2, cpu_limit=1.0,
                cpu_guarantee=0.1, processes=100, tmp_size=64 * 1024**2, shm_size=16 * 1024**2,
            ),
            "culling": model.Culling(inactive=3600, max_age=28800),
            "network": "none",
            "labels": {},
            "start_timeout": 60,
            "http_timeout": 60,
        }  # fmt: skip
        return model.ServerPlan(**(values | changes))

    return make
