"""Starts that are refused, fail or end; limits; what a server is given."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import requests
from sites import Hub, Visitor
from test_hub_addresses import knock


def api(visitor: Visitor, method: str, path: str, **kwargs: object) -> requests.Response:
    """JupyterHub's API with the page's cookie, as a script on it would call it."""
    headers = {"X-XSRFToken": visitor.xsrf, "Referer": visitor.hub.base + "/hub/home"}
    return visitor.request(method, f"/hub/api{path}", headers=headers, **kwargs)


FORGED = [
    ("otso", "secret"),  # a private course of others
    ("otso", "scip-instructor"),  # a role that is not the person's
    ("pomo", "scip-instructor"),  # administrators are no instructors
    ("maija", "old"),  # archived
    ("maija", "old-instructor"),
    ("otso", "nothing-here"),
    ("otso", "general-julia-env"),
]


@pytest.mark.parametrize(("username", "server"), FORGED)
@pytest.mark.parametrize("way", ["link", "form", "spawn-form", "spawn-link", "api", "api-options"])
def test_forged_requests_are_refused_and_logged(
    hub: Hub, username: str, server: str, way: str
) -> None:
    visitor = hub.visitor(username)
    before = len(hub.log())
    link = server.replace("general-julia-env", "general/julia")
    options = {"user_options": {"course": server, "role": "instructor"}, "display_name": "x"}
    reply = {
        "link": lambda: visitor.get(f"/hub/go/{link}"),
        "form": lambda: visitor.act(f"/hub/go/{link}"),
        "spawn-form": lambda: visitor.act(f"/hub/spawn/{username}/{server}", profile="scip"),
        "spawn-link": lambda: visitor.get(f"/hub/spawn/{username}/{server}"),
        "api": lambda: api(visitor, "POST", f"/users/{username}/servers/{server}"),
        "api-options": lambda: api(
            visitor, "POST", f"/users/{username}/servers/{server}", json=options
        ),
    }[way]()
    unknown_environment = server == "general-julia-env" and way in ("link", "form")
    assert reply.status_code == (404 if unknown_environment else 403), reply.text
    assert re.search(r"There is no|Only instructors|No course or environment|archived", reply.text)
    assert "Traceback" not in reply.text
    if not unknown_environment:
        assert re.search(rf"Refused: {username} asked by .*{server}", hub.log()[before:])
    assert server not in api(visitor, "GET", f"/users/{username}").json()["servers"]


def test_hidden_and_missing_courses_look_alike(hub: Hub) -> None:
    visitor = hub.visitor("otso")
    texts = []
    for slug in ("secret", "nothing-here"):
        text = visitor.get(f"/hub/go/{slug}").text
        texts.append(re.sub(r"<code>.*?</code>", "", text).replace(slug, "X"))
    assert texts[0] == texts[1]


def test_nobody_starts_or_reads_for_another(hub: Hub) -> None:
    visitor = hub.visitor("otso")
    for path in (
        "/users/aino/servers/algo2026",
        "/users/aino/server",
        "/users/nobody/servers/algo2026",
    ):
        assert api(visitor, "POST", path).status_code in (403, 404), path
    assert visitor.get("/hub/spawn/aino/algo2026").status_code in (403, 404)
    assert visitor.get("/hub/spawn-pending/aino/algo2026").status_code in (403, 404)
    assert api(visitor, "GET", "/users").status_code == 403


def test_servers_cannot_be_renamed(hub: Hub) -> None:
    visitor = hub.visitor("otso")
    visitor.act("/hub/go/algo2026")
    visitor.wait_running("algo2026")
    visitor.act("/hub/stop/algo2026")
    reply = api(visitor, "PATCH", "/users/otso/servers/algo2026", json={"name": "scip-instructor"})
    assert reply.status_code == 403
    assert "cannot be renamed" in reply.text


def test_a_long_wish_is_refused(hub: Hub) -> None:
    visitor = hub.visitor("otso")
    reply = api(
        visitor, "POST", "/users/otso/servers/algo2026", json={"user_options": {"x": "y" * 20_000}}
    )
    assert reply.status_code == 403


def test_administrators_see_servers_but_not_into_them(hub: Hub) -> None:
    student, admin = hub.visitor("otso"), hub.visitor("pomo")
    student.act("/hub/go/algo2026")
    student.wait_running("algo2026")
    page = admin.get("/hub/admin").text
    assert "Otso Laine" in page
    assert "1 server of 1 person" in admin.get("/hub/admin", params={"q": "algorithms"}).text
    assert student.get("/hub/admin").status_code in (403, 404)
    assert student.act("/hub/admin/stop/otso/algo2026").status_code in (403, 404)
    assert "algo2026" in api(admin, "GET", "/users/otso").text
    reply = admin.get(
        "/hub/api/oauth2/authorize",
        params={
            "client_id": "jupyterhub-user-otso-algo2026",
            "response_type": "code",
            "redirect_uri": "/user/otso/algo2026/oauth_callback",
        },
        allow_redirects=False,
    )
    assert reply.status_code in (403, 404)
    admin.act("/hub/admin/stop/otso/algo2026")
    assert "An administrator stopped it" in student.get("/hub/home").text
    student.act("/hub/seen/algo2026")


# --- what a server is given ---------------------------------------------------------------------


def test_nothing_survives_from_the_last_start(hub: Hub) -> None:
    """Trap 6: another course, then the same course after its file changed."""
    visitor = hub.visitor("aino")
    visitor.act("/hub/go/scip")
    visitor.wait_running("scip")
    scip = visitor.get("/user/aino/scip/environ").json()
    assert scip["MARK"] == "scip"
    assert scip["MEM_LIMIT"] == str(7 * 1024**3)
    visitor.act("/hub/go/algo2026")
    visitor.wait_running("algo2026")
    algo = visitor.get("/user/aino/algo2026/environ").json()
    assert "MARK" not in algo
    assert algo["MEM_LIMIT"] == str(5 * 1024**3)
    visitor.act("/hub/stop/algo2026")
    visitor.act("/hub/stop/scip")


def test_secrets_and_the_hubs_environment(hub: Hub) -> None:
    visitor = hub.visitor("aino")
    visitor.act("/hub/go/algo2026")
    visitor.wait_running("algo2026")
    given = visitor.get("/user/aino/algo2026/environ").json()
    plan = visitor.get("/user/aino/algo2026/plan").text
    visitor.act("/hub/stop/algo2026")
    assert given["JUPYTERHUB_API_URL"] == "http://127.0.0.1:8081/hub/api"
    assert given["COURSEYARD_HUB_ADDRESS"] == f"127.0.0.1:{hub.port + 3}"
    assert given["JUPYTERHUB_API_TOKEN"] not in plan
    assert "SECRET_OF_THE_HUB" not in given
    me = {"Authorization": f"token {given['JUPYTERHUB_API_TOKEN']}"}
    assert requests.get(f"{hub.api}/users", headers=me, timeout=10).status_code in (401, 403)


# --- failures in words --------------------------------------------------------------------------


def failure(visitor: Visitor, server: str) -> requests.Response:
    visitor.act(f"/hub/go/{server}")
    reply = visitor.wait_running(server)
    assert reply.status_code >= 400
    return reply


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        ("dlgpu", "needs a GPU"),
        ("missing", "The software of this course is not installed."),
        ("dies", "The server ended while it was starting."),
        ("memory", "It used more memory than its limit."),
        ("never", "was not ready within"),
    ],
)
def test_a_failed_start_is_told_in_words(hub: Hub, link: str, sentence: str) -> None:
    reply = failure(hub.visitor("otso"), link)
    assert sentence in reply.text
    assert "Traceback" not in reply.text
    assert "secret of the stack" not in reply.text
    found = re.search(r"<code>([0-9a-f]{8})</code>", reply.text)
    assert found
    assert found[1] in hub.log()


def test_staff_see_the_last_lines_of_the_log(hub: Hub) -> None:
    assert "secret of the stack" in failure(hub.visitor("maija"), "dies-instructor").text
    assert "secret of the stack" in failure(hub.visitor("pomo"), "dies").text


def test_the_limit_names_what_runs_and_offers_to_stop(hub: Hub) -> None:
    visitor = hub.visitor("helmi")
    names = ["algo2026", "mlbp2026", "general-python-env"]
    for link in ("algo2026", "mlbp2026", "general"):
        visitor.act(f"/hub/go/{link}")
    for name in names:
        visitor.wait_running(name)
    reply = visitor.act("/hub/go/scip")
    assert reply.status_code == 409
    for title in ("Data Structures and Algorithms", "Machine Learning", "Python"):
        assert f"Stop {title}" in reply.text
    by_api = api(visitor, "POST", "/users/helmi/servers/scip")
    assert by_api.status_code == 409
    assert "You can run 3 servers at once" in by_api.text
    # Open what runs already is no new server.
    assert visitor.get("/hub/go/algo2026").url.endswith("/user/helmi/algo2026/")
    visitor.act("/hub/stop/algo2026")
    visitor.act("/hub/go/scip")
    visitor.wait_running("scip")
    for name in [*names, "scip"]:
        visitor.act(f"/hub/stop/{name}")


def test_the_limit_holds_for_starts_at_the_same_moment(hub: Hub) -> None:
    visitor = hub.visitor("maija")
    replies: list[int] = []

    def start(name: str) -> None:
        other = hub.visitor("maija")
        replies.append(api(other, "POST", f"/users/maija/servers/{name}").status_code)

    names = ["algo2026", "mlbp2026", "scip", "markup", "general-python-env", "general-r-env"]
    threads = [threading.Thread(target=start, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    running = [n for n, s in api(visitor, "GET", "/users/maija").json()["servers"].items()]
    assert len(running) == 3
    assert sorted(replies)[-3:] == [409, 409, 409]
    for name in running:
        visitor.act(f"/hub/stop/{name}")


def test_clicks_at_the_same_moment_are_one_start(hub: Hub) -> None:
    visitor = hub.visitor("otso")
    before = len(hub.log())
    replies: list[requests.Response] = []
    clicks = [
        threading.Thread(target=lambda: replies.append(visitor.act("/hub/go/scip")))
        for _ in range(12)
    ]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join(60)
    assert visitor.wait_running("scip").url.endswith("/user/otso/scip/")
    assert [reply.status_code for reply in replies] == [200] * 12, {r.text for r in replies}
    assert hub.log()[before:].count("User otso:scip took") == 1
    visitor.act("/hub/stop/scip")


def test_a_start_can_be_cancelled(hub: Hub) -> None:
    visitor = hub.visitor("otso")
    page = visitor.act("/hub/go/slow")
    assert "Starting Slow Start" in page.text
    assert "Making the place" in page.text
    assert 'http-equiv="refresh"' in page.text
    assert visitor.act("/hub/stop/slow").url == f"{hub.base}/hub/home"
    time.sleep(1)
    assert "slow" not in api(visitor, "GET", "/users/otso").json()["servers"]


BUSY = """
import asyncio, time
from courseyard.hub.turns import give_way

