"""The parameters of a comparison: how often it may be wrong, and how much worse is still fine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log
from typing import NamedTuple

from autocanary.model.policy import ComparisonPolicy, ComparisonPreset

__all__ = [
    "FACTOR_WEIGHTS",
    "INFERIORITY_FACTORS",
    "NON_INFERIORITY_FACTORS",
    "NON_INFERIORITY_WEIGHTS",
    "STEP_GATE",
    "SUSPICIOUS_E_VALUE",
    "ComparisonParameters",
    "Margin",
    "gate",
    "is_last_gate",
    "parameters_of",
]

INFERIORITY_FACTORS = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0)
"""How many times worse the candidate might be; the test bets on all of them at once."""

NON_INFERIORITY_FACTORS = (0.9, 0.75, 0.5, 0.25, 0.1, 0.02)
"""What a candidate that is fine might make of the largest tolerable rate."""

NON_INFERIORITY_WEIGHTS = (0.05, 0.25, 0.35, 0.25, 0.05, 0.05)
"""The weights of the bets on ``NON_INFERIORITY_FACTORS``; they sum to 1."""

STEP_GATE = 3.0
"""The evidence of the present step alone that a step needs to pass, besides the evidence of the rollout."""

_FIRST_GATE, _LATER_GATE = 3.0, 6.0

SUSPICIOUS_E_VALUE = 5.0
"""Evidence from which on nothing advances."""

_BETA = 0.05


def _factor_weights() -> tuple[float, ...]:
    raw = [exp(-0.5 * (log(factor / 5.0) / 1.5) ** 2) + 0.1 for factor in INFERIORITY_FACTORS]
    return tuple(each / sum(raw) for each in raw)


FACTOR_WEIGHTS = _factor_weights()
"""The weight of the bet on each of ``INFERIORITY_FACTORS``; they sum to 1."""


class Margin(NamedTuple):
    """The largest rate that is not worse: ``ratio`` times stable's, plus ``slack`` (a fraction, 0..1)."""

    ratio: float
    slack: float


_FAIL_MARGIN = Margin(1.25, 0.0005)
_PASS_MARGIN = Margin(1.5, 0.005)
_LATENCY_SLACK, _LATENCY_PASS_SLACK = 0.005, 0.01
"""Of slow requests some are always slow: with the slack of failed ones little traffic would show nothing for hours."""


@dataclass(frozen=True, slots=True)
class ComparisonParameters:
    """What one metric's comparison promises.

    A rollout whose candidate stays within ``fail_margin`` is rolled back with a probability of at most
    ``alpha``, however often it is evaluated; one that is worse than ``pass_margin`` gets all the traffic with
    at most ``beta``. Counts are gathered into blocks of ``block`` seconds and of at least ``samples``
    evaluations, and one block multiplies the evidence by at most ``cap`` (None: no limit). ``latency`` compares
    slow requests instead of failed ones.
    """

    alpha: float = 0.05
    beta: float = _BETA
    block: float = 30.0
    samples: int = 2
    cap: float | None = 3.0
    fail_margin: Margin = _FAIL_MARGIN
    pass_margin: Margin = _PASS_MARGIN
    latency: bool = False

    @property
    def bound(self) -> float:
        """The logarithm of the evidence that fails the candidate."""
        return -log(self.alpha)


_PRESETS: Mapping[ComparisonPreset, ComparisonParameters] = {
    ComparisonPreset.FAST: ComparisonParameters(block=10.0, samples=1, cap=None),
    ComparisonPreset.DEFAULT: ComparisonParameters(),
    ComparisonPreset.ROBUST: ComparisonParameters(block=60.0),
    ComparisonPreset.STRICT: ComparisonParameters(alpha=0.01),
}


@lru_cache(maxsize=256)
def parameters_of(compare: ComparisonPolicy, *, latency: bool = False) -> ComparisonParameters:
    """The parameters that a policy's ``compare`` stands for.

    ``compare.margin`` replaces the slack in percentage points, ``compare.ratio`` the preset's ratio: the
    candidate may have ``ratio`` times stable's rate plus the slack. Both widen what passes too, but never
    narrow it below the preset's, or little traffic could never show that a good candidate is good.
    """
    preset = _PRESETS[compare.preset]
    alpha = preset.alpha if compare.confidence is None else (100.0 - compare.confidence) / 100.0
    slack = _LATENCY_SLACK if latency else preset.fail_margin.slack
    pass_slack = _LATENCY_PASS_SLACK if latency else preset.pass_margin.slack
    if compare.margin is not None:
        slack = compare.margin / 100.0
    ratio = preset.fail_margin.ratio if compare.ratio is None else compare.ratio
    return ComparisonParameters(
        alpha=alpha,
        beta=preset.beta,
        block=preset.block,
        samples=preset.samples,
        cap=preset.cap,
        fail_margin=Margin(ratio, slack),
        pass_margin=Margin(max(preset.pass_margin.ratio, ratio), max(pass_slack, slack)),
        latency=latency,
    )


def gate(parameters: ComparisonParameters, step: int, steps: int) -> float:
    """The evidence that the candidate is fine which a step needs to pass: more before more traffic is at stake.

    The step before the last, which has all the traffic, needs 1 / beta.
    """
    if is_last_gate(step, steps):
        return 1.0 / parameters.beta
    return _FIRST_GATE if step <= 0 else _LATER_GATE


def is_last_gate(step: int, steps: int) -> bool:
    """Whether the next step has all the traffic."""
    return step >= steps - 2
