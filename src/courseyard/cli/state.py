"""The state folder and the ordinary account of hub and proxy."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from courseyard.errors import SettingsError
from courseyard.settings import Site

#: Folder below the state folder → mode. `hub` and `proxy` belong to the hub's account.
_FOLDERS = {"": 0o755, "run": 0o755, "log": 0o750, "agent": 0o700, "hub": 0o700, "proxy": 0o700}
_OF_ACCOUNT = ("hub", "proxy")


@dataclass(frozen=True, slots=True)
class Account:
    """An ordinary account of this machine."""

    name: str
    uid: int
    gid: int


def account_of(site: Site, *, make: bool = False) -> Account | None:
    """The account of hub and proxy where root starts them; None for an ordinary user.

    Args:
        make: make it when it is missing.

    Raises:
        SettingsError: it is root's, or missing and cannot be made.
    """
    if os.geteuid() != 0:
        return None
    name = site.hub.account
    found = _look_up(name)
    if found is None and make:
        _make(name)
        found = _look_up(name)
    if found is None:
        raise SettingsError(
            f"The account {name!r} of the hub is missing.",
            "`courseyard up` makes it; or set hub.account in the site file.",
        )
    if found.uid == 0:
        raise SettingsError(
            "hub.account must be an ordinary account, not root's.",
            "Leave it out, or name a system account.",
        )
    return found


def _look_up(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _make(name: str) -> None:
    words = ["useradd", "--system", "--user-group", "--no-create-home"]
    words += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", "--", name]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        said, failed = done.stderr.strip(), done.returncode != 0
    except (OSError, subprocess.TimeoutExpired) as error:
        said, failed = str(error), True
    if failed:
        raise SettingsError(
            f"The account {name!r} of the hub could not be made.",
            f"Make it by hand: useradd --system {name}",
            detail=said,
        )


def prepare(site: Site, account: Account | None) -> None:
    """Make the state folder with its parts under the right owners.

    Raises:
        SettingsError: it belongs to somebody else.
    """
    for name, mode in _FOLDERS.items():
        folder = site.state_dir / name
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        if account is None:
            _check_ours(folder, site)
            continue
        if name in _OF_ACCOUNT and folder.stat().st_uid != account.uid:
            _hand_over(folder, account)
        elif name not in _OF_ACCOUNT and folder.stat().st_uid != 0:
            os.chown(folder, 0, 0, follow_symlinks=False)
        folder.chmod(mode)


def _check_ours(folder: Path, site: Site) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SettingsError(
            f"You cannot write to {folder}; another account has run this site.",
            f"Start it with that account, or make a site of your own: courseyard init DIR "
            f"(this one is {site.folder}).",
        )


def _hand_over(folder: Path, account: Account) -> None:
    """Give a folder that another account made, and what is in it, to ``account``; no links."""
    for _, folders, files, number in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *files):
            os.chown(name, account.uid, account.gid, dir_fd=number, follow_symlinks=False)
        os.fchown(number, account.uid, account.gid)
