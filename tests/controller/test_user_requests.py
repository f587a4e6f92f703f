"""What a user asks in the rollout's object, in each phase: what is done, what is answered, once."""

from __future__ import annotations

import pytest

from autocanary.model.measurement import MeasurementKind
from autocanary.model.policy import Step
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request, Rollout, Verb
from autocanary.simulator.pod_behaviour import ready_after_seconds
from autocanary.simulator.prometheus_server import PrometheusFault
from tests.controller.driver import BROKEN, STEPS, V2, V3, Driver, healthy_start, policy

_SLOW = {V2: ready_after_seconds(40.0)}


def staging() -> Driver:
    driver = healthy_start(behaviours=_SLOW)
    driver.until_phase(Phase.STAGING)
    return driver


def progressing() -> Driver:
    driver = healthy_start()
    driver.until_weight(25)
    return driver


def holding() -> Driver:
    driver = progressing()
    driver.world.metrics.faults = [PrometheusFault(MeasurementKind.OUTAGE)]
    driver.until_phase(Phase.HOLDING)
    return driver


def paused() -> Driver:
    driver = progressing()
    driver.pause()
    assert driver.phase() is Phase.PAUSED
    return driver


def baking() -> Driver:
    driver = healthy_start()
    driver.until_weight(100)
    return driver


PHASES = {
    "staging": staging,
    "progressing": progressing,
    "holding": holding,
    "paused": paused,
    "baking": baking,
}


@pytest.mark.parametrize("phase", PHASES)
def test_abort_rolls_back_from_every_phase(phase: str) -> None:
    """Within a tick, to 0, and the message names the user; nothing else is written afterwards."""
    driver = PHASES[phase]()
    before = driver.weights()
    assert driver.ask(Verb.ABORT) == "rolling back"
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.ABORTED_BY_USER)
    assert driver.weights() == (before if phase == "staging" else [*before, 0])
    assert "ann" in driver.messages_of("rollback_started")[0]
    driver.run(300)
    assert driver.share("00002")[-1] == 0
    assert driver.events().count("rollback_started") == 1


@pytest.mark.parametrize(
    ("phase", "written", "answer"),
    [
        ("progressing", [10, 25, 50], "going to 50 %"),
        ("holding", [10, 25, 50], "going to 50 %"),
        ("paused", [10, 25, 50], "going to 50 %"),
    ],
)
def test_promote_passes_the_present_step(phase: str, written: list[int], answer: str) -> None:
    """One step, at once, whatever the metrics say; the next one is judged again."""
    driver = PHASES[phase]()
    assert driver.ask(Verb.PROMOTE) == answer
    assert driver.weights() == written
    assert "ann passed the step" in driver.messages_of("step_taken")[-1]


def test_promote_of_a_candidate_that_is_not_ready_changes_nothing() -> None:
    """The answer says why."""
    driver = staging()
    assert "not ready" in driver.ask(Verb.PROMOTE)
    assert driver.phase() is Phase.STAGING
    assert driver.weights() == []


def test_promote_ends_the_bake() -> None:
    """At 100 % there is no further step: the rollout is promoted now."""
    driver = baking()
    driver.run(5)
    assert driver.ask(Verb.PROMOTE) == "promoted"
    driver.finish()
    assert driver.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED_BY_USER)
    assert driver.weights() == [10, 25, 50, 100]


@pytest.mark.parametrize("phase", ["progressing", "holding", "paused"])
def test_promote_full_goes_to_100_at_once(phase: str) -> None:
    """All steps are passed, and the rollout ends when the traffic shows it."""
    driver = PHASES[phase]()
    assert driver.ask(Verb.PROMOTE_FULL) == "going to 100 %"
    assert driver.weights() == [10, 25, 100]
    if phase == "paused":
        driver.pause(False)
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 100]


def test_promote_full_waits_until_candidate_is_ready() -> None:
    """Going to 100 % before it is ready would mean nothing; it goes there as soon as it is."""
    driver = staging()
    answer = driver.ask(Verb.PROMOTE_FULL)
    assert "ready" in answer
    assert driver.weights() == []
    driver.finish()
    assert driver.weights() == [100]
    assert driver.phase() is Phase.PROMOTED


def test_promote_full_ends_the_bake() -> None:
    """At 100 % it is the same as promote."""
    driver = baking()
    driver.run(5)
    driver.ask(Verb.PROMOTE_FULL)
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]


