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

from autocanary.analysis.count_blocks import Intake, Tally, take
from autocanary.analysis.e_values import below_share, log_add, log_mix, times
from autocanary.analysis.parameters import Terms
from autocanary.model.measurement import Counters

__all__ = ["Share", "watched"]

_PARTS = (0.001, 0.1, 0.3, 0.6)
_EQUAL = (1.0 / len(_PARTS),) * len(_PARTS)
_NOT_YET = Intake()
_NONE = Tally()


_FIRST = 0.7
"""What the test that begins with a step's first block has of the step's stake."""


def _unspent(blocks: int) -> float:
    """The part of a step's stake that is left after so many blocks."""
    return 1.0 if blocks == 0 else (1.0 - _FIRST) / blocks


@dataclass(frozen=True, slots=True)
class Share:
    """The state of the test over a whole rollout; ``step`` is what was counted in this step.

    ``logs`` are those of the tests that have begun, for each of the parts, empty before the first;
    ``stake`` is that of this step, of which ``blocks`` blocks have had theirs.
    """

    intake: Intake = _NOT_YET
    logs: tuple[float, ...] = ()
    step: Tally = _NONE
    stake: float = 0.0
    blocks: int = 0

    @property
    def evidence(self) -> float:
        """log E that the candidate completes less than half of its share."""
        idle = self.intake.idle + self.stake * _unspent(self.blocks)
        return log_mix(self.logs, _EQUAL, idle) if self.logs else 0.0

    @property
    def completed(self) -> float | None:
        """The fraction of this step's requests that the candidate completed."""
        both = self.step.candidate + self.step.stable
        return self.step.candidate / both if both else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value."""
        return {
            "intake": self.intake.to_list(),
            "logs": list(self.logs),
            "step": self.step.to_list(),
            "stake": self.stake,
            "blocks": self.blocks,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Share:
        intake, step = Intake.from_list(raw["intake"]), Tally.from_list(raw["step"])
        return cls(intake, tuple(raw["logs"]), step, raw["stake"], raw["blocks"])


def watched(
    state: Share,
    terms: Terms,
    counters: Counters | None,
    *,
    step: int,
    steps: int,
    weight: int,
    warming: bool = False,
) -> Share:
    """The state after one look; arguments as for ``comparison.looked``."""
    intake, taken = take(
        state.intake, terms, counters, step=step, steps=steps, weight=weight, warming=warming or step < 0
    )
    if taken.before is not None:
        state = _with_block(state, taken.before, taken.before_weight, terms)
    counted = state.step if (step, weight) == (state.intake.step, state.intake.weight) else _NONE
    begun = 1.0 - intake.idle if intake.started and state.stake == 0.0 else taken.begun
    if taken.look is not None:
        counted += taken.look
    state = Share(intake, state.logs, counted, state.stake, state.blocks)
    if begun > 0.0:
        left = state.stake * _unspent(state.blocks)
        state = replace(state, stake=left + begun, blocks=0)
    if taken.block is not None:
        state = _with_block(state, taken.block, weight, terms)
    return state


def _with_block(state: Share, block: Tally, weight: int, terms: Terms) -> Share:
    if not 0 < weight < 100:
        return state
    blocks = state.blocks + 1
    stake = log(state.stake * (_unspent(state.blocks) - _unspent(blocks)))
    logs = tuple(log_add(each, stake) for each in state.logs) or (stake,) * len(_PARTS)
    most = inf if terms.cap is None else log(terms.cap)
    more = below_share(block.candidate, block.stable, weight / 200.0, _PARTS)
    return replace(state, logs=times(logs, more, most), blocks=blocks)
