"""What a rollout costs while nothing happens: writes, queries, calls, and how soon things are noticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count, pairwise

import pytest

from autocanary.app.demo_run import controller_on
from autocanary.controller import Controller
from autocanary.model.measurement import Measurement, MeasurementKind, MetricQuery, Unit
from autocanary.model.policy import Metric, Policy, Range, Selector, Webhook, WebhookType
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.simulator.pod_behaviour import NEVER_READY, ready_after_seconds
from autocanary.simulator.prometheus_server import PrometheusFault
from tests.controller.driver import BROKEN, LONG_STEPS, V1, V2, V3, Driver, SlowPool, healthy_start, policy


def writes_within(driver: Driver, seconds: float) -> int:
    before = len(driver.world.store.writes)
    driver.run(seconds)
    return len(driver.world.store.writes) - before


def fleet(size: int, followed: Policy) -> Driver:
    """So many services under one policy; each has just got its second version."""
    driver = Driver(followed)
    names = [f"model-{number:03d}" for number in range(size)]
    for name in names:
        driver.world.deploy(name, V1)
    driver.run(15)
    for name in names:
        driver.release(name=name)
    return driver


def watched(driver: Driver) -> list[tuple[float, MetricQuery]]:
    """Every question from now on, with its time."""
    asked: list[tuple[float, MetricQuery]] = []
    ask = driver.world.metrics.query

    def noting(queries: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        asked.extend((driver.world.now(), question) for question in queries)
        return ask(queries)

    driver.world.metrics.query = noting  # type: ignore[method-assign]
    return asked


@pytest.mark.parametrize("interval", [5.0, 15.0, 60.0])
def test_held_step_writes_at_most_every_30_s(interval: float) -> None:
    """Ten minutes of good evaluations: the status is refreshed now and then, not at every evaluation."""
    driver = healthy_start(policy(steps=LONG_STEPS, interval=interval))
    driver.until(lambda: driver.has_rollout("mnist-00002") and driver.rollout().progress.reason is Reason.ANALYSING)
    driver.run(40)
    assert 1 <= writes_within(driver, 600) <= 20
    assert driver.weights() == [10]


def test_changing_measurements_cause_no_extra_writes() -> None:
    """Enough requests at one evaluation and too few at the next, every five seconds, while the step is held."""
    looks = count()

    def now_and_then(_: MetricQuery, __: float) -> Measurement:
        return Measurement(MeasurementKind.VALUE, 0.0, requests=500.0 if next(looks) % 2 else 5.0)

    drift = Metric("drift", Range(max=1.0), Unit.NUMBER, query="drift")
    driver = Driver(policy(steps=LONG_STEPS, interval=5.0, metrics=(drift,)))
    driver.world.metrics.custom["drift"] = now_and_then
    driver.deploy_stable()
    driver.release()
    driver.until_weight(10)
    driver.run(60)
    assert writes_within(driver, 600) <= 20


def test_waiting_for_revision_writes_at_most_every_30_s() -> None:
    """A model that loads for hours."""
    driver = healthy_start(policy(progress_deadline=86400.0), behaviours={V2: NEVER_READY})
    driver.until_phase(Phase.STAGING)
    driver.run(60)
    assert writes_within(driver, 600) <= 20


@pytest.mark.parametrize("kind", [MeasurementKind.OUTAGE, MeasurementKind.NO_SERIES], ids=lambda kind: kind.value)
def test_metrics_outage_writes_at_most_every_30_s(kind: MeasurementKind) -> None:
    """Held, with a message that does not change at every evaluation."""
    driver = healthy_start(policy(steps=LONG_STEPS, progress_deadline=86400.0))
    driver.until_weight(10)
    driver.world.metrics.faults = [PrometheusFault(kind)]
    driver.until_phase(Phase.HOLDING)
    driver.run(60)
    assert writes_within(driver, 300) <= 10


def test_paused_rollout_writes_at_most_every_30_s() -> None:
    """And nothing is written to the service."""
    driver = healthy_start(policy(steps=LONG_STEPS))
    driver.until_weight(10)
    driver.pause()
    driver.run(60)
    assert writes_within(driver, 600) <= 20
    assert driver.weights() == [10]


def test_finished_rollout_causes_no_writes_or_queries() -> None:
    """No write, no question, no message."""
    driver = healthy_start()
    driver.finish()
    driver.run(60)
    asked = driver.world.metrics.asked
    assert writes_within(driver, 1200) == 0
    assert driver.world.metrics.asked == asked


def test_service_without_rollout_causes_no_writes_or_queries() -> None:
    """Thousands of these are watched."""
    driver = Driver()
    driver.deploy_stable()
    assert writes_within(driver, 1200) == 0
    assert driver.world.metrics.asked == 0
    assert driver.weights() == []


def test_each_query_runs_once_per_interval() -> None:
    """At the beats of the grid, which see every sample of 15 s; and once when the warm-up ends, for the first."""
    driver = healthy_start(policy(steps=LONG_STEPS))
    asked = watched(driver)
    driver.until_weight(10)
    driver.run(600)
    verified = driver.rollout().progress.step.verified_at
    assert verified is not None
    assert 15 <= asked[0][0] - verified < 17
    times = [at for at, _ in asked if at - verified >= 30]
    assert len(times) >= 36
    assert all(at % 15 == 0 for at in times)
    assert max(Counter(times).values()) == 1
    assert {later - earlier for earlier, later in pairwise(times)} == {15.0}


def test_rollouts_with_same_interval_share_queries() -> None:
    """Started at different times, they are due in the same tick, so their queries can be grouped."""
    driver = Driver(policy(steps=LONG_STEPS))
    driver.deploy_stable("mnist")
    driver.deploy_stable("fraud")
    asked = watched(driver)
    driver.release(name="mnist")
    driver.run(37)
    driver.release(name="fraud")
    driver.run(300)
    late = [(at, question.service) for at, question in asked if at > driver.world.now() - 120]
    times = {at for at, _ in late}
    assert len(times) <= 9
    assert all({service for when, service in late if when == at} == {"mnist", "fraud"} for at in times)


class Sluggish(Driver):
    """Records take longer than an interval, answers of Prometheus come in between."""

    def new_controller(self) -> Controller:
        return controller_on(self.world, pool=SlowPool(self.world, 20.0), query_pool=SlowPool(self.world, 3.0))


class TwoServers(Driver):
    """Rollouts of two Prometheus servers, of which one takes a minute to answer."""

    def new_controller(self) -> Controller:
        return controller_on(self.world, server_pools={"slow": SlowPool(self.world, 60.0)})


def test_slow_prometheus_delays_no_rollout_of_another_one() -> None:
    """Due at the same moment, the rollouts of each server are queried apart."""
    quick = policy(name="quick", steps=LONG_STEPS, selector=Selector(names=("mnist",)))
    slow = policy(name="slow", steps=LONG_STEPS, selector=Selector(names=("fraud",)))
    slow = replace(slow, analysis=replace(slow.analysis, server="slow"))
    driver = TwoServers(quick, slow)
    for name in ("mnist", "fraud"):
        driver.world.deploy(name, V1)
    driver.run(15)
    asked = watched(driver)
    for name in ("mnist", "fraud"):
        driver.release(name=name)
    driver.run(600)
    times = {
        name: sorted({at for at, question in asked if question.service == name})[2:] for name in ("mnist", "fraud")
    }
    servers = {question.service: question.server for _, question in asked}
    assert servers == {"mnist": "", "fraud": "slow"}
    assert max(later - earlier for earlier, later in pairwise(times["mnist"])) <= quick.analysis.interval + 1
    assert min(later - earlier for earlier, later in pairwise(times["fraud"])) >= 60


@pytest.mark.parametrize("heard", [False, True], ids=["in silence", "with a watch event meanwhile"])
def test_slow_status_write_skips_no_evaluation(heard: bool) -> None:
    """An answer waits for the record and an evaluation comes due in between: the evaluation is made right after it."""
    driver = Sluggish(policy(steps=LONG_STEPS))
    driver.deploy_stable()
    driver.release()
    asked = watched(driver)
    driver.until_weight(10)
    driver.until(lambda: asked)
    noted = 0.0
    for second in range(600):
        driver.tick()
        if heard and asked[-1][0] > noted and driver.world.now() - asked[-1][0] > 10:
            noted = asked[-1][0]
            note = {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": f"{second}"}}}
            driver.world.kserve.patch("models", "mnist", note)
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(asked)]
    assert 20.0 <= max(gaps) <= 23.0  # the plan has waited for the answer for two seconds
    assert len(gaps) >= 30


def test_watch_events_cause_no_extra_queries() -> None:
    """A service whose status is written every second is evaluated every second, and measured as before."""
    driver = healthy_start(policy(steps=LONG_STEPS))
    asked = watched(driver)
    driver.until_weight(10)
    driver.run(31)
    before = len(asked)
    for second in range(300):
        note = {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": str(second)}}}
        driver.world.kserve.patch("models", "mnist", note)
        driver.tick()
    assert len(asked) - before <= 300 / 15 + 1
    assert driver.weights() == [10]
    assert driver.rollout_names() == ["mnist-00002"]


def test_watch_events_cause_no_extra_status_writes() -> None:
    """Nor do they refresh the status each time."""
    driver = healthy_start(policy(steps=LONG_STEPS))
    driver.until_weight(10)
    driver.run(60)
    before = len(driver.world.store.writes)
    for second in range(300):
        note = {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": str(second)}}}
        driver.world.kserve.patch("models", "mnist", note)
        driver.tick()
    assert len(driver.world.store.writes) - before <= 11


def test_runs_no_query_before_candidate_serves() -> None:
    """While the candidate starts, while its weight is on its way, and while it warms up."""
    driver = healthy_start(policy(warmup=30.0), behaviours={V2: ready_after_seconds(60.0)})
    driver.until_weight(10)
    assert driver.world.metrics.asked == 0
    verified = driver.rollout().progress.step.verified_at
    driver.until(lambda: driver.world.metrics.asked)
    assert verified is not None
    assert driver.world.now() - verified >= 30


def test_webhooks_are_called_once_per_evaluation() -> None:
    """Not once per tick."""
    hook = Webhook("load", WebhookType.ROLLOUT, "http://load")
    driver = healthy_start(policy(steps=LONG_STEPS, webhooks=(hook,)))
    driver.until_weight(10)
    driver.run(60)
    before = len(driver.world.policy_webhooks.calls)
    driver.run(300)
    assert 18 <= len(driver.world.policy_webhooks.calls) - before <= 21


def test_idle_rollouts_share_one_write_budget() -> None:
    """A hundred held rollouts refresh less often, so that the API server hardly notices them."""
    driver = fleet(100, policy(steps=LONG_STEPS))
    driver.run(90)
    assert writes_within(driver, 60) <= 60 * 5 + 100


def test_status_refreshes_are_spread_evenly() -> None:
    """A hundred rollouts that began at once do not refresh at once: each evaluation writes its part."""
    driver = fleet(100, policy(steps=LONG_STEPS, interval=5.0))
    driver.run(120)
    driver.world.store.writes.clear()
    driver.run(120)
    by_second = Counter(each.at for each in driver.world.store.writes)
    by_name = Counter(each.name for each in driver.world.store.writes)
    assert max(by_second.values()) <= 20
    assert set(by_name.values()) <= {3, 4}
    assert len(by_name) == 100


def test_rollouts_beyond_group_size_get_phase_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each still once per interval, each group with its own queries in one tick."""
    monkeypatch.setattr("autocanary.controller.state.GROUP_SIZE", 10)
    driver = fleet(40, policy(steps=LONG_STEPS, interval=20.0))
    driver.run(100)
    asked = watched(driver)
    driver.run(100)
    regular = [(at, question) for at, question in asked if at % 5 == 0]  # the others follow the samples of every 5 s
    assert {at % 20 for at, _ in regular} == {0.0, 5.0, 10.0, 15.0}
    assert set(Counter(at for at, _ in regular).values()) == {10}
    assert set(Counter(question.service for _, question in regular).values()) == {5}


