"""What the command line says of a site that cannot work, of full disks and of narrow terminals."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from courseyard.cli.check import problems_of
from courseyard.errors import Problem
from tests.conftest import bubblewrap
from tests.unit.cli.test_cli_commands import made, no_traceback, run, site

__all__ = ["made", "site"]
BWRAP = bubblewrap()


def settings(site: Path, **values: object) -> list[Problem]:
    """What a check says of the site with these settings."""
    file = site / "courseyard.yaml"
    kept = yaml.safe_load(file.read_text())
    for key, value in values.items():
        kept[key] = {**kept.get(key, {}), **value} if isinstance(value, dict) else value
    file.write_text(yaml.safe_dump(kept))
    return list(problems_of(site))


# --- files and ports ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hub", "proxy", "key", "said"),
    [
        ({"port": 9000, "api_port": 9000}, {}, "hub.api_port", "9000 is the port of `hub.port` too"),
        ({"port": 9000, "servers_port": 9001}, {}, "hub.servers_port", "of `hub.api_port` too"),
        ({"port": 9000}, {"api_port": 9003}, "proxy.api_port", "of `hub.servers_port` too"),
        ({"port": 9000}, {"metrics_port": 9002}, "proxy.metrics_port", "of `proxy.api_port` too"),
        ({"port": 65535}, {}, "hub.port", "`hub.api_port` would be 65536"),
    ],
)  # fmt: skip
def test_two_equal_ports(
    site: Path, hub: dict[str, int], proxy: dict[str, int], key: str, said: str
) -> None:
    (problem,) = settings(site, hub=hub, proxy=proxy)
    assert problem.is_error
    assert problem.key == key
    assert problem.line
    assert said in problem.message


def of_key(problems: list[Problem], key: str) -> str:
    found = [problem for problem in problems if problem.key == key]
    assert all(problem.line for problem in found)
    return " ".join(map(str, found))


def test_tls_files_that_are_not_there(site: Path) -> None:
    (site / "key.pem").write_text("x")
    told = settings(site, proxy={"tls": {"certificate": "chain.pem", "key": "key.pem"}})
    assert "chain.pem is not there" in of_key(told, "proxy.tls.certificate")
    assert any(problem.is_error for problem in told)
    (site / "key.pem").unlink()
    assert "key.pem is not there" in of_key(list(problems_of(site)), "proxy.tls.key")
    (site / "chain.pem").write_text("no certificate")
    assert "in PEM form" in of_key(list(problems_of(site)), "proxy.tls.certificate")


def test_a_logo_that_pages_cannot_show(site: Path) -> None:
    assert "is not there" in of_key(settings(site, branding={"logo": "logo.svg"}), "branding.logo")
    (site / "logo.svg").write_text("<svg/>")
    assert of_key(list(problems_of(site)), "branding.logo") == ""
    (site / "logo.gif").write_text("GIF")
    told = settings(site, branding={"logo": "logo.gif"})
    assert "write the path of an .svg or .png file" in of_key(told, "branding.logo")
    (site / "logo.png").symlink_to("/etc/hostname")
    told = settings(site, branding={"logo": "logo.png"})
    assert "leads out of its folder" in of_key(told, "branding.logo")


def test_an_access_log_without_its_folder(site: Path) -> None:
    told = settings(site, proxy={"access_log": "logs/access.log"})
    assert "the folder of logs/access.log is not there" in of_key(told, "proxy.access_log")
    (site / "logs").mkdir()
    assert of_key(list(problems_of(site)), "proxy.access_log") == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="folders of others need root")
@pytest.mark.parametrize("source", ["static", "nss"])
def test_a_home_of_somebody_else(site: Path, source: str) -> None:
    people = yaml.safe_load((site / "people.yaml").read_text())["people"]
    uid = people["maija"]["uid"]
    home = site / "storage" / "u" / f"{uid % 100:02d}" / "maija"
    home.mkdir(parents=True)
    os.chown(home, uid, uid)
    if source == "nss":
        settings(site, people={"source": "nss"}, hub={"authenticator": "pam"})
    assert not [problem for problem in problems_of(site) if problem.file == home]
    os.chown(home, 20999, 20999)
    (problem,) = (problem for problem in problems_of(site) if problem.file == home)
    assert problem.is_error
    assert "belongs to UID 20999" in problem.message
    assert "maija cannot start a server" in problem.message
    done = run("storage", "apply", site, "--dry-run")
    assert done.returncode == 1
    assert str(problem) in done.stderr
    assert "as it should be" not in done.stderr


# --- bytes and disks ------------------------------------------------------------------------------


def test_json_is_utf8_whatever_a_files_name_is(site: Path) -> None:
    strange = os.fsencode(site / "courses") + b"/caf\xe9.yaml"
    with open(strange, "w") as file:
        file.write("name: x\n")
    for locale in ("C", "C.UTF-8"):
        done = subprocess.run(
            [sys.executable, "-m", "courseyard.cli", "check", "--json", str(site)],
            capture_output=True,
            timeout=60,
            check=False,
            env=os.environ | {"LC_ALL": locale},
        )
        found = json.loads(done.stdout.decode("utf-8"))
        assert [each for each in found if "caf\ufffd.yaml" in each["file"]]


FULL = """
set -u
site=/mnt/demo
run() { {python} -m courseyard.cli "$@"; }
{commands}
"""


def on_small_disk(size: int, commands: str) -> str:
    """What shell commands say on a disk of so many bytes at /mnt."""
    script = FULL.replace("{python}", sys.executable).replace("{commands}", commands)
    done = subprocess.run(
        [BWRAP, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp",
         "--size", str(size), "--tmpfs", "/mnt", "bash", "-c", script],
        capture_output=True, text=True, timeout=120, check=False, cwd="/mnt",
        env={k: v for k, v in os.environ.items() if not k.startswith("COURSEYARD_")},
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.skipif(not BWRAP, reason="bubblewrap is not installed")
class TestFullDisk:
    def test_init(self) -> None:
        said = on_small_disk(200_000, "run init $site; ls -A /mnt")
        assert said == (
            "/mnt/demo cannot be made: No space left on device.\n"
            "Make room there, or choose another place.\n"
        )

    def test_storage_and_up(self) -> None:
        said = on_small_disk(
            20_000_000,
            "run init $site >/dev/null; cat /dev/zero > /mnt/fill 2>/dev/null\n"
            "run storage apply $site >/dev/null; run up $site; rm /mnt/fill\n"
            "run storage apply $site; cat /mnt/demo/storage/course/algo2026/data/words.txt | wc -c",
        )
        assert "None" not in said
        assert "its first files: No space left on device, so" in said
        assert "make room there and run" in said
        assert "The site cannot run: /mnt/demo/state: No space left on device" in said
        # Nothing half copied was left, so all of it comes when there is room.
        assert re.search(r"course/algo2026: \d+ first files", said)
        assert said.strip().splitlines()[-1] != "0"
        no_traceback(subprocess.CompletedProcess([], 0, said, ""))


# --- terminals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 140])
@pytest.mark.parametrize(
    "words", [("courses",), ("images", "list"), ("plan", "ada", "algo2026", "-s")]
)
def test_tables_fit_the_terminal(site: Path, width: int, words: tuple[str, ...]) -> None:
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "courseyard.cli", *words, str(site)],
        stdout=follower,
        env=os.environ | {"TERM": "xterm", "COLUMNS": str(width)},
    ) as process:
        os.close(follower)
        text = b""
        try:
            while part := os.read(leader, 65536):
                text += part
        except OSError:  # the other end has gone
            pass
        assert process.wait(60) == 0
    os.close(leader)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text.decode()).split("\r\n")
    assert max(map(len, lines)) <= width, lines
    if words == ("courses",):
        shown = {line.rstrip() for line in lines}
        assert ("  instructors: ada, tomas" in shown) == (width == 40)


def test_a_port_is_chosen_before_the_first_start(tmp_path: Path) -> None:
    """By `init`, and by script/up before there is a site."""
    assert run("init", tmp_path / "demo", "--port", "9000").returncode == 0
    text = (tmp_path / "demo" / "courseyard.yaml").read_text()
    assert yaml.safe_load(text)["hub"]["port"] == 9000
    assert "http://127.0.0.1:9000" in text  # the comment beside it, too
    assert not [problem for problem in problems_of(tmp_path / "demo") if problem.is_error]
    refused = subprocess.run(
        [Path(__file__).parents[3] / "script" / "up", tmp_path / "demo", "--port", "9001"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "is there already: write its port under hub:" in refused.stderr
