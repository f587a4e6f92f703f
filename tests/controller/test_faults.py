"""Every write of a rollout fails, once or for a while, with each error that an API server has: same story."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import pytest

from autocanary.errors import Busy, Conflict, Forbidden, NotFound, NotLeader, Refused, Unreachable
from autocanary.model.decision import Event
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.simulator.fakes import InlinePool
from autocanary.simulator.fault_injection import FaultTiming
from autocanary.simulator.pod_behaviour import ready_after_seconds
from autocanary.simulator.response_quality import Quality, from_revision_age
from tests.controller.driver import (
    BROKEN,
    FAULTLESS,
    V2,
    V3,
    Driver,
    FaultPoint,
    SlowPool,
    fast_policy,
    healthy_start,
    policy,
    without_repeats,
)
from tests.controller.scenarios import SCENARIOS, Outcome, run_with_faults, run_without_faults

T = TypeVar("T")

FAULTS: dict[str, tuple[FaultPoint, Callable[[], Exception]]] = {
    "conflict": (FaultPoint.BEFORE, lambda: Conflict("the object has been modified", status=409)),
    "busy": (FaultPoint.BEFORE, lambda: Busy("etcdserver: request timed out", status=500)),
    "unreachable": (FaultPoint.BEFORE, lambda: Unreachable("connection refused")),
    "answer-lost": (FaultPoint.AFTER, lambda: Unreachable("read timed out")),
    "half-done": (FaultPoint.BETWEEN, lambda: Unreachable("read timed out")),
    "forbidden": (FaultPoint.BEFORE, lambda: Forbidden("no right to patch", status=403)),
    "refused": (FaultPoint.BEFORE, lambda: Refused("an admission webhook says no", status=422)),
    "not-found": (FaultPoint.BEFORE, lambda: NotFound("not found", status=404)),
    "not-leader": (FaultPoint.BEFORE, lambda: NotLeader("the lease could not be renewed")),
    "unexpected": (FaultPoint.BEFORE, lambda: RuntimeError("a bug in an adapter")),
}
HOLDS = (Event.HELD.value, Event.RESUMED.value)
NOTIFYING = ("conflict", "answer-lost", "half-done")
PAIRS = [(scenario, fault) for scenario in ("unstaged", "rollback", "supersede") for fault in FAULTS] + [
    (scenario, fault) for scenario in ("promotion", "adopted") for fault in NOTIFYING
]
"""The longer courses make the shorter ones' writes too; only the faults that can mislead are tried on all."""


def assert_same_outcome(outcome: Outcome, expected: Outcome, *, held: bool = False) -> bool:
    """``held``: a write that fails for a minute is notified as a hold; nothing else may differ."""
    events = {name: tuple(each for each in notified if each not in HOLDS) for name, notified in outcome.events.items()}
    return (
        outcome.endings == expected.endings
        and outcome.weights == expected.weights
        and (events if held else outcome.events) == expected.events
    )


def never_back(driver: Driver) -> bool:
    """Whether the candidate's real share only ever grew."""
    share = driver.share("00002")
    return share == sorted(share)


@pytest.mark.parametrize(("scenario", "fault"), PAIRS)
def test_any_write_that_fails_once(scenario: str, fault: str) -> None:
    """Same end, same weights in the same order, no transition lost or notified twice."""
    expected = run_without_faults(scenario)
    when, error = FAULTS[fault]
    different = []
    for victim, verb in enumerate(expected.writes, start=1):

        def timing(number: int, _: str, victim: int = victim) -> tuple[FaultPoint, BaseException] | None:
            return (when, error()) if number == victim else None

        outcome, driver = run_with_faults(scenario, timing)
        steady = scenario in ("rollback", "supersede") or never_back(driver)
        # A 404 from an object that is there starts its rollout again: notified again, with the same id.
        notified_once = fault == "not-found" or len(outcome.messages) == len(set(outcome.messages))
        if not (assert_same_outcome(outcome, expected) and steady and notified_once):
            different.append((victim, verb, outcome.endings, outcome.weights, outcome.events))
    assert not different, f"{fault} at these writes: {different}; expected {expected}"


