"""What a policy may ask for is what the metrics adapter can answer: the table of presets exists twice."""

from __future__ import annotations

from autocanary.policy_files import metric_presets as policies
from autocanary.prometheus import exporters as adapter


def test_policy_and_prometheus_presets_are_the_same() -> None:
    """By name and unit, so that a threshold is compared with what it was written in."""
    assert {name: preset.unit for name, preset in policies.PRESETS.items()} == adapter.PRESETS
