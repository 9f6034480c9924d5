"""Slugs: they become paths, server names and parts of URLs."""

from __future__ import annotations

import re

SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
USERS_SUFFIX = "-users"
#: What a folder, a page or a target of ours already means, and JupyterHub's own first path parts.
RESERVED = frozenset(
    (
        *("meta", "general", "users", "test"),
        *("admin", "api", "go", "health", "home", "hub", "login", "logout", "metrics", "services"),
        *("shared", "spawn", "spawn-pending", "static", "stop", "seen", "token", "user"),
        *("courses", "data", "exchange", "files", "root", "shareddata", "software"),
    )
)


def slug_problem(slug: str) -> str | None:
    """Why ``slug`` cannot name a course; None when it can."""
    if not SLUG.fullmatch(slug):
        return (
            "a course file's name is 1 to 40 small letters, digits, - and _, starting with a "
            "letter or digit; rename the file"
        )
    if "--" in slug:
        return "a course file's name holds no `--`; rename the file"
    if slug.endswith(("-instructor", USERS_SUFFIX)):
        return "a course file's name does not end in -instructor or -users; rename the file"
    if slug in RESERVED:
        return f"the name {slug} has a meaning of its own already; rename the file"
    if slug.startswith("general-") and slug.endswith("-env"):
        return "names from general- to -env belong to general environments; rename the file"
    return None
