"""One metric's comparison: what is counted, what is dropped, what is kept, and how the presets differ."""

from __future__ import annotations

import json
from dataclasses import replace
from math import exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocanary.analysis.count_blocks import Counts
from autocanary.analysis.parameters import ComparisonParameters, Margin, parameters_of
from autocanary.analysis.sequential_test import Comparison, new_comparison, update_comparison
from autocanary.model.measurement import RequestCounters, RequestTotals
from autocanary.model.policy import ComparisonPolicy, ComparisonPreset

DEFAULT = parameters_of(ComparisonPolicy())
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5)


def counters(at: float, n_c: float, e_c: float, n_s: float, e_s: float, epoch: str = "one") -> RequestCounters:
    return RequestCounters(epoch, at, RequestTotals(n_c, e_c), RequestTotals(n_s, e_s))


def run_samples(
    *samples: RequestCounters | None,
    parameters: ComparisonParameters = DEFAULT,
    step: int = 0,
    steps: int = 1,
    weight: int = 10,
    **more: object,
) -> Comparison:
    state = new_comparison()
    for each in samples:
        state = update_comparison(state, parameters, each, step=step, steps=steps, weight=weight, **more)  # type: ignore[arg-type]
    return state


def bad_samples(many: int, every: float = 10.0) -> list[RequestCounters]:
    """A canary that fails 5 % beside a stable that fails 0.1 %."""
    return [counters(i * every, i * 100, i * 5, i * 1000, i * 1) for i in range(many)]


def test_first_counters_set_the_baseline() -> None:
    """What was counted before the comparison began is not evidence."""
    state = run_samples(counters(100.0, 500, 400, 5000, 3))
    assert state.evidence == pytest.approx(0.0)
    assert state.total == Counts()


def test_evidence_grows_by_blocks_and_at_most_by_the_cap() -> None:
    """Three looks of 10 s make a block of 30 s; one block multiplies the evidence by 3 at most."""
    samples = bad_samples(7)
    seen = [run_samples(*samples[:many]).evidence for many in range(1, 8)]
    assert seen[0] == pytest.approx(0.0)
    assert seen[1] < 0.0  # the fast path holds a tenth of the stake
    assert seen[3] > seen[2]
    assert exp(seen[3]) <= 0.9 * 3.0 + 0.1 * exp(30.0)
    state = run_samples(*samples[:4])
    assert max(state.outcomes[0].inferiority_ratios) == pytest.approx(log(0.7 * 3.0))
    assert state.block_counter.samples == 0


def test_block_needs_two_samples() -> None:
    """Looks a minute apart: one of them is a single scrape, perhaps, and not yet a block."""
    samples = bad_samples(3, every=60.0)
    assert run_samples(*samples[:2]).outcomes[0].inferiority_ratios == ()
    assert max(run_samples(*samples[:3]).outcomes[0].inferiority_ratios) > log(0.7)
    fast = parameters_of(ComparisonPolicy(preset=ComparisonPreset.FAST))
    assert max(run_samples(*samples[:2], parameters=fast).outcomes[0].inferiority_ratios) > log(0.7 * 3.0)


def test_block_of_nearly_thirty_seconds_is_full() -> None:
    """Scrapes wander: 28 s is a block of 30 s."""
    samples = bad_samples(3, every=14.0)
    assert max(run_samples(*samples).outcomes[0].inferiority_ratios) > 0.0


def test_missing_counters_leave_the_state_unchanged() -> None:
    """After an outage the difference spans it: nothing is lost and nothing is counted twice."""
    samples = bad_samples(8)
    holes = run_samples(*samples[:4], None, None, samples[6], samples[7])
    assert holes.total == run_samples(*samples).total == Counts(700, 7000, ((35, 7),))


@pytest.mark.parametrize("seen", [counters(20.0, 999, 999, 999, 0), counters(10.0, 999, 999, 999, 0)])
def test_ignores_a_repeated_or_older_sample(seen: RequestCounters) -> None:
    """A duplicated scrape, an answer that is asked for twice, a replica that lags."""
    samples = bad_samples(3)
    assert run_samples(*samples, seen) == run_samples(*samples)


