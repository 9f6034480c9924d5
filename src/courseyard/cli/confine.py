"""Hub and proxy with a read-only system around them and no rights.

Root makes the namespaces with bubblewrap and drops to the hub's account inside, so a site or an
installation below a private folder (``/root``) can be read there; an ordinary user does the same
in a user namespace. They see the site's files, not the storage, the agent's records or other homes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import courseyard
from courseyard.backends.sandbox import machine
from courseyard.cli.state import Account
from courseyard.settings import Site

#: Set inside: the command does its work instead of building the walls again.
INSIDE = "COURSEYARD_CONFINED"
_SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc")
#: Where name services of the machine listen (SSSD, nscd, systemd).
_SERVICES = (
    "/run/nscd", "/run/resolvconf", "/run/systemd/resolve", "/run/systemd/userdb", "/var/lib/sss",
)  # fmt: skip
_TMP_SIZE = 256 * 1024**2  # bytes


def enter(
    site: Site, command: list[str], writable: Iterable[Path], account: Account | None
) -> NoReturn:
    """Become ``command`` inside the walls.

    Args:
        site: the site that it serves.
        command: program and arguments; absolute.
        writable: folders that it may write to.
        account: whom to become; None where an ordinary user runs this.

    Raises:
        UnsupportedError: this machine has no bubblewrap.
        OSError: it cannot be run.
    """
    inner = [*_drop(account), *command]
    program = machine.bubblewrap()
    words = [program, *walls(site, list(writable)), "--", *inner]
    # Its own files in /tmp are gone with it; settings of the caller's Python do not matter here.
    home = str(site.state_dir / "hub")
    environment = {**os.environ, INSIDE: "1", "HOME": home, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONPATH", None)
    os.execve(program, words, environment)  # noqa: S606


def _drop(account: Account | None) -> list[str]:
    """Words that become ``account`` with no capability: its ports are open already."""
    if account is None:
        return []
    words = ["/usr/bin/setpriv", f"--reuid={account.uid}", f"--regid={account.gid}"]
    return [*words, "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]


def walls(site: Site, writable: list[Path]) -> list[str]:
    """Bubblewrap's words: what is seen, and that only ``writable`` can be written."""
    view = _View()
    words = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]
    for name in _SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists():
            words += view.show(path)
    words += ["--dev", "/dev", "--proc", "/proc", "--size", str(_TMP_SIZE), "--perms", "1777"]
    words += ["--tmpfs", "/tmp", "--dir", "/run", "--dir", "/var"]  # noqa: S108
    view.made |= {Path("/tmp"), Path("/run"), Path("/var"), Path("/dev"), Path("/proc")}  # noqa: S108
    for path in (*map(Path, _SERVICES), *_installation(), site.folder, *_outside(site)):
        words += view.show(path)
    # The hub's and the proxy's own folders are among `writable` for the one whose they are.
    own = (site.state_dir / name for name in ("agent", "hub", "log", "proxy"))
    for hidden in (site.storage_root, *own):
        if view.sees(hidden) and hidden.is_dir():
            words += ["--perms", "0755", "--tmpfs", str(hidden)]
            view.hide(hidden)
    # The course files may lie below the storage root (course/meta).
    for path in (*_site_paths(site), site.state_dir / "run"):
        words += view.show(path)
    for path in writable:
        words += [*view.parents(path), "--bind", str(path), str(path)]
    return [*words, "--remount-ro", "/"]


class _View:
    """What is visible so far, so that nothing is bound twice and parents are passable."""

    def __init__(self) -> None:
        self.bound: set[Path] = set()
        self.hidden: set[Path] = set()
        self.made = {Path("/")}

    def sees(self, path: Path) -> bool:
        """Whether ``path`` shows at its own place what lies there outside."""
        nearest = next((p for p in (path, *path.parents) if p in self.bound | self.hidden), None)
        return nearest is not None and nearest in self.bound

    def hide(self, path: Path) -> None:
        self.hidden.add(path)
        self.made.add(path)

    def show(self, path: Path) -> Iterator[str]:
        """Words that show ``path`` read-only; none when it is seen already or missing."""
        if self.sees(path) or not path.exists():
            return
        yield from self.parents(path)
        yield from ("--ro-bind", str(path), str(path))
        self.bound.add(path)

    def parents(self, path: Path) -> Iterator[str]:
        for parent in reversed(path.parents):
            if parent in self.made or self.sees(parent):
                continue
            self.made.add(parent)
            yield from ("--perms", "0755", "--dir", str(parent))


def _installation() -> list[Path]:
    """Where this Python and Courseyard lie, at the paths by which they are known and really."""
    found = []
    for path in (sys.prefix, sys.base_prefix, sys.exec_prefix, str(_package())):
        found += [Path(path), Path(path).resolve()]
    return found


def _package() -> Path:
    return Path(courseyard.__file__).parent


def _site_paths(site: Site) -> list[Path]:
    """Files and folders that the site file names, also behind links."""
    tls = site.proxy.tls
    named = [site.courses, site.images, site.people.file, tls.certificate, tls.key]
    named.append(site.branding.logo)
    absolute = [site.path(path) for path in named if path is not None]
    return [each for path in absolute for each in (path, path.resolve())]


def _outside(site: Site) -> list[Path]:
    """Folders of images: whether they are there decides what the course page says."""
    from courseyard.images.catalog import load_catalog

    releases = (r for family in load_catalog(site).families.values() for r in family)
    return [release.path for release in releases if release.path is not None]
