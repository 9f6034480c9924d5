"""Reading YAML files that people write: strict, safe and fast, with line numbers on demand.

The dialect is YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema) over libyaml's
events, with three additions: the old booleans ``yes``, ``no``, ``on`` and ``off`` are still read as
such (with a warning), ``<<`` merges mappings, and dates are read as in YAML 1.1. Tags, several
documents and duplicate keys are refused, and aliases may not make a file larger than
:data:`MAX_VALUES` values. Keys are always text, also ``2026-09-01:``.

Events and not ``yaml.load``: no recursion in C that deep nesting could crash, and a third of the
time. Lines cost nothing until somebody asks for one (:meth:`Document.line`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]

from courseyard.errors import Problem, SettingsError, Severity
from courseyard.inside import RefusedFileError, opened_inside, read_all
from courseyard.yamlplaces import Place, places
from courseyard.yamlscalars import (
    CONSTANTS,
    FIRST_OF_NUMBER,
    OLD_BOOLEANS,
    SPECIAL,
    plain_number,
)
from courseyard.yamlsyntax import Lines, syntax_problem

MAX_BYTES = 1024 * 1024
#: Values of one file, those that aliases repeat included.
MAX_VALUES = 100_000
MAX_DEPTH = 40
#: After so many values another thread gets its turn: the hub's event loop must not wait for us.
_TURN = 500


class YamlError(SettingsError):
    """A file cannot be read; ``problems`` holds the one problem."""

    reason = "yaml"

    def __init__(self, file: Path, line: int, message: str, key: str = "") -> None:
        problem = Problem(file, line, key, message)
        super().__init__(str(problem), problems=(problem,))


class VanishedError(YamlError):
    """The file is not there (any more)."""

    reason = "yaml-gone"


@dataclass
class Document:
    """The one document of a YAML file: its mapping, and where things stand in it."""

    path: Path
    data: dict[str, Any]
    source: bytes
    #: What the dialect forgives.
    warnings: list[Problem] = field(default_factory=list)

    @cached_property
    def _root(self) -> Place:
        return places(self.source)

    @cached_property
    def _lines(self) -> Lines:
        return Lines(self.source)

    def line(self, path: Sequence[str | int] = ()) -> int:
        """The line of a key or item, such as ``("students", 3)``; of its nearest parent if absent."""
        node, mark = self._root, None
        for step in path:
            found = node.child(step)
            if found is None:
                break
            node, mark = found
        return 1 if mark is None else self._lines.of(mark)

    def problem(
        self, path: Sequence[str | int], message: str, severity: Severity = Severity.ERROR
    ) -> Problem:
        """A :class:`Problem` at ``path`` in this file."""
        return Problem(self.path, self.line(path), dotted(path), message, severity)


def dotted(path: Sequence[str | int]) -> str:
    """``("a", "b", 3)`` as people read it: ``a.b[3]``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def read_yaml(path: Path) -> Document:
    """Read the YAML file ``path``, whose document must be a mapping.

    Raises:
        VanishedError: when the file does not exist.
        YamlError: when it cannot be read, is too large or is not such a document.
    """
    return parse_yaml(read_bytes(path), path)


def read_bytes(path: Path, *, within: Path | None = None) -> bytes:
    """The bytes of a file that people write (:func:`courseyard.inside.read_inside`), of at most
    :data:`MAX_BYTES`.

    Raises:
        VanishedError, YamlError: as :func:`read_yaml`.
    """
    try:
        with opened_inside(path, within=within) as number:
            return _read_all(path, number)
    except FileNotFoundError:
        raise VanishedError(path, 0, "there is no such file") from None
    except RefusedFileError as error:
        raise YamlError(path, 0, str(error)) from None
    except OSError as error:
        raise YamlError(path, 0, f"cannot be opened: {_reason(error)}") from None


