"""The weights of the tests that begin at each block: together never more than 1."""

from __future__ import annotations

from math import exp

import pytest

from autocanary.analysis.start_weights import StartWeights, step_weight, weight_of_steps_to_come


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
@pytest.mark.parametrize("first_step", [0, 1, 2])
def test_used_and_unused_weights_sum_to_one(steps: int, first_step: int) -> None:
    """At every block, for a rollout that begins at a later step as well."""
    started = min(first_step, steps - 1) + 1
    starts = StartWeights().with_step(weight_of_steps_to_come(0, steps) - weight_of_steps_to_come(started, steps))
    used = 0.0
    for block in range(400):
        if block % 20 == 19 and started < steps:
            starts = starts.with_step(step_weight(started, steps))
            started += 1
        assert used + starts.unused(started, steps) == pytest.approx(1.0)
        starts, log_weight = starts.next(steps)
        used += exp(log_weight)
    assert used == pytest.approx(1.0, abs=0.001)


def test_the_first_block_has_most_of_the_weight() -> None:
    """And a block that begins a step has more than one within a step."""
    starts = StartWeights().with_step(step_weight(0, 3))
    starts, first = starts.next(3)
    assert exp(first) == pytest.approx(0.7)
    starts, second = starts.next(3)
    assert exp(second) == pytest.approx(0.15 / 2)
    for _ in range(50):
        starts, _ = starts.next(3)
    starts, within = starts.next(3)
    starts, later = starts.with_step(step_weight(1, 3)).next(3)
    assert exp(later) > 0.07 > exp(within)
