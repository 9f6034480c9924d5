"""Parts of the hub that need no running one."""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from sqlalchemy.exc import OperationalError
from tornado.httpclient import HTTPClientError
from tornado.httputil import HTTPHeaders

from courseyard.access import Role, Target
from courseyard.errors import DeniedError, PlanError, SettingsError
from courseyard.hub.authenticators import authenticator_class
from courseyard.hub.clock import Clock
from courseyard.hub.culler import Server, cull_forever, cull_once, due, gone_people, running
from courseyard.hub.failure import StartFailed, log_line, status_of
from courseyard.hub.garbage import collect_forever
from courseyard.hub.home import looks, words
from courseyard.hub.home.clicks import is_click
from courseyard.hub.names import ServerNames, name_of
from courseyard.hub.passwords import Passwords, read_passwords
from courseyard.hub.places import Places, secret_file
from courseyard.hub.planned import _until_answer
from courseyard.hub.proxy import dynamic_configuration, static_configuration, write_static
from courseyard.hub.runtime import Runtime
from courseyard.plan.model import Culling
from courseyard.registry.course import Course
from courseyard.settings import Branding, Site

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DEFAULT = Culling(inactive=3600, max_age=8 * 3600)


def ago(**since: float) -> datetime:
    return NOW - timedelta(**since)


# --- culling ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("started", "active", "limits", "stopped"),
    [
        (ago(minutes=50), ago(minutes=50), None, ""),
        (ago(hours=2), ago(minutes=59), None, ""),
        (ago(hours=2), ago(minutes=61), None, "not used for 1 hour"),
        (ago(hours=2), None, None, "not used for 1 hour"),
        (ago(hours=9), ago(minutes=1), None, "had run for 8 hours"),
        (ago(hours=9), ago(seconds=30), {"inactive": 60, "max_age": 86400}, ""),
        (ago(hours=9), ago(minutes=2), {"inactive": 60, "max_age": 86400}, "for 1 minute"),
        # Activity before the start belongs to the last server of this name.
        (ago(minutes=5), ago(days=3), None, ""),
    ],
)
def test_due_servers(
    started: datetime, active: datetime | None, limits: dict[str, int] | None, stopped: str
) -> None:
    state = {"culling": limits, "title": "Algorithms"}
    found = due(Server(1, "aino", "algo2026", started, active, state), DEFAULT, lambda at: NOW - at)
    assert bool(found) is bool(stopped)
    if found is not None:
        assert stopped in found.message
        assert found.title == "Algorithms"


@pytest.fixture
def hub_db() -> Iterator[Any]:
    """A hub's database with 250 people who run a server, and some who do not."""
    db = orm.new_session_factory("sqlite:///:memory:")()

    def user(name: str, seen: datetime | None, runs: bool = False) -> None:
        naive = seen and seen.replace(tzinfo=None)
        made = orm.User(name=name, last_activity=naive, created=ago(days=400).replace(tzinfo=None))
        db.add(made)
        spawner = orm.Spawner(name="x", user=made, started=naive, last_activity=naive)
        spawner.state = {"title": name}
        spawner.server = orm.Server() if runs else None
        db.add(spawner)

    for number in range(250):
        user(f"runs{number:03d}", ago(days=40), runs=True)
    user("long-gone", ago(days=31))
    user("here", ago(days=29))
    user("never-seen", None)
    user("admin", ago(days=400))
    db.commit()
    yield db
    db.close()


def test_running_servers_are_found_in_parts(hub_db: Any) -> None:
    async def all_of_them() -> list[Server]:
        return [server async for server in running(hub_db)]

    found = asyncio.run(all_of_them())
    assert [server.username for server in found] == [f"runs{n:03d}" for n in range(250)]
    assert found[7].started == found[7].active == ago(days=40)
    assert found[7].state == {"title": "runs007"}


def test_gone_people(hub_db: Any) -> None:
    found = gone_people(hub_db, ago(days=30), frozenset({"admin"}))
    assert found == ["long-gone", "never-seen"]


