"""Whether the candidate completes its share of the requests: one that hangs fails nothing and ends nothing.

The null hypothesis is that at least half of what its weight promises is completed. Requests that take
longer on the candidate are late only once; the block dropped after each change of split is for them.

A candidate may hang after hours of health, which must not count for it: a test begins with every block, the
first of a step with most of the step's stake, the k-th with 1/(k(k-1)) of the rest. A mixture of tests with
stakes that sum to 1 is an e-process, as each of them is (Shiryaev's way to find a change).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, log
from typing import Any

from autocanary.analysis.count_blocks import BlockCounter, Counts, add_sample
from autocanary.analysis.e_values import below_share_ratios, log_add, log_mix, multiply
from autocanary.analysis.parameters import ComparisonParameters
from autocanary.model.measurement import RequestCounters

__all__ = ["TrafficShare", "update_share"]

_SHARE_FACTORS = (0.001, 0.1, 0.3, 0.6)
_EQUAL_WEIGHTS = (1.0 / len(_SHARE_FACTORS),) * len(_SHARE_FACTORS)
_EMPTY_COUNTER = BlockCounter()
_NO_COUNTS = Counts()


_FIRST_BLOCK_WEIGHT = 0.7
"""What the test that begins with a step's first block has of the step's stake."""


def _unused_part(blocks: int) -> float:
    """The part of a step's stake that is left after so many blocks."""
    return 1.0 if blocks == 0 else (1.0 - _FIRST_BLOCK_WEIGHT) / blocks


@dataclass(frozen=True, slots=True)
class TrafficShare:
    """The state of the test over a whole rollout; ``step`` is what was counted in this step.

    ``logs`` are those of the tests that have begun, for each of the parts, empty before the first;
    ``mixture_weight`` is that of this step, of which ``blocks`` blocks have had theirs.
    """

    block_counter: BlockCounter = _EMPTY_COUNTER
    logs: tuple[float, ...] = ()
    step: Counts = _NO_COUNTS
    mixture_weight: float = 0.0
    blocks: int = 0

    @property
    def evidence(self) -> float:
        """log E that the candidate completes less than half of its share."""
        unused_weight = self.block_counter.unused_weight + self.mixture_weight * _unused_part(self.blocks)
        return log_mix(self.logs, _EQUAL_WEIGHTS, unused_weight) if self.logs else 0.0

    @property
    def completed_share(self) -> float | None:
        """The fraction of this step's requests that the candidate completed."""
        both = self.step.candidate + self.step.stable
        return self.step.candidate / both if both else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value."""
        return {
            "intake": self.block_counter.to_list(),
            "logs": list(self.logs),
            "step": self.step.to_list(),
            "stake": self.mixture_weight,
            "blocks": self.blocks,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> TrafficShare:
        block_counter, step = BlockCounter.from_list(raw["intake"]), Counts.from_list(raw["step"])
        return cls(block_counter, tuple(raw["logs"]), step, raw["stake"], raw["blocks"])


def update_share(
    state: TrafficShare,
    parameters: ComparisonParameters,
    counters: RequestCounters | None,
    *,
    step: int,
    steps: int,
    weight: int,
    warming: bool = False,
) -> TrafficShare:
    """The state after one look; arguments as for ``comparison.looked``."""
    block_counter, block_update = add_sample(
        state.block_counter,
        parameters,
        counters,
        step=step,
        steps=steps,
        weight=weight,
        warming=warming or step < 0,
        drop_silence=True,
    )
    if block_update.before is not None:
        state = _with_block(state, block_update.before, block_update.before_weight, parameters)
    counted = state.step if (step, weight) == (state.block_counter.step, state.block_counter.weight) else _NO_COUNTS
    added_weight = (
        1.0 - block_counter.unused_weight
        if block_counter.started and state.mixture_weight == 0.0
        else block_update.added_weight
    )
    if block_update.sample is not None:
        counted += block_update.sample
    state = TrafficShare(block_counter, state.logs, counted, state.mixture_weight, state.blocks)
    if added_weight > 0.0:
        left = state.mixture_weight * _unused_part(state.blocks)
        state = replace(state, mixture_weight=left + added_weight, blocks=0)
    if block_update.block is not None:
        state = _with_block(state, block_update.block, weight, parameters)
    return state


def _with_block(state: TrafficShare, block: Counts, weight: int, parameters: ComparisonParameters) -> TrafficShare:
    if not 0 < weight < 100:
        return state
    blocks = state.blocks + 1
    mixture_weight = log(state.mixture_weight * (_unused_part(state.blocks) - _unused_part(blocks)))
    logs = tuple(log_add(each, mixture_weight) for each in state.logs) or (mixture_weight,) * len(_SHARE_FACTORS)
    log_cap = inf if parameters.cap is None else log(parameters.cap)
    more = below_share_ratios(block.candidate, block.stable, weight / 200.0, _SHARE_FACTORS)
    return replace(state, logs=multiply(logs, more, log_cap), blocks=blocks)
