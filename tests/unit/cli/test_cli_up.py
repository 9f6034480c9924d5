"""``courseyard up`` as a whole: starts, refuses, restarts what dies, ends cleanly."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from courseyard.cli.init import make_site
from courseyard.cli.ports import Listeners, ports
from courseyard.cli.supervise import Part, descendants, last_lines
from courseyard.errors import SettingsError, StartError
from courseyard.hub import proven
from courseyard.settings import Site
from courseyard.sitefile import load_site
from tests.neighbour import neighbour


def free_ports(number: int = 4) -> int:
    """The first of ``number`` free ports in a row."""
    for base in range(23000 + os.getpid() % 9000, 60000, 11):
        probes = [socket.socket() for _ in range(number)]
        try:
            for offset, probe in enumerate(probes):
                probe.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
        return base
    raise RuntimeError("no free ports")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site without software to build: nobody starts a server here."""
    folder = tmp_path / "demo"
    make_site(folder)
    for lock in (folder / "images").glob("*.txt"):
        lock.unlink()
    text = (folder / "courseyard.yaml").read_text()
    (folder / "courseyard.yaml").write_text(
        re.sub(r"port: 8000", f"port: {free_ports()}", text, count=1)
    )
    return folder


def port(site: Path) -> int:
    number: int = yaml.safe_load((site / "courseyard.yaml").read_text())["hub"]["port"]
    return number


class Up:
    """A running ``courseyard up``."""

    def __init__(self, site: Path, *words: str) -> None:
        self.log = site.parent / f"up-{time.monotonic_ns()}.log"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "courseyard.cli", "up", str(site), *words],
                stdout=out,
                stderr=out,
            )

    @property
    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, words: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < deadline, f"no {words!r} in:\n{self.text}"
            assert self.process.poll() is None or words in self.text, self.text
            time.sleep(0.1)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def start(require: Callable[[str], None]) -> Iterator[Callable[..., Up]]:
    require("bubblewrap")
    started: list[Up] = []

    def one(site: Path, *words: str) -> Up:
        started.append(Up(site, *words))
        return started[-1]

    yield one
    for up in started:
        if up.process.poll() is None:
            up.end()


