"""Whatever one namespace does, a bad candidate of another is rolled back within two evaluations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from autocanary.app.demo_run import controller_on
from autocanary.controller import Controller
from autocanary.http_server.counters import ControllerMetrics
from autocanary.model.measurement import Measurement, MetricQuery
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.policy import Step, Webhook, WebhookType
from autocanary.model.progress import Notification, Phase
from autocanary.model.rollout import Rollout
from autocanary.ports import Message, WebhookCall, WebhookResult
from autocanary.simulator.fakes import FakeLeadership, InlinePool
from autocanary.simulator.response_quality import Quality
from tests.controller.driver import ANALYSIS, V2, V3, Driver, policy

T = TypeVar("T")

HOSTILE, VICTIM = "mnist-00002", "victim-00002"
NAMESPACE = "payments"
WITHIN = 2 * ANALYSIS.interval + 3.0
FAILED = "autocanary_evaluations_failed_total"

Install = Callable[["TwoTenants"], None]


class TwoTenants(Driver):
    """The hostile service in `models` and the victim in `payments`; both run at 10 %."""

    def __init__(self) -> None:
        self.counters = ControllerMetrics()
        self._error_percent = 0.0
        gate = policy("gated", webhooks=(Webhook("gate", WebhookType.ROLLOUT, "http://x"),), namespace="models")
        quality = Quality(error_percent=lambda _: self._error_percent)
        super().__init__(
            gate,
            policy("plain", namespace=NAMESPACE, steps=(Step(10, 3600.0), Step(100, 60.0))),
            qualities={V3: quality},
        )
        self.deploy_stable("mnist")
        self.deploy_stable("victim", namespace=NAMESPACE)
        self.release(V2, name="mnist")
        self.world.deploy("victim", V3, weight=0, namespace=NAMESPACE)
        self.until(lambda: self.weights("victim") == [10] and self.weights("mnist") == [10], 120)
        self.until(lambda: all(each.progress.step.verified_at is not None for each in self.world.store.rollouts()), 60)
        self.run(ANALYSIS.warmup + ANALYSIS.window)

    def new_controller(self) -> Controller:
        return controller_on(self.world, self.counters)

    def take_over(self) -> None:
        """Another instance, which stood by, leads from now on."""
        self.world.leadership.leads = False
        self.controller.tick()
        self.world.leadership = FakeLeadership(leads=False)
        self.restart()
        self.controller.tick()
        self.world.leadership.leads = True

    def make_victim_bad(self) -> None:
        self._error_percent = 50.0
        self.run(ANALYSIS.window / 2)  # so many of its requests fail that the next evaluation sees a violation

    def failed_evaluations(self) -> int:
        return self.counters.snapshot().counts[FAILED][()]


def raising_query(run: TwoTenants) -> None:
    """Every query that holds one of the hostile rollout raises, as a parser does that is too deep in its stack."""
    query = run.world.metrics.query

    def raising(queries: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        if any(each.namespace == "models" for each in queries):
            raise RecursionError("maximum recursion depth exceeded")
        return query(queries)

    run.world.metrics.query = raising  # type: ignore[method-assign]


def lost_measurements(run: TwoTenants) -> None:
    """The hostile queries have no answer."""
    query = run.world.metrics.query

    def lossy(queries: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        return {key: value for key, value in query(queries).items() if key.namespace != "models"}

    run.world.metrics.query = lossy  # type: ignore[method-assign]


def malformed(rollout: Rollout) -> Rollout:
    if rollout.namespace != "models":
        return rollout
    odd: Any = ("log", None, {})
    entry = Notification("id", "step_taken", 1.0, "Progressing", 1, 10, "StepTaken", "", odd)
    return replace(
        rollout, progress=replace(rollout.progress, outbox=replace(rollout.progress.outbox, pending=(entry,)))
    )


def malformed_record(run: TwoTenants) -> None:
    """A user edits a notification of the hostile record: its channels have the wrong types."""
    store = run.world.store
    rollouts, cached, take_changes = store.rollouts, store.cached, store.take_changes
    edits = [{("models", HOSTILE)}]

    def cached_edit(namespace: str, name: str) -> Rollout | None:
        found = cached(namespace, name)
        return malformed(found) if found is not None else None

    store.rollouts = lambda: [malformed(each) for each in rollouts()]  # type: ignore[method-assign]
    store.cached = cached_edit  # type: ignore[method-assign]
    store.take_changes = lambda: take_changes() | (edits.pop() if edits else set())  # type: ignore[method-assign]


def raising_cluster(run: TwoTenants) -> None:
    """The cache cannot give the hostile service."""
    observe = run.world.cluster.observe

    def raising(key: ServiceKey) -> Observation | None:
        if key.namespace == "models":
            raise KeyError("status")
        return observe(key)

    run.world.cluster.observe = raising  # type: ignore[method-assign]


def raising_webhooks(run: TwoTenants) -> None:
    def raising(calls: Sequence[WebhookCall]) -> Mapping[WebhookCall, WebhookResult]:
        raise MemoryError

    run.world.policy_webhooks.call = raising  # type: ignore[method-assign]


def silent_webhooks(run: TwoTenants) -> None:
    """The calls come back without results."""

    def silent(calls: Sequence[WebhookCall]) -> Mapping[WebhookCall, WebhookResult]:
        return {}

    run.world.policy_webhooks.call = silent  # type: ignore[method-assign]


def raising_notifier(run: TwoTenants) -> None:
    """No channel can be found for a message of the hostile rollout."""
    channels = run.world.notifier.channels

    def raising(message: Message) -> tuple[str, ...]:
        if message.rollout.namespace == "models":
            raise TypeError("unhashable type: 'dict'")
        return channels(message)

    run.world.notifier.channels = raising  # type: ignore[method-assign]


FAULTS: dict[str, Install] = {
    each.__name__: each
    for each in (
        raising_query,
        lost_measurements,
        malformed_record,
        raising_cluster,
        raising_webhooks,
        silent_webhooks,
        raising_notifier,
    )
}
CONTINUE: dict[str, Install] = {
    "while running": lambda run: None,
    "at start": TwoTenants.restart,
    "at takeover": TwoTenants.take_over,
}


def assert_victim_is_rolled_back(run: TwoTenants, within: float = WITHIN) -> None:
    run.make_victim_bad()
    began = run.world.now()
    run.until(lambda: run.weights("victim") == [10, 0], int(within))
    assert run.world.now() - began <= within
    run.until(lambda: run.phase(VICTIM) is Phase.ROLLED_BACK, 60)


@pytest.mark.parametrize("when", CONTINUE)
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_another_namespace_delays_no_rollback(fault: str, when: str) -> None:
    run = TwoTenants()
    FAULTS[fault](run)
    CONTINUE[when](run)
    run.run(ANALYSIS.interval + 5)
    assert_victim_is_rolled_back(run)


@pytest.mark.parametrize("when", ["at start", "at takeover"])
def test_malformed_record_is_set_aside_and_its_service_left_alone(when: str) -> None:
    """It is counted as overdue until it is repaired, and continued then."""
    run = TwoTenants()
    store = run.world.store
    rollouts, cached, take_changes = store.rollouts, store.cached, store.take_changes
    malformed_record(run)
    CONTINUE[when](run)
    before = run.weights("mnist")
    run.run(120)
    assert run.weights("mnist") == before
    assert sorted(run.rollout_names()) == [HOSTILE, VICTIM]
    assert run.controller.overdue() == 1
    assert run.failed_evaluations() == 1
    store.rollouts, store.cached = rollouts, cached  # type: ignore[method-assign]
    store.take_changes = lambda: take_changes() | {("models", HOSTILE)}  # type: ignore[method-assign]
    run.run(30)
    assert run.controller.overdue() == 0
    run.finish(HOSTILE)
    assert run.phase(HOSTILE) is Phase.PROMOTED


def test_raising_query_is_an_outage_of_its_rollout_alone() -> None:
    """It is queried alone from then on; when it works again the rollout goes on."""
    run = TwoTenants()
    query = run.world.metrics.query
    batches: list[list[str]] = []
    raising_query(run)
    raising = run.world.metrics.query

    def watched(queries: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        batches.append([each.namespace for each in queries])
        return raising(queries)

    run.world.metrics.query = watched  # type: ignore[method-assign]
    run.run(2 * ANALYSIS.interval)
    assert run.rollout(HOSTILE).progress.analysis.outage_since is not None
    assert run.rollout(VICTIM).progress.analysis.outage_since is None
    assert run.failed_evaluations() >= 2
    assert sum("models" in batch and len(batch) > 1 for batch in batches) == 1
    run.world.metrics.query = query  # type: ignore[method-assign]
    run.finish(HOSTILE)
    assert run.phase(HOSTILE) is Phase.PROMOTED


class RefusingPool(InlinePool):
    """Starts no thread until ``allowed``."""

    def __init__(self) -> None:
        self.allowed = True

    def submit(self, work: Callable[[], T]) -> Future[T]:
        if not self.allowed:
            raise RuntimeError("can't start new thread")
        return super().submit(work)

    submit_urgent = submit


@pytest.mark.parametrize("seconds", [3, 40, 200])
@pytest.mark.parametrize("when", CONTINUE)
def test_threads_that_cannot_start_leave_no_rollout_busy(when: str, seconds: int) -> None:
    """For a moment no pool takes work; after it every rollout is evaluated again, at the latest after 30 s."""
    run = TwoTenants()
    pool = run.world.pool = RefusingPool()
    run.controller = run.new_controller()
    run.run(5)
    pool.allowed = False
    CONTINUE[when](run)
    run.run(seconds)
    assert run.controller.overdue() == (2 if seconds > 100 else 0)
    pool.allowed = True
    run.run(31)
    assert run.controller.idle()
    assert run.controller.overdue() == 0
    assert_victim_is_rolled_back(run)


class SlowClock:
    """A machine whose clock is ``behind`` by so many seconds."""

    def __init__(self, clock: Any, behind: float) -> None:
        self._clock, self._behind = clock, behind

    def now(self) -> float:
        return float(self._clock.now()) - self._behind


@pytest.mark.parametrize("behind", [60.0, 3600.0, 86400.0])
def test_takeover_by_a_machine_whose_clock_is_behind(behind: float) -> None:
    """The recorded times lie in its future: they count as now, so that the warm-up ends."""
    run = TwoTenants()
    clock = run.world.clock
    run.world.clock = SlowClock(clock, behind)  # type: ignore[assignment]
    run.controller = run.new_controller()
    run.world.clock = clock
    run.run(ANALYSIS.warmup + 2)
    assert_victim_is_rolled_back(run)


def test_overdue_rollout_says_so_in_its_status() -> None:
    """Counted and logged once; when it is evaluated again the message is the one from before."""
    run = TwoTenants()
    before = run.rollout(HOSTILE).progress.message
    observe = run.world.cluster.observe
    raising_cluster(run)
    run.run(80)
    assert run.controller.overdue() == 1
    assert "not evaluated since 2026-01-01T" in run.rollout(HOSTILE).progress.message
    assert "KeyError" in run.rollout(HOSTILE).progress.message
    assert "not evaluated" not in run.rollout(VICTIM).progress.message
    run.world.cluster.observe = observe  # type: ignore[method-assign]
    run.run(31)
    assert run.controller.overdue() == 0
    run.run(60)
    assert "not evaluated" not in run.rollout(HOSTILE).progress.message
    assert before
