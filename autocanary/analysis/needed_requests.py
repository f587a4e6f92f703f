"""What a comparison still needs to pass the present step, if both revisions go on as so far.

An estimate for users; no decision uses it. It follows the average block, so half of the rollouts need longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf, log
from typing import NamedTuple

from autocanary.analysis.e_values import LogRatios, log_mix, non_inferiority_ratios
from autocanary.analysis.parameters import (
    NON_INFERIORITY_WEIGHTS,
    STEP_GATE,
    ComparisonParameters,
    gate,
    is_last_gate,
)
from autocanary.analysis.sequential_test import Comparison
from autocanary.model.policy import FULL_WEIGHT

__all__ = ["NeededRequests", "needed_requests"]

_LOG_WEIGHTS = tuple(map(log, NON_INFERIORITY_WEIGHTS))
_PRIOR_BAD = 2.0
"""Bad requests at stable's rate that are added to the candidate's own: one or two of its own say little about it."""
_MAX_BLOCKS = 1_000_000.0
_BISECTIONS = 6


class NeededRequests(NamedTuple):
    """Requests of the candidate, and the seconds until they are completed at the step's traffic."""

    requests: float
    seconds: float


def needed_requests(
    state: Comparison,
    parameters: ComparisonParameters,
    *,
    step: int,
    steps: int,
    required: float,
) -> NeededRequests | None:
    """0 when the step has its proof and the ``required`` requests; None when nothing can be said.

    That is: without requests of both revisions in this step, with all traffic on the candidate, or while its rate
    is such that the proof does not grow.
    """
    counter, counts = state.block_counter, state.step
    counted_seconds = state.step_seconds or 0.0
    if counts.candidate <= 0 or counts.stable <= 0 or counted_seconds <= 0.0 or counter.weight >= FULL_WEIGHT:
        return None
    per_second = counts.candidate / counted_seconds
    n_c = per_second * parameters.block
    n_s = counts.stable / counted_seconds * parameters.block
    log_gate, log_step_gate = log(gate(parameters, step, steps)), log(STEP_GATE)
    last_gate = is_last_gate(step, steps)
    of_rollout, of_step = state.passing_evidence(last_gate=last_gate)
    blocks = max(required - counts.candidate, 0.0) / n_c
    if of_rollout < log_gate or of_step < log_step_gate:
        # At earlier steps the mean of the outcomes counts: one of them is enough with the others' part as well.
        others = 0.0 if last_gate else log(len(state.outcomes))
        bad = [_expected_bad(state, index, n_c, n_s) for index in range(len(state.outcomes))]
        log_cap = inf if parameters.cap is None else log(parameters.cap)
        ratios = non_inferiority_ratios(n_c, n_s, bad, parameters.pass_margin)
        wanted = [
            [
                (logs, [min(each, log_cap) for each in growth], target + others)
                for logs, target in (
                    (outcome.non_inferiority_ratios, log_gate),
                    (outcome.step_ratios, log_step_gate),
                )
            ]
            for outcome, growth in zip(state.outcomes, ratios, strict=True)
        ]
        slowest = [max(each, key=lambda target: _upper_bound(*target)) for each in wanted]
        choose = max if last_gate else min
        blocks = max(blocks, _refined(*choose(slowest, key=lambda target: _upper_bound(*target))))
    if blocks > _MAX_BLOCKS:
        return None
    blocks = ceil(blocks)
    return NeededRequests(round(blocks * n_c, 1), round(blocks * parameters.block, 1))


def _expected_bad(state: Comparison, index: int, n_c: float, n_s: float) -> tuple[float, float]:
    """Of a block, by what the whole rollout has shown of both revisions."""
    total_c, bad_c, total_s, bad_s = state.total.outcome(index)
    stable = bad_s / total_s if total_s else 0.0
    candidate = (bad_c + _PRIOR_BAD) / (total_c + _PRIOR_BAD / stable) if stable else bad_c / total_c
    return n_c * candidate, n_s * stable


def _upper_bound(logs: LogRatios, growth: Sequence[float], target: float) -> float:
    """Blocks until one bet alone has what all of them need together."""
    return min(
        [
            max((target - weight - each) / grown, 0.0) if grown > 0.0 else inf
            for each, weight, grown in zip(logs, _LOG_WEIGHTS, growth, strict=True)
        ]
    )


def _refined(logs: LogRatios, growth: Sequence[float], target: float) -> float:
    """Blocks until all bets together have it."""

    def reached(blocks: float) -> bool:
        grown = [each + blocks * more for each, more in zip(logs, growth, strict=True)]
        return log_mix(grown, NON_INFERIORITY_WEIGHTS) >= target

    low, high = 0.0, _upper_bound(logs, growth, target)
    if high > _MAX_BLOCKS or reached(low):
        return 0.0 if high <= _MAX_BLOCKS else inf
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
