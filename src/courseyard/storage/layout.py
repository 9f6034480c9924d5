"""Where everything lies below the storage root (DOMAIN.md, On disk). Relative paths, pure."""

from __future__ import annotations

import re

#: nbgrader's folders of a course directory, and the exchange in which instructors rehearse.
COURSE_FOLDERS = (
    "source",
    "release",
    "submitted",
    "autograded",
    "feedback",
    "test-instructor-exchange",
)
GRADEBOOK = "gradebook.db"
#: In the data of a course: a folder for each student, with `create_userdata`.
USERS = "users"
SITE_FOLDERS = ("shareddata", "software")
_NAME = re.compile(r"[a-z0-9_][a-zA-Z0-9_.@-]{0,63}")


def name(text: str) -> str:
    """``text`` when it can be one component of a path.

    Raises:
        ValueError: it cannot.
    """
    if not _NAME.fullmatch(text) or ".." in text:
        raise ValueError(f"{text!r} cannot be the name of a folder")
    return text


def user(username: str, uid: int) -> str:
    return f"u/{uid % 100:02d}/{name(username)}"


def course(slug: str) -> str:
    return f"course/{name(slug)}"


def files(slug: str) -> str:
    return f"{course(slug)}/files"


def people(slug: str) -> str:
    return f"{course(slug)}/people"


def member(slug: str, username: str, uid: int) -> str:
    return f"{people(slug)}/{uid}.{name(username)}"


def data(slug: str) -> str:
    return f"{course(slug)}/data"


def users(slug: str) -> str:
    return f"{data(slug)}/{USERS}"


def user_data(slug: str, username: str) -> str:
    return f"{users(slug)}/{name(username)}"


def exchange(slug: str) -> str:
    return f"exchange/{name(slug)}"