@pytest.mark.parametrize("fault", [each for each in FAULTS if each not in ("conflict", "answer-lost")])
@pytest.mark.parametrize("scenario", ["unstaged", "rollback"])
def test_writes_that_fail_five_times_in_a_row(scenario: str, fault: str) -> None:
    """From any third write on: about half a minute without an API server, and then the same story."""
    expected = run_without_faults(scenario)
    when, error = FAULTS[fault]
    different = []
    for victim, verb in list(enumerate(expected.writes, start=1))[::3]:

        def timing(number: int, _: str, victim: int = victim) -> tuple[FaultPoint, BaseException] | None:
            return (when, error()) if victim <= number < victim + 5 else None

        outcome, _ = run_with_faults(scenario, timing)
        if not assert_same_outcome(outcome, expected, held=True):
            different.append((victim, verb, outcome.endings, outcome.weights, outcome.events))
    assert not different, f"{fault} from these writes on: {different}; expected {expected}"


@pytest.mark.parametrize("verb", ["update_status", "weight"])
@pytest.mark.parametrize("scenario", ["promotion", "unstaged"])
def test_one_kind_of_write_fails_for_two_minutes(scenario: str, verb: str) -> None:
    """The rollout store or the cluster alone: nothing is skipped afterwards, and nothing is raised meanwhile twice."""
    expected = run_without_faults(scenario)

    def timing(number: int, kind: str) -> tuple[FaultPoint, BaseException] | None:
        failing = kind == verb and 3 <= number <= 20
        return (FaultPoint.BEFORE, Busy("etcdserver: mvcc: database space exceeded", status=500)) if failing else None

    outcome, driver = run_with_faults(scenario, timing)
    assert assert_same_outcome(outcome, expected, held=True), driver.story()
    assert never_back(driver)


def test_rollback_is_written_when_status_write_fails() -> None:
    """Taking traffic from a bad candidate does not wait for etcd: the weight is 0 within the same look."""
    driver = healthy_start(policy(), qualities={V2: BROKEN})
    driver.until_weight(10)
    refused = Refused("the definitions are gone", status=404)
    driver.world.store.faults.next(refused, verb="update_status", times=1_000_000)
    driver.until(lambda: driver.weights() == [10, 0], 120)
    driver.run(60)
    assert driver.weights() == [10, 0]
    assert driver.share("00002")[-1] == 0
    assert driver.phase() in (Phase.PROGRESSING, Phase.HOLDING), "nothing could be recorded"
    assert "rollback_started" not in driver.events()
    driver.world.store.faults.clear()
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert driver.events() == ["rollout_started", "step_taken", "rollback_started", "rollout_rolled_back"]
    assert driver.weights() == [10, 0]


def test_step_is_not_written_before_status() -> None:
    """While the rollout store refuses, a healthy candidate stays where it is."""
    driver = healthy_start()
    driver.until_weight(10)
    driver.world.store.faults.next(Forbidden("no right", status=403), verb="update_status", times=1_000_000)
    driver.run(600)
    assert driver.weights() == [10]
    driver.world.store.faults.clear()
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.events().count("step_taken") == 4


def test_intercepts_unstaged_release_when_status_write_fails() -> None:
    """The race against readiness is not lost to etcd; the record is made when it can be."""
    driver = Driver(behaviours={V2: ready_after_seconds(5.0)})
    driver.deploy_stable()
    driver.world.store.faults.next(Busy("etcd is full", status=500), verb="create", times=1_000_000)
    driver.release(V2, None)
    driver.run(20)
    assert driver.weights() == [0]
    assert max(driver.share("00002")) == 0
    assert driver.rollout_names() == []
    driver.world.store.faults.clear()
    driver.finish()
    assert without_repeats(driver.weights()) == [0, 10, 25, 50, 100]


