"""One metric of the candidate compared with the same metric of stable, over a whole rollout.

``update_comparison`` is one evaluation and ``Comparison`` all that must survive a restart. Per outcome (failed
requests, or requests slower than one frozen bound) there are e-processes, kept as the logarithms of their terms:

- ``inferiority_ratios``: the candidate is worse than tolerable. A product of blocks, each capped; another test
  begins with every block (``start_weights``), so that harm with a late onset is not weighed against hours of
  health.
- ``non_inferiority_ratios``: the candidate is not worse, over the whole rollout; ``step_ratios`` over the present
  step. Blocks in which stable itself is in an outage count for neither.
- the fast path (failed requests only): every evaluation, without a cap; believed only while most requests fail.
- ``limit_ratios``: the candidate alone is beyond an absolute limit.

With all traffic on the candidate there is nothing to compare it with at the same time: then the limit is what
stable did lately (``stable_history``).

Over 300 lines because the test's state, its update and its evidence are one derivation, read from top to bottom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, log
from typing import Any

from autocanary.analysis.count_blocks import BlockCounter, BlockUpdate, Counts, add_sample
from autocanary.analysis.e_values import (
    GROSS_LOG_CAP,
    PATH_WEIGHTS,
    LogRatios,
    above_limit_ratios,
    gross_failure_ratios,
    inferiority_ratios,
    log_add,
    log_mean,
    log_mix,
    multiply,
    non_inferiority_ratios,
)
from autocanary.analysis.gross_failure import NO_FAST_PATH, NO_GROSS, FastPath, smallest_ratios
from autocanary.analysis.packed_floats import pack_floats, unpack_floats
from autocanary.analysis.parameters import (
    FACTOR_WEIGHTS,
    INFERIORITY_FACTORS,
    NON_INFERIORITY_FACTORS,
    NON_INFERIORITY_WEIGHTS,
    ComparisonParameters,
)
from autocanary.analysis.recent_counts import RecentCounts
from autocanary.analysis.stable_history import StableHistory
from autocanary.analysis.start_weights import StartWeights, begin_test
from autocanary.model.frozen_copy import replace
from autocanary.model.measurement import RequestCounters
from autocanary.model.policy import FULL_WEIGHT

__all__ = ["Comparison", "evidence_within_block", "new_comparison", "update_comparison"]

_QUANTILES = (0.5, 0.75, 0.9, 0.97, 0.995)
"""Where on stable's distribution slow begins, in turn."""

_MIN_REQUESTS_FOR_BOUNDS = 100
"""Requests of stable from which on its distribution is believed."""

_FACTORS, _PASS_FACTORS = len(INFERIORITY_FACTORS), len(NON_INFERIORITY_FACTORS)
_NO_RATIOS = (0.0,) * _PASS_FACTORS
_EMPTY_COUNTER = BlockCounter()
_NO_COUNTS = Counts()
_NO_STARTS = StartWeights()
_NO_HISTORY = StableHistory()
_NO_RECENT = RecentCounts()


