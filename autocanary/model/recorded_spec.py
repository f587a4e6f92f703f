"""Digests of the specs that a CanaryRollout records: what autocanary may later write into a service.

A spec is in the object's ``spec``, which users may patch; its digest is in the ``status``, which they may not. A
spec whose digest is not the recorded one is not used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["RECORDED_SPECS", "changed_specs", "spec_digests"]

RECORDED_SPECS = ("stableSpec", "candidateSpec")
"""The fields of ``spec`` that hold a component's spec."""


def spec_digests(spec: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of each recorded spec in a CanaryRollout's ``spec``, by field."""
    return {name: _digest(spec[name]) for name in RECORDED_SPECS if spec.get(name)}


def changed_specs(spec: Mapping[str, Any], recorded: Mapping[str, str]) -> tuple[str, ...]:
    """The fields whose content is not what ``recorded`` (of the status) says."""
    return tuple(name for name, digest in spec_digests(spec).items() if recorded.get(name) != digest)


def _digest(value: Any) -> str:
    text = json.dumps(_normal(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _normal(value: Any) -> Any:
    """As the API server returns it: 1.0 comes back as 1."""
    if isinstance(value, Mapping):
        return {str(name): _normal(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
