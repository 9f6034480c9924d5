"""``passwords.yaml``: what the accounts of the demo log in with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from courseyard.errors import SettingsError
from courseyard.inside import RefusedFileError, opened_inside, read_all
from courseyard.settings import Site
from courseyard.stamp import Stamp, stamp_of
from courseyard.yamlfile import MAX_BYTES

PASSWORDS_FILE = "passwords.yaml"


@dataclass(frozen=True, slots=True)
class _Read:
    stamp: Stamp | None
    passwords: dict[str, str]


class Passwords:
    """The passwords of one site. The file is read again when it has changed, not at every log-in,
    which everybody can ask for, also who is refused.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._read: _Read | None = None

    def current(self) -> dict[str, str]:
        """The passwords by username; looks at the file, so not for the event loop.

        Raises:
            SettingsError: no such file, others can read it, or it is not ``{username: password}``.
        """
        stamp = stamp_of(self._site.folder / PASSWORDS_FILE)
        known = self._read
        if stamp is None or known is None or known.stamp != stamp:
            self._read = known = _Read(stamp, read_passwords(self._site))
        return known.passwords


def read_passwords(site: Site) -> dict[str, str]:
    """The demo's passwords by username.

    Raises:
        SettingsError: no such file, others can read it, or it is not ``{username: password}``.
    """
    file: Path = site.folder / PASSWORDS_FILE
    try:
        with opened_inside(file) as number:
            # A volume of a cluster is seen by the containers that mount it, whatever its modes say.
            if site.backend == "sandbox" and os.fstat(number).st_mode & 0o077:
                raise SettingsError(
                    f"{PASSWORDS_FILE} can be read by others.", "Run chmod 600 on it."
                )
            text = read_all(number, MAX_BYTES).decode()
        content = yaml.load(text, Loader=yaml.CSafeLoader) or {}
    except (OSError, ValueError, yaml.YAMLError, RefusedFileError) as error:
        raise _unreadable(error) from error
    if not isinstance(content, dict) or not all(
        isinstance(item, str) for pair in content.items() for item in pair
    ):
        raise SettingsError(f"{PASSWORDS_FILE} must be a list of `username: password`.")
    return content


def _unreadable(error: Exception) -> SettingsError:
    return SettingsError(
        f"{PASSWORDS_FILE} cannot be read.",
        "Start the site with `courseyard up`, which makes it.",
        detail=str(error),
    )
