"""What the API server would refuse of a CanaryRollout: its definition's types, enums and patterns.

The store in memory takes any JSON; the real one does not, and a refused status is a rollout without a record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from autocanary.kube import crds

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_DEFINITION: Mapping[str, Any] = next(
    each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for each in crds.definitions()
    if each["spec"]["names"]["plural"] == "canaryrollouts"
)


def refusals(value: Any, of: Mapping[str, Any] = _DEFINITION, path: str = "") -> Iterator[str]:
    """A sentence for each value that the definition does not allow; null is dropped, so it is allowed."""
    if value is None or path == ".metadata":
        return
    kinds = _TYPES.get(of.get("type", ""), ())
    if kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
        yield f"{path}: {value!r} is no {of['type']}"
    elif "enum" in of and value not in of["enum"]:
        yield f"{path}: {value!r} is none of {of['enum']}"
    elif "pattern" in of and not re.search(of["pattern"], value):
        yield f"{path}: {value!r} does not match {of['pattern']}"
    elif isinstance(value, dict):
        for name in of.get("required", ()):
            if value.get(name) is None:
                yield f"{path}.{name} is missing"
        for name, each in value.items():
            if name in of.get("properties", {}):
                yield from refusals(each, of["properties"][name], f"{path}.{name}")
    elif isinstance(value, list) and "items" in of:
        for index, each in enumerate(value):
            yield from refusals(each, of["items"], f"{path}[{index}]")


def check_stored(document: Mapping[str, Any]) -> None:
    """AssertionError for a document that the API server would refuse."""
    found = list(refusals(document))
    assert not found, found
