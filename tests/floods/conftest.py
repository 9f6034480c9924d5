"""Two hubs of their own: one as it is, one without what stops floods. Floods would disturb others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))
sys.path.insert(0, str(Path(__file__).parent))
from flooding import KINDS
from sites import Hub

#: As on a machine where the usual soft limit is low; times short, so that a test sees their end.
EARLY = """\
import resource
from courseyard.hub import bounds, configure as configuring, door
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 4096))
bounds._BODY_TIME, bounds._QUIET = 3.0, 5.0
"""
TAKEN_AWAY = """\
from tornado.httpclient import AsyncHTTPClient
from courseyard.hub import planned
bounds.bound = door.bound = lambda server: None
configuring.use_all_files = lambda: None
planned.careful_client = lambda: AsyncHTTPClient(force_instance=True)
"""


def make(folder: Path, early: str) -> Hub:
    hub = Hub(folder / "site", early=early, proxy={"login_rate": 10_000})
    for kind in (*KINDS, "elsewhere"):
        environment = {
            "FAKE_WAY": f"flood-{kind}",
            "FAKE_ELSEWHERE": f"http://127.0.0.1:{hub.port - 1}/",
        }
        override = {"environment": environment, "http_timeout": 3}
        hub.write_course(f"flood-{kind}", {"name": kind, "kubespawner_override": override})
    return hub


@pytest.fixture(scope="session")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    hub = make(tmp_path_factory.mktemp("protected"), EARLY)
    try:
        hub.start()
        yield hub
    finally:
        hub.close()


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory, protected: Hub) -> Iterator[Hub]:
    hub = make(tmp_path_factory.mktemp("bare"), EARLY + TAKEN_AWAY)
    try:
        hub.start()
        yield hub
    finally:
        hub.close()
