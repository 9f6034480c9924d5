"""Which lines of a configuration file nbgrader would stop at, so that they can be left out.

A value of the wrong kind ends nbgrader's programs and, as an extension, the whole server.
"""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from typing import Any

from traitlets import TraitType
from traitlets.config import Config, Configurable
from traitlets.config.loader import DeferredConfig, LazyConfigValue

log = logging.getLogger("courseyard")


def snapshot(config: Any) -> dict[str, Any]:
    """The values of ``config`` as they are now."""
    return {
        key: snapshot(value) if isinstance(value, Config) else _copied(value)
        for key, value in config.items()
    }


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # a value may be anything, and it may be that this one cannot be changed
        return value


def leave_out_wrong(config: Any, before: dict[str, Any], name: str) -> None:
    """Take back what is new in ``config`` since ``before`` and of the wrong kind.

    What nbgrader does not know stays: it says so itself.

    Args:
        name: the file that set it, for the log.
    """
    for section, path, key in list(_new(config, before, ())):
        reason = _objection(path[-1], key, section[key])
        if not reason:
            continue
        log.warning("%s: %s.%s is left out: %s", name, ".".join(path), key, reason)
        earlier: Any = before
        for part in path:
            earlier = earlier.get(part, {})
        if key in earlier:
            section[key] = earlier[key]
        else:
            del section[key]


def _new(
    config: Any, before: dict[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[Any, tuple[str, ...], str]]:
    """Each changed value: the section that holds it, the names of the sections, its own."""
    for key, value in config.items():
        if isinstance(value, Config):
            inner = before.get(key)
            yield from _new(value, inner if isinstance(inner, dict) else {}, (*path, key))
        elif path and not (key in before and _same(value, before[key])):
            yield config, path, key


def _same(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # an equality of their own, as numpy's
        return False


def _objection(section: str, key: str, value: Any) -> str:
    """Why a class that reads ``section`` would refuse the value; "" when none does."""
    for cls in _classes(Configurable):
        trait = getattr(cls, key, None)
        if not isinstance(trait, TraitType) or not trait.metadata.get("config"):
            continue
        if section not in cls.section_names():
            continue
        try:
            # Not initialised: an application that is made begins to do things.
            instance = cls.__new__(cls)
        except TypeError:
            continue  # abstract; a class below it is asked
        try:
            trait._validate(instance, _plain(instance, key, trait, value))
        except Exception as error:
            return str(error)
    return ""


def _plain(instance: Any, key: str, trait: Any, value: Any) -> Any:
    """The value itself where the file wrote ``append``, ``update`` or the like."""
    if isinstance(value, LazyConfigValue):
        return copy.deepcopy(value).get_value(getattr(instance, key))
    if isinstance(value, DeferredConfig):
        return value.get_value(trait)
    return copy.deepcopy(value)


def _classes(top: Any) -> Iterator[Any]:
    for cls in top.__subclasses__():
        yield cls
        yield from _classes(cls)
