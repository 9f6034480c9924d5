"""A whole hub for tests: a site, Traefik, JupyterHub in processes of their own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests
import yaml

HERE = Path(__file__).parent
PASSWORD = "correct horse {}"

COURSES: dict[str, dict[str, Any]] = {
    "algo2026": {"name": "Data Structures and Algorithms", "gid": 30001, "datadir": True},
    "mlbp2026": {"name": "Machine Learning", "gid": 30002, "students": ["aino"]},
    "scip": {
        "name": "Scientific Computing",
        "gid": 30003,
        "instructors": ["aino"],
        "students": ["otso", "helmi"],
        "kubespawner_override": {"mem_limit": "7G", "environment": {"MARK": "scip"}},
    },
    "secret": {"name": "Private Course", "private": True, "students": ["helmi"], "gid": 30004},
    "old": {"name": "Archived Course", "archive": True, "gid": 30005, "instructors": ["maija"]},
    "dlgpu": {
        "name": "Deep Learning with GPUs",
        "kubespawner_override": {"extra_resource_limits": {"nvidia.com/gpu": "1"}},
    },
    "markup": {"name": "<script>alert('x')</script> & \"Quotes\""},
    "dies": {
        "name": "Dies at Start",
        "gid": 30006,
        "instructors": ["maija"],
        "kubespawner_override": {"environment": {"FAKE_WAY": "dies"}},
    },
    "memory": {
        "name": "Hungry",
        "kubespawner_override": {"environment": {"FAKE_WAY": "memory"}},
    },
    "missing": {
        "name": "No Software",
        "kubespawner_override": {"environment": {"FAKE_WAY": "missing"}},
    },
    "slow": {
        "name": "Slow Start",
        "kubespawner_override": {"environment": {"FAKE_WAY": "slow"}},
    },
    "lingers": {
        "name": "Lingering",
        "kubespawner_override": {"environment": {"FAKE_WAY": "lingers"}},
    },
    "never": {
        "name": "Never Answers",
        "kubespawner_override": {"environment": {"FAKE_WAY": "never"}, "http_timeout": 3},
    },
}
PEOPLE = {
    "groups": {"jupyter-algo2026": 30001},
    "people": {
        "aino": {"uid": 21001, "name": "Aino Virtanen", "email": "aino@example.org"},
        "otso": {"uid": 21002, "name": "Otso Laine"},
        "helmi": {"uid": 21003, "name": "Helmi Korhonen"},
        "maija": {"uid": 21004, "name": "Maija Meikäläinen", "groups": ["jupyter-algo2026"]},
        "pomo": {"uid": 21005, "name": "Pomo Hallinto"},
    },
}
SITE: dict[str, Any] = {
    "name": "Example University · Jupyter",
    "contact": "help@example.org",
    "timezone": "Europe/Helsinki",
    "environments": {
        "python": {"name": "Python", "description": "General environment"},
        "r": {"name": "R and Julia", "description": "General environment"},
    },
    "people": {"administrators": ["pomo"]},
}
CONFIG = """\
import sys
from pathlib import Path

from courseyard.hub.configure import configure
from courseyard.sitefile import load_site

sys.path.insert(0, {here!r})
from local_backend import LocalBackend

here = Path(__file__).parent
{early}runtime = configure(c, load_site(here), LocalBackend(here / "servers"))
{more}
"""


def free_ports() -> int:
    """The first of four free ports in a row, with a free one before it.

    Below the ports that the kernel gives to outgoing connections, which come and go.
    """
    first = 20000 + os.getpid() % 12000
    for base in (*range(first, 32700, 7), *range(20000, first, 7)):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(base - 1, base + 4):
                    probe = stack.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return base
    raise RuntimeError("no free ports")


class Reached:
    """Where a site is reached, and how: what a visitor needs to know of it."""

    base: str
    host = ""  # people's servers are at hosts below it, where it is set
    prefix = ""
    verify: bool | str = True

    def of(self, username: str) -> str:
        """Where a person's servers are."""
        return self.base.replace(self.host, f"{username}.{self.host}") if self.host else self.base