async def start():
    give_way()
    while True:
        time.sleep(0.003)
        await asyncio.sleep(0)

for _ in range(20):
    runtime.run(start)
"""


def test_a_start_can_be_cancelled_while_many_start(own_hub: Callable[..., Hub]) -> None:
    """And pages answer: what twenty starts without an end have to do gives way."""
    hub = own_hub(more=BUSY)
    visitor = hub.visitor("otso")
    for _ in range(3):
        visitor.act("/hub/go/slow")
        assert "Starting Slow Start" in visitor.get("/hub/spawn-pending/otso/slow").text
        page = visitor.act("/hub/stop/slow")
        assert page.url == f"{hub.base}/hub/home"
        assert 'action="/hub/stop/slow"' not in page.text
        assert not api(visitor, "GET", "/users/otso").json()["servers"]


def test_a_start_waits_for_the_end_of_the_last_run(hub: Hub) -> None:
    """Whoever starts again at once sees that it stops, never a page that is not there."""
    visitor, other = hub.visitor("otso"), hub.visitor("otso")
    visitor.act("/hub/go/lingers")
    visitor.wait_running("lingers")
    stop = threading.Thread(target=other.act, args=("/hub/stop/lingers",))
    stop.start()
    time.sleep(0.5)
    still = visitor.act("/hub/go/lingers")
    assert still.status_code == 200
    assert "Stopping Lingering" in still.text
    assert 'content="2; url=/hub/home"' in still.text
    visitor.act("/hub/go/lingers")
    assert visitor.wait_running("lingers").url.endswith("/user/otso/lingers/")
    stop.join()
    visitor.act("/hub/stop/lingers")


def test_the_person_is_told_why_a_server_ended(hub: Hub) -> None:
    visitor = hub.visitor("otso")
    visitor.act("/hub/go/mlbp2026")
    visitor.wait_running("mlbp2026")
    pid = next(
        int(f.stem)
        for f in sorted((hub.folder / "servers").glob("*.name"), key=os.path.getmtime, reverse=True)
        if f.read_text() == "otso-mlbp2026"
    )
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    gone = visitor.get("/user/otso/mlbp2026/lab")
    assert gone.status_code in (424, 502)
    assert "Your files are safe" in gone.text
    # JupyterLab's own requests are no visits: they are told by the status alone.
    fetched = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "same-origin"}
    assert visitor.get("/user/otso/mlbp2026/api/kernels", headers=fetched).status_code in (424, 502)
    page = visitor.get("/hub/home").text
    deadline = time.monotonic() + 15
    while "has stopped" not in page and time.monotonic() < deadline:
        time.sleep(0.5)
        page = visitor.get("/hub/home").text
    assert visitor.get("/user/otso/mlbp2026/api/kernels", headers=fetched).status_code == 424
    assert "Machine Learning has stopped." in page
    assert "It ended by itself." in page
    assert "has stopped" not in visitor.act("/hub/seen/mlbp2026").text


# --- the hub itself -----------------------------------------------------------------------------


def test_a_restart_of_the_hub_cuts_nobody_off(own_hub: Callable[..., Hub]) -> None:
    hub = own_hub()
    visitor = hub.visitor("aino")
    visitor.act("/hub/go/algo2026")
    visitor.wait_running("algo2026")
    hub.stop_hub()
    assert "It runs" in visitor.get("/user/aino/algo2026/").text
    hub.start_hub()
    assert "It runs" in visitor.get("/user/aino/algo2026/").text
    page = visitor.get("/hub/home").text
    assert "running since" in page
    visitor.act("/hub/stop/algo2026")
    assert "running since" not in visitor.get("/hub/home").text


def test_looking_for_garbage_leaves_out_what_stays(own_hub: Callable[..., Hub]) -> None:
    """A full collection through all that a hub holds would stop its event loop."""
    more = (
        "import gc\nfound = gc.get_freeze_count(), len(gc.get_objects()), gc.get_threshold()[2]\n"
        "(here / 'kept').write_text(' '.join(map(str, found)))\n"
    )
    found = (own_hub(more=more).folder / "kept").read_text()
    kept, looked_at, rounds = (int(number) for number in found.split())
    assert kept > 50_000
    assert looked_at < kept / 10
    assert rounds > 1_000_000


def test_the_log_in_page_is_limited(own_hub: Callable[..., Hub]) -> None:
    hub = own_hub(proxy={"login_rate": 5})
    visitor = hub.visitor()
    statuses = [visitor.log_in("aino", password="guess").status_code for _ in range(8)]
    assert statuses[:5] == [403] * 5
    assert statuses[-1] == 429
    reply = visitor.log_in("aino", password="guess")
    assert "Too many requests" in reply.text
    # Nor does another form of the address pass.
    for form in ("/hub//login", "/hub/%6Cogin", "/hub/x/../login", "//hub/login", "/hub/./login"):
        assert knock(hub.port, form, "aino", "guess").status == 429, form
    # Nothing else is limited.
    assert all(visitor.get("/hub/login").status_code == 200 for _ in range(20))


def test_servers_reach_the_api_and_nothing_else_of_the_hub(hub: Hub) -> None:
    """From inside a server nobody may try passwords past the proxy's limit."""
    door = f"http://127.0.0.1:{hub.port + 3}"
    for path in ("/hub/api", "/hub/api/"):
        assert requests.get(door + path, timeout=5).json()["version"]
    for path in ("/hub/login", "/hub/home", "/", "/hub/api/../login", "/hub/health", "/hub/apiX"):
        assert requests.get(door + path, timeout=5).status_code == 404, path
    form = {"username": "aino", "password": "x"}
    assert requests.post(f"{door}/hub/login", data=form, timeout=5).status_code == 404
    claimed = {"X-Forwarded-For": "10.9.8.7", "Authorization": "token wrong"}
    requests.get(f"{door}/hub/api/user", headers=claimed, timeout=5)
    assert "10.9.8.7" not in hub.log()


