"""A whole site on this machine by ``courseyard up``, whose parts can be killed and counted."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import psutil
import requests

from courseyard.agent.client import AgentClient
from courseyard.agent.records import FILE
from courseyard.backends.sandbox import limits
from tests.faults import doubles, light_image
from tests.hub.sites import Visitor, free_ports

PATIENCE = 60.0  # seconds until something must have come back
PASSWORD = "pass-of-{}"
CONFIG = """\
import sys
from pathlib import Path
here = Path(__file__).parent
sys.path.insert(0, str(here))
import doubles
doubles.hang()
doubles.jump()
from courseyard.hub import strays
strays.INTERVAL = 2.0
from courseyard.hub import culler
culler._INTERVAL = 2.0
culler.cull_forever.__defaults__ = (2.0,)
from courseyard.hub.configure import configure
from courseyard.sitefile import load_site
configure(c, load_site(here))
"""
SITECUSTOMIZE = """\
import sys
if "agent" in sys.orig_argv:
    import doubles
    doubles.hang()
    doubles.jump()
"""


def until(true: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.ConnectionError, requests.Timeout, psutil.Error, OSError):
            if found := true():
                return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


@dataclass(frozen=True)
class World:
    """What of a site is on the machine."""

    sandboxes: int  # PID namespaces of servers
    processes: int  # in them and around them
    cgroups: frozenset[str]
    mounts: int
    records: frozenset[str]  # of servers that run
    odd: frozenset[str]  # folders among the records that are none
    sockets: frozenset[str]


@dataclass
class Town:
    """One site; ``people`` names everybody in it, so that what is theirs is told from others'."""

    folder: Path
    #: As a visitor asks for them (tests/hub/sites.py).
    verify: ClassVar[bool] = True
    prefix: ClassVar[str] = ""
    host: ClassVar[str] = ""

    port: int
    people: dict[str, str] = field(default_factory=dict)  # what tests call them → username
    process: subprocess.Popen[str] | None = None

    @classmethod
    def make(cls, *, people: int = 4) -> Town:
        folder = Path(tempfile.mkdtemp(prefix="cy-faults-", dir="/tmp"))
        folder.chmod(0o755)
        town = cls(folder, free_ports())
        tag = secrets.token_hex(3)
        names = ["teacher", "one", "two", "three", *(f"p{n}" for n in range(people - 4))]
        town.people = {name: f"{name}{tag}" for name in names}
        light_image.make(folder / "images" / "light")
        town._write()
        return town

    def _write(self) -> None:
        users = list(self.people.values())
        site = {
            "name": "Town", "timezone": "UTC",
            "environments": {"python": {"name": "Python"}},
            "people": {"cache": 1, "cache_unknown": 1, "timeout": 2},
            "servers": {"mem_limit": "300M", "mem_guarantee": "16M",
                        "mem_guarantee_instructor": "16M", "tmp_size": "16M",
                        "shm_size": "16M", "per_user": 10},
            "hub": {"port": self.port},
            "proxy": {"login_rate": 1000},
        }  # fmt: skip
        course = {"gid": 20500, "instructors": [self.people["teacher"]]}
        courses = {
            "algo": {"name": "Algorithms", **course},
            "slow": _with_environment("Slow to start", SLOW_START="3"),
            "lingers": _with_environment("Slow to stop", SLOW_STOP="6"),
        }
        (self.folder / "courses").mkdir()
        for slug, text in courses.items():
            self.write(f"courses/{slug}.yaml", text)
        release = {"2026-11-01": {"path": "images/light"}}
        listed = {"DEFAULT": {"title": "Python", "releases": release}}
        self.write("images.yaml", {"families": listed})
        numbered = {name: {"uid": 20701 + n} for n, name in enumerate(users)}
        self.write("people.yaml", {"people": numbered})
        self.write("courseyard.yaml", site)
        self.write("passwords.yaml", {name: PASSWORD.format(name) for name in users})
        (self.folder / "passwords.yaml").chmod(0o600)
        (self.folder / "jupyterhub_config.py").write_text(CONFIG)
        (self.folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
        shutil.copyfile(doubles.__file__, self.folder / "doubles.py")

    def write(self, name: str, content: Any) -> None:
        fresh = self.folder / f"{name}.new"
        fresh.write_text(json.dumps(content))  # which is YAML
        fresh.replace(self.folder / name)

    # --- the site ------------------------------------------------------------------------------

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        log = (self.folder / "up.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "courseyard.cli", "up", str(self.folder)],
            env=os.environ | {"PYTHONPATH": str(self.folder)},
            stdout=log, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        until(lambda: "Ctrl-C" in self.log("up.log") or self.process.poll() is not None, "up", 120)  # type: ignore[union-attr]
        assert self.process.poll() is None, self.log("up.log")

    def down(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(90)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
            self.process = None

    def log(self, name: str) -> str:
        return (self.folder / name).read_text(errors="replace")

    @property
    def storage(self) -> Path:
        return self.folder / "storage"

    @property
    def client(self) -> AgentClient:
        return AgentClient(self.folder / "state" / "run" / "agent.sock")

    def pid_of(self, part: str) -> int:
        """The process itself: of hub and proxy the one behind their walls."""
        assert self.process is not None
        wanted = {
            "agent": ("courseyard.cli", "agent"), "hub": ("jupyterhub", "-f"),
            "proxy": ("--configfile",),
        }[part]  # fmt: skip
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                program = Path(words[0]).name if words else ""
                if all(word in words for word in wanted) and program not in ("bwrap", "setpriv"):
                    return process.pid
        raise ProcessLookupError(part)

    def kill_and_wait(self, part: str) -> None:
        """``kill -9``, and wait for what comes in its place."""
        before = self.pid_of(part)
        os.kill(before, signal.SIGKILL)
        self.wait_another(part, before)

    def wait_another(self, part: str, before: int) -> None:
        """Until the part runs again, and all is well."""
        until(lambda: self._another(part, before), f"another {part}")
        self.wait_well()

    def _another(self, part: str, before: int) -> bool:
        try:
            return self.pid_of(part) != before
        except ProcessLookupError:
            return False

    def wait_well(self) -> None:
        """Until all three parts answer."""
        from courseyard.cli import health
        from courseyard.sitefile import load_site

        site = load_site(self.folder)
        until(lambda: health.agent_answers(site) and health.hub_answers(site), "the site is well")

    # --- what is there -------------------------------------------------------------------------

    def records(self) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """Folder and record; None for a folder without one."""
        top = self.folder / "state" / "agent" / "servers"
        for folder in sorted(top.iterdir()) if top.exists() else ():
            try:
                yield folder.name, json.loads((folder / FILE).read_text())
            except OSError:
                yield folder.name, None

    def servers(self) -> set[str]:
        """Handles of the servers that run by their records."""
        return {n for n, r in self.records() if r and r.get("init") and not r.get("ended")}

    def inside(self) -> list[psutil.Process]:
        """Processes of servers, and those of bubblewrap around them."""
        image = str(self.folder / "images")
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if (
                    any(image in word for word in process.cmdline())
                    and process.status() != "zombie"
                ):
                    found.append(process)
        return found

    def world(self) -> World:
        processes = self.inside()
        spaces, count = set(), 0
        own = Path("/proc/self/ns/pid").readlink()
        for process in processes:
            with contextlib.suppress(OSError):
                space = Path(f"/proc/{process.pid}/ns/pid").readlink()
                count += 1
                spaces |= {space} - {own}
        ours = tuple(self.people.values())
        parents = limits.detect().parents.values() if limits.detect().version else ()
        cgroups = {f.name for p in set(parents) for f in p.iterdir() if f.name.startswith(ours)}
        records = dict(self.records())
        sockets = [p for p in (self.folder / "state").rglob("*") if p.is_socket()]
        return World(
            sandboxes=len(spaces),
            processes=count,
            cgroups=frozenset(cgroups),
            mounts=Path("/proc/self/mountinfo").read_text().count(str(self.folder)),
            records=frozenset(self.servers()),
            odd=frozenset(n for n, r in records.items() if r is None or n.startswith(".")),
            sockets=frozenset(str(p.relative_to(self.folder)) for p in sockets),
        )

    def settle(self, expected: World) -> None:
        """Wait until all is as it was: nothing more, nothing less."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.world()) != expected and time.monotonic() < deadline:
            time.sleep(0.2)
        fields = vars(expected)
        wrong = {n: (v, getattr(found, n)) for n, v in fields.items() if getattr(found, n) != v}
        assert not wrong, f"expected and found: {wrong}"

    def close(self) -> None:
        self.down()
        left = self.world()
        for process in self.inside():
            with contextlib.suppress(psutil.Error):
                process.kill()
        shutil.rmtree(self.folder)
        assert (left.sandboxes, left.cgroups, left.mounts) == (0, frozenset(), 0)


def _with_environment(name: str, **variables: str) -> dict[str, Any]:
    return {"name": name, "kubespawner_override": {"environment": variables}}


class Person(Visitor):
    """Somebody of a town, logged in."""

    def __init__(self, town: Town, name: str) -> None:
        super().__init__(town)  # type: ignore[arg-type]  # it needs `base` alone
        self.town = town
        self.username = town.people[name]
        self.log_in(self.username, PASSWORD.format(self.username))

    def start(self, link: str) -> str:
        """Start a server and wait until it answers; its handle."""
        until(lambda: not self.pending(link), f"{link} rests")
        before = self.town.servers()
        self.act(f"/hub/go/{link}")
        until(lambda: self.answers(link), f"{link} of {self.username}")
        (handle,) = {h for h in self.town.servers() - before if h.startswith(self.username)}
        return handle

    def pending(self, link: str, *, there: bool = False) -> bool:
        """Whether the hub starts or stops it just now; ``there``: or has it."""
        headers = {"Referer": self.base + "/hub/home"}
        servers = self.get("/hub/api/user", headers=headers).json().get("servers", {})
        found = servers.get(_server(link))
        return found is not None and (there or bool(found["pending"]))

    def begin(self, link: str) -> None:
        """Ask for a server and do not wait."""
        self.act(f"/hub/go/{link}")

    def answers(self, link: str) -> dict[str, Any] | None:
        """What the server says, through the proxy."""
        reply = self.get(f"/user/{self.username}/{_server(link)}/api", timeout=10)
        if reply.status_code != 200 or "version" not in reply.text:
            return None
        found: dict[str, Any] = reply.json()
        return found

    def run(self, link: str, code: str) -> Any:
        """Run Python in the server; the value of ``value``."""
        reply = self.post(f"/user/{self.username}/{_server(link)}/run", data=code.encode())
        answer = reply.json()
        assert "error" not in answer, answer
        return answer["value"]

    def stop(self, link: str) -> None:
        self.act(f"/hub/stop/{_server(link)}")

    def shows(self) -> str:
        """The course page; of a person who is still logged in."""
        reply = self.get("/hub/home")
        assert reply.status_code == 200
        assert "/hub/login" not in reply.url
        return reply.text


def _server(link: str) -> str:
    return "general-python-env" if link == "general" else link
