"""``courseyard check --kubernetes`` where there is no cluster; what it finds in one: tests/cluster/test_check.py."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from courseyard.cli import init
from courseyard.errors import BackendError
from tests.unit.cli.test_cli_commands import run


@pytest.fixture
def site(tmp_path: Path) -> Path:
    init.make_site(tmp_path / "site", namespace="docs")
    return tmp_path / "site"


def kubeconfig(folder: Path, port: int) -> dict[str, str]:
    file = folder / "kubeconfig"
    file.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "a", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "a", "user": {"token": "very-secret"}}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "current-context": "a",
            }
        )
    )
    return {"KUBECONFIG": str(file)}


def refused(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    """One error, in words, and nothing else."""
    assert done.returncode == 1
    assert sentence in done.stderr, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr and "very-secret" not in done.stderr
    assert "should not have happened" not in done.stderr


def test_no_kubeconfig(site: Path, tmp_path: Path) -> None:
    done = run("check", "--kubernetes", site, env={"KUBECONFIG": str(tmp_path / "none")})
    refused(done, "There is no cluster to ask")
    assert "Set KUBECONFIG" in done.stderr


def test_no_cluster_answers(site: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = run("check", "--kubernetes", "--json", site, env=kubeconfig(tmp_path, port))
    refused(done, f"No cluster answers at http://127.0.0.1:{port}.")


def sentence(monkeypatch: pytest.MonkeyPatch, file: str) -> str:
    """What is said about the cluster of a kubeconfig; its library takes seconds to import."""
    from kubernetes_asyncio.config import kube_config

    from courseyard.backends.kubernetes.check.api import connected

    async def connect() -> None:
        async with connected():
            pass

    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", file)
    with pytest.raises(BackendError) as error:
        asyncio.run(connect())
    return error.value.message


@pytest.mark.parametrize("text", ["", "[1", "- 1\n", "7", "apiVersion: v1\nkind: Config\n"])
def test_broken_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    assert "There is no cluster to ask" in sentence(monkeypatch, str(file))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "No cluster answers"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "No cluster answers"),
        (b"nonsense\r\n\r\n", "No cluster answers"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "No cluster answers"),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", "The cluster does not know you"),
    ],
)
def test_what_answers_is_no_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, told: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answer, args=(server, answer), daemon=True).start()
        file = kubeconfig(tmp_path, server.getsockname()[1])["KUBECONFIG"]
        assert told in sentence(monkeypatch, file)


def _answer(server: socket.socket, answer: bytes, after: float = 0) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(65536)
            time.sleep(after)
            connection.sendall(answer)


def test_what_takes_long_is_told(site: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answer, args=(server, b"", 3), daemon=True).start()
        port = server.getsockname()[1]
        done = run("check", "--kubernetes", site, env=kubeconfig(tmp_path, port))
    assert "Asking the cluster …\n" in done.stderr
    assert "No cluster answers" in done.stderr


def test_a_site_without_a_cluster(tmp_path: Path) -> None:
    init.make_site(tmp_path / "site")
    refused(run("check", "--kubernetes", tmp_path / "site"), "This site does not run on a cluster")


def test_the_extra_is_missing(site: Path) -> None:
    code = (
        "import sys; sys.modules['kubernetes_asyncio'] = None\n"
        "from courseyard.cli import main\n"
        f"sys.argv = ['courseyard', 'check', '--kubernetes', {str(site)!r}]\nmain()\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COURSEYARD_")}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment)
    refused(done, "This installation cannot ask a cluster")
    assert "[kubernetes]'" in done.stderr


def test_a_broken_site_file_is_told_as_always(site: Path) -> None:
    (site / "courseyard.yaml").write_text("backend: kubernetes\nnam: x\n")
    done = run("check", "--kubernetes", site)
    assert done.returncode == 1
    assert "courseyard.yaml:2: nam: unknown key" in done.stdout
