"""A person as the institution knows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """A group of the institution."""

    name: str
    gid: int


@dataclass(frozen=True, slots=True)
class Person:
    """A user: the same username and the same UID as everywhere at the institution."""

    username: str
    uid: int
    gid: int  # primary group at the institution
    groups: frozenset[Group] = frozenset()  # without the primary one
    full_name: str = ""
    email: str = ""

    def in_group(self, name: str) -> bool:
        """Whether the person is a member of the group ``name``."""
        return name in [group.name for group in self.groups]
