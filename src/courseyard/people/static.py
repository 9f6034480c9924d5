"""People from a file, ``people.yaml``: for demonstrations, tests and small sites.

::

    groups:
      jupyter-algo2026: 30001        # members are instructors of the course algo2026
    people:
      maija:
        uid: 21001
        name: Maija Meikäläinen
        email: maija@example.org
        groups: [jupyter-algo2026]

``gid`` is a person's primary group; without it, it is the site's ``people.users_group``.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from courseyard.errors import Problem, SettingsError
from courseyard.hints import did_you_mean, shown
from courseyard.people.person import Group, Person
from courseyard.settings import LOWEST_ID, PeopleSettings
from courseyard.stamp import stamp_of
from courseyard.yamlfile import Document, read_yaml

_GROUP = re.compile(r"[a-z_][a-z0-9_.-]{0,63}")
_PERSON_KEYS = ("uid", "gid", "name", "email", "groups")
_MAX_TEXT = 200

log = logging.getLogger(__name__)


class StaticSource:
    """The people of one file; a changed file is read again, a broken one leaves the last good."""

    def __init__(self, file: Path, settings: PeopleSettings) -> None:
        """Read the file.

        Raises:
            SettingsError: it cannot be used; ``problems`` says why, with file, line and key.
        """
        self._file = file
        self._settings = settings
        self._stamp = stamp_of(file)
        self._people = load_people(file, settings)

    def look_up(self, username: str) -> Person | None:
        """The person, or None; reads the file again when it has changed."""
        found = stamp_of(self._file)
        if found is not None and found != self._stamp:
            self._stamp = found
            try:
                self._people = load_people(self._file, self._settings)
            except SettingsError as error:
                log.error("%s; the people of before stay in force", error)  # noqa: TRY400
        return self._people.get(username)


def load_people(file: Path, settings: PeopleSettings) -> dict[str, Person]:
    """All people of the file by username.

    Raises:
        SettingsError: with every problem of the file.
    """
    document = read_yaml(file)
    reader = _Reader(document, settings)
    people = reader.read()
    if reader.problems:
        count = len(reader.problems)
        text = "\n".join(map(str, reader.problems))
        raise SettingsError(
            f"The people file has {count} problem{'s' if count > 1 else ''}:\n{text}",
            problems=tuple(reader.problems),
        )
    return people


class _Reader:
    """Turns one document into people and collects everything that is wrong with it."""

    def __init__(self, document: Document, settings: PeopleSettings) -> None:
        self.document = document
        self.settings = settings
        self.problems: list[Problem] = []
        self.groups: dict[str, Group] = {}
        self.uids: dict[int, str] = {}

    def wrong(self, path: tuple[str | int, ...], message: str) -> None:
        self.problems.append(self.document.problem(path, message))

    def read(self) -> dict[str, Person]:
        data = self.document.data
        self.unknown_keys((), data, ("groups", "people"))
        self.read_groups(self.mapping(("groups",), data.get("groups")))
        people = self.mapping(("people",), data.get("people"))
        found = {}
        for username, value in people.items():
            person = self.person(username, self.mapping(("people", username), value))
            if person is not None:
                found[username] = person
        return found

    def mapping(self, path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong(path, "must hold `key: value` lines")
            return {}
        return value

    def unknown_keys(
        self, path: tuple[str | int, ...], data: dict[str, Any], known: tuple[str, ...]
    ) -> None:
        for key in data:
            if key not in known and not key.startswith("x-"):
                hint = did_you_mean(key, known, f"; known are {', '.join(known)}")
                self.wrong((*path, key), f"unknown key{hint}")

    def read_groups(self, data: dict[str, Any]) -> None:
        users = self.settings.users_group
        self.groups[users.name] = Group(users.name, users.gid)
        for name, value in data.items():
            path = ("groups", name)
            if not _GROUP.fullmatch(name):
                self.wrong(path, "a group's name is small letters, digits, `_`, `-` and `.`")
                continue
            gid = self.number(path, value, "a GID")
            if gid is None:
                continue
            if name == users.name and gid != users.gid:
                self.wrong(path, f"`people.users_group` of the site file says {users.gid}")
                continue
            self.groups[name] = Group(name, gid)

    def number(self, path: tuple[str | int, ...], value: Any, what: str) -> int | None:
        if isinstance(value, bool) or not isinstance(value, int):
            hint = "; remove the quotes" if isinstance(value, str) and value.isdigit() else ""
            self.wrong(path, f"{what} is a whole number{hint}")
            return None
        if not LOWEST_ID <= value <= self.settings.max_uid:
            most = self.settings.max_uid
            self.wrong(path, f"{what} must be {LOWEST_ID} to {most}; lower ones are the system's")
            return None
        return value

    def text(self, path: tuple[str | int, ...], value: Any) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            self.wrong(path, "must be text; put it in quotes")
            return ""
        if len(value) > _MAX_TEXT or not value.isprintable():
            self.wrong(path, f"must be one line of at most {_MAX_TEXT} characters")
            return ""
        return value.strip()

    def person(self, username: str, data: dict[str, Any]) -> Person | None:
        path = ("people", username)
        before = len(self.problems)
        if username == "root":
            self.wrong(path, "root is the system's own account and never a user of the hub")
        elif not re.fullmatch(self.settings.username_pattern, username):
            self.wrong(path, "a username must match `people.username_pattern` of the site file")
        self.unknown_keys(path, data, _PERSON_KEYS)
        if "uid" not in data:
            self.wrong(path, "has no `uid`; write the person's UID")
            return None
        uid = self.number((*path, "uid"), data["uid"], "a UID")
        if uid is not None:
            other = self.uids.setdefault(uid, username)
            if other != username:
                self.wrong((*path, "uid"), f"{other} has this UID too; each person has their own")
        gid: int | None = self.settings.users_group.gid
        if data.get("gid") is not None:
            gid = self.number((*path, "gid"), data["gid"], "a GID")
        name = self.text((*path, "name"), data.get("name"))
        email = self.text((*path, "email"), data.get("email"))
        if email and not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
            self.wrong((*path, "email"), "is not an e-mail address")
        groups = self.members((*path, "groups"), data.get("groups"))
        if uid is None or gid is None or len(self.problems) > before:
            return None
        return Person(username, uid, gid, frozenset(g for g in groups if g.gid != gid), name, email)

    def members(self, path: tuple[str | int, ...], value: Any) -> list[Group]:
        if value is None:
            return []
        if not isinstance(value, list):
            self.wrong(path, "must be a list of group names, such as [jupyter-algo2026]")
            return []
        found = []
        for index, name in enumerate(value):
            if isinstance(name, str) and name in self.groups:
                found.append(self.groups[name])
                continue
            hint = did_you_mean(str(name), self.groups, "; add it to `groups:`")
            self.wrong((*path, index), f"there is no group {shown(name)}{hint}")
        return found