def test_slow_look_ups_do_not_block_the_hub(own_hub: Callable[..., Hub]) -> None:
    """Trap 7: every look-up of a person takes two seconds; other pages answer at once."""
    more = (
        "import time\n"
        "from courseyard.people.static import StaticSource\n"
        "look_up = StaticSource.look_up\n"
        "def slow(self, name):\n"
        "    time.sleep(2)\n"
        "    return look_up(self, name)\n"
        "StaticSource.look_up = slow\n"
    )
    hub = own_hub(more=more)
    threads = [threading.Thread(target=hub.visitor, args=(n,)) for n in ("aino", "otso", "helmi")]
    for thread in threads:
        thread.start()
    worst = 0.0
    until = time.monotonic() + 1.8
    while time.monotonic() < until:
        begin = time.monotonic()
        assert requests.get(f"{hub.base}/hub/health", timeout=10).status_code == 200
        worst = max(worst, time.monotonic() - begin)
        time.sleep(0.02)
    for thread in threads:
        thread.join(30)
    assert worst < 0.5


def test_culling_by_the_plans_limits(own_hub: Callable[..., Hub]) -> None:
    early = "import courseyard.hub.culler as culler\nculler.cull_forever.__defaults__ = (1.0,)\n"
    hub = own_hub(servers={"cull_max_age": 3600}, early=early)
    hub.write_course(
        "short",
        {"name": "Short", "kubespawner_override": {"cull_max_age": 2, "cull_inactive_time": 2}},
    )
    visitor = hub.visitor("aino")
    deadline = time.monotonic() + 15
    while visitor.get("/hub/go/short").status_code == 403 and time.monotonic() < deadline:
        time.sleep(0.3)
    visitor.wait_running("short")
    visitor.act("/hub/go/algo2026")
    visitor.wait_running("algo2026")
    deadline = time.monotonic() + 20
    page = ""
    while "Short has stopped" not in page and time.monotonic() < deadline:
        time.sleep(0.5)
        page = visitor.get("/hub/home").text
    assert "Short has stopped." in page
    assert "Your files are safe" in page
    assert "algo2026" in api(visitor, "GET", "/users/aino").json()["servers"]


