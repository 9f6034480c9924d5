"""``courseyard.yaml`` → :class:`~courseyard.settings.Site`, with every problem at once."""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from courseyard.errors import Problem, SettingsError, Severity
from courseyard.hints import did_you_mean, shown
from courseyard.images.catalog import parse_wish
from courseyard.registry.override import PARSERS, is_reserved_variable, never_allowed
from courseyard.settings import FORMS, HIGHEST_UID, LOWEST_ID, SITE_FILE, ServerSettings, Site
from courseyard.units import format_bytes
from courseyard.yamlfile import Document, VanishedError, read_yaml

log = logging.getLogger(__name__)

_SITES_OWN = "x-"
#: A host name that leaves room for a label of 63 characters before it (RFC 1035, 2.3.4).
_HOST = re.compile(
    r"(?=.{3,189}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)
#: Names that are this machine's own (RFC 6761, 6.3).
_LOOPBACK = ".localhost"
#: What a username must never look like: it becomes a folder's name.
_NOT_NAMES = ("", ".", "..", "a/b", "/", "a\nb", "a b", "a:b", "a\0b")
Found = tuple[tuple[str | int, ...], str]


def load_site(folder: Path) -> Site:
    """The site of ``folder``; warnings go to the log.

    Raises:
        SettingsError: it cannot be used; ``problems`` says why, as file, line, key and message.
    """
    site, problems = check_site(folder)
    for problem in problems:
        if not problem.is_error:
            log.warning("%s", problem)
    if site is None:
        errors = [str(problem) for problem in problems if problem.is_error]
        text = "\n".join(errors)
        raise SettingsError(f"The site file cannot be used:\n{text}", problems=problems)
    return site


def check_site(folder: Path) -> tuple[Site | None, tuple[Problem, ...]]:
    """The site of ``folder``, None when it cannot be used, and all problems of its file."""
    given, folder = folder, folder.absolute()
    file = folder / SITE_FILE
    try:
        document = read_yaml(file)
    except VanishedError:
        command = f"courseyard init {shlex.quote(str(given))}"
        message = f"there is no site file; make one with `{command}`"
        return None, (Problem(file, 0, "", message),)
    except SettingsError as error:
        return None, error.problems
    problems = list(document.warnings)
    data = {key: v for key, v in document.data.items() if not key.startswith(_SITES_OWN)}
    if "folder" in data:
        del data["folder"]
        problems.append(document.problem(("folder",), "unknown key; the folder is the file's own"))
    nul = [path for path, text in _texts(data) if "\0" in text]
    if nul:
        message = "holds a NUL character, which no path or name may hold"
        problems += [document.problem(path, message) for path in nul]
        return None, _sorted(problems)
    try:
        # By JSON, whose strict mode takes lists for tuples and text for paths, and nothing else.
        site = Site.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        problems += _translated(document, error)
        return None, _sorted(problems)
    site = site.model_copy(update={"folder": folder})
    problems += [document.problem(path, message) for path, message in _cross_checks(site)]
    broken = any(problem.severity is Severity.ERROR for problem in problems)
    return None if broken else site, _sorted(problems)


def _texts(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[Found]:
    """Every text of the file and the place where it stands; keys too."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key), key
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))


def _sorted(problems: list[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: problem.line))


# Pydantic's errors in our words


def _translated(document: Document, error: ValidationError) -> list[Problem]:
    problems: dict[tuple[str | int, ...], Problem] = {}
    for found in error.errors(include_url=False):
        path = _place(document.data, found)
        if path[:1] == ("environments",) and path[2:3] == ("image",):
            path, message = path[:3], "write a family such as DEFAULT or [DEFAULT, 2026-09-01]"
        else:
            message = _words(path, found)
        problems.setdefault(path, document.problem(path, message))
    return list(problems.values())


def _place(data: Any, found: ErrorDetails) -> tuple[str | int, ...]:
    """The keys of the file that ``loc`` starts with; a union adds names of types to it."""
    path: list[str | int] = []
    for step in found["loc"]:
        inside = isinstance(data, dict) and step in data
        if not inside and not (isinstance(data, list) and isinstance(step, int)):
            break
        path.append(step)
        data = data[step] if not isinstance(step, int) or step < len(data) else None
    return tuple(path)


def _words(path: tuple[str | int, ...], found: ErrorDetails) -> str:
    kind, context = found["type"], found.get("ctx", {})
    value = found["input"]
    if kind == "extra_forbidden":
        known = _known_keys(path[:-1])
        more = f"; known are {', '.join(known)}, and keys of the site's own that start with x-"
        hint = did_you_mean(
            str(path[-1]), known, more if len(path) == 1 else more.split(", and")[0]
        )
        return f"unknown key{hint}"
    if kind == "missing":
        return f"`{found['loc'][-1]}` is missing"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", found["msg"]))
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", str(context["expected"]))
        return f"must be one of {', '.join(words)}{did_you_mean(str(value), words)}"
    if kind.startswith("int"):
        digits = isinstance(value, str) and value.strip().isdigit()
        return "must be a whole number" + ("; remove the quotes" if digits else "")
    if kind.startswith("greater_than"):
        return f"must be at least {context.get('ge', context.get('gt'))}"
    if kind.startswith("less_than"):
        return f"must be at most {context.get('le', context.get('lt'))}"
    if kind == "string_pattern_mismatch":
        return f"{shown(value)} is not {FORMS[context['pattern']]}"
    if kind == "string_too_long":
        return f"is longer than {context['max_length']} characters"
    if kind == "string_too_short":
        return "is empty"
    if value is None:
        return "has no value; write one or leave the key out"
    plain = {
        "string_type": f"must be text; put {shown(value)} in quotes",
        "path_type": f"must be a path; put {shown(value)} in quotes",
        "bool_type": "must be true or false",
        "bool_parsing": "must be true or false",
        "tuple_type": "must be a list",
        "list_type": "must be a list",
        "dict_type": "must hold `key: value` lines",
        "model_type": "must hold `key: value` lines",
        "model_attributes_type": "must hold `key: value` lines",
    }
    return plain.get(kind, found["msg"])


def _known_keys(path: tuple[str | int, ...]) -> list[str]:
    """Keys that the file may hold at ``path``."""
    kind: Any = Site
    for step in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(step)].annotation
        else:  # dict[str, Model] or tuple[Model, ...]
            kind = next((arg for arg in get_args(kind) if hasattr(arg, "model_fields")), None)
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return []
    return [name for name in kind.model_fields if (kind, name) != (Site, "folder")]


# What no single setting can tell


def _cross_checks(site: Site) -> Iterator[Found]:
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
    """All listen on one machine; a port that is not written is counted from ``hub.port``."""
    hub, proxy = site.hub, site.proxy
    ports = {
        ("hub", "port"): hub.port,
        ("hub", "api_port"): hub.api_port or hub.port + 1,
        ("proxy", "api_port"): proxy.api_port or hub.port + 2,
        ("hub", "servers_port"): hub.servers_port or hub.port + 3,
        ("proxy", "metrics_port"): proxy.metrics_port,
    }
    written = {key for key in ports if key[1] in getattr(site, key[0]).model_fields_set}
    seen: dict[int, tuple[str, str]] = {}
    for key, port in ports.items():
        if port is None:
            continue
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
