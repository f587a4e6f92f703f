"""Reading documents that may hold anything: what the minimal definitions let pass must not raise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from autocanary.model.foreign_text import clean_text
from autocanary.model.observation import ConditionStatus, Observation
from autocanary.model.time_format import parse_time

__all__ = [
    "EMPTY",
    "RELEASED_BY",
    "RELEASE_REASON",
    "UNDO_MANAGER",
    "WEIGHT",
    "as_mapping",
    "condition_message",
    "condition_status",
    "conditions_by_type",
    "json_digest",
    "parse_weight",
    "patch_with_preconditions",
    "release_author",
    "spec_written_at",
    "string_field",
    "validate_weight",
    "weight_manager",
]

WEIGHT = "canaryTrafficPercent"
UNDO_MANAGER = "autocanary-undo"
RELEASED_BY, RELEASE_REASON = "autocanary.dev/released-by", "autocanary.dev/release-reason"
"""What an undo writes beside the spec: the field manager, and the annotations that name the user and the reason."""
_NAME_LIMIT = 120
EMPTY: Mapping[str, Any] = {}
_TRINARY = {each.value: each for each in ConditionStatus}
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


def as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else EMPTY


def string_field(state: Mapping[str, Any], name: str) -> str:
    value = state.get(name)
    return value if isinstance(value, str) else ""


def conditions_by_type(status: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """By type."""
    listed = status.get("conditions")
    return {
        condition["type"]: condition
        for condition in (listed if isinstance(listed, list) else ())
        if isinstance(condition, Mapping) and isinstance(condition.get("type"), str)
    }


def condition_status(condition: Mapping[str, Any] | None) -> ConditionStatus:
    """UNKNOWN also for a condition that is absent."""
    said = condition.get("status") if condition is not None else None
    return _TRINARY.get(said, ConditionStatus.UNKNOWN) if isinstance(said, str) else ConditionStatus.UNKNOWN


def condition_message(condition: Mapping[str, Any]) -> str:
    """Why a condition is not true, as far as it says."""
    return str(condition.get("message") or condition.get("reason") or "")


def parse_weight(value: Any) -> tuple[int | None, str]:
    """The weight, and in words what is wrong with it."""
    if value is None:
        return None, ""
    if isinstance(value, int) and not isinstance(value, bool):
        return value, ""
    if isinstance(value, float) and value.is_integer():
        return int(value), ""
    return None, f"{WEIGHT} is {value!r}, but must be a whole number from 0 to 100; KServe cannot use it"


def validate_weight(observation: Observation, weight: int) -> int:
    """ValueError for a weight that the API server would take and the controller could not use."""
    if not 0 <= weight <= 100:
        raise ValueError(f"{observation.key}: weight {weight} is outside 0..100; KServe would stop reconciling")
    return weight


def patch_with_preconditions(observation: Observation, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A patch of the spec that is refused when the object has moved on (resourceVersion) or was replaced by
    a namesake (uid)."""
    return {
        "metadata": {"resourceVersion": observation.resource_version, "uid": observation.uid},
        "spec": dict(spec),
    }


def json_digest(value: Any) -> str:
    """16 hex digits over canonical JSON."""
    return hashlib.sha256(_encode(value).encode("ascii")).hexdigest()[:16]


def release_author(
    metadata: Mapping[str, Any],
    annotation: str,
    spec_fields: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> str:
    """Who released the spec: ``ada (kubectl)``; the author that the annotation names, the field manager, or "".

    The manager is the one that last wrote a field of the spec other than the weight; ``spec_fields`` finds the fields
    of the released part. An annotation that is not there, or is no text, names no author.
    """
    newest, manager = "", ""
    for entry in _entries(metadata.get("managedFields")):
        owned = as_mapping(entry.get("fieldsV1"))
        if entry.get("subresource") or "f:spec" not in owned:
            continue
        spec = as_mapping(owned["f:spec"])
        released = not spec or any(name not in (f"f:{WEIGHT}", ".") for name in spec_fields(spec))
        at = string_field(entry, "time")
        if released and at >= newest:
            newest, manager = at, string_field(entry, "manager")
    annotations = as_mapping(metadata.get("annotations"))
    if manager == UNDO_MANAGER:
        author = clean_text(string_field(annotations, RELEASED_BY), _NAME_LIMIT)
        reason = clean_text(string_field(annotations, RELEASE_REASON), _NAME_LIMIT)
        how = f"autocanary undo: {reason}" if reason else "autocanary undo"
        return f"{author} ({how})" if author else how
    author = string_field(annotations, annotation) if annotation else ""
    author, manager = clean_text(author, _NAME_LIMIT), clean_text(manager, _NAME_LIMIT)
    return f"{author} ({manager})" if author and manager else author or manager


def _entries(managed_fields: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(managed_fields, list):
        yield from (each for each in managed_fields if isinstance(each, Mapping))


def weight_manager(
    managed_fields: Any, weight_fields: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda spec: spec
) -> str:
    """The manager that owns the weight; where the spec is atomic (minimal definition), the spec's owner.

    ``weight_fields`` finds the fields among which the weight is.
    """
    newest, name = "", ""
    for at, manager in _owners(managed_fields or (), weight_fields):
        if at >= newest:
            newest, name = at, manager
    return name


def spec_written_at(managed_fields: Any) -> float | None:
    """When a part of the spec was last written, in epoch seconds; None where nothing says so."""
    times = []
    for entry in managed_fields if isinstance(managed_fields, list) else ():
        owned = as_mapping(as_mapping(entry).get("fieldsV1"))
        if not as_mapping(entry).get("subresource") and "f:spec" in owned:
            times.append(string_field(entry, "time"))
    try:
        return parse_time(max(times, default=""))
    except ValueError:
        return None


def _owners(
    managed_fields: Iterable[Mapping[str, Any]],
    weight_fields: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> Iterator[tuple[str, str]]:
    for entry in managed_fields:
        if entry.get("subresource"):
            continue
        owned = as_mapping(entry.get("fieldsV1"))
        if "f:spec" not in owned:
            continue
        spec = as_mapping(owned["f:spec"])
        if not spec or f"f:{WEIGHT}" in weight_fields(spec):
            yield entry.get("time") or "", entry.get("manager") or ""
