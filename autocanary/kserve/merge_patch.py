"""JSON merge-patch (RFC 7386): applying one, and making the one that turns a document into another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["apply", "diff"]


def apply(target: Any, patch: Any) -> Any:
    """``target`` after ``patch`` (RFC 7386, section 2). Neither is changed; untouched parts are shared."""
    if not isinstance(patch, Mapping):
        return patch
    result: dict[str, Any] = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = apply(result.get(name), value)
    return result


def diff(source: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, Any]:
    """The smallest patch with ``apply(source, patch) == target``.

    Lists are replaced whole. A null inside ``target`` cannot be expressed by a merge-patch; the API server
    drops nulls as well, so it is taken as absent.
    """
    patch: dict[str, Any] = {name: None for name in source if target.get(name) is None}
    for name, wanted in target.items():
        present = source.get(name)
        if wanted is None:
            continue
        if isinstance(wanted, Mapping) and isinstance(present, Mapping):
            inner = diff(present, wanted)
            if inner:
                patch[name] = inner
        elif not _same(present, wanted):
            patch[name] = apply(None, wanted)
    return patch


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON is: Python takes 1, 1.0 and True for one, at any depth."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    return type(one) is type(other) and bool(one == other)
