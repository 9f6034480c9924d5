"""The only chown, chmod and mkdir: on descriptors, never through a link, never recursive."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from courseyard.errors import StorageError
from courseyard.plan.model import StorageKind, StorageNeed
from courseyard.storage import diff, walk
from courseyard.storage.diff import Action, Verb
from courseyard.storage.policy import Entry, Kind, entries

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAKE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def ensure(
    root: Path, needs: Iterable[StorageNeed], *, dry_run: bool = False, real_ids: bool | None = None
) -> tuple[Action, ...]:
    """Make ``needs`` hold below ``root``; idempotent. Returns what was done (or would be).

    Args:
        real_ids: whether owners are set; by default exactly when this process is root's.

    Raises:
        StorageError: something stands in the way; what was done before stays.
    """
    real = os.geteuid() == 0 if real_ids is None else real_ids
    if not real:  # one UID for everybody says nothing about whose a submission is
        needs = [need for need in needs if need.kind is not StorageKind.COURSE_MEMBER]
    try:
        wanted = entries(needs)
    except ValueError as error:
        raise walk.refused("", str(error)) from error
    if not dry_run:
        root.mkdir(mode=0o755, parents=True, exist_ok=True)
    elif not root.exists():
        return tuple(Action(Verb.MAKE, entry) for entry in wanted)
    actions = diff.compare(root, wanted, real_ids=real)
    if not dry_run:
        apply(root, actions, real_ids=real)
    return actions


def apply(root: Path, actions: Iterable[Action], *, real_ids: bool) -> None:
    """Carry out ``actions`` below ``root``.

    Raises:
        StorageError: one cannot be carried out.
    """
    with walk.opened_root(root) as top:
        for action in actions:
            try:
                _apply_one(top, action, real_ids)
            except StorageError:
                raise
            except OSError as error:
                raise walk.refused(action.entry.path, f"{action.verb}: {error.strerror}") from error


def _apply_one(top: int, action: Action, real_ids: bool) -> None:
    entry = action.entry
    parent, _, name = entry.path.rpartition("/")
    with walk.opened(top, parent) as folder:
        if action.verb is Verb.MAKE:
            _make(folder, name, entry, real_ids)
            return
        with _descriptor(folder, name) as number:
            if action.verb is Verb.OWN:
                os.fchown(number, entry.uid, entry.gid)
            else:
                os.fchmod(number, entry.mode)


@contextlib.contextmanager
def _descriptor(folder: int, name: str) -> Iterator[int]:
    number = os.open(name, _OPEN_FOLDER, dir_fd=folder)
    try:
        yield number
    finally:
        os.close(number)


def _make(folder: int, name: str, entry: Entry, real_ids: bool) -> None:
    """Make one folder or empty file, private until its owner is set."""
    if entry.kind is Kind.FILE:
        try:
            number = os.open(name, _MAKE_FILE, 0o600, dir_fd=folder)
        except FileExistsError:
            return  # somebody was faster; it is theirs
        try:
            _settle(number, entry, real_ids)
        finally:
            os.close(number)
        return
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=folder)
    with _descriptor(folder, name) as number:
        if not walk.is_new(number):
            return  # made by somebody else in the meantime; the next comparison looks at it
        _settle(number, entry, real_ids)


def _settle(number: int, entry: Entry, real_ids: bool) -> None:
    if real_ids:
        os.fchown(number, entry.uid, entry.gid)
    os.fchmod(number, entry.mode)
