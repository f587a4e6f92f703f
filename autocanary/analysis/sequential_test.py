"""One metric of the candidate held against the same metric of stable, over a whole rollout.

``looked`` is one look and ``Comparison`` all that must survive a restart. Per lane (failed requests, or
requests slower than one frozen bound) there are up to four e-processes, kept as the logarithms of their
terms:

- ``worse``: the candidate is worse than tolerable. One product per factor, of blocks, each capped. At each
  step another test begins with the stake of that step, so that harm with a late onset is not weighed
  against hours of health: ``M`` grows to ``M * L`` with a block and to ``M + stake`` with a step, and the
  evidence is the mean of M over the factors plus the stake of the steps to come (1 at the beginning).
- ``sudden``: the same for every look and without a cap, believed only when most requests fail.
- ``fine``: the candidate is not worse. Over the whole rollout.
- ``beyond``: the candidate alone is beyond an absolute limit.

With all traffic on the candidate there is nothing to hold it against at the same time: then the limit is
what stable was seen to do before, read pessimistically.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf, log
from typing import Any

from autocanary.analysis.count_blocks import Intake, Tally, take
from autocanary.analysis.e_values import (
    PATHS,
    Logs,
    above,
    gross,
    log_add,
    log_mean,
    log_mix,
    not_worse,
    times,
    wilson,
    worse,
)
from autocanary.analysis.parameters import CAUTIOUS_FACTORS, FACTOR_WEIGHTS, FACTORS, Terms
from autocanary.model.measurement import Counters

__all__ = ["Comparison", "begin", "looked"]

_QUANTILES = (0.5, 0.75, 0.9, 0.97, 0.995)
"""Where on stable's distribution slow begins, in turn."""

_ENOUGH_FOR_BOUNDS = 100
"""Requests of stable from which on its distribution is believed."""

_ALL = 100
_NOT_YET = Intake()
_NONE = Tally()


