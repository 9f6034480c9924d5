"""Every request again against the site: what the hub asks is a wish here.

The hub has a large attack surface. Were it taken over, these checks decide what its account could
make the agent do: run servers of the site's own software under UIDs of ordinary people, with
folders below the storage root and nothing else.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path

from courseyard.errors import AgentRefusedError
from courseyard.images.catalog import ImageCatalog, Release
from courseyard.plan.model import Identity, Mount, ServerPlan, StorageKind, StorageNeed
from courseyard.settings import GRADING_UIDS, LOWEST_ID, Site

HUB_ADDRESS = "COURSEYARD_HUB_ADDRESS"
#: The most that `useradd` and LDAP let through are 32; a site's pattern may be wider.
LONGEST_NAME = 256
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_SMALLEST_MEMORY = 64 * 1024**2
_PID_MAX = 4 * 1024**2
_HIGHEST_ID = 2**31 - 1
_SOURCES = re.compile(
    r"(u/[0-9]{2}/[^/]+|course/[^/]+/((files|data)(/[^/]+)*|people)|exchange/[^/]+|(shareddata|software)(/[^/]+)*)"
)
_PERSONAL = (StorageKind.USER, StorageKind.COURSE_USERDATA, StorageKind.COURSE_MEMBER)
_HOME = re.compile(r"/home/[^/]+")


def refuse(detail: str) -> AgentRefusedError:
    return AgentRefusedError(
        "This was refused: it is not something that this site allows.",
        "Tell the administrators; the log says what was asked.",
        detail=detail,
    )


def check_username(site: Site, username: str) -> None:
    """Refuse a name that no account of the site can have.

    Raises:
        AgentRefusedError: as it says.
    """
    if len(username) > LONGEST_NAME:
        raise refuse(f"a username of {len(username)} letters")
    if username == "root" or not re.fullmatch(site.people.username_pattern, username):
        raise refuse(f"the username {username!r}")
    if "/" in username or ":" in username or username in (".", "..") or not username.isprintable():
        raise refuse(f"the username {username!r}")


def _check_id(what: str, number: int, highest: int) -> None:
    if not LOWEST_ID <= number <= highest:
        raise refuse(f"{what} {number} is not between {LOWEST_ID} and {highest}")


def check_plan(site: Site, catalog: ImageCatalog, plan: ServerPlan) -> None:
    """Refuse a plan that this site cannot have made.

    Raises:
        AgentRefusedError: ``detail`` says which part.
    """
    _check_id("UID", plan.identity.uid, site.people.max_uid)
    _check_identity(site, plan.identity)
    _check_mounts(plan.identity, plan.mounts)
    _check_grading(site, plan)
    _check_limits(plan)
    _check_image(catalog, plan)
    check_needs(site, plan.storage)
    if plan.network != "none" and site.servers.network == "none":
        raise refuse("a network, which the site file does not give")
    grading = plan.grading.environment if plan.grading else {}
    for name, value in (*plan.environment.items(), *grading.items()):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or "\0" in value:
            raise refuse(f"the environment variable {name!r}")


def _check_identity(site: Site, who: Identity) -> None:
    check_username(site, who.username)
    for gid in (who.gid, *(group.gid for group in who.supplementary)):
        _check_id("GID", gid, _HIGHEST_ID)
    for name in (who.group, *(group.name for group in who.supplementary)):
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@ -]{0,63}", name):
            raise refuse(f"the group name {name!r}")
    if not _HOME.fullmatch(who.home) or who.home.endswith(("/.", "/..")):
        raise refuse(f"the home directory {who.home!r}")
    if not 0 <= who.umask <= 0o777 or who.umask & 0o700:
        raise refuse(f"the umask {who.umask:o}")


def _check_grading(site: Site, plan: ServerPlan) -> None:
    """Students' code runs there: under a UID that owns nothing, and it may write nothing."""
    if plan.grading is None:
        return
    _check_identity(site, plan.grading.identity)
    if plan.grading.identity.uid != GRADING_UIDS.start:
        raise refuse(f"grading under the UID {plan.grading.identity.uid}")
    _check_mounts(plan.identity, plan.grading.mounts)
    if any(mount.writable for mount in plan.grading.mounts):
        raise refuse("a folder that students' code may change when it is graded")


def _check_mounts(who: Identity, mounts: tuple[Mount, ...]) -> None:
    own = f"u/{who.uid % 100:02d}/{who.username}"
    for mount in mounts:
        parts = mount.source.split("/")
        if not _SOURCES.fullmatch(mount.source) or any(p in ("", ".", "..") for p in parts):
            raise refuse(f"the mount source {mount.source!r}")
        if parts[0] == "u" and mount.source != own:
            raise refuse(f"another person's folder {mount.source!r}")
        if parts[0] == "software" and mount.writable:
            raise refuse("the site's software writable")
        if parts[0] == "course" and parts[2] == "people" and mount.writable:
            raise refuse(f"{mount.source!r} writable, by which submissions are known")


def _check_limits(plan: ServerPlan) -> None:
    limits = plan.limits
    if limits.mem_limit < _SMALLEST_MEMORY:
        raise refuse(f"a memory limit of {limits.mem_limit} bytes")
    if not 0 < limits.cpu_limit <= 10_000 or not 0 <= limits.cpu_guarantee <= limits.cpu_limit:
        raise refuse(f"a CPU limit of {limits.cpu_limit}")
    if not 0 < limits.processes <= _PID_MAX:
        raise refuse(f"a limit of {limits.processes} processes")
    if min(limits.tmp_size, limits.shm_size) <= 0:
        raise refuse("a temporary folder without a size")


def _check_image(catalog: ImageCatalog, plan: ServerPlan) -> None:
    if plan.image.path is None:
        return  # the backend refuses it with a sentence of its own
    known = {r.path for r in _releases(catalog) if r.path is not None}
    if plan.image.path not in known:
        raise refuse(f"the image {plan.image.path}, which images.yaml does not list")


def _releases(catalog: ImageCatalog) -> list[Release]:
    return [release for family in catalog.families.values() for release in family]


def check_needs(site: Site, needs: tuple[StorageNeed, ...]) -> None:
    """Refuse folders for names or IDs that the site cannot have.

    Raises:
        AgentRefusedError: ``detail`` says which.
    """
    for need in needs:
        if need.kind in _PERSONAL:
            check_username(site, need.username)
            _check_id("UID", need.uid, site.people.max_uid)
        elif need.uid:
            _check_id("UID", need.uid, site.people.max_uid)
        if need.gid or need.kind is not StorageKind.SITE:
            _check_id("GID", need.gid, _HIGHEST_ID)


def hub_address(secrets: Mapping[str, str]) -> tuple[str, int] | None:
    """Where the relay goes; None without a hub.

    Raises:
        AgentRefusedError: not a port of this machine's loopback.
    """
    address = secrets.get(HUB_ADDRESS, "")
    if not address:
        return None
    host, _, port = address.rpartition(":")
    if host.strip("[]") not in _LOOPBACK or not port.isdigit() or not 1024 <= int(port) < 65536:
        raise refuse(f"a relay to {address!r}")
    return host.strip("[]"), int(port)


def peer_uid(connection: socket.socket) -> int:
    """The UID of the process at the other end, as the kernel says it."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(data[4:8], "little")


def inside(path: Path, top: Path) -> bool:
    return top in path.parents
