"""What libyaml says about broken syntax, in words that help the person who wrote the file."""

from __future__ import annotations

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


def syntax_problem(error: yaml.YAMLError, source: bytes) -> tuple[int, str]:
    """Line and message of what libyaml refused.

    Args:
        error: what PyYAML raised.
        source: the file, UTF-8.
    """
    position = getattr(error, "position", None)
    if isinstance(position, int):  # ReaderError: a character that YAML does not allow
        line = source.count(b"\n", 0, position) + 1
        return line, "holds a control character; the file is damaged or not text"
    problem = str(getattr(error, "problem", "") or "")
    context = str(getattr(error, "context", "") or "")
    mark: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark is not None else 1
    lines = source.decode().splitlines()
    text = lines[line - 1] if line <= len(lines) else ""
    before = text[: len(text) - len(text.lstrip())]
    if "\t" in before or (mark is not None and text[mark.column : mark.column + 1] == "\t"):
        return line, "a tab stands in this line; delete it and write spaces instead"
    started = getattr(error, "context_mark", None)
    # What was opened and not closed is mended where it begins.
    opened = ("unexpected end of stream", "expected ',' or ']'", "expected ',' or '}'")
    if started is not None and any(words in problem for words in opened):
        line = started.line + 1
    said = f"{context}; {problem}"
    words = next((words for part, words in _WORDS if part in said), None)
    return line, words or f"is not valid YAML: {problem or 'nothing more is known'}"
