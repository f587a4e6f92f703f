"""The rollouts in CanaryRollout objects; what this version cannot read is refused in one sentence."""

from __future__ import annotations

from typing import Any

from autocanary.errors import Refused
from autocanary.model.packed_record import pack_record
from autocanary.model.rollout import Rollout
from autocanary.model.rollout_json import from_document

__all__ = ["RolloutReader"]

_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What ``from_document`` raises for an object that another version, or another hand, has written."""

_MAX_SNAPSHOTS = 256
"""Different policy snapshots that are remembered, to be shared."""


class RolloutReader:
    """Rollouts of one policy hold one snapshot: of thousands, it is most of what they hold."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Any] = {}

    def read(self, document: dict[str, Any]) -> Rollout:
        """The rollout in an object; Refused where this version cannot read it."""
        try:
            return pack_record(from_document(self._share_snapshot(document)))
        except _UNREADABLE as error:
            raise Refused(_unreadable_message(document, error)) from error

    def _share_snapshot(self, document: dict[str, Any]) -> dict[str, Any]:
        policy = document["spec"]["policy"]
        cached = self._snapshots.get(policy["hash"])
        if cached is not None and cached == policy["snapshot"]:
            policy["snapshot"] = cached
        else:
            if len(self._snapshots) >= _MAX_SNAPSHOTS:
                self._snapshots = {}
            self._snapshots[policy["hash"]] = policy["snapshot"]
        return document


def _unreadable_message(document: dict[str, Any], error: Exception) -> str:
    metadata = document.get("metadata") or {}
    why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    name = f"{metadata.get('namespace')}/{metadata.get('name')}"
    return f"CanaryRollout {name} cannot be read and is left alone: {why}"
