"""All comparisons of a rollout together: one evidence, one latch, and a state that fits anywhere."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from math import exp, log

import pytest

from autocanary.analysis.combined_evidence import (
    TRAFFIC_SHARE,
    CombinedEvidence,
    Comparisons,
    combine_evidence,
    update_comparisons,
)
from autocanary.analysis.count_blocks import Counts
from autocanary.analysis.needed_requests import needed_requests
from autocanary.analysis.parameters import ComparisonParameters, parameters_of
from autocanary.analysis.sequential_test import OutcomeEvidence
from autocanary.analysis.traffic_share import TrafficShare, update_share
from autocanary.model.measurement import RequestCounters, RequestTotals
from autocanary.model.policy import ComparisonPolicy, ComparisonPreset

ERRORS, LATENCY = "error-rate", "request-duration"
TERMS = {ERRORS: parameters_of(ComparisonPolicy()), LATENCY: parameters_of(ComparisonPolicy(), latency=True)}
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BELOW = (0.02, 0.1, 0.3, 0.52, 0.78, 0.92, 0.972, 0.99, 0.996, 0.999, 0.9995)


class CounterSource:
    """Two revisions under load; ``fails`` is the canary's failure rate, ``share`` what it completes."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.at = 0.0
        self.sums = [[0, 0, *([0] * len(BOUNDS))] for _ in range(2)]

    def tick(self, fails: float = 0.002, share: float = 0.1, n: int = 500) -> RequestCounters:
        self.at += 10.0
        n_c = round(n * share)
        for sums, many, rate in ((self.sums[0], n_c, fails), (self.sums[1], n - n_c, 0.002)):
            failed = sum(self.rng.random() < rate for _ in range(many))
            served = many - failed
            for place, more in enumerate((many, failed, *(round(served * b) for b in BELOW))):
                sums[place] += more
        sides = [RequestTotals(float(n), float(e), tuple(map(float, within))) for n, e, *within in self.sums]
        return RequestCounters("account-of-a-service", self.at, sides[0], sides[1], BOUNDS)


