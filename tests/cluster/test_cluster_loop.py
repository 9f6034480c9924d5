"""The main job once more, in a cluster: the same story, servers as pods on two nodes."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.browser import test_loop as loop
from tests.browser.conftest import SHOTS, University

# The steps in their order, and the fixtures that they use.
from tests.browser.test_loop import *  # noqa: F403
from tests.browser.test_loop import Story, in_order, story  # noqa: F401
from tests.cluster.deployed import Deployed


@pytest.fixture(scope="module")
def university(yard: Deployed, browser: Browser) -> University:
    return University(
        yard.folder, yard.base, yard.passwords, browser, yard.storage, SHOTS / "cluster"
    )


def test_zz_servers_ran_on_both_nodes(story: Story, yard: Deployed) -> None:  # noqa: F811
    """Three servers still run after the story; the scheduler spreads them."""
    nodes = {pod["spec"]["nodeName"] for pod in yard.pods()}
    assert len(nodes) == 2, nodes
    assert {p["metadata"]["labels"]["courseyard/course"] for p in yard.pods()} == {loop.COURSE}