class Hub(Reached):
    """A site in ``folder`` with its running hub and proxy.

    Args:
        folder: made here.
        more: lines at the end of its configuration.
        early: lines before Courseyard's part of it.
        host: its name, with people's hosts below it; "" is an address, and one host for all.
    """

    def __init__(
        self, folder: Path, *, more: str = "", early: str = "", host: str = "", **settings: Any
    ) -> None:
        self.folder = folder
        self.port = free_ports()
        self.host = host
        scheme = "https" if "tls" in settings.get("proxy", {}) else "http"
        self.base = f"{scheme}://{host or '127.0.0.1'}:{self.port}"
        chain = settings["proxy"]["tls"]["certificate"] if host and scheme == "https" else ""
        self.verify = chain or scheme == "http"
        if host:
            path = settings.get("hub", {}).get("base_url", "/")
            own = {"subdomains": True, "public_url": f"{self.base}{path}"}
            settings["hub"] = own | settings.get("hub", {})
        self.prefix = settings.get("hub", {}).get("base_url", "").rstrip("/")
        self.api = f"{self.base}/hub/api"
        self.hub: subprocess.Popen[bytes] | None = None
        self.proxy: subprocess.Popen[bytes] | None = None
        self._write(more, early, settings)

    def _write(self, more: str, early: str, settings: dict[str, Any]) -> None:
        site = SITE | settings
        site["hub"] = {"port": self.port} | settings.get("hub", {})
        (self.folder / "courses").mkdir(parents=True)
        for slug, course in COURSES.items():
            self.write_course(slug, course)
        image = self.folder / "images" / "python"
        image.mkdir(parents=True)
        images = {"families": {"DEFAULT": {"title": "Python", "releases": {}}}}
        images["families"]["DEFAULT"]["releases"] = {  # type: ignore[index]
            "2026-11-01": {"path": "images/python"}
        }
        self.write("images.yaml", images)
        self.write("people.yaml", PEOPLE)
        self.write("courseyard.yaml", site)
        passwords = {name: PASSWORD.format(name) for name in PEOPLE["people"]}
        self.write("passwords.yaml", passwords)
        (self.folder / "passwords.yaml").chmod(0o600)
        config = CONFIG.format(here=str(HERE), more=more, early=early)
        (self.folder / "jupyterhub_config.py").write_text(config)

    def write(self, name: str, content: Any) -> None:
        (self.folder / name).write_text(
            yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
        )

    def write_course(self, slug: str, course: dict[str, Any]) -> None:
        self.write(f"courses/{slug}.yaml", course)

    # --- processes ----------------------------------------------------------------------------

    def start(self) -> None:
        self.start_proxy()
        self.start_hub()

    def start_proxy(self) -> None:
        from courseyard.hub.proxy import write_static
        from courseyard.sitefile import load_site

        static = write_static(load_site(self.folder))
        with (self.folder / "proxy.log").open("ab") as log:
            self.proxy = subprocess.Popen(
                [program("traefik"), "--configfile", str(static)],
                stdout=log,
                stderr=log,
                cwd=static.parent,
            )

    def start_hub(self) -> None:
        with (self.folder / "hub.log").open("ab") as log:
            self.hub = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "jupyterhub",
                    "-f",
                    str(self.folder / "jupyterhub_config.py"),
                ],
                cwd=self.folder,
                env=os.environ | {"SECRET_OF_THE_HUB": "1"},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.ConnectionError):
                health = requests.get(
                    f"{self.base}{self.prefix}/hub/health", timeout=5, verify=self.verify
                )
                if health.status_code == 200:
                    return
            if self.hub.poll() is not None:
                break
            time.sleep(0.2)
        raise AssertionError(f"the hub did not start:\n{self.log()[-6000:]}")

    def stop_hub(self) -> None:
        if self.hub is not None:
            self.hub.send_signal(signal.SIGTERM)
            self.hub.wait(20)
            self.hub = None

    def close(self) -> None:
        self.stop_hub()
        if self.proxy is not None:
            self.proxy.terminate()
            self.proxy.wait(20)
        for record in (self.folder / "servers").glob("*.name"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(record.stem), signal.SIGKILL)

    def log(self) -> str:
        return (self.folder / "hub.log").read_text(errors="replace")

    def visitor(self, username: str | None = None) -> Visitor:
        visitor = Visitor(self)
        if username:
            visitor.log_in(username)
        return visitor


class Visitor(requests.Session):
    """A browser without JavaScript."""

    def __init__(self, hub: Reached) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = hub.verify
        self.hub = hub
        self.base = hub.base

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        kwargs.setdefault("timeout", 40)
        full = url if url.startswith("http") else self.base + url
        reply = super().request(method, full, *args, **kwargs)
        reply.encoding = "utf-8"
        return reply

    @property
    def xsrf(self) -> str:
        places = (("__Host-_xsrf", "/"), ("_xsrf", f"{self.hub.prefix}/hub/"))
        found = {c.name: c.value or "" for c in self.cookies if (c.name, c.path) in places}
        return found.get("__Host-_xsrf") or found["_xsrf"]

    def log_in(
        self, username: str, password: str | None = None, path: str = "/"
    ) -> requests.Response:
        page = self.get(path)
        action = re.search(r'action="([^"]+)"', page.text)
        assert action, page.text
        data = {
            "_xsrf": self.xsrf,
            "username": username,
            "password": PASSWORD.format(username) if password is None else password,
        }
        return self.post(action[1].replace("&amp;", "&"), data=data)

    def act(self, path: str, **data: str) -> requests.Response:
        """Press a button of a page."""
        return self.post(path, data={"_xsrf": self.xsrf, **data})

    def wait_running(self, server: str, seconds: float = 30) -> requests.Response:
        """Follow the progress page, as its meta refresh does, until the server answers."""
        name = self.get("/hub/api/user", headers={"Referer": self.base + "/hub/home"}).json()[
            "name"
        ]
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            reply = self.get(f"/hub/spawn-pending/{name}/{server}")
            if reply.url.startswith(f"{self.hub.of(name) if self.hub.host else self.base}/user/"):
                return reply
            if reply.status_code >= 400:
                return reply
            time.sleep(0.2)
        raise AssertionError(f"{server} did not come up: {reply.url}\n{reply.text[:2000]}")


def certificate(folder: Path, *names: str) -> dict[str, str]:
    """``proxy.tls`` with a new certificate for these names and 127.0.0.1, which nobody trusts."""
    folder.mkdir(parents=True, exist_ok=True)
    pair = {"certificate": str(folder / "chain.pem"), "key": str(folder / "key.pem")}
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=test", "-addext", f"subjectAltName=IP:127.0.0.1{''.join(f',DNS:{name}' for name in names)}",
         "-keyout", pair["key"], "-out", pair["certificate"]],
        check=True, capture_output=True,
    )  # fmt: skip
    return pair


def program(name: str) -> str:
    """A program of this environment."""
    own = Path(sys.executable).with_name(name)
    found = str(own) if own.exists() else shutil.which(name)
    assert found, f"{name} is not installed"
    return found
