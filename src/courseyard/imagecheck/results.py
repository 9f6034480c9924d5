"""What the program inside tells, line by line."""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from courseyard.errors import ImageError

#: Called with a part done (0 to 1) and what is being done.
Tell = Callable[[float, str], None]
_LONGEST = 64 * 1024  # bytes of a line


class State(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Result:
    """One test of one image."""

    test: str
    state: State
    seconds: float = 0.0
    said: str = ""  # why it failed, or what was found


def lines(descriptor: int, seconds: float) -> Iterator[bytes]:
    """Lines that arrive at ``descriptor`` until it is closed.

    Raises:
        ImageError: it is still open after ``seconds``, or a line has no end.
    """
    until, rest = time.monotonic() + seconds, b""
    while True:
        left = until - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise ImageError(f"The tests were not done after {seconds:.0f} s, and were ended.")
        more = os.read(descriptor, _LONGEST)
        if not more:
            break
        *whole, rest = (rest + more).split(b"\n")
        yield from whole
        if len(rest) > _LONGEST:
            raise ImageError("The image writes what is no result.")
    if rest:
        yield rest


def read(found: Iterable[bytes], tell: Tell) -> list[Result]:
    """The results in these lines, which an image wrote: what is no result is no news.

    A test that was planned and has none has failed: the program ended before.
    """
    planned: list[str] = []
    results: dict[str, Result] = {}
    last, noise = "", ""
    for line in found:
        said = _parsed(line)
        if said is None:
            noise = line.decode("utf-8", "replace").strip() or noise
        elif isinstance(names := said.get("tests"), list):
            planned = [str(name) for name in names]
        elif "begin" in said:
            last = str(said["begin"])
            tell(len(results) / max(1, len(planned)), last)
        elif "test" in said:
            with contextlib.suppress(KeyError, ValueError, TypeError):
                result = _result(said)
                results[result.test] = result
    why = f"The program ended before its end: {noise or 'it said nothing'}."
    if not planned:
        return [Result("the tests start", State.FAILED, said=why)]
    return [results.get(name) or _missing(name, last, why) for name in planned]


def _missing(name: str, last: str, why: str) -> Result:
    if name == last:
        return Result(name, State.FAILED, said=why)
    return Result(name, State.NOT_RUN, said="The program ended before.")


def _parsed(line: bytes) -> dict[str, object] | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _result(said: dict[str, object]) -> Result:
    seconds = said["seconds"]
    if not isinstance(seconds, int | float):
        raise TypeError(seconds)
    return Result(str(said["test"]), State(str(said["state"])), seconds, str(said["said"]))
