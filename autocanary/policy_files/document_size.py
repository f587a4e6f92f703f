"""Whether a document is small enough to be examined: depth, number of values and bytes, without recursion.

Everything after this check may walk the document recursively.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from autocanary.limits import POLICY_BYTES, POLICY_DEPTH, POLICY_VALUES
from autocanary.policy_files.policy_errors import FieldPath, FieldProblem

__all__ = ["check_size"]

_SHOWN_PATH = 5  # parts of a path; a message about depth shows where it begins
_NOT_COUNTED = frozenset({"metadata"})  # bounded by the API server, which stores kubectl's copy of the spec in it


def check_size(document: Mapping[str, Any]) -> FieldProblem | None:
    """What is too large about a document; None when it may be parsed."""
    pending: list[tuple[FieldPath, int, Any]] = [((), 0, document)]
    count = 0
    while pending:
        path, depth, value = pending.pop()
        count += 1
        if depth > POLICY_DEPTH:
            message = f"the document is nested deeper than {POLICY_DEPTH} levels here"
            return FieldProblem(path, message, "a policy needs about 8 levels")
        if count + len(pending) > POLICY_VALUES:
            hint = "split the policy; 50 metrics need about 800 values"
            return FieldProblem((), f"the document holds more than {POLICY_VALUES:,} values", hint)
        inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        pending += ((_child_path(path, key), depth + 1, each) for key, each in inner)
    spec = {key: value for key, value in document.items() if key not in _NOT_COUNTED}
    size = len(json.dumps(spec, ensure_ascii=False, default=str).encode("utf-8", "replace"))
    if size > POLICY_BYTES:
        message = f"the policy has {size:,} bytes as JSON, and at most {POLICY_BYTES:,} are read"
        return FieldProblem((), message, "split the policy")
    return None


def _child_path(path: FieldPath, key: Any) -> FieldPath:
    if len(path) >= _SHOWN_PATH:
        return path
    return (*path, key if isinstance(key, str | int) else str(key))