@pytest.mark.parametrize("phase", ["staging", "progressing", "holding", "baking"])
def test_pause_stops_the_steps_and_resume_goes_on(phase: str) -> None:
    """Nothing is written while paused, however long; afterwards every step is still taken, once."""
    driver = PHASES[phase]()
    driver.world.metrics.faults = []
    driver.pause()
    before = driver.weights()
    assert driver.phase_and_reason() == (Phase.PAUSED, Reason.PAUSED_BY_USER)
    driver.run(600)
    assert driver.weights() == before
    assert driver.phase() is Phase.PAUSED
    driver.pause(False)
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]
    events = driver.events()
    assert (events.count("rollout_paused"), events.count("rollout_resumed")) == (1, 1)


def test_a_violation_while_paused_rolls_back() -> None:
    """A pause stops steps, not the analysis."""
    driver = healthy_start(qualities={V2: BROKEN})
    driver.until_weight(10)
    driver.pause()
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert driver.weights() == [10, 0]


def test_resume_of_what_is_not_paused_is_answered() -> None:
    """And changes nothing."""
    driver = progressing()
    assert driver.ask(Verb.RESUME) == "the rollout is not paused"
    assert driver.ask(Verb.RETRY) == "nothing to retry: the rollout is still running"
    driver.world.store.admit = lambda _: None  # the definition of a newer version
    assert "unknown request" in driver.ask("go-faster")
    assert driver.weights() == [10, 25]
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]


def test_resume_while_spec_paused_is_still_true_says_so() -> None:
    """The field and the verb must not fight."""
    driver = paused()
    assert "spec.paused is still true" in driver.ask(Verb.RESUME)
    assert driver.phase() is Phase.PAUSED


def test_manual_step_waits_for_approval() -> None:
    """`pause: {}` at 25 %: judged all along, passed by promote alone, notified once; resume is no approval."""
    steps = (STEPS[0], Step(25, 60.0, approval=True), *STEPS[2:])
    driver = healthy_start(policy(steps=steps))
    driver.until_reason(Reason.AWAITING_APPROVAL)
    assert driver.phase() is Phase.PAUSED
    driver.run(900)
    assert driver.weights() == [10, 25]
    assert "waits for approval, which a resume is not" in driver.ask(Verb.RESUME)
    assert driver.phase() is Phase.PAUSED
    assert driver.weights() == [10, 25]
    driver.ask(Verb.PROMOTE)
    assert driver.weights() == [10, 25, 50]
    assert "approved by ann; 50 % of the traffic goes to mnist-predictor-00002" in driver.messages_of("step_taken")
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.events().count("rollout_paused") == 1


def test_a_bad_candidate_is_rolled_back_while_a_manual_step_waits() -> None:
    """Waiting for a user is not looking away."""
    steps = (Step(10, 30.0, approval=True), *STEPS[1:])
    driver = healthy_start(policy(steps=steps))
    driver.until_reason(Reason.AWAITING_APPROVAL)
    series = driver.world.traffic.series("models", "mnist", driver.world.key("mnist").component)
    series["mnist-predictor-00002"].quality = BROKEN
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert driver.weights() == [10, 0]


def test_abort_during_a_manual_step() -> None:
    """The user says no."""
    steps = (Step(10, 30.0, approval=True), *STEPS[1:])
    driver = healthy_start(policy(steps=steps))
    driver.until_reason(Reason.AWAITING_APPROVAL)
    driver.ask(Verb.ABORT)
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.ABORTED_BY_USER)


def test_request_during_rollback_is_answered() -> None:
    """A rollback is stopped by no request, and every request gets an answer."""
    driver = healthy_start(qualities={V2: BROKEN})
    driver.until_weight(10)
    driver.world.kserve.hold_ingress("models", "mnist")
    driver.until_phase(Phase.ROLLING_BACK)
    id_ = driver.write(Verb.PROMOTE)
    driver.run(5)
    driver.world.kserve.hold_ingress("models", "mnist", held=False)
    driver.finish()
    driver.run(5)
    assert driver.phase() is Phase.ROLLED_BACK
    assert driver.rollout().progress.requests.answered_id == id_
    assert driver.weights() == [10, 0]


@pytest.mark.parametrize("verb", [Verb.PROMOTE, Verb.ABORT, Verb.RESUME, Verb.PROMOTE_FULL])
def test_request_for_finished_rollout_is_answered(verb: Verb) -> None:
    """It has ended; nothing moves."""
    driver = healthy_start()
    driver.finish()
    driver.run(60)
    assert "has ended: Promoted" in driver.ask(verb)
    driver.run(60)
    assert driver.weights() == [10, 25, 50, 100]


