"""A running cluster for all tests in here; see rig.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.conftest import browser as browser  # the fixture
from tests.browser.conftest import pytest_runtest_makereport as pytest_runtest_makereport
from tests.cluster import rig
from tests.cluster.deployed import Deployed
from tests.conftest import require


@pytest.fixture(scope="session")
def kube() -> Iterator[rig.Kube]:
    """The cluster of this run, with the images of this checkout in its nodes.

    A cluster that runs already goes on afterwards. One that is started here stops at the end, unless
    ``COURSEYARD_KEEP_CLUSTER=1``: then the next run starts within seconds.
    """
    require("cluster")
    with rig.running() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def yard(kube: rig.Kube) -> Iterator[Deployed]:
    """The example university in the cluster, started as its documentation says."""
    site = Deployed(kube, "yard", 30081)
    try:
        site.down()
        site.make()
        site.up()
        yield site
    finally:
        site.down()