# --- how soon ------------------------------------------------------------------------------------------


def test_user_request_is_answered_before_next_evaluation() -> None:
    """An evaluation every five minutes does not mean that users wait five minutes."""
    driver = healthy_start(policy(interval=300.0))
    driver.until_weight(10)
    driver.run(30)
    driver.ask(Verb.ABORT, within=2)
    driver.run(2)
    assert driver.weights()[-1] == 0
    assert driver.until_phase(Phase.ROLLED_BACK, limit=10).progress.reason is Reason.ABORTED_BY_USER


def test_rolls_back_in_same_evaluation_as_violation() -> None:
    """The weight is 0 in the tick in which the limit was reached."""
    driver = healthy_start(qualities={V2: BROKEN})
    asked = watched(driver)
    driver.until(lambda: 0 in driver.weights())
    assert driver.world.cluster.writes[-1].at == asked[-1][0]


def test_blocked_rollback_escalates_on_time_for_any_interval() -> None:
    """Half a minute without effect is half a minute, also for a policy with an evaluation every five minutes."""
    driver = healthy_start(policy(interval=300.0))
    driver.until_weight(25)
    driver.run(3)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    began = driver.world.now()
    driver.ask(Verb.ABORT)
    driver.until(lambda: any(each.restored for each in driver.world.cluster.writes), 900)
    assert driver.world.now() - began <= 60


