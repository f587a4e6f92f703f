"""Metrics that say nothing: what is held, what is notified, what happens at the stated deadline and not before."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autocanary.errors import Busy
from autocanary.model.measurement import MeasurementKind
from autocanary.model.policy import Step, Timeout, TimeoutAction
from autocanary.model.progress import MetricState, Phase
from autocanary.model.reason import Reason
from autocanary.simulator.prometheus_server import PrometheusFault
from autocanary.simulator.traffic import RequestLoad
from tests.controller.driver import BROKEN, STEPS, V2, Driver, healthy_start, policy

REASONS = {
    MeasurementKind.OUTAGE: Reason.METRICS_OUTAGE,
    MeasurementKind.REFUSED: Reason.METRICS_OUTAGE,
    MeasurementKind.STALE: Reason.METRICS_STALE,
    MeasurementKind.PARTIAL: Reason.METRICS_PARTIAL,
    MeasurementKind.NOT_A_NUMBER: Reason.METRICS_NOT_A_NUMBER,
    MeasurementKind.NO_SERIES: Reason.NO_DATA,
}
SILENT = frozenset({MeasurementKind.NOT_A_NUMBER, MeasurementKind.NO_SERIES})
"""These are "no data", the others an outage; each has a deadline of its own."""
HOLD = 200.0
AWAY = Busy("etcdserver: request timed out", status=500)
BACK_AFTER: dict[str, Any] = {
    "on_no_data": Timeout(HOLD, TimeoutAction.ROLLBACK),
    "on_outage": Timeout(HOLD, TimeoutAction.ROLLBACK),
}
FOR_EVER: dict[str, Any] = {
    "on_no_data": Timeout(HOLD, TimeoutAction.HOLD),
    "on_outage": Timeout(HOLD, TimeoutAction.HOLD),
}
PAUSING: dict[str, Any] = {
    "on_no_data": Timeout(HOLD, TimeoutAction.PAUSE),
    "on_outage": Timeout(HOLD, TimeoutAction.PAUSE),
}


def judged_at(weight: int, rules: dict[str, Any]) -> Driver:
    """A healthy candidate that has had a good look at this weight."""
    driver = healthy_start(policy(**rules))
    driver.until_weight(weight)
    driver.until(lambda: driver.rollout().progress.reason is Reason.ANALYSING)
    return driver


def break_metrics(driver: Driver, kind: MeasurementKind, seconds: float = 1e9) -> float:
    now = driver.world.now()
    driver.world.metrics.faults = [PrometheusFault(kind, now, now + seconds)]
    return now


@pytest.mark.parametrize("weight", [10, 25, 100])
@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.value)
def test_outage_holds_then_rolls_back_at_deadline(kind: MeasurementKind, weight: int) -> None:
    """In the first step, a middle step and the bake: never promoted, never rolled back a second early."""
    driver = judged_at(weight, BACK_AFTER)
    before = driver.weights()
    began = break_metrics(driver, kind)
    driver.until_phase(Phase.HOLDING, limit=60)
    assert driver.rollout().progress.reason is REASONS[kind]
    driver.finish()
    expected = Reason.NO_DATA_DEADLINE if kind in SILENT else Reason.OUTAGE_DEADLINE
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, expected)
    assert driver.weights() == [*before, 0]
    lasted = driver.world.cluster.writes[-1].at - began
    assert HOLD <= lasted <= HOLD + 45, f"rolled back after {lasted} s, the policy says {HOLD}"
    assert driver.events().count("rollout_held") == 1


@pytest.mark.parametrize("weight", [10, 25, 100])
@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.value)
def test_outage_holds_forever_if_policy_says_so(kind: MeasurementKind, weight: int) -> None:
    """An hour of silence: the weight stays; when the metrics are back it goes on without skipping."""
    driver = judged_at(weight, FOR_EVER)
    before = driver.weights()
    break_metrics(driver, kind, 3600.0)
    driver.run(3590)
    assert driver.weights() == before
    assert driver.phase() is Phase.HOLDING
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.events().count("rollout_held") == 1


@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.value)
def test_outage_pauses_at_deadline_if_policy_says_so(kind: MeasurementKind) -> None:
    """A user is asked once; nothing moves."""
    driver = judged_at(25, PAUSING)
    break_metrics(driver, kind)
    driver.until_phase(Phase.PAUSED)
    driver.run(600)
    assert driver.weights() == [10, 25]
    assert driver.events().count("rollout_paused") == 1


@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.value)
def test_a_rollback_needs_no_metrics(kind: MeasurementKind) -> None:
    """They break while the traffic is being taken back: it is finished all the same."""
    driver = healthy_start(qualities={V2: BROKEN})
    driver.until_weight(10)
    driver.world.kserve.hold_ingress("models", "mnist")
    driver.until_phase(Phase.ROLLING_BACK)
    break_metrics(driver, kind)
    driver.run(20)
    driver.world.kserve.hold_ingress("models", "mnist", held=False)
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert driver.weights() == [10, 0]


@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.value)
def test_first_step_needs_working_metrics(kind: MeasurementKind) -> None:
    """Broken before the candidate was made: it gets its first step, and no second one."""
    driver = Driver(policy(**FOR_EVER))
    driver.deploy_stable()
    break_metrics(driver, kind)
    driver.release()
    driver.run(1800)
    assert driver.weights() == [10]
    assert driver.phase_and_reason() == (Phase.HOLDING, REASONS[kind])


@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.value)
def test_single_query_failure_sends_no_notification(kind: MeasurementKind) -> None:
    """A single look without an answer: no step on it, no message about it."""
    driver = judged_at(10, BACK_AFTER)
    break_metrics(driver, kind, 16.0)
    silent = driver.world.now() + 15
    driver.until(lambda: driver.world.now() > silent)
    (state,) = driver.controller.rollouts()[0].progress.analysis.metrics.values()
    assert state.ok is None, "the look in the middle of it had an answer"
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.events().count("rollout_held") == 0


def test_an_outage_of_one_service_is_not_one_of_the_other() -> None:
    """The series of one are gone, the other's are not."""
    driver = Driver(policy(**FOR_EVER))
    driver.deploy_stable("mnist")
    driver.deploy_stable("fraud")
    driver.world.metrics.faults = [PrometheusFault(MeasurementKind.NO_SERIES, service="fraud")]
    driver.release(name="mnist")
    driver.release(name="fraud")
    driver.finish("mnist-00002")
    assert driver.weights("mnist") == [10, 25, 50, 100]
    assert driver.weights("fraud") == [10]