@dataclass(frozen=True, slots=True)
class OutcomeEvidence:
    """The logarithms of the terms that one outcome's blocks move; ``inferiority_ratios`` is () before the first.

    ``inferiority``, ``non_inferiority`` and ``step_non_inferiority`` are what the three amount to: read at
    every evaluation, they change with a block.
    """

    inferiority_ratios: LogRatios = ()
    non_inferiority_ratios: LogRatios = _NO_RATIOS
    step_ratios: LogRatios = _NO_RATIOS
    inferiority: float = field(init=False, compare=False, repr=False)
    non_inferiority: float = field(init=False, compare=False, repr=False)
    step_non_inferiority: float = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        begun = log_mix(self.inferiority_ratios, FACTOR_WEIGHTS) if self.inferiority_ratios else -inf
        object.__setattr__(self, "inferiority", begun)
        object.__setattr__(self, "non_inferiority", log_mix(self.non_inferiority_ratios, NON_INFERIORITY_WEIGHTS))
        object.__setattr__(self, "step_non_inferiority", log_mix(self.step_ratios, NON_INFERIORITY_WEIGHTS))

    def to_list(self) -> list[str]:
        return [pack_floats(each) for each in (self.inferiority_ratios, self.non_inferiority_ratios, self.step_ratios)]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The state of one metric's comparison.

    ``step`` and ``total`` are the requests that were compared, in this step at its present split and in all
    (``Counts.outcome(i)`` gives n_c, e_c, n_s, e_s); dropped ones are in neither. ``bounds`` are the frozen
    latency bounds in seconds, one outcome each; empty for failed requests, or while stable has completed too
    few. ``blocks`` and ``samples`` are the tests that have begun with blocks and with evaluations. ``recent`` and
    ``step_seconds``, how long ``step`` was counted, are for users alone; a record without it gives None.
    """

    block_counter: BlockCounter = _EMPTY_COUNTER
    outcomes: tuple[OutcomeEvidence, ...] = ()
    step: Counts = _NO_COUNTS
    total: Counts = _NO_COUNTS
    bounds: tuple[float, ...] = ()
    blocks: StartWeights = _NO_STARTS
    samples: StartWeights = _NO_STARTS
    fast_path: FastPath | None = None
    limit_ratios: LogRatios | None = None
    history: StableHistory = _NO_HISTORY
    recent: RecentCounts = _NO_RECENT
    step_seconds: float | None = 0.0

    @property
    def evidence(self) -> float:
        """log E that the candidate is worse than tolerable; at most a limit's own, where one is given."""
        if not self.outcomes:
            return 0.0
        log_unused = log(self._unused(self.blocks))
        slow_path = [log_add(outcome.inferiority, log_unused) for outcome in self.outcomes]
        if self.fast_path is None:
            return log_mean(slow_path)
        both = log_mix((*slow_path, self.fast_path.evidence(self._unused(self.samples))), PATH_WEIGHTS)
        return both if self.beyond_limit is None else min(both, self.beyond_limit)

    @property
    def beyond_limit(self) -> float | None:
        """log E that the candidate is beyond the absolute limit; None where none is given.

        It may be the fault of what both revisions depend on: alone it is a reason to pause.
        """
        if self.limit_ratios is None:
            return None
        unused_weight = self._unused(self.samples)
        return log_mix(self.limit_ratios, FACTOR_WEIGHTS, unused_weight) if self.limit_ratios else log(unused_weight)

    @property
    def non_inferiority(self) -> float:
        """log E that the candidate is *not* worse than tolerable, in the outcome where that is least."""
        return min([outcome.non_inferiority for outcome in self.outcomes], default=0.0)

    @property
    def step_non_inferiority(self) -> float:
        """The same over the present step alone."""
        return min([outcome.step_non_inferiority for outcome in self.outcomes], default=0.0)

    def passing_evidence(self, *, last_gate: bool) -> tuple[float, float]:
        """log E that the candidate is not worse, over the rollout and over the step, as the end of a step needs it.

        Before all the traffic every outcome counts. At earlier steps their mean is enough: a candidate that is beyond
        the margin in all of them passes with the stated chance at most; the other bets look for one that is in some.
        """
        if last_gate or not self.outcomes:
            return self.non_inferiority, self.step_non_inferiority
        return (
            log_mean([outcome.non_inferiority for outcome in self.outcomes]),
            log_mean([outcome.step_non_inferiority for outcome in self.outcomes]),
        )

    def _unused(self, starts: StartWeights) -> float:
        return starts.unused(self.block_counter.started, self.block_counter.steps)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value."""
        raw: dict[str, Any] = {
            "counter": self.block_counter.to_list(),
            "outcomes": [outcome.to_list() for outcome in self.outcomes],
            "step": self.step.pack(),
            "total": self.total.pack(),
            "blocks": self.blocks.to_list(),
            "samples": self.samples.to_list(),
            "history": pack_floats(self.history.to_list()),
        }
        if self.bounds:
            raw["bounds"] = list(self.bounds)
        if self.fast_path is not None:
            raw["fast"] = self.fast_path.to_list()
        if self.limit_ratios is not None:
            raw["limit"] = pack_floats(self.limit_ratios)
        if self.recent.seconds:
            raw["recent"] = self.recent.to_list()
        if self.step_seconds is not None:
            raw["stepSeconds"] = self.step_seconds
        return raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Comparison:
        return cls(
            block_counter=BlockCounter.from_list(raw["counter"]),
            outcomes=tuple(OutcomeEvidence(*map(unpack_floats, each)) for each in raw["outcomes"]),
            step=Counts.unpack(raw["step"]),
            total=Counts.unpack(raw["total"]),
            bounds=tuple(raw.get("bounds", ())),
            blocks=StartWeights(*raw["blocks"]),
            samples=StartWeights(*raw["samples"]),
            fast_path=FastPath.from_list(raw["fast"]) if "fast" in raw else None,
            limit_ratios=unpack_floats(raw["limit"]) if "limit" in raw else None,
            history=StableHistory.from_list(unpack_floats(raw["history"])),
            recent=RecentCounts.from_list(raw["recent"]) if "recent" in raw else _NO_RECENT,
            step_seconds=raw.get("stepSeconds"),
        )


def new_comparison() -> Comparison:
    """Nothing is known. Begin once per rollout: evidence and promise cover all of its steps."""
    return Comparison()


def update_comparison(
    state: Comparison,
    parameters: ComparisonParameters,
    counters: RequestCounters | None,
    *,
    step: int,
    steps: int,
    weight: int,
    slo: float | None = None,
    warming: bool = False,
    outage: bool = False,
    dropped_seconds: float = 0.0,
) -> Comparison:
    """The state after one evaluation.

    ``counters`` is what the measurement carries; None (no answer) changes nothing but remembers a change of
    split. ``step`` is the index of the policy's step (-1 before the first: a baseline only) and ``steps`` their
    number; ``weight`` is the percent of the traffic that the candidate has *in effect*. While ``warming`` the
    counts are a baseline only: call it at the evaluations of a warm-up too, or the block that is dropped after
    a change of split begins after it. ``slo`` is the largest fraction of failed requests that is acceptable at
    all (0.01, not 1 %; not for latency): then the evidence needs both, worse than stable and beyond it.
    ``outage``: stable itself is in an outage in the block that ends now, which then shows neither that the
    candidate is fine nor what stable usually does. ``dropped_seconds`` is how many seconds are dropped after a change
    of split, if more than a block.
    """
    state = _with_bounds(state, parameters, counters)
    ready = bool(state.bounds) or not parameters.latency
    block_counter, block_update = add_sample(
        state.block_counter,
        parameters,
        counters if ready else None,
        step=step,
        steps=steps,
        weight=weight,
        warming=warming or step < 0,
        bounds=state.bounds,
        dropped_seconds=dropped_seconds,
    )
    if block_update.before is not None:
        before_weight, seconds = block_update.before_weight, block_update.before_seconds
        state = _with_block(state, parameters, block_update.before, seconds, before_weight, slo, outage)
    state = _in_step(state, parameters, block_counter, block_update.added_weight, slo, ready)
    if block_update.sample is not None:
        state = _with_sample(state, parameters, block_update, weight, slo)
    if block_update.block is not None:
        state = _with_block(state, parameters, block_update.block, block_update.block_seconds, weight, slo, outage)
    return state


def evidence_within_block(state: Comparison, parameters: ComparisonParameters, slo: float | None = None) -> float:
    """log E when the counts that it waits for may take evidence away, and add none.

    ``Comparison.evidence`` leaves out the open block, and the fast path the last evaluation. Both are known already, so
    a rollback that is decided without them is no stopping time of those processes, and Ville's inequality does not
    cover their mean. With min(L, 1) for what is left out, this is at most an e-process that has seen everything.
    """
    if not state.outcomes:
        return 0.0
    counter = state.block_counter
    log_unused = log(state._unused(state.blocks))
    slow_path = [log_add(outcome.inferiority, log_unused) for outcome in state.outcomes]
    if counter.samples:
        ratios = _inferiority(state, parameters, counter.block, counter.weight, slo)
        slow_path = [
            _mix_without_gains(outcome.inferiority_ratios, state.blocks, counter, more)
            for outcome, more in zip(state.outcomes, ratios, strict=True)
        ]
    fast_path = state.fast_path
    if fast_path is None:
        return log_mean(slow_path)
    fast = fast_path.evidence(state._unused(state.samples))
    if fast_path.candidate is not None and counter.weight < FULL_WEIGHT:
        (n_c, e_c), (n_s, e_s) = fast_path.candidate, fast_path.stable[-1]
        more = inferiority_ratios(n_c, n_s, [(e_c, e_s)], parameters.fail_margin)[0]
        fast = min(fast, _mix_without_gains(fast_path.ratios, state.samples, counter, more))
    both = log_mix((*slow_path, fast), PATH_WEIGHTS)
    return both if state.beyond_limit is None else min(both, state.beyond_limit)


def _mix_without_gains(logs: LogRatios, starts: StartWeights, counter: BlockCounter, more: LogRatios) -> float:
    """The mixture with the test that begins with ``more``, where no ratio of it adds evidence."""
    following, log_weight = starts.next(counter.steps)
    begun = begin_test(logs, log_weight, _FACTORS)
    taken = [each + min(ratio, 0.0) for each, ratio in zip(begun, more, strict=True)]
    return log_mix(taken, FACTOR_WEIGHTS, following.unused(counter.started, counter.steps))


def _with_bounds(state: Comparison, parameters: ComparisonParameters, counters: RequestCounters | None) -> Comparison:
    """Bounds chosen once, from stable alone, before any count that is compared: counting begins here."""
    if not parameters.latency or state.bounds or counters is None or not counters.exact:
        return state
    stable = counters.stable
    if stable.requests < _MIN_REQUESTS_FOR_BOUNDS or len(stable.bucket_counts) != len(counters.bounds):
        return state
    chosen = (
        next(
            (
                b
                for b, bucket_counts in zip(counters.bounds, stable.bucket_counts, strict=True)
                if bucket_counts >= q * stable.requests
            ),
            None,
        )
        for q in _QUANTILES
    )
    # A stable so slow, or failing so often, that no bound holds half of it: the widest is what there is.
    bounds = tuple(sorted({each for each in chosen if each is not None})) or counters.bounds[-1:]
    return replace(state, bounds=bounds)


def _in_step(
    state: Comparison,
    parameters: ComparisonParameters,
    block_counter: BlockCounter,
    added_weight: float,
    slo: float | None,
    ready: bool,
) -> Comparison:
    """The state in the step and split of this evaluation: what was shown in another one is not shown in this."""
    step, outcomes, fast_path, limit_ratios = state.step, state.outcomes, state.fast_path, state.limit_ratios
    step_seconds = state.step_seconds
    if (block_counter.step, block_counter.weight) != (state.block_counter.step, state.block_counter.weight):
        step, step_seconds = _NO_COUNTS, 0.0
        outcomes = tuple([OutcomeEvidence(each.inferiority_ratios, each.non_inferiority_ratios) for each in outcomes])
        fast_path = fast_path.without_previous() if fast_path is not None else None
    if not outcomes and ready and block_counter.started:
        outcomes = (OutcomeEvidence(),) * max(len(state.bounds), 1)
        if not parameters.latency:
            fast_path = NO_FAST_PATH
            limit_ratios = () if slo is not None else None
    # Not replace(): this is done for every rollout and metric at every evaluation.
    return Comparison(
        block_counter,
        outcomes,
        step,
        state.total,
        state.bounds,
        state.blocks.with_step(added_weight),
        state.samples.with_step(added_weight),
        fast_path,
        limit_ratios,
        state.history,
        state.recent,
        step_seconds,
    )


def _with_sample(
    state: Comparison, parameters: ComparisonParameters, block_update: BlockUpdate, weight: int, slo: float | None
) -> Comparison:
    """The processes that take every evaluation as it comes.

    Counts that a side made while it was silent are left to the blocks: they are from a longer time, of which
    the pods that are gone took their part along.
    """
    sample = block_update.sample if block_update.sample is not None else _NO_COUNTS
    samples, fast_path, limit_ratios = state.samples, state.fast_path, state.limit_ratios
    if fast_path is not None:
        samples, log_weight = samples.next(state.block_counter.steps)
        fast_path = _with_fast_sample(state, fast_path, parameters, sample, weight, slo, log_weight)
        if block_update.after_silence and state.fast_path is not None:
            samples, fast_path = state.samples, state.fast_path.without_previous()
        elif limit_ratios is not None:
            more = above_limit_ratios(sample.candidate, sample.bad[0][0], slo or 0.0)
            limit_ratios = multiply(begin_test(limit_ratios, log_weight, _FACTORS), more)
    seen = sample if weight < FULL_WEIGHT else _candidate_only(sample)
    return Comparison(
        state.block_counter,
        state.outcomes,
        state.step + seen,
        state.total + seen,
        state.bounds,
        state.blocks,
        samples,
        fast_path,
        limit_ratios,
        state.history,
        state.recent,
        state.step_seconds + block_update.sample_seconds if state.step_seconds is not None else None,
    )


def _with_fast_sample(
    state: Comparison,
    fast_path: FastPath,
    parameters: ComparisonParameters,
    sample: Counts,
    weight: int,
    slo: float | None,
    log_weight: float,
) -> FastPath:
    n_c, e_c, n_s, e_s = sample.outcome(0)
    ratios = begin_test(fast_path.ratios, log_weight, _FACTORS)
    if weight >= FULL_WEIGHT:
        ratios = multiply(ratios, _inferiority(state, parameters, sample, weight, slo)[0])
    elif fast_path.candidate is not None:
        ratios = multiply(ratios, smallest_ratios(fast_path, parameters, (n_s, e_s)))
    gross = tuple(
        [
            min(max(a, 0.0) + min(b, GROSS_LOG_CAP), 2.0 * GROSS_LOG_CAP)
            for a, b in zip(fast_path.gross or NO_GROSS, gross_failure_ratios(n_c, e_c), strict=True)
        ]
    )
    return FastPath(ratios, gross, (n_c, e_c), (*fast_path.stable[-1:], (n_s, e_s)))


def _with_block(
    state: Comparison,
    parameters: ComparisonParameters,
    block: Counts,
    seconds: float,
    weight: int,
    slo: float | None,
    outage: bool,
) -> Comparison:
    """The processes that take blocks, each limited: a burst is one block, however many requests it hits."""
    log_cap = inf if parameters.cap is None else log(parameters.cap)
    inferiority = _inferiority(state, parameters, block, weight, slo)
    blocks, log_weight = state.blocks.next(state.block_counter.steps)
    shows_more = weight < FULL_WEIGHT and not outage
    passing = [_NO_RATIOS] * len(state.outcomes)
    if shows_more:
        passing = non_inferiority_ratios(block.candidate, block.stable, block.bad, parameters.pass_margin)
    outcomes = tuple(
        [
            OutcomeEvidence(
                multiply(begin_test(outcome.inferiority_ratios, log_weight, _FACTORS), inferiority[index], log_cap),
                multiply(outcome.non_inferiority_ratios, passing[index], log_cap)
                if shows_more
                else outcome.non_inferiority_ratios,
                multiply(outcome.step_ratios, passing[index], log_cap) if shows_more else outcome.step_ratios,
            )
            for index, outcome in enumerate(state.outcomes)
        ]
    )
    return Comparison(
        state.block_counter,
        outcomes,
        state.step,
        state.total,
        state.bounds,
        blocks,
        state.samples,
        state.fast_path,
        state.limit_ratios,
        state.history.add(block, parameters.block) if shows_more else state.history,
        state.recent.add(block if weight < FULL_WEIGHT else _candidate_only(block), seconds),
        state.step_seconds,
    )


def _inferiority(
    state: Comparison, parameters: ComparisonParameters, counts: Counts, weight: int, slo: float | None
) -> list[LogRatios]:
    """Against stable at the same time or, once that has no traffic, against what it did lately."""
    if weight < FULL_WEIGHT:
        return inferiority_ratios(counts.candidate, counts.stable, counts.bad, parameters.fail_margin)
    odds = []
    for index, (e_c, _) in enumerate(counts.bad):
        limit = parameters.fail_margin.ratio * state.history.upper_rate(index) + parameters.fail_margin.slack
        odds.append(above_limit_ratios(counts.candidate, e_c, max(limit, slo or 0.0)))
    return odds


def _candidate_only(counts: Counts) -> Counts:
    """Stragglers of stable at 100 % are left out of what is shown."""
    return Counts(counts.candidate, 0, tuple((c, 0) for c, _ in counts.bad))
