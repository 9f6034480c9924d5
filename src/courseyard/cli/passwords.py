"""Passwords of a demo: readable ones, made once, kept in ``passwords.yaml`` with mode 0600."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

import yaml

from courseyard.errors import SettingsError
from courseyard.yamlfile import VanishedError, read_bytes

FILE = "passwords.yaml"
_HEADER = (
    "# Passwords of the demo accounts (hub.authenticator: demo). Never put this file into git.\n"
)
_CONSONANTS = "bdfghjklmnprstvz"
_VOWELS = "aeiou"


def new_password() -> str:
    """A password that can be said on the phone; 44 bits.

    Seven syllables of 16 consonants and 5 vowels: the log-in page takes few tries a minute.
    """
    syllables = [secrets.choice(_CONSONANTS) + secrets.choice(_VOWELS) for _ in range(7)]
    return f"{''.join(syllables[:2])}-{''.join(syllables[2:4])}-{''.join(syllables[4:])}"


def read(folder: Path) -> dict[str, str]:
    """The passwords of the site in ``folder``; none when there is no file.

    Raises:
        SettingsError: the file cannot be read, or is not ``{username: password}``.
    """
    file = folder / FILE
    try:
        content = yaml.safe_load(read_bytes(file).decode()) or {}
    except VanishedError:
        return {}
    except (SettingsError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(
            f"{FILE} cannot be read.",
            "Correct it, or remove it: `courseyard up` makes a new one.",
            detail=f"{file}: {error}",
        ) from error
    if not isinstance(content, dict) or not all(
        isinstance(item, str) for pair in content.items() for item in pair
    ):
        raise SettingsError(f"{FILE} must hold lines of `username: password`.", detail=str(file))
    return content


def complete(folder: Path, usernames: Iterable[str], owner: int | None = None) -> dict[str, str]:
    """Give everyone of ``usernames`` a password who has none; returns all.

    Args:
        owner: UID that must be able to read the file (the hub's account); None: leave it.

    Raises:
        SettingsError: the file that is there cannot be used.
    """
    passwords = read(folder)
    missing = [name for name in usernames if name not in passwords]
    if missing:
        passwords |= {name: new_password() for name in missing}
        _write(folder / FILE, passwords)
    if owner is not None and (folder / FILE).exists():
        os.chown(folder / FILE, owner, -1, follow_symlinks=False)
    return passwords


def _write(file: Path, passwords: dict[str, str]) -> None:
    """Replace the file at once; nobody else can read it at any time."""
    scratch = file.with_name(f".{file.name}.new")
    scratch.unlink(missing_ok=True)
    number = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(number, "w", encoding="utf-8") as text:
        text.write(_HEADER + yaml.safe_dump(passwords, allow_unicode=True))
    scratch.replace(file)
