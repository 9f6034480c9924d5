"""Username → UID, GIDs, groups, name and e-mail; from a file or from the machine."""

from __future__ import annotations

from collections.abc import Iterable

from courseyard.people.cache import People
from courseyard.people.nss import NssSource
from courseyard.people.source import Source
from courseyard.people.static import StaticSource
from courseyard.settings import Site

__all__ = ["People", "open_people"]


def open_people(site: Site, known: Iterable[str] = ()) -> People:
    """The people of a site, from the source that its settings name.

    Args:
        site: the site's settings.
        known: names that the source has given before, the latest last.

    Raises:
        SettingsError: the people file cannot be used; ``problems`` says why.
    """
    source: Source
    if site.people.source == "static":
        source = StaticSource(site.path(site.people.file), site.people)
    else:
        source = NssSource(known)
    return People(source, site.people)
