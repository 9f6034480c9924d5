"""A university of its own for the browser suite: a real `courseyard up`, a real Chromium."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, sync_playwright

from tests.browser.pages import Visitor
from tests.conftest import require
from tests.hub.sites import free_ports

_HERE = Path(__file__).parent
#: Beside the tests; a second run under another account may not write there.
SHOTS = (
    _HERE / "screenshots"
    if os.access(_HERE, os.W_OK)
    else Path(tempfile.gettempdir()) / f"courseyard-screenshots-{os.geteuid()}"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
UP_TIMEOUT = 600  # seconds; the first time builds the image


@dataclass
class University:
    """A running demo university."""

    folder: Path
    base: str
    passwords: dict[str, str]
    browser: Browser
    storage: Path
    shots: Path = SHOTS / ("root" if os.geteuid() == 0 else "user")

    def visitor(self, username: str) -> Visitor:
        """Somebody with an open browser, not logged in."""
        return Visitor.arrive(self.browser, self.base, username, self.shots)

    def log_in(self, username: str, path: str = "/") -> Visitor:
        visitor = self.visitor(username)
        visitor.log_in(self.passwords[username], path)
        return visitor


def link_images(folder: Path) -> None:
    """Use the images that stand built beside the example, where `script/test` made them."""
    for image in (Path(__file__).parents[2] / "examples" / "university" / "images").iterdir():
        if image.is_dir() and not image.name.startswith("."):
            (folder / "images" / image.name).symlink_to(image)


def start(folder: Path) -> subprocess.Popen[str]:
    """``courseyard up`` on ``folder``; returns when it says that it is ready."""
    log = (folder.parent / "up.log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "courseyard.cli", "up", str(folder)],
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + UP_TIMEOUT
    while time.monotonic() < deadline:
        text = (folder.parent / "up.log").read_text()
        if re.search(r"http://127\.0\.0\.1:\d+", text) and "Ctrl-C" in text:
            return process
        if process.poll() is not None:
            raise AssertionError(f"courseyard up ended with {process.returncode}:\n{text}")
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    raise AssertionError(f"courseyard up was not ready in {UP_TIMEOUT} s:\n{text}")


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    report = yield
    if report.when == "call":
        item.call_report = report  # type: ignore[attr-defined]
    return report


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        require("browser")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
            ],
        )
        yield chromium
        chromium.close()


@contextmanager
def open_university(
    folder: Path, furnish: Callable[[Path], None] = lambda folder: None
) -> Iterator[tuple[str, dict[str, str]]]:
    """A demo university that runs in ``folder``: its address and its people's passwords.

    Args:
        folder: made here.
        furnish: what to change in it before it starts.
    """
    subprocess.run([sys.executable, "-m", "courseyard.cli", "init", str(folder)], check=True)
    link_images(folder)
    site_file = folder / "courseyard.yaml"
    port = free_ports()
    text = re.sub(r"(?m)^(\s+)#?\s*port: \d+", rf"\g<1>port: {port}", site_file.read_text())
    assert f"port: {port}" in text
    site_file.write_text(text)
    furnish(folder)
    process = start(folder)
    try:
        passwords = yaml.safe_load((folder / "passwords.yaml").read_text())
        yield f"http://127.0.0.1:{port}", passwords
    finally:
        stop(process)


@pytest.fixture(scope="session")
def university(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[University]:
    folder = tmp_path_factory.mktemp("browser") / "university"
    with open_university(folder) as (base, passwords):
        yield University(folder, base, passwords, browser, folder / "storage")