def test_the_passwords_file_must_be_private(own_hub: Callable[..., Hub]) -> None:
    hub = own_hub()
    (hub.folder / "passwords.yaml").chmod(0o644)
    reply = hub.visitor().log_in("aino")
    assert reply.status_code == 503
    assert "Nobody can log in now" in reply.text
    assert "can be read by others" in hub.log()


def test_the_hubs_database_does_not_wait_for_the_disk(hub: Hub) -> None:
    database = hub.folder / "state" / "hub" / "jupyterhub.sqlite"
    # Bytes 18 and 19 say that the file has a write-ahead log (sqlite.org/fileformat.html).
    assert database.read_bytes()[18:20] == b"\x02\x02"


def test_a_hub_that_ends_leaves_one_file(own_hub: Callable[..., Hub], tmp_path: Path) -> None:
    """Who stops the hub to copy its database copies `jupyterhub.sqlite` and has all of it."""
    hub = own_hub()
    hub.visitor("otso")
    deadline = time.monotonic() + 30
    while "JupyterHub is now running" not in hub.log():  # before that SIGTERM ends it at once
        assert time.monotonic() < deadline
        time.sleep(0.1)
    hub.stop_hub()
    copy = shutil.copy(hub.folder / "state" / "hub" / "jupyterhub.sqlite", tmp_path)
    with closing(sqlite3.connect(copy)) as connection:
        names = connection.execute("SELECT name FROM users").fetchall()
    assert ("otso",) in names


def test_secrets_of_the_hub_are_private(hub: Hub) -> None:
    for name in ("hub/cookie-secret", "hub/culler-token", "proxy/api-password"):
        file: Path = hub.folder / "state" / name
        assert file.stat().st_mode & 0o077 == 0, name
    for folder in ("hub", "proxy"):
        assert (hub.folder / "state" / folder).stat().st_mode & 0o077 == 0
