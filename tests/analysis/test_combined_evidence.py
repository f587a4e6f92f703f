"""All comparisons of a rollout together: one evidence, one latch, and a state that fits anywhere."""

from __future__ import annotations

import json
import random
from math import exp, log

import pytest

from autocanary.analysis.combined_evidence import SHARE, Evidence, Trial, combined, look
from autocanary.analysis.parameters import Terms, terms_of
from autocanary.analysis.traffic_share import Share, watched
from autocanary.model.measurement import Counters, Totals
from autocanary.model.policy import Compare, Preset

ERRORS, LATENCY = "error-rate", "request-duration"
TERMS = {ERRORS: terms_of(Compare()), LATENCY: terms_of(Compare(), latency=True)}
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BELOW = (0.02, 0.1, 0.3, 0.52, 0.78, 0.92, 0.972, 0.99, 0.996, 0.999, 0.9995)


class World:
    """Two revisions under load; ``fails`` is the canary's failure rate, ``share`` what it completes."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.at = 0.0
        self.sums = [[0, 0, *([0] * len(BOUNDS))] for _ in range(2)]

    def tick(self, fails: float = 0.002, share: float = 0.1, n: int = 500) -> Counters:
        self.at += 10.0
        n_c = round(n * share)
        for sums, many, rate in ((self.sums[0], n_c, fails), (self.sums[1], n - n_c, 0.002)):
            failed = sum(self.rng.random() < rate for _ in range(many))
            served = many - failed
            for place, more in enumerate((many, failed, *(round(served * b) for b in BELOW))):
                sums[place] += more
        sides = [Totals(float(n), float(e), tuple(map(float, within))) for n, e, *within in self.sums]
        return Counters("account-of-a-service", self.at, sides[0], sides[1], BOUNDS)


def run(
    ticks: int, world: World | None = None, trial: Trial | None = None, **kind: float
) -> tuple[Trial, Evidence]:
    world, trial = world or World(), trial or Trial()
    found = combined({}, {})
    for tick in range(ticks):
        seen = world.tick(**kind)  # type: ignore[arg-type]
        trial, found = look(
            trial, TERMS, dict.fromkeys(TERMS, seen), step=min(tick // 50, 2), steps=3, weight=10
        )
    return trial, found


def test_a_bad_canary_is_found_and_the_right_metric_blamed() -> None:
    """Blame is each metric's part of the evidence; failures count as slow, so latency carries some of it."""
    _, found = run(40, fails=0.1)
    assert found.latched
    assert found.culprit == ERRORS
    assert sum(found.blame.values()) == pytest.approx(1.0)
    assert found.blame[ERRORS] > 0.6 > found.blame[LATENCY] > found.blame[SHARE]
    assert (found.meter, found.suspicious, found.non_inferior) == (100.0, True, False)


def test_a_good_canary_is_shown_to_be_good() -> None:
    """Both metrics pass, nothing is suspicious, the meter rests."""
    _, found = run(100)
    assert not found.latched
    assert not found.suspicious
    assert found.non_inferior
    assert set(found.passed) == {ERRORS, LATENCY}
    assert found.meter < 20.0


def test_a_canary_that_completes_nothing_is_found() -> None:
    """A hung canary fails no request; it is its share that is missing."""
    _, found = run(40, share=0.0)
    assert found.latched
    assert found.culprit == SHARE
    _, half = run(40, share=0.08)
    assert not half.latched


def test_evidence_is_latched() -> None:
    """What was once enough stays so, when the canary recovers and after a restart."""
    world = World()
    trial, found = run(30, world, fails=0.1)
    assert found.latched
    trial = Trial.from_dict(json.loads(json.dumps(trial.to_dict())))
    _, later = run(200, world, trial, fails=0.0)
    assert later.log_e < later.bound
    assert later.latched


def test_metrics_that_do_not_gate_are_kept_and_do_not_count() -> None:
    """A dry-run metric has its evidence, and no part in the decision."""
    trial, world = Trial(), World()
    found = combined({}, {})
    for _ in range(40):
        seen = world.tick(fails=0.1)
        trial, found = look(
            trial, TERMS, dict.fromkeys(TERMS, seen), step=0, steps=1, weight=10, gating={LATENCY}
        )
    assert trial.metrics[ERRORS].evidence > TERMS[ERRORS].bound
    assert set(found.blame) == {LATENCY, SHARE}
    assert found.passed == () or found.passed == (LATENCY,)


def test_nothing_compared_decides_nothing() -> None:
    """No metric: no evidence, and no proof of health either."""
    found = combined({}, {})
    assert (found.log_e, found.latched, found.non_inferior, found.culprit, found.meter) == (
        0.0,
        False,
        False,
        "",
        0.0,
    )


