"""Whether the proxy's certificate suits the names at which people open the site."""

from __future__ import annotations

from collections.abc import Iterator

from courseyard.errors import Problem, Severity
from courseyard.hints import some
from courseyard.hub import domains
from courseyard.registry.crosscheck import problem_at
from courseyard.settings import SITE_FILE, Site

_PLACE = ("proxy", "tls", "certificate")


def problems(site: Site) -> Iterator[Problem]:
    """What is wrong with the certificate where each person has a host; nothing when there is none."""
    host, file = domains.host(site), site.proxy.tls.certificate
    if not host or file is None:
        return
    try:
        names = _names(site.path(file).read_bytes())
    except OSError as error:
        message = f"{file} cannot be read here ({error.strerror}): whether it is for *.{host} was not checked"
        yield problem_at(site.folder / SITE_FILE, _PLACE, message, Severity.WARNING)
        return
    except ValueError:
        # Not what it holds: it may be any file.
        message = f"{file} holds no certificate in PEM form"
        yield problem_at(site.folder / SITE_FILE, _PLACE, message, Severity.ERROR)
        return
    missing = [name for name in (host, f"*.{host}") if not _covered(name, names)]
    if missing:
        message = (
            f"is for {some(sorted(names)) if names else 'no name'}, not for {' and '.join(missing)}; with "
            f"`hub.subdomains` it must be for {host} and *.{host}"
        )
        yield problem_at(site.folder / SITE_FILE, _PLACE, message, Severity.ERROR)


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
