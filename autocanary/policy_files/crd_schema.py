"""The schema of RolloutPolicy.spec for the CustomResourceDefinition, generated from the JSON Schema.

Structural, as the API server wants it: no ``$ref``, no combinations, no lookahead in patterns. Unknown fields
are kept, so that the service can name them instead of the API server dropping them. Defaults are left out, so
that a stored policy is what its author wrote.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from autocanary.policy_files.json_schema import policy_json_schema

__all__ = ["crd_spec_schema"]

_KEPT = (
    "type",
    "description",
    "enum",
    "required",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxLength",
    "maxProperties",
)
_KEEP_UNKNOWN = {"x-kubernetes-preserve-unknown-fields": True}


def crd_spec_schema() -> dict[str, Any]:
    """The value of ``openAPIV3Schema.properties.spec``."""
    schema = policy_json_schema()
    return _structural(schema["properties"]["spec"], schema["$defs"])


def _structural(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        # What the field says of itself goes before what its type says.
        node = {**definitions[node["$ref"].rsplit("/", 1)[-1]], **node}
    if isinstance(node["type"], list):
        # A number or text with a unit: a structural schema has no such type.
        return {"description": node["description"], **_KEEP_UNKNOWN}
    kept = {key: copy.copy(node[key]) for key in _KEPT if key in node}  # YAML writes a shared list as an alias
    if "const" in node:
        kept["enum"] = [node["const"]]
    if "items" in node:
        kept["items"] = _structural(node["items"], definitions)
    if "properties" in node:
        properties = node["properties"].items()
        kept |= _KEEP_UNKNOWN
        kept["properties"] = {name: _structural(field, definitions) for name, field in properties}
    elif "additionalProperties" in node:
        kept["additionalProperties"] = _structural(node["additionalProperties"], definitions)
    return kept
