"""A plan as the words of bubblewrap's command line. Pure: reads and writes nothing.

Facts about bubblewrap that shaped the order (each was tried): parents of mount points are made
0700 unless given with ``--perms 0755 --dir`` first; ``--dev`` is a writable tmpfs of half the
machine's memory until remounted; ``--tmpfs`` has no limit without ``--size``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from courseyard.backends import identity
from courseyard.backends.sandbox.image import Image
from courseyard.backends.sandbox.system import System
from courseyard.errors import UnsupportedError
from courseyard.plan.model import Mount, ServerPlan

PLAN_FILE = "/etc/courseyard/plan.json"
PROGRAMS = "/opt/courseyard/singleuser"
BECOME = "/opt/courseyard/launch/become.py"
HOSTNAME = "courseyard"
#: ``notice`` in it, when it is there, is one sentence for the person.
NOTICES = "/run/courseyard"
#: ``socket`` in it leads to the sandbox for grading (singleuser/grading/runner.py).
GRADING = "/run/grading"
#: Where a plan may not mount: what makes the sandbox a sandbox.
RESERVED = (
    "/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/opt/courseyard", "/proc",
    "/run", "/sbin", "/sys", "/usr",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Data:
    """A word that becomes the number of a descriptor holding ``content``."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Source:
    """A word that becomes the path of an opened folder below the storage root."""

    relative: str


Word = str | Data | Source


@dataclass(frozen=True, slots=True)
class Programs:
    """Where our own programs for the inside lie outside."""

    singleuser: str
    become: str


def words(
    plan: ServerPlan,
    system: System,
    image: Image,
    programs: Programs,
    *,
    real_ids: bool,
    resolver: str = "",
    notices: str = "",
    grading: str = "",
    first: bool = False,
) -> list[Word]:
    """All words but the program's name and the command.

    Args:
        real_ids: True where root makes the sandbox (the person's own UID and GIDs), False for an
            ordinary user's user namespace.
        notices: folder outside in which the agent leaves notices for the person.
        grading: folder outside with the socket of the server's sandbox for grading.
        first: for grading: the program is the first process of its PID namespace, which nothing inside
            can kill, and no plan lies there, which would tell graded code of its instructor.
        resolver: address of a name server inside, where the plan has a network.

    Raises:
        UnsupportedError: the plan wants a mount where the sandbox has its own things.
    """
    check_targets(plan, image)
    places = _Places()
    return [
        *_namespaces(plan, real_ids),
        *(("--as-pid-1",) if first else ()),
        *_system(system),
        *_etc(plan, places, resolver, told=not first),
        *_writable(plan, places),
        *_image(system, image, places),
        *_programs(programs, places),
        *_storage(plan, places),
        *(("--ro-bind", notices, NOTICES) if notices else ()),
        *((*places.folder(GRADING), "--ro-bind", grading, GRADING) if grading else ()),
        "--remount-ro", "/dev", "--remount-ro", "/",
    ]  # fmt: skip


def check_targets(plan: ServerPlan, image: Image) -> None:
    """Refuse mounts over the system, the image or the home directory, or inside one another.

    A mount point inside another mount would have to be made there, in a folder of somebody's;
    only the very same folder with other rights may lie there.

    Raises:
        UnsupportedError: there is such a mount.
    """
    taken = [*RESERVED, *image.folders, plan.identity.home]
    before: list[Mount] = []
    for mount in plan.mounts:
        target = mount.target
        path = PurePosixPath(target)
        plain = path.is_absolute() and str(path) == target and ".." not in path.parts
        outside_home = not target.startswith(("/home/",)) or not plan.identity.home.startswith(
            target
        )
        clash = [t for t in taken if _within(target, t) or _within(t, target)]
        clash += [m.target for m in before if not _apart(m, mount)]
        if target in ("/", "/tmp", "/home", "/root") or not plain or not outside_home or clash:  # noqa: S108
            raise UnsupportedError(
                "This server cannot be started: a folder would be shown at a place that is taken.",
                "Tell the administrators.",
                detail=f"mount target {target!r} clashes with {clash or 'the system'}",
            )
        before.append(mount)


