"""The start program as a real server: on an inherited socket, with the hub's API faked."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.nbgrader.conftest import AS_ROOT, COURSE, PROGRAM, Actor, Place

PREFIX = "/user/ada/algo2026/"
SCOPE = "access:servers!user=ada"


class HubApi(http.server.BaseHTTPRequestHandler):
    """Says of every token that it is ada's, as JupyterHub's /api/user does."""

    user: ClassVar[dict[str, Any]] = {
        "kind": "user",
        "name": "ada",
        "groups": [],
        "scopes": [SCOPE],
    }

    def do_GET(self) -> None:
        body = json.dumps(self.user).encode()
        self.send_response(200)
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), HubApi)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hub/api"
    server.shutdown()


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    address: str
    socket_inode: int
    log: Path

    def get(self, path: str, method: str = "GET") -> tuple[int, str, Any]:
        request = urllib.request.Request(
            self.address + path, headers={"Authorization": "token x"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, "", error.headers

    def page_config(self) -> dict[str, Any]:
        _, page, _ = self.get("lab")
        text = page.partition('id="jupyter-config-data" type="application/json">')[2]
        config: dict[str, Any] = json.loads(text.partition("</script>")[0])
        return config

    def stop(self) -> None:
        """End it, hard where it does not listen: how it ends is another test's business."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)

    @property
    def pid(self) -> int:
        """Of the server itself: the words before it exec it."""
        return self.process.pid


def start(actor: Actor, hub: str, plan: dict[str, Any]) -> Server:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    inode = os.fstat(listener.fileno()).st_ino
    home = actor.folder / "home"
    file = actor.folder / "plan.json"
    file.write_text(json.dumps(plan))
    file.chmod(0o644)
    env = {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        # A module that would break the server, did it see it.
        "PYTHONPATH": str(actor.folder / "pymod"),
        "COURSEYARD_PLAN": str(file),
        "COURSEYARD_SOCKET_FD": str(listener.fileno()),
        "COURSEYARD_GRADING": actor.grading,
        "JUPYTERHUB_API_TOKEN": "secret",
        "JUPYTERHUB_API_URL": hub,
        "JUPYTERHUB_ACTIVITY_URL": f"{hub}/users/ada/activity",
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:9{PREFIX}",
        "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_USER": "ada",
        "JUPYTERHUB_CLIENT_ID": "ada",
        "JUPYTERHUB_OAUTH_SCOPES": json.dumps([SCOPE]),
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps([SCOPE]),
    }
    words = actor.as_myself() if AS_ROOT else []  # otherwise we are this person
    log = actor.folder.parent / f"{plan['role']}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*words, str(actor.image / "bin" / "python"), "-I", str(PROGRAM / "start.py")],
            env=env,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            umask=0o077,
        )
    listener.close()
    server = Server(process, f"http://127.0.0.1:{port}{PREFIX}", inode, log)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if server.get("api/status")[0] == 200:
                return server
        except OSError:
            pass
        time.sleep(0.2)
    process.kill()
    raise AssertionError(log.read_text())


def plan_of(place: Place, role: str) -> dict[str, Any]:
    home = place.ada.folder / "home"
    nbgrader = None
    if role != "general":
        nbgrader = {
            "config": json.loads((home / ".courseyard/jupyter/nbgrader.json").read_text()),
            "fixed": json.loads((home / ".courseyard/jupyter/nbgrader_fixed.json").read_text()),
            "extra_lines": "",
            "append_file": "",
            "formgrader": role == "instructor",
            "create_assignment": role == "instructor",
            "assignment_list": True,
            "validate_assignment": True,
        }
    return {
        "version": 1,
        "role": role,
        "identity": {"umask": 0o007, "home": str(home)},
        "start_folder": str(place.ada.notebooks),
        "default_url": "/lab",
        "home_links": [{"path": ".gitconfig", "folder": False}],
        "nbgrader": nbgrader,
    }


@pytest.fixture(scope="module", params=["general", "student", "instructor"])
def server(request: pytest.FixtureRequest, place: Place, hub: str) -> Iterator[Server]:
    pymod = place.ada.folder / "pymod"
    pymod.mkdir(exist_ok=True)
    for name in ("tornado", "json"):
        (pymod / f"{name}.py").write_text("raise SystemExit('PYTHONPATH reached the server')")
    if AS_ROOT:
        os.chown(pymod, place.ada.uid, place.ada.gid)
    started = start(place.ada, hub, plan_of(place, request.param))
    started.role = request.param  # type: ignore[attr-defined]
    yield started
    started.stop()


def role_of(server: Server) -> str:
    return str(server.role)  # type: ignore[attr-defined]


def test_pages_by_role(server: Server) -> None:
    role = role_of(server)
    formgrader, _, headers = server.get("formgrader/manage_assignments")
    assert (formgrader == 200) == (role == "instructor")
    assert headers["Content-Security-Policy"].startswith("frame-ancestors 'none'")
    assignments = server.get(f"assignments?course_id={COURSE}")[0]
    assert (assignments == 200) == (role != "general")
    assert server.get("formgraders")[0] == 404
    off = server.page_config()["disabledExtensions"]
    assert ("courseyard:formgrader" in off) == (role != "instructor")
    assert "@jupyter/nbgrader:formgrader" in off


