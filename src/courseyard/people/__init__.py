"""Username → UID, GIDs, groups, name and e-mail; from a file or from the machine."""

from __future__ import annotations

from courseyard.people.cache import People, Source
from courseyard.people.nss import NssSource
from courseyard.people.static import StaticSource
from courseyard.settings import Site

__all__ = ["People", "open_people"]


def open_people(site: Site) -> People:
    """The people of a site, from the source that its settings name.

    Raises:
        SettingsError: the people file cannot be used; ``problems`` says why.
    """
    source: Source
    if site.people.source == "static":
        source = StaticSource(site.path(site.people.file), site.people)
    else:
        source = NssSource()
    return People(source, site.people)
