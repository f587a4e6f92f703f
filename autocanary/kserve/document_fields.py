"""Reading documents that may hold anything: what the minimal definitions let pass must not raise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from autocanary.model.observation import Observation, Trinary

__all__ = [
    "NOTHING",
    "WEIGHT",
    "checked",
    "conditions_of",
    "digest_of",
    "guarded",
    "mapping",
    "text",
    "trinary",
    "weight_of",
    "words_of",
    "writer_of",
]

WEIGHT = "canaryTrafficPercent"
NOTHING: Mapping[str, Any] = {}
_TRINARY = {each.value: each for each in Trinary}
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else NOTHING


def text(state: Mapping[str, Any], name: str) -> str:
    value = state.get(name)
    return value if isinstance(value, str) else ""


def conditions_of(status: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """By type."""
    listed = status.get("conditions")
    return {
        condition["type"]: condition
        for condition in (listed if isinstance(listed, list) else ())
        if isinstance(condition, Mapping) and isinstance(condition.get("type"), str)
    }


def trinary(condition: Mapping[str, Any] | None) -> Trinary:
    """UNKNOWN also for a condition that is absent."""
    said = condition.get("status") if condition is not None else None
    return _TRINARY.get(said, Trinary.UNKNOWN) if isinstance(said, str) else Trinary.UNKNOWN


def words_of(condition: Mapping[str, Any]) -> str:
    """Why a condition is not true, as far as it says."""
    return str(condition.get("message") or condition.get("reason") or "")


def weight_of(value: Any) -> tuple[int | None, str]:
    """The weight, and in words what is wrong with it."""
    if value is None:
        return None, ""
    if isinstance(value, int) and not isinstance(value, bool):
        return value, ""
    if isinstance(value, float) and value.is_integer():
        return int(value), ""
    return None, f"{WEIGHT} is {value!r}, but must be a whole number from 0 to 100; KServe cannot use it"


def checked(seen: Observation, weight: int) -> int:
    """ValueError for a weight that the API server would take and the controller could not use."""
    if not 0 <= weight <= 100:
        raise ValueError(f"{seen.key}: weight {weight} is outside 0..100; KServe would stop reconciling")
    return weight


def guarded(seen: Observation, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A patch of the spec that is refused when the object has moved on (resourceVersion) or was replaced by
    a namesake (uid)."""
    return {
        "metadata": {"resourceVersion": seen.resource_version, "uid": seen.uid},
        "spec": dict(spec),
    }


def digest_of(value: Any) -> str:
    """16 hex digits over canonical JSON."""
    return hashlib.sha256(_encode(value).encode("ascii")).hexdigest()[:16]


def writer_of(
    managed_fields: Any, place: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda spec: spec
) -> str:
    """The manager that owns the weight; where the spec is atomic (minimal definition), the spec's owner.

    ``place`` finds the fields among which the weight stands.
    """
    newest, name = "", ""
    for at, manager in _owners(managed_fields or (), place):
        if at >= newest:
            newest, name = at, manager
    return name


def _owners(
    managed_fields: Iterable[Mapping[str, Any]], place: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    for entry in managed_fields:
        if entry.get("subresource"):
            continue
        owned = mapping(entry.get("fieldsV1"))
        if "f:spec" not in owned:
            continue
        spec = mapping(owned["f:spec"])
        if not spec or f"f:{WEIGHT}" in place(spec):
            yield entry.get("time") or "", entry.get("manager") or ""
