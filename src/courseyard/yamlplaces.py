"""Where the keys and items of a YAML document stand, for who asks for a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]


@dataclass(slots=True)
class Place:
    """Where a value stands, and the values inside it."""

    mark: Any  # libyaml's
    text: str = ""  # of a scalar
    is_map: bool = False
    #: Items of a list; keys and values by turns of a mapping.
    inside: list[Place] = field(default_factory=list)

    def child(self, step: str | int) -> tuple[Place, Any] | None:
        """The place at ``step``, and the mark of its key or item."""
        if isinstance(step, int):
            is_there = not self.is_map and 0 <= step < len(self.inside)
            return (self.inside[step], self.inside[step].mark) if is_there else None
        merged: list[Place] = []
        for key, value in self._pairs():
            if key.text == step:
                return value, key.mark
            if key.text == "<<":
                merged += [value] if value.is_map else value.inside
        return next((found for place in merged if (found := place.child(step))), None)

    def _pairs(self) -> Iterator[tuple[Place, Place]]:
        if self.is_map:
            yield from zip(self.inside[::2], self.inside[1::2], strict=True)


def places(source: bytes) -> Place:
    """The places of a document that was read without an error.

    Our own and not ``yaml.compose``, which takes no anchor twice.
    """
    parser = CParser(source)
    anchors: dict[str, Place] = {}
    top = Place(None)
    stack = [top]
    while not isinstance(event := parser.get_event(), yaml.StreamEndEvent):
        if isinstance(event, yaml.CollectionEndEvent):
            stack.pop()
            continue
        if isinstance(event, yaml.AliasEvent):
            named = anchors[str(event.anchor)]
            place = Place(event.start_mark, named.text, named.is_map, named.inside)
        elif isinstance(event, yaml.NodeEvent):
            text = event.value if isinstance(event, yaml.ScalarEvent) else ""
            place = Place(event.start_mark, text, isinstance(event, yaml.MappingStartEvent))
            if event.anchor is not None:
                anchors[event.anchor] = place
        else:
            continue
        stack[-1].inside.append(place)
        if isinstance(event, yaml.CollectionStartEvent):
            stack.append(place)
    return top.inside[0]
