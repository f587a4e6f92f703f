"""The promise of the comparison, held by the real state machine: by adding up every outcome, and by force."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from math import comb, exp

import pytest

from autocanary.analysis.count_blocks import Counts
from autocanary.analysis.e_values import log_mix
from autocanary.analysis.parameters import FACTOR_WEIGHTS, ComparisonParameters, Margin
from autocanary.analysis.sequential_test import (
    Comparison,
    evidence_within_block,
    new_comparison,
    update_comparison,
)
from autocanary.analysis.stable_history import StableHistory
from autocanary.analysis.traffic_share import TrafficShare, update_share
from autocanary.model.measurement import RequestCounters, RequestTotals

ALMOST = 1.0 + 1e-9


@dataclass(frozen=True)
class PlannedSample:
    """One evaluation's truth: requests of both sides, stable's rate, and where the rollout is."""

    n_c: int
    n_s: int
    p_s: float
    step: int = 0
    weight: int = 20


def binomial(n: int, p: float) -> list[float]:
    return [comb(n, k) * p**k * (1.0 - p) ** (n - k) for k in range(n + 1)]


class ComparisonDriver:
    """A comparison fed with increments."""

    def __init__(self, terms: ComparisonParameters, steps: int, slo: float | None = None) -> None:
        self.terms, self.steps, self.slo = terms, steps, slo
        self.start = update_comparison(
            new_comparison(),
            terms,
            RequestCounters("one", 0.0, RequestTotals(), RequestTotals()),
            step=0,
            steps=steps,
            weight=20,
            slo=slo,
        )

    def on(self, state: Comparison, sample: PlannedSample, e_c: int, e_s: int, *, outage: bool = False) -> Comparison:
        n_c, o_c, n_s, o_s = state.block_counter.totals.outcome(0)
        counters = RequestCounters(
            "one",
            state.block_counter.at + 10.0,
            RequestTotals(float(n_c + sample.n_c), float(o_c + e_c)),
            RequestTotals(float(n_s + sample.n_s), float(o_s + e_s)),
        )
        after = update_comparison(
            state,
            self.terms,
            counters,
            step=sample.step,
            steps=self.steps,
            weight=sample.weight,
            slo=self.slo,
            outage=outage,
        )
        # What was counted before changes nothing that follows: without it, many paths are the same state.
        none = Counts(0, 0, ((0, 0),))
        return replace(
            after, block_counter=replace(after.block_counter, totals=none), total=none, history=StableHistory()
        )


def expected_at_stop(driver: ComparisonDriver, plan: list[PlannedSample], stop: float) -> tuple[float, float]:
    """E[E at the first evaluation with E >= stop, or at the end], and the chance that it ever is."""
    alive: dict[Comparison, float] = {driver.start: 1.0}
    total = crossed = 0.0
    for sample in plan:
        p_c = min(driver.terms.fail_margin.ratio * sample.p_s + driver.terms.fail_margin.slack, 1.0)
        of_c, of_s = binomial(sample.n_c, p_c), binomial(sample.n_s, sample.p_s)
        following: dict[Comparison, float] = {}
        for state, chance in alive.items():
            for e_c, e_s in product(range(sample.n_c + 1), range(sample.n_s + 1)):
                here = chance * of_c[e_c] * of_s[e_s]
                if here <= 0.0:
                    continue
                after = driver.on(state, sample, e_c, e_s)
                if exp(after.evidence) >= stop:
                    total += here * exp(after.evidence)
                    crossed += here
                else:
                    following[after] = following.get(after, 0.0) + here
        alive = following
    return total + sum(chance * exp(state.evidence) for state, chance in alive.items()), crossed


PLANS = {
    "one step": [PlannedSample(2, 2, 0.3), PlannedSample(1, 3, 0.05), PlannedSample(2, 2, 0.6)],
    "stable's rate jumps": [
        PlannedSample(1, 2, 0.0),
        PlannedSample(2, 1, 0.9),
        PlannedSample(1, 3, 0.01),
        PlannedSample(1, 2, 0.5),
    ],
    "load swings": [
        PlannedSample(1, 1, 0.5),
        PlannedSample(5, 6, 0.2),
        PlannedSample(0, 5, 0.5),
        PlannedSample(1, 1, 0.9),
    ],
    "two steps": [
        PlannedSample(2, 2, 0.4),
        PlannedSample(2, 3, 0.4, 1, 50),
        PlannedSample(2, 2, 0.2, 1, 50),
        PlannedSample(2, 1, 0.7, 1, 50),
    ],
    "three steps": [
        PlannedSample(2, 1, 0.4),
        PlannedSample(2, 2, 0.4, 1, 50),
        PlannedSample(1, 2, 0.4, 1, 50),
        PlannedSample(2, 1, 0.7, 1, 50),
        PlannedSample(1, 1, 0.4, 2, 80),
        PlannedSample(1, 1, 0.6, 2, 80),
    ],
    "a step is left out": [
        PlannedSample(1, 2, 0.4),
        PlannedSample(1, 1, 0.4, 2, 50),
        PlannedSample(1, 1, 0.2, 2, 50),
        PlannedSample(2, 2, 0.7, 2, 50),
    ],
    "split changes within a step": [
        PlannedSample(2, 2, 0.4),
        PlannedSample(1, 1, 0.4, 0, 60),
        PlannedSample(3, 1, 0.7, 0, 60),
    ],
}
TERMS = {
    "capped": ComparisonParameters(block=10.0, samples=1, cap=3.0, fail_margin=Margin(1.25, 0.01)),
    "tight cap": ComparisonParameters(block=10.0, samples=1, cap=1.2, fail_margin=Margin(1.0, 0.0)),
    "uncapped": ComparisonParameters(block=10.0, samples=1, cap=None, fail_margin=Margin(1.25, 0.0005)),
    "uncapped, no margin": ComparisonParameters(block=10.0, samples=1, cap=None, fail_margin=Margin(1.0, 0.0)),
    "blocks of two": ComparisonParameters(block=20.0, samples=2, cap=3.0, fail_margin=Margin(1.0, 0.02)),
}


@pytest.mark.parametrize("stop", [1.5, 1e9])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS.keys())
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_evidence_is_an_e_value_at_any_stopping_time(
    plan: list[PlannedSample], terms: ComparisonParameters, steps: int, stop: float
) -> None:
    """At the edge of the margin, through steps, caps, blocks and drops: E of the evidence is at most 1."""
    mean, crossed = expected_at_stop(ComparisonDriver(terms, steps), plan, stop)
    assert mean <= ALMOST
    assert crossed <= 1.0 / stop


def best_stop(driver: ComparisonDriver, plan: list[PlannedSample], evidence: Callable[[Comparison], float]) -> float:
    """The largest E[E] of all rules that say when to stop, however much they know: by induction from the end."""
    known: dict[tuple[Comparison, int], float] = {}

    def from_here(state: Comparison, index: int) -> float:
        here = exp(evidence(state))
        if index == len(plan):
            return here
        if (state, index) not in known:
            sample = plan[index]
            p_c = min(driver.terms.fail_margin.ratio * sample.p_s + driver.terms.fail_margin.slack, 1.0)
            of_c, of_s = binomial(sample.n_c, p_c), binomial(sample.n_s, sample.p_s)
            going_on = sum(
                of_c[e_c] * of_s[e_s] * from_here(driver.on(state, sample, e_c, e_s), index + 1)
                for e_c, e_s in product(range(sample.n_c + 1), range(sample.n_s + 1))
                if of_c[e_c] * of_s[e_s] > 0.0
            )
            known[state, index] = max(here, going_on)
        return known[state, index]

    return from_here(driver.start, 0)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS.keys())
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_what_rolls_back_is_an_e_value_for_the_best_stopping_rule(
    plan: list[PlannedSample], terms: ComparisonParameters, steps: int
) -> None:
    """Within a block and between the fast path's evaluations too, for a rule that knows all that was counted."""
    driver = ComparisonDriver(terms, steps)
    assert best_stop(driver, plan, lambda state: evidence_within_block(state, terms)) <= ALMOST


