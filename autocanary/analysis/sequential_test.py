"""One metric of the candidate held against the same metric of stable, over a whole rollout.

``update_comparison`` is one look and ``Comparison`` all that must survive a restart. Per lane (failed
requests, or requests slower than one frozen bound) there are up to four e-processes, kept as the logarithms
of their terms:

- ``inferiority_ratios``: the candidate is worse than tolerable. One product per factor, of blocks, each
capped. At each
  step another test begins with the stake of that step, so that harm with a late onset is not weighed
  against hours of health: ``M`` grows to ``M * L`` with a block and to ``M + stake`` with a step, and the
  evidence is the mean of M over the factors plus the stake of the steps to come (1 at the beginning).
- ``uncapped_ratios``: the same for every look and without a cap, believed only when most requests fail.
- ``passing_ratios``: the candidate is not worse. Over the whole rollout.
- ``beyond_limit``: the candidate alone is beyond an absolute limit.

With all traffic on the candidate there is nothing to hold it against at the same time: then the limit is
what stable was seen to do before, read pessimistically.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf, log
from typing import Any

from autocanary.analysis.count_blocks import BlockCounter, BlockUpdate, Counts, add_sample
from autocanary.analysis.e_values import (
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
    wilson_interval,
)
from autocanary.analysis.parameters import (
    FACTOR_WEIGHTS,
    INFERIORITY_FACTORS,
    NON_INFERIORITY_FACTORS,
    ComparisonParameters,
)
from autocanary.model.measurement import RequestCounters

__all__ = ["Comparison", "new_comparison", "update_comparison"]

_QUANTILES = (0.5, 0.75, 0.9, 0.97, 0.995)
"""Where on stable's distribution slow begins, in turn."""

_MIN_REQUESTS_FOR_BOUNDS = 100
"""Requests of stable from which on its distribution is believed."""

_FULL_WEIGHT = 100
_EMPTY_COUNTER = BlockCounter()
_NO_COUNTS = Counts()


