"""One hub for most tests; those that restart or configure make their own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from sites import Hub
from walls import guarded_hub, started, unguarded_hub


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    hub = Hub(tmp_path_factory.mktemp("site") / "site", proxy={"login_rate": 1000})
    try:
        hub.start()
        yield hub
    finally:
        hub.close()


@pytest.fixture
def own_hub(tmp_path: Path) -> Iterator[Callable[..., Hub]]:
    """Makes a hub with settings of its own; started and closed by the fixture."""
    made: list[Hub] = []

    def make(**settings: Any) -> Hub:
        settings.setdefault("proxy", {"login_rate": 1000})
        hub = Hub(tmp_path / f"site{len(made)}", **settings)
        made.append(hub)
        hub.start()
        return hub

    yield make
    for hub in made:
        hub.close()


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub that tells its addresses, where a name has three tries and no more."""
    yield from started(guarded_hub(tmp_path_factory.mktemp("guarded") / "site"))


@pytest.fixture(scope="session")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub without what counts, refuses and hides."""
    yield from started(unguarded_hub(tmp_path_factory.mktemp("unguarded") / "site"))
