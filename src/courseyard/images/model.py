"""Families of software, their dated releases, and "the newest on or before"."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict


class ImageWish(BaseModel):
    """Which software a course wants.

    ``family`` alone: its newest release; with ``released_by``: the newest released on or before
    that day; ``reference`` alone: that very image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    family: str | None = None
    released_by: date | None = None
    reference: str | None = None
