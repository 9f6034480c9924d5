"""What all pages share: colours of the site, static files, headers, and values for templates."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from courseyard.hub import domains
from courseyard.hub.home import errorpages, words
from courseyard.hub.places import Places
from courseyard.inside import RefusedFileError, read_inside
from courseyard.settings import Branding, Site

if TYPE_CHECKING:
    from courseyard.hub.runtime import Runtime

STATIC = Path(__file__).parent.parent / "static"
_LARGEST_LOGO = 1024 * 1024  # bytes
_EMAIL = re.compile(r"[^@\s<>\"']+@[^@\s<>\"']+")


def headers(places: Places) -> dict[str, str]:
    """Headers of every page of the hub; :mod:`courseyard.hub.fetches` adds those of every answer.

    JupyterHub's own pages (administration, tokens) hold inline scripts; ours hold none and say so
    with a stricter policy in the page. Nothing may frame the hub: formgrader, whose log-in passes
    through here, opens in a tab of its own.
    """
    report = f"{places.base_url}hub/security/csp-report"
    policy = (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
        f"base-uri 'none'; form-action {_forms(places.site)}; frame-ancestors 'none'; "
        f"report-uri {report}"
    )
    return {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }


def page_policy(site: Site) -> str:
    """The policy inside our own pages: no inline script or style, nothing from other hosts."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"font-src 'self'; connect-src 'self'; form-action {_forms(site)}; base-uri 'none'"
    )


def _forms(site: Site) -> str:
    """Where forms may lead. The way from a form to a server goes to its person's host, where there are such."""
    return f"'self' {domains.everybodys(site)}".strip()


@cache
def _digest(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def template_vars(runtime: Runtime) -> dict[str, Any]:
    """What templates may use besides what JupyterHub gives them."""
    site, files = runtime.site, f"{runtime.places.base_url}hub/courseyard"
    tint = hashlib.sha256(site_css(site.branding).encode()).hexdigest()[:12]

    def asset(name: str) -> str:
        return f"{files}/static/{name}?v={_digest(name)}"

    # JupyterHub calls callables with the user, so functions for templates sit one level down.
    return {
        # traitlets copies what it is given, and a module cannot be copied.
        "words": SimpleNamespace(**{n: v for n, v in vars(words).items() if not n.startswith("_")}),
        "site": {
            "name": site.name,
            # A whole address where a page may be shown at another host (hub/domains.py).
            "hub": f"{domains.origin(site)}{runtime.places.base_url}hub",
            "asset": asset,
            "css": f"{files}/site.css?v={tint}",
            "logo": f"{files}/logo" if site.branding.logo else "",
            "contact": site.contact or "",
            "contact_link": contact_link(site.contact),
            "policy": page_policy(site),
            "title_of": runtime.title_of,
            "error_title": errorpages.title,
            "error_text": errorpages.text,
            "error_next": errorpages.following,
            "login_text": login_text,
            "leads_somewhere": leads_somewhere,
        },
        "display_name": _display_name(runtime),
    }


def _display_name(runtime: Runtime) -> Callable[[Any], str]:
    def display_name(user: Any) -> str:
        return runtime.display_name(user.name) if user is not None else ""

    return display_name


def leads_somewhere(following: str) -> bool:
    """Whether what follows a log-in, an encoded address, is a link that somebody made."""
    address = unquote(following)
    return any(part in address for part in ("/go/", "/user/", "/user-redirect/", "/spawn"))


def login_text(message: str) -> str:
    """JupyterHub's message of a log-in, said in our words."""
    if message == "Invalid username or password":
        return words.LOGIN_WRONG
    return words.FORM_TOO_OLD if "expired" in message.lower() else message


def contact_link(contact: str | None) -> str:
    """A link for the help desk's address; "" when it is neither e-mail nor web."""
    if contact and contact.startswith(("https://", "http://")):
        return contact
    if contact and _EMAIL.fullmatch(contact):
        return f"mailto:{contact}"
    return ""


def site_css(branding: Branding) -> str:
    """The site's two colours, each with the ink that can be read on it."""
    light, dark = branding.accent, branding.accent_dark
    return (
        f":root{{--accent:{light};--on-accent:{_ink_on(light)}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{--accent:{dark};--on-accent:{_ink_on(dark)}}}}}\n"
    )


def _ink_on(colour: str) -> str:
    """White or nearly black, whichever has the higher contrast (WCAG 2.2, relative luminance)."""
    light = _luminance(colour)
    white, black = 1.05 / (light + 0.05), (light + 0.05) / (_luminance("#101418") + 0.05)
    return "#ffffff" if white >= black else "#101418"


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def logo(site: Site) -> tuple[bytes, str] | None:
    """The logo's bytes and media type; None when the site has none that can be read."""
    try:
        return read_logo(site)
    except (OSError, RefusedFileError):
        return None


def read_logo(site: Site) -> tuple[bytes, str] | None:
    """The same; None when the site names none.

    Raises:
        RefusedFileError: the file may not be shown; says why, as the end of a sentence about it.
        OSError: it cannot be read.
    """
    if site.branding.logo is None:
        return None
    file = site.path(site.branding.logo)
    kind = mimetypes.guess_type(file.name)[0] or ""
    if kind not in ("image/svg+xml", "image/png"):
        raise RefusedFileError(
            "is no picture that pages show; write the path of an .svg or .png file"
        )
    return read_inside(file, _LARGEST_LOGO), kind
