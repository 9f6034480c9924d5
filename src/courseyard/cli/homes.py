"""Folders of people that belong to somebody else: their servers would not start."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from courseyard.errors import Problem
from courseyard.people.person import Person
from courseyard.settings import Site


def problems(site: Site, people: Mapping[str, Person] | None) -> Iterator[Problem]:
    """One for each such folder; none where everything belongs to one ordinary user.

    Args:
        site: its storage.
        people: where a file tells them. Without it nobody is asked for each of thousands of folders; the
            folder above, named after the last two digits of a UID, still shows most that are wrong.
    """
    if os.geteuid() != 0 or site.backend == "kubernetes":
        return
    for folder in _folders(site.storage_root / "u"):
        found = folder.lstat()
        person = people.get(folder.name) if people is not None else None
        if not stat.S_ISDIR(found.st_mode):
            yield Problem(folder, 0, "", "is not a folder; put the person's folder there")
        elif person is not None and found.st_uid != person.uid:
            if folder.parent.name == f"{person.uid % 100:02d}":
                yield _strange(folder, found.st_uid, f"UID {person.uid}", str(person.uid))
        elif people is None and f"{found.st_uid % 100:02d}" != folder.parent.name:
            whose = f"a UID that ends in {folder.parent.name}"
            yield _strange(folder, found.st_uid, whose, folder.name)


def _folders(top: Path) -> Iterator[Path]:
    for group in sorted(top.glob("[0-9][0-9]")):
        if group.is_dir() and not group.is_symlink():
            yield from sorted(group.iterdir())


def _strange(folder: Path, found: int, wanted: str, owner: str) -> Problem:
    message = (
        f"belongs to UID {found}, not to {wanted}, so {folder.name} cannot start a server; look "
        f"whose files are in it, then run `chown -R --from={found} {owner} {folder}`"
    )
    return Problem(folder, 0, "", message)
