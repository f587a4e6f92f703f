"""Whole rollouts whose analysis changes at a step, and rollouts with a budget of failed requests."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from autocanary.decide.planner import replay
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.policy import Analysis, Metric, Policy, Range, Step
from autocanary.model.progress import Phase, failed_requests_of
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.model.rollout_json import from_document, to_document
from autocanary.simulator.prometheus_server import PrometheusFault
from autocanary.simulator.response_quality import Quality
from autocanary.simulator.traffic import RequestLoad
from tests.controller.comparison_policies import ERRORS, LATENCY, comparison_policy
from tests.controller.driver import ANALYSIS, FAULTLESS, V1, V2, Driver, healthy_start, policy

STRICT = Metric("request-success-rate", Range(min=99.9), Unit.PERCENT)
LENIENT = Metric("request-success-rate", Range(min=90.0), Unit.PERCENT)
HALF_PERCENT = Quality(error_percent=0.5)


def started(policy: Policy, candidate: Quality, **more: Any) -> Driver:
    """The candidate has its first traffic."""
    driver = healthy_start(policy, qualities={V1: FAULTLESS, V2: candidate, **more.pop("qualities", {})}, **more)
    driver.until(lambda: driver.has_rollout("mnist-00002"))
    driver.until(lambda: driver.rollout().progress.step.verified_at is not None)
    return driver


def stepwise(first: Analysis, later: Analysis, **changes: Any) -> Policy:
    """10 and 25 % with the first analysis, 50 and 100 % with the later one, which step 3 states."""
    steps = (Step(10, 60.0), Step(25, 60.0), Step(50, 60.0, False, later, 3), Step(100, 60.0, False, later, 3))
    return replace(policy(**changes), steps=steps, analysis=first)


def test_metrics_and_limits_of_a_step_hold_from_it_on() -> None:
    """0.5 % of errors is fine at 10 and 25 %, and beyond the limit of the third step."""
    first, later = (replace(ANALYSIS, metrics=(metric,)) for metric in (LENIENT, STRICT))
    driver = started(stepwise(first, later), HALF_PERCENT)
    seen = set()
    while not driver.rollout().is_final:
        driver.tick()
        progress = driver.rollout().progress
        seen.add((progress.step.index, progress.analysis.from_step))
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert driver.weights() == [10, 25, 50, 0]
    assert {pair for pair in seen if pair[0] >= 0} >= {(0, 0), (1, 0), (2, 3)}
    (message,) = driver.messages_of("rollback_started")
    assert "(needs 99.9 %)" in message
    assert to_document(driver.rollout())["status"]["analysisStep"] == 3


def test_warmup_of_a_step_delays_its_analysis() -> None:
    """The first step warms up for four minutes, and the third for two."""
    first = replace(ANALYSIS, first_warmup=240.0)
    later = replace(ANALYSIS, warmup=120.0)
    driver = healthy_start(stepwise(first, later))
    driver.finish()
    assert driver.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED)
    steps = [write.at for write in driver.world.cluster.writes]
    first_step, second_step, third_step = (after - before for before, after in itertools.pairwise(steps))
    assert 240.0 <= first_step < 300.0
    assert second_step < 120.0
    assert 120.0 <= third_step < 180.0


def test_a_metric_that_is_compared_later_begins_with_nothing_and_one_that_ends_keeps_its_evidence() -> None:
    """The mean is over all metrics of the rollout, so no step changes what the others have shown."""
    first = replace(comparison_policy().analysis, metrics=(ERRORS,))
    later = replace(first, metrics=(LATENCY,))
    steps = (Step(10, 120.0), Step(50, 120.0, False, later, 2), Step(100, 120.0, False, later, 2))
    compared = replace(comparison_policy(), steps=steps, analysis=first)
    driver = started(compared, HALF_PERCENT, qualities={V1: HALF_PERCENT}, load=RequestLoad(100.0))
    driver.until(
        lambda: driver.rollout().progress.step.index == 1 and driver.rollout().progress.step.verified_at is not None
    )
    driver.run(60)
    before = driver.rollout().progress.analysis.evidence["comparisons"]["metrics"]
    assert set(before) == {"error-rate", "request-duration"}
    driver.until(lambda: "request-duration" in driver.rollout().progress.analysis.metrics)
    driver.run(120)
    after = driver.rollout().progress.analysis.evidence["comparisons"]["metrics"]
    assert after["error-rate"] == before["error-rate"]
    assert after["request-duration"] != before["request-duration"]
    driver.until(lambda: driver.rollout().progress.analysis.metrics)  # a step begins without any
    assert set(driver.rollout().progress.analysis.metrics) == {"request-duration"}
    driver.finish()
    assert driver.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED)


def test_decisions_of_every_step_are_replayed() -> None:
    """The record says which step's analysis it was made by."""
    first, later = (replace(ANALYSIS, metrics=(metric,)) for metric in (LENIENT, STRICT))
    made = stepwise(first, later)
    driver = healthy_start(made, qualities={V2: HALF_PERCENT})
    driver.finish()
    checked = 0
    for decision in driver.rollout().progress.decisions:
        if "inputs" not in decision:
            continue
        again = replay(driver.rollout(), made, json.loads(json.dumps(decision["inputs"])))
        assert (again.event.value if again.event else None, again.reason.value) == (
            decision["event"],
            decision["reason"],
        )
        checked += 1
    assert checked >= 4


