"""A university of its own for the browser suite: a real `courseyard up`, a real Chromium."""

from __future__ import annotations

import os
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
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, sync_playwright

from tests.browser.pages import Visitor
from tests.conftest import require
from tests.hub.sites import certificate, free_ports

_HERE = Path(__file__).parent
#: Beside the tests; a second run under another account may not write there.
SHOTS = (
    _HERE / "screenshots"
    if os.access(_HERE, os.W_OK)
    else Path(tempfile.gettempdir()) / f"courseyard-screenshots-{os.geteuid()}"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
#: Names below localhost are this machine, without any DNS (RFC 6761); Chromium knows.
NAME = "courseyard.localhost"
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

    def of(self, username: str) -> str:
        """Where a person's servers are, in the form with hosts of their own."""
        return self.base.replace(NAME, f"{username}.{NAME}")

    def log_in(self, username: str, path: str = "/") -> Visitor:
        visitor = self.visitor(username)
        visitor.log_in(self.passwords[username], path)
        return visitor


def link_images(folder: Path) -> None:
    """Use the images that stand built beside the example, where `script/test` made them."""
    beside = Path(__file__).parents[2] / "examples" / "university" / "images"
    given = os.environ.get("COURSEYARD_TEST_IMAGE", "")
    for image in [*beside.iterdir(), *([Path(given)] if given else [])]:
        link = folder / "images" / image.name
        if image.is_dir() and not image.name.startswith(".") and not link.exists():
            link.symlink_to(image)


def start(folder: Path, base: str) -> subprocess.Popen[str]:
    """``courseyard up`` on ``folder``; returns when it says that it is ready at ``base``."""
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
        if base in text.replace("\n", "") and "Ctrl-C" in text:
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
                # Of the sites that speak HTTPS: a service worker asks for more than a visitor's context says.
                "--ignore-certificate-errors",
            ],
        )
        yield chromium
        chromium.close()


@contextmanager
def running(
    folder: Path,
    browser: Browser,
    furnish: Callable[[Path], None] = lambda folder: None,
    **hub: Any,
) -> Iterator[University]:
    """A demo university in ``folder`` that is up.

    Args:
        folder: made here.
        browser: for its people.
        furnish: what to change in it before it starts.
        hub: settings; with ``subdomains`` it speaks HTTPS, and is :data:`NAME`.
    """
    subprocess.run([sys.executable, "-m", "courseyard.cli", "init", str(folder)], check=True)
    link_images(folder)
    site_file, port = folder / "courseyard.yaml", free_ports()
    settings = yaml.safe_load(site_file.read_text())
    base = f"http://127.0.0.1:{port}"
    if hub.get("subdomains"):
        base = f"https://{NAME}:{port}"
        hub["public_url"] = f"{base}/"
        tls = certificate(folder / "tls", NAME, f"*.{NAME}")
        Path(tls["key"]).chmod(
            0o644
        )  # the proxy's account reads it; the folder above is the test's
        settings["proxy"] = settings.get("proxy", {}) | {"tls": tls}
    settings["hub"] |= {"port": port, **hub}
    site_file.write_text(yaml.safe_dump(settings, allow_unicode=True))
    furnish(folder)
    process = start(folder, base)
    try:
        passwords = yaml.safe_load((folder / "passwords.yaml").read_text())
        yield University(folder, base, passwords, browser, folder / "storage")
    finally:
        stop(process)


@pytest.fixture(scope="session")
def university(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[University]:
    with running(tmp_path_factory.mktemp("browser") / "university", browser) as university:
        yield university