def test_jupyterlab_is_quiet(server: Server) -> None:
    config = server.page_config()
    assert config.get("news", {}).get("disabled", True)
    assert config["extensionManager"]["can_install"] is False
    assert server.get("lab/api/news")[1] in ("", '{"news": []}')


def test_it_listens_on_the_inherited_socket_alone(server: Server) -> None:
    if not AS_ROOT:  # its UID alone shows nothing of it to us, or to its kernels
        with pytest.raises(PermissionError):
            open_sockets(server.pid)
        return
    sockets = open_sockets(server.pid)
    listening = {
        int(fields[9])
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{server.pid}/net/{table}").read_text().splitlines()[1:]
        if (fields := line.split())[3] == "0A"
    }
    assert sockets & listening == {server.socket_inode}


def test_terminals_do_not_inherit_the_socket(server: Server) -> None:
    status, _, _ = server.get("api/terminals", "POST")
    assert status == 200
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    assert children
    for child in children:
        deadline = time.monotonic() + 30
        # Before it becomes the program it is a copy of the server, with all that is open there.
        while "start.py" in Path(f"/proc/{child}/cmdline").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert server.socket_inode not in open_sockets(int(child))


def test_kernels_and_terminals_have_the_courses_modules(server: Server, place: Place) -> None:
    for module in (place.ada.folder / "pymod").glob("*.py"):
        module.unlink()  # a kernel does see them, and would end at once
    assert server.get("api/terminals", "POST")[0] == 200
    assert server.get("api/kernels", "POST")[0] == 201
    running: dict[str, list[str]] = {}  # command line → variables
    deadline = time.monotonic() + 60
    while len(running) < 2 or not any("ipykernel" in words for words in running):
        assert time.monotonic() < deadline, running.keys()
        time.sleep(0.1)
        for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split():
            with contextlib.suppress(OSError):  # it ended meanwhile
                variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
                words = Path(f"/proc/{pid}/cmdline").read_text()
                # Before it becomes the program it is a copy of the server.
                if words and "start.py" not in words:
                    running[words] = variables
    for variables in running.values():
        assert f"PYTHONPATH={place.ada.folder / 'pymod'}" in variables


def test_the_log_holds_no_traceback_and_no_secret(server: Server) -> None:
    text = server.log.read_text()
    assert "Traceback" not in text
    assert "secret" not in text.replace("jupyter_cookie_secret", "").replace("cookie secret", "")


WRONG = "c.CourseDirectory.root = 5\nc.Execute.timeout = 'soon'\nc.Validator.validate_all = True\n"


def test_a_wrong_value_stops_no_server(place: Place, hub: str) -> None:
    file = place.course / "etc.jupyter.nbgrader_config.py.append"
    file.write_text(WRONG)
    plan = plan_of(place, "instructor")
    plan["nbgrader"] |= {
        "append_file": str(file),
        "extra_lines": "c.Exchange.timezone = 3\nc.ExchangeFactory.list = 'no.such.Class'\n",
    }
    started = start(place.ada, hub, plan)
    try:
        assert started.get("formgrader/manage_assignments")[0] == 200
        assert started.get(f"assignments?course_id={COURSE}")[0] == 200
    finally:
        started.stop()
        file.unlink()
    log = started.log.read_text()
    assert f"{file}: CourseDirectory.root is left out: " in log
    assert f"{file}: Execute.timeout is left out: " in log
    assert "nbgrader_config of the course file: Exchange.timezone is left out: " in log
    assert "nbgrader_config of the course file: ExchangeFactory.list is left out: " in log
    assert "Traceback" not in log


def test_nbgraders_own_file_in_the_course_costs_formgrader_alone(place: Place, hub: str) -> None:
    file = place.course / "nbgrader_config.py"
    file.write_text(WRONG)
    started = start(place.ada, hub, plan_of(place, "instructor"))
    try:
        assert started.get("formgrader/manage_assignments")[0] == 404
        assert started.get("api/status")[0] == 200
    finally:
        started.stop()
        file.unlink()
    assert "formgrader is not in this server: its configuration is wrong" in started.log.read_text()


@pytest.mark.parametrize("descriptor", ["x", "250", "0"])
def test_a_descriptor_that_is_no_listening_socket(image: Path, descriptor: str) -> None:
    code = f"import sys; sys.path.insert(0, {str(PROGRAM.parent)!r})\n"
    code += f"from singleuser.server import take_socket; take_socket({descriptor!r})"
    with socket.socket() as deaf:
        done = subprocess.run(
            [str(image / "bin" / "python"), "-I", "-c", code],
            stdin=deaf,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("courseyard: ")
    assert "Traceback" not in done.stderr


def open_sockets(pid: int) -> set[int]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            target = os.readlink(link)  # noqa: PTH115
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    return found