def test_failed_intercept_is_retried() -> None:
    """The first attempts meet a 500; the revision takes 20 s to become ready and gets nothing."""
    driver = Driver(behaviours={V2: ready_after_seconds(20.0)})
    driver.deploy_stable()
    driver.world.cluster.faults.next(Busy("failed calling webhook", status=500), verb="weight", times=3)
    driver.release(V2, None)
    driver.finish()
    assert max(driver.share("00002")[:25]) == 0
    assert driver.weights() == [0, 10, 25, 50, 100]


def test_missed_release_is_recorded_after_failed_create() -> None:
    """The release took all traffic, and the rollout store was down: users are notified when it is back."""
    driver = Driver(behaviours={V2: ready_after_seconds(0.2)}, lag=0.1)
    driver.deploy_stable()
    driver.world.cluster.set_watch_down()
    driver.release(V2, None)
    driver.run(5)
    driver.world.store.faults.next(Busy("etcd is full", status=500), verb="create", times=3)
    driver.world.cluster.set_watch_down(False)
    driver.until(lambda: driver.has_rollout("mnist-00002"), 900)
    driver.run(5)
    assert driver.phase_and_reason() == (Phase.MISSED, Reason.MISSED_UNSTAGED)
    assert driver.events() == ["rollout_ended"]


def test_abort_with_lost_response_is_done_once() -> None:
    """The request was carried out, the connection died: the same 0 at most once more, notified once."""
    driver = healthy_start()
    driver.until_weight(25)
    lost = Unreachable("read timed out")
    driver.world.store.faults.next(lost, timing=FaultTiming.AFTER, verb="update_status")
    driver.world.cluster.faults.next(lost, timing=FaultTiming.AFTER, verb="weight")
    driver.ask(Verb.ABORT, within=10)
    driver.finish()
    assert without_repeats(driver.weights()) == [10, 25, 0]
    assert driver.events().count("rollback_started") == 1


def test_failed_history_deletion_is_retried() -> None:
    """Pruning is a courtesy: it fails quietly, and the next end prunes both."""
    driver = Driver(fast_policy(min_requests=1.0), history_limit=1)
    driver.deploy_stable()
    driver.world.store.faults.next(Forbidden("no right to delete", status=403), verb="delete")
    for number in range(2, 6):
        driver.release(f"gs://models/mnist/{number + 20}", 0)
        driver.finish(f"mnist-{number:05d}")
        driver.run(30)
    assert len(driver.rollout_names()) <= 2


def test_delivered_final_status_ends_tracking() -> None:
    """Our own write whose answer was lost comes back by the watch like another client's: nothing is left to do."""
    driver = Driver(fast_policy(min_requests=1.0), history_limit=1)
    driver.deploy_stable()
    driver.release(V2)
    driver.finish()
    driver.run(30)
    driver.release(V3)
    driver.until(lambda: driver.has_rollout("mnist-00003") and driver.rollout("mnist-00003").is_final)
    assert driver.rollout("mnist-00003").progress.outbox.pending
    driver.world.store.edit(
        "models", "mnist-00003", lambda written: written["status"]["progress"].pop("pending_notifications")
    )
    driver.run(30)
    assert driver.rollout_names() == ["mnist-00003"]
    assert driver.controller.rollouts() == []