async def test_culling_goes_on_after_a_fault_of_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds, rolled = [], []

    async def broken(*_: Any) -> None:
        rounds.append(1)
        raise OperationalError("SELECT", {}, Exception("the server closed the connection"))

    hub = SimpleNamespace(db=SimpleNamespace(rollback=lambda: rolled.append(1)))
    monkeypatch.setattr("courseyard.hub.culler.cull_once", broken)
    monkeypatch.setattr("courseyard.hub.culler.JupyterHub.instance", lambda: hub)
    runtime: Any = SimpleNamespace(log=SimpleNamespace(warning=lambda *_: None))
    task = asyncio.create_task(cull_forever(runtime, "token", 0.01))
    await asyncio.sleep(0.5)
    assert not task.done()
    task.cancel()
    assert len(rounds) > 1
    assert len(rolled) == len(rounds)


async def test_a_stop_that_fails_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub answers 500 for the first server; the second one is stopped all the same."""
    asked: list[str] = []

    class Client:
        async def fetch(self, url: str, **_: Any) -> None:
            asked.append(url.rpartition("/users/")[2])
            if "aino" in url:
                raise HTTPClientError(500)

    old = ago(hours=20)
    servers = [Server(n, name, "algo", old, old, {}) for n, name in enumerate(["aino", "bo"])]

    async def running_servers(_: Any) -> AsyncIterator[Server]:
        for server in servers:
            yield server

    remembered: list[str] = []
    runtime: Any = SimpleNamespace(
        site=Site(folder=Path("/nowhere")),
        places=SimpleNamespace(own_url="http://127.0.0.1:1/"),
        log=SimpleNamespace(info=lambda *_: None, warning=lambda *_: None),
        remember=lambda username, *_: remembered.append(username),
    )
    monkeypatch.setattr("courseyard.hub.culler.running", running_servers)
    monkeypatch.setattr("courseyard.hub.culler._ready", lambda *_: True)
    monkeypatch.setattr("courseyard.hub.culler.gone_people", lambda *_: ["gone"])
    monkeypatch.setattr("courseyard.hub.culler.AsyncHTTPClient", Client)
    hub = SimpleNamespace(db=None)
    monkeypatch.setattr("courseyard.hub.culler.JupyterHub.instance", lambda: hub)
    clock: Any = SimpleNamespace(
        look=timedelta, since=lambda moment: NOW - moment, before=lambda passed: NOW - passed
    )
    await cull_once(runtime, "token", clock)
    assert asked == ["aino/servers/algo", "bo/servers/algo", "gone"]
    assert remembered == ["bo"]


# --- background tasks ---------------------------------------------------------------------------


async def test_a_background_task_that_fails_starts_again_and_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("courseyard.hub.runtime._AGAIN", 0.01)
    told: list[str] = []
    log = SimpleNamespace(exception=lambda text, *words: told.append(text % words))
    monkeypatch.setattr("courseyard.hub.runtime.get_logger", lambda: log)
    runtime = Runtime.__new__(Runtime)
    runtime._tasks = set()
    rounds: list[str] = []

    async def work(word: str) -> None:
        rounds.append(word)
        if len(rounds) < 3:
            raise ExceptionGroup("two", [OSError("a"), ValueError("b")])

    runtime.run(work, "again")
    async with asyncio.timeout(5):
        while runtime._tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert rounds == ["again"] * 3
    assert len(told) == 2
    assert "work failed; it starts again in" in told[0]


class Machine:
    """A machine's two clocks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.steady = NOW, 1000.0
        now = SimpleNamespace(now=lambda tz: self.wall)
        monkeypatch.setattr("courseyard.hub.clock.datetime", now)
        steady = SimpleNamespace(monotonic=lambda: self.steady)
        monkeypatch.setattr("courseyard.hub.clock.time", steady)

    def goes(self, seconds: float, *, jump: float = 0) -> None:
        self.wall += timedelta(seconds=seconds + jump)
        self.steady += seconds


