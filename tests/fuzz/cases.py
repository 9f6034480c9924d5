"""How many cases a fuzz test tries: few and always the same in a test run, many at one's wish.

``COURSEYARD_FUZZ=1000000 script/test tests/fuzz`` (or ``script/fuzz``) shares a million cases, new
ones each time, among the tests that were chosen. A failure prints the input and how to have it again.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings

_WANTED = int(os.environ.get("COURSEYARD_FUZZ", "0"))
#: Cases of the short form by test, of all tests that this run has loaded.
_short: dict[str, int] = {}


def cases(
    short: int, *, shared: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The cases of one test; stands above ``@given``.

    Args:
        short: cases in the short form.
        shared: whether the test takes its share of ``COURSEYARD_FUZZ``; without it, as for tests that
            ask a real hub, it tries at most ten times the short form.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        if shared:
            _short[f"{test.__module__}.{test.__qualname__}"] = short

        ready: list[Callable[..., None]] = []  # the test with its settings, which it takes but once

        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            if ready:
                return ready[0](*args, **kwargs)
            many = short
            if _WANTED:
                share = max(short, _WANTED * short // sum(_short.values())) if shared else 0
                many = share or short * 10
            limits = settings(
                max_examples=many,
                deadline=None,
                derandomize=not _WANTED,
                database=None,
                print_blob=True,
                phases=[Phase.explicit, Phase.generate, Phase.target, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )
            ready.append(limits(test))
            return ready[0](*args, **kwargs)

        return run

    return decorate
