"""What reads one file: its document, the site's rules, and the problems found so far."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import tzinfo

from courseyard.errors import Problem, Severity
from courseyard.hints import did_you_mean
from courseyard.images.catalog import ImageCatalog
from courseyard.settings import Site
from courseyard.yamlfile import Document

Where = tuple[str | int, ...]


class Rules:
    """What the site says about course files."""

    def __init__(self, site: Site, catalog: ImageCatalog) -> None:
        self.site = site
        self.catalog = catalog
        self.tz: tzinfo = site.tz
        self.is_username: Callable[[str], object] = re.compile(
            site.people.username_pattern
        ).fullmatch
        #: Names that were checked already.
        self.known_names: set[str] = set()
        self.allow_override = frozenset(site.servers.allow_override)


@dataclass
class Reader:
    """Collects problems; a parser that finds one goes on, so that all are told at once."""

    document: Document
    rules: Rules
    problems: list[Problem] = field(default_factory=list)
    broken: bool = False

    def wrong(self, path: Where, message: str) -> None:
        self.broken = True
        self.problems.append(self.document.problem(path, message))

    def warn(self, path: Where, message: str) -> None:
        self.problems.append(self.document.problem(path, message, Severity.WARNING))

    def sorted(self) -> tuple[Problem, ...]:
        """The problems in the order of the file's lines."""
        return tuple(sorted(self.problems, key=lambda problem: problem.line))

    def unknown(self, path: Where, known: Collection[str], more: str = "") -> None:
        """Refuse the key at the end of ``path``; ``more`` is said when no known one is near."""
        self.wrong(path, f"unknown key{did_you_mean(str(path[-1]), known, more)}")

    def is_list(self, path: Where, value: object, what: str) -> bool:
        """Whether ``value`` is a list; else that is said."""
        if not isinstance(value, list):
            self.wrong(path, f"must be a list{what}")
        return isinstance(value, list)

    def is_mapping(self, path: Where, value: object, what: str = "") -> bool:
        """Whether ``value`` is a mapping; else that is said."""
        if not isinstance(value, dict):
            self.wrong(path, f"must hold `key: value` pairs{what}")
        return isinstance(value, dict)