# --- the budget of failed requests ------------------------------------------------------------------------


def limited(most: int) -> Policy:
    """Half of the requests may fail by the metric; the budget is what ends it."""
    anything = Metric("request-success-rate", Range(min=1.0), Unit.PERCENT)
    return policy(metrics=(anything,), max_failed_requests=most)


def failed_at_scrapes(driver: Driver) -> list[int]:
    """What the candidate's counter had at each scrape."""
    series = driver.world.traffic.series("models", "mnist", driver.rollout().component)
    return [sample.errors for sample in series[driver.rollout().candidate].samples]


def test_a_spent_budget_rolls_back_whatever_the_metrics_say() -> None:
    """20 % errors at 50 requests/s and 10 %: one a second, and 100 are too many."""
    driver = healthy_start(limited(100), qualities={V2: Quality(error_percent=20.0)})
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.FAILED_REQUESTS_EXCEEDED)
    (message,) = driver.messages_of("rollback_started")
    counted = failed_requests_of(driver.rollout().progress)
    assert counted is not None
    assert message == f"{counted[0]:,} failed requests, the budget is 100"
    assert 100 <= counted[0] < 250
    assert to_document(driver.rollout())["status"]["failedRequests"] == {"count": counted[0], "max": 100}


def test_a_healthy_candidate_stays_within_its_budget() -> None:
    driver = healthy_start(limited(100))
    driver.finish()
    assert driver.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED)
    assert failed_requests_of(driver.rollout().progress) == (0, 100)


@pytest.mark.parametrize("every", [17, 23, 45])
def test_failures_are_counted_once_over_restarts(every: int) -> None:
    """autocanary restarts again and again: the count is always that of a scrape, not one more and not one less."""
    driver = started(limited(100_000), Quality(error_percent=20.0))
    seen = []
    for _ in range(4):
        driver.run(every)
        counted = [failed_requests_of(each.progress) for each in driver.controller.rollouts()]
        seen += [each[0] for each in counted if each is not None]
        assert not seen or seen[-1] in failed_at_scrapes(driver)
        driver.world.metrics.restart()
        driver.restart()
    driver.run(60)
    assert seen == sorted(seen)
    (running,) = driver.controller.rollouts()
    ((failed, _),) = [each for each in [failed_requests_of(running.progress)] if each]
    assert failed in failed_at_scrapes(driver)[-5:]
    assert failed > 50


def test_failures_during_an_outage_of_prometheus_are_counted_after_it() -> None:
    """What the counters show when it answers again."""
    driver = started(limited(300), Quality(error_percent=20.0))
    driver.run(30)
    now = driver.world.now()
    driver.world.metrics.faults.append(PrometheusFault(MeasurementKind.OUTAGE, now, now + 400.0))
    driver.run(390)
    held = failed_requests_of(driver.rollout().progress)
    assert held is not None
    assert held[0] < 100
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.FAILED_REQUESTS_EXCEEDED)


def test_a_retry_has_a_budget_of_its_own() -> None:
    """The same revision again: what it failed before is another rollout's harm."""
    driver = healthy_start(limited(100), qualities={V2: Quality(error_percent=20.0)})
    driver.finish()
    before = failed_requests_of(driver.rollout().progress)
    driver.ask(Verb.RETRY)
    again = "mnist-00002-r2"
    driver.until(lambda: driver.has_rollout(again) and driver.rollout(again).progress.analysis.failed_requests)
    counted = failed_requests_of(driver.rollout(again).progress)
    assert before is not None
    assert counted is not None
    assert counted[0] < 60 < before[0]


def test_the_record_restores_the_budget() -> None:
    """Through the JSON of the CanaryRollout."""
    driver = started(limited(100_000), Quality(error_percent=20.0))
    driver.until(lambda: bool(driver.rollout().progress.analysis.failed_requests.get("failed")))
    again = from_document(json.loads(json.dumps(to_document(driver.rollout()))))
    assert again.progress.analysis.failed_requests == driver.rollout().progress.analysis.failed_requests


# --- evaluations in a row ---------------------------------------------------------------------------------


def test_a_limit_of_evaluations_in_a_row_that_is_never_reached_ends_at_the_deadline() -> None:
    """One of three is out of range, so there are never five in a row: held, and rolled back after progressDeadline."""
    drift = Metric("drift", Range(max=1.0), Unit.NUMBER, "drift", failure_limit=None, consecutive_success_limit=5)
    drift = replace(drift, consecutive_failure_limit=2)
    values = itertools.cycle([0.0, 0.0, 5.0])
    driver = Driver(policy(metrics=(drift,)))
    driver.world.metrics.custom["drift"] = lambda *_: Measurement(MeasurementKind.VALUE, next(values), requests=500.0)
    driver.deploy_stable()
    driver.release()
    driver.finish(limit=600)
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.PROGRESS_DEADLINE_EXCEEDED)
