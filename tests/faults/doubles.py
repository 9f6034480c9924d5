"""What a site under test can be told to suffer from, by files in its folder; no part of the product.

A copy lies in the site's folder. The agent takes it up by ``sitecustomize``, the hub by its
``jupyterhub_config.py``.
"""

from __future__ import annotations

import datetime
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
HANG, CLOCK = FOLDER / "hang", FOLDER / "clock"  # of whom the look-up hangs; seconds to jump


def offset() -> float:
    try:
        return float(CLOCK.read_text())
    except (OSError, ValueError):
        return 0.0


def jump() -> None:
    """Real time as the file says from now on; the monotonic clock stays."""
    real_time, real_datetime = time.time, datetime.datetime
    time.time = lambda: real_time() + offset()

    class Jumping(real_datetime):  # type: ignore[valid-type, misc]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real_datetime.now(tz) + datetime.timedelta(seconds=offset())

    for name in ("courseyard.hub.clock", "courseyard.hub.culler", "jupyterhub.utils"):
        __import__(name)
        sys.modules[name].datetime = Jumping  # type: ignore[attr-defined]


def hang() -> None:
    """Look-ups of who stands in the file wait until the file is gone."""
    from courseyard.people.static import StaticSource

    look_up = StaticSource.look_up

    def waiting(self: Any, username: str) -> Any:
        while HANG.exists() and username in HANG.read_text().split():
            time.sleep(0.05)
        return look_up(self, username)

    StaticSource.look_up = waiting  # type: ignore[method-assign]
