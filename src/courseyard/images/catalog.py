"""``images.yaml``: families of software with dated releases.

::

    families:
      DEFAULT:
        title: Python
        releases:
          2026-08-15: {path: images/python-2026-08-15, reference: courseyard-python:2026-08-15}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from courseyard.errors import PlanError, Problem, SettingsError
from courseyard.hints import did_you_mean, shown
from courseyard.images.model import ImageWish
from courseyard.settings import Site
from courseyard.yamlfile import Document, VanishedError, read_yaml
from courseyard.yamlscalars import parse_timestamp

#: A family's name. Only capitals tell a bare one from an image reference; in a pair with a date and
#: in the list itself it may be written in any case (DOMAIN.md, Images).
FAMILY = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
#: An image reference: [host[:port]/]path[:tag][@digest]
#: (https://github.com/distribution/reference/blob/main/reference.go).
REFERENCE = re.compile(
    r"(?:[a-zA-Z0-9][a-zA-Z0-9.-]*(?::[0-9]{1,5})?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
_RELEASE_KEYS = ("path", "reference")
_FAMILY_KEYS = ("title", "prepull", "releases")
_HOW = "write a family such as DEFAULT, [DEFAULT, 2026-09-01], or an image reference"


@dataclass(frozen=True, slots=True)
class Release:
    """One image: a family on one day. A reference that no family lists has ``family`` ``""``."""

    family: str
    released: date | None
    reference: str
    path: Path | None = None  # the directory on this machine
    title: str = ""
    prepull: bool = True  # whether nodes of a cluster fetch it before the first start


@dataclass(frozen=True, slots=True)
class ImageCatalog:
    """All images of a site; releases of a family in the order of their dates."""

    families: Mapping[str, tuple[Release, ...]]

    def resolve(self, wish: ImageWish) -> Release:
        """The image that ``wish`` means.

        An image reference that is not listed is passed on as it is, without a directory: a
        cluster can pull it, one machine cannot run it.

        Raises:
            PlanError: no such family, or no release of it so early.
        """
        if wish.reference is not None:
            listed = self.by_reference(wish.reference)
            return listed or Release("", None, wish.reference, None, wish.reference)
        family = wish.family or ""
        releases = self.families.get(family)
        if not releases:
            known = ", ".join(self.families) or "none"
            hint = did_you_mean(family, self.families, f"; listed are {known}")
            raise PlanError(f"the site lists no image {shown(family)}{hint}")
        last = wish.released_by
        early = [item for item in releases if last is None or _before(item, last)]
        if not early:
            first = releases[0].released
            raise PlanError(f"{family} has no release on or before {last}; its first is of {first}")
        return early[-1]

    def by_reference(self, reference: str) -> Release | None:
        """The listed release with this reference."""
        every = (item for releases in self.families.values() for item in releases)
        return next((item for item in every if item.reference == reference), None)


def family_name(written: str) -> str | None:
    """The family that ``written`` names, in capitals; None when it cannot be one."""
    name = written.upper() if written.isascii() else ""
    return name if FAMILY.fullmatch(name) else None


def _before(release: Release, last: date) -> bool:
    return release.released is not None and release.released <= last


def parse_wish(value: Any) -> ImageWish:
    """What ``image`` says: a family, ``[family, date]`` or an image reference.

    Raises:
        ValueError: it is none of them.
    """
    if isinstance(value, ImageWish):
        return value
    if isinstance(value, list | tuple):
        if len(value) != 2 or not isinstance(value[0], str) or not family_name(value[0]):
            raise ValueError(f"not an image; {_HOW}")
        return ImageWish(family=family_name(value[0]), released_by=_day(value[1]))
    if not isinstance(value, str):
        raise ValueError(f"not an image; {_HOW}")  # noqa: TRY004
    if FAMILY.fullmatch(value):
        return ImageWish(family=value)
    if len(value) > 255 or not REFERENCE.fullmatch(value):
        raise ValueError(f"{shown(value)} is not an image; {_HOW}")
    return ImageWish(reference=value)


def _day(value: Any) -> date:
    if isinstance(value, str):
        value = parse_timestamp(value) or value
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ValueError(f"{shown(value)} is not a day; write one such as 2026-09-01")  # noqa: TRY004
    return value


def load_catalog(site: Site) -> ImageCatalog:
    """The site's image list.

    Raises:
        SettingsError: it cannot be used; ``problems`` says why.
    """
    file = site.path(site.images)
    try:
        document = read_yaml(file)
    except VanishedError as error:
        raise SettingsError(
            f"There is no image list {file.name}.",
            "Write it, or change `images` in the site file.",
            problems=error.problems,
        ) from None
    reader = _Reader(document, site)
    families = reader.read()
    reader.check_environments(families)
    if reader.problems:
        text = "\n".join(map(str, reader.problems))
        raise SettingsError(
            f"The image list cannot be used:\n{text}", problems=tuple(reader.problems)
        )
    return families


class _Reader:
    """One image list → a catalog, collecting everything that is wrong."""

    def __init__(self, document: Document, site: Site) -> None:
        self.document = document
        self.site = site
        self.problems: list[Problem] = []

    def wrong(self, path: tuple[str, ...], message: str) -> None:
        self.problems.append(self.document.problem(path, message))

    def read(self) -> ImageCatalog:
        self.known((), self.document.data, ("families",))
        families = {}
        for written, value in self.mapping(("families",)).items():
            path = ("families", written)
            name = family_name(written)
            if name is None:
                self.wrong(path, "the name of a family is letters, digits and _; rename it")
            elif name in families:
                self.wrong(path, f"{name} stands twice, in capitals and small letters; keep one")
            elif self.is_mapping(path, value):
                families[name] = self.family(path, name, value)
        if not self.problems and not families:
            self.wrong(("families",), "lists no image; add a family with a release")
        return ImageCatalog(MappingProxyType(families))

    def mapping(self, path: tuple[str, ...]) -> dict[str, Any]:
        value: Any = self.document.data
        for step in path:
            value = value.get(step)
        if value is None:
            self.wrong(path, f"is missing or empty; write `{path[-1]}:` and its lines below")
            return {}
        return value if self.is_mapping(path, value) else {}

    def is_mapping(self, path: tuple[str, ...], value: Any) -> bool:
        if not isinstance(value, dict):
            self.wrong(path, "must hold `key: value` lines")
        return isinstance(value, dict)

    def known(self, path: tuple[str, ...], data: dict[str, Any], keys: tuple[str, ...]) -> None:
        for key in data:
            if key not in keys and not key.startswith("x-"):
                hint = did_you_mean(key, keys, f"; known are {', '.join(keys)}")
                self.wrong((*path, key), f"unknown key{hint}")

    def family(self, path: tuple[str, ...], name: str, data: dict[str, Any]) -> tuple[Release, ...]:
        self.known(path, data, _FAMILY_KEYS)
        title = data.get("title", path[-1])
        if not isinstance(title, str) or not title.isprintable() or not 0 < len(title) <= 100:
            self.wrong((*path, "title"), "must be one line of at most 100 characters")
            title = name
        prepull = data.get("prepull", True)
        if not isinstance(prepull, bool):
            self.wrong((*path, "prepull"), "must be true or false")
        found = []
        for day, value in self.mapping((*path, "releases")).items():
            release = self.release((*path, "releases", day), name, title, day, value)
            if release is not None:
                found.append(replace(release, prepull=prepull is not False))
        return tuple(sorted(found, key=lambda release: release.released or date.min))

    def release(
        self, path: tuple[str, ...], family: str, title: str, day: str, value: Any
    ) -> Release | None:
        try:
            released = _day(day)
        except ValueError as error:
            self.wrong(path, str(error))
            return None
        if not self.is_mapping(path, {} if value is None else value):
            return None
        data = value or {}
        self.known(path, data, _RELEASE_KEYS)
        reference = data.get("reference", f"{family.lower()}:{released.isoformat()}")
        if not isinstance(reference, str) or not REFERENCE.fullmatch(reference):
            self.wrong((*path, "reference"), "is not an image reference such as python:2026-09-01")
            return None
        folder = data.get("path")
        if folder is not None and not (isinstance(folder, str) and folder and folder.isprintable()):
            self.wrong((*path, "path"), "must be the image's folder, such as images/python")
            return None
        place = self.site.path(Path(folder)) if folder else None
        return Release(family, released, reference, place, title)

    def check_environments(self, catalog: ImageCatalog) -> None:
        """Images of the site's general environments; said here, where the list is known."""
        if self.problems:
            return
        for key, environment in self.site.environments.items():
            try:
                catalog.resolve(parse_wish(environment.image))
            except (PlanError, ValueError) as error:
                place = f"`environments.{key}.image` of the site file"
                self.wrong(("families",), f"{place}: {error}")
