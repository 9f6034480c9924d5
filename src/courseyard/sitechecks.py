"""What no single setting of a site can tell: settings that do not go together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from courseyard.hints import shown
from courseyard.images.catalog import parse_wish
from courseyard.registry.override import PARSERS, is_reserved_variable, never_allowed
from courseyard.settings import HIGHEST_UID, LOWEST_ID, ServerSettings, Site
from courseyard.units import format_bytes

#: A host name that leaves room for a label of 63 characters before it (RFC 1035, 2.3.4).
_HOST = re.compile(
    r"(?=.{3,189}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)
#: Names that are this machine's own (RFC 6761, 6.3).
_LOOPBACK = ".localhost"
#: What a username must never look like: it becomes a folder's name.
_NOT_NAMES = ("", ".", "..", "a/b", "/", "a\nb", "a b", "a:b", "a\0b")
#: Keys of a place in the file, and what is wrong there.
Found = tuple[tuple[str | int, ...], str]


def check(site: Site) -> Iterator[Found]:
    """What is wrong between the settings of ``site``: the keys of the place, and a sentence."""
    yield from _check_texts(site)
    yield from _check_people(site)
    yield from _check_servers(site)
    yield from _check_proxy(site)
    yield from _check_ports(site)
    yield from _check_subdomains(site)
    yield from _check_folders(site)
    yield from _check_cluster(site)
    if not site.environments:
        yield ("environments",), "is empty; everyone needs at least one general environment"
    for key, environment in site.environments.items():
        try:
            parse_wish(environment.image)
        except ValueError as error:
            yield ("environments", key, "image"), str(error)


def _check_cluster(site: Site) -> Iterator[Found]:
    """What a hub in a cluster cannot do."""
    if site.backend != "kubernetes":
        return
    machine = "the hub's pod has no accounts of a machine"
    if site.people.source == "nss":
        yield ("people", "source"), f"nss finds nobody: {machine}; use static"
    if site.hub.authenticator == "pam":
        yield (
            ("hub", "authenticator"),
            f"pam lets nobody in: {machine}; use OAuth, such as "
            "oauthenticator.generic.GenericOAuthenticator",
        )
    if site.hub.base_url != "/":
        yield ("hub", "base_url"), "must be / in a cluster: the probes of its pods ask there"
    if site.kubernetes.namespace == site.kubernetes.users_namespace:
        yield (
            ("kubernetes", "users_namespace"),
            "must be another one than `namespace`: people's servers stay apart from the hub",
        )


def _check_texts(site: Site) -> Iterator[Found]:
    texts: list[tuple[tuple[str | int, ...], str | None]] = [(("name",), site.name)]
    texts.append((("contact",), site.contact))
    for key, environment in site.environments.items():
        texts.append((("environments", key, "name"), environment.name))
        texts.append((("environments", key, "description"), environment.description))
    for path, text in texts:
        if text is not None and not text.isprintable():
            yield path, "holds a control character or a line break; write one line of text"
    if not site.name.strip():
        yield ("name",), "is empty"


def _check_people(site: Site) -> Iterator[Found]:
    people = site.people
    pattern = re.compile(people.username_pattern)
    if any(pattern.fullmatch(name) for name in _NOT_NAMES):
        message = "would allow names that are no safe folder names, such as `..` or `a/b`"
        yield ("people", "username_pattern"), message
        return
    for key in ("administrators", "test_students"):
        for index, name in enumerate(getattr(people, key)):
            if name == "root" or not pattern.fullmatch(name):
                yield ("people", key, index), f"{shown(name)} is not a username of this site"
    if people.max_uid < LOWEST_ID:
        yield ("people", "max_uid"), f"must be at least {LOWEST_ID}"
    if people.max_uid > HIGHEST_UID:
        message = f"must be at most {HIGHEST_UID}: graded code runs under UIDs above"
        yield ("people", "max_uid"), message
    if site.hub.authenticator == "demo" and people.source != "static":
        message = "`demo` needs `people: {source: static}`; with the machine's users write `pam`"
        yield ("hub", "authenticator"), message


def _check_servers(site: Site) -> Iterator[Found]:
    servers = site.servers
    yield from _check_guarantees(servers)
    for key in ("mem_limit", "cpu_limit", "tmp_size", "shm_size", "start_timeout", "http_timeout"):
        if getattr(servers, key) <= 0:
            yield ("servers", key), "must be more than 0"
    for name in servers.environment:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            yield ("servers", "environment", name), "is not the name of a variable"
        elif is_reserved_variable(name, servers.marker):
            yield (
                ("servers", "environment", name),
                "is set by Courseyard or JupyterHub; leave it out",
            )
    for index, key in enumerate(servers.allow_override):
        path = ("servers", "allow_override", index)
        if never_allowed(key):
            yield path, f"{shown(key)} would change who the servers run as; it cannot be allowed"
        elif not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", key):
            yield path, f"{shown(key)} is not the name of a KubeSpawner setting"
        elif key in PARSERS:
            yield path, f"{key} is allowed already; leave it out"


def _check_guarantees(servers: ServerSettings) -> Iterator[Found]:
    """A guarantee over its limit, told at the one of the two that the file holds."""
    for key, limit_key, say in (
        ("mem_guarantee", "mem_limit", format_bytes),
        ("mem_guarantee_instructor", "mem_limit", format_bytes),
        ("cpu_guarantee", "cpu_limit", "{:g}".format),
    ):
        guarantee, limit = getattr(servers, key), getattr(servers, limit_key)
        if limit <= 0 or guarantee <= limit:
            continue
        if key in servers.model_fields_set:
            yield ("servers", key), f"is over `{limit_key}`, which is {say(limit)}"
        else:
            yield ("servers", limit_key), f"is under `{key}`, which is {say(guarantee)}"


def _check_proxy(site: Site) -> Iterator[Found]:
    tls, path = site.proxy.tls, ("proxy", "tls")
    if (tls.certificate is None) != (tls.key is None):
        yield path, "`certificate` and `key` belong together; write both"
    if (tls.acme_email is None) != (tls.acme_domain is None):
        yield path, "`acme_email` and `acme_domain` belong together; write both"
    if tls.certificate is not None and tls.acme_email is not None:
        yield path, "write either a certificate and its key, or the two ACME settings"
    url = site.hub.base_url
    if not re.fullmatch(r"/(?:[A-Za-z0-9._~-]+/)*", url):
        yield ("hub", "base_url"), f"{shown(url)} must start and end with /, such as /jupyter/"
    public, own_https = site.hub.public_url, tls.certificate or tls.acme_domain
    if public and not re.fullmatch(rf"https?://[^/]+{re.escape(url)}", public):
        yield ("hub", "public_url"), f"must end in `base_url`, which is {url}"
    if public and public.startswith("http:") and own_https:
        yield ("hub", "public_url"), "must start with https: the proxy speaks HTTPS (`proxy.tls`)"
    if site.hub.account == "root" or not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", site.hub.account):
        yield ("hub", "account"), "must be an ordinary account, never root"
    for name, traits in site.hub.authenticator_options.items():
        if not isinstance(traits, dict):
            yield ("hub", "authenticator_options", name), "must hold `trait: value` lines"


def _check_ports(site: Site) -> Iterator[Found]:
    """All listen on one machine."""
    ports = site.ports
    written = {key for key in ports if key[1] in getattr(site, key[0]).model_fields_set}
    seen: dict[int, tuple[str, str]] = {}
    for key, port in ports.items():
        first = seen.setdefault(port, key)
        if first != key:
            told, other = (first, key) if key not in written else (key, first)
            yield told, f"{port} is the port of `{'.'.join(other)}` too; write another"
        elif port > 65535:
            yield (
                ("hub", "port"),
                f"is too high: `{'.'.join(key)}` would be {port}; write one below 65533",
            )
            return


def _check_subdomains(site: Site) -> Iterator[Found]:
    """What hosts of people's own need; see hub/domains.py."""
    if not site.hub.subdomains:
        return
    path, example = ("hub", "subdomains"), "https://jupyter.example.org/"
    parts = urlsplit(site.hub.public_url or "")
    host = (parts.hostname or "").lower()
    if not host:
        yield path, f"needs `public_url`, the address that people open, such as {example}"
    elif not _HOST.fullmatch(host) or host.rpartition(".")[2].isdigit():
        yield (
            path,
            f"needs a name with a dot in `public_url`, such as {example}: {shown(host)} can have "
            "no hosts below it",
        )
    elif parts.scheme != "https" and not host.endswith(_LOOPBACK):
        yield (
            path,
            "needs https in `public_url`: without it one person's page can set the cookies of all "
            "others. Plain http is for names that end in .localhost, to try it out",
        )
    if site.proxy.tls.acme_domain is not None:
        yield (
            path,
            "needs a wildcard certificate, which ACME cannot get here; write `proxy.tls.certificate` "
            "and `proxy.tls.key` instead of the two ACME settings",
        )


def _check_folders(site: Site) -> Iterator[Found]:
    """Nothing of the hub's own may lie where users' files are, and so become readable."""
    try:
        root = site.storage_root.resolve()
        state = site.state_dir.resolve()
    except (OSError, RuntimeError):  # a link that leads to itself
        yield (
            ("storage", "root"),
            "cannot be found: a link on the way to it or to `state` is broken",
        )
        return
    if root == Path("/") or root == site.folder.resolve():
        yield ("storage", "root"), "must be a folder for the files of users and courses alone"
    elif state.is_relative_to(root):
        yield ("state",), "lies inside the storage root, where users' files are; move it out"
    elif root.is_relative_to(state):
        yield ("storage", "root"), "lies inside the state folder; move it out"
