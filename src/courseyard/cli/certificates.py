"""Whether the proxy's certificate and key are there, and suit the names at which people open the site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from courseyard.errors import Problem, Severity
from courseyard.hints import some
from courseyard.hub import domains
from courseyard.registry.crosscheck import problem_at
from courseyard.settings import SITE_FILE, Site


def problems(site: Site) -> Iterator[Problem]:
    """What is wrong with the files of ``proxy.tls``; nothing when it names none."""
    tls, host = site.proxy.tls, domains.host(site)
    if tls.key is not None and (why := _unreadable(site, tls.key)):
        yield _problem(site, "key", *why)
    if tls.certificate is None:
        return
    if why := _unreadable(site, tls.certificate):
        yield _problem(site, "certificate", *why)
        return
    try:
        names = _names(site.path(tls.certificate).read_bytes())
    except ValueError:
        # Not what it holds: it may be any file.
        message = f"{tls.certificate} holds no certificate in PEM form"
        yield _problem(site, "certificate", message, Severity.ERROR)
        return
    if not host:
        return
    missing = [name for name in (host, f"*.{host}") if not _covered(name, names)]
    if missing:
        message = (
            f"is for {some(sorted(names)) if names else 'no name'}, not for {' and '.join(missing)}; with "
            f"`hub.subdomains` it must be for {host} and *.{host}"
        )
        yield _problem(site, "certificate", message, Severity.ERROR)


def _problem(site: Site, key: str, message: str, severity: Severity) -> Problem:
    return problem_at(site.folder / SITE_FILE, ("proxy", "tls", key), message, severity)


def _unreadable(site: Site, file: Path) -> tuple[str, Severity] | None:
    """Why a file cannot be used; None when it can. Rights that only this process lacks are a warning."""
    try:
        with site.path(file).open("rb") as opened:
            opened.read(1)
    except (PermissionError, FileNotFoundError) as error:
        # The files of a cluster are in its pods.
        elsewhere = site.backend == "kubernetes" or isinstance(error, PermissionError)
        if elsewhere:
            why = f"{file} cannot be read here ({error.strerror}), so it was not checked"
            return why, Severity.WARNING
        return f"{file} is not there; put it there, or correct the path", Severity.ERROR
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}", Severity.ERROR
    return None


def _names(pem: bytes) -> set[str]:
    """The names of the first certificate, the server's own.

    Raises:
        ValueError: there is none.
    """
    from cryptography import x509  # few sites need it, and every command would wait for it

    own = x509.load_pem_x509_certificates(pem)[0]
    try:
        found = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {name.lower() for name in found.get_values_for_type(x509.DNSName)}


def _covered(name: str, names: set[str]) -> bool:
    """Whether a browser takes a certificate of ``names``: an asterisk stands for one label (RFC 9525)."""
    parent = f"*.{name.partition('.')[2]}"
    return name in names or (not name.startswith("*.") and parent in names)
