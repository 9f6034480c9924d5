"""The second backend of the contract, where there is a cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.conftest import kube as kube  # the fixture
from tests.cluster.rig import PYTHON, Kube
from tests.contract.pods import PodYard


@pytest.fixture(scope="session")
def pods(kube: Kube) -> Iterator[PodYard]:
    """A site whose servers are pods with a probe in them."""
    yard = PodYard(kube, PYTHON)
    try:
        yard.up()
        yield yard
    finally:
        yard.close()
