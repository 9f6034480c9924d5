"""Log-in by PAM, which needs root's rights to read the password file."""

from __future__ import annotations

import logging

import pamela

log = logging.getLogger(__name__)
SERVICE = "login"


def login(username: str, password: str) -> bool:
    """Whether PAM lets ``username`` in with ``password``. Blocks; a wrong one waits two seconds."""
    if "\0" in username + password:
        return False  # PAM would read it as its end, and take a password for a longer one
    try:
        pamela.authenticate(username, password, service=SERVICE)
        pamela.check_account(username, service=SERVICE)
    except pamela.PAMError as error:
        log.info("log-in of %s refused: %s", username, error)
        return False
    return True
