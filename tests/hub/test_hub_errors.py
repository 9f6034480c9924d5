"""Error pages: our own words, and an id that the log has too."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from sites import Hub

#: Words of JupyterHub, tornado and HTTP, which nobody who meets them understands.
FOREIGN = (
    r"scopes|No access to|Unhandled|Not Found|Forbidden|HTTP|Traceback|No such user|Missing arg"
)
OTHERS, NOTHING = "This is not yours to open", "There is nothing at this address"
PAGES = [
    ("otso", "/hub/admin", 403, OTHERS, "ask the people of the course"),
    ("otso", "/hub/metrics", 403, OTHERS, "the help desk"),
    ("otso", "/hub/nothing-here", 404, NOTHING, "Check the address"),
    ("otso", "/hub/spawn/otso/<nothing>", 403, "No such course", "Your course page shows"),
    ("otso", "/hub/spawn/aino/scip", 404, NOTHING, "Check the address"),
    ("otso", "/hub/spawn-pending/aino/scip", 404, NOTHING, "Check the address"),
    ("otso", "/hub/go/secret", 403, "No such course", "Your course page shows"),
    ("otso", "/hub/go/algo2O26", 403, "No such course", "Your course page shows"),
    ("otso", "/hub/go/scip-instructor", 403, OTHERS, "Only instructors of"),
    ("otso", "/user/aino/scip/lab/tree/x.ipynb", 404, OTHERS, "Ask for one with /hub/go/"),
    ("otso", "/hub/user/nobody-at-all/x", 404, OTHERS, "another person's server"),
    ("pomo", "/hub/user/aino/scip/lab", 404, OTHERS, "another person's server"),
    ("otso", "/hub/error/502", 200, "The server does not answer", "Try again in a minute"),
    ("otso", "/hub/api/oauth2/authorize", 400, "The browser sent something", ""),
]  # fmt: skip


@pytest.mark.parametrize(("who", "path", "status", "title", "said"), PAGES)
def test_it_speaks_our_words_and_has_an_id(
    hub: Hub, who: str, path: str, status: int, title: str, said: str
) -> None:
    reply = hub.visitor(who).get(path)
    page = reply.text.replace("&#39;", "'")
    main = page.partition("<main")[2].partition("</main>")[0]
    assert reply.status_code == status
    assert re.search(rf"<h1>{title}", main), main
    assert said in main
    assert not re.search(FOREIGN, main), main
    found = re.search(r"For the help desk: <code>([0-9a-f]{8})</code>", main)
    assert found, main
    assert found[1] in hub.log()


FAILS = """
from courseyard.hub.home.handlers import HomeHandler

async def fails(self, user):
    raise LookupError("the secret cause")

HomeHandler.notice_ended = fails
"""


def test_a_fault_of_ours_keeps_its_cause_for_the_log(own_hub: Callable[..., Hub]) -> None:
    hub = own_hub(more=FAILS)
    reply = hub.visitor().log_in("otso")
    main = reply.text.partition("<main")[2]
    assert reply.status_code == 500
    assert "Something went wrong on our side" in main
    assert "Your files are safe" in main
    assert "secret cause" not in reply.text
    found = re.search("<code>([0-9a-f]{8})</code>", main)
    assert found
    told = hub.log().partition(found[1])
    assert "500 /hub/home" in told[2]
    assert "the secret cause" in told[0] + told[2]
