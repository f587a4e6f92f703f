"""Policies restored from records: shared by what the snapshot says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from autocanary.controller.policy_snapshots import PolicySnapshots
from autocanary.errors import PolicyError, Problem
from autocanary.model.policy import Policy
from autocanary.model.rollout import Rollout
from autocanary.policy_files import ActivePolicies
from tests.controller.driver import policy
from tests.decide import builders


def rollout(document: Mapping[str, Any], digest: str = "d", name: str = "prod") -> Rollout:
    return builders.rollout(policy_document=document, policy_digest=digest, policy_name=name)


class Shelf:
    """Counts how often a policy was made; refuses documents that say so."""

    def __init__(self) -> None:
        self.made = 0

    def current(self) -> tuple[Policy, ...]:
        return ()

    def restore(self, name: str, document: Mapping[str, Any]) -> Policy:
        self.made += 1
        if "broken" in document:
            raise PolicyError((Problem(name, 0, 0, "cannot be read"),))
        return policy(name, document=document)


def test_one_snapshot_is_restored_once() -> None:
    """However many rollouts hold it, and in whatever order its fields come."""
    shelf = Shelf()
    snapshots = PolicySnapshots(shelf)
    first = snapshots.restore(rollout({"a": 1, "b": [2]}))
    assert snapshots.restore(rollout({"b": [2], "a": 1})) is first
    assert shelf.made == 1


def test_snapshot_is_keyed_by_content_not_digest() -> None:
    """An edited snapshot is another policy, and so is one of another name."""
    shelf = Shelf()
    snapshots = PolicySnapshots(shelf)
    first = snapshots.restore(rollout({"a": 1}))
    assert snapshots.restore(rollout({"a": 2})).document == {"a": 2}
    assert snapshots.restore(rollout({"a": 1}, name="other")).name == "other"
    assert snapshots.restore(rollout({"a": 1}, digest="e")) is first
    assert shelf.made == 3


def test_a_snapshot_that_cannot_be_read_is_not_remembered() -> None:
    """It is refused each time."""
    shelf = Shelf()
    snapshots = PolicySnapshots(shelf)
    for _ in range(2):
        with pytest.raises(PolicyError):
            snapshots.restore(rollout({"broken": True}))
    assert shelf.made == 2


def test_snapshot_cache_is_bounded() -> None:
    """Ten thousand different ones do not fill the memory."""
    snapshots = PolicySnapshots(Shelf())
    for number in range(1000):
        snapshots.restore(rollout({"a": number}))
    assert len(snapshots) <= 256


@pytest.mark.parametrize("levels", [50, 2000])
def test_snapshot_that_is_too_deep_is_a_policy_error(levels: int) -> None:
    """A snapshot that a user has nested concerns its rollout: no other error leaves."""
    deep: Any = 1
    for _ in range(levels):
        deep = {"a": deep}
    with pytest.raises(PolicyError, match="nested deeper than 40 levels"):
        PolicySnapshots(ActivePolicies()).restore(rollout({"x": deep}))
