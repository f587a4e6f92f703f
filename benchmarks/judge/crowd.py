"""The comparison of the package over many runs at once: the same formulae, with arrays for numbers.

``tests/benchmarks`` proves it equal to ``autocanary.analysis.sequential_test`` look by look. What it leaves
out is what the benchmark has none of: resets, missing answers, latency, absolute limits and a bake.
"""

from __future__ import annotations

from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from autocanary.analysis.parameters import (
    FACTOR_WEIGHTS,
    INFERIORITY_FACTORS,
    NON_INFERIORITY_FACTORS,
    ComparisonParameters,
    Margin,
    step_weight,
)
from benchmarks.judge.traffic import TICK, TickCounts

__all__ = ["BatchComparison", "log_ratios_of"]

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

_ALL = slice(None)

_FACTORS = np.array(INFERIORITY_FACTORS)
_LOG_FACTORS = np.log(_FACTORS)
_LOG_FACTOR_WEIGHTS = np.log(np.array(FACTOR_WEIGHTS))
_NON_INFERIORITY_FACTORS = np.array(NON_INFERIORITY_FACTORS)
_GROSS = 0.2
_GROSS_RATES = np.array((0.4, 0.7, 0.95, 0.999))
_UP, _DOWN = np.log(_GROSS_RATES / _GROSS), np.log((1.0 - _GROSS_RATES) / (1.0 - _GROSS))


class BatchComparison:
    """Comparisons of failed requests, one per run, all under the same terms and looked at together."""

    def __init__(self, parameters: ComparisonParameters, runs: int, steps: int) -> None:
        self._parameters = parameters
        self._steps = steps
        self._looks = max(parameters.samples, ceil(0.9 * parameters.block / TICK - 1e-9))
        self._most = np.inf if parameters.cap is None else log(parameters.cap)
        self._worse = np.full((runs, len(INFERIORITY_FACTORS)), log(step_weight(0, steps)))
        self._sudden = self._worse.copy()
        self._fine = np.zeros((runs, len(NON_INFERIORITY_FACTORS)))
        self._step, self._weight, self._unused_weight = 0, 0, 1.0 - step_weight(0, steps)
        self._block = np.zeros((4, runs))
        self._in_block = 0
        self._dropped = 0
        self._n_c, self._e_c = np.zeros(runs), np.zeros(runs)

    def update(self, step: int, weight: int, counts: TickCounts, log_ratios: Floats | None = None) -> None:
        """One tick's counts; ``log_ratios`` are ``log_ratios_of`` them, where a user has them already."""
        if self._weight and (step, weight) != (self._step, self._weight):
            if self._in_block:
                self._close()
            # The difference across the change, and those that begin less than a block after it.
            self._dropped = 1 + ceil(self._parameters.block / TICK - 1e-9)
            for each in range(self._step + 1, step + 1):
                mixture_weight = step_weight(each, self._steps)
                self._worse = np.logaddexp(self._worse, log(mixture_weight))
                self._sudden = np.logaddexp(self._sudden, log(mixture_weight))
                self._unused_weight -= mixture_weight
            self._n_c[:], self._e_c[:] = 0.0, 0.0
        self._step, self._weight = step, weight
        if self._dropped:
            self._dropped -= 1
            return
        n_c, e_c, n_s, e_s = (each.astype(np.float64) for each in counts)
        self._n_c += n_c
        self._e_c += e_c
        self._sudden += log_ratios_of(counts, self._parameters.fail_margin) if log_ratios is None else log_ratios
        for kept, more in zip(self._block, (n_c, e_c, n_s, e_s), strict=True):
            kept += more
        self._in_block += 1
        if self._in_block >= self._looks:
            self._close(log_ratios if self._looks == 1 else None)

    def reached(self, bound: float) -> Booleans:
        """The runs whose evidence has reached this bound."""
        # A mean is at most its largest member: most runs need no more than that.
        near = np.flatnonzero(np.maximum(self._worse.max(axis=1), self._sudden.max(axis=1)) >= bound)
        flags = np.zeros(len(self._worse), dtype=np.bool_)
        if near.size:
            flags[near] = self.evidence(near) >= bound
        return flags

    def evidence(self, runs: NDArray[np.int64] | slice = _ALL) -> Floats:
        """log E, of every run or of some."""
        n_c, e_c = self._n_c[runs, None], self._e_c[runs, None]
        slow = _mix_unused(self._worse[runs], self._unused_weight)
        gross = _log_mean(e_c * _UP + (n_c - e_c) * _DOWN)
        fast = np.minimum(gross, _mix_unused(self._sudden[runs], self._unused_weight))
        mixed: Floats = np.logaddexp(slow + log(0.9), fast + log(0.1))
        return mixed

    def non_inferiority(self, runs: NDArray[np.int64] | slice = _ALL) -> Floats:
        """log E that the candidate is not worse, of every run or of some."""
        return _log_mean(self._fine[runs])

    def _close(self, log_ratios: Floats | None = None) -> None:
        n_c, e_c, n_s, e_s = self._block
        more = _worse(n_c, e_c, n_s, e_s, self._parameters.fail_margin) if log_ratios is None else log_ratios
        self._worse += np.minimum(more, self._most)
        self._fine += np.minimum(_not_worse(n_c, e_c, n_s, e_s, self._parameters.pass_margin), self._most)
        self._block[:] = 0.0
        self._in_block = 0


