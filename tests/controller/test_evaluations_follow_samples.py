"""Evaluations follow the samples: a violation is seen when its sample is, whatever the policy's interval."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from itertools import pairwise
from typing import Any, TypeVar

import pytest

from autocanary.app.demo_run import controller_on
from autocanary.controller import Controller
from autocanary.controller.early_rounds import EarlyEvaluations
from autocanary.http_server.counters import ControllerMetrics
from autocanary.model.measurement import MeasurementKind, Unit
from autocanary.model.policy import ComparisonPolicy, Metric, Policy, Range, Step, Webhook, WebhookType
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.ports import Pool, WebhookResult
from autocanary.simulator.prometheus_server import PrometheusFault
from autocanary.simulator.response_quality import Quality
from tests.controller.driver import V2, Driver, SlowPool, healthy_start, policy

T = TypeVar("T")

LONG = (Step(10, 3600.0), Step(100, 60.0))
ONE_VIOLATION = Metric("request-success-rate", Range(min=99.0), Unit.PERCENT, failure_limit=1)
COMPARED = Metric("error-rate", Range(), Unit.PERCENT, compare=ComparisonPolicy())
OWN = Metric("drift", Range(max=1.0), Unit.NUMBER, query="drift{}", failure_limit=1)


def slow_policy(*metrics: Metric, interval: float = 120.0, **changes: Any) -> Policy:
    """Evaluated every two minutes; a window of two scrapes shows a violation with its first sample."""
    chosen = metrics or (ONE_VIOLATION,)
    return policy(**{"steps": LONG, "metrics": chosen, "interval": interval, "min_requests": 5.0, **changes})


class Harm:
    """A candidate whose requests begin to fail at an instant."""

    def __init__(self, percent: float = 50.0) -> None:
        self._percent, self.began_at = percent, float("inf")

    def quality(self) -> Quality:
        return Quality(error_percent=lambda moment: self._percent if moment.at > self.began_at else 0.0)


def in_analysis(followed: Policy, harm: Harm, scrape: float = 2.0, **more: Any) -> Driver:
    """A healthy candidate at 10 %, five seconds after a regular evaluation: the next one is far."""
    driver = healthy_start(followed, scrape_seconds=scrape, qualities={V2: harm.quality()}, **more)
    driver.until_weight(10)
    driver.run(2 * followed.analysis.interval)
    driver.until(lambda: driver.world.now() % followed.analysis.interval == min(5, followed.analysis.interval - 1))
    assert driver.phase() is Phase.PROGRESSING
    return driver


def seconds_to_rollback(driver: Driver, harm: Harm, limit: int = 600) -> float:
    harm.began_at = driver.world.now()
    driver.until(lambda: driver.weights()[-1] == 0, limit)
    return driver.world.now() - harm.began_at


def without_early_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EarlyEvaluations, "schedule", lambda *_: None)


@pytest.mark.parametrize("interval", [15.0, 120.0, 600.0])
def test_rolls_back_at_first_bad_sample_whatever_the_interval(interval: float) -> None:
    """The scrape of every two seconds, and a tick."""
    harm = Harm()
    driver = in_analysis(slow_policy(window=10.0, interval=interval), harm)
    assert seconds_to_rollback(driver, harm) <= 5
    assert driver.until_phase(Phase.ROLLED_BACK).progress.reason is Reason.METRIC_VIOLATION


def test_first_step_is_evaluated_when_its_warm_up_ends() -> None:
    """A candidate that is bad from its first request on is not served for the rest of an interval of ten minutes."""
    harm = Harm()
    harm.began_at = 0.0
    driver = healthy_start(slow_policy(interval=600.0), scrape_seconds=2.0, qualities={V2: harm.quality()})
    driver.until_weight(10)
    verified = driver.rollout().progress.step.verified_at
    driver.until(lambda: driver.weights()[-1] == 0, 60)
    assert verified is not None
    assert driver.world.now() - verified <= 15 + 6  # the warm-up, and a try every five seconds


def test_two_violations_are_about_an_interval_apart() -> None:
    """With a sample every second a limit of two means two intervals, as with a sample in each."""
    harm = Harm()
    twice = Metric("request-success-rate", Range(min=99.0), Unit.PERCENT, failure_limit=2)
    driver = in_analysis(slow_policy(twice, interval=60.0, window=10.0), harm)
    assert 50 <= seconds_to_rollback(driver, harm) <= 60


def test_one_sample_is_one_violation() -> None:
    """Evaluations every five seconds, scrapes every thirty: three violations take three scrapes."""
    harm = Harm()
    thrice = Metric("request-success-rate", Range(min=99.0), Unit.PERCENT, failure_limit=3)
    driver = in_analysis(slow_policy(thrice, interval=5.0, window=120.0), harm, scrape=30.0)
    harm.began_at = driver.world.now()
    counted: list[float] = []
    while driver.weights()[-1] != 0:
        driver.tick()
        states = [each.progress.analysis.metrics.get("request-success-rate") for each in driver.controller.rollouts()]
        if any(state is not None and state.violations > len(counted) for state in states):
            counted.append(driver.world.now())
    assert len(counted) == 3
    assert all(29 <= after - before <= 31 for before, after in pairwise(counted))


@pytest.mark.parametrize("scrape", [1.0, 5.0, 15.0, 40.0])
@pytest.mark.parametrize("interval", [10.0, 15.0, 60.0])
@pytest.mark.parametrize(
    "metric",
    [
        ONE_VIOLATION,
        Metric("request-success-rate", Range(min=99.0), Unit.PERCENT, failure_limit=2),
        Metric("request-success-rate", Range(min=99.0), Unit.PERCENT, failure_limit=3, consecutive=True),
        COMPARED,
    ],
    ids=["one", "two", "three in a row", "compared"],
)
def test_never_later_than_regular_evaluations_alone(
    monkeypatch: pytest.MonkeyPatch, metric: Metric, interval: float, scrape: float
) -> None:
    """The same harm in the same world, with and without evaluations in between."""

    def seconds() -> float:
        harm = Harm()
        followed = slow_policy(metric, interval=interval, window=3 * scrape)
        return seconds_to_rollback(in_analysis(followed, harm, scrape), harm, 1200)

    early = seconds()
    without_early_evaluations(monkeypatch)
    assert early <= seconds()


def test_compared_candidate_is_rolled_back_at_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sample counts when it is there, not half an interval later."""

    def seconds() -> float:
        harm = Harm()
        driver = in_analysis(slow_policy(COMPARED, interval=60.0), harm, scrape=15.0)
        return seconds_to_rollback(driver, harm)

    early = seconds()
    without_early_evaluations(monkeypatch)
    assert early <= seconds() - 10


