"""Two hubs: one with few tries and its walls, one without either. See what an attack does to both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sites import PASSWORD, PEOPLE, Hub

TELL = """
import json
from tornado.web import RequestHandler
from courseyard.hub.door import made

async def tell():
    router = (await made()).tornado_application.wildcard_router
    found = {}
    for rule in router.rules:
        kind = rule.target
        named = [m for m in ("GET", "POST", "PUT", "PATCH", "DELETE")
                 if getattr(kind, m.lower()) is not getattr(RequestHandler, m.lower())]
        found.setdefault(rule.matcher.regex.pattern, named or ["GET"])  # the first match counts
    (here / "rules.json").write_text(json.dumps(list(found.items())))

runtime.run(tell)
"""
#: Three tries of a name, and no more in the time of a test.
FEW = "import courseyard.hub.tries as tries\ntries.BY_NAME = (3, 3600.0)\n"
#: The door at the proxy would stop most of what is tried here: the walls behind it are looked at.
OPEN_DOOR = (
    "import courseyard.hub.keyed as keyed\nkeyed.lock = lambda router, cookie, keys: router\n"
)
#: Without what counts, refuses and hides.
OPEN_HUB = """
import courseyard.hub.fetches as fetches, courseyard.hub.home.handlers as handlers
import courseyard.hub.proven as proven, courseyard.hub.tries as tries
proven.install = lambda known: None
tries.Slots.take = lambda self, who: 0.0
fetches.install = lambda: None
fetches.protect = lambda headers, asked: None
handlers.HANDLERS[:] = [h for h in handlers.HANDLERS if not h[1].__module__.endswith("tokens")]
"""
OPEN_COOKIES = "c.JupyterHub.tornado_settings['xsrf_cookie_kwargs'] = {'httponly': False}\n"

GUESSERS = 32  # people with a password whom nobody else tries


def guarded_hub(folder: Path) -> Hub:
    hub = Hub(folder, more=TELL, early=FEW + OPEN_DOOR, proxy={"login_rate": 10_000})
    names = [f"guess{number}" for number in range(GUESSERS)]
    more = {name: {"uid": 22000 + number} for number, name in enumerate(names)}
    hub.write("people.yaml", PEOPLE | {"people": PEOPLE["people"] | more})
    everybody = [*PEOPLE["people"], *names]
    hub.write("passwords.yaml", {name: PASSWORD.format(name) for name in everybody})
    (folder / "passwords.yaml").chmod(0o600)
    return hub


def unguarded_hub(folder: Path) -> Hub:
    proxy = {"login_rate": 10_000}
    return Hub(folder, early=OPEN_HUB + OPEN_DOOR, more=OPEN_COOKIES, proxy=proxy)


def started(hub: Hub) -> Iterator[Hub]:
    """The hub while a fixture has it."""
    try:
        hub.start()
        yield hub
    finally:
        hub.close()
