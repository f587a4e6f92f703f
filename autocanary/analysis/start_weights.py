"""The weights of a mixture over start times: at each block another test begins, so harm may begin at any time.

A mixture of e-processes whose weights sum to 1 is an e-process (Shiryaev; Shin, Ramdas & Rinaldo, NEJSDS
2024). One recursion per alternative holds all of it: M_k = (M_(k-1) + weight_k) * L_k. A weight may depend
on all that was counted before its block, so that a step may begin whenever it does.

The test that begins with the first block weighs 0.7. Of the rest, one half goes to the first blocks of the
later steps in equal parts, and the k-th block has 1/(k(k-1)) of the other half. Without later steps the
blocks have all of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log

from autocanary.analysis.e_values import LogRatios, log_add

__all__ = ["StartWeights", "begin_test", "step_weight", "weight_of_steps_to_come"]

_FIRST_WEIGHT = 0.7


@dataclass(frozen=True, slots=True)
class StartWeights:
    """How many tests have begun (``count``), and the weight of the steps that begin with the next (``pending``)."""

    count: int = 0
    pending: float = 0.0

    def with_step(self, weight: float) -> StartWeights:
        return StartWeights(self.count, self.pending + weight) if weight > 0.0 else self

    def next(self, steps: int) -> tuple[StartWeights, float]:
        """The state after one more test has begun, and the logarithm of that test's weight."""
        count = self.count + 1
        weight = self.pending + (_block_part(steps) / (count * (count - 1)) if count > 1 else 0.0)
        return StartWeights(count), log(weight) if weight > 0.0 else -inf

    def unused(self, started: int, steps: int) -> float:
        """The weight of the tests that have not begun, after ``started`` of ``steps`` steps have."""
        return weight_of_steps_to_come(started, steps) + self.pending + _block_part(steps) / max(self.count, 1)

    def to_list(self) -> list[float]:
        return [self.count, self.pending]


def begin_test(logs: LogRatios, log_weight: float, size: int) -> LogRatios:
    """The logarithms of the mixture's terms with one more test; ``size`` is their number, () before the first."""
    return tuple([log_add(each, log_weight) for each in logs]) if logs else (log_weight,) * size


def step_weight(step: int, steps: int) -> float:
    """The weight of the test that begins with the first block of this step."""
    return weight_of_steps_to_come(step, steps) - weight_of_steps_to_come(step + 1, steps)


def weight_of_steps_to_come(started: int, steps: int) -> float:
    """The weight of the first blocks of all steps that have not begun, when the first ``started`` have."""
    if started <= 0:
        return 1.0 - _block_part(steps)
    if started >= steps:
        return 0.0
    return _step_part(steps) * (steps - started) / (steps - 1)


def _step_part(steps: int) -> float:
    return (1.0 - _FIRST_WEIGHT) / 2.0 if steps > 1 else 0.0


def _block_part(steps: int) -> float:
    return 1.0 - _FIRST_WEIGHT - _step_part(steps)
