"""Parts of messages: the nearest right word, a value, a few of many names."""

from __future__ import annotations

import difflib
import errno
import os
import re
import shutil
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


def system_says(error: OSError) -> str:
    """What the system refused and why, without numbers and lists: ``/srv/x: No space left on device``."""
    why, path = _why(error)
    return f"{path}: {why}" if path else why


def is_full(error: OSError) -> bool:
    """Whether a disk or a quota is full."""
    return _why(error)[0] in (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))


def make_room(error: OSError, otherwise: str) -> str:
    """What to do about it, where a disk or a quota is full; else ``otherwise``."""
    return "Make room there, or choose another place." if is_full(error) else otherwise


def reason(error: OSError) -> str:
    """The same as :func:`system_says` without the path."""
    return _why(error)[0]


def _why(error: OSError) -> tuple[str, str]:
    if isinstance(error, shutil.Error):  # of a copied tree: the first of its files
        _, path, why = error.args[0][0]
        number = re.search(r"\[Errno (\d+)\]", str(why))
        return os.strerror(int(number[1])) if number else str(why), str(path)
    return error.strerror or str(error), str(error.filename or "")
