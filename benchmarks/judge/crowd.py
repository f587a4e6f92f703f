"""The comparison of the package over many runs at once: the same formulae, with arrays for numbers.

``tests/benchmarks`` proves it equal to ``autocanary.analysis.sequential_test`` look by look. What it leaves
out is what the benchmark has none of: resets, missing answers, latency, absolute limits and a bake.
"""

from __future__ import annotations

from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from autocanary.analysis.parameters import (
    CAUTIOUS_FACTORS,
    FACTOR_WEIGHTS,
    FACTORS,
    Margin,
    Terms,
    step_weight,
)
from benchmarks.judge.traffic import TICK, Counts

__all__ = ["Crowd", "odds_of"]

Reals = NDArray[np.float64]
Flags = NDArray[np.bool_]

_ALL = slice(None)

_FACTORS = np.array(FACTORS)
_LOG_FACTORS = np.log(_FACTORS)
_LOG_BETS = np.log(np.array(FACTOR_WEIGHTS))
_CAUTIOUS = np.array(CAUTIOUS_FACTORS)
_GROSS = 0.2
_GROSS_RATES = np.array((0.4, 0.7, 0.95, 0.999))
_UP, _DOWN = np.log(_GROSS_RATES / _GROSS), np.log((1.0 - _GROSS_RATES) / (1.0 - _GROSS))


class Crowd:
    """Comparisons of failed requests, one per run, all under the same terms and looked at together."""

    def __init__(self, terms: Terms, runs: int, steps: int) -> None:
        self._terms = terms
        self._steps = steps
        self._looks = max(terms.looks, ceil(0.9 * terms.block / TICK - 1e-9))
        self._most = np.inf if terms.cap is None else log(terms.cap)
        self._worse = np.full((runs, len(FACTORS)), log(step_weight(0, steps)))
        self._sudden = self._worse.copy()
        self._fine = np.zeros((runs, len(CAUTIOUS_FACTORS)))
        self._step, self._weight, self._idle = 0, 0, 1.0 - step_weight(0, steps)
        self._block = np.zeros((4, runs))
        self._in_block = 0
        self._dropped = 0
        self._n_c, self._e_c = np.zeros(runs), np.zeros(runs)

    def look(self, step: int, weight: int, counts: Counts, odds: Reals | None = None) -> None:
        """One tick's counts; ``odds`` are ``odds_of`` them, where somebody has them already."""
        if self._weight and (step, weight) != (self._step, self._weight):
            if self._in_block:
                self._close()
            # The difference across the change, and those that begin less than a block after it.
            self._dropped = 1 + ceil(self._terms.block / TICK - 1e-9)
            for each in range(self._step + 1, step + 1):
                stake = step_weight(each, self._steps)
                self._worse = np.logaddexp(self._worse, log(stake))
                self._sudden = np.logaddexp(self._sudden, log(stake))
                self._idle -= stake
            self._n_c[:], self._e_c[:] = 0.0, 0.0
        self._step, self._weight = step, weight
        if self._dropped:
            self._dropped -= 1
            return
        n_c, e_c, n_s, e_s = (each.astype(np.float64) for each in counts)
        self._n_c += n_c
        self._e_c += e_c
        self._sudden += odds_of(counts, self._terms.fail) if odds is None else odds
        for kept, more in zip(self._block, (n_c, e_c, n_s, e_s), strict=True):
            kept += more
        self._in_block += 1
        if self._in_block >= self._looks:
            self._close(odds if self._looks == 1 else None)

    def beyond(self, bound: float) -> Flags:
        """The runs whose evidence has reached this bound."""
        # A mean is at most its largest member: most runs need no more than that.
        near = np.flatnonzero(np.maximum(self._worse.max(axis=1), self._sudden.max(axis=1)) >= bound)
        flags = np.zeros(len(self._worse), dtype=np.bool_)
        if near.size:
            flags[near] = self.evidence(near) >= bound
        return flags

    def evidence(self, runs: NDArray[np.int64] | slice = _ALL) -> Reals:
        """log E, of every run or of some."""
        n_c, e_c = self._n_c[runs, None], self._e_c[runs, None]
        slow = _mixed(self._worse[runs], self._idle)
        gross = _log_mean(e_c * _UP + (n_c - e_c) * _DOWN)
        fast = np.minimum(gross, _mixed(self._sudden[runs], self._idle))
        mixed: Reals = np.logaddexp(slow + log(0.9), fast + log(0.1))
        return mixed

    def non_inferiority(self, runs: NDArray[np.int64] | slice = _ALL) -> Reals:
        """log E that the candidate is not worse, of every run or of some."""
        return _log_mean(self._fine[runs])

    def _close(self, odds: Reals | None = None) -> None:
        n_c, e_c, n_s, e_s = self._block
        more = _worse(n_c, e_c, n_s, e_s, self._terms.fail) if odds is None else odds
        self._worse += np.minimum(more, self._most)
        self._fine += np.minimum(_not_worse(n_c, e_c, n_s, e_s, self._terms.pass_), self._most)
        self._block[:] = 0.0
        self._in_block = 0


def odds_of(counts: Counts, margin: Margin) -> Reals:
    """The logarithms of the ratios of one tick, by run and factor."""
    n_c, e_c, n_s, e_s = (each.astype(np.float64) for each in counts)
    return _worse(n_c, e_c, n_s, e_s, margin)


def _worse(n_c: Reals, e_c: Reals, n_s: Reals, e_s: Reals, margin: Margin) -> Reals:
    weighted = margin.ratio * n_c
    stable = n_s[:, None]
    whole = weighted[:, None] * _FACTORS + stable
    whole[whole == 0.0] = 1.0
    log_b = np.log(np.maximum(weighted + n_s, 1e-300))[:, None] - np.log(whole)
    up = (_FACTORS - 1.0) * stable / whole
    logs: Reals = e_c[:, None] * (_LOG_FACTORS + log_b) + e_s[:, None] * log_b
    logs -= (margin.slack * n_c)[:, None] * up
    logs[(n_c <= 0) | (n_s <= 0)] = 0.0
    return logs


def _not_worse(n_c: Reals, e_c: Reals, n_s: Reals, e_s: Reals, margin: Margin) -> Reals:
    odds = margin.ratio * n_c / np.maximum(n_s, 1.0)
    logs: Reals = e_c[:, None] * np.log(_CAUTIOUS) + e_s[:, None] * np.log1p(odds[:, None] * (1 - _CAUTIOUS))
    logs += (margin.slack * n_c)[:, None] * (1.0 - _CAUTIOUS)
    logs[(n_c <= 0) | (n_s <= 0)] = 0.0
    return logs


def _mixed(logs: Reals, idle: float) -> Reals:
    bets = logs + _LOG_BETS
    highest = bets.max(axis=1)
    if idle > 1e-12:
        highest = np.maximum(highest, 0.0)
        rest = idle * np.exp(-highest)
    else:
        rest = np.zeros_like(highest)
    mixed: Reals = highest + np.log(np.exp(bets - highest[:, None]).sum(axis=1) + rest)
    return mixed


def _log_mean(logs: Reals) -> Reals:
    highest = logs.max(axis=1)
    mean: Reals = highest + np.log(np.exp(logs - highest[:, None]).mean(axis=1))
    return mean
