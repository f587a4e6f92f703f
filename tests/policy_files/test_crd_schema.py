"""The schema of the custom resource is the policy schema in the structural form of the API server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from autocanary.kube import crds
from autocanary.policy_files.crd_schema import crd_spec_schema
from autocanary.policy_files.json_schema import policy_json_schema
from tests.policy_files.policy_texts import FULL_POLICY, MINIMAL_POLICY, document

ALLOWED = {
    "additionalProperties",
    "description",
    "enum",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minimum",
    "properties",
    "required",
    "type",
    "x-kubernetes-preserve-unknown-fields",
}


def fields_of_policy(node: Mapping[str, Any], path: str = "spec") -> Iterator[tuple[str, str]]:
    """Each field of the JSON Schema with its description."""
    definitions = policy_json_schema()["$defs"]
    if "$ref" in node:
        node = {**definitions[node["$ref"].rsplit("/", 1)[-1]], **node}
    if "items" in node:
        yield from fields_of_policy(node["items"], f"{path}[]")
    for name, field in node.get("properties", {}).items():
        yield f"{path}.{name}", field["description"]
        yield from fields_of_policy(field, f"{path}.{name}")


def parts_of_crd(node: Mapping[str, Any], path: str = "spec") -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield path, node
    if "items" in node:
        yield from parts_of_crd(node["items"], f"{path}[]")
    for name, field in node.get("properties", {}).items():
        yield from parts_of_crd(field, f"{path}.{name}")


def test_every_field_is_in_the_custom_resource_with_its_description() -> None:
    """`kubectl explain` shows the text that the reference has."""
    [definition] = [each for each in crds.definitions() if each["spec"]["names"]["plural"] == "rolloutpolicies"]
    [version] = definition["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    expected = dict(fields_of_policy(policy_json_schema()["properties"]["spec"]))
    assert len(expected) >= 70
    found = {path: part.get("description") for path, part in parts_of_crd(spec)}
    assert {path: found.get(path) for path in expected} == expected
    assert {path for path in found if not path.endswith("[]")} == {"spec", *expected}


def test_schema_is_structural() -> None:
    """Each part has a type or keeps what it does not know; there are no references and no combinations."""
    for path, part in parts_of_crd(crd_spec_schema()):
        assert set(part) <= ALLOWED, path
        assert "type" in part or part["x-kubernetes-preserve-unknown-fields"], path
        assert part.get("type") != "object" or "additionalProperties" in part or "properties" in part, path


@pytest.mark.parametrize("text", [FULL_POLICY, MINIMAL_POLICY])
def test_schema_accepts_valid_policies(text: str) -> None:
    """The API server refuses nothing that the service accepts."""
    jsonschema.Draft7Validator(crd_spec_schema()).validate(document(text)["spec"])