def test_a_violation_before_an_outage_still_counts_after_it() -> None:
    """One violation, ten minutes of nothing, one violation: the limit of two is reached."""
    driver = healthy_start(policy(**FOR_EVER, metrics=policy().analysis.metrics), qualities={V2: BROKEN})
    driver.until(lambda: any(m.violations == 1 for m in _metrics(driver)))
    break_metrics(driver, MeasurementKind.OUTAGE, 600.0)
    driver.run(590)
    assert driver.weights() == [10]
    driver.finish(limit=120)
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)


def _metrics(driver: Driver) -> list[MetricState]:
    return list(driver.rollout().progress.analysis.metrics.values()) if driver.has_rollout("mnist-00002") else []


def test_the_deadline_of_an_outage_survives_a_restart() -> None:
    """It is counted from its beginning, not from the beginning of the process."""
    driver = judged_at(10, BACK_AFTER)
    began = break_metrics(driver, MeasurementKind.OUTAGE)
    for _ in range(6):
        driver.run(30)
        driver.restart()
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.OUTAGE_DEADLINE)
    assert driver.world.cluster.writes[-1].at - began <= HOLD + 60


def test_two_short_outages_are_not_one_long_one() -> None:
    """Each is shorter than the deadline, with good looks in between: no rollback."""
    driver = judged_at(10, BACK_AFTER)
    now = driver.world.now()
    driver.world.metrics.faults = [
        PrometheusFault(MeasurementKind.OUTAGE, now, now + 150),
        PrometheusFault(MeasurementKind.OUTAGE, now + 185, now + 335),
    ]
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_too_few_requests_is_no_success(rate: float) -> None:
    """No requests, or one in twenty seconds: silence never promotes."""
    driver = healthy_start(policy(**FOR_EVER), load=RequestLoad(rate))
    driver.run(250)
    assert driver.weights() == [10]
    driver.run(1200)
    assert 25 not in driver.weights()


# --- schedules of faults --------------------------------------------------------------------------------


