"""Actual against wanted: what there is to do. Reads only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from courseyard.storage import walk
from courseyard.storage.policy import Entry, Kind


class Verb(StrEnum):
    MAKE = "make"
    OWN = "own"
    MODE = "mode"


@dataclass(frozen=True, slots=True)
class Action:
    """One change of one path."""

    verb: Verb
    entry: Entry

    def __str__(self) -> str:
        entry = self.entry
        if self.verb is Verb.OWN:
            return f"{entry.path}: owner {entry.uid}:{entry.gid}"
        if self.verb is Verb.MODE:
            return f"{entry.path}: mode {entry.mode:04o}"
        return f"{entry.path}: make {entry.kind}, {entry.uid}:{entry.gid} {entry.mode:04o}"


def compare(root: Path, wanted: Iterable[Entry], *, real_ids: bool) -> tuple[Action, ...]:
    """What to do so that ``wanted`` holds below ``root``; parents first.

    Args:
        real_ids: False where everything belongs to one ordinary user: owners are not compared.

    Raises:
        StorageError: a link stands in the way, or a personal folder belongs to somebody else.
    """
    actions: list[Action] = []
    with walk.opened_root(root) as top:
        for entry in wanted:
            actions += _compare_one(top, entry, real_ids)
    return tuple(actions)


def _compare_one(top: int, entry: Entry, real_ids: bool) -> list[Action]:
    parent, _, name = entry.path.rpartition("/")
    try:
        with walk.opened(top, parent) as folder:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return [Action(Verb.MAKE, entry)]
    except OSError as error:
        raise walk.refused(entry.path, f"cannot be looked at: {error.strerror}") from error
    right = stat.S_ISDIR if entry.kind is Kind.FOLDER else stat.S_ISREG
    if not entry.kept and not entry.personal:
        return []
    if not right(found.st_mode):
        raise walk.refused(entry.path, f"is not a {entry.kind}", f"put a real {entry.kind} there")
    if real_ids and entry.personal and found.st_uid != entry.uid:
        why = f"belongs to UID {found.st_uid}, not {entry.uid}"
        raise walk.refused(entry.path, why, "give it to its owner or move it away")
    if not entry.kept:
        return []
    actions = []
    if real_ids and (found.st_uid, found.st_gid) != (entry.uid, entry.gid):
        actions.append(Action(Verb.OWN, entry))
    # A change of owner clears set-ID bits, so the mode follows it.
    if actions or stat.S_IMODE(found.st_mode) != entry.mode:
        actions.append(Action(Verb.MODE, entry))
    return actions