@dataclass(frozen=True, slots=True)
class Lane:
    """The logarithms of the terms that one lane's blocks move.

    ``against`` and ``cleared`` are what ``worse`` and ``fine`` amount to: asked for at every look, they
    change with a block.
    """

    worse: Logs
    fine: Logs
    against: float = field(init=False, compare=False, repr=False)
    cleared: float = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "against", log_mix(self.worse, FACTOR_WEIGHTS))
        object.__setattr__(self, "cleared", log_mean(self.fine))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The state of one metric's comparison.

    ``step`` and ``total`` are the requests that were compared, in this step at its present split and in all
    (``Tally.lane(i)`` gives n_c, e_c, n_s, e_s); dropped ones are in neither. ``bounds`` are the frozen
    latency bounds in seconds, one lane each; empty for failed requests, or while stable has completed too
    few. ``sudden`` and ``alone`` are the logarithms that every look at failed requests moves; empty where
    they are not kept.
    """

    intake: Intake = _NOT_YET
    lanes: tuple[Lane, ...] = ()
    step: Tally = _NONE
    total: Tally = _NONE
    bounds: tuple[float, ...] = ()
    sudden: Logs = ()
    alone: Logs = ()

    @property
    def evidence(self) -> float:
        """log E that the candidate is worse than tolerable; at most a limit's own, where one is given."""
        if not self.lanes:
            return 0.0
        idle = self.intake.idle
        slow_path = [_mixed(lane.against, idle) for lane in self.lanes]
        if not self.sudden:
            return log_mean(slow_path)
        n_c, e_c, _, _ = self.step.lane(0)
        # The smaller of an e-process and anything is below an e-process: `gross` only says when to believe.
        fast_path = min(log_mean(gross(n_c, e_c)), log_mix(self.sudden, FACTOR_WEIGHTS, idle))
        both = log_mix((*slow_path, fast_path), PATHS)
        return both if self.beyond is None else min(both, self.beyond)

    @property
    def beyond(self) -> float | None:
        """log E that the candidate is beyond the absolute limit; None where none is given.

        It may be the fault of what both revisions depend on: alone it is a reason to pause.
        """
        return log_mix(self.alone, FACTOR_WEIGHTS, self.intake.idle) if self.alone else None

    @property
    def non_inferiority(self) -> float:
        """log E that the candidate is *not* worse than tolerable, in the lane that says so least."""
        return min([lane.cleared for lane in self.lanes], default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value."""
        raw: dict[str, Any] = {
            "intake": self.intake.to_list(),
            "lanes": [
                [list(lane.worse), list(lane.fine), list(self.sudden), list(self.alone)]
                for lane in self.lanes
            ],
            "step": self.step.to_list(),
            "total": self.total.to_list(),
        }
        if self.bounds:
            raw["bounds"] = list(self.bounds)
        return raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Comparison:
        lanes = [[tuple(logs) for logs in lane] for lane in raw["lanes"]]
        sudden, alone = lanes[0][2:] if lanes else ((), ())
        return cls(
            intake=Intake.from_list(raw["intake"]),
            lanes=tuple(Lane(worse, fine) for worse, fine, _, _ in lanes),
            step=Tally.from_list(raw["step"]),
            total=Tally.from_list(raw["total"]),
            bounds=tuple(raw.get("bounds", ())),
            sudden=sudden,
            alone=alone,
        )


def begin() -> Comparison:
    """Nothing is known. Begin once per rollout: evidence and promise cover all of its steps."""
    return Comparison()


def looked(
    state: Comparison,
    terms: Terms,
    counters: Counters | None,
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
    state = _with_bounds(state, terms, counters)
    ready = bool(state.bounds) or not terms.latency
    intake, taken = take(
        state.intake,
        terms,
        counters if ready else None,
        step=step,
        steps=steps,
        weight=weight,
        warming=warming or step < 0,
        bounds=state.bounds,
    )
    if taken.before is not None:
        state = _with_block(state, terms, taken.before, taken.before_weight, slo)
    counted = state.step if (step, weight) == (state.intake.step, state.intake.weight) else _NONE
    state = Comparison(intake, state.lanes, counted, state.total, state.bounds, state.sudden, state.alone)
    if ready and intake.started:
        state = _with_stakes(state, terms, taken.begun, slo)
    if taken.look is not None:
        state = _with_look(state, terms, taken.look, weight, slo)
    if taken.block is not None:
        state = _with_block(state, terms, taken.block, weight, slo)
    return state


def _with_bounds(state: Comparison, terms: Terms, counters: Counters | None) -> Comparison:
    """Bounds chosen once, from stable alone, before any count that is compared: counting begins here."""
    if not terms.latency or state.bounds or counters is None or not counters.exact:
        return state
    stable = counters.stable
    if stable.requests < _ENOUGH_FOR_BOUNDS or len(stable.within) != len(counters.bounds):
        return state
    chosen = (
        next(
            (
                b
                for b, within in zip(counters.bounds, stable.within, strict=True)
                if within >= q * stable.requests
            ),
            None,
        )
        for q in _QUANTILES
    )
    # A stable so slow, or failing so often, that no bound holds half of it: the widest is what there is.
    bounds = tuple(sorted({each for each in chosen if each is not None})) or counters.bounds[-1:]
    return replace(state, bounds=bounds)


def _with_stakes(state: Comparison, terms: Terms, begun: float, slo: float | None) -> Comparison:
    """A new test for the steps that begin; for all that have begun when this is the first look."""
    if state.lanes:
        if begun <= 0.0:
            return state
        stake = log(begun)
        return replace(
            state,
            lanes=tuple(Lane(_staked(lane.worse, stake), lane.fine) for lane in state.lanes),
            sudden=_staked(state.sudden, stake),
            alone=_staked(state.alone, stake),
        )
    stakes = (log(1.0 - state.intake.idle),) * len(FACTORS)
    return replace(
        state,
        lanes=(Lane(stakes, (0.0,) * len(CAUTIOUS_FACTORS)),) * max(len(state.bounds), 1),
        sudden=() if terms.latency else stakes,
        alone=() if terms.latency or slo is None else stakes,
    )


def _staked(logs: Logs, stake: float) -> Logs:
    return tuple(log_add(each, stake) for each in logs)


def _with_look(state: Comparison, terms: Terms, look: Tally, weight: int, slo: float | None) -> Comparison:
    """The processes that take every look as it comes."""
    sudden, alone = state.sudden, state.alone
    if sudden:
        sudden = times(sudden, _odds(state, terms, look, weight, slo)[0])
    if alone:
        alone = times(alone, above(look.candidate, look.bad[0][0], slo or 0.0))
    seen = look if weight < _ALL else _without_stable(look)
    step, total = state.step + seen, state.total + seen
    return Comparison(state.intake, state.lanes, step, total, state.bounds, sudden, alone)


def _with_block(state: Comparison, terms: Terms, block: Tally, weight: int, slo: float | None) -> Comparison:
    """The processes that take blocks, each limited: a burst is one block, however many requests it hits."""
    most = inf if terms.cap is None else log(terms.cap)
    against = _odds(state, terms, block, weight, slo)
    fine: list[Logs] | None = None
    if weight < _ALL:
        fine = not_worse(block.candidate, block.stable, block.bad, terms.pass_)
    lanes = tuple(
        Lane(
            times(lane.worse, against[index], most),
            lane.fine if fine is None else times(lane.fine, fine[index], most),
        )
        for index, lane in enumerate(state.lanes)
    )
    return Comparison(state.intake, lanes, state.step, state.total, state.bounds, state.sudden, state.alone)


def _mixed(against: float, idle: float) -> float:
    """With the stake of the steps to come, which says nothing yet."""
    return log_add(against, log(idle)) if idle > 0.0 else against


def _odds(state: Comparison, terms: Terms, counts: Tally, weight: int, slo: float | None) -> list[Logs]:
    """Against stable at the same time or, once that has no traffic, against what it was seen to do."""
    if weight < _ALL:
        return worse(counts.candidate, counts.stable, counts.bad, terms.fail)
    odds = []
    for index, (e_c, _) in enumerate(counts.bad):
        _, _, before, bad = state.total.lane(index)
        # One-sided 95 %: stable's rate is only known as well as it was measured.
        control = terms.fail.ratio * wilson(bad, before, 0.90)[1] + terms.fail.slack
        odds.append(above(counts.candidate, e_c, max(control, slo or 0.0)))
    return odds


def _without_stable(counts: Tally) -> Tally:
    """Stragglers of stable at 100 % are left out, so that what it was seen to do stands still."""
    return Tally(counts.candidate, 0, tuple((c, 0) for c, _ in counts.bad))