def test_healthy_candidate_moves_at_the_same_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations in between roll back and hold; what passes a step passes it once per interval."""
    enough = Metric("request-success-rate", Range(min=99.0), Unit.PERCENT, consecutive_success_limit=4)

    def steps() -> list[float]:
        followed = policy(steps=(Step(10, 30.0), Step(50, 30.0), Step(100, 30.0)), metrics=(enough,), interval=20.0)
        driver = healthy_start(followed, scrape_seconds=1.0)
        driver.finish()
        return [each.at for each in driver.world.cluster.writes]

    early = steps()
    without_early_evaluations(monkeypatch)
    assert early == steps()


def test_pass_beside_rollout_webhook_waits_for_regular_evaluation() -> None:
    """The webhook says no at each: samples in range in between do not let the candidate advance."""
    hook = Webhook("load", WebhookType.ROLLOUT, "http://load")
    followed = slow_policy(
        ONE_VIOLATION, COMPARED, interval=60.0, steps=(Step(10, 20.0), Step(100, 20.0)), webhooks=(hook,)
    )
    driver = healthy_start(followed, scrape_seconds=2.0)
    driver.world.policy_webhooks.answers["load"] = WebhookResult(False, "no")
    driver.until_weight(10)
    driver.run(100)
    assert driver.weights()[-1] == 10


def test_own_query_keeps_its_state_in_between() -> None:
    """Presets beside a query of the policy's own are followed; the query itself is asked once per interval."""
    harm = Harm()
    asked: list[float] = []

    def drift(*_: object) -> float:
        asked.append(driver.world.now())
        return 0.5

    followed = slow_policy(ONE_VIOLATION, OWN, window=10.0)
    driver = healthy_start(followed, scrape_seconds=2.0, qualities={V2: harm.quality()})
    driver.world.metrics.custom["drift"] = drift
    driver.until_weight(10)
    driver.run(240)
    driver.until(lambda: driver.world.now() % 120 == 5)
    assert seconds_to_rollback(driver, harm) <= 5
    assert all(after - before >= 60 for before, after in pairwise(sorted(set(asked))))


def test_outage_in_between_says_nothing() -> None:
    """Prometheus fails for a minute between two evaluations: it is no outage, and nothing is written."""
    driver = in_analysis(slow_policy(), Harm())
    now, writes = driver.world.now(), len(driver.world.store.writes)
    driver.world.metrics.faults.append(PrometheusFault(MeasurementKind.OUTAGE, now, now + 60))
    driver.run(62)
    assert driver.rollout().progress.analysis.outage_since is None
    assert len(driver.world.store.writes) == writes


def test_slow_answer_in_between_delays_no_regular_evaluation() -> None:
    """A regular evaluation that comes due meanwhile uses the answer that is on its way."""
    driver = Driver(slow_policy(interval=20.0), scrape_seconds=2.0)
    pool = SlowPool(driver.world, 8.0)
    driver.controller = _with_query_pool(driver, pool)
    driver.deploy_stable()
    driver.release()
    driver.until_weight(10)
    driver.run(60)
    seen: list[float] = []
    for _ in range(200):
        driver.tick()
        at = driver.controller.rollouts()[0].progress.analysis.last_evaluation_at
        if at is not None and (not seen or at != seen[-1]):
            seen.append(at)
    assert max(after - before for before, after in pairwise(seen)) <= 20 + 8 + 1
    assert pool.under_way <= 2


def _with_query_pool(driver: Driver, pool: SlowPool) -> Controller:
    return controller_on(driver.world, ControllerMetrics(), query_pool=pool)


class _Switched:
    """A pool that can be exchanged for another one."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def submit(self, work: Callable[[], T]) -> Future[T]:
        return self.pool.submit(work)


def test_recovers_from_slow_answers() -> None:
    """A server that took 12 s for each answer is asked as often as before once it answers in time again."""
    harm = Harm()
    driver = in_analysis(slow_policy(window=10.0, interval=20.0), harm)
    switched = _Switched(SlowPool(driver.world, 12.0))
    driver.controller = controller_on(driver.world, ControllerMetrics(), query_pool=switched)
    driver.run(80)
    switched.pool = driver.world.pool
    driver.run(120)
    driver.until(lambda: driver.world.now() % 20 == 5)
    assert seconds_to_rollback(driver, harm) <= 5
