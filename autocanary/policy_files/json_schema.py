"""The JSON Schema of a policy document, made from ``schema``.

Editors complete and check policies with it (``jsonschema`` writes the file), and error messages find the
names of fields in it. The loader is stricter, because a schema cannot say everything that ``rules`` does.

docs/policy.schema.json, the published JSON Schema.

``python -m autocanary.policy_files.json_schema > docs/policy.schema.json`` writes it anew; a test fails when
it is out of date.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from autocanary.policy_files.schema import Document
from autocanary.policy_files.units import DURATION_PATTERN, duration_text

__all__ = ["published", "text"]


class _Generator(GenerateJsonSchema):
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
def published() -> dict[str, Any]:
    """The schema as a value; do not change it."""
    schema = Document.model_json_schema(schema_generator=_Generator)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "RolloutPolicy",
    }
    tidy: dict[str, Any] = _tidy(schema)
    return {**head, **tidy}


def _tidy(node: Any, *, names: bool = False) -> Any:
    """Without titles, and with durations as people write them."""
    if isinstance(node, list):
        return [_tidy(each) for each in node]
    if not isinstance(node, dict):
        return node
    result = {
        key: _tidy(each, names=key in ("properties", "$defs"))
        for key, each in node.items()
        if names or key != "title"
    }
    default = result.get("default")
    if not names and result.get("pattern") == DURATION_PATTERN and isinstance(default, float):
        result["default"] = duration_text(default)
    return result


def text() -> str:
    """The schema as the file holds it."""
    return json.dumps(published(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
