"""JSON Schemas of the files that people write, for editors (https://json-schema.org/).

They tell the form; what needs other files (images, other courses) only ``courseyard check`` tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from courseyard.registry.keys import KEYS, USERS_KEYS, Schema
from courseyard.registry.override import PARSERS
from courseyard.settings import Site

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_OWN: Schema = {"^x-": {}}
_AMOUNT: Schema = {"oneOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}
_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_RESOURCES: Schema = {
    "type": "object",
    "additionalProperties": {"oneOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]},
}
_MAPPINGS: Schema = {"type": "array", "items": {"type": "object"}}
_OVERRIDE: dict[str, Schema] = {
    "extra_resource_limits": _RESOURCES,
    "extra_resource_guarantees": _RESOURCES,
    "node_selector": _TEXTS,
    "tolerations": _MAPPINGS,
    "node_affinity_required": _MAPPINGS,
    "node_affinity_preferred": _MAPPINGS,
    "priority_class_name": {"type": "string"},
    "environment": _TEXTS,
    "image": KEYS["image"].schema,
    "image_pull_policy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "default_url": {"type": "string", "pattern": "^/(?!/)"},
}


def course_schema(allow_override: Iterable[str] = ()) -> Schema:
    """The form of ``<slug>.yaml``.

    Args:
        allow_override: keys that the site allows beside the usual ones.
    """
    override: Schema = {key: _OVERRIDE.get(key, _AMOUNT) for key in PARSERS}
    override |= {key: {} for key in allow_override}
    return {
        "$schema": _DIALECT,
        "title": "Course",
        **_object({name: _described(key.schema, key.text) for name, key in KEYS.items()}),
        "$defs": {
            "override": {
                "type": "object",
                "properties": {key: _or_nothing(form) for key, form in override.items()},
                "additionalProperties": False,
            }
        },
    }


def users_schema() -> Schema:
    """The form of ``<slug>-users.yaml``."""
    keys = {name: _described(KEYS[name].schema, KEYS[name].text) for name in USERS_KEYS}
    return {"$schema": _DIALECT, "title": "People of a course", **_object(keys)}


def site_schema() -> Schema:
    """The form of ``courseyard.yaml``."""
    schema: dict[str, Any] = Site.model_json_schema()
    del schema["properties"]["folder"]
    return {"$schema": _DIALECT, **schema, "patternProperties": _OWN}


def _object(properties: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "patternProperties": _OWN,
        "additionalProperties": False,
    }


def _described(form: Schema, text: str) -> Schema:
    return {"description": text, **_or_nothing(form)}


def _or_nothing(form: Schema) -> Schema:
    """A key without a value is as good as no key."""
    return {"anyOf": [form, {"type": "null"}]}
