"""Policies restored from the records of rollouts; rollouts of one policy share one value."""

from __future__ import annotations

import json
import math

from autocanary.model.policy import Analysis, Policy, Selector, Step, Timeout, TimeoutAction
from autocanary.model.rollout import Rollout
from autocanary.ports import Policies

__all__ = ["PolicySnapshots", "policy_for_unreadable_snapshot"]

_MAX_SNAPSHOTS = 256


class PolicySnapshots:
    """Keeps restored policies, at most 256: restoring one takes milliseconds, and thousands of rollouts may share it.

    The key is the snapshot's content, not the digest beside it: a user may have edited either. Not thread-safe.
    """

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._restored: dict[tuple[str, str], Policy] = {}

    def __len__(self) -> int:
        return len(self._restored)

    def restore(self, rollout: Rollout) -> Policy:
        """Raises PolicyError when this version of autocanary cannot read the snapshot."""
        try:
            key = rollout.policy_name, json.dumps(rollout.policy_document, sort_keys=True, default=str)
        except RecursionError:
            return self._policies.restore(rollout.policy_name, rollout.policy_document)  # refused: it is too deep
        policy = self._restored.get(key)
        if policy is None:
            policy = self._policies.restore(rollout.policy_name, rollout.policy_document)
            if len(self._restored) >= _MAX_SNAPSHOTS:
                self._restored.clear()  # running rollouts keep theirs
            self._restored[key] = policy
        return policy


def policy_for_unreadable_snapshot(rollout: Rollout) -> Policy:
    """The policy of a rollout whose snapshot cannot be read: without metrics, so no step is taken.

    The user can still abort or promote the rollout, and a newer revision still replaces it.
    """
    no_metrics = Analysis(metrics=(), on_no_data=Timeout(math.inf, TimeoutAction.HOLD))
    return Policy(
        name=rollout.policy_name,
        namespace=rollout.namespace,
        selector=Selector(),
        steps=(Step(1, 0.0), Step(100, 0.0, approval=True)),
        analysis=no_metrics,
        progress_deadline=math.inf,
    )