def _read_all(path: Path, number: int) -> bytes:
    try:
        return read_all(number, MAX_BYTES)
    except OSError as error:
        raise YamlError(path, 0, f"cannot be read: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return (error.strerror or error.__class__.__name__).lower()


def parse_yaml(source: bytes, path: Path, *, may_be_empty: bool = False) -> Document:
    """The document of ``source``, read from ``path``, which must be a mapping.

    Args:
        may_be_empty: a file without a value, such as one of comments alone, is an empty mapping.

    Raises:
        YamlError: when it is not such a document.
    """
    source = source.removeprefix(b"\xef\xbb\xbf")
    try:
        source.decode()
    except UnicodeDecodeError as error:
        raise YamlError(
            path,
            Lines(source).at(error.start),
            "is not UTF-8 text; save the file in the encoding UTF-8",
        ) from None
    nul = source.find(b"\0")
    if nul >= 0:
        line = Lines(source).at(nul)
        raise YamlError(path, line, "holds a NUL byte; the file is damaged or not text")
    warnings: list[Problem] = []
    builder = _Builder(path, warnings, source)
    try:
        data = builder.build(CParser(source))
    except yaml.YAMLError as error:
        raise YamlError(path, *syntax_problem(error, source)) from None
    if data is None:
        if not may_be_empty:
            raise YamlError(path, 1, "is empty; write `key: value` lines")
        data = {}
    if not isinstance(data, dict):
        kind = "a list" if isinstance(data, list) else "a single value"
        raise YamlError(path, 1, f"is {kind}; write `key: value` lines")
    return Document(path, data, source, warnings)


_NONE: Any = object()  # no key is waiting for its value


class _Builder:
    """Events → dictionaries, lists and scalars, with a stack of its own."""

    def __init__(self, path: Path, warnings: list[Problem], source: bytes) -> None:
        self.path = path
        self.source = source
        self.warnings = warnings
        #: (container, key, merged, anchor, count before) of the containers around the current one.
        self.stack: list[tuple[Any, Any, Any, str | None, int]] = []
        self.anchors: dict[str, tuple[Any, int]] = {}

    def build(self, parser: Any) -> Any:
        """The value of the only document; None when there is none."""
        get = parser.get_event
        stack, scalar = self.stack, yaml.ScalarEvent
        top: list[Any] = []
        current: Any = top
        key: Any = _NONE
        merged: list[tuple[dict[str, Any], Any]] | None = None
        is_map = False
        count, pause = 0, _TURN
        while True:
            event = get()
            kind = event.__class__
            count += 1
            if count >= pause:
                pause = count + _TURN
                time.sleep(0.00005)
                if count > MAX_VALUES:
                    self.fail(event, f"holds more than {MAX_VALUES} values, aliases included")
            if kind is scalar:
                value = event.value
                if event.tag is not None:
                    self.fail(event, f"the tag {event.tag} is not understood; leave it out")
                if is_map and key is _NONE:
                    if event.anchor is not None:
                        self.anchors[event.anchor] = (value, 1)
                    key = self.key(value, event, current)
                    continue
                if value[:1] in SPECIAL and event.implicit[0]:
                    value = self.plain(value, event, key)
                if event.anchor is not None:
                    self.anchors[event.anchor] = (value, 1)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self.start(event, is_map and key is _NONE)
                stack.append((current, key, merged, event.anchor, count))
                is_map = kind is yaml.MappingStartEvent
                current, key, merged = {} if is_map else [], _NONE, None
                continue
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                value = current
                if merged is not None:
                    self.merge(value, merged)
                current, key, merged, anchor, before = stack.pop()
                is_map = current.__class__ is dict
                if anchor is not None:
                    self.anchors[anchor] = (value, count - before + 1)
            elif kind is yaml.AliasEvent:
                value, size = self.alias(event, is_map and key is _NONE)
                count += size
                if is_map and key is _NONE:
                    key = self.key(value, event, current)
                    continue
            elif kind is yaml.DocumentStartEvent:
                if top:
                    self.fail(event, "a second document starts here (`---`); a file holds one")
                continue
            elif kind is yaml.StreamEndEvent:
                return top[0] if top else None
            else:
                continue
            if not is_map:
                current.append(value)
            elif key.__class__ is _Merge:
                merged = merged or []
                merged.append((value, event))
                key = _NONE
            else:
                current[key] = value
                key = _NONE

    def fail(self, event: Any, message: str, key: str = "") -> None:
        raise YamlError(self.path, self.line(event), message, key)

    def line(self, event: Any) -> int:
        return Lines(self.source).of(event.start_mark)

    def place(self, key: Any) -> str:
        """The keys that lead to ``key`` of the current mapping, as people read them."""
        steps = [frame_key for _, frame_key, *_ in self.stack] + [key]
        return ".".join(step for step in steps if isinstance(step, str))

    def start(self, event: Any, is_key: bool) -> None:
        if is_key:
            self.fail(event, "a key must be a word, not a list or mapping; is a quote missing?")
        if event.tag is not None:
            self.fail(event, f"the tag {event.tag} is not understood; leave it out")
        if len(self.stack) >= MAX_DEPTH:
            self.fail(event, f"is nested deeper than {MAX_DEPTH} levels")
        if event.anchor is not None:
            self.anchors.pop(event.anchor, None)  # an alias inside itself has no anchor yet

    def key(self, value: Any, event: Any, current: dict[str, Any]) -> Any:
        if not isinstance(value, str):
            self.fail(event, "a key must be a word, not a list or mapping")
        if value == "<<" and event.__class__ is yaml.ScalarEvent and event.implicit[0]:
            return _Merge()
        if value in current:
            self.fail(event, "stands twice; keep one of the two", self.place(value))
        return value

    def alias(self, event: Any, is_key: bool) -> tuple[Any, int]:
        found = self.anchors.get(event.anchor)
        if found is None:
            self.fail(event, f"*{event.anchor} has no anchor &{event.anchor} before it")
            raise AssertionError
        return found

    def merge(self, target: dict[str, Any], merged: list[tuple[Any, Any]]) -> None:
        """Add what ``<<`` brings; the mapping's own keys win, then the earlier of a list."""
        for value, event in merged:
            for source in value if isinstance(value, list) else [value]:
                if not isinstance(source, dict):
                    self.fail(event, "`<<` takes a mapping or a list of mappings")
                for key, item in source.items():
                    target.setdefault(key, item)

    def plain(self, text: str, event: Any, key: Any) -> Any:
        """What an unquoted scalar means."""
        if text in CONSTANTS:
            return CONSTANTS[text]
        if text in OLD_BOOLEANS:
            value = OLD_BOOLEANS[text]
            word = "true" if value else "false"
            where = self.place(key)
            message = f"{text} is read as {word}; write {word}, or put it in quotes if it is text"
            line = self.line(event)
            self.warnings.append(Problem(self.path, line, where, message, Severity.WARNING))
            return value
        return plain_number(text) if text[0] in FIRST_OF_NUMBER else text


class _Merge:
    """The key ``<<``."""