def test_a_clock_that_is_set_forward_makes_nothing_old(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    clock = Clock()
    before = machine.wall - timedelta(minutes=10)
    machine.goes(60)
    assert clock.look() == timedelta()
    just_before = machine.wall
    machine.goes(60, jump=2 * 86400)
    assert clock.look() == timedelta(days=2)
    after = machine.wall
    assert clock.since(before) == timedelta(minutes=12)
    assert clock.since(just_before) == timedelta(minutes=1)
    machine.goes(300)
    assert clock.look() == timedelta()
    assert clock.since(before) == timedelta(minutes=17)
    assert clock.since(after) == timedelta(minutes=5)
    # Nobody counts as not seen for a month by a clock alone.
    assert clock.before(timedelta(days=30)) == machine.wall - timedelta(days=32)
    # It is set right again.
    machine.goes(60, jump=-2 * 86400)
    clock.look()
    assert clock.since(before) == timedelta(minutes=18)
    assert clock.before(timedelta(days=30)) == machine.wall - timedelta(days=30)


def test_a_clock_that_is_set_back_makes_nothing_old(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    clock = Clock()
    before = machine.wall
    machine.goes(60, jump=-2 * 86400)
    assert clock.look() == timedelta(days=-2)
    after = machine.wall
    machine.goes(60)
    clock.look()
    assert clock.since(before) < timedelta(minutes=3)
    assert clock.since(after) == timedelta(minutes=1)


# --- garbage ------------------------------------------------------------------------------------


async def test_old_garbage_is_found_now_and_then() -> None:
    class Thing:
        pass

    thing = Thing()
    thing.itself = thing  # type: ignore[attr-defined]
    gone = weakref.ref(thing)
    del thing
    task = asyncio.create_task(collect_forever(0.01))
    await asyncio.sleep(1)
    task.cancel()
    assert gone() is None


# --- names --------------------------------------------------------------------------------------


def test_server_names_lead_back() -> None:
    site = Site.model_validate({"environments": {"python": {"name": "Python"}, "r": {"name": "R"}}})
    slugs = ["algo2026", "a_b", "1course", "x" * 40, "ends_", "long-course-name-of-thirty-chr"]
    courses = {slug: Course(slug=slug, name=slug) for slug in slugs}
    names = ServerNames(site)
    targets = [Target(role, slug) for slug in slugs for role in (Role.STUDENT, Role.INSTRUCTOR)]
    targets += [Target(Role.GENERAL, environment=key) for key in ("python", "r")]
    assert [names.find(name_of(t, site), courses) for t in targets] == targets
    assert len({name_of(t, site) for t in targets}) == len(targets)
    assert names.find("", courses) is None
    assert names.find("nothing", courses) is None
    assert names.find("algo2026-student", courses) is None
    assert names.find("a_b", courses) is None
    assert names.find("algo2026", {}) is None
    assert name_of(Target(Role.GENERAL), site) == "general-python-env"


# --- clicks -------------------------------------------------------------------------------------


def test_clicks() -> None:
    page = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    own = {"subdomains": True, "public_url": "https://hub.example.org/"}
    for site in (Site(), Site.model_validate({"hub": own})):
        assert is_click(HTTPHeaders({}), site)
        assert is_click(HTTPHeaders(page | {"Sec-Fetch-Site": "none"}), site)
        assert is_click(HTTPHeaders(page | {"Sec-Fetch-Site": "same-origin"}), site)
        other = page | {"Sec-Fetch-Site": "cross-site"}
        assert not is_click(HTTPHeaders(other), site)
        assert is_click(HTTPHeaders(other | {"Sec-Fetch-User": "?1"}), site)
        frame = page | {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-User": "?1"}
        assert not is_click(HTTPHeaders(frame | {"Sec-Fetch-Site": "same-origin"}), site)
        # A page of another person's host is of the hub's site.
        near = HTTPHeaders(page | {"Sec-Fetch-Site": "same-site"})
        assert is_click(near, site) != site.hub.subdomains


# --- failures -----------------------------------------------------------------------------------


def test_a_failure_keeps_its_detail_from_people() -> None:
    error = PlanError("It is not installed.", "Tell the teachers.", detail="/srv/images/python")
    failed = StartFailed(error)
    assert failed.status_code == status_of(error) == 409
    assert failed.message == f"It is not installed. Tell the teachers. (error {error.id})"
    assert "/srv" not in failed.jupyterhub_message
    assert "/srv/images/python" in log_line(error)
    assert "\n" not in log_line(DeniedError("a\nb"))


# --- proxy --------------------------------------------------------------------------------------


def test_proxy_configuration(tmp_path: Path) -> None:
    for name in ("chain.pem", "key.pem"):
        (tmp_path / name).write_text("")
    settings = {
        "hub": {"address": "0.0.0.0", "port": 443, "base_url": "/jupyter", "api_port": 8101},
        "proxy": {
            "tls": {"certificate": "chain.pem", "key": "key.pem"},
            "access_log": "access.log",
            "login_rate": 7,
            "metrics_port": 9100,
            "api_port": 8102,
        },
    }
    site = Site(**settings, folder=tmp_path)  # type: ignore[arg-type]
    static, dynamic = static_configuration(site), dynamic_configuration(site)
    assert static["entryPoints"]["web"]["address"] == "0.0.0.0:443"
    assert static["entryPoints"]["hub-api"]["address"] == "127.0.0.1:8102"
    assert static["entryPoints"]["metrics"]["address"] == "127.0.0.1:9100"
    assert static["accessLog"]["filePath"] == str(tmp_path / "access.log")
    assert "tls" in static["entryPoints"]["web"]["http"]
    router = dynamic["http"]["routers"]["courseyard-login"]
    assert router["rule"] == "Method(`POST`) && Path(`/jupyter/hub/login`)"
    limit = dynamic["http"]["middlewares"]["courseyard-login-rate"]["rateLimit"]
    assert (limit["average"], limit["period"], limit["burst"]) == (7, "1m", 7)
    assert dynamic["tls"]["certificates"][0]["certFile"] == str(tmp_path / "chain.pem")
    assert dynamic["http"]["middlewares"]["courseyard-headers"]["headers"]["stsSeconds"] > 0
    written = write_static(site)
    assert json.loads(written.read_text()) == static
    assert written.stat().st_mode & 0o077 == 0


def test_trusted_proxies_have_a_limit_of_their_own() -> None:
    """Nobody's header is read at the other one, and without trust there is no other one."""
    trusted = ["192.0.2.7/32", "2001:db8::/64"]
    site = Site.model_validate({"proxy": {"trusted_proxies": ("192.0.2.7", "2001:db8::/64")}})
    entry = static_configuration(site)["entryPoints"]["web"]
    assert entry["forwardedHeaders"] == {"trustedIPs": trusted}
    http = dynamic_configuration(site)["http"]
    plain, forwarded = http["routers"].values()
    assert forwarded["priority"] > plain["priority"]
    assert forwarded["rule"].endswith(" && (ClientIP(`192.0.2.7/32`) || ClientIP(`2001:db8::/64`))")
    limits = [http["middlewares"][r["middlewares"][-1]]["rateLimit"] for r in (plain, forwarded)]
    assert limits[0]["sourceCriterion"] == {"ipStrategy": {"ipv6Subnet": 64}}
    assert limits[1]["sourceCriterion"] == {"ipStrategy": {"excludedIPs": trusted}}
    nobody = Site()
    assert "forwardedHeaders" not in static_configuration(nobody)["entryPoints"]["web"]
    assert list(dynamic_configuration(nobody)["http"]["routers"]) == ["courseyard-login"]


def test_acme() -> None:
    tls = {"acme_email": "it@example.org", "acme_domain": "jupyter.example.org"}
    site = Site.model_validate({"proxy": {"tls": tls}})
    static = static_configuration(site)
    assert static["certificatesResolvers"]["acme"]["acme"]["email"] == "it@example.org"
    assert static["entryPoints"]["web"]["http"]["tls"]["certResolver"] == "acme"


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        ({"certificate": "a.pem"}, "needs its key"),
        ({"acme_domain": "x.example.org"}, "needs both"),
        ({"certificate": "a.pem", "key": "b.pem"}, "a.pem is not there"),
    ],
)
def test_tls_settings_that_do_not_fit(tmp_path: Path, tls: dict[str, str], said: str) -> None:
    site = Site(proxy={"tls": tls}, folder=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=said):
        write_static(site)


# --- files and colours --------------------------------------------------------------------------


def test_secret_files_stay_the_same_and_private(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    secret = secret_file(file)
    assert len(secret) == 64
    assert secret_file(file) == secret
    file.write_text("")  # as a full disk leaves it: not a password that everybody knows
    again = secret_file(file)
    assert len(again) == 64
    assert secret_file(file) == again
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert file.stat().st_mode & 0o777 == 0o600


def test_ports() -> None:
    places = Places(Site.model_validate({"hub": {"port": 9000, "base_url": "jupyter"}}))
    assert (places.hub_port, places.proxy_api_port) == (9001, 9002)
    assert places.public_url == "http://127.0.0.1:9000/jupyter/"
    public = {"public_url": "https://jupyter.example.org/", "port": 9000}
    places = Places(Site.model_validate({"hub": public}))
    assert places.public_url == "https://jupyter.example.org/"
    assert places.proxy_url == "http://127.0.0.1:9000/"
    assert not places.is_https


def test_ink_can_be_read_on_every_accent() -> None:
    for accent, ink in (("#0a6c74", "#ffffff"), ("#ffdd00", "#101418"), ("#000000", "#ffffff")):
        assert f"--on-accent:{ink}" in looks.site_css(Branding(accent=accent, accent_dark=accent))


@pytest.mark.parametrize(
    ("contact", "link"),
    [
        ("help@example.org", "mailto:help@example.org"),
        ("https://help.example.org/", "https://help.example.org/"),
        ("javascript:alert(1)", ""),
        ("room 123", ""),
        (None, ""),
    ],
)
def test_contact(contact: str | None, link: str) -> None:
    assert looks.contact_link(contact) == link


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("aino: x\n", 0o640, "can be read by others"),
        ("- a\n", 0o600, "must be a list"),
        ("aino: 12345\n", 0o600, "must be a list"),
        ("a: [\n", 0o600, "cannot be read"),
    ],
)
def test_passwords_that_cannot_be_used(tmp_path: Path, content: str, mode: int, said: str) -> None:
    file = tmp_path / "passwords.yaml"
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(SettingsError, match=said):
        read_passwords(Site(folder=tmp_path))


