"""The loop once more in a cluster where each person has a host, by plain http on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser import test_loop_domains as loop
from tests.browser.conftest import NAME, SHOTS, University

# The steps, and the fixtures that they use.
from tests.browser.test_loop_domains import *  # noqa: F403
from tests.browser.test_loop_domains import student, teacher  # noqa: F401
from tests.cluster.deployed import Deployed
from tests.cluster.rig import Kube
from tests.hub.sites import free_ports

pytestmark = pytest.mark.skipif(
    not os.environ.get("COURSEYARD_LONG"),
    reason="a site of its own and the whole loop: COURSEYARD_LONG=1 runs it, before a release",
)


@pytest.fixture(scope="module")
def site(kube: Kube) -> Iterator[Deployed]:
    """A site of its own: where people's servers are is not changed under running ones."""
    made = Deployed(kube, "apart", 30084)
    made.base = f"http://{NAME}:{free_ports()}"
    commented = "  # public_url: https://jupyter.example.org/     # what people open, where an ingress speaks HTTPS\n"
    try:
        made.down()
        made.make()
        hosts = f"  public_url: {made.base}/\n  subdomains: true\n"
        made.change("courseyard.yaml", commented, hosts)
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def apart(site: Deployed, browser: Browser) -> Iterator[University]:
    """Its proxies at this machine's loopback, which all names below localhost are."""
    port = site.base.rpartition(":")[2]
    words = ("port-forward", "-n", site.namespace, "service/proxy", f"{port}:80")
    forward = subprocess.Popen(site.kube.words(*words), stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(port)), 1).close()
                break
            except OSError:
                assert time.monotonic() < until, "the port is not forwarded"
                time.sleep(0.2)
        shots = SHOTS / "cluster-domains"
        yield University(site.folder, site.base, site.passwords, browser, site.storage, shots)
    finally:
        forward.terminate()
        forward.wait(10)


def test_zz_servers_were_pods(site: Deployed, apart: University) -> None:
    (pod,) = site.servers(loop.TEACHER)
    values = {v["name"]: v.get("value") for v in pod["spec"]["containers"][0]["env"]}
    assert values["JUPYTERHUB_HOST"] == site.base
    assert values["JUPYTERHUB_API_URL"].startswith("http://")
    assert NAME not in values["JUPYTERHUB_API_URL"]
