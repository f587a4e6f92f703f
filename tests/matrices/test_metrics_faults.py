"""Every cell of the matrix of metric faults, and the end of a rollout that meets each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from autocanary.model.measurement import Source, Unit
from autocanary.model.policy import Metric, Policy, Range, Timeout, TimeoutAction
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.prometheus import PrometheusConfig, PrometheusMetrics
from autocanary.simulator.fakes import InlinePool
from autocanary.simulator.world import World
from benchmarks.answering import CUSTOM_QUERIES
from tests.controller.driver import FAULTLESS, STEPS, SUCCESS, V1, V2, Driver, policy
from tests.matrices.failing_prometheus import FailingPrometheus, QueryReply
from tests.matrices.metrics_faults import FAULTS, OWN, PRESET, ExpectedEffect, MetricsFault, RolloutPosition, rows

HOLD = 120.0
DEADLINES = {
    ExpectedEffect.OUTAGE: (HOLD, Reason.OUTAGE_DEADLINE),
    ExpectedEffect.NO_DATA: (HOLD, Reason.NO_DATA_DEADLINE),
    ExpectedEffect.TOO_FEW_REQUESTS: (150.0, Reason.PROGRESS_DEADLINE_EXCEEDED),
}
WEIGHTS = {
    RolloutPosition.FIRST: 10,
    RolloutPosition.MIDDLE: 25,
    RolloutPosition.BAKE: 100,
    RolloutPosition.BACK: 25,
}


def _policy() -> Policy:
    own = Metric(OWN, Range(max=0.4), Unit.NUMBER, query=CUSTOM_QUERIES[OWN], failure_limit=2)
    return policy(
        metrics=(SUCCESS, own),
        source=Source.KNATIVE,
        on_no_data=Timeout(HOLD, TimeoutAction.ROLLBACK),
        on_outage=Timeout(HOLD, TimeoutAction.ROLLBACK),
        progress_deadline=150.0,
        steps=tuple(replace(step, hold=180.0) for step in STEPS),
    )


@pytest.fixture
def prometheus() -> Iterator[FailingPrometheus]:
    with FailingPrometheus() as served:
        yield served


@pytest.fixture
def driver(prometheus: FailingPrometheus) -> Iterator[Driver]:
    """The controller and the adapter of the product, in virtual time but for what a timeout takes."""
    world = World(policies=(_policy(),), qualities={V1: FAULTLESS, V2: FAULTLESS})
    metrics = PrometheusMetrics(PrometheusConfig(prometheus.url, timeout=0.2), InlinePool(), world.clock)
    world.metrics = metrics  # type: ignore[assignment]
    yield Driver(world=world)
    metrics.close()


def _reach(driver: Driver, place: RolloutPosition) -> None:
    driver.deploy_stable()
    driver.release()
    driver.until_weight(WEIGHTS[place])
    driver.until(lambda: driver.rollout().progress.reason is Reason.ANALYSING)


def _struck(driver: Driver, prometheus: FailingPrometheus, fault: MetricsFault) -> float:
    """Inject the fault and wait until the record has seen it; when it began."""
    began = driver.world.now()
    fault.inject(prometheus)
    looked = driver.rollout().progress.analysis.last_evaluation_at or 0.0
    driver.until(lambda: (driver.rollout().progress.analysis.last_evaluation_at or 0.0) > looked + 30.0, 90)
    return began


def _healed(prometheus: FailingPrometheus) -> None:
    prometheus.reply = QueryReply()
    prometheus.open()


@pytest.mark.parametrize(
    "place",
    [RolloutPosition.FIRST, RolloutPosition.MIDDLE, RolloutPosition.BAKE],
    ids=lambda place: place.value,
)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_metrics_fault_in_each_phase(
    driver: Driver, prometheus: FailingPrometheus, fault: MetricsFault, place: RolloutPosition
) -> None:
    """It reads as the table says, moves nothing before the stated deadline, and then what the policy says."""
    _reach(driver, place)
    written = driver.weights()
    began = _struck(driver, prometheus, fault)
    last = driver.rollout().progress.analysis.metrics[fault.metric].last
    assert last is not None
    assert last.kind is fault.measurement, last
    assert driver.rollout().progress.reason is fault.reason
    assert driver.weights() == written
    if fault.effect is ExpectedEffect.NONE:
        driver.finish()
        assert driver.phase() is Phase.PROMOTED
        return
    deadline, reason = DEADLINES[fault.effect]
    driver.until(lambda: driver.phase() is Phase.ROLLING_BACK, 400)
    assert driver.rollout().progress.reason is reason
    assert driver.world.now() - began >= deadline
    assert Phase.PROMOTED.value not in driver.phases()
    driver.finish()
    assert driver.weights() == [*written, 0]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_metrics_fault_while_rolling_back(driver: Driver, prometheus: FailingPrometheus, fault: MetricsFault) -> None:
    """A rollback needs no metrics: begun while they are broken, it is finished all the same."""
    _reach(driver, RolloutPosition.BACK)
    fault.inject(prometheus)
    driver.ask(Verb.ABORT)
    driver.finish(limit=60)
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.ABORTED_BY_USER)
    assert driver.weights()[-1] == 0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_healthy_candidate_is_promoted_after_the_fault(
    driver: Driver, prometheus: FailingPrometheus, fault: MetricsFault
) -> None:
    """The column's end: the fault comes for a minute at every step, and the rollout ends promoted."""
    for place in (RolloutPosition.FIRST, RolloutPosition.MIDDLE, RolloutPosition.BAKE):
        if place is RolloutPosition.FIRST:
            _reach(driver, place)
        else:
            driver.until_weight(WEIGHTS[place])
            driver.until(lambda: driver.rollout().progress.reason is Reason.ANALYSING)
        fault.inject(prometheus)
        driver.run(60)
        _healed(prometheus)
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]


def test_the_printed_table_is_the_tested_one() -> None:
    """A row for each fault, and a cell for each place."""
    head, *body = rows()
    assert [row[0] for row in body] == [fault.name for fault in FAULTS]
    assert {len(row) for row in body} == {len(head)} == {3 + len(RolloutPosition)}
    assert {fault.metric for fault in FAULTS} == {PRESET, OWN}
