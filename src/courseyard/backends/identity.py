"""The ``/etc`` files that say who is there: the person, the groups, and nobody else's data."""

from __future__ import annotations

from courseyard.plan.model import Identity

NOBODY = 65534
_SHELL = "/bin/bash"


def _field(text: str) -> str:
    """``text`` for one field of passwd: no colon, comma or control character ends it early."""
    return "".join(" " if c in ":," or ord(c) < 32 or ord(c) == 127 else c for c in text).strip()


def passwd(identity: Identity) -> str:
    """``/etc/passwd``: root, the person, nobody."""
    name = _field(identity.full_name) or identity.username
    person = f"{identity.username}:x:{identity.uid}:{identity.gid}:{name}:{identity.home}:{_SHELL}"
    return (
        "root:x:0:0:root:/root:/usr/sbin/nologin\n"
        f"{person}\n"
        f"nobody:x:{NOBODY}:{NOBODY}:nobody:/nonexistent:/usr/sbin/nologin\n"
    )


def group(identity: Identity) -> str:
    """``/etc/group``: root, the person's groups, nogroup; one line for each GID."""
    lines = {0: "root:x:0:", NOBODY: f"nogroup:x:{NOBODY}:"}
    lines[identity.gid] = f"{identity.group}:x:{identity.gid}:{identity.username}"
    for entry in identity.supplementary:
        lines.setdefault(entry.gid, f"{entry.name}:x:{entry.gid}:{identity.username}")
    return "".join(f"{line}\n" for line in lines.values())


def nsswitch(*, internet: bool) -> str:
    """``/etc/nsswitch.conf``: these files alone, and DNS where there is a network."""
    hosts = "files dns" if internet else "files"
    return f"passwd: files\ngroup: files\nshadow: files\nhosts: {hosts}\nservices: files\n"


def hosts(hostname: str) -> str:
    """``/etc/hosts``."""
    return f"127.0.0.1 localhost\n127.0.1.1 {hostname}.localdomain {hostname}\n::1 localhost\n"
