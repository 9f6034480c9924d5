"""Links into a server: to a file, or to any page of Jupyter's. Pure.

Whatever a link asks for is put behind the address of the person's own server. So it is one place in that
server or it is refused, in every spelling: another host, another person, a way up (``..``).
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from courseyard.access import Target

#: First parts of Jupyter's own addresses. A link's path with another one is a file's or a folder's.
PAGES = frozenset(("lab", "tree", "doc", "edit", "terminals", "formgrader", "git-pull"))
#: First parts that name another place of the site.
_OUTSIDE = frozenset(("user", "hub", "services", "user-redirect"))
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
#: What stays as it is in an address that is encoded already.
_AS_IS = "/%:@!$&'()*+,;=~"
_ROUNDS = 5  # of decoding, after which a link has no honest reason for more


class BadLinkError(ValueError):
    """A link that leads out of the person's own server."""


def has_control(text: str) -> bool:
    """Whether it holds a character that stands for no sign."""
    return bool(_CONTROL.search(text))


def split(link: str) -> tuple[Target, str]:
    """What a link starts and the path that it opens there: ``algo2026/coursedata/week1.ipynb``.

    Raises:
        ValueError: it names nothing that could be started.
    """
    parts = link.split("/")
    named = 2 if parts[0] == "general" else 1
    return Target.parse("/".join(parts[:named])), "/".join(parts[named:])


def to_file(path: str, *, classic: bool) -> str:
    """Where a server shows the file or folder ``path``, or the page of Jupyter's that it names.

    Args:
        path: decoded, from the top of what the person sees in a server.
        classic: in the classic notebook interface, which finds the right page by itself.

    Raises:
        BadLinkError: it leads elsewhere.
    """
    _check(path)
    page = "" if path.split("/")[0] in PAGES else "tree/" if classic else "lab/tree/"
    return page + quote(path, safe=_AS_IS.replace("%", ""))


def inside(address: str) -> str:
    """An address as it follows that of a server: ``lab/tree/week1.ipynb?reset``.

    Raises:
        BadLinkError: it leads elsewhere.
    """
    path, mark, query = address.partition("?")
    _check(path)
    _refuse_control(query)
    again = "&".join(part for part in query.split("&") if not part.startswith("redirects="))
    return quote(path, safe=_AS_IS) + (mark + quote(again, safe=_AS_IS + "?") if again else "")


def wished(text: str, *, base: str, server: str, target: str) -> str:
    """The same for what stands in ``next=`` or ``urlpath=``, which may begin at the top of the site.

    Args:
        text: without a scheme and a host.
        base: the path of the site, with a slash at both ends.
        server: the path of the server that is started, with a slash at both ends.
        target: what is started, as links name it.

    Raises:
        BadLinkError: it leads elsewhere.
    """
    own = server.removeprefix(base)
    if text in ("", f"{base}hub/home", f"{base}hub/", base):
        return ""
    known = (own, f"hub/{own}", f"user-redirect/{target}/", f"hub/user-redirect/{target}/",
             "user-redirect/", "hub/user-redirect/")  # fmt: skip
    for start in known:
        if text.startswith(base + start):
            return inside(text.removeprefix(base + start))
        if text == (base + start).rstrip("/"):
            return ""
    return inside(text.removeprefix(base if text.startswith(base) else "/"))


def _check(path: str) -> None:
    """Raise BadLinkError for a path that is, however encoded, no plain way down into a server."""
    plain = path
    for _ in range(_ROUNDS):
        _refuse(plain)
        decoded = unquote(plain)
        if decoded == plain:
            return
        plain = decoded
    raise BadLinkError(f"encoded more than {_ROUNDS} times")


def _refuse(path: str) -> None:
    parts = path.split("/")
    _refuse_control(path)
    if path.startswith("/") or "//" in path or "\\" in path or _SCHEME.match(path):
        raise BadLinkError("it names a host")
    if parts[0] in _OUTSIDE:
        raise BadLinkError("it names another place of the site")
    if any(part.strip() in (".", "..") for part in parts):
        raise BadLinkError("it leads up")


def _refuse_control(text: str) -> None:
    if has_control(text):
        raise BadLinkError("it holds characters that no address has")