def _apart(first: Mount, second: Mount) -> bool:
    """Whether two mounts do not disturb each other; ``first`` is mounted first."""
    if _within(second.target, first.target) and second.target != first.target:
        return second.source == first.source + second.target.removeprefix(first.target)
    return not _within(first.target, second.target)


def _within(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")


class _Places:
    """Makes each parent folder once, passable for everyone."""

    def __init__(self) -> None:
        self._made = {"/"}

    def parents(self, path: str) -> Iterator[str]:
        for parent in reversed(PurePosixPath(path).parents):
            yield from self.folder(str(parent))

    def folder(self, path: str) -> Iterator[str]:
        if path not in self._made:
            self._made.add(path)
            yield from ("--perms", "0755", "--dir", path)


def _namespaces(plan: ServerPlan, real_ids: bool) -> Iterator[Word]:
    yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net")
    yield from ("--unshare-cgroup-try", "--hostname", HOSTNAME, "--clearenv")
    yield from ("--cap-drop", "ALL")
    if real_ids:
        # become.py needs these until it has given the person's identity to itself.
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_CHOWN"):
            yield from ("--cap-add", capability)
    else:
        yield from (
            "--unshare-user",
            "--uid",
            str(plan.identity.uid),
            "--gid",
            str(plan.identity.gid),
        )


def _system(system: System) -> Iterator[Word]:
    yield from ("--perms", "0755", "--dir", "/etc", "--perms", "0755", "--dir", "/opt")
    for folder in ("/etc/ssl", "/etc/pki", "/etc/pki/tls"):
        if any(_within(path, folder) for _, path in system.binds):
            yield from ("--perms", "0755", "--dir", folder)
    for source, path in system.binds:
        yield from ("--ro-bind", source, path)
    for target, path in system.links:
        yield from ("--symlink", target, path)


def _etc(plan: ServerPlan, places: _Places, resolver: str, *, told: bool) -> Iterator[Word]:
    yield from places.folder("/etc/courseyard")
    who = plan.identity
    internet = plan.network == "full"
    files = {
        "/etc/passwd": identity.passwd(who),
        "/etc/group": identity.group(who),
        "/etc/nsswitch.conf": identity.nsswitch(internet=internet),
        "/etc/hosts": identity.hosts(HOSTNAME),
        "/etc/hostname": f"{HOSTNAME}\n",
    }
    if told:
        files[PLAN_FILE] = plan.to_json()
    if resolver:
        files["/etc/resolv.conf"] = f"nameserver {resolver}\n"
    for path, text in files.items():
        yield from ("--perms", "0444", "--file", Data(text.encode()), path)
    yield from ("--symlink", "/proc/self/mounts", "/etc/mtab")


def _writable(plan: ServerPlan, places: _Places) -> Iterator[Word]:
    size = str(plan.limits.tmp_size)
    yield from ("--proc", "/proc", "--dev", "/dev")
    yield from ("--perms", "1777", "--size", str(plan.limits.shm_size), "--tmpfs", "/dev/shm")  # noqa: S108
    yield from ("--perms", "1777", "--size", size, "--tmpfs", "/tmp")  # noqa: S108
    for folder in ("/var", "/run", NOTICES, "/srv", "/mnt", "/sys"):
        yield from places.folder(folder)
    yield from ("--symlink", "/tmp", "/var/tmp", "--symlink", "/run", "/var/run")  # noqa: S108
    yield from places.parents(plan.identity.home)
    yield from ("--perms", "0700", "--size", size, "--tmpfs", plan.identity.home)


def _image(system: System, image: Image, places: _Places) -> Iterator[Word]:
    for folder in image.folders:
        if not system.covers(folder):
            yield from places.parents(folder)
        yield from ("--ro-bind", folder, folder)


def _programs(programs: Programs, places: _Places) -> Iterator[Word]:
    for source, path in ((programs.singleuser, PROGRAMS), (programs.become, BECOME)):
        yield from places.parents(path)
        yield from ("--ro-bind", source, path)


def _storage(plan: ServerPlan, places: _Places) -> Iterator[Word]:
    made: list[str] = []
    for mount in plan.mounts:
        if not any(_within(mount.target, target) for target in made):
            yield from places.parents(mount.target)
        made.append(mount.target)
        yield from ("--bind" if mount.writable else "--ro-bind", Source(mount.source), mount.target)
