"""Objects against the schemas kept in schemas/: what Kubernetes would accept, without a server, strictly."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from autocanary.kube.crds import definitions

__all__ = ["VERSIONS", "faults"]

_FOLDER = Path(__file__).resolve().parent / "schemas"
_GROUP_VERSION_KIND = "x-kubernetes-group-version-kind"
VERSIONS = tuple(sorted(path.name[: -len(".json.gz")].rpartition("-v")[2] for path in _FOLDER.glob("kubernetes-*")))
"""The Kubernetes versions whose schemas are kept, such as 1.34."""


def faults(document: Mapping[str, Any], version: str) -> list[str]:
    """Why an API server of this version would refuse or drop something of the document; a sentence each."""
    validator = _validators(version).get((str(document["apiVersion"]), str(document["kind"])))
    if validator is None:
        return [f"{document['apiVersion']} {document['kind']} is not a kind of Kubernetes {version}"]
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


@cache
def _validators(version: str) -> Mapping[tuple[str, str], Draft7Validator]:
    kept = _kept(f"kubernetes-v{version}")
    strict = {name: _strict(node) for name, node in kept.items()}
    found = {}
    for name, node in kept.items():
        for each in node.get(_GROUP_VERSION_KIND, ()):
            api_version = "/".join(part for part in (each["group"], each["version"]) if part)
            schema = {"definitions": strict, "$ref": f"#/definitions/{name}"}
            found[api_version, each["kind"]] = Draft7Validator(schema)
    return {**found, **dict(_custom())}


def _custom() -> Iterator[tuple[tuple[str, str], Draft7Validator]]:
    """The kinds of the definitions: the Prometheus operator's, and our own."""
    operators = [_kept(path.name[: -len(".json.gz")]) for path in sorted(_FOLDER.glob("monitoring.coreos.com_*"))]
    for definition in (*operators, *definitions()):
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = _strict(version["schema"]["openAPIV3Schema"])
            # Kubernetes describes these itself, in every kind.
            schema["properties"] |= {"apiVersion": {"type": "string"}, "metadata": {"type": "object"}}
            yield (f"{spec['group']}/{version['name']}", spec["names"]["kind"]), Draft7Validator(schema)


def _kept(name: str) -> Any:
    return json.loads(gzip.decompress((_FOLDER / f"{name}.json.gz").read_bytes()))


def _strict(node: Any) -> Any:
    """A schema that refuses what the server would drop or take for something else."""
    if isinstance(node, list):
        return [_strict(each) for each in node]
    if not isinstance(node, dict):
        return node
    made = {name: _strict(each) for name, each in node.items()}
    if made.get("format") == "int-or-string" or made.get("x-kubernetes-int-or-string") is True:
        return {"type": ["integer", "string"]}
    properties = isinstance(made.get("properties"), dict) and made.get("type", "object") == "object"
    open_ended = "additionalProperties" in made or made.get("x-kubernetes-preserve-unknown-fields") is True
    if properties and not open_ended:
        made["additionalProperties"] = False
    return made
