"""The promise about load on Prometheus: few queries, however many rollouts."""

from __future__ import annotations

import pytest

from autocanary.model.measurement import Source
from benchmarks.queries import FIVE_SOURCES, POLICIES, queries_per_30_seconds


@pytest.mark.parametrize(
    ("policy", "one", "five"),
    [
        ("compared (the default policy)", 14, 40),
        ("four presets", 4, 20),
        ("three presets and a query", 10, 26),
    ],
)
def test_500_rollouts_take_few_queries(policy: str, one: int, five: int) -> None:
    """At most 40 within 30 s over five sources that no policy names, and for one source as few as ever."""
    assert queries_per_30_seconds((Source.KNATIVE,), 500, POLICIES[policy]) <= one
    assert queries_per_30_seconds(FIVE_SOURCES, 500, POLICIES[policy], auto=True) <= five <= 40
