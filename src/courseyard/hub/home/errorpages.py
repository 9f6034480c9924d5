"""Error pages: our own sentences alone, and an id that stands in the log too.

JupyterHub's pages and its errors share one base class, so that is where this is put.
"""

from __future__ import annotations

import secrets
from typing import Any

from jupyterhub.handlers.base import BaseHandler

from courseyard.errors import CourseyardError
from courseyard.hub.home import words

_stock = BaseHandler.write_error
#: What we say with an error. JupyterHub's own messages are for programmers and stay in the log.
_OURS = frozenset(value for value in vars(words).values() if isinstance(value, str))


def install() -> None:
    """Give every error page its id."""
    BaseHandler.write_error = _write_error


def _write_error(self: Any, status_code: int, **kwargs: Any) -> None:
    error = kwargs.get("exc_info", (None, None, None))[1]
    if error is not None and not isinstance(getattr(error, "error", None), CourseyardError):
        error.page_id = new_id()
        self.log.info("[error %s] %d %s", error.page_id, status_code, self.request.path)
    _stock(self, status_code, **kwargs)


def new_id() -> str:
    """For the help desk: it stands on the page and in the log."""
    return secrets.token_hex(4)


def title(status: int, error: Any = None) -> str:
    """The heading of the page."""
    said = _said(error)
    if said == words.NO_COURSE:
        return words.NO_COURSE_TITLE
    if said == words.NOT_YOUR_SERVER:
        return words.ERRORS[403]
    return words.ERRORS.get(status, words.ERROR_OTHER)


def text(status: int, message: str) -> str:
    """What is said below it; "" where the heading says all."""
    if "xsrf" in message.lower():
        return words.FORM_TOO_OLD
    ours = message in _OURS or message.startswith(words.TOO_MANY_TRIES)
    return message if ours and message != title(status) else ""


def following(status: int, error: Any = None) -> str:
    """What to do next; "" when there is nothing."""
    if _said(error) == words.NOT_YOUR_SERVER:
        return words.NOT_YOUR_SERVER_NEXT
    return words.ERROR_NEXT.get(status, "")


def _said(error: Any) -> str:
    """The first sentence of an error of ours."""
    known = getattr(error, "error", None)
    if isinstance(known, CourseyardError):
        return known.message
    return str(getattr(error, "log_message", None) or "")
