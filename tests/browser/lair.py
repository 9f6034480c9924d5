"""A university in which a student's server is a program of her own, with walls that can be taken down."""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import requests
import yaml
from playwright.sync_api import Browser, BrowserContext

from tests.browser.pages import Visitor

STUDENT, TEACHER = "maija", "ada"
COURSE = "algo2026"
HOSTILE = f"/user/{STUDENT}/{COURSE}/x/"
#: A course whose servers take a WebSocket with the cookie alone.
OPEN = "opencourse"
_CODE = Path(__file__).with_name("hostile.py")
#: For the site's jupyterhub_config.py: which walls of Maija's server stand is read from a file.
_WALLS = f"""
from jupyterhub.apihandlers.users import UserTokenListAPIHandler
from courseyard.hub import fetches, keyed
from courseyard.hub.home import tokens

stock_lock, stock_post = keyed.lock, tokens.TokenListApi.post
stock_embedded, stock_protect = fetches._is_embedded, fetches.protect


def is_down(wall):
    return wall in Path(__file__).with_name("walls-down").read_text().split()


def lock(router, cookie, keys):
    locked = stock_lock(router, cookie, keys)
    if "/{STUDENT}/" in router["rule"]:
        if is_down("door"):
            locked["rule"] = router["rule"]
        if is_down("headers"):
            locked["middlewares"] = []
    return locked


async def post(self, user_name):
    await (UserTokenListAPIHandler.post if is_down("pages") else stock_post)(self, user_name)


keyed.lock = lock
tokens.TokenListApi.post = post
fetches._is_embedded = lambda headers: not is_down("pages") and stock_embedded(headers)
fetches.protect = lambda *words: None if is_down("pages") else stock_protect(*words)
"""
#: In JupyterLab's page: what *Terminal* in its launcher does.
_OPEN_A_TERMINAL = """
async () => {
  const token = document.cookie.match(/(?:^|; *)_xsrf=([^;]*)/)[1];
  const config = JSON.parse(document.getElementById('jupyter-config-data').textContent);
  const answer = await fetch(config.baseUrl + 'api/terminals', {
    method: 'POST', headers: {'X-XSRFToken': token}});
  return (await answer.json()).name;
}
"""


def furnish(folder: Path) -> None:
    """What this university has besides, before it starts."""
    site_file = folder / "courseyard.yaml"
    site = yaml.safe_load(site_file.read_text())
    site["storage"]["home_links"] = [".jupyter/"]
    site.setdefault("proxy", {})["login_rate"] = 1000
    site_file.write_text(yaml.safe_dump(site, allow_unicode=True))
    with (folder / "jupyterhub_config.py").open("a") as config:
        config.write(_WALLS)
    (folder / "walls-down").write_text("")
    course = yaml.safe_load((folder / "courses" / f"{COURSE}.yaml").read_text())
    course |= {"name": "Open WebSockets", "uid": 21077, "gid": 21077, "default": False}
    switch = {"WEBSOCKETS_WITHOUT_XSRF": "1"}
    course["kubespawner_override"]["environment"] = switch
    (folder / "courses" / f"{OPEN}.yaml").write_text(yaml.safe_dump(course, allow_unicode=True))
    _move_in(folder / "storage")


def _move_in(storage: Path) -> None:
    home = storage / "u" / "03" / STUDENT
    config = home / ".home" / ".jupyter"
    home.parent.mkdir(parents=True, mode=0o755)
    config.mkdir(parents=True, mode=0o700)
    shutil.copyfile(_CODE, config / "jupyter_server_config.py")
    if os.geteuid() == 0:
        for path in [home, *home.rglob("*")]:
            os.chown(path, 20003, 20000)
    home.chmod(0o700)


@dataclass
class Lair:
    """The university with its people's servers running."""

    folder: Path
    base: str
    passwords: dict[str, str]
    browser: Browser
    shots: Path
    down: set[str] = field(default_factory=set)
    state: dict[str, object] = field(default_factory=dict)
    #: Maija's own, as a server sets it.
    log_in_cookie: str = ""

    def settle(self) -> None:
        """Start the servers, and keep what Ada's browser has when all of hers were opened."""
        student = self._arrive(STUDENT)
        student.page.goto(f"{self.base}/hub/go/{COURSE}")
        teacher = self._arrive(TEACHER)
        for course in (OPEN, COURSE):
            teacher.go(f"{course}-instructor")
            assert teacher.page.evaluate(_OPEN_A_TERMINAL) == "1"
        student.page.goto(f"{self.base}/hub/go/{COURSE}")
        student.wait_for_lab()
        (cookie,) = [
            cookie
            for cookie in student.page.context.cookies()
            if cookie["name"] == "jupyterhub-hub-login"
        ]
        self.log_in_cookie = f"jupyterhub-hub-login={cookie['value']}"
        student.page.context.close()
        self.state = teacher.page.context.storage_state()  # type: ignore[assignment]
        teacher.page.context.close()

    def _arrive(self, username: str) -> Visitor:
        visitor = Visitor.arrive(self.browser, self.base, username, self.shots)
        visitor.log_in(self.passwords[username])
        return visitor

    def teacher(self) -> BrowserContext:
        """A browser of Ada's, logged in, without a page."""
        context: BrowserContext = self.browser.new_context(storage_state=self.state)  # type: ignore[arg-type]
        context.set_default_timeout(30_000)
        return context

    def take_down(self, *walls: str) -> None:
        """Take these walls down, and put up the others.

        Args:
            walls: ``door`` and ``headers`` of Maija's server; ``pages`` of the hub.
        """
        if self.down == set(walls):
            return
        (self.folder / "walls-down").write_text(" ".join(walls))
        key = self._log_in_again()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            bare = self._look()
            opened = self._look(Cookie=f"courseyard-key={key}")
            stripped = "Service-Worker-Allowed" not in opened.headers
            if (bare.status_code == 200, not stripped) == ("door" in walls, "headers" in walls):
                self.down = set(walls)
                return
            time.sleep(0.2)
        raise AssertionError(f"the walls do not stand as wanted: {bare.status_code}, {stripped}")

    def _log_in_again(self) -> str:
        """A new key of Maija's makes the hub write her routes anew."""
        session = requests.Session()
        session.trust_env = False
        page = session.get(f"{self.base}/hub/login", timeout=30)
        token = re.search(r'name="_xsrf" value="([^"]+)"', page.text)
        assert token, page.text
        data = {"_xsrf": token[1], "username": STUDENT, "password": self.passwords[STUDENT]}
        session.post(f"{self.base}/hub/login", data=data, timeout=30)
        return session.cookies["courseyard-key"]

    def _look(self, **headers: str) -> requests.Response:
        address = f"{self.base}{HOSTILE}page?Service-Worker-Allowed=/"
        return requests.get(address, headers=headers, timeout=30, allow_redirects=False)
