"""What of the machine (or of an image's file tree) every sandbox sees, read-only: a whitelist."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TOP = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
#: Of the machine's /etc: what programs need and everyone may read. Never keys, never accounts.
_ETC = (
    "alternatives", "bash.bashrc", "ca-certificates", "ca-certificates.conf", "crypto-policies",
    "debian_version", "fonts", "gai.conf", "host.conf", "ImageMagick-6", "inputrc",
    "java-17-openjdk", "java-21-openjdk", "julia", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
    "locale.alias", "locale.conf", "localtime", "magic", "mime.types", "nanorc", "networks",
    "os-release", "pki/ca-trust", "pki/tls/certs", "pki/tls/cert.pem", "protocols", "R", "rpc",
    "services", "shells", "ssl/certs", "ssl/openssl.cnf", "terminfo", "texmf", "timezone", "vim",
)  # fmt: skip
#: Of an image's own /etc: all but what is generated or nobody's business.
_NOT_OF_TREE = frozenset(
    (
        "courseyard", "group", "gshadow", "hostname", "hosts", "mtab", "nsswitch.conf", "passwd",
        "resolv.conf", "shadow", "ssh", "sudoers", "sudoers.d",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class System:
    """Read-only binds and links that make the system's part of a sandbox."""

    binds: tuple[tuple[str, str], ...]  # source outside, path inside
    links: tuple[tuple[str, str], ...]  # target, path inside

    def covers(self, path: str) -> bool:
        """Whether ``path`` inside lies in what is bound at the same place."""
        return any(src == dst and (path + "/").startswith(dst + "/") for src, dst in self.binds)


def _collect(root: Path, names: list[str]) -> System:
    binds: list[tuple[str, str]] = []
    links: list[tuple[str, str]] = []
    for name in names:
        path = root / name
        if path.is_symlink() and (name in _TOP or root != Path("/")):
            links.append((str(path.readlink()), f"/{name}"))
        elif path.exists() and os.access(path, os.R_OK):
            binds.append((str(path.resolve() if root == Path("/") else path), f"/{name}"))
    return System(tuple(binds), tuple(links))


def of_machine(root: Path = Path("/")) -> System:
    """The machine's own programs, for images that are virtual environments."""
    return _collect(root, [*_TOP, *(f"etc/{name}" for name in _ETC)])


def of_tree(root: Path) -> System:
    """An image's file tree, for images that bring their own system."""
    inside = []
    for folder, skip in (("etc", _NOT_OF_TREE), ("opt", frozenset({"courseyard"}))):
        if (root / folder).is_dir() and not (root / folder).is_symlink():
            inside += sorted(
                f"{folder}/{e.name}" for e in (root / folder).iterdir() if e.name not in skip
            )
    return _collect(root, [*_TOP, *inside])
