"""People from the machine's own users and groups: files, SSSD, LDAP, whatever NSS is told.

Every call here blocks for as long as NSS takes; :mod:`courseyard.people.cache` keeps it off the
hub's event loop.

"Nobody has this name" and "the directory does not answer" are two things, and Python's ``pwd`` and
``grp`` say KeyError for both. glibc tells them apart when the directory is the last service in
``/etc/nsswitch.conf`` and says that it is away; SSSD and others may say "nobody" instead. So a name
that is not found counts as nobody's while the directory still finds somebody else whom it gave before.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from courseyard.people.person import Group, Person
from courseyard.people.source import down

_SWITCH = Path("/etc/nsswitch.conf")
_PASSWD = Path("/etc/passwd")
#: Services of this machine alone, which are never away.
_LOCAL = frozenset(("files", "compat", "db", "systemd", "mymachines", "altfiles", "extrausers"))
#: Names remembered of those that the directory gave, and how many of them are asked for.
_REMEMBERED, _ASKED = 50, 3
#: Asked for in order to see whether there is an answer at all.
_NOBODY = b"courseyard-is-there-a-directory"
_libc = ctypes.CDLL(None)


class NssSource:
    """Looks people up by NSS.

    Args:
        known: names that the directory has given before, the latest last.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = OrderedDict.fromkeys(known)
        self._mine: set[str] = set()  # whom this process itself had from the directory
        self._lock = threading.Lock()

    def look_up(self, username: str) -> Person | None:
        """The person, or None when nobody has this name; blocks.

        The e-mail address stays empty: the only field for it, GECOS, may be changed by the user
        (chfn), and managers are recognised by their address.

        Raises:
            SourceDownError: the directory does not answer.
        """
        try:
            entry = pwd.getpwnam(username)
        except KeyError:
            self._check_answers(username)
            return None
        if entry.pw_name != username:
            return None  # SSSD may fold the case; one person has one name here
        gids = set(os.getgrouplist(username, entry.pw_gid)) - {entry.pw_gid}
        groups = frozenset(Group(_group_name(gid), gid) for gid in gids)
        # Of groups that it could not ask for, the list above says nothing.
        if why := _away("getgrnam_r", _NOBODY):
            raise down(f"NSS, group: {why}")
        self._remember(username)
        full_name = entry.pw_gecos.split(",", 1)[0].strip()
        return Person(username, entry.pw_uid, entry.pw_gid, groups, full_name)

    def _check_answers(self, username: str) -> None:
        """Raise SourceDownError where a name that was not found may be somebody's."""
        if why := _away("getpwnam_r", username.encode()):
            raise down(f"NSS, passwd: {why}")
        if not _has_directory():
            return
        local = _local_names()
        with self._lock:
            names = [name for name in reversed(self._known) if name not in local]
        others = [name for name in names if name != username][:_ASKED]
        if any(_is_found(name) for name in others):
            with self._lock:
                self._known.pop(username, None)
                self._mine.discard(username)
        elif others or username in self._mine:
            asked = ", ".join(others) or username
            raise down(f"NSS, passwd: it does not find {asked} any more, whom it gave before")

    def _remember(self, username: str) -> None:
        if username in _local_names():
            return
        with self._lock:
            self._mine.add(username)
            self._known[username] = None
            self._known.move_to_end(username)
            while len(self._known) > _REMEMBERED:
                self._mine.discard(self._known.popitem(last=False)[0])


def silent() -> list[str]:
    """Which of NSS's lists do not answer now, each with the reason."""
    asked = {"passwd": "getpwnam_r", "group": "getgrnam_r"}
    answers = {name: _away(function, _NOBODY) for name, function in asked.items()}
    return [f"{name}: {why}" for name, why in answers.items() if why]


def _group_name(gid: int) -> str:
    """Raises SourceDownError when nobody can say it now."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        if why := _away("getgrgid_r", gid):
            raise down(f"NSS, group: {why}") from None
        return str(gid)  # a group without a name costs its name alone


def _away(function: str, key: bytes | int) -> str:
    """Why a ``get…_r`` of glibc gives no answer; "" when it gives one, be it that there is nothing.

    For what is not there glibc returns 0; for a service that cannot be reached, its errno, also ENOENT
    (getpwnam_r(3), glibc's nss/getXXbyYY_r.c).
    """
    wanted = ctypes.c_uint(key) if isinstance(key, int) else ctypes.c_char_p(key)
    entry, text = ctypes.create_string_buffer(1024), ctypes.create_string_buffer(1 << 20)
    found = ctypes.c_void_p()
    status: int = getattr(_libc, function)(
        wanted, entry, text, ctypes.c_size_t(len(text)), ctypes.byref(found)
    )
    return os.strerror(status) if status else ""


def _has_directory() -> bool:
    """Whether NSS asks anything for people but this machine's own files."""
    with suppress(OSError):
        line = re.search(r"^\s*passwd:([^#\n]*)", _SWITCH.read_text(errors="replace"), re.MULTILINE)
        services = re.sub(r"\[[^\]]*\]", " ", line[1]).split() if line else []
        return not _LOCAL.issuperset(services)
    return False


def _local_names() -> frozenset[str]:
    try:
        lines = _PASSWD.read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(line.partition(":")[0] for line in lines)


def _is_found(username: str) -> bool:
    try:
        pwd.getpwnam(username)
    except KeyError:
        return False
    return True
