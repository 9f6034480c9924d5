"""When Python looks for garbage among everything that the hub holds: once an hour.

Such a search stops the event loop: 0.18 s with a thousand courses (bench/registry.py), half a second
with a thousand servers (bench/load), and Python does it again whenever there is a quarter more.
What lives shortly, as nearly all that pages and starts leave behind, is still found at once.
"""

from __future__ import annotations

import asyncio
import gc

_INTERVAL = 3600.0
_NEVER = 1_000_000_000


def set_aside() -> None:
    """What is there now stays and is not searched; nor is what has lived long, but once an hour."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)


async def collect_forever(interval: float = _INTERVAL) -> None:
    """Search everything that is not set aside."""
    while True:
        await asyncio.sleep(interval)
        gc.collect()
