"""How often somebody may try a password: counted where passwords are checked, for every address of
the hub that checks one (``authenticators.KnownPeople``).

What counts is a try that fails. A class that logs in from one address in the same minute is many
who succeed, so an address has many tries and a name few. Whoever keeps guessing at a name would
keep its owner out too; so a name has few tries at each address and more in all, which takes many
addresses to use up, and a browser that has logged in with that name before shows a cookie, and has
tries of its own
(owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies).
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address, ip_network
from secrets import token_bytes

from courseyard.errors import DeniedError

#: (tries at once, seconds after which there is one more)
BY_NAME = (10, 30.0)  # at one address
BY_NAME_EVERYWHERE = (60, 10.0)
BY_ADDRESS = (300, 3.0)
_SLOTS = 1 << 16
#: Of IPv6 one person has a whole network of this prefix.
_OF_ONE_PERSON = 64


class TooManyTriesError(DeniedError):
    """No password is checked for this name or address now; ``wait`` is in whole seconds."""

    reason = "too-many-tries"

    def __init__(self, wait: float) -> None:
        super().__init__("There were too many wrong passwords.")
        self.wait = max(1, math.ceil(wait))


class Slots:
    """Tries of many, in a fixed amount of memory: a number for each of 65,536 slots.

    Which slot somebody has nobody can know, so nobody can push another out of the memory. Two in
    one slot share their tries. The number is when all tries will be there again (the generic cell
    rate algorithm, ITU-T I.371).
    """

    def __init__(self, tries: int, every: float, clock: Callable[[], float]) -> None:
        self._every, self._most, self._clock = every, tries * every, clock
        self._full_at = array("d", bytes(8 * _SLOTS))
        self._key = token_bytes(32)

    def take(self, who: str) -> float:
        """Take one try of ``who``; the seconds to wait when there is none, else 0."""
        slot, now = self._slot(who), self._clock()
        full_at = max(self._full_at[slot], now) + self._every
        if (wait := full_at - now - self._most) > 0:
            return wait
        self._full_at[slot] = full_at
        return 0.0

    def give_back(self, who: str) -> None:
        self._full_at[self._slot(who)] -= self._every

    def _slot(self, who: str) -> int:
        digest = blake2b(who.encode("utf-8", "replace"), digest_size=8, key=self._key).digest()
        return int.from_bytes(digest) % _SLOTS


@dataclass(frozen=True, slots=True)
class Try:
    """One try that is being made."""

    taken: tuple[tuple[Slots, str], ...]

    def give_back(self) -> None:
        """It was none: the password was right, or nobody could check it."""
        for slots, who in self.taken:
            slots.give_back(who)


class Tries:
    """The tries of one hub. Not thread-safe: for its event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._names = Slots(*BY_NAME, clock)
        self._everywhere = Slots(*BY_NAME_EVERYWHERE, clock)
        self._addresses = Slots(*BY_ADDRESS, clock)
        self._browsers = Slots(*BY_NAME, clock)

    def begin(self, address: str, name: str | None = None, browser: str | None = None) -> Try:
        """Take a try, before the password is looked at: many at once count too.

        Args:
            address: whose request it is.
            name: the username that is tried; None where none is given (OAuth).
            browser: what a browser shows that has logged in with this name before.

        Raises:
            TooManyTriesError: there is none left.
        """
        if browser is not None and not self._browsers.take(browser):
            return Try(((self._browsers, browser),))
        network = _network(address)
        wanted = [(self._addresses, network)]
        if name is not None:
            wanted += [(self._names, f"{name}\n{network}"), (self._everywhere, name)]
        taken = Try(())
        for slots, who in wanted:
            if wait := slots.take(who):
                taken.give_back()
                raise TooManyTriesError(wait)
            taken = Try((*taken.taken, (slots, who)))
        return taken


def _network(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if found.is_loopback:
        return "loopback"  # whoever has an account on the machine has all of it
    if isinstance(found, IPv6Address):
        return str(ip_network((found, _OF_ONE_PERSON), strict=False))
    return str(found)