@pytest.mark.parametrize("seconds", [0.3, 2.5, 9.0])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_slow_calls_change_only_times(scenario: str, seconds: float) -> None:
    """Every write and query takes a while in another thread; the controller is never confused by it.

    Questions that take almost a whole interval may make it hold a little, and say so.
    """
    expected = run_without_faults(scenario)
    quality = {V2: BROKEN} if scenario == "rollback" else None
    driver = Driver(
        fast_policy(min_requests=1.0),
        qualities=quality,
        behaviours={V2: ready_after_seconds(15.0)},
        scrape_seconds=2.0,
    )
    driver.world.pool = SlowPool(driver.world, seconds)  # type: ignore[assignment]
    driver.restart()
    driver.restarted = False
    driver.deploy_stable()
    SCENARIOS[scenario](driver)
    names = driver.rollout_names()
    assert {name: driver.phase_and_reason(name) for name in names} == {
        name: (Phase(phase), Reason(reason)) for name, (phase, reason) in expected.endings.items()
    }
    assert without_repeats(driver.weights()) == list(expected.weights)
    heard = {name: tuple(each for each in driver.events(name) if each != "rollout_held") for name in names}
    assert heard == expected.events


def slow_step(driver: Driver) -> None:
    """Until the write of 25 has been decided and is under way; it arrives some seconds later."""
    driver.until_weight(10)
    driver.run(20)
    pool = SlowPool(driver.world, 4.0)
    driver.world.pool = pool  # type: ignore[assignment]
    driver.restart()
    driver.until(lambda: driver.rollout().progress.step.weight == 25 or _recording(driver, pool), 200)


def _recording(driver: Driver, pool: SlowPool) -> bool:
    live = [each for each in driver.controller.rollouts() if each.progress.step.weight == 25]
    return bool(live) and pool.under_way > 0


def test_external_weight_during_own_write_is_kept() -> None:
    """The write meets a conflict, reads again, and finds that its reason has gone: paused, not overwritten."""
    driver = healthy_start()
    slow_step(driver)
    driver.patch_weight(40, "argocd")
    driver.run(60)
    assert driver.weights() == [10]
    assert driver.phase_and_reason() == (Phase.PAUSED, Reason.EXTERNAL_CHANGE)


def test_revision_created_during_step_write_gets_no_weight() -> None:
    """A label made a new revision: the 25 was decided for the one before."""
    driver = healthy_start(behaviours={V2: ready_after_seconds(6.0)})
    slow_step(driver)
    driver.world.kserve.patch("models", "mnist", {"metadata": {"annotations": {"argocd/tracking-id": "x"}}})
    driver.until(lambda: driver.has_rollout("mnist-00003"), 120)
    driver.until(lambda: max(driver.share("00003")) > 0, 300)
    assert 25 not in driver.weights()
    assert max(driver.share("00003")) == 10


def test_conflict_on_unrelated_field_is_retried_at_once() -> None:
    """KServe writes status all along: the step meets a conflict, nothing that matters has changed."""
    driver = healthy_start()
    slow_step(driver)
    note = {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}}
    driver.world.kserve.patch("models", "mnist", note)
    driver.run(6)
    assert driver.weights() == [10, 25]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_extra_ticks_change_nothing(scenario: str) -> None:
    """The watch requeues after every change, as in a cluster: same decisions, some seconds sooner."""
    expected = run_without_faults(scenario)
    quality = {V2: BROKEN} if scenario == "rollback" else None
    driver = Driver(
        fast_policy(min_requests=1.0),
        qualities=quality,
        behaviours={V2: ready_after_seconds(4.0)},
        scrape_seconds=2.0,
        watching=True,
    )
    driver.deploy_stable()
    SCENARIOS[scenario](driver)
    names = driver.rollout_names()
    assert {name: tuple(each.value for each in driver.phase_and_reason(name)) for name in names} == expected.endings
    assert without_repeats(driver.weights()) == list(expected.weights)
    assert {name: tuple(driver.events(name)) for name in names} == expected.events


def test_evaluates_at_current_weight_when_step_write_fails() -> None:
    """It goes bad while every weight is refused: the way back is decided then, and taken when it can be."""
    late = Quality(error_percent=from_revision_age(240.0, bad=20.0, good=0.0))
    driver = healthy_start(qualities={V2: late})
    driver.until_weight(10)
    driver.world.cluster.faults.next(Forbidden("a webhook refuses it", status=403), verb="weight", times=10_000)
    driver.until(lambda: driver.rollout().progress.step.weight == 25)
    driver.until_phase(Phase.ROLLING_BACK, limit=600)
    assert driver.rollout().progress.reason is Reason.METRIC_VIOLATION
    driver.run(30)
    assert driver.weights() == [10]
    driver.world.cluster.faults.clear()
    driver.finish()
    assert driver.weights() == [10, 0]
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)