def test_passwords_are_read_again_when_they_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passwords.yaml"
    file.write_text("aino: first\n")
    file.chmod(0o600)
    site, read = Site(folder=tmp_path), []

    def counted(site: Site) -> dict[str, str]:
        read.append(site)
        return read_passwords(site)

    monkeypatch.setattr("courseyard.hub.passwords.read_passwords", counted)
    passwords = Passwords(site)
    assert [passwords.current()["aino"] for _ in range(3)] == ["first"] * 3
    assert len(read) == 1
    file.write_text("aino: other\n")
    assert passwords.current() == {"aino": "other"}
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="can be read by others"):
        passwords.current()
    file.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        passwords.current()


def test_authenticators_by_name() -> None:
    runtime: Any = SimpleNamespace()
    assert authenticator_class("demo", runtime).__name__ == "DemoAuthenticator"
    oauth = authenticator_class("oauthenticator.generic.GenericOAuthenticator", runtime)
    assert "GenericOAuthenticator" in [c.__name__ for c in oauth.__mro__]
    for name in ("nothing-like-it", "os.path", "nothing.like.It"):
        with pytest.raises(SettingsError, match=r"hub\.authenticator"):
            authenticator_class(name, runtime)


def test_words_of_times() -> None:
    morning = datetime(2026, 11, 24, 10, 15, tzinfo=UTC)
    assert words.running_since(morning, NOW) == "running since 10:15"
    assert words.running_since(morning - timedelta(days=1), NOW) == "running since 23 Nov 10:15"


def test_pam_asks_the_agent() -> None:
    asked = []

    class Agent:
        async def pam_login(self, username: str, password: str) -> bool:
            asked.append(username)
            return password == "right"

    runtime: Any = SimpleNamespace(agent=Agent(), site=Site())
    pam = authenticator_class("pam", runtime)()
    right = {"username": "Aino", "password": "right"}
    assert asyncio.run(pam.authenticate(None, right)) == "Aino"
    assert asyncio.run(pam.authenticate(None, right | {"password": "wrong"})) is None
    assert asked == ["aino", "aino"]


async def test_servers_that_do_not_answer_hold_up_no_other() -> None:
    """tornado's shared client fetches ten things at once, each of these for ten seconds."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    mute = await asyncio.start_server(silent, "127.0.0.1", 0)
    works = await asyncio.start_server(answering, "127.0.0.1", 0)
    address = "http://127.0.0.1:{}/api"
    ports = [server.sockets[0].getsockname()[1] for server in (mute, works)]
    waiting = [asyncio.create_task(_until_answer(address.format(ports[0]))) for _ in range(20)]
    await asyncio.sleep(0.2)
    async with asyncio.timeout(5):
        await _until_answer(address.format(ports[1]))
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
