"""Parts of messages: the nearest right word, a value, a few of many names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from courseyard.errors import one_line


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """``; did you mean X?`` for the known word nearest to ``word``, else ``otherwise``."""
    by_small = {name.lower().replace("-", "_"): name for name in known}
    # A word of hundreds of letters has no near neighbour, and looking for one takes long.
    small = word[:60].lower().replace("-", "_")
    near = difflib.get_close_matches(small, by_small, 1, 0.6)
    return f"; did you mean {by_small[near[0]]}?" if near else otherwise


def shown(value: object, limit: int = 40) -> str:
    """``value`` for a message: short, on one line, in quotes when it is text."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    text = one_line(str(value)[: limit + 1])
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return f"'{text}'" if isinstance(value, str) else text


def some(names: Sequence[str]) -> str:
    """``names`` in a few words: the first, and how many more there are."""
    return names[0] if len(names) == 1 else f"{names[0]} (and {len(names) - 1} more)"