def test_new_epoch_sets_a_new_baseline() -> None:
    """A new account: the difference across it means nothing, and what was learned stays."""
    samples = bad_samples(5)
    before = run_samples(*samples)
    after = run_samples(*samples, counters(60.0, 3, 3, 7, 0, "two"))
    assert (after.total, after.outcomes) == (before.total, before.outcomes)
    later = run_samples(*samples, counters(60.0, 3, 3, 7, 0, "two"), counters(70.0, 103, 8, 1007, 1, "two"))
    assert later.total == before.total + Counts(100, 1000, ((5, 1),))


@pytest.mark.parametrize(
    ("broken", "counted"),
    [
        (counters(50.0, 399, 20, 5000, 5), 701),
        (counters(50.0, 500, 19, 5000, 5), 600),
        (counters(50.0, 410, 400, 5000, 5), 690),
        (counters(50.0, 500.5, 25, 5000, 5), 100),
        (counters(50.0, float("nan"), 25, 5000, 5), 100),
        (counters(50.0, float("inf"), 25, 5000, 5), 100),
    ],
    ids=["fewer requests", "fewer failures", "more failures than requests", "half a request", "nan", "inf"],
)
def test_impossible_counts_set_a_new_baseline(broken: RequestCounters, counted: int) -> None:
    """Totals that shrink or are not counts never become evidence; counting goes on after them."""
    samples = bad_samples(5)
    state = run_samples(*samples, broken)
    assert state.total == run_samples(*samples).total
    on = [counters(60.0, 1000, 500, 9000, 9), counters(70.0, 1100, 505, 10000, 10)]
    assert run_samples(*samples, broken, *on).total.candidate == state.total.candidate + counted


def test_approximate_counts_are_not_compared() -> None:
    """Totals that rest on rate() are for thresholds."""
    samples = bad_samples(5)
    rough = [replace(each, exact=False) for each in samples]
    assert run_samples(*rough).total == Counts()
    assert run_samples(*samples[:2], *rough[2:4], samples[4]).total == run_samples(*samples).total


def test_drops_counts_across_a_weight_change_and_one_block_after() -> None:
    """Of 12 evaluations, the one across the change and those that begin within 30 s of it are not counted.

    What was counted at the split before is none of this one's requests.
    """
    samples = bad_samples(12)
    state = new_comparison()
    for index, each in enumerate(samples):
        weight = 10 if index < 5 else 25
        state = update_comparison(state, DEFAULT, each, step=0, steps=1, weight=weight)
    assert state.total.candidate == 100 * (4 + 3)
    assert state.step.candidate == 100 * 3


def test_weight_change_without_counters_is_remembered() -> None:
    """Two changes of split while Prometheus is down leave the split as it was, but not the counts."""
    samples = bad_samples(9)
    state = run_samples(*samples[:3])
    for weight in (25, 10):
        state = update_comparison(state, DEFAULT, None, step=0, steps=1, weight=weight)
    for each in samples[3:5]:
        state = update_comparison(state, DEFAULT, each, step=0, steps=1, weight=10)
    assert state.total.candidate == 200


def test_weight_change_closes_the_open_block() -> None:
    """Evidence that stands in an open block is kept, whichever way it points."""
    samples = bad_samples(4)
    state = run_samples(*samples[:3], steps=2)
    assert state.outcomes[0].inferiority_ratios == ()
    state = update_comparison(state, DEFAULT, None, step=1, steps=2, weight=25)
    assert max(state.outcomes[0].inferiority_ratios) > log(0.7 * 2.9)
    assert state.block_counter.block == Counts()