def running(site: Path) -> list[str]:
    """Processes that name the site, whoever started them."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, UnicodeDecodeError):
            continue
        if entry.name.isdigit() and str(site) in words and int(entry.name) != os.getpid():
            found.append(words)
    return found


def test_a_site_starts_survives_a_death_and_ends(site: Path, start: Callable[..., Up]) -> None:
    up = start(site)
    up.wait_for("Ctrl-C")
    base = f"http://127.0.0.1:{port(site)}"
    assert f"{base}/" in up.text
    passwords = yaml.safe_load((site / "passwords.yaml").read_text())
    for name, word in passwords.items():
        assert re.search(rf"{name} +{word} ", up.text)

    second = start(site)
    assert second.process.wait(60) == 1
    assert f"running already (process {up.process.pid})" in second.text

    (hub,) = (p for p in descendants(up.process.pid) if _is(p, "-m jupyterhub"))
    os.kill(hub, signal.SIGKILL)
    up.wait_for("The hub ended")
    deadline = time.monotonic() + 60
    while not _healthy(base):
        assert time.monotonic() < deadline
        time.sleep(0.2)

    assert up.end(signal.SIGINT) == 0
    assert "Stopped." in up.text
    assert running(site) == []
    logs = {path.name for path in (site / "state" / "log").iterdir()}
    assert logs == {"agent.log", "hub.log", "proxy.log"}


def numbers(site: Path) -> list[int]:
    return [each.number for each in ports(load_site(site))]


def send_password(site: Path) -> bytes:
    """Somebody logs in; the answer of whoever listens."""
    data = b"username=ada&password=hunter2"
    with (
        contextlib.suppress(OSError, http.client.HTTPException),
        urllib.request.urlopen(
            f"http://127.0.0.1:{port(site)}/hub/login", data, timeout=1
        ) as reply,
    ):
        return bytes(reply.read())
    return b""


def test_a_neighbour_gets_no_port_while_hub_and_proxy_start_again(
    site: Path, start: Callable[..., Up], require: Callable[[str], None]
) -> None:
    require("root")
    lowest = next(low for low in range(1000, 500, -1) if _is_free(low) and _is_free(low + 2))
    text, first = (site / "courseyard.yaml").read_text(), port(site)
    ours = f"port: {lowest}\n  api_port: {first + 1}\n  servers_port: {first + 3}"
    (site / "courseyard.yaml").write_text(text.replace(f"port: {first}", ours))
    up = start(site)
    up.wait_for("Ctrl-C")
    for words in ("-m jupyterhub", "--configfile"):  # a low port, and no capability for it
        status = Path(f"/proc/{_of(up, words)}/status").read_text()
        assert {int(caps, 16) for caps in re.findall(r"Cap(?:Eff|Prm|Amb):\s+(\w+)", status)} == {0}
    with neighbour(*numbers(site)) as somebody:
        for words in ("-m jupyterhub", "--configfile"):
            before = _of(up, words)
            os.kill(before, signal.SIGKILL)
            deadline = time.monotonic() + 240
            while _of(up, words) in (0, before) or not _healthy(f"http://127.0.0.1:{port(site)}"):
                assert time.monotonic() < deadline, up.text
                send_password(site)
    assert somebody.got == ""


def test_without_held_ports_a_neighbour_gets_passwords(
    site: Path, require: Callable[[str], None]
) -> None:
    """The proxy goes on while the hub is away, and takes whoever listens at its port for the hub."""
    require("root")
    command = [sys.executable, "-m", "courseyard.cli", "proxy", str(site)]
    proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    routes = site / "state" / "proxy" / "routes"
    try:
        while not (routes / "courseyard.yaml").exists():
            assert proxy.poll() is None
            time.sleep(0.1)
        # What the hub wrote while it was there.
        known = {"http": {"middlewares": {proven.MIDDLEWARE: proven.middleware("secret")}}}
        (routes / "hub.yaml").write_text(json.dumps(known))
        (routes / "hub.yaml").chmod(0o644)
        with neighbour(*numbers(site)[1:2]) as somebody:
            deadline = time.monotonic() + 60
            while send_password(site) != b"hi":
                assert time.monotonic() < deadline
                time.sleep(0.1)
    finally:
        proxy.terminate()
        proxy.wait(30)
    assert "username=ada&password=hunter2" in somebody.got


def test_nothing_is_left_when_up_is_killed(site: Path, start: Callable[..., Up]) -> None:
    up = start(site)
    up.wait_for("Ctrl-C")
    up.process.kill()
    up.process.wait(10)
    deadline = time.monotonic() + 15
    while running(site):
        assert time.monotonic() < deadline, running(site)
        time.sleep(0.2)


def test_a_taken_port_is_a_sentence(site: Path, start: Callable[..., Up]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port(site)))
        taken.listen()
        up = start(site)
        assert up.process.wait(60) == 1
    assert f"Port {port(site)} of 127.0.0.1 cannot be used" in up.text
    assert "hub.port" in up.text
    assert "Traceback" not in up.text


@pytest.mark.parametrize(
    "key", ["hub.port", "hub.api_port", "hub.servers_port", "proxy.api_port", "proxy.metrics_port"]
)
def test_each_port_that_is_taken_is_named(tmp_path: Path, key: str) -> None:
    first = free_ports(5)
    loaded = Site(folder=tmp_path, hub={"port": first}, proxy={"metrics_port": first + 4})  # type: ignore[arg-type]
    (taken,) = (each for each in ports(loaded) if each.key == key)
    with (
        socket.create_server(("127.0.0.1", taken.number)),
        pytest.raises(SettingsError) as refused,
    ):
        Listeners(loaded)
    said = str(refused.value)
    assert f"Port {taken.number} of 127.0.0.1 cannot be used: another program has it." in said
    with Listeners(loaded) as listeners:  # what was open at the refusal is free again
        assert {*listeners.of("hub")} == {"hub", "servers"}
        assert {*listeners.of("proxy")} == {"web", "hub-api", "metrics"}


def test_a_broken_folder_of_a_course_is_a_warning(site: Path, start: Callable[..., Up]) -> None:
    exchange = site / "storage" / "exchange" / "ml2027"
    (exchange / "ml-old").mkdir(parents=True)
    (exchange / "ml2027").symlink_to("ml-old")
    up = start(site)
    up.wait_for("Ctrl-C")
    assert f"Warning: {exchange}/ml2027: is a link or not a folder" in up.text
    assert "the course ml2027 " in up.text
    assert "put a real folder there" in up.text
    assert (site / "storage/course/algo2026/files/source/week1/sorting.ipynb").is_file()
    assert up.end() == 0


def test_a_part_that_fails_shows_the_end_of_its_log(site: Path, start: Callable[..., Up]) -> None:
    (site / "jupyterhub_config.py").write_text("raise SystemExit('no such luck')\n")
    up = start(site)
    assert up.process.wait(120) == 1
    assert "The hub ended while it started." in up.text
    assert "hub.log" in up.text
    assert "no such luck" in up.text
    assert running(site) == []


def test_a_part_that_never_answers_has_a_limit(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    part = Part("sleeper", ["sleep", "60"], log, ready=lambda: False, patience=0.3)
    part.start()
    with pytest.raises(StartError, match="did not answer"):
        part.wait_ready()
    part.stop()
    assert not part.alive


def test_a_part_that_ended_is_not_taken_for_who_answers_in_its_place(tmp_path: Path) -> None:
    part = Part("mayfly", ["true"], tmp_path / "x.log", ready=lambda: True, patience=30)
    part.start()
    assert part.process is not None
    part.process.wait(10)
    with pytest.raises(StartError, match="ended while it started"):
        part.wait_ready()


def test_a_part_that_hangs_when_it_is_started_again_is_ended(tmp_path: Path) -> None:
    said: list[str] = []
    part = Part("sleeper", ["sleep", "60"], tmp_path / "x.log", ready=lambda: False, patience=0.2)
    part.start()
    part.pause = 0.05
    deadline = time.monotonic() + 30
    while len(said) < 4 and time.monotonic() < deadline:
        part.look_after(said.append)
        time.sleep(0.01)
    part.stop()
    assert "did not answer" in said[0]
    assert "is started again" in said[1]
    assert "did not answer" in said[2]


def test_a_part_that_dies_again_and_again_waits_longer(tmp_path: Path) -> None:
    said: list[str] = []
    part = Part("mayfly", ["true"], tmp_path / "x.log", ready=lambda: True, patience=1)
    part.start()
    assert part.process is not None
    part.process.wait(10)
    part.pause = 0.05
    pauses = []
    deadline = time.monotonic() + 10
    while len(said) < 3 and time.monotonic() < deadline:
        part.look_after(said.append)
        pauses.append(part.pause)
        time.sleep(0.01)
    assert len(said) == 3
    assert max(pauses) >= 0.4


def test_what_is_kept_is_started_again_until_asked_to_end(tmp_path: Path) -> None:
    """As the agent in its container: it ends, and the container does not."""
    begun = tmp_path / "begun"
    part = (
        f"import os, time; open({str(begun)!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(60)"
    )
    keeper = f"import sys; from courseyard.cli import supervise; supervise.keep('part', [sys.executable, '-c', {part!r}])"
    process = subprocess.Popen([sys.executable, "-c", keeper], stderr=subprocess.PIPE, text=True)

    def latest(number: int) -> int:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            found = begun.read_text().split() if begun.exists() else []
            if len(found) >= number:
                return int(found[number - 1])
            time.sleep(0.05)
        raise AssertionError(f"not started {number} times")

    os.kill(latest(1), signal.SIGKILL)
    second = latest(2)
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "The part ended (-9) and is started again" in said
    assert not Path(f"/proc/{second}").exists()


def test_last_lines_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"\xff\n" * 20_000 + b"the end\n")
    assert last_lines(log, lines=2).splitlines()[-1] == "the end"
    assert last_lines(tmp_path / "none") == ""


def test_a_start_that_fails_shows_lines_of_this_run_alone(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_text("an old traceback\n")
    part = Part(
        "part", ["sh", "-c", "echo new trouble; exit 1"], log, ready=lambda: False, patience=20
    )
    part.start()
    with pytest.raises(StartError) as failed:
        part.wait_ready()
    assert failed.value.detail == "new trouble"


def _is(pid: int, words: str) -> bool:
    try:
        return words in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return False


def _is_free(number: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", number)).close()
    except OSError:
        return False
    return True


def _of(up: Up, words: str) -> int:
    """The process of a part itself, inside its walls; 0 for none."""
    return next((p for p in reversed(descendants(up.process.pid)) if _is(p, words)), 0)


def _healthy(base: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base}/hub/health", timeout=3) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
