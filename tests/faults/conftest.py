"""One site for most faults; those that break the ground under one make their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.town import Town


@pytest.fixture(scope="session")
def town() -> Iterator[Town]:
    town = Town.make()
    try:
        town.up()
        yield town
    finally:
        town.close()
