"""The page is enough: evidence written from docs/how-it-decides.md alone is the package's, evaluation by evaluation."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass

import pytest

from autocanary.analysis.combined_evidence import TRAFFIC_SHARE, CombinedEvidence, Comparisons, update_comparisons
from autocanary.analysis.parameters import ComparisonParameters, parameters_of
from autocanary.analysis.sequential_test import evidence_within_block
from autocanary.model.measurement import RequestCounters, RequestTotals
from autocanary.model.policy import ComparisonPolicy, ComparisonPreset
from tests.analysis.evidence_from_the_page import Rollout, Setting, Side

ERRORS, LATENCY = "error-rate", "request-duration"
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5)
LATENCY_SETTING = {"fail": (1.25, 0.005), "passing": (1.5, 0.01)}
PRESETS: dict[ComparisonPreset, dict[str, float]] = {
    ComparisonPreset.DEFAULT: {},
    ComparisonPreset.FAST: {"block": 10.0, "evaluations": 1, "cap": math.inf},
    ComparisonPreset.ROBUST: {"block": 60.0},
    ComparisonPreset.STRICT: {},
}


@dataclass
class Evaluation:
    """What one evaluation sees: sums since the beginning, and where the rollout is."""

    at: float
    step: int
    weight: int
    sums: tuple[list[int], list[int]]
    current: tuple[bool, bool] = (True, True)


def evaluations(seed: int, many: int = 400) -> list[Evaluation]:
    """Rates and loads that jump, outages of both, steps, splits that change, gaps of one side, and a bake."""
    rng = random.Random(seed)
    sums: tuple[list[int], list[int]] = ([0] * 7, [0] * 7)
    weights = (10, 25, 50, 100)
    step, weight, at, until = -1, 0, 1000.0, 0
    rates, loads, slow, gap = [0.002, 0.002], [20, 60], [0.5, 0.5], (True, True)
    found = []
    for tick in range(many):
        at += rng.choice((10.0, 10.0, 14.0, 15.0, 30.0))
        if tick >= until:
            until = tick + rng.randint(3, 40)
            p_s = rng.choice((0.0, 0.002, 0.02, 0.3, 1.0))
            rates = [rng.choice((p_s, p_s, 0.004, 0.05, 0.6, 1.0)), p_s]
            loads = [rng.choice((0, 2, 30, 300)), rng.choice((0, 5, 90, 900))]
            slow = [rng.choice((0.5, 0.6, 0.9)), 0.5]
            gap = (True, True) if rng.random() < 0.7 else (rng.random() < 0.5, rng.random() < 0.5)
            if tick and rng.random() < 0.6 and step < 3:
                step += rng.choice((1, 1, 1, 2)) if step < 2 else 1
                weight = weights[step]
            elif tick and rng.random() < 0.2 and 0 <= step < 3:
                weight = rng.choice((10, 20, 60))
        loads_now = [loads[0], 0 if weight == 100 and rng.random() < 0.9 else loads[1]]
        for side, load, rate, latency in zip(sums, loads_now, rates, slow, strict=True):
            n = rng.randint(load // 2, load)
            failed = sum(rng.random() < rate for _ in range(n))
            side[0] += n
            side[1] += failed
            for place, bound in enumerate(BOUNDS):
                below = 1.0 - latency ** (1.0 + 4.0 * bound)
                side[2 + place] = max(side[2 + place], 0) + round((n - failed) * below)
        found.append(Evaluation(at, step, weight, (list(sums[0]), list(sums[1])), gap))
    return found


def counters_of(seen: Evaluation) -> RequestCounters:
    sides = [RequestTotals(float(n), float(e), tuple(map(float, within))) for n, e, *within in seen.sums]
    return RequestCounters("one", seen.at, sides[0], sides[1], BOUNDS, True, *seen.current)


def sides_of(seen: Evaluation, bounds: tuple[float, ...]) -> dict[str, tuple[Side, Side]]:
    errors = [Side(n, (e,)) for n, e, *_ in seen.sums]
    slow = [Side(n, tuple(n - within[BOUNDS.index(each)] for each in bounds)) for n, _, *within in seen.sums]
    return {"errors": (errors[0], errors[1]), "latency": (slow[0], slow[1])}


def chosen_bounds(stable: list[int]) -> tuple[float, ...]:
    """The page: the narrowest bound that holds each of five parts of stable's requests, once it has 100."""
    n, _, *within = stable
    if n < 100:
        return ()
    found = [
        next((bound for bound, many in zip(BOUNDS, within, strict=True) if many >= part * n), None)
        for part in (0.5, 0.75, 0.9, 0.97, 0.995)
    ]
    return tuple(sorted({each for each in found if each is not None})) or BOUNDS[-1:]


def p99(stable: list[int]) -> float:
    n, failed, *within = stable
    if n <= failed:
        return 0.0
    return next((b for b, many in zip(BOUNDS, within, strict=True) if many >= 0.99 * (n - failed)), BOUNDS[-1])


