"""What libyaml says about broken syntax, in words that help the person who wrote the file."""

from __future__ import annotations

import re
from typing import Any

import yaml

#: (part of libyaml's message, what to say). The first that fits is used.
_WORDS = (
    ("found unexpected end of stream", "a quote is opened here and never closed"),
    (
        "could not find expected ':'",
        "this line is not complete; write `key: value` with a colon and a space, or start it with "
        "`- ` in a list",
    ),
    (
        "mapping values are not allowed",
        "a second colon on one line, or a line that is indented too far; put text that holds a "
        "colon in quotes",
    ),
    (
        "did not find expected ',' or ']'",
        "the list that starts here with [ is not complete; write a comma between two items, and ] "
        "at the end",
    ),
    (
        "did not find expected ',' or '}'",
        "the part that starts here with { is not complete; write a comma between two items, and } "
        "at the end",
    ),
    ("found unexpected ':'", "inside [ ] and { } a colon is followed by a space"),
    (
        "did not find expected node content",
        "inside [ ] or { } a value is missing, or the bracket is never closed",
    ),
    ("did not find expected key", "the indentation does not fit the lines above"),
    ("did not find expected '-' indicator", "the indentation does not fit the list above"),
    (
        "block sequence entries are not allowed",
        "a list starts on the line of its key; write it on the next line",
    ),
    ("while scanning an alias", "text that starts with * must be put in quotes"),
    ("while scanning an anchor", "text that starts with & must be put in quotes"),
    ("undefined tag handle", "tags (words with !) are not understood; put such text in quotes"),
    ("while scanning a tag", "tags (words with !) are not understood; put such text in quotes"),
    ("while parsing a tag", "tags (words with !) are not understood; put such text in quotes"),
    ("found incompatible YAML document", "leave out the line %YAML; YAML 1.2 is read"),
    ("found unknown escape character", "a backslash in double quotes; use single quotes"),
    ("cannot start any token", "text that starts with @, ` or % must be put in quotes"),
    ("did not find expected <document start>", "the indentation does not fit the lines above"),
)


#: Line breaks as editors and `file:line` of other programs count them.
_BREAK = re.compile(r"\r\n|\n|\r")
#: What YAML 1.1, and so libyaml, also counts as one: NEL, LINE and PARAGRAPH SEPARATOR.
_YAMLS_OWN = tuple(mark.encode() for mark in "\u0085\u2028\u2029")


class Lines:
    """The lines of a file (UTF-8, decoded before without an error), from 1, as an editor shows them."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._plain = not any(mark in source for mark in _YAMLS_OWN)

    def at(self, offset: int) -> int:
        """The line of a byte."""
        return self._before(self._source[:offset].decode(errors="replace")) + 1

    def of(self, mark: Any) -> int:
        """The line of one of libyaml's marks."""
        if self._plain:
            return int(mark.line) + 1
        return self._before(self._source.decode()[: mark.index]) + 1

    @staticmethod
    def _before(text: str) -> int:
        return sum(1 for _ in _BREAK.finditer(text))


def syntax_problem(error: yaml.YAMLError, source: bytes) -> tuple[int, str]:
    """Line and message of what libyaml refused.

    Args:
        error: what PyYAML raised.
        source: the file, UTF-8.
    """
    lines = Lines(source)
    position = getattr(error, "position", None)
    if isinstance(position, int):  # ReaderError: a character that YAML does not allow
        return lines.at(position), "holds a control character; the file is damaged or not text"
    problem = str(getattr(error, "problem", "") or "")
    context = str(getattr(error, "context", "") or "")
    started: Any = getattr(error, "context_mark", None)
    mark: Any = getattr(error, "problem_mark", None) or started
    text = source.decode()
    if mark is None:
        return 1, f"is not valid YAML: {problem or 'nothing more is known'}"
    # What is missing at the end is missed in the last line that holds something.
    line = min(lines.of(mark), lines.at(len(source.rstrip())))
    before = _BREAK.split(text[: mark.index])[-1]
    here = text[mark.index : mark.index + 1]
    indent = before[: len(before) - len(before.lstrip())]
    unseen = next((c for c in before if c.encode() in _YAMLS_OWN), None)
    if unseen is not None:
        return line, f"a line break that editors do not show (U+{ord(unseen):04X}); delete it"
    if "\t" in indent or here == "\t":
        return line, "a tab stands in this line; delete it and write spaces instead"
    # What was opened and not closed is mended where it begins.
    opened = ("unexpected end of stream", "expected ',' or ']'", "expected ',' or '}'")
    if started is not None and any(words in problem for words in opened):
        line = lines.of(started)
    said = f"{context}; {problem}"
    words = next((words for part, words in _WORDS if part in said), None)
    return line, words or f"is not valid YAML: {problem or 'nothing more is known'}"
