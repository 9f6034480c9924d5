"""Results as JSON lines, and how a test says that it failed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import IO, Any

_LONGEST = 500  # characters of a sentence

#: A test: its name, and what it does; it gives what there is to say, or raises.
Test = tuple[str, Callable[[], str]]


class FailedError(Exception):
    """The test failed; the message is one sentence."""


class NotRunError(Exception):
    """The test could not be run, because of another one that failed."""


class Report:
    """Writes a line when a test begins and when it ends."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def planned(self, tests: list[Test]) -> None:
        self._write({"tests": [name for name, _ in tests]})

    def run(self, test: Test) -> None:
        name, work = test
        self._write({"begin": name})
        began = time.monotonic()
        try:
            state, said = "passed", work()
        except NotRunError as error:
            state, said = "not run", str(error)
        except FailedError as error:
            state, said = "failed", str(error)
        except Exception as error:
            state, said = "failed", f"{type(error).__name__}: {error}"
        seconds = round(time.monotonic() - began, 1)
        self._write(
            {
                "test": name,
                "state": state,
                "seconds": seconds,
                "said": " ".join(said.split())[:_LONGEST],
            }
        )

    def done(self) -> None:
        self._write({"done": True})

    def _write(self, value: dict[str, Any]) -> None:
        self._stream.write(json.dumps(value) + "\n")
        self._stream.flush()