def run(
    ticks: int, source: CounterSource | None = None, comparisons: Comparisons | None = None, **kind: float
) -> tuple[Comparisons, CombinedEvidence]:
    source, comparisons = source or CounterSource(), comparisons or Comparisons()
    conclusion = combine_evidence({}, {})
    for tick in range(ticks):
        counters = source.tick(**kind)  # type: ignore[arg-type]
        comparisons, conclusion = update_comparisons(
            comparisons, TERMS, dict.fromkeys(TERMS, counters), step=min(tick // 50, 2), steps=3, weight=10
        )
    return comparisons, conclusion


def test_bad_canary_fails_and_names_the_largest_contributor() -> None:
    """A contribution is each metric's part of the evidence; failures count as slow, so latency carries some of it."""
    _, conclusion = run(40, fails=0.1)
    assert conclusion.latched
    assert conclusion.largest_contributor == ERRORS
    assert sum(conclusion.contribution.values()) == pytest.approx(1.0)
    assert (
        conclusion.contribution[ERRORS]
        > 0.6
        > conclusion.contribution[LATENCY]
        > conclusion.contribution[TRAFFIC_SHARE]
    )
    assert (conclusion.evidence_percent, conclusion.suspicious) == (100.0, True)
    assert ERRORS not in conclusion.passed


def test_good_canary_is_shown_non_inferior() -> None:
    """Both metrics pass, nothing is suspicious, the meter rests."""
    _, conclusion = run(100)
    assert not conclusion.latched
    assert not conclusion.suspicious
    assert set(conclusion.passed) == {ERRORS, LATENCY}
    assert conclusion.evidence_percent < 20.0


def test_hung_canary_fails_on_traffic_share() -> None:
    """A hung canary fails no request; it is its share that is missing."""
    _, conclusion = run(40, share=0.0)
    assert conclusion.latched
    assert conclusion.largest_contributor == TRAFFIC_SHARE
    _, half = run(40, share=0.08)
    assert not half.latched


def test_evidence_is_latched() -> None:
    """What was once enough stays so, when the canary recovers and after a restart."""
    source = CounterSource()
    comparisons, conclusion = run(30, source, fails=0.1)
    assert conclusion.latched
    comparisons = Comparisons.from_dict(json.loads(json.dumps(comparisons.to_dict())))
    _, later = run(200, source, comparisons, fails=0.0)
    assert later.log_e < later.bound
    assert later.latched


def test_before_the_last_gate_the_mean_of_the_bounds_passes() -> None:
    """One bound is shown, another is not: enough to leave a first step, and not to get all the traffic."""
    source, comparisons = CounterSource(), Comparisons()
    parameters = {LATENCY: TERMS[LATENCY]}
    for _ in range(60):
        comparisons, _ = update_comparisons(
            comparisons, parameters, {LATENCY: source.tick()}, step=0, steps=4, weight=10
        )
    state = comparisons.metrics[LATENCY]
    shown, unsure = (2.0 * log(20.0),) * 6, (0.0,) * 6
    outcomes = tuple(
        OutcomeEvidence(each.inferiority_ratios, logs, logs)
        for each, logs in zip(state.outcomes[:2], (shown, unsure), strict=True)
    )
    mixed = replace(state, outcomes=outcomes, bounds=state.bounds[:2])
    assert mixed.passing_evidence(last_gate=False) == pytest.approx((log(200.5), log(200.5)))
    assert mixed.passing_evidence(last_gate=True) == pytest.approx((0.0, 0.0))
    passed = [combine_evidence({LATENCY: mixed}, parameters, step=step, steps=4).passed for step in range(4)]
    assert passed == [(LATENCY,), (LATENCY,), (), ()]
    needed = [needed_requests(mixed, parameters[LATENCY], step=step, steps=4, required=0.0) for step in range(3)]
    assert needed[0] == needed[1] == (0.0, 0.0)
    assert needed[2] is None or needed[2].requests > 0.0


def test_evidence_that_the_open_block_takes_away_is_not_enough() -> None:
    """The block that made it enough has ended long ago; what is known since then counts before it is latched."""
    source, comparisons = CounterSource(), Comparisons()
    parameters = {ERRORS: parameters_of(ComparisonPolicy())}
    for _ in range(7):
        comparisons, _ = update_comparisons(
            comparisons, parameters, {ERRORS: source.tick(fails=0.02)}, step=0, steps=1, weight=10
        )
    state = comparisons.metrics[ERRORS]
    low = {ERRORS: replace(parameters[ERRORS], alpha=exp(-combine_evidence({ERRORS: state}, parameters).log_e))}
    assert combine_evidence({ERRORS: state}, low).latched
    # Nothing of the canary fails in the block that is open now, and much of stable does.
    better = Counts(2000, 4000, ((0, 400),))
    open_block = replace(state.block_counter, block=better, span=10.0, samples=1)
    assert combine_evidence({ERRORS: replace(state, block_counter=open_block)}, low).log_e == pytest.approx(
        low[ERRORS].bound
    )
    assert not combine_evidence({ERRORS: replace(state, block_counter=open_block)}, low).latched
    assert combine_evidence({ERRORS: replace(state, block_counter=open_block)}, low, latched=True).latched


def test_dry_run_metrics_do_not_affect_the_evidence() -> None:
    """A dry-run metric has its evidence, and no part in the decision."""
    comparisons, source = Comparisons(), CounterSource()
    conclusion = combine_evidence({}, {})
    for _ in range(40):
        counters = source.tick(fails=0.1)
        comparisons, conclusion = update_comparisons(
            comparisons, TERMS, dict.fromkeys(TERMS, counters), step=0, steps=1, weight=10, gating={LATENCY}
        )
    assert comparisons.metrics[ERRORS].evidence > TERMS[ERRORS].bound
    assert set(conclusion.contribution) == {LATENCY, TRAFFIC_SHARE}
    assert conclusion.passed == () or conclusion.passed == (LATENCY,)


def test_no_metrics_give_no_evidence() -> None:
    """No metric: no evidence, and no proof of health either."""
    conclusion = combine_evidence({}, {})
    assert (
        conclusion.log_e,
        conclusion.latched,
        conclusion.passed,
        conclusion.largest_contributor,
        conclusion.evidence_percent,
    ) == (
        0.0,
        False,
        (),
        "",
        0.0,
    )


def test_strictest_alpha_applies_to_the_rollout() -> None:
    """A rollout with a strict metric is rolled back on the strict metric's evidence only."""
    comparisons, _ = run(5)
    strict = {**TERMS, ERRORS: parameters_of(ComparisonPolicy(preset=ComparisonPreset.STRICT))}
    assert combine_evidence(comparisons.metrics, strict).bound == pytest.approx(log(100.0))


def test_the_mean_covers_all_metrics_with_one_alpha() -> None:
    """The evidence is the weighted mean of the members', so it is at most the largest of them."""
    comparisons, conclusion = run(12, fails=0.05)
    parts = [0.45 * exp(each.evidence) for each in comparisons.metrics.values()] + [
        0.1 * exp(comparisons.share.evidence)
    ]
    assert exp(conclusion.log_e) == pytest.approx(sum(parts))


def test_reports_a_metric_beyond_its_limit() -> None:
    """Both revisions are beyond the objective: a reason to pause; not the canary's fault."""
    source, comparisons = CounterSource(), Comparisons()
    parameters = {ERRORS: TERMS[ERRORS]}
    conclusion = combine_evidence({}, {})
    for _ in range(60):
        comparisons, conclusion = update_comparisons(
            comparisons,
            parameters,
            {ERRORS: source.tick()},
            step=0,
            steps=1,
            weight=10,
            limits={ERRORS: 0.0001},
        )
    assert conclusion.beyond_limit == (ERRORS,)
    assert not conclusion.latched


def test_the_state_of_a_whole_rollout_is_small() -> None:
    """Two metrics, five latency bounds, ten steps, millions of requests: under 4 kB as JSON, exactly restored."""
    source, comparisons = CounterSource(), Comparisons()
    for tick in range(200):
        counters = source.tick(fails=0.003, n=3000 + tick)
        comparisons, _ = update_comparisons(
            comparisons,
            TERMS,
            dict.fromkeys(TERMS, counters),
            step=tick // 20,
            steps=10,
            weight=10 + tick // 20,
            limits={ERRORS: 0.01},
        )
        text = json.dumps(comparisons.to_dict())
        assert len(text) < 4000
        assert Comparisons.from_dict(json.loads(text)) == comparisons
    assert len(comparisons.metrics[LATENCY].bounds) == 5


def test_no_share_evidence_at_0_and_100_percent() -> None:
    """At 0 and at 100 % there is no share to complete."""
    parameters = ComparisonParameters()
    for weight in (0, 100):
        state = TrafficShare()
        for tick in range(20):
            counters = RequestCounters("one", tick * 10.0, RequestTotals(0.0), RequestTotals(tick * 100.0))
            state, _ = update_share(state, parameters, counters, step=0, steps=1, weight=weight)
        assert state.evidence == pytest.approx(0.0)
    assert TrafficShare().evidence == 0.0


def test_late_hang_is_detected_in_a_new_step() -> None:
    """Hours of health do not hide a canary that hangs after the split was raised."""
    state, n_c, n_s = TrafficShare(), 0, 0
    for tick in range(400):
        hung = tick >= 300
        n_c, n_s = n_c + (0 if hung else 100), n_s + 900
        counters = RequestCounters("one", tick * 10.0, RequestTotals(float(n_c)), RequestTotals(float(n_s)))
        state, _ = update_share(state, ComparisonParameters(), counters, step=int(hung), steps=2, weight=10 + int(hung))
        if state.evidence >= ComparisonParameters().bound:
            assert 312 <= tick <= 330
            return
    pytest.fail("never found")


@pytest.mark.parametrize("healthy", [10, 100, 1000])
def test_late_hang_within_a_step_is_detected_in_minutes(healthy: int) -> None:
    """Neither do hours of health in the same step: a test begins with every block."""
    state, n_c, n_s = TrafficShare(), 0, 0
    for tick in range(healthy + 100):
        n_c, n_s = n_c + (100 if tick < healthy else 0), n_s + 900
        counters = RequestCounters("one", tick * 10.0, RequestTotals(float(n_c)), RequestTotals(float(n_s)))
        state, _ = update_share(state, ComparisonParameters(), counters, step=0, steps=2, weight=10)
        if state.evidence >= ComparisonParameters().bound:
            assert healthy < tick <= healthy + 60
            return
    pytest.fail("never found")


def test_share_mixture_weights_sum_to_at_most_one() -> None:
    """With nothing in the blocks every test stands at its stake: together with what is idle that is 1."""
    state = TrafficShare()
    for tick in range(200):
        counters = RequestCounters("one", tick * 10.0, RequestTotals(), RequestTotals())
        state, _ = update_share(
            state, ComparisonParameters(), counters, step=tick // 60, steps=4, weight=10 + tick // 60
        )
        assert state.evidence == pytest.approx(0.0, abs=1e-9)
    assert state.blocks.count > 1


def test_share_before_the_first_step_is_a_baseline() -> None:
    """A staged candidate has no share, and costs no stake."""
    state, _ = update_share(
        TrafficShare(),
        ComparisonParameters(),
        RequestCounters("one", 1.0, RequestTotals(), RequestTotals(50.0)),
        step=-1,
        steps=2,
        weight=0,
    )
    assert (state.evidence, state.logs) == (0.0, ())
    state, _ = update_share(state, ComparisonParameters(), None, step=0, steps=2, weight=10)
    assert state.evidence == pytest.approx(0.0)
    assert TrafficShare.from_dict(json.loads(json.dumps(state.to_dict()))) == state


def test_metrics_of_other_steps_count_in_the_mean_and_are_not_waited_for() -> None:
    """One that was compared keeps its evidence, one that comes later counts as 1, and no step needs them to pass."""
    parameters = {ERRORS: ComparisonParameters(alpha=0.01)}
    comparisons, alone = update_comparisons(Comparisons(), parameters, {}, step=0, steps=3, weight=10)
    for tick in range(60):
        counters = RequestCounters(
            "one", tick * 10.0, RequestTotals(tick * 100.0, tick * 4.0), RequestTotals(tick * 900.0, tick * 9.0)
        )
        comparisons, alone = update_comparisons(comparisons, parameters, {ERRORS: counters}, step=0, steps=3, weight=10)
    assert alone.log_e > 0.0
    latency = {LATENCY: ComparisonParameters(latency=True)}
    after, later = update_comparisons(
        comparisons, latency, {LATENCY: None}, step=1, steps=3, weight=20, elsewhere=parameters
    )
    assert after.metrics[ERRORS] == comparisons.metrics[ERRORS]
    assert later.inferiority[ERRORS] == alone.inferiority[ERRORS]
    assert later.bound == parameters[ERRORS].bound
    assert ERRORS not in later.passed
    half = 0.45 * (exp(alone.inferiority[ERRORS]) + 1.0) + 0.1 * exp(after.share.evidence)
    assert later.log_e == pytest.approx(log(half))
    _, before = update_comparisons(Comparisons(), parameters, {}, step=0, steps=3, weight=10, elsewhere=latency)
    assert before.log_e == pytest.approx(0.0)
    assert set(before.contribution) == {ERRORS, LATENCY, "traffic-share"}
