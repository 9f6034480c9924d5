"""Keys to people's servers: a secret of each log-in, which its browser shows to the proxy.

All servers and the hub share an origin, and a person decides what her server answers. So the proxy
lets nobody to a server but its own person: the routes of a person's servers (``keyed.py``) match
requests with one of that person's keys alone. The proxy compares text and cannot hash, so a key
stands as it is in the routes and in the file that keeps it (mode 0600, in the hub's own folder).

A key proves nothing to the hub or to a server; both ask for their own cookies and tokens as before.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from pathlib import Path
from typing import Any

from courseyard.hub import domains
from courseyard.hub.places import Places
from courseyard.hub.statefile import StateFile

_COOKIE = "courseyard-key"
#: Seconds that a key holds after it was last given, as the hub's own cookie (``cookie_max_age_days``).
_LIFE = 14 * 86400.0
#: Keys of one person at once. Whose key is pushed out is given a new one at the next page.
_MOST = 20


def cookie_name(places: Places) -> str:
    """The name of the cookie that holds a key.

    With ``__Host-`` a browser takes it from this very host alone and over HTTPS alone, and has one of
    it: other hosts of the university cannot plant their own (RFC 6265bis, 4.1.3.2). Two hubs below
    two paths of a host have two names. Where people's servers have hosts of their own the key must reach
    those, so it cannot have that prefix; no page is served there to plant one, since this door is shut.
    """
    path = re.sub(r"[^A-Za-z0-9]+", "-", places.base_url.strip("/"))
    name = f"{_COOKIE}-{path}" if path else _COOKIE
    here_alone = places.public_url.startswith("https:") and not domains.host(places.site)
    return f"__Host-{name}" if here_alone else name


class Keys:
    """Keys by person and session; kept over a restart of the hub.

    Args:
        cookie: the name of the cookie that holds a key.
        file: where they are kept.
    """

    def __init__(self, cookie: str, file: Path) -> None:
        self.cookie = cookie
        self._file = StateFile(file)
        #: Username → session (hashed) → the key, and until when it holds (seconds since 1970).
        self._people: dict[str, dict[str, tuple[str, float]]] = {}
        try:
            self._people = {name: _checked(held) for name, held in self._file.load().items()}
        except (OSError, ValueError, AttributeError, TypeError):
            self._people = {}  # everybody is given a new one

    def __deepcopy__(self, memo: dict[int, Any]) -> Keys:
        """There is one in a process; traitlets copies what a configuration holds."""
        return self

    def give(self, username: str, session: str) -> str:
        """The key of a person's session, which holds from now on; made when there is none."""
        held = self._people.setdefault(username, {})
        name = _hash(session)
        key, until = held.get(name, ("", 0.0))
        if until < time.time():
            key = secrets.token_urlsafe(32)
        held.pop(name, None)
        held[name] = (key, time.time() + _LIFE)
        for oldest in list(held)[:-_MOST]:
            del held[oldest]
        self._file.atomic_dump(self._people)
        return key

    def take(self, username: str, session: str) -> None:
        """The key of this session opens nothing from now on."""
        if self._people.get(username, {}).pop(_hash(session), None):
            self._file.atomic_dump(self._people)

    def forget(self, username: str) -> None:
        """No key of this person opens anything from now on."""
        if self._people.pop(username, None):
            self._file.atomic_dump(self._people)

    def people(self) -> list[str]:
        """Whose keys there are, who logged in last at the end."""
        last = {name: max((until for _, until in held.values()), default=0.0)
                for name, held in self._people.items()}  # fmt: skip
        return sorted(last, key=lambda name: last[name])

    def of(self, username: str) -> list[str]:
        """The keys of a person that hold."""
        now = time.time()
        return [key for key, until in self._people.get(username, {}).values() if until >= now]

    def expire(self) -> list[str]:
        """Remove the keys that no longer hold; whose they were."""
        now, found = time.time(), []
        for username, held in list(self._people.items()):
            if holding := {name: key for name, key in held.items() if key[1] >= now}:
                self._people[username] = holding
            else:
                del self._people[username]
            if len(holding) < len(held):
                found.append(username)
        if found:
            self._file.atomic_dump(self._people)
        return found


def _checked(held: dict[str, Any]) -> dict[str, tuple[str, float]]:
    """What a file holds of a person, without what is no key: it becomes part of a rule."""
    found = {}
    for name, (key, until) in held.items():
        if re.fullmatch(r"[A-Za-z0-9_-]{20,100}", key):
            found[name] = (key, float(until))
    return found


def _hash(session: str) -> str:
    # It comes from a browser, and the file need not hold it.
    return hashlib.sha256(session.encode("utf-8", "replace")).hexdigest()[:32]
