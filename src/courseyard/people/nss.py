"""People from the machine's own users and groups: files, SSSD, LDAP, whatever NSS is told.

Every call here blocks for as long as NSS takes; :mod:`courseyard.people.cache` keeps it off the
hub's event loop. glibc does not tell "nobody has this name" from "the directory is down" through
Python's ``pwd`` (both are a KeyError), so a person who was known a moment ago is served from the
cache, and a stranger is unknown until the directory answers.
"""

from __future__ import annotations

import grp
import os
import pwd

from courseyard.people.person import Group, Person


class NssSource:
    """Looks people up by NSS."""

    def look_up(self, username: str) -> Person | None:
        """The person, or None when nobody has this name; blocks.

        The e-mail address stays empty: the only field for it, GECOS, may be changed by the user
        (chfn), and managers are recognised by their address.
        """
        try:
            entry = pwd.getpwnam(username)
        except KeyError:
            return None
        if entry.pw_name != username:
            return None  # SSSD may fold the case; one person has one name here
        gids = set(os.getgrouplist(username, entry.pw_gid)) - {entry.pw_gid}
        groups = frozenset(Group(_group_name(gid), gid) for gid in gids)
        full_name = entry.pw_gecos.split(",", 1)[0].strip()
        return Person(username, entry.pw_uid, entry.pw_gid, groups, full_name)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)  # a group without a name costs its name alone