def test_step_continues_after_long_write_failure() -> None:
    """Healthy all along: held at 10 for ten minutes, and promoted after."""
    driver = healthy_start()
    driver.until_weight(10)
    driver.world.cluster.faults.next(Forbidden("a webhook refuses it", status=403), verb="weight", times=10_000)
    driver.until(lambda: driver.rollout().progress.step.weight == 25)
    driver.run(600)
    assert driver.phase() is Phase.HOLDING
    assert driver.weights() == [10]
    assert driver.events().count("rollout_held") == 1
    driver.world.cluster.faults.clear()
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]


def test_unsent_write_is_no_external_change() -> None:
    """A dry run, or a webhook that turns the weight back: the answer shows the old one. It is tried on."""
    driver = healthy_start()
    driver.until_weight(0)
    driver.world.cluster.set_weight = lambda observation, weight: observation  # type: ignore[method-assign]
    driver.until(lambda: driver.has_rollout("mnist-00002") and driver.rollout().progress.step.weight == 10)
    driver.run(120)
    assert driver.phase() is Phase.HOLDING
    assert "external_change" not in driver.events()
    del driver.world.cluster.set_weight
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]


def test_failing_notification_delays_nothing() -> None:
    """Every channel is down from beginning to end: same rollout, and all messages come when they are back."""
    driver = healthy_start()
    driver.world.notifier.down = True
    driver.until(lambda: driver.rollout().is_final if driver.has_rollout("mnist-00002") else False)
    assert driver.weights() == [10, 25, 50, 100]
    assert len(driver.rollout().progress.outbox.pending) == 6
    driver.run(120)
    driver.world.notifier.down = False
    driver.finish()
    assert driver.events() == ["rollout_started", *["step_taken"] * 4, "rollout_promoted"]
    assert len(driver.rollout().progress.outbox.delivered) == 6


def test_undelivered_notifications_are_sent_after_restart() -> None:
    """Of a rollout that had ended before: the outbox is in the record."""
    driver = healthy_start()
    driver.world.notifier.down = True
    driver.until(lambda: driver.rollout().is_final if driver.has_rollout("mnist-00002") else False)
    ids = [each.id for each in driver.rollout().progress.outbox.pending]
    driver.world.notifier.messages.clear()
    driver.restart()
    driver.finish()
    assert [each.notification.id for each in driver.world.notifier.messages] == ids


def test_scenarios_cover_every_kind_of_write() -> None:
    """Otherwise some write would never have failed here."""
    made = {verb for scenario in SCENARIOS for verb in run_without_faults(scenario).writes}
    assert made == {"create", "update_status", "weight"}


class _Ordered(InlinePool):
    """Notes how many works were put ahead of the others."""

    def __init__(self) -> None:
        self.first = 0

    def submit_urgent(self, work: Callable[[], T]) -> Future[T]:
        self.first += 1
        return self.submit(work)


@pytest.mark.parametrize(("weight", "quality", "first"), [(0, FAULTLESS, 0), (0, BROKEN, 1), (None, FAULTLESS, 1)])
def test_rollback_and_intercept_precede_status_refreshes(weight: int | None, quality: Quality, first: int) -> None:
    """What takes traffic from an unjudged or bad candidate does not queue; the steps of a good one do."""
    driver = Driver(fast_policy(), qualities={V2: quality})
    pool = driver.world.pool = _Ordered()
    driver.restart()
    driver.restarted = False
    driver.deploy_stable()
    driver.release(V2, weight)
    driver.finish()
    assert pool.first == first
