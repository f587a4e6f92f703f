"""The terms of a comparison: how often it may be wrong, and how much worse is still fine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log
from typing import NamedTuple

from autocanary.model.policy import Compare, Preset

__all__ = [
    "CAUTIOUS_FACTORS",
    "FACTORS",
    "FACTOR_WEIGHTS",
    "SUSPICIOUS",
    "Margin",
    "Terms",
    "idle_weight",
    "step_weight",
    "terms_of",
]

FACTORS = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0)
"""How many times worse the candidate might be; the test bets on all of them at once."""

CAUTIOUS_FACTORS = (0.9, 0.75, 0.5, 0.25, 0.1, 0.02)
"""What a candidate that is fine might make of the largest tolerable rate; equal bets."""

SUSPICIOUS = 5.0
"""Evidence from which on nothing advances."""

_FIRST_STEP = 0.7
_BETA = 0.05


def _bets() -> tuple[float, ...]:
    raw = [exp(-0.5 * (log(factor / 5.0) / 1.5) ** 2) + 0.1 for factor in FACTORS]
    return tuple(each / sum(raw) for each in raw)


FACTOR_WEIGHTS = _bets()
"""The stake on each of FACTORS; they sum to 1."""


class Margin(NamedTuple):
    """The largest rate that is not worse: ``ratio`` times stable's, plus ``slack`` (a fraction, 0..1)."""

    ratio: float
    slack: float


_FAIL = Margin(1.25, 0.0005)
_PASS = Margin(1.5, 0.005)


@dataclass(frozen=True, slots=True)
class Terms:
    """What one metric's comparison promises.

    A rollout whose candidate stays within ``fail`` is rolled back with a probability of at most ``alpha``,
    however often it is looked at; one that is worse than ``pass_`` passes with at most ``beta``. Counts are
    gathered into blocks of ``block`` seconds and of at least ``looks`` looks, and one block multiplies the
    evidence by at most ``cap`` (None: no limit). ``latency`` compares slow requests instead of failed ones.
    """

    alpha: float = 0.05
    beta: float = _BETA
    block: float = 30.0
    looks: int = 2
    cap: float | None = 3.0
    fail: Margin = _FAIL
    pass_: Margin = _PASS
    latency: bool = False

    @property
    def bound(self) -> float:
        """The logarithm of the evidence that fails the candidate."""
        return -log(self.alpha)


_PRESETS: Mapping[Preset, Terms] = {
    Preset.FAST: Terms(block=10.0, looks=1, cap=None),
    Preset.DEFAULT: Terms(),
    Preset.ROBUST: Terms(block=60.0),
    Preset.STRICT: Terms(alpha=0.01),
}


@lru_cache(maxsize=256)
def terms_of(compare: Compare, *, latency: bool = False) -> Terms:
    """The terms that a policy's ``compare`` stands for.

    ``compare.margin`` replaces the slack in percentage points: the candidate may be a quarter worse than
    stable plus that much. It widens what passes too, but never narrows it below the preset's, or little
    traffic could never show that a good candidate is good.
    """
    preset = _PRESETS[compare.preset]
    alpha = preset.alpha if compare.confidence is None else (100.0 - compare.confidence) / 100.0
    slack = 0.005 if latency else preset.fail.slack
    if compare.margin is not None:
        slack = compare.margin / 100.0
    return Terms(
        alpha=alpha,
        beta=preset.beta,
        block=preset.block,
        looks=preset.looks,
        cap=preset.cap,
        fail=Margin(preset.fail.ratio, slack),
        pass_=Margin(preset.pass_.ratio, max(preset.pass_.slack, slack)),
        latency=latency,
    )


def step_weight(step: int, steps: int) -> float:
    """The stake of the test that begins with this step; those of all steps of a policy sum to 1."""
    return idle_weight(step, steps) - idle_weight(step + 1, steps)


def idle_weight(started: int, steps: int) -> float:
    """The stake of all steps that have not begun, when the first ``started`` have."""
    if started <= 0:
        return 1.0
    if started >= steps:
        return 0.0
    return (1.0 - _FIRST_STEP) * (steps - started) / (steps - 1)