def test_request_is_answered_after_restart() -> None:
    """Asked of a finished rollout while no process ran: the next process answers."""
    driver = healthy_start()
    driver.finish()
    id_ = driver.write(Verb.ABORT)
    driver.restart()
    driver.run(10)
    assert driver.rollout().progress.requests.answered_id == id_


def test_retry_starts_a_rolled_back_candidate_again() -> None:
    """A second attempt with its own record, from the bottom; the first record says what was answered."""
    driver = healthy_start(qualities={V2: BROKEN})
    driver.finish()
    series = driver.world.traffic.series("models", "mnist", driver.world.key("mnist").component)
    series["mnist-predictor-00002"].quality = driver.world.traffic.quality_of({"model": {"storageUri": V3}})
    assert driver.ask(Verb.RETRY) == "started mnist-00002-r2"
    driver.finish("mnist-00002-r2")
    assert driver.phase_and_reason("mnist-00002-r2") == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.weights() == [10, 0, 10, 25, 50, 100]
    assert driver.rollout("mnist-00002-r2").attempt == 2
    assert driver.rollout("mnist-00002-r2").stable_spec == driver.rollout("mnist-00002").stable_spec
    assert driver.phase("mnist-00002") is Phase.ROLLED_BACK


def test_a_retry_that_fails_again_can_be_tried_a_third_time() -> None:
    """Each attempt has its own name, and only one runs."""
    driver = healthy_start(qualities={V2: BROKEN})
    driver.finish()
    driver.ask(Verb.RETRY)
    driver.finish("mnist-00002-r2")
    assert driver.ask(Verb.RETRY, "mnist-00002-r2") == "started mnist-00002-r3"
    driver.finish("mnist-00002-r3")
    assert driver.weights() == [10, 0, 10, 0, 10, 0]
    assert driver.rollout_names() == ["mnist-00002", "mnist-00002-r2", "mnist-00002-r3"]


def test_retry_of_what_cannot_be_retried_says_why() -> None:
    """A promoted one; a rolled-back one whose revision has been replaced."""
    driver = healthy_start()
    driver.finish()
    assert "only a rolled-back rollout" in driver.ask(Verb.RETRY)
    other = healthy_start(qualities={V2: BROKEN})
    other.finish()
    other.release(V3)
    assert "another rollout" in _retry_while_running(other)
    other.finish("mnist-00003")
    assert "no longer the newest" in other.ask(Verb.RETRY)


def _retry_while_running(driver: Driver) -> str:
    driver.until_phase(Phase.PROGRESSING, name="mnist-00003")
    return driver.ask(Verb.RETRY)


def test_retry_works_after_a_restart() -> None:
    """The record is enough: nothing about the failed attempt has to be in memory."""
    driver = healthy_start(qualities={V2: BROKEN})
    driver.finish()
    driver.restart()
    driver.run(5)
    assert driver.ask(Verb.RETRY) == "started mnist-00002-r2"


def test_request_is_handled_once() -> None:
    """The same request object stays in the spec for ever; it passes one step, also over a restart."""
    driver = progressing()
    driver.ask(Verb.PROMOTE)
    assert driver.weights() == [10, 25, 50]
    driver.restart()
    driver.run(20)
    assert driver.weights() == [10, 25, 50]


def test_promote_all_from_outside_during_an_outage_of_prometheus() -> None:
    """A user may promote although nothing can be measured."""
    driver = holding()
    driver.ask(Verb.PROMOTE_FULL)
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 100]


@pytest.mark.parametrize("before", [True, False])
def test_an_abort_within_the_last_record_is_answered(monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    """The request reaches the API server just before or after the record that the last messages arrived."""
    driver = healthy_start()
    driver.until_phase(Phase.BAKING)
    store, asked = driver.world.store, list[Request]()
    update_status = store.update_status

    def record(rollout: Rollout) -> Rollout:
        is_last = rollout.is_final and not rollout.progress.outbox.pending and not asked
        if is_last and before:
            ask(rollout)
        recorded = update_status(rollout)
        if is_last and not before:
            ask(rollout)
        return recorded

    def ask(rollout: Rollout) -> None:
        asked.append(Request("late", Verb.ABORT.value, "ann"))
        store.write_request(rollout.namespace, rollout.name, paused=None, request=asked[0])

    monkeypatch.setattr(store, "update_status", record)
    driver.finish()
    driver.run(60)
    assert asked
    progress = driver.rollout().progress
    assert (progress.requests.answered_id, progress.phase) == ("late", Phase.PROMOTED)
    assert "this rollout has ended" in progress.requests.answer