def test_the_strictest_alpha_holds_for_the_rollout() -> None:
    """A rollout with a strict metric is rolled back on the strict metric's evidence only."""
    trial, _ = run(5)
    strict = {**TERMS, ERRORS: terms_of(Compare(preset=Preset.STRICT))}
    assert combined(trial.metrics, strict).bound == pytest.approx(log(100.0))


def test_the_mean_covers_all_metrics_with_one_alpha() -> None:
    """The evidence is the weighted mean of the members', so it is at most the largest of them."""
    trial, found = run(12, fails=0.05)
    parts = [0.45 * exp(each.evidence) for each in trial.metrics.values()] + [0.1 * exp(trial.share.evidence)]
    assert exp(found.log_e) == pytest.approx(sum(parts))


def test_a_limit_that_is_passed_is_told() -> None:
    """Both revisions are beyond the objective: a reason to pause; not the canary's fault."""
    world, trial = World(), Trial()
    terms = {ERRORS: TERMS[ERRORS]}
    found = combined({}, {})
    for _ in range(60):
        trial, found = look(
            trial, terms, {ERRORS: world.tick()}, step=0, steps=1, weight=10, limits={ERRORS: 0.0001}
        )
    assert found.beyond == (ERRORS,)
    assert not found.latched


def test_the_state_of_a_whole_rollout_is_small() -> None:
    """Two metrics, five latency bounds, ten steps, millions of requests: under 4 kB as JSON, exactly restored."""
    world, trial = World(), Trial()
    for tick in range(200):
        seen = world.tick(fails=0.003, n=3000 + tick)
        trial, _ = look(
            trial,
            TERMS,
            dict.fromkeys(TERMS, seen),
            step=tick // 20,
            steps=10,
            weight=10 + tick // 20,
            limits={ERRORS: 0.01},
        )
        text = json.dumps(trial.to_dict())
        assert len(text) < 4000
        assert Trial.from_dict(json.loads(text)) == trial
    assert len(trial.metrics[LATENCY].bounds) == 5


def test_share_without_a_split_says_nothing() -> None:
    """At 0 and at 100 % there is no share to complete."""
    terms = Terms()
    for weight in (0, 100):
        state = Share()
        for tick in range(20):
            seen = Counters("one", tick * 10.0, Totals(0.0), Totals(tick * 100.0))
            state = watched(state, terms, seen, step=0, steps=1, weight=weight)
        assert state.evidence == pytest.approx(0.0)
        assert state.completed == 0.0
    assert Share().completed is None
    assert Share().evidence == 0.0


def test_share_that_fails_late_is_found_by_a_new_step() -> None:
    """Hours of health do not hide a canary that hangs after the split was raised."""
    state, n_c, n_s = Share(), 0, 0
    for tick in range(400):
        hung = tick >= 300
        n_c, n_s = n_c + (0 if hung else 100), n_s + 900
        seen = Counters("one", tick * 10.0, Totals(float(n_c)), Totals(float(n_s)))
        state = watched(state, Terms(), seen, step=int(hung), steps=2, weight=10 + int(hung))
        if state.evidence >= Terms().bound:
            assert 312 <= tick <= 330
            return
    pytest.fail("never found")


@pytest.mark.parametrize("healthy", [10, 100, 1000])
def test_share_that_fails_late_in_a_step_is_found_in_minutes(healthy: int) -> None:
    """Neither do hours of health in the same step: a test begins with every block."""
    state, n_c, n_s = Share(), 0, 0
    for tick in range(healthy + 100):
        n_c, n_s = n_c + (100 if tick < healthy else 0), n_s + 900
        seen = Counters("one", tick * 10.0, Totals(float(n_c)), Totals(float(n_s)))
        state = watched(state, Terms(), seen, step=0, steps=2, weight=10)
        if state.evidence >= Terms().bound:
            assert healthy < tick <= healthy + 60
            return
    pytest.fail("never found")


def test_the_stakes_of_share_never_exceed_one() -> None:
    """With nothing in the blocks every test stands at its stake: together with what is idle that is 1."""
    state = Share()
    for tick in range(200):
        seen = Counters("one", tick * 10.0, Totals(), Totals())
        state = watched(state, Terms(), seen, step=tick // 60, steps=4, weight=10 + tick // 60)
        assert state.evidence == pytest.approx(0.0, abs=1e-9)
    assert state.blocks > 1


def test_share_before_the_first_step_is_a_baseline() -> None:
    """A staged candidate has no share, and costs no stake."""
    state = watched(
        Share(), Terms(), Counters("one", 1.0, Totals(), Totals(50.0)), step=-1, steps=2, weight=0
    )
    assert (state.evidence, state.logs) == (0.0, ())
    state = watched(state, Terms(), None, step=0, steps=2, weight=10)
    assert state.evidence == pytest.approx(0.0)
    assert Share.from_dict(json.loads(json.dumps(state.to_dict()))) == state
