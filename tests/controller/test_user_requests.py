"""What a person asks in the rollout's object, in each phase: what is done, what is answered, once."""

from __future__ import annotations

import pytest

from autocanary.model.measurement import ReadingKind
from autocanary.model.policy import Step
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.simulator.pod_behaviour import starts_in
from autocanary.simulator.prometheus_server import Fault
from tests.controller.driver import BROKEN, STEPS, V2, V3, Play, healthy_start, policy

_SLOW = {V2: starts_in(40.0)}


def staging() -> Play:
    play = healthy_start(behaviours=_SLOW)
    play.until_phase(Phase.STAGING)
    return play


def progressing() -> Play:
    play = healthy_start()
    play.until_weight(25)
    return play


def holding() -> Play:
    play = progressing()
    play.world.metrics.faults = [Fault(ReadingKind.OUTAGE)]
    play.until_phase(Phase.HOLDING)
    return play


def paused() -> Play:
    play = progressing()
    play.pause()
    assert play.phase() is Phase.PAUSED
    return play


def baking() -> Play:
    play = healthy_start()
    play.until_weight(100)
    return play


PHASES = {
    "staging": staging,
    "progressing": progressing,
    "holding": holding,
    "paused": paused,
    "baking": baking,
}


@pytest.mark.parametrize("phase", PHASES)
def test_abort_rolls_back_from_every_phase(phase: str) -> None:
    """Within a tick, to 0, told with the person's name; nothing else is written afterwards."""
    play = PHASES[phase]()
    before = play.weights()
    assert play.ask(Verb.ABORT) == "rolling back"
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.ABORTED_BY_USER)
    assert play.weights() == (before if phase == "staging" else [*before, 0])
    assert "ann" in play.said("rollback_started")[0]
    play.run(300)
    assert play.share("00002")[-1] == 0
    assert play.events().count("rollback_started") == 1


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
    play = PHASES[phase]()
    assert play.ask(Verb.PROMOTE) == answer
    assert play.weights() == written
    assert "ann passed the step" in play.said("step_taken")[-1]


def test_promote_of_a_candidate_that_is_not_ready_changes_nothing() -> None:
    """The answer says why."""
    play = staging()
    assert "not ready" in play.ask(Verb.PROMOTE)
    assert play.phase() is Phase.STAGING
    assert play.weights() == []


def test_promote_ends_the_bake() -> None:
    """At 100 % there is no further step: the rollout is promoted now."""
    play = baking()
    play.run(5)
    assert play.ask(Verb.PROMOTE) == "promoted"
    play.finish()
    assert play.ending() == (Phase.PROMOTED, Reason.PROMOTED_BY_USER)
    assert play.weights() == [10, 25, 50, 100]


@pytest.mark.parametrize("phase", ["progressing", "holding", "paused"])
def test_promote_full_goes_to_100_at_once(phase: str) -> None:
    """All steps are passed, and the rollout ends when the traffic shows it."""
    play = PHASES[phase]()
    assert play.ask(Verb.PROMOTE_FULL) == "going to 100 %"
    assert play.weights() == [10, 25, 100]
    if phase == "paused":
        play.pause(False)
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 100]


def test_promote_full_of_a_candidate_that_is_not_ready_is_kept_for_when_it_is() -> None:
    """Going to 100 % before it is ready would mean nothing; it goes there as soon as it is."""
    play = staging()
    answer = play.ask(Verb.PROMOTE_FULL)
    assert "ready" in answer
    assert play.weights() == []
    play.finish()
    assert play.weights() == [100]
    assert play.phase() is Phase.PROMOTED


def test_promote_full_ends_the_bake() -> None:
    """At 100 % it is the same as promote."""
    play = baking()
    play.run(5)
    play.ask(Verb.PROMOTE_FULL)
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]


@pytest.mark.parametrize("phase", ["staging", "progressing", "holding", "baking"])
def test_pause_stops_the_steps_and_resume_goes_on(phase: str) -> None:
    """Nothing is written while paused, however long; afterwards every step is still taken, once."""
    play = PHASES[phase]()
    play.world.metrics.faults = []
    play.pause()
    before = play.weights()
    assert play.ending() == (Phase.PAUSED, Reason.PAUSED_BY_USER)
    play.run(600)
    assert play.weights() == before
    assert play.phase() is Phase.PAUSED
    play.pause(False)
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]
    events = play.events()
    assert (events.count("rollout_paused"), events.count("rollout_resumed")) == (1, 1)


def test_a_breach_while_paused_rolls_back() -> None:
    """A pause stops steps, not the judge."""
    play = healthy_start(qualities={V2: BROKEN})
    play.until_weight(10)
    play.pause()
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert play.weights() == [10, 0]


def test_resume_of_what_is_not_paused_is_answered() -> None:
    """And changes nothing."""
    play = progressing()
    assert play.ask(Verb.RESUME) == "the rollout is not paused"
    assert play.ask(Verb.RETRY) == "nothing to retry: the rollout is still running"
    assert "unknown request" in play.ask("go-faster")
    assert play.weights() == [10, 25]
    play.finish()
    assert play.weights() == [10, 25, 50, 100]


def test_resume_while_spec_paused_is_still_true_says_so() -> None:
    """The field and the verb must not fight."""
    play = paused()
    assert "spec.paused is still true" in play.ask(Verb.RESUME)
    assert play.phase() is Phase.PAUSED


