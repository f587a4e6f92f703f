"""The counts of the last minutes: which blocks are in them, and for how long."""

from __future__ import annotations

import json

from autocanary.analysis.count_blocks import Counts
from autocanary.analysis.recent_counts import RecentCounts


def test_between_five_and_ten_minutes_are_kept() -> None:
    """Every block is in the sum for at least five minutes and is gone after ten and a block."""
    recent = RecentCounts()
    for number in range(100):
        block = Counts(number, 10 * number, ((number, 0),))
        recent = recent.add(block, 30.0)
        many = round(recent.seconds / 30.0)
        assert recent.counts.candidate == sum(range(number + 1 - many, number + 1))
        assert many == number + 1 if number < 10 else 11 <= many <= 20


def test_json_is_exact() -> None:
    """Both parts, with the seconds of each."""
    recent = RecentCounts()
    for number in range(15):
        recent = recent.add(Counts(number, 7, ((1, 2), (3, 4))), 29.7)
        assert RecentCounts.from_list(json.loads(json.dumps(recent.to_list()))) == recent
