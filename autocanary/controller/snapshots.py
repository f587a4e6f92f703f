"""Policies restored from the rollouts' records; rollouts of one policy share it."""

from __future__ import annotations

import json

from autocanary.model.policy import Policy
from autocanary.model.rollout import Rollout
from autocanary.ports import Policies

__all__ = ["Snapshots"]

_MOST = 256


class Snapshots:
    """Restoring one takes milliseconds and kilobytes, and thousands of rollouts may keep the same one.

    By what the snapshot says, not by the digest beside it: somebody may have edited either.
    """

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._restored: dict[tuple[str, str], Policy] = {}

    def restore(self, rollout: Rollout) -> Policy:
        """Raises PolicyError when this version of autocanary cannot read the snapshot."""
        key = rollout.policy_name, json.dumps(rollout.policy_document, sort_keys=True, default=str)
        found = self._restored.get(key)
        if found is None:
            found = self._policies.restore(rollout.policy_name, rollout.policy_document)
            if len(self._restored) >= _MOST:
                self._restored.clear()  # those in use keep theirs
            self._restored[key] = found
        return found