def log_ratios_of(counts: TickCounts, margin: Margin) -> Floats:
    """The logarithms of the ratios of one tick, by run and factor."""
    n_c, e_c, n_s, e_s = (each.astype(np.float64) for each in counts)
    return _worse(n_c, e_c, n_s, e_s, margin)


def _worse(n_c: Floats, e_c: Floats, n_s: Floats, e_s: Floats, margin: Margin) -> Floats:
    weighted = margin.ratio * n_c
    stable = n_s[:, None]
    whole = weighted[:, None] * _FACTORS + stable
    whole[whole == 0.0] = 1.0
    log_b = np.log(np.maximum(weighted + n_s, 1e-300))[:, None] - np.log(whole)
    up = (_FACTORS - 1.0) * stable / whole
    logs: Floats = e_c[:, None] * (_LOG_FACTORS + log_b) + e_s[:, None] * log_b
    logs -= (margin.slack * n_c)[:, None] * up
    logs[(n_c <= 0) | (n_s <= 0)] = 0.0
    return logs


def _not_worse(n_c: Floats, e_c: Floats, n_s: Floats, e_s: Floats, margin: Margin) -> Floats:
    log_ratios = margin.ratio * n_c / np.maximum(n_s, 1.0)
    logs: Floats = e_c[:, None] * np.log(_NON_INFERIORITY_FACTORS) + e_s[:, None] * np.log1p(
        log_ratios[:, None] * (1 - _NON_INFERIORITY_FACTORS)
    )
    logs += (margin.slack * n_c)[:, None] * (1.0 - _NON_INFERIORITY_FACTORS)
    logs[(n_c <= 0) | (n_s <= 0)] = 0.0
    return logs


def _mix_unused(logs: Floats, unused_weight: float) -> Floats:
    bets = logs + _LOG_FACTOR_WEIGHTS
    highest = bets.max(axis=1)
    if unused_weight > 1e-12:
        highest = np.maximum(highest, 0.0)
        rest = unused_weight * np.exp(-highest)
    else:
        rest = np.zeros_like(highest)
    mixed: Floats = highest + np.log(np.exp(bets - highest[:, None]).sum(axis=1) + rest)
    return mixed


def _log_mean(logs: Floats) -> Floats:
    highest = logs.max(axis=1)
    mean: Floats = highest + np.log(np.exp(logs - highest[:, None]).mean(axis=1))
    return mean
