"""The start program as a real server: on an inherited socket, with the hub's API faked."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
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
    """Says of every token that it is ada's, as JupyterHub's /api/user does, and people's names."""

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

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        sent = self.rfile.read(length)
        if self.path.endswith("/students"):
            asked = json.loads(sent)["usernames"]
            self.user = {name: about for name, about in self.people.items() if name in asked}
        self.do_GET()

    people: ClassVar[dict[str, dict[str, str]]] = {}

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

    def get(self, path: str, method: str = "GET", body: Any = None) -> tuple[int, str, Any]:
        request = urllib.request.Request(
            self.address + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": "token x"},
            method=method,
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
        "TZ": "Europe/Helsinki",
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
    deadline = time.monotonic() + 180  # on a busy machine
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
        "course": "" if role == "general" else COURSE,
        "identity": {"umask": 0o007, "home": str(home)},
        "own_folder": str(place.ada.notebooks),
        "start_folder": str(place.ada.notebooks),
        "mounts": [{"target": str(place.ada.notebooks)}, {"target": str(place.course)}],
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


def test_the_file_browser_shows_a_persons_places(server: Server, place: Place) -> None:
    top = json.loads(server.get("api/contents/")[1])
    assert [each["name"] for each in top["content"]] == [place.course.parts[1]], "no bin, dev, etc"
    own = json.loads(server.get(f"api/contents{place.ada.notebooks}")[1])
    assert own["type"] == "directory"
    assert server.get("api/contents/etc")[0] == 200, "what is not shown is where it was"


def test_exports_that_cannot_be_made_are_not_offered(server: Server) -> None:
    offered = set(json.loads(server.get("api/nbconvert")[1]))
    assert {"html", "script", "notebook", "markdown", "slides"} <= offered
    needed = {"pdf": "xelatex", "latex": "pandoc", "rst": "pandoc", "asciidoc": "pandoc"}
    for name, program in needed.items():
        if not shutil.which(program, path="/usr/bin:/bin"):
            assert name not in offered
    assert not {"webpdf", "qtpdf", "qtpng"} & offered, "the image has no browser"


def test_jupyterlab_is_quiet(server: Server) -> None:
    config = server.page_config()
    # For students, whoever copies it.
    general = role_of(server) == "general"
    assert config["shareUrl"] == ("/hub/user-redirect" if general else f"/hub/go/{COURSE}")
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


def take_modules_away(place: Place) -> None:
    """A kernel does see the modules that a server must not, and would end at once."""
    for module in (place.ada.folder / "pymod").glob("*.py"):
        module.unlink()


def test_kernels_and_terminals_have_the_courses_modules(server: Server, place: Place) -> None:
    take_modules_away(place)
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


#: What JupyterLab asks a kernel before anybody runs a cell; then the words that are given are run.
ASK = """
import json, sys
from jupyter_client import BlockingKernelClient, find_connection_file
client = BlockingKernelClient(connection_file=find_connection_file(sys.argv[1]))
client.load_connection_file()
client.start_channels()
client.wait_for_ready(60)
client.comm_info(reply=True, timeout=60)
client.history(reply=True, timeout=60)
client.complete("import hel", reply=True, timeout=60)
client.inspect("sorted", 3, reply=True, timeout=60)
content = {"seq": 1, "type": "request", "command": "debugInfo", "arguments": {}}
message = client.session.msg("debug_request", content)
client.control_channel.send(message)
while client.get_control_msg(timeout=60)["parent_header"]["msg_id"] != message["header"]["msg_id"]:
    pass
said = []
def hook(message):
    content = message["content"]
    said.append(content.get("text") or "".join(content.get("traceback", [])))
for code in sys.argv[2:]:
    client.execute_interactive(code, timeout=60, output_hook=hook)
print(json.dumps("".join(said)))
"""
#: A name for every module that is there; each leaves a file when it is imported.
TRAP = "open({!r} + __name__, 'w').close()\nraise SystemExit\n"
NAMES = "import os, sys; print(*sys.stdlib_module_names, *os.listdir(sys.argv[1]))"
STOCK = "stock"


@dataclass
class Shared:
    """A folder in which somebody else may write, full of traps."""

    folder: Path
    hits: Path
    ada: Actor
    server: Server

    def open(self, kernel: str) -> str:
        """Open the notebook, as JupyterLab does; the kernel's number."""
        name = str(self.folder / f"{kernel}.ipynb")  # each path has a session of its own
        kind = {"name": kernel}
        body = {"path": name.lstrip("/"), "name": name, "type": "notebook", "kernel": kind}
        status, answer, _ = self.server.get("api/sessions", "POST", body)
        assert status == 201
        return str(json.loads(answer)["kernel"]["id"])

    def ask(self, kernel: str, *cells: str) -> str:
        """What the kernel prints, after all that is asked of it without a cell."""
        words = [str(self.ada.image / "bin" / "python"), "-c", ASK, f"kernel-{kernel}.json"]
        said: str = json.loads(self.ada.run(*words, *cells).splitlines()[-1])
        return said

    def hit(self) -> set[str]:
        """Modules that were imported from the folder since the last time."""
        names = {path.name for path in self.hits.iterdir()}
        for path in self.hits.iterdir():
            path.unlink()
        return names


@pytest.fixture
def shared(place: Place, server: Server) -> Iterator[Shared]:
    take_modules_away(place)
    ada = place.ada
    folder, hits = ada.folder / "shared", ada.folder / "hits"
    packages = json.loads(
        ada.python("import json, site; print(json.dumps(site.getsitepackages()))")
    )
    names = ada.run(str(ada.image / "bin" / "python"), "-c", NAMES, packages[0]).split()
    for made in (folder, hits):
        made.mkdir()
    for name in {name.partition(".")[0] for name in names}:
        if name.isidentifier():
            (folder / f"{name}.py").write_text(TRAP.format(f"{hits}/"))
    (folder / "helper.py").write_text("word = 'helped'\n")
    # A kernel that Courseyard does not know: another program that becomes the same Python.
    spec = ada.folder / "home" / ".local" / "share" / "jupyter" / "kernels" / STOCK
    spec.mkdir(parents=True)
    argv = ["/usr/bin/env", str(ada.image / "bin" / "python"), "-m", "ipykernel_launcher"]
    kernel = {
        "argv": [*argv, "-f", "{connection_file}"],
        "display_name": STOCK,
        "language": "python",
    }
    (spec / "kernel.json").write_text(json.dumps(kernel))
    if AS_ROOT:
        for path in (folder, hits, *(ada.folder / "home").rglob("*"), ada.folder / "home"):
            os.chown(path, ada.uid, ada.gid)
    yield Shared(folder, hits, ada, server)
    for kernel in json.loads(server.get("api/kernels")[1]):
        assert server.get(f"api/kernels/{kernel['id']}", "DELETE")[0] == 204
    for path in (folder, hits, spec):
        shutil.rmtree(path)


@pytest.mark.parametrize("server", ["instructor"], indirect=True)
def test_opening_a_notebook_runs_nothing_that_lies_beside_it(shared: Shared) -> None:
    kernel = shared.open("python3")
    assert shared.ask(kernel) == ""
    assert shared.hit() == set()
    # The first cell that is run finds the folder's own modules, and no other in an installed one's place.
    before = "print(sorted(name for name in dir() if name[0] != '_'))"
    names = "['In', 'Out', 'exit', 'get_ipython', 'open', 'quit']\n"
    assert shared.ask(kernel, before, "import helper, numpy, colorsys; print(helper.word)") == (
        f"{names}helped\n"
    )
    assert shared.hit() == set()
    assert shared.server.get(f"api/kernels/{kernel}/restart", "POST", {})[0] == 200
    assert shared.ask(kernel, "import helper, numpy; print(helper.word)") == "helped\n"
    assert shared.hit() == set()


@pytest.mark.parametrize("server", ["instructor"], indirect=True)
def test_validate_runs_no_traps_and_finds_a_helper(shared: Shared) -> None:
    file = shared.folder / "checked.ipynb"
    file.write_text(json.dumps(notebook("import helper, numpy\nassert helper.word == 'helped'")))
    body = {"path": str(file)}
    status, answer, _ = shared.server.get("assignments/validate", "POST", body)
    assert status == 200
    found = json.loads(answer)
    assert (found["success"], found["value"]) == (True, {}), found
    assert shared.hit() == set()


@pytest.mark.parametrize("server", ["instructor"], indirect=True)
def test_the_formgrader_generates_and_grades_with_helpers(place: Place, server: Server) -> None:
    source, pymod = place.course / "source" / "helped", place.course / "pymod"
    files = {
        source / "one.ipynb": json.dumps(
            notebook("import helper, ours\nassert helper.n == ours.n")
        ),
        source / "helper.py": "n = 5",
        pymod / "ours.py": "n = 5",
    }
    for file, text in files.items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    made = [source, pymod, *files]
    if AS_ROOT:
        for path in made:
            os.chown(path, place.ada.uid, place.ada.gid)

    def press(button: str) -> None:
        status, answer, _ = server.get(f"formgrader/api/{button}", "POST", {})
        assert (status, json.loads(answer)["success"]) == (200, True), answer

    press("assignment/helped/assign")
    move = "import shutil, sys; shutil.copytree(*sys.argv[1:])"
    handed_in = place.course / "submitted" / "maija" / "helped"
    release = place.course / "release" / "helped"
    python = str(place.ada.image / "bin" / "python")
    place.ada.run(python, "-c", move, str(release), str(handed_in))
    press("submission/helped/maija/autograde")
    graded = json.loads((place.course / "autograded/maija/helped/one.ipynb").read_text())
    assert [cell["outputs"] for cell in graded["cells"]] == [[]]


def notebook(code: str) -> dict[str, Any]:
    """A notebook with one test cell."""
    grade = {"grade": True, "solution": False, "locked": True, "task": False, "points": 1}
    cell = {
        "cell_type": "code",
        "id": "test",
        "execution_count": None,
        "outputs": [],
        "source": code,
        "metadata": {"nbgrader": {"grade_id": "test", "schema_version": 3, **grade}},
    }
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel}
    return {"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def test_the_log_holds_no_traceback_and_no_secret(server: Server) -> None:
    text = server.log.read_text()
    assert "Traceback" not in text
    assert "secret" not in text.replace("jupyter_cookie_secret", "").replace("cookie secret", "")


@pytest.mark.parametrize("server", ["instructor"], indirect=True)
def test_a_stock_kernel_runs_what_lies_beside_the_notebook(shared: Shared) -> None:
    shared.open(STOCK)
    deadline = time.monotonic() + 60
    while not (found := shared.hit()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found == {"importlib"}


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
