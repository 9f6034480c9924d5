"""Each person's servers at a host of their own: ``hub.subdomains``.

To a browser another host is another origin: a page of one person's server reads nothing of another's
or of the hub. What the hub's pages are, only the hub's own host serves; every other host has people's
running servers, a way from what does not run to the hub, and what makes an error page look right.

Facts: JupyterHub's ``subdomain_host`` and ``subdomain_hook`` (jupyterhub/app.py), Traefik's rules and
``redirectRegex`` (doc.traefik.io/traefik/v3.6/reference/routing-configuration/http).
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any
from urllib.parse import urlsplit

from courseyard.hub import proven
from courseyard.hub.places import Places
from courseyard.settings import Site

#: A username that is a host's label as it stands. Labels of other names have `--`, which it has not.
_PLAIN = re.compile(r"(?!.*--)[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_NOT_PLAIN = re.compile(r"[^a-z0-9]")
#: Before nothing: a person's route, and the hub's, are longer rules and so come first.
_LAST = 1
_LEAD = "courseyard-to-hub"


def label(username: str) -> str:
    """The first part of the host of a person's servers; two usernames never have the same.

    JupyterHub's own hook ends in 28 bits of a hash, which two of some ten thousand names may share;
    these are 160.
    """
    if _PLAIN.fullmatch(username):
        return username
    digest = hashlib.sha256(username.encode()).digest()[:20]
    readable = _NOT_PLAIN.sub("", username.lower())[:8] or "x"
    return f"u-{readable}--{base64.b32encode(digest).decode().lower()}"


def hook(name: str, domain: str, kind: str) -> str:
    """``JupyterHub.subdomain_hook``: the host of a person's servers, or of a service (none has pages)."""
    return f"{label(name)}.{domain}" if kind == "user" else f"{label(name)}--{kind}.{domain}"


def origin(site: Site) -> str:
    """The hub's origin as browsers write it, ``https://jupyter.example.org``; "" without a host of its own."""
    if not site.hub.subdomains or not site.hub.public_url:
        return ""
    parts = urlsplit(site.hub.public_url.lower())
    usual = {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.removesuffix(f':{usual}')}"


def host(site: Site) -> str:
    """The name of the hub's host, without a port; "" where it has none of its own."""
    return urlsplit(origin(site)).hostname or ""


def everybodys(site: Site) -> str:
    """The origins of all people's servers, as a Content-Security-Policy writes them; "" without."""
    hub = urlsplit(origin(site))
    return f"{hub.scheme}://*.{hub.netloc}" if hub.netloc else ""


def only_hub(site: Site) -> str:
    """What a rule of Traefik starts with whose address is the hub's own; "" without hosts."""
    return f"Host(`{host(site)}`) && " if host(site) else ""


def routers(site: Site, entry: str) -> dict[str, Any]:
    """Routes of hosts that are not the hub's: to the hub for what does not run, and nothing else.

    A server that runs has a route of its own. What has none here is not found: no page of the hub is
    served elsewhere, so the log-in form and the hub's cookies are not either.
    """
    if not host(site):
        return {}
    base = Places(site).base_url
    reading = "(Method(`GET`) || Method(`HEAD`))"
    lead = {
        "rule": f"{reading} && (Path(`{base}`) || PathPrefix(`{base}user/`))",
        "priority": _LAST + 1,
        "entryPoints": [entry],
        "service": "courseyard-hub",
        "middlewares": [_LEAD],
    }
    # What holds nothing of anybody's and sets no cookie: the answer to probes, which ask by an address,
    # and the looks of the page that stands in for a dead server.
    everywhere = {
        "rule": f"{reading} && (Path(`{base}hub/health`) || PathPrefix(`{base}hub/courseyard/`))",
        "priority": _LAST,
        "entryPoints": [entry],
        "service": "courseyard-hub",
        "middlewares": [proven.MIDDLEWARE],
    }
    return {_LEAD: lead, "courseyard-everywhere": everywhere}


def middlewares(site: Site) -> dict[str, Any]:
    """The way to the hub from hosts that are not its own."""
    if not host(site):
        return {}
    base = Places(site).base_url
    lead = {
        "regex": rf"^[a-z]+://[^/]+{re.escape(base)}(user/.*)?$",
        "replacement": f"{origin(site)}{base}hub/${{1}}",
    }
    return {_LEAD: {"redirectRegex": lead}}


def configure(c: Any, site: Site) -> None:
    """JupyterHub's own settings of it, for a site that has it."""
    c.JupyterHub.subdomain_host = origin(site)
    c.JupyterHub.subdomain_hook = hook
    c.JupyterHub.hub_routespec = f"{host(site)}{Places(site).base_url}"
    # No page of another host can set such a cookie; plain http has none (RFC 6265bis, 4.1.3.2).
    c.JupyterHub.cookie_host_prefix_enabled = origin(site).startswith("https:")
