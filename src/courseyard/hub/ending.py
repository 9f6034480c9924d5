"""A hub that cannot start ends, so that it is started again or somebody hears of it."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

from jupyterhub.app import JupyterHub


def end_at_once() -> None:
    """Let JupyterHub's ``exit``, which it calls where its start fails, end the process.

    By itself it leaves the event loop in the middle of our tasks, and Python then waits for their threads for ever.
    """
    if JupyterHub.initialized():
        JupyterHub.instance().exit = _exit


def _exit(status: int | str | None = 0) -> NoReturn:
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)
