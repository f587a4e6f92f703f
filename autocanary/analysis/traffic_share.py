"""Whether the candidate completes its share of the requests: one that hangs fails nothing and ends nothing.

The null hypothesis is that at least half of what its weight promises is completed. Requests that take
longer on the candidate are late only once; the block dropped after each change of split is for them.

A candidate may hang after hours of health, which must not count for it: a test begins with every block
(``start_weights``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, log
from typing import Any

from autocanary.analysis.count_blocks import BlockCounter, BlockUpdate, Counts, add_sample
from autocanary.analysis.e_values import LogRatios, below_share_ratios, log_mix, multiply
from autocanary.analysis.packed_floats import pack_floats, unpack_floats
from autocanary.analysis.parameters import ComparisonParameters
from autocanary.analysis.start_weights import StartWeights, begin_test
from autocanary.model.measurement import RequestCounters

__all__ = ["TrafficShare", "update_share"]

_SHARE_FACTORS = (0.001, 0.1, 0.3, 0.6)
_EQUAL_WEIGHTS = (1.0 / len(_SHARE_FACTORS),) * len(_SHARE_FACTORS)
_EMPTY_COUNTER = BlockCounter()
_NO_COUNTS = Counts()
_NO_STARTS = StartWeights()


@dataclass(frozen=True, slots=True)
class TrafficShare:
    """The state of the test over a whole rollout; ``step`` is what was counted in this step.

    ``logs`` are those of the tests that have begun, for each of the parts, empty before the first.
    """

    block_counter: BlockCounter = _EMPTY_COUNTER
    logs: LogRatios = ()
    step: Counts = _NO_COUNTS
    blocks: StartWeights = _NO_STARTS

    @property
    def evidence(self) -> float:
        """log E that the candidate completes less than half of its share."""
        unused_weight = self.blocks.unused(self.block_counter.started, self.block_counter.steps)
        return log_mix(self.logs, _EQUAL_WEIGHTS, unused_weight) if self.logs else 0.0

    def evidence_within_block(self) -> float:
        """The same, when the counts of the open block may take evidence away and add none."""
        counter = self.block_counter
        if not counter.samples or not 0 < counter.weight < 100:
            return self.evidence
        following, log_weight = self.blocks.next(counter.steps)
        begun = begin_test(self.logs, log_weight, len(_SHARE_FACTORS))
        more = below_share_ratios(counter.block.candidate, counter.block.stable, counter.weight / 200.0, _SHARE_FACTORS)
        taken = [each + min(ratio, 0.0) for each, ratio in zip(begun, more, strict=True)]
        return log_mix(taken, _EQUAL_WEIGHTS, following.unused(counter.started, counter.steps))

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value."""
        return {
            "counter": self.block_counter.to_list(),
            "logs": pack_floats(self.logs),
            "step": self.step.pack(),
            "blocks": self.blocks.to_list(),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> TrafficShare:
        block_counter, step = BlockCounter.from_list(raw["counter"]), Counts.unpack(raw["step"])
        return cls(block_counter, unpack_floats(raw["logs"]), step, StartWeights(*raw["blocks"]))


def update_share(
    state: TrafficShare,
    parameters: ComparisonParameters,
    counters: RequestCounters | None,
    *,
    step: int,
    steps: int,
    weight: int,
    warming: bool = False,
    dropped_seconds: float = 0.0,
) -> tuple[TrafficShare, BlockUpdate]:
    """The state after one evaluation, and what it counted; arguments as for ``update_comparison``."""
    block_counter, block_update = add_sample(
        state.block_counter,
        parameters,
        counters,
        step=step,
        steps=steps,
        weight=weight,
        warming=warming or step < 0,
        drop_silence=True,
        dropped_seconds=dropped_seconds,
    )
    if block_update.before is not None:
        state = _with_block(state, block_update.before, block_update.before_weight, parameters)
    counted = state.step if (step, weight) == (state.block_counter.step, state.block_counter.weight) else _NO_COUNTS
    if block_update.sample is not None:
        counted += block_update.sample
    state = TrafficShare(block_counter, state.logs, counted, state.blocks.with_step(block_update.added_weight))
    if block_update.block is not None:
        state = _with_block(state, block_update.block, weight, parameters)
    return state, block_update


def _with_block(state: TrafficShare, block: Counts, weight: int, parameters: ComparisonParameters) -> TrafficShare:
    if not 0 < weight < 100:
        return state
    blocks, log_weight = state.blocks.next(state.block_counter.steps)
    log_cap = inf if parameters.cap is None else log(parameters.cap)
    more = below_share_ratios(block.candidate, block.stable, weight / 200.0, _SHARE_FACTORS)
    logs = multiply(begin_test(state.logs, log_weight, len(_SHARE_FACTORS)), more, log_cap)
    return TrafficShare(state.block_counter, logs, state.step, blocks)
