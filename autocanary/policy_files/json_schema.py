"""The JSON Schema of a policy document, generated from ``schema``; docs/policy.schema.json is its published form.

Editors complete and check policies with it, and error messages find the names of fields in it. The loader
is stricter: a schema cannot express everything that ``cross_field_checks`` does.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from autocanary.policy_files.schema import Document
from autocanary.policy_files.units import DURATION_PATTERN, format_duration

__all__ = ["policy_json_schema", "render_json_schema"]


class _SchemaGenerator(GenerateJsonSchema):
    """Without pydantic's noise: fields keep their order, and what may be left out is not therefore null."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        del parent_key
        return value

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        result = super().default_schema(schema)
        if result.get("default", ...) is None:
            del result["default"]
        return result


@cache
def policy_json_schema() -> dict[str, Any]:
    """The schema as a value; do not change it."""
    schema = Document.model_json_schema(schema_generator=_SchemaGenerator)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "RolloutPolicy",
    }
    tidy: dict[str, Any] = _clean(schema)
    return {**head, **tidy}


def _clean(node: Any, *, names: bool = False) -> Any:
    """Without titles, and with durations as users write them."""
    if isinstance(node, list):
        return [_clean(each) for each in node]
    if not isinstance(node, dict):
        return node
    result = {
        key: _clean(each, names=key in ("properties", "$defs")) for key, each in node.items() if names or key != "title"
    }
    default = result.get("default")
    if not names and result.get("pattern") == DURATION_PATTERN and isinstance(default, float):
        result["default"] = format_duration(default)
    return result


def render_json_schema() -> str:
    """The schema as the file holds it."""
    return json.dumps(policy_json_schema(), indent=2, ensure_ascii=False) + "\n"