def test_a_watch_that_fails_in_one_namespace_holds_only_that_one() -> None:
    """The other goes on to its end; the first when its watch is back."""
    driver = Driver(policy())
    driver.deploy_stable("mnist")
    driver.deploy_stable("fraud", namespace="bank")
    driver.release(V2, 0, name="mnist")
    driver.world.deploy("fraud", V2, weight=0, namespace="bank")
    driver.until_weight(10)
    driver.until(lambda: driver.rollout("fraud-00002").progress.step.verified_at is not None)
    driver.world.cluster.set_watch_down(namespace="bank")
    driver.finish("mnist-00002")
    assert driver.weights("mnist") == [10, 25, 50, 100]
    assert driver.phase_and_reason("fraud-00002") == (Phase.HOLDING, Reason.OBSERVATION_STALE)
    driver.world.cluster.set_watch_down(False, namespace="bank")
    driver.finish("fraud-00002")
    assert driver.weights("fraud") == [10, 25, 50, 100]


@dataclass(frozen=True)
class FaultWindow:
    """Metrics or the API server are out of order for a while."""

    start: int
    seconds: int
    what: str


FAULT_WINDOWS = st.lists(
    st.builds(
        FaultWindow,
        start=st.integers(0, 400),
        seconds=st.integers(1, 150),
        what=st.sampled_from([*(kind.value for kind in REASONS), "ledger", "cluster", "leader", "blind"]),
    ),
    max_size=6,
)
PATIENT: dict[str, Any] = {
    "on_no_data": Timeout(3000.0, TimeoutAction.ROLLBACK),
    "on_outage": Timeout(3000.0, TimeoutAction.ROLLBACK),
    "progress_deadline": 3000.0,
}


def apply(driver: Driver, fault_windows: list[FaultWindow]) -> None:
    """Arrange them all from now on."""
    world, now = driver.world, driver.world.now()
    kinds = {kind.value: kind for kind in REASONS}
    for spell in fault_windows:
        if spell.what in kinds:
            fault = PrometheusFault(kinds[spell.what], now + spell.start, now + spell.start + spell.seconds)
            world.metrics.faults.append(fault)
        elif spell.what in ("ledger", "cluster"):
            faults = world.store.faults if spell.what == "ledger" else world.cluster.faults
            world.after(spell.start, partial(faults.next, AWAY, times=10_000))
            world.after(spell.start + spell.seconds, faults.clear)
        elif spell.what == "leader":
            world.after(spell.start, lambda: setattr(world.leadership, "leads", False))
            world.after(spell.start + spell.seconds, lambda: setattr(world.leadership, "leads", True))
        else:
            world.after(spell.start, world.cluster.set_watch_down)
            world.after(spell.start + spell.seconds, lambda: world.cluster.set_watch_down(False))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(fault_windows=FAULT_WINDOWS)
def test_a_healthy_release_survives_any_schedule_of_faults(fault_windows: list[FaultWindow]) -> None:
    """Never rolled back before a deadline, never a step skipped, never a jump up or a fall: promoted."""
    driver = Driver(policy(**PATIENT, steps=(Step(10, 30.0), *STEPS[1:3], Step(100, 30.0))))
    driver.deploy_stable()
    driver.restarted = True
    apply(driver, fault_windows)
    driver.release()
    driver.finish()
    assert driver.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.share("00002") == sorted(driver.share("00002"))
    steps = [event for event in driver.events() if event in ("rollout_started", "step_taken", "rollout_promoted")]
    assert steps == ["rollout_started", *["step_taken"] * 4, "rollout_promoted"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(fault_windows=FAULT_WINDOWS)
def test_a_bad_release_is_never_promoted_by_any_schedule_of_faults(fault_windows: list[FaultWindow]) -> None:
    """Whatever fails around it, it never gets more than the first step, and is rolled back in the end."""
    driver = Driver(policy(**PATIENT), qualities={V2: BROKEN})
    driver.deploy_stable()
    driver.restarted = True
    apply(driver, fault_windows)
    driver.release()
    driver.finish()
    assert driver.phase() is Phase.ROLLED_BACK
    assert set(driver.weights()) == {10, 0}
    assert max(driver.share("00002")) <= 10
    assert driver.share("00002")[-1] == 0
