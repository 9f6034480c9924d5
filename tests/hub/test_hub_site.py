"""What a site sets, and what happens when its files change while the hub runs."""

from __future__ import annotations

import re
import socket
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from sites import Hub, Visitor

from tests.bait import Bait


def wait_for(visitor: Visitor, text: str, seconds: float = 20) -> str:
    """The course page once it says ``text``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        page = visitor.get("/hub/home").text
        if text in page:
            return page
        time.sleep(0.3)
    raise AssertionError(f"{text!r} never appeared on:\n{page}")


def test_a_broken_course_file_costs_that_course_alone(own_hub: Callable[..., Hub]) -> None:
    hub = own_hub()
    student, teacher = hub.visitor("otso"), hub.visitor("aino")
    student.act("/hub/go/scip")
    student.wait_running("scip")
    (hub.folder / "courses" / "scip.yaml").write_text("name: Scientific\ngid: [\n")
    (hub.folder / "courses" / "new.yaml").write_text("nmae: Typo\n")
    page = wait_for(teacher, "is shown as it was on")
    assert "What is wrong with its file" in page
    assert re.search(r"scip\.yaml:\d+", page)
    assert str(hub.folder) not in page
    page = student.get("/hub/home").text
    assert "is shown as it was on" not in page
    assert "scip.yaml" not in page
    assert "It runs" in student.get("/user/otso/scip/").text
    assert re.search(r"scip\.yaml:\d+: ", hub.log())
    assert re.search(r"new\.yaml:1: nmae: ", hub.log())
    student.act("/hub/stop/scip")
    for link in ("scip", "algo2026"):
        student.act(f"/hub/go/{link}")
        assert "It runs" in student.wait_running(link).text
    hub.write_course("scip", {"name": "Mended Course", "gid": 30003, "instructors": ["aino"]})
    page = wait_for(teacher, "Mended Course")
    assert "is shown as it was on" not in page


def test_files_of_courses_are_data_to_the_hub(own_hub: Callable[..., Hub]) -> None:
    """Trap 8: hooks were executed from files. What a course brings, a server alone may run."""
    hub, bait = own_hub(), Bait()
    bait.courses(hub.folder / "courses")
    for name in ("hooks.py", "pre_spawn.py"):
        (hub.folder / name).write_text(bait.python)
    hooked = {"name": "Hooked", "gid": 30009, "nbgrader_config": bait.python}
    hub.write_course("hooked", hooked)
    visitor = hub.visitor("otso")
    wait_for(visitor, "Hooked")
    assert re.search(r"evil\.yaml:1: the tag \S+os\.system is not understood", hub.log())
    visitor.act("/hub/go/hooked")
    assert "It runs" in visitor.wait_running("hooked").text
    plan = visitor.get("/user/otso/hooked/plan").json()
    assert plan["nbgrader"]["extra_lines"] == bait.python
    visitor.act("/hub/stop/hooked")
    assert bait.untouched(hub.folder)


def test_a_course_that_disappears_can_still_be_stopped(own_hub: Callable[..., Hub]) -> None:
    hub = own_hub()
    visitor = hub.visitor("otso")
    visitor.act("/hub/go/mlbp2026")
    visitor.wait_running("mlbp2026")
    (hub.folder / "courses" / "mlbp2026.yaml").unlink()
    page = wait_for(visitor, "Its course is no longer here")
    assert "Machine Learning" in page
    visitor.act("/hub/stop/mlbp2026")
    assert "Machine Learning" not in visitor.get("/hub/home").text


def test_people_who_leave_are_logged_out(own_hub: Callable[..., Hub]) -> None:
    """The account goes; the next start is refused at once, whatever the cookie says."""
    hub = own_hub(people={"cache": 1, "cache_unknown": 1})
    visitor = hub.visitor("otso")
    people = (hub.folder / "people.yaml").read_text()
    (hub.folder / "people.yaml").write_text(people.replace("  otso:", "  somebody:"))
    time.sleep(1.5)
    reply = visitor.act("/hub/go/algo2026")
    assert reply.status_code == 403
    assert "Nobody with your username is known here" in reply.text


def test_a_hub_whose_port_is_taken_ends(tmp_path: Path) -> None:
    """It once stayed, without a port and without an end, so nobody started it again."""
    hub = Hub(tmp_path / "site")
    hub.start_proxy()
    try:
        with (
            socket.create_server(("127.0.0.1", hub.port + 1)),
            pytest.raises(AssertionError, match="the hub did not start"),
        ):
            hub.start_hub()
        assert hub.hub is not None
        assert hub.hub.poll() == 1
        assert "Address already in use" in hub.log()
    finally:
        if hub.hub is not None:
            hub.hub.kill()
        hub.close()


def test_https_with_a_certificate(own_hub: Callable[..., Hub], tmp_path: Path) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", chain],
        check=True, capture_output=True,
    )  # fmt: skip
    warnings.simplefilter("ignore")
    tls = {"certificate": str(chain), "key": str(key)}
    log = tmp_path / "access.log"
    hub = own_hub(proxy={"login_rate": 1000, "tls": tls, "access_log": str(log)})
    assert hub.base.startswith("https://")
    visitor = Visitor(hub)
    visitor.verify = str(chain)
    reply = visitor.log_in("aino")
    assert "Aino Virtanen" in reply.text
    assert all(cookie.secure for cookie in visitor.cookies if cookie.name != "_xsrf")
    assert "max-age=" in reply.headers["Strict-Transport-Security"]
    visitor.act("/hub/go/algo2026")
    assert "It runs" in visitor.wait_running("algo2026").text
    deadline = time.monotonic() + 5
    while "/hub/home" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    text = log.read_text()
    assert "/hub/home" in text
    assert "jupyterhub-hub-login" not in text


def test_the_proxys_api_is_closed(hub: Hub) -> None:
    api = f"http://127.0.0.1:{hub.port + 2}/api/http/routers"
    assert requests.get(api, timeout=10).status_code == 401
    assert requests.get(f"{hub.base}/api/http/routers", timeout=10).status_code in (404, 424)


def test_accent_logo_and_contact(own_hub: Callable[..., Hub], tmp_path: Path) -> None:
    logo = tmp_path / "logo.svg"
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    hub = own_hub(branding={"logo": str(logo), "accent": "#ffdd00"}, name="A <b>University</b>")
    visitor = hub.visitor()
    page = visitor.get("/hub/login").text
    assert "A &lt;b&gt;University&lt;/b&gt;" in page
    assert "mailto:help@example.org" in page
    assert "--accent:#ffdd00;--on-accent:#101418" in visitor.get("/hub/courseyard/site.css").text
    served = visitor.get("/hub/courseyard/logo")
    assert served.headers["Content-Type"] == "image/svg+xml"
    assert "sandbox" in served.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["../configure.py", "%2e%2e/configure.py", "..%2fconfigure.py"])
def test_static_files_stay_in_their_folder(hub: Hub, path: str) -> None:
    reply = hub.visitor().get(f"/hub/courseyard/static/{path}")
    assert "def configure" not in reply.text


def test_a_site_below_a_path(own_hub: Callable[..., Hub]) -> None:
    hub = own_hub(hub={"base_url": "/jupyter/"})
    visitor = hub.visitor()
    page = visitor.get("/jupyter/")
    assert page.url.startswith(f"{hub.base}/jupyter/hub/login")
    assert 'href="/jupyter/hub/courseyard/static/courseyard.css' in page.text