def test_dropped_counts_do_not_depend_on_failures() -> None:
    """The same requests with other endings: the same ones are compared."""
    rows = []
    for ending in (0, 1):
        state = new_comparison()
        for index in range(30):
            n = index * 100.0
            seen = counters(index * 10.0, n, n * 0.9 * ending, 9 * n, 4 * n * (1 - ending))
            state = update_comparison(state, DEFAULT, seen, step=index // 10, steps=3, weight=(10, 25, 50)[index // 10])
        rows.append((state.total.candidate, state.total.stable, state.step.candidate, state.block_counter.count_from))
    assert rows[0] == rows[1]


def test_warm_up_counts_only_set_the_baseline() -> None:
    """Nothing of a warm-up is compared, and no further block is dropped after it."""
    samples = bad_samples(12)
    state = new_comparison()
    for index, each in enumerate(samples):
        state = update_comparison(
            state, DEFAULT, each, step=index // 4, steps=3, weight=10 + index // 4, warming=index % 4 < 3
        )
    assert state.total.candidate == 100
    assert state.step.candidate == 0
    patient = new_comparison()
    for index, each in enumerate(samples):
        patient = update_comparison(patient, DEFAULT, each, step=0, steps=3, weight=10, warming=index < 5)
    assert patient.total.candidate == 700


def test_counts_before_the_first_step_only_set_the_baseline() -> None:
    """A staged candidate (step -1) is not compared, and staging costs no stake."""
    samples = bad_samples(12)
    state = new_comparison()
    for index, each in enumerate(samples):
        state = update_comparison(
            state, DEFAULT, each, step=-1 if index < 4 else 0, steps=3, weight=0 if index < 4 else 10
        )
        assert index >= 4 or (state.evidence, state.outcomes) == (0.0, ())
    assert state.total.candidate == 100 * (12 - 4 - 4)
    assert state.block_counter.started == 1


@pytest.mark.parametrize("path", [(0, 1, 2), (0, 2), (2,), (1, 2)])
def test_mixture_weights_sum_to_one(path: tuple[int, ...]) -> None:
    """Adopted in the middle, promoted across a step: begun and idle stakes are 1 together, without counts."""
    state = new_comparison()
    for step in path:
        state = update_comparison(state, DEFAULT, counters(step + 1.0, 0, 0, 0, 0), step=step, steps=3, weight=step + 1)
        for tick in range(1, 12):
            empty = counters(100.0 * step + 10.0 * tick, 0, 0, 0, 0)
            state = update_comparison(state, DEFAULT, empty, step=step, steps=3, weight=step + 1)
            assert state.evidence == pytest.approx(0.0)
    assert state.blocks.count >= 2
    assert state.blocks.pending == 0.0


def test_harm_in_a_later_step_is_detected_after_hours_of_health() -> None:
    """The same harm is found at once in a new step, and late without one."""

    def after(steps: int) -> float:
        state = new_comparison()
        n_c = e_c = n_s = e_s = 0
        for tick in range(300):
            bad = tick >= 200
            n_c, n_s = n_c + 100, n_s + 900
            e_c, e_s = e_c + (10 if bad else 1), e_s + 9
            step = min(tick // 200, steps - 1)
            seen = counters(tick * 10.0, n_c, e_c, n_s, e_s)
            state = update_comparison(state, DEFAULT, seen, step=step, steps=steps, weight=10 + step)
            if state.evidence >= DEFAULT.bound:
                return tick - 200.0
        return 1e9

    assert 12 <= after(2) <= 24
    assert after(2) < after(1) <= 36


def test_gross_failure_is_detected_at_the_second_sample() -> None:
    """Ten of ten requests fail beside a healthy stable: two evaluations are enough, and a burst is not."""
    samples = [counters(10.0 * tick, 10 * tick, 10 * tick, 90 * tick, 0) for tick in range(3)]
    assert run_samples(*samples[:2], steps=3).evidence < DEFAULT.bound
    assert run_samples(*samples, steps=3).evidence >= DEFAULT.bound
    burst = run_samples(*samples[:2], counters(20.0, 20, 10, 180, 0), counters(30.0, 30, 10, 270, 0), steps=3)
    assert burst.evidence < DEFAULT.bound
    half = run_samples(counters(0.0, 0, 0, 0, 0), counters(10.0, 1000, 150, 9000, 0), steps=3)
    assert half.evidence < DEFAULT.bound  # 15 % is not gross: blocks decide


def test_shared_outage_is_not_evidence_against_the_candidate() -> None:
    """Everything fails on both sides."""
    samples = [counters(i * 10.0, i * 100, i * 100, i * 900, i * 900) for i in range(60)]
    state = run_samples(*samples, slo=0.01)
    assert state.evidence < 0.0
    assert state.beyond_limit is not None
    assert state.beyond_limit > DEFAULT.bound


def test_no_rollback_when_worse_but_within_the_slo() -> None:
    """With an absolute limit the candidate must be worse than stable and beyond it."""
    samples = [counters(i * 10.0, i * 1000, i * 5, i * 9000, i * 1) for i in range(120)]
    assert run_samples(*samples).evidence > DEFAULT.bound
    assert run_samples(*samples, slo=0.02).evidence < 0.0
    assert run_samples(*samples, slo=0.001).evidence > DEFAULT.bound


def test_good_candidate_is_shown_non_inferior() -> None:
    """Non-inferiority grows over the whole rollout, through steps."""
    state = new_comparison()
    for tick in range(120):
        n = tick * 100
        seen = counters(tick * 10.0, n, n // 1000, 9 * n, 9 * n // 1000)
        state = update_comparison(state, DEFAULT, seen, step=tick // 60, steps=2, weight=10 + tick // 60)
    assert state.non_inferiority > 3.0
    assert state.evidence < log(5.0)


def bake(control_failures: int, bake_failures: int, slo: float | None = None) -> Comparison:
    """20 minutes at 50 %, then 20 minutes at 100 %, with this many failures per 1000 requests."""
    state = new_comparison()
    n_c = e_c = n_s = e_s = 0
    for tick in range(240):
        baking = tick >= 120
        n_c, e_c = n_c + 1000, e_c + (bake_failures if baking else control_failures)
        if not baking:
            n_s, e_s = n_s + 1000, e_s + control_failures
        elif tick < 125:
            n_s, e_s = n_s + 3, e_s + 3
        seen = counters(tick * 10.0, n_c, e_c, n_s, e_s)
        state = update_comparison(
            state, DEFAULT, seen, step=int(baking), steps=2, weight=100 if baking else 50, slo=slo
        )
    return state


def test_bake_is_compared_with_the_past_rate_of_stable() -> None:
    """With all traffic on the candidate: harm is found, health is not, and a looser limit is respected."""
    assert bake(2, 2).evidence < 0.0
    assert bake(2, 20).evidence > DEFAULT.bound
    assert bake(2, 20, slo=0.05).evidence < DEFAULT.bound
    assert bake(2, 2).total.outcome(0)[2:] == (119000, 238)


def test_bake_without_stable_counts_has_no_evidence() -> None:
    """Adopted at 100 %: nothing is known of stable, so nothing can be said against the candidate."""
    samples = [counters(i * 10.0, i * 100, i * 50, 0, 0) for i in range(30)]
    state = run_samples(*samples, weight=100)
    assert state.evidence <= 0.0
    assert state.non_inferiority == 0.0


def latencies(at: float, n_c: int, n_s: int, slower: bool, failing: bool = False) -> RequestCounters:
    """A stable that needs 0.05 to 2 s; a slower candidate needs twice as long; failures are in no bucket."""
    of_s = [int(n_s * part) for part in (0.4, 0.7, 0.9, 0.98, 0.999)]
    of_c = [int(n_c * part) for part in ((0.2, 0.45, 0.7, 0.9, 0.98) if slower else (0.4, 0.7, 0.9, 0.98, 0.999))]
    if failing:
        of_c = [0] * 5
    return RequestCounters(
        "one", at, RequestTotals(n_c, 0.0, tuple(of_c)), RequestTotals(n_s, 0.0, tuple(of_s)), BOUNDS
    )


LATENCY = parameters_of(ComparisonPolicy(), latency=True)


def run_slow_samples(**kind: bool) -> Comparison:
    samples = [latencies(i * 10.0, i * 100, 1000 + i * 900, **kind) for i in range(40)]
    return run_samples(*samples, parameters=LATENCY)


def test_latency_is_compared_over_frozen_bounds() -> None:
    """Bounds around stable's quantiles, chosen at the first evaluation; twice as slow fails, equal does not."""
    slow, equal = run_slow_samples(slower=True), run_slow_samples(slower=False)
    assert slow.bounds == equal.bounds == (0.25, 0.5, 1.0, 2.5)
    assert slow.evidence > LATENCY.bound
    assert equal.evidence < 0.0
    assert equal.non_inferiority > 3.0 > 0.0 > slow.non_inferiority


def test_failed_requests_count_as_slow() -> None:
    """A canary that answers 500 in a millisecond does not look like a speed-up."""
    assert run_slow_samples(slower=False, failing=True).evidence > LATENCY.bound


def test_latency_bounds_come_from_stable_only() -> None:
    """Until stable has completed a hundred requests nothing is compared, whatever the candidate did."""
    few = [latencies(i * 10.0, i * 100, i * 30, slower=True) for i in range(4)]
    state = run_samples(*few, parameters=LATENCY)
    assert (state.bounds, state.outcomes, state.total) == ((), (), Counts())
    state = update_comparison(state, LATENCY, latencies(40.0, 400, 120, slower=True), step=0, steps=1, weight=10)
    assert state.bounds == (0.25, 0.5, 1.0)
    assert state.total == Counts()
    state = update_comparison(state, LATENCY, latencies(50.0, 500, 150, slower=True), step=0, steps=1, weight=10)
    assert (state.total.candidate, state.total.stable) == (100, 30)


def test_bounds_that_disappear_stop_the_comparison() -> None:
    """Another histogram is not the same measurement; when the old one is back, counting goes on."""
    samples = [latencies(i * 10.0, i * 100, 1000 + i * 900, slower=False) for i in range(6)]
    other = replace(samples[3], bounds=(0.1, 0.2, 0.3, 0.4, 0.6))
    assert run_samples(*samples[:3], other, parameters=LATENCY) == run_samples(*samples[:3], parameters=LATENCY)
    assert (
        run_samples(*samples[:3], other, *samples[4:], parameters=LATENCY).total
        == run_samples(*samples, parameters=LATENCY).total
    )


def test_a_stable_slower_than_all_bounds_is_compared_at_the_widest() -> None:
    """Half of stable's requests take longer than the last bucket: that is the only place to look."""
    within = (0.0, 0.0, 0.0, 100.0, 300.0)
    seen = RequestCounters("one", 1.0, RequestTotals(0.0, 0.0, (0.0,) * 5), RequestTotals(1000.0, 0.0, within), BOUNDS)
    assert run_samples(seen, parameters=LATENCY).bounds == (2.5,)


def test_latency_without_a_histogram_is_not_compared() -> None:
    """A source without buckets says nothing about latency."""
    assert run_samples(*bad_samples(20), parameters=LATENCY).evidence == 0.0


def test_the_presets_differ_as_documented() -> None:
    """Fast is first, then default, strict asks for more evidence, robust takes longer blocks."""
    samples = bad_samples(60)

    def after(preset: ComparisonPreset) -> int:
        parameters = parameters_of(ComparisonPolicy(preset=preset))
        return next(
            n
            for n in range(1, 60)
            if run_samples(*samples[:n], parameters=parameters, steps=3).evidence >= parameters.bound
        )

    times = {preset: after(preset) for preset in ComparisonPreset}
    assert (
        times[ComparisonPreset.FAST]
        < times[ComparisonPreset.DEFAULT]
        < times[ComparisonPreset.STRICT]
        < times[ComparisonPreset.ROBUST]
    )
    assert parameters_of(ComparisonPolicy(preset=ComparisonPreset.STRICT)).bound == pytest.approx(log(100.0))


def test_a_burst_on_one_side_counts_as_one_block() -> None:
    """60 failures within ten seconds on the candidate convince `fast` and not the others."""
    samples = [counters(i * 10.0, i * 1000, 60 * (i >= 5), i * 9000, i * 9) for i in range(12)]
    for preset in ComparisonPreset:
        parameters = parameters_of(ComparisonPolicy(preset=preset))
        highest = max(run_samples(*samples[:n], parameters=parameters, steps=3).evidence for n in range(1, 13))
        assert (highest >= parameters.bound) is (preset is ComparisonPreset.FAST)


def test_comparison_parameters_of_a_policy() -> None:
    """Margin and confidence are percent; a margin widens what passes and never narrows it."""
    assert ComparisonParameters(0.05, 0.05, 30.0, 2, 3.0, Margin(1.25, 0.0005), Margin(1.5, 0.005)) == DEFAULT
    wide = parameters_of(ComparisonPolicy(margin=2.0, confidence=99.9))
    assert wide.alpha == pytest.approx(0.001)
    assert (wide.fail_margin, wide.pass_margin) == (Margin(1.25, 0.02), Margin(1.5, 0.02))
    assert parameters_of(ComparisonPolicy(margin=0.1)).pass_margin == Margin(1.5, 0.005)
    assert parameters_of(ComparisonPolicy(ratio=1.0)).fail_margin == Margin(1.0, 0.0005)
    loose = parameters_of(ComparisonPolicy(ratio=2.0, margin=1.0))
    assert (loose.fail_margin, loose.pass_margin) == (Margin(2.0, 0.01), Margin(2.0, 0.01))
    assert LATENCY.fail_margin == Margin(1.25, 0.005)
    assert LATENCY.latency


increments = st.tuples(st.integers(0, 60), st.floats(0, 1), st.integers(0, 300), st.floats(0, 0.2))
journey = st.lists(
    st.tuples(increments, st.sampled_from(["look"] * 8 + ["none", "again", "account_id", "step", "weight"])),
    min_size=1,
    max_size=40,
)


def run_path(path: list[tuple[tuple[int, float, int, float], str]], resume_at: int, latency: bool) -> Comparison:
    """A comparison through all that happens to one; at one evaluation it is written down and read again."""
    parameters = LATENCY if latency else DEFAULT
    state, step, weight, epoch, at = new_comparison(), 0, 10, "one", 0.0
    sums = [0, 0, 200, 1]
    for index, ((n_c, part_c, n_s, part_s), event) in enumerate(path):
        step, weight = min(step + (event == "step"), 2), weight + 5 * (event in ("step", "weight"))
        epoch = f"{epoch}+" if event == "account_id" else epoch
        at += 0.0 if event == "again" else 10.0
        more = (n_c, int(part_c * n_c), n_s, int(part_s * n_s))
        sums = [have + new for have, new in zip(sums, more, strict=True)]
        sides = [
            RequestTotals(float(n), float(e), tuple(float(int((n - e) * p)) for p in (0.3, 0.6, 0.8, 0.9, 0.99)))
            for n, e in (sums[:2], sums[2:])
        ]
        seen = None if event == "none" else RequestCounters(epoch, at, sides[0], sides[1], BOUNDS)
        slo = None if latency else 0.02
        state = update_comparison(state, parameters, seen, step=step, steps=3, weight=min(weight, 100), slo=slo)
        if index == resume_at:
            state = Comparison.from_dict(json.loads(json.dumps(state.to_dict())))
    return state


@settings(deadline=None, max_examples=60)
@given(path=journey, resume_at=st.integers(0, 39), latency=st.booleans())
def test_restored_state_gives_the_same_evidence(
    path: list[tuple[tuple[int, float, int, float], str]], resume_at: int, latency: bool
) -> None:
    """Written down and read at any look, the state and all that follows is the same, to the last bit."""
    assert run_path(path, resume_at, latency) == run_path(path, -1, latency)


@settings(deadline=None, max_examples=60)
@given(path=journey, latency=st.booleans())
def test_evidence_is_always_finite(path: list[tuple[tuple[int, float, int, float], str]], latency: bool) -> None:
    """Whatever happens, both sides of the evidence can be printed and compared."""
    state = run_path(path, -1, latency)
    assert -1e9 < state.evidence < 1e9
    assert -1e9 < state.non_inferiority < 1e9


def test_huge_and_zero_counts() -> None:
    """A million requests a second, and a rollout without requests."""
    samples = [counters(i * 10.0, i * 1e9, i * 5e7, i * 9e9, i * 9e6) for i in range(40)]
    assert run_samples(*samples).evidence > DEFAULT.bound
    unused_weight = run_samples(*(counters(i * 10.0, 0, 0, 0, 0) for i in range(40)))
    assert unused_weight.evidence == pytest.approx(0.0)
    assert unused_weight.non_inferiority == pytest.approx(0.0)


def test_step_counts_exclude_requests_at_another_weight() -> None:
    """A raise that could not be written for a while: what was counted at the old weight passes no new step."""
    state = run_samples(*bad_samples(12), step=1, steps=3, weight=10)
    assert state.step.candidate > 0
    state = update_comparison(state, DEFAULT, counters(120.0, 1200, 0, 12000, 12), step=1, steps=3, weight=25)
    assert state.step == Counts()
    assert state.total.candidate > 0
