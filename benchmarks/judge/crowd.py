"""The comparison of the package over many runs at once: the same formulae, with arrays for numbers.

``tests/benchmarks`` proves it equal to ``autocanary.analysis.sequential_test`` at every evaluation. What it
leaves out is what the benchmark has none of: resets, latency, absolute limits, and outages in a step that ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log, sqrt

import numpy as np
from numpy.typing import NDArray

from autocanary.analysis.e_values import GROSS_LOG_CAP
from autocanary.analysis.parameters import (
    FACTOR_WEIGHTS,
    INFERIORITY_FACTORS,
    NON_INFERIORITY_FACTORS,
    NON_INFERIORITY_WEIGHTS,
    STEP_GATE,
    ComparisonParameters,
    Margin,
    gate,
)
from autocanary.analysis.start_weights import StartWeights, step_weight
from benchmarks.judge.traffic import TICK, Scrape, TickCounts

__all__ = ["BatchComparison", "log_ratios_of"]

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

_ALL = slice(None)
_FULL_WEIGHT, _HALF_LIFE, _Z_90 = 100, 1800.0, 1.6448536269514722

_FACTORS = np.array(INFERIORITY_FACTORS)
_LOG_FACTORS = np.log(_FACTORS)
_LOG_FACTOR_WEIGHTS = np.log(np.array(FACTOR_WEIGHTS))
_NON_INFERIORITY_FACTORS = np.array(NON_INFERIORITY_FACTORS)
_LOG_NON_INFERIORITY_WEIGHTS = np.log(np.array(NON_INFERIORITY_WEIGHTS))
_GROSS = 0.2
_GROSS_RATES = np.array((0.4, 0.7, 0.95, 0.999))
_UP, _DOWN = np.log(_GROSS_RATES / _GROSS), np.log((1.0 - _GROSS_RATES) / (1.0 - _GROSS))


class BatchComparison:
    """Comparisons of failed requests, one per run, all under the same parameters and evaluated together."""

    def __init__(self, parameters: ComparisonParameters, runs: int, steps: int) -> None:
        self._parameters = parameters
        self._steps = steps
        self._samples_per_block = max(parameters.samples, ceil(0.9 * parameters.block / TICK - 1e-9))
        self._log_cap = np.inf if parameters.cap is None else log(parameters.cap)
        shape = (runs, len(INFERIORITY_FACTORS))
        self._worse, self._fast = np.full(shape, -np.inf), np.full(shape, -np.inf)
        self._gross = np.zeros((runs, len(_GROSS_RATES)))
        self._fine = np.zeros((runs, len(NON_INFERIORITY_FACTORS)))
        self._fine_in_step = self._fine.copy()
        first = step_weight(0, steps)
        self._blocks, self._samples = StartWeights(0, first), StartWeights(0, first)
        self._step, self._weight = 0, 0
        self._block = np.zeros((4, runs))
        self._in_block = self._ticks_in_block = 0
        self._tick = self._sampled_at = 0
        self._counted_from: int | None = 0
        self._previous: list[tuple[Floats, Floats, Floats, Floats]] = []
        self._unseen: Floats | None = None
        self._silent = False
        self._history = np.zeros((4, runs))
        self._history_blocks = 0.0

    def update(
        self,
        step: int,
        weight: int,
        counts: TickCounts,
        log_ratios: Floats | None = None,
        scrape: Scrape = Scrape.BOTH,
    ) -> None:
        """One tick's counts; ``log_ratios`` are ``log_ratios_of`` them, where they are known already.

        What one side shows while the other shows nothing is counted with the next sample of both.
        """
        if self._weight and (step, weight) != (self._step, self._weight):
            if self._in_block:
                self._close()
            self._counted_from = None
            for each in range(self._step + 1, step + 1):
                mixture_weight = step_weight(each, self._steps)
                self._blocks, self._samples = (
                    self._blocks.with_step(mixture_weight),
                    self._samples.with_step(mixture_weight),
                )
            self._fine_in_step[:] = 0.0
            self._previous = []
        self._step, self._weight = step, weight
        self._tick += 1
        seen = np.array(counts, dtype=np.float64)
        if self._unseen is not None:
            seen, log_ratios = seen + self._unseen, None
        if scrape is not Scrape.BOTH:
            self._unseen, self._silent = seen, self._silent or scrape is Scrape.SILENT
            return
        was_silent, self._silent, self._unseen = self._silent, False, None
        since, self._sampled_at = self._sampled_at, self._tick
        # The difference across a change is dropped, and those that begin less than a block after it.
        is_dropped = self._counted_from is None or since < self._counted_from
        if self._counted_from is None:
            self._counted_from = self._tick + ceil(self._parameters.block / TICK - 1e-9)
        if is_dropped:
            return
        if was_silent:
            self._previous = []
        else:
            self._take_sample(*seen)
        for kept, more in zip(self._block, seen, strict=True):
            kept += more
        self._in_block += 1
        self._ticks_in_block += self._tick - since
        if self._in_block >= self._parameters.samples and self._ticks_in_block >= self._samples_per_block:
            self._close(log_ratios if self._samples_per_block == 1 else None)

    def _take_sample(self, n_c: Floats, e_c: Floats, n_s: Floats, e_s: Floats) -> None:
        """The fast path."""
        self._samples, log_weight = self._samples.next(self._steps)
        self._fast = np.logaddexp(self._fast, log_weight)
        if self._weight == _FULL_WEIGHT:
            self._fast += self._against_history(n_c, e_c)
        elif self._previous:
            self._fast += self._smallest_ratios(n_s, e_s)
        self._previous = [*self._previous[-1:], (n_c, e_c, n_s, e_s)]
        more_gross = e_c[:, None] * _UP + (n_c - e_c)[:, None] * _DOWN
        grown = np.maximum(self._gross, 0.0) + np.minimum(more_gross, GROSS_LOG_CAP)
        self._gross = np.minimum(grown, 2.0 * GROSS_LOG_CAP)

    def _against_history(self, n_c: Floats, e_c: Floats) -> Floats:
        """Of the candidate alone, against what stable did lately: the rule of ``stable_history``, for every run."""
        requests, squares, bad, bad_squares = self._history
        margin, known = self._parameters.fail_margin, requests > 0
        n = np.where(known, requests, 1.0)
        rate = bad / n
        squared = _Z_90**2 / n
        half = _Z_90 * np.sqrt(rate * (1.0 - rate) / n + squared / (4.0 * n))
        high = np.where(bad >= n, 1.0, np.minimum((rate + squared / 2.0 + half) / (1.0 + squared), 1.0))
        variance, free = rate * (1.0 - rate), self._history_blocks - 1.0
        weight = n - squares / n
        if free >= 1.0:
            excess = bad_squares - bad * bad / n - variance * (free + sqrt(2.0 * free))
            spread = 1.6449 * np.sqrt(np.maximum(excess, 0.0) / np.where(weight > 0, weight, 1.0))
            high = np.where((variance > 0) & (weight > 0), np.minimum(high + spread, 1.0), high)
        limit = margin.ratio * np.where(known, high, 1.0) + margin.slack
        logs = e_c[:, None] * _LOG_FACTORS - n_c[:, None] * np.log1p((_FACTORS - 1.0) * limit[:, None])
        return np.where(((limit < 1.0) & (n_c > 0))[:, None], logs, 0.0)

    def reached(self, bound: float) -> Booleans:
        """The runs whose evidence has reached this bound."""
        # A mean is at most its largest member: most runs need no more than that.
        near = np.flatnonzero(np.maximum(self._worse.max(axis=1), self._fast.max(axis=1)) >= bound)
        flags = np.zeros(len(self._worse), dtype=np.bool_)
        if near.size:
            near = near[self.evidence(near) >= bound]
            flags[near] = self.evidence_within_block(near) >= bound
        return flags

    def evidence_within_block(self, runs: NDArray[np.int64] | slice = _ALL) -> Floats:
        """The same, when the counts that it waits for may take evidence away and add none."""
        started = self._step + 1
        slow = _mix_unused(self._worse[runs], self._blocks.unused(started, self._steps))
        if self._in_block:
            slow = self._without_gains(runs, self._worse, self._blocks, self._block)
        fast = _mix_unused(self._fast[runs], self._samples.unused(started, self._steps))
        if self._previous and self._weight < _FULL_WEIGHT:
            fast = np.minimum(fast, self._without_gains(runs, self._fast, self._samples, self._previous[-1]))
        fast = np.minimum(fast, _log_mean(self._gross[runs]))
        mixed: Floats = np.logaddexp(slow + log(0.9), fast + log(0.1))
        return mixed

    def _without_gains(
        self, runs: NDArray[np.int64] | slice, logs: Floats, starts: StartWeights, counts: Sequence[Floats] | Floats
    ) -> Floats:
        following, log_weight = starts.next(self._steps)
        n_c, e_c, n_s, e_s = counts
        if self._weight == _FULL_WEIGHT:
            more = self._against_history(n_c, e_c)[runs]
        else:
            more = _worse(n_c[runs], e_c[runs], n_s[runs], e_s[runs], self._parameters.fail_margin)
        begun = np.logaddexp(logs[runs], log_weight) + np.minimum(more, 0.0)
        return _mix_unused(begun, following.unused(self._step + 1, self._steps))

    def evidence(self, runs: NDArray[np.int64] | slice = _ALL) -> Floats:
        """log E, of every run or of some."""
        started = self._step + 1
        slow = _mix_unused(self._worse[runs], self._blocks.unused(started, self._steps))
        fast = _mix_unused(self._fast[runs], self._samples.unused(started, self._steps))
        fast = np.minimum(fast, _log_mean(self._gross[runs]))
        mixed: Floats = np.logaddexp(slow + log(0.9), fast + log(0.1))
        return mixed

    def non_inferiority(self, runs: NDArray[np.int64] | slice = _ALL) -> Floats:
        """log E that the candidate is not worse, of every run or of some."""
        return _mix(self._fine[runs], _LOG_NON_INFERIORITY_WEIGHTS)

    def step_non_inferiority(self, runs: NDArray[np.int64] | slice = _ALL) -> Floats:
        """The same over the present step alone."""
        return _mix(self._fine_in_step[runs], _LOG_NON_INFERIORITY_WEIGHTS)

    def passed(self, runs: NDArray[np.int64] | slice = _ALL) -> Booleans:
        """The runs whose present step may end."""
        enough: Booleans = self.non_inferiority(runs) >= log(gate(self._parameters, self._step, self._steps))
        return enough & (self.step_non_inferiority(runs) >= log(STEP_GATE))

    def _smallest_ratios(self, n_s: Floats, e_s: Floats) -> Floats:
        """The candidate's last counts against stable's at the evaluation before, at the same and at this."""
        margin = self._parameters.fail_margin
        n_c, e_c, _, _ = self._previous[-1]
        smallest = _worse(*self._previous[-1], margin)
        for requests, failed in (*((each[2], each[3]) for each in self._previous[:-1]), (n_s, e_s)):
            ratios = _worse(n_c, e_c, requests, failed, margin)
            smallest = np.where((requests > 0)[:, None], np.minimum(smallest, ratios), smallest)
        return smallest

    def _close(self, log_ratios: Floats | None = None) -> None:
        """The end of a block; outages of stable itself are in no row whose passing is reported."""
        n_c, e_c, n_s, e_s = self._block
        more = log_ratios
        if self._weight == _FULL_WEIGHT:
            more = self._against_history(n_c, e_c)
        elif more is None:
            more = _worse(n_c, e_c, n_s, e_s, self._parameters.fail_margin)
        self._blocks, log_weight = self._blocks.next(self._steps)
        self._worse = np.logaddexp(self._worse, log_weight) + np.minimum(more, self._log_cap)
        if self._weight < _FULL_WEIGHT:
            passing = np.minimum(_not_worse(n_c, e_c, n_s, e_s, self._parameters.pass_margin), self._log_cap)
            self._fine += passing
            self._fine_in_step += passing
            kept = 0.5 ** (self._parameters.block / _HALF_LIFE)
            self._history_blocks = kept * self._history_blocks + 1.0
            self._history *= kept
            self._history += np.array([n_s, n_s * n_s, e_s, e_s * e_s / np.maximum(n_s, 1.0)])
        self._block = np.zeros_like(self._block)
        self._in_block = self._ticks_in_block = 0


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
    return np.logaddexp(_mix(logs, _LOG_FACTOR_WEIGHTS), log(unused_weight))


def _mix(logs: Floats, log_weights: Floats) -> Floats:
    bets = logs + log_weights
    highest = np.maximum(bets.max(axis=1), -1e300)
    mixed: Floats = highest + np.log(np.maximum(np.exp(bets - highest[:, None]).sum(axis=1), 1e-300))
    return mixed


def _log_mean(logs: Floats) -> Floats:
    return _mix(logs, np.full(logs.shape[1], -log(logs.shape[1])))
