"""A log-in whose requests reach the hub by different nodes and proxies."""

from __future__ import annotations

import itertools
import re

import requests

from tests.cluster.deployed import Deployed


def test_log_in_by_different_ways(yard: Deployed) -> None:
    """The page by one node, the form by another: the hub sees two addresses, and lets one in."""
    kube = yard.kube
    ways = [f"http://{kube.node_address(n)}:{yard.node_port}" for n in kube.node_names()]
    tried = [(page, form) for page, form in itertools.product(ways, ways) for _ in range(3)]
    answers = [_log_in(page, form, "maija", yard.passwords["maija"]) for page, form in tried]
    assert answers == [302] * len(tried)


def _log_in(page: str, form: str, username: str, password: str) -> int:
    """The status of a log-in with the page of one address and the form sent to another."""
    seen = requests.get(f"{page}/hub/login", timeout=20)
    hidden = re.search(r'name="_xsrf"[^>]*value="([^"]*)"', seen.text)
    assert hidden
    sent = requests.post(
        f"{form}/hub/login",
        data={"username": username, "password": password, "_xsrf": hidden[1]},
        cookies=seen.cookies.get_dict(),
        allow_redirects=False,
        timeout=20,
    )
    return sent.status_code
