"""The runner for grading where it must not run, and what it takes and gives."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from courseyard.singleuser.courseyard_nbgrader import tunnel, way
from courseyard.singleuser.grading import runner


def test_it_ends_nobody_elses_processes() -> None:
    """As any process but the first it would end all of this account."""
    program = Path(runner.__file__)
    done = subprocess.run(
        [sys.executable, "-I", str(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert "must be the first of a PID namespace" in done.stderr


@pytest.mark.parametrize("name", ["/etc/x", "work/../../x", "home/.profile", "channels/k-1"])
def test_files_stay_in_their_folders(tmp_path: Path, name: str) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as made:
        made.addfile(tarfile.TarInfo(name), io.BytesIO())
    size = archive.tell()
    archive.seek(0)
    with pytest.raises(ValueError, match="cannot be taken"):
        runner.unpack(runner.Limited(archive, size), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_travels_with_a_submission(tmp_path: Path) -> None:
    work, modules = tmp_path / "week1", tmp_path / "pymod"
    for folder in (work / "data", work / ".ipynb_checkpoints", modules):
        folder.mkdir(parents=True)
    for file in ("data/a.csv", "tool.py", "week1.ipynb", ".ipynb_checkpoints/x.py", "data/b.ipynb"):
        (work / file).write_text(file)
    (work / "gradebook.db").symlink_to("/etc/passwd")
    (modules / "helper.py").write_text("")
    with io.BytesIO() as archive:
        tunnel.pack(archive, work, modules)
        size = archive.tell()
        archive.seek(0)
        target = tmp_path / "inside"
        target.mkdir()
        runner.unpack(runner.Limited(archive, size), target)
    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files == {"work/data/a.csv", "work/tool.py", "pymod/helper.py"}


@pytest.mark.parametrize("address", ["", "unix:/nowhere/socket", "tcp:127.0.0.1:1"])
def test_without_a_sandbox_nothing_runs(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(way.ADDRESS, address)
    with pytest.raises(way.NoSandboxError, match="start it again"):
        way.find_way().connect({})


def said_to(request: dict[str, str], key: str) -> str:
    """What a runner whose lock is that of ``key`` says; it knows no such request, so starts nothing."""
    lock = hashlib.sha256(key.encode()).hexdigest() if key else ""
    near, far = socket.socketpair()
    serving = runner.Runner.__new__(
        runner.Runner
    )  # without the thread that reaps this process' children
    serving._lock = lock
    with near:
        near.sendall(json.dumps(request).encode() + b"\n")
        near.shutdown(socket.SHUT_WR)
        serving.serve(far)
        return near.recv(1000).decode()


@pytest.mark.parametrize("given", [{}, {"key": ""}, {"key": "wrong"}, {"key": 7}, {"key": None}])
def test_a_wrong_key_is_refused_before_anything_else(given: dict[str, str]) -> None:
    assert "wrong key" in said_to({"do": "nothing", **given}, "right")


def test_the_right_key_and_none_where_none_is_asked_for() -> None:
    assert said_to({"do": "nothing", "key": "right"}, "right") == ""
    assert said_to({"do": "nothing"}, "") == ""


@contextmanager
def hub(*answers: tuple[int, dict[str, str]]) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A hub that gives these answers; its address, and what it was asked with which token."""
    asked: list[tuple[str, str | None]] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            status, answer = left.pop(0)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hub/api", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def in_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(way.ADDRESS, "hub:the-key")
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    monkeypatch.setenv("JUPYTERHUB_SERVER_NAME", "algo-instructor")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "t0p")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # of the course, not for the hub
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(way, "_known", [])


def test_the_hub_tells_where_it_is_once_it_is_there(
    monkeypatch: pytest.MonkeyPatch, in_a_pod: None
) -> None:
    told: list[str] = []
    wait = (200, {"wait": "It is being started."})
    with hub(wait, wait, (200, {"address": "10.1.2.3:8082"})) as (url, asked):
        monkeypatch.setenv("JUPYTERHUB_API_URL", url)
        assert way.find_way(told.append) == way.Way("tcp", "10.1.2.3:8082", "the-key")
    assert told == ["It is being started."], "once"
    assert asked == [("/hub/api/users/ada/servers/algo-instructor/grading", "token t0p")] * 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, {"error": "The cluster refuses it."}), "The cluster refuses it."),
        ((404, {}), "start it again"),
    ],
)
def test_why_there_is_none(
    monkeypatch: pytest.MonkeyPatch, in_a_pod: None, answer: tuple[int, dict[str, str]], words: str
) -> None:
    with hub(answer) as (url, _):
        monkeypatch.setenv("JUPYTERHUB_API_URL", url)
        with pytest.raises(way.NoSandboxError, match=words):
            way.find_way()


def test_while_the_hub_is_away_the_last_address_holds(
    monkeypatch: pytest.MonkeyPatch, in_a_pod: None
) -> None:
    here = (200, {"address": "10.1.2.3:8082"})
    with hub((503, {}), here, (503, {})) as (url, asked):
        monkeypatch.setenv("JUPYTERHUB_API_URL", url)
        assert way.find_way().where == "10.1.2.3:8082", "asked again until it answers"
        assert way.find_way().where == "10.1.2.3:8082"
    assert len(asked) == 3
    assert way.find_way().where == "10.1.2.3:8082"
    monkeypatch.setattr(way, "PATIENCE", 0)
    monkeypatch.setattr(way, "_known", [])
    with pytest.raises(way.NoSandboxError, match="The hub does not answer"):
        way.find_way()


def test_it_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch, in_a_pod: None) -> None:
    monkeypatch.setattr(way, "PATIENCE", 0)
    with hub((200, {"wait": "It waits for a place."})) as (url, _):
        monkeypatch.setenv("JUPYTERHUB_API_URL", url)
        with pytest.raises(way.NoSandboxError, match=r"a place\. It takes too long"):
            way.find_way()