@dataclass(frozen=True, slots=True)
class OutcomeEvidence:
    """The logarithms of the terms that one lane's blocks move.

    ``inferiority`` and ``non_inferiority`` are what ``inferiority_ratios`` and ``passing_ratios`` amount to:
    asked for at every look, they change with a block.
    """

    inferiority_ratios: LogRatios
    passing_ratios: LogRatios
    inferiority: float = field(init=False, compare=False, repr=False)
    non_inferiority: float = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inferiority", log_mix(self.inferiority_ratios, FACTOR_WEIGHTS))
        object.__setattr__(self, "non_inferiority", log_mean(self.passing_ratios))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The state of one metric's comparison.

    ``step`` and ``total`` are the requests that were compared, in this step at its present split and in all
    (``Tally.lane(i)`` gives n_c, e_c, n_s, e_s); dropped ones are in neither. ``bounds`` are the frozen
    latency bounds in seconds, one lane each; empty for failed requests, or while stable has completed too
    few. ``uncapped_ratios`` and ``limit_ratios`` are the logarithms that every look at failed requests moves;
    empty where they are not kept.
    """

    block_counter: BlockCounter = _EMPTY_COUNTER
    outcomes: tuple[OutcomeEvidence, ...] = ()
    step: Counts = _NO_COUNTS
    total: Counts = _NO_COUNTS
    bounds: tuple[float, ...] = ()
    uncapped_ratios: LogRatios = ()
    limit_ratios: LogRatios = ()

    @property
    def evidence(self) -> float:
        """log E that the candidate is worse than tolerable; at most a limit's own, where one is given."""
        if not self.outcomes:
            return 0.0
        unused_weight = self.block_counter.unused_weight
        slow_path = [_mix_unused(outcome.inferiority, unused_weight) for outcome in self.outcomes]
        if not self.uncapped_ratios:
            return log_mean(slow_path)
        n_c, e_c, _, _ = self.step.outcome(0)
        # The smaller of an e-process and anything is below an e-process: `gross` only says when to believe.
        fast_path = min(
            log_mean(gross_failure_ratios(n_c, e_c)),
            log_mix(self.uncapped_ratios, FACTOR_WEIGHTS, unused_weight),
        )
        both = log_mix((*slow_path, fast_path), PATH_WEIGHTS)
        return both if self.beyond_limit is None else min(both, self.beyond_limit)

    @property
    def beyond_limit(self) -> float | None:
        """log E that the candidate is beyond the absolute limit; None where none is given.

        It may be the fault of what both revisions depend on: alone it is a reason to pause.
        """
        return (
            log_mix(self.limit_ratios, FACTOR_WEIGHTS, self.block_counter.unused_weight) if self.limit_ratios else None
        )

    @property
    def non_inferiority(self) -> float:
        """log E that the candidate is *not* worse than tolerable, in the lane that says so least."""
        return min([outcome.non_inferiority for outcome in self.outcomes], default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value."""
        raw: dict[str, Any] = {
            "intake": self.block_counter.to_list(),
            "lanes": [
                [
                    list(outcome.inferiority_ratios),
                    list(outcome.passing_ratios),
                    list(self.uncapped_ratios),
                    list(self.limit_ratios),
                ]
                for outcome in self.outcomes
            ],
            "step": self.step.to_list(),
            "total": self.total.to_list(),
        }
        if self.bounds:
            raw["bounds"] = list(self.bounds)
        return raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Comparison:
        outcomes = [[tuple(logs) for logs in outcome] for outcome in raw["lanes"]]
        uncapped_ratios, limit_ratios = outcomes[0][2:] if outcomes else ((), ())
        return cls(
            block_counter=BlockCounter.from_list(raw["intake"]),
            outcomes=tuple(
                OutcomeEvidence(inferiority_ratios, passing_ratios)
                for inferiority_ratios, passing_ratios, _, _ in outcomes
            ),
            step=Counts.from_list(raw["step"]),
            total=Counts.from_list(raw["total"]),
            bounds=tuple(raw.get("bounds", ())),
            uncapped_ratios=uncapped_ratios,
            limit_ratios=limit_ratios,
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
) -> Comparison:
    """The state after one look.

    ``counters`` is what the reading carries; None (no answer) changes nothing but remembers a change of
    split. ``step`` is the index of the policy's step (-1 before the
    first: a baseline only) and ``steps`` their number; ``weight`` is the percent
    of the traffic that the candidate has *in effect*. While ``warming`` the counts are a baseline only: call
    it at the looks of a warm-up too, or the block that is dropped after a change of split begins after it.
    ``slo`` is the largest fraction of failed requests that is acceptable at all (0.01, not 1 %; not for
    latency): then the evidence needs both, worse than stable and beyond it.
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
    )
    if block_update.before is not None:
        state = _with_block(state, parameters, block_update.before, block_update.before_weight, slo)
    counted = state.step if (step, weight) == (state.block_counter.step, state.block_counter.weight) else _NO_COUNTS
    state = Comparison(
        block_counter,
        state.outcomes,
        counted,
        state.total,
        state.bounds,
        state.uncapped_ratios,
        state.limit_ratios,
    )
    if ready and block_counter.started:
        state = _with_new_tests(state, parameters, block_update.added_weight, slo)
    if block_update.sample is not None:
        state = _with_sample(state, parameters, block_update, weight, slo)
    if block_update.block is not None:
        state = _with_block(state, parameters, block_update.block, weight, slo)
    return state


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


def _with_new_tests(
    state: Comparison, parameters: ComparisonParameters, added_weight: float, slo: float | None
) -> Comparison:
    """A new test for the steps that begin; for all that have begun when this is the first look."""
    if state.outcomes:
        if added_weight <= 0.0:
            return state
        mixture_weight = log(added_weight)
        return replace(
            state,
            outcomes=tuple(
                OutcomeEvidence(_add_weight(outcome.inferiority_ratios, mixture_weight), outcome.passing_ratios)
                for outcome in state.outcomes
            ),
            uncapped_ratios=_add_weight(state.uncapped_ratios, mixture_weight),
            limit_ratios=_add_weight(state.limit_ratios, mixture_weight),
        )
    mixture_weights = (log(1.0 - state.block_counter.unused_weight),) * len(INFERIORITY_FACTORS)
    return replace(
        state,
        outcomes=(OutcomeEvidence(mixture_weights, (0.0,) * len(NON_INFERIORITY_FACTORS)),) * max(len(state.bounds), 1),
        uncapped_ratios=() if parameters.latency else mixture_weights,
        limit_ratios=() if parameters.latency or slo is None else mixture_weights,
    )