def test_progress_deadline_is_kept_for_any_interval() -> None:
    """progressDeadline 5m is not 10m because of the interval."""
    driver = healthy_start(policy(interval=299.0), behaviours={V2: NEVER_READY})
    driver.until_phase(Phase.STAGING)
    began = driver.world.now()
    driver.until_phase(Phase.ROLLED_BACK, limit=1200)
    assert driver.world.now() - began <= 330


def test_first_step_follows_readiness_for_any_interval() -> None:
    """A watch event brings the evaluation forward."""
    driver = healthy_start(
        policy(interval=300.0), behaviours={V2: ready_after_seconds(20.0), V3: ready_after_seconds(20.0)}
    )
    began = driver.world.now()
    driver.until(lambda: driver.weights() == [10], 900)
    assert driver.world.now() - began <= 23


def decisions(driver: Driver) -> int:
    """How many decisions the controller has made, whatever they were."""
    return sum(driver.counters.snapshot().counts["autocanary_decisions_total"].values())


def test_evaluation_is_planned_once() -> None:
    """With its verdict; nothing has happened since the plan before."""
    driver = healthy_start(policy(steps=LONG_STEPS))
    driver.until_weight(10)
    driver.run(60)
    before = decisions(driver)
    driver.run(150)
    assert decisions(driver) - before == 10


def test_slow_answer_delays_no_plan_by_more_than_two_seconds() -> None:
    """What needs no metrics is decided without them: deadlines do not wait for Prometheus."""
    driver = healthy_start(policy(steps=LONG_STEPS))
    driver.until_weight(10)
    driver.controller = controller_on(driver.world, driver.counters, query_pool=SlowPool(driver.world, 10.0))
    driver.run(60)
    driver.until(lambda: driver.world.now() % 15 == 0)
    before = decisions(driver)
    driver.run(3)
    assert decisions(driver) == before + 1


def test_start_takes_few_writes() -> None:
    """The record and its status, the weight and its record, and that it is in effect, with what was delivered till then."""
    driver = healthy_start(policy(steps=LONG_STEPS))
    driver.until_weight(10)
    driver.run(10)
    assert [each.verb for each in driver.world.store.writes] == [
        "create",
        "update_status",
        "update_status",
        "update_status",
    ]
    assert driver.weights() == [10]
    assert not driver.rollout().progress.outbox.pending