@pytest.mark.parametrize("verb", [Verb.PROMOTE, Verb.RESUME])
def test_a_manual_step_waits_for_a_person(verb: Verb) -> None:
    """`pause: {}` at 25 %: judged all along, passed by promote or resume, told once."""
    steps = (STEPS[0], Step(25, 60.0, approval=True), *STEPS[2:])
    play = healthy_start(policy(steps=steps))
    play.until_reason(Reason.AWAITING_APPROVAL)
    assert play.phase() is Phase.PAUSED
    play.run(900)
    assert play.weights() == [10, 25]
    play.ask(verb)
    assert play.weights() == [10, 25, 50]
    play.finish()
    assert play.weights() == [10, 25, 50, 100]
    assert play.events().count("rollout_paused") == 1


def test_a_bad_candidate_is_rolled_back_while_a_manual_step_waits() -> None:
    """Waiting for a person is not looking away."""
    steps = (Step(10, 30.0, approval=True), *STEPS[1:])
    play = healthy_start(policy(steps=steps))
    play.until_reason(Reason.AWAITING_APPROVAL)
    series = play.world.traffic.series("models", "mnist", play.world.key("mnist").component)
    series["mnist-predictor-00002"].quality = BROKEN
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert play.weights() == [10, 0]


def test_abort_during_a_manual_step() -> None:
    """The person says no."""
    steps = (Step(10, 30.0, approval=True), *STEPS[1:])
    play = healthy_start(policy(steps=steps))
    play.until_reason(Reason.AWAITING_APPROVAL)
    play.ask(Verb.ABORT)
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.ABORTED_BY_USER)


def test_a_wish_during_a_rollback_is_answered() -> None:
    """A rollback is not stopped by anybody, and nobody waits for an answer for ever."""
    play = healthy_start(qualities={V2: BROKEN})
    play.until_weight(10)
    play.world.kserve.hold_ingress("models", "mnist")
    play.until_phase(Phase.ROLLING_BACK)
    id_ = play.write(Verb.PROMOTE)
    play.run(5)
    play.world.kserve.hold_ingress("models", "mnist", held=False)
    play.finish()
    play.run(5)
    assert play.phase() is Phase.ROLLED_BACK
    assert play.rollout().progress.answered == id_
    assert play.weights() == [10, 0]


@pytest.mark.parametrize("verb", [Verb.PROMOTE, Verb.ABORT, Verb.RESUME, Verb.PROMOTE_FULL])
def test_a_wish_for_a_finished_rollout_is_answered(verb: Verb) -> None:
    """It has ended; nothing moves."""
    play = healthy_start()
    play.finish()
    play.run(60)
    assert "has ended: Promoted" in play.ask(verb)
    play.run(60)
    assert play.weights() == [10, 25, 50, 100]


def test_a_wish_is_answered_after_a_restart() -> None:
    """Asked of a finished rollout while nobody was there: the next process answers."""
    play = healthy_start()
    play.finish()
    id_ = play.write(Verb.ABORT)
    play.restart()
    play.run(10)
    assert play.rollout().progress.answered == id_


def test_retry_starts_a_rolled_back_candidate_again() -> None:
    """A second attempt with its own record, from the bottom; the first record says what was answered."""
    play = healthy_start(qualities={V2: BROKEN})
    play.finish()
    series = play.world.traffic.series("models", "mnist", play.world.key("mnist").component)
    series["mnist-predictor-00002"].quality = play.world.traffic.quality_of({"model": {"storageUri": V3}})
    assert play.ask(Verb.RETRY) == "started mnist-00002-r2"
    play.finish("mnist-00002-r2")
    assert play.ending("mnist-00002-r2") == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.weights() == [10, 0, 10, 25, 50, 100]
    assert play.rollout("mnist-00002-r2").attempt == 2
    assert play.rollout("mnist-00002-r2").stable_spec == play.rollout("mnist-00002").stable_spec
    assert play.phase("mnist-00002") is Phase.ROLLED_BACK


def test_a_retry_that_fails_again_can_be_tried_a_third_time() -> None:
    """Each attempt has its own name, and only one runs."""
    play = healthy_start(qualities={V2: BROKEN})
    play.finish()
    play.ask(Verb.RETRY)
    play.finish("mnist-00002-r2")
    assert play.ask(Verb.RETRY, "mnist-00002-r2") == "started mnist-00002-r3"
    play.finish("mnist-00002-r3")
    assert play.weights() == [10, 0, 10, 0, 10, 0]
    assert play.names() == ["mnist-00002", "mnist-00002-r2", "mnist-00002-r3"]


def test_retry_of_what_cannot_be_retried_says_why() -> None:
    """A promoted one; a rolled-back one whose revision has been replaced."""
    play = healthy_start()
    play.finish()
    assert "only a rolled-back rollout" in play.ask(Verb.RETRY)
    other = healthy_start(qualities={V2: BROKEN})
    other.finish()
    other.release(V3)
    assert "another rollout" in _retry_while_running(other)
    other.finish("mnist-00003")
    assert "no longer the newest" in other.ask(Verb.RETRY)


def _retry_while_running(play: Play) -> str:
    play.until_phase(Phase.PROGRESSING, name="mnist-00003")
    return play.ask(Verb.RETRY)


def test_retry_works_after_a_restart() -> None:
    """The record is enough: nothing about the failed attempt has to be in memory."""
    play = healthy_start(qualities={V2: BROKEN})
    play.finish()
    play.restart()
    play.run(5)
    assert play.ask(Verb.RETRY) == "started mnist-00002-r2"


def test_a_wish_is_acted_upon_once() -> None:
    """The same request object stays in the spec for ever; it passes one step, also over a restart."""
    play = progressing()
    play.ask(Verb.PROMOTE)
    assert play.weights() == [10, 25, 50]
    play.restart()
    play.run(20)
    assert play.weights() == [10, 25, 50]


def test_promote_all_from_outside_during_an_outage_of_prometheus() -> None:
    """A person may promote although nothing can be measured."""
    play = holding()
    play.ask(Verb.PROMOTE_FULL)
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 100]