def _add_weight(logs: LogRatios, mixture_weight: float) -> LogRatios:
    return tuple(log_add(each, mixture_weight) for each in logs)


def _with_sample(
    state: Comparison, parameters: ComparisonParameters, block_update: BlockUpdate, weight: int, slo: float | None
) -> Comparison:
    """The processes that take every evaluation as it comes.

    Counts that a side made while it was silent are left to the blocks: they are from a longer time, of which
    the pods that are gone took their part along.
    """
    sample = block_update.sample if block_update.sample is not None else _NO_COUNTS
    uncapped_ratios, limit_ratios = state.uncapped_ratios, state.limit_ratios
    if uncapped_ratios and not block_update.after_silence:
        uncapped_ratios = multiply(uncapped_ratios, _inferiority(state, parameters, sample, weight, slo)[0])
    if limit_ratios:
        limit_ratios = multiply(limit_ratios, above_limit_ratios(sample.candidate, sample.bad[0][0], slo or 0.0))
    seen = sample if weight < _FULL_WEIGHT else _candidate_only(sample)
    step, total = state.step + seen, state.total + seen
    return Comparison(state.block_counter, state.outcomes, step, total, state.bounds, uncapped_ratios, limit_ratios)


def _with_block(
    state: Comparison, parameters: ComparisonParameters, block: Counts, weight: int, slo: float | None
) -> Comparison:
    """The processes that take blocks, each limited: a burst is one block, however many requests it hits."""
    log_cap = inf if parameters.cap is None else log(parameters.cap)
    inferiority = _inferiority(state, parameters, block, weight, slo)
    passing_ratios: list[LogRatios] | None = None
    if weight < _FULL_WEIGHT:
        passing_ratios = non_inferiority_ratios(block.candidate, block.stable, block.bad, parameters.pass_margin)
    outcomes = tuple(
        OutcomeEvidence(
            multiply(outcome.inferiority_ratios, inferiority[index], log_cap),
            outcome.passing_ratios
            if passing_ratios is None
            else multiply(outcome.passing_ratios, passing_ratios[index], log_cap),
        )
        for index, outcome in enumerate(state.outcomes)
    )
    return Comparison(
        state.block_counter,
        outcomes,
        state.step,
        state.total,
        state.bounds,
        state.uncapped_ratios,
        state.limit_ratios,
    )


def _mix_unused(inferiority: float, unused_weight: float) -> float:
    """With the stake of the steps to come, which says nothing yet."""
    return log_add(inferiority, log(unused_weight)) if unused_weight > 0.0 else inferiority


def _inferiority(
    state: Comparison, parameters: ComparisonParameters, counts: Counts, weight: int, slo: float | None
) -> list[LogRatios]:
    """Against stable at the same time or, once that has no traffic, against what it was seen to do."""
    if weight < _FULL_WEIGHT:
        return inferiority_ratios(counts.candidate, counts.stable, counts.bad, parameters.fail_margin)
    odds = []
    for index, (e_c, _) in enumerate(counts.bad):
        _, _, before, bad = state.total.outcome(index)
        # One-sided 95 %: stable's rate is only known as well as it was measured.
        control = parameters.fail_margin.ratio * wilson_interval(bad, before, 0.90)[1] + parameters.fail_margin.slack
        odds.append(above_limit_ratios(counts.candidate, e_c, max(control, slo or 0.0)))
    return odds


def _candidate_only(counts: Counts) -> Counts:
    """Stragglers of stable at 100 % are left out, so that what it was seen to do stands still."""
    return Counts(counts.candidate, 0, tuple((c, 0) for c, _ in counts.bad))