def run_both(
    seed: int, parameters: dict[str, ComparisonParameters], settings: dict[str, Setting], slo: float | None = None
) -> list[tuple[Comparisons, CombinedEvidence, Rollout, Evaluation]]:
    """Both over the same counts. Latency waits for its bounds, which are compared on their own below."""
    page: Rollout | None = None
    comparisons, states = Comparisons(), []
    bounds: tuple[float, ...] = ()
    latched = False
    for seen in evaluations(seed):
        # A staged candidate beside which stable has not completed 100 requests is not evaluated here.
        bounds = bounds or chosen_bounds(seen.sums[1])
        if not bounds:
            continue
        page = page or Rollout(4, settings, len(bounds), slo)
        counters = counters_of(seen)
        comparisons, conclusion = update_comparisons(
            Comparisons.from_dict(json.loads(json.dumps(comparisons.to_dict()))),
            parameters,
            dict.fromkeys(parameters, counters),
            step=seen.step,
            steps=4,
            weight=seen.weight,
            limits={ERRORS: slo} if slo is not None else None,
        )
        sides = {name: each for name, each in sides_of(seen, bounds).items() if name in settings}
        page.evaluate(seen.at, seen.step, seen.weight, sides, seen.current, p99(seen.sums[1]))
        states.append((comparisons, conclusion, page, seen))
        check(comparisons, conclusion, page, seen, bounds)
        for name, written in (("errors", ERRORS), ("latency", LATENCY)):
            if name in page.metrics and seen.step >= 0:
                early = evidence_within_block(comparisons.metrics[written], parameters[written], slo)
                assert early == pytest.approx(page.metrics[name].evidence(within_block=True), abs=1e-9)
        early = comparisons.share.evidence_within_block()
        assert early == pytest.approx(page.share.evidence(within_block=True), abs=1e-9)
        latched = latched or page.is_enough(min(each.alpha for each in parameters.values()))
        assert conclusion.latched == latched
    return states


def check(
    comparisons: Comparisons,
    conclusion: CombinedEvidence,
    page: Rollout,
    seen: Evaluation,
    bounds: tuple[float, ...],
) -> None:
    if seen.step < 0:
        return
    for name, written in (("errors", ERRORS), ("latency", LATENCY)):
        if name not in page.metrics:
            continue
        state, metric = comparisons.metrics[written], page.metrics[name]
        if name == "latency":
            assert state.bounds == bounds
        assert state.evidence == pytest.approx(metric.evidence(), abs=1e-9), (seen, name)
        assert state.non_inferiority == pytest.approx(metric.shown_fine(), abs=1e-9)
        assert state.step_non_inferiority == pytest.approx(metric.shown_fine(in_step=True), abs=1e-9)
        if metric.limit is not None:
            assert state.beyond_limit == pytest.approx(metric.limit.evidence(), abs=1e-9)
        assert (written in conclusion.passed) == page.gates(seen.step)[name]
    assert comparisons.share.evidence == pytest.approx(page.share.evidence(), abs=1e-9)
    assert conclusion.log_e == pytest.approx(page.evidence(), abs=1e-9)
    assert comparisons.health.bar == pytest.approx(page.outages.bar(), abs=1e-12)
    assert comparisons.health.stable_in_outage == page.outages.stable_outage
    assert comparisons.health.candidate_in_outage == page.outages.canary_outage()
    assert set(conclusion.contribution) >= {TRAFFIC_SHARE}


@pytest.mark.parametrize("preset", list(PRESETS), ids=lambda each: each.value)
@pytest.mark.parametrize("seed", range(6))
def test_page_and_package_agree(seed: int, preset: ComparisonPreset) -> None:
    """Every part to 1e-9: both paths, share, mean, passing bounds, bars; through steps, gaps, outages and a bake."""
    policy = ComparisonPolicy(preset=preset)
    parameters = {ERRORS: parameters_of(policy), LATENCY: parameters_of(policy, latency=True)}
    changed = PRESETS[preset]
    settings = {"errors": Setting(**changed), "latency": Setting(**changed, **LATENCY_SETTING)}  # type: ignore[arg-type]
    states = run_both(seed, parameters, settings)
    assert len(states) > 300


@pytest.mark.parametrize("seed", range(4))
def test_page_and_package_agree_on_a_limit_and_margins_of_its_own(seed: int) -> None:
    """``thresholdRange`` beside the comparison, another ratio and another slack."""
    policy = ComparisonPolicy(margin=0.4, ratio=2.0, confidence=99.0)
    settings = {"errors": Setting(fail=(2.0, 0.004), passing=(2.0, 0.005))}
    states = run_both(100 + seed, {ERRORS: parameters_of(policy)}, settings, slo=0.02)
    assert len(states) > 300
    assert any(comparisons.metrics[ERRORS].beyond_limit is not None for comparisons, _, _, _ in states)


def test_the_sequences_reach_every_part() -> None:
    """Otherwise equality would say nothing: harm, health, gaps, outages and the bake all occur."""
    seen: set[str] = set()
    for seed in range(6):
        policy = ComparisonPolicy()
        settings = {"errors": Setting()}
        for comparisons, conclusion, page, at in run_both(seed, {ERRORS: parameters_of(policy)}, settings):
            state = comparisons.metrics[ERRORS]
            fast = page.metrics["errors"].fast
            assert fast is not None
            seen |= {
                name
                for name, here in (
                    ("latched", conclusion.latched),
                    ("shown fine", bool(conclusion.passed)),
                    ("stable's outage", comparisons.health.stable_in_outage),
                    ("canary's outage", comparisons.health.candidate_in_outage),
                    ("bake", at.weight == 100 and state.total.candidate > 0),
                    ("silent", not all(at.current)),
                    (
                        "fast path counts",
                        bool(fast.logs) and min(fast.evidence(), sum(page.metrics["errors"].gross)) > 3,
                    ),
                    ("share", comparisons.share.evidence > 1),
                )
                if here
            }
    assert seen == {
        "latched",
        "shown fine",
        "stable's outage",
        "canary's outage",
        "bake",
        "silent",
        "fast path counts",
        "share",
    }