def test_evidence_that_leaves_out_the_open_block_is_none_for_the_best_stopping_rule() -> None:
    """So what rolls back must look at the open block, and the test above can fail."""
    terms = TERMS["blocks of two"]
    assert best_stop(ComparisonDriver(terms, 1), PLANS["one step"], lambda state: state.evidence) > 1.05
    assert best_stop(ComparisonDriver(TERMS["capped"], 1), PLANS["one step"], fast_ratios_evidence) > 1.05


def test_enumeration_detects_an_invalid_test() -> None:
    """Beyond the margin the mean is far above 1, so the plans above are not too short to show anything."""
    driver = ComparisonDriver(ComparisonParameters(block=10.0, samples=1, cap=None, fail_margin=Margin(1.0, 0.0)), 1)
    state = driver.start
    mean = 0.0
    of_c, of_s = binomial(6, 0.6), binomial(6, 0.1)
    for e_c, e_s in product(range(7), range(7)):
        mean += of_c[e_c] * of_s[e_s] * exp(driver.on(state, PlannedSample(6, 6, 0.1), e_c, e_s).evidence)
    assert mean > 2.0


def test_limit_never_adds_evidence() -> None:
    """With an absolute limit the evidence is at most what it is without."""
    terms = TERMS["capped"]
    with_limit, without = ComparisonDriver(terms, 2, slo=0.2), ComparisonDriver(terms, 2)
    one, other = with_limit.start, without.start
    rng = random.Random(3)
    for tick in range(60):
        sample = PlannedSample(9, 20, 0.1, step=tick // 30)
        e_c, e_s = rng.randint(0, 9), rng.randint(0, 4)
        one, other = with_limit.on(one, sample, e_c, e_s), without.on(other, sample, e_c, e_s)
        assert one.evidence <= other.evidence
    assert one.beyond_limit is not None
    assert one.beyond_limit > 3.0
    assert other.beyond_limit is None


def adversary(seed: int, terms: ComparisonParameters) -> tuple[float, float]:
    """The highest evidence of a healthy rollout and its shares, in a world that changes against it."""
    rng = random.Random(seed)
    counts = [0.0] * 4
    p_s, load = 0.01, 20
    state, share, highest, least = new_comparison(), TrafficShare(), 0.0, 0.0
    weight = step = 0
    for tick in range(160):
        if tick % 40 == 0:
            step, weight = tick // 40, rng.choice([5, 10, 30, 60])
        elif rng.random() < 0.01:
            weight = rng.choice([5, 10, 30, 60])
        if tick % rng.choice([5, 9, 20]) == 0:
            p_s = rng.choice([0.0, 0.001, 0.01, 0.05, 0.3, 0.9])
            load = rng.choice([2, 20, 200])
        # An opponent who knows the evidence changes the world when it stands high.
        if state.evidence > 1.0:
            p_s, load = rng.choice([(0.9, 2), (0.002, 200), (0.3, 20)])
        n = rng.randint(load // 2, load)
        n_c = sum(rng.random() < weight / 100.0 for _ in range(n))
        p_c = min(terms.fail_margin.ratio * p_s + terms.fail_margin.slack, 1.0)
        more = (
            n_c,
            sum(rng.random() < p_c for _ in range(n_c)),
            n - n_c,
            sum(rng.random() < p_s for _ in range(n - n_c)),
        )
        counts = [have + new for have, new in zip(counts, more, strict=True)]
        counters = RequestCounters(
            "one", tick * 10.0, RequestTotals(counts[0], counts[1]), RequestTotals(counts[2], counts[3])
        )
        at = {"step": step, "steps": 4, "weight": weight}
        state = update_comparison(state, terms, counters, **at)  # type: ignore[arg-type]
        share, _ = update_share(share, terms, counters, **at)  # type: ignore[arg-type]
        highest, least = max(highest, state.evidence), max(least, share.evidence)
    return highest, least


def test_false_rollbacks_stay_under_alpha_for_an_adversary() -> None:
    """Stable's rate jumps, the load swings a hundredfold and the split changes, at the edge of the margin."""
    terms = ComparisonParameters(alpha=0.2, block=10.0, samples=1, cap=None, fail_margin=Margin(1.25, 0.01))
    counters = [adversary(seed, terms) for seed in range(60)]
    # At alpha 0.2 more than 22 of 60 has a probability of 8e-4.
    assert sum(evidence >= terms.bound for evidence, _ in counters) <= 22
    assert sum(share >= terms.bound for _, share in counters) <= 22
    assert max(evidence for evidence, _ in counters) > 0.5


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
@pytest.mark.parametrize("terms", [TERMS["capped"], TERMS["uncapped"], TERMS["blocks of two"]])
def test_fast_path_is_an_e_value(plan: list[PlannedSample], terms: ComparisonParameters) -> None:
    """Without the condition that most requests fail: the smallest of three alignments, over all start times."""
    driver = ComparisonDriver(terms, 3)
    alive: dict[Comparison, float] = {driver.start: 1.0}
    for sample in plan:
        p_c = min(terms.fail_margin.ratio * sample.p_s + terms.fail_margin.slack, 1.0)
        of_c, of_s = binomial(sample.n_c, p_c), binomial(sample.n_s, sample.p_s)
        following: dict[Comparison, float] = {}
        for state, chance in alive.items():
            for e_c, e_s in product(range(sample.n_c + 1), range(sample.n_s + 1)):
                after = driver.on(state, sample, e_c, e_s)
                following[after] = following.get(after, 0.0) + chance * of_c[e_c] * of_s[e_s]
        alive = following
    mean = sum(chance * exp(fast_ratios_evidence(state)) for state, chance in alive.items())
    assert 0.2 < mean <= ALMOST


def fast_ratios_evidence(state: Comparison) -> float:
    assert state.fast_path is not None
    if not state.fast_path.ratios:
        return 0.0
    counter = state.block_counter
    return log_mix(state.fast_path.ratios, FACTOR_WEIGHTS, state.samples.unused(counter.started, counter.steps))


@pytest.mark.parametrize("drops_outages", [False, True])
@pytest.mark.parametrize("p_s", [0.02, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("cap", [3.0, None])
def test_non_inferiority_is_an_e_value(cap: float | None, p_s: float, drops_outages: bool) -> None:
    """At the edge of the pass margin, over the rollout and over the step, with blocks of outages left out."""
    terms = ComparisonParameters(block=10.0, samples=1, cap=cap, pass_margin=Margin(1.0, 0.02))
    driver = ComparisonDriver(terms, 4)
    plan = [PlannedSample(2, 3, p_s), PlannedSample(2, 2, p_s), PlannedSample(1, 3, p_s)]
    alive: dict[Comparison, float] = {driver.start: 1.0}
    for sample in plan:
        of_c, of_s = binomial(sample.n_c, min(p_s + 0.02, 1.0)), binomial(sample.n_s, p_s)
        following: dict[Comparison, float] = {}
        for state, chance in alive.items():
            for e_c, e_s in product(range(sample.n_c + 1), range(sample.n_s + 1)):
                outage = drops_outages and e_s >= 2
                after = driver.on(state, sample, e_c, e_s, outage=outage)
                following[after] = following.get(after, 0.0) + chance * of_c[e_c] * of_s[e_s]
        alive = following
    for evidence in ("non_inferiority", "step_non_inferiority"):
        mean = sum(chance * exp(getattr(state, evidence)) for state, chance in alive.items())
        assert 0.05 < mean <= ALMOST


def test_traffic_share_is_an_e_value() -> None:
    """Half of the promised share, block by block, through a step, over all start times."""
    terms = ComparisonParameters(block=10.0, samples=1, cap=None)
    empty = RequestCounters("one", 0.0, RequestTotals(), RequestTotals())
    start, _ = update_share(TrafficShare(), terms, empty, step=0, steps=2, weight=40)
    alive: dict[TrafficShare, float] = {start: 1.0}
    for tick, (n, step, weight) in enumerate(
        [(3, 0, 40), (4, 0, 40), (2, 0, 40), (2, 1, 80), (2, 1, 80), (3, 1, 80), (3, 1, 80)], start=1
    ):
        of_c = binomial(n, weight / 200.0)
        following: dict[TrafficShare, float] = {}
        for state, chance in alive.items():
            for n_c in range(n + 1):
                old = state.block_counter.totals
                seen = RequestCounters(
                    "one",
                    tick * 10.0,
                    RequestTotals(float(old.candidate + n_c)),
                    RequestTotals(float(old.stable + n - n_c)),
                )
                after, _ = update_share(state, terms, seen, step=step, steps=2, weight=weight)
                after = replace(
                    after,
                    step=Counts(),
                    block_counter=replace(after.block_counter, totals=Counts(0, 0, ((0, 0),))),
                )
                following[after] = following.get(after, 0.0) + chance * of_c[n_c]
        alive = following
    assert 0.2 < sum(chance * exp(state.evidence) for state, chance in alive.items()) <= ALMOST


@pytest.mark.parametrize("terms", [TERMS["blocks of two"], TERMS["uncapped"], TERMS["tight cap"]])
def test_traffic_share_that_rolls_back_is_an_e_value_for_the_best_stopping_rule(terms: ComparisonParameters) -> None:
    """Within a block too."""
    plan = [(3, 0, 40), (4, 0, 40), (2, 0, 40), (2, 1, 80), (2, 1, 80), (3, 1, 80)]
    empty = RequestCounters("one", 0.0, RequestTotals(), RequestTotals())
    start, _ = update_share(TrafficShare(), terms, empty, step=0, steps=2, weight=40)

    def from_here(state: TrafficShare, tick: int) -> float:
        here = exp(state.evidence_within_block())
        if tick == len(plan):
            return here
        n, step, weight = plan[tick]
        old, going_on = state.block_counter.totals, 0.0
        for n_c, chance in enumerate(binomial(n, weight / 200.0)):
            sides = RequestTotals(float(old.candidate + n_c)), RequestTotals(float(old.stable + n - n_c))
            seen = RequestCounters("one", (tick + 1) * 10.0, *sides)
            after, _ = update_share(state, terms, seen, step=step, steps=2, weight=weight)
            going_on += chance * from_here(after, tick + 1)
        return max(here, going_on)

    assert from_here(start, 0) <= ALMOST
