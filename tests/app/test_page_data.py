"""The page's data: the newest state of each rollout, and policies from the snapshots."""

from __future__ import annotations

from dataclasses import replace

from autocanary.app.page_data import ClusterPageSource, SnapshotReader, render_rollout_report
from autocanary.model.progress_json import with_stored_fields
from autocanary.policy_files import ActivePolicies
from autocanary.simulator.world import World
from tests.cli.fake_client import rollout


def test_what_runs_is_newer_than_its_record() -> None:
    """The controller's value takes the place of the stored one; others stay."""
    world = World()
    stored = [world.store.create(rollout()), world.store.create(rollout(service="other"))]
    newer = replace(stored[0], progress=with_stored_fields(stored[0].progress, {"weight": 50}))
    source = ClusterPageSource(world.store, world.cluster, ActivePolicies(), running=lambda: [newer], now=world.now)
    assert [each.progress.step.weight for each in source.rollouts()] == [50, 25]
    assert source.now() == world.now()
    assert (len(source.services()), len(source.policies())) == (0, 0)
    assert source.problems() == {}
    assert source.missing() == ()


def test_a_snapshot_is_read_once_and_a_bad_one_is_none() -> None:
    """A list of a thousand rollouts has few policies."""
    reader = SnapshotReader()
    assert reader.policy_of(rollout()) is reader.policy_of(rollout(service="other"))
    assert reader.policy_of(replace(rollout(), policy_document={"x": 1})) is None


def test_a_query_is_shown_where_its_source_is_known() -> None:
    """The source that answered, by its own labels."""
    world = World()
    source = ClusterPageSource(world.store, world.cluster, ActivePolicies())
    assert source.query_text(rollout(), "request-success-rate") == ""
    assert source.query_text(rollout(), "none") == ""
    assert "mnist-00002" in render_rollout_report(rollout())
