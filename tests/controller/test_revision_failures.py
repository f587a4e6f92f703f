"""Revisions that crash or cannot be made, and KServe's traps: what is repaired, and what is notified."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autocanary.model.policy import OnFailure, Step
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.simulator.pod_behaviour import (
    CRASHES,
    NEVER_READY,
    UNSCHEDULABLE,
    Behaviour,
    ready_after_seconds,
)
from autocanary.simulator.response_quality import from_traffic_weight
from tests.controller.driver import BROKEN, FAULTLESS, STEPS, V1, V2, V3, Driver, healthy_start, policy


def document(driver: Driver) -> dict[str, Any]:
    predictor = driver.world.kserve.document("models", "mnist")["spec"]["predictor"]
    return dict(predictor)


@pytest.mark.parametrize(
    ("behaviour", "reason", "words"),
    [
        (CRASHES, Reason.REVISION_FAILED, "model failed to load"),
        (UNSCHEDULABLE, Reason.REVISION_FAILED, "insufficient nvidia.com/gpu"),
        (NEVER_READY, Reason.PROGRESS_DEADLINE_EXCEEDED, "not ready after"),
    ],
)
def test_a_candidate_that_never_becomes_ready(behaviour: Behaviour, reason: Reason, words: str) -> None:
    """Given up at the progress deadline, without a request and without a write; the notification says why."""
    driver = healthy_start(behaviours={V2: behaviour})
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, reason)
    assert driver.weights() == []
    assert words in driver.messages_of("rollback_started")[0]
    assert max(driver.share("00002")) == 0
    progress = driver.rollout().progress
    assert progress.finished_at is not None
    assert 300 <= progress.finished_at - progress.started_at <= 330


def test_a_candidate_that_never_becomes_ready_applied_at_10() -> None:
    """The weight goes to 0 at the deadline, so that a late recovery changes nothing."""
    driver = Driver(behaviours={V2: NEVER_READY})
    driver.deploy_stable()
    driver.release(V2, 10)
    driver.finish()
    assert driver.phase() is Phase.ROLLED_BACK
    assert driver.weights() == [0]


def test_candidate_ready_just_before_deadline_continues() -> None:
    """Four minutes of loading a model are no failure; it is held meanwhile and notified at most once."""
    driver = healthy_start(behaviours={V2: ready_after_seconds(240.0)})
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.events() == ["rollout_started", *["step_taken"] * 4, "rollout_promoted"]


def test_a_candidate_that_crashes_after_it_was_ready() -> None:
    """Knative blocks the route, so weight 0 has no effect: the stable spec is put back, and that unblocks."""
    driver = healthy_start()
    driver.until_weight(25)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    driver.ask(Verb.ABORT)
    driver.finish()
    assert driver.phase() is Phase.ROLLED_BACK
    assert driver.weights() == [10, 25, 0, 0]
    assert driver.world.cluster.writes[-1].restored
    assert document(driver)["model"] == {"modelFormat": {"name": "sklearn"}, "storageUri": V1}
    assert driver.share("00002")[-1] == 0
    assert driver.events()[-3:] == ["rollback_started", "rollout_warning", "rollout_rolled_back"]
    driver.run(600)
    assert set(driver.share("00002")[-600:]) == {0}
    assert driver.phase() is Phase.ROLLED_BACK


def test_a_candidate_that_crashes_at_a_weight_is_rolled_back_within_one_evaluation() -> None:
    """No request of a user: KServe's status names the failure, blocks the 0, and stable's spec is put back."""
    driver = healthy_start()
    driver.until_weight(25)
    driver.run(3)
    crashed_at = driver.world.clock.now()
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    driver.finish()
    progress = driver.rollout().progress
    assert (progress.phase, progress.reason) == (Phase.ROLLED_BACK, Reason.REVISION_FAILED)
    assert driver.weights() == [10, 25, 0, 0]
    assert driver.share("00002")[-1] == 0
    assert "model crashed" in driver.messages_of("rollback_started")[0]
    assert progress.finished_at is not None
    assert progress.finished_at - crashed_at < 12


def test_the_stable_spec_that_a_rollback_put_back_is_no_release() -> None:
    """Its revision stays at 0: the rollback remains the newest rollout of the service."""
    driver = healthy_start()
    driver.until_weight(25)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    driver.finish()
    driver.run(600)
    assert driver.rollout_names() == ["mnist-00002"]
    assert driver.phase() is Phase.ROLLED_BACK
    assert driver.share("00001")[-1] == 100


def test_the_spec_of_a_crashed_candidate_is_not_tried_again() -> None:
    """It is known to be bad: a new revision of it gets no traffic."""
    driver = healthy_start()
    driver.until_weight(25)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    driver.finish()
    driver.release(V2, 0)
    driver.finish("mnist-00004")
    assert driver.phase_and_reason("mnist-00004") == (Phase.ROLLED_BACK, Reason.KNOWN_BAD)


def test_a_blocked_rollback_whose_stable_spec_was_never_seen_is_said() -> None:
    """The process began when the candidate existed: it can only write 0 and tell a user."""
    driver = Driver()
    driver.world.deploy("mnist", V1)
    driver.world.advance(10.0)
    driver.release(V2, 0)
    driver.world.kserve.objects.compact()
    driver.until_weight(25)
    assert driver.rollout().stable_spec is None
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    driver.ask(Verb.ABORT)
    driver.run(120)
    assert driver.phase() is Phase.ROLLING_BACK
    (warning,) = driver.messages_of("rollout_warning")
    assert "the spec of stable is unknown" in warning
    assert driver.weights() == [10, 25, 0]
    driver.world.kserve.recover("models", "mnist", "mnist-predictor-00002")
    driver.finish()
    assert driver.phase() is Phase.ROLLED_BACK


def test_a_stable_that_crashes_in_the_middle() -> None:
    """Every change but 100 is blocked: nothing is raised, and stable is named at once."""
    driver = healthy_start()
    driver.until_weight(25)
    driver.run(3)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00001")
    driver.run(200)
    assert driver.weights() == [10, 25]
    assert driver.phase() is Phase.HOLDING
    assert driver.rollout().progress.reason is Reason.STABLE_FAILED
    (message,) = driver.messages_of("rollout_held")
    assert "mnist-predictor-00001, the stable revision, failed" in message
    assert driver.ask(Verb.PROMOTE_FULL) == "going to 100 %"
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.share("00002")[-1] == 100


def test_a_stable_that_crashes_and_recovers() -> None:
    """The queued weight applies without a write, and the rollout continues."""
    driver = healthy_start()
    driver.until_weight(25)
    driver.run(3)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00001")
    driver.run(120)
    driver.world.kserve.recover("models", "mnist", "mnist-predictor-00001")
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]


def test_a_stable_that_is_deleted() -> None:
    """As with a crash, but for good: a user is notified, and 100 is the way out."""
    driver = healthy_start()
    driver.until_weight(25)
    driver.run(3)
    driver.world.kserve.delete_revision("models", "mnist", "mnist-predictor-00001")
    driver.run(200)
    assert 100 not in driver.weights()
    driver.ask(Verb.PROMOTE_FULL)
    driver.finish()
    assert driver.phase() is Phase.PROMOTED


def second_rollout(**more: Any) -> Driver:
    """v2 has been promoted (so KServe remembers v1 as the revision before stable)."""
    driver = healthy_start(**more)
    driver.finish()
    return driver


def test_wrong_stable_during_rollout_is_repaired() -> None:
    """The rollout of v3 runs when a spec edit's revision is refused: stable's spec is back within ticks."""
    driver = second_rollout(behaviours={V3: ready_after_seconds(5.0)})
    driver.release(V3, 0)
    driver.until_phase(Phase.PROGRESSING, name="mnist-00003")
    driver.run(20)
    driver.world.kserve.refuse_revisions("models", "mnist")
    edit = {"spec": {"predictor": {"model": {"storageUri": "gs://models/mnist/refused"}}}}
    driver.world.kserve.patch("models", "mnist", edit)
    driver.run(90)
    assert driver.share("00001")[-1] == 0


def test_template_neutral_edit_is_harmless() -> None:
    """After a promotion, a weight without a new revision is a user's rollback to v1: recognised and kept."""
    driver = second_rollout()
    driver.patch_weight(10, "argocd")
    driver.run(120)
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.share("00001")[-1] == 90


def test_a_violation_in_the_bake_goes_back_to_the_previous_revision() -> None:
    """At 100 % stable's pods are gone; the traffic returns to it all the same, and only when it is verified
    the rollout is called rolled back."""
    late = replace(FAULTLESS, error_percent=from_traffic_weight(100, bad=30.0, good=0.0))
    driver = healthy_start(qualities={V2: late})
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert driver.weights() == [10, 25, 50, 100, 0]
    assert driver.share("00001")[-1] == 100
    assert driver.phases() == ["Staging", "Progressing", "Baking", "RollingBack", "RolledBack"]
    driver.run(300)
    assert driver.rollout_names() == ["mnist-00002"]
    assert driver.weights() == [10, 25, 50, 100, 0]


def test_the_release_after_a_rolled_back_bake() -> None:
    """KServe has v1 for stable again; v3 is measured against it."""
    late = replace(FAULTLESS, error_percent=from_traffic_weight(100, bad=30.0, good=0.0))
    driver = healthy_start(qualities={V2: late})
    driver.finish()
    driver.release(V3, 0)
    driver.finish("mnist-00003")
    assert driver.phase("mnist-00003") is Phase.PROMOTED
    assert driver.rollout("mnist-00003").stable == "mnist-predictor-00001"


def test_a_candidate_that_crashes_during_the_bake() -> None:
    """It has 100 % and KServe calls it stable: only v1's spec as a new revision gets out of that."""
    driver = healthy_start()
    driver.until_weight(100)
    driver.run(3)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    driver.ask(Verb.ABORT)
    driver.finish()
    assert driver.phase() is Phase.ROLLED_BACK
    assert driver.share("00002")[-1] == 0
    assert document(driver)["model"] == {"modelFormat": {"name": "sklearn"}, "storageUri": V1}


def test_a_failure_pauses_where_the_policy_says_so() -> None:
    """onFailure: pause: the weight stays, a user is notified, resume or abort decide."""
    driver = healthy_start(policy(on_failure=OnFailure.PAUSE), qualities={V2: BROKEN})
    driver.until_phase(Phase.PAUSED)
    assert driver.rollout().progress.reason is Reason.FAILURE_PAUSED
    driver.run(600)
    assert driver.weights() == [10]
    assert driver.events().count("rollout_paused") == 1
    driver.ask(Verb.ABORT)
    driver.finish()
    assert driver.weights() == [10, 0]


def test_unprogrammed_ingress_is_reported() -> None:
    """`traffic` shows the weight at once; the route is not ready, so nothing is judged and nothing raised."""
    driver = healthy_start()
    driver.until_weight(10)
    driver.run(3)
    driver.world.kserve.hold_ingress("models", "mnist")
    driver.until(lambda: driver.weights()[-1] == 25)
    driver.run(200)
    assert driver.weights() == [10, 25]
    assert driver.rollout().progress.reason is Reason.WAITING_FOR_EFFECT
    driver.world.kserve.hold_ingress("models", "mnist", held=False)
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]


def test_an_ingress_that_stays_stuck_rolls_back_at_the_deadline() -> None:
    """Five minutes without effect: the weight is taken back."""
    driver = healthy_start()
    driver.until_weight(10)
    driver.run(3)
    driver.world.kserve.hold_ingress("models", "mnist")
    driver.until_phase(Phase.ROLLING_BACK)
    assert driver.rollout().progress.reason is Reason.PROGRESS_DEADLINE_EXCEEDED
    assert driver.weights()[-1] == 0


def test_holds_while_knative_controller_is_down() -> None:
    """Its status looks perfect and nothing moves: no step is called done, and it goes on when it is back."""
    driver = healthy_start()
    driver.until_weight(10)
    driver.run(3)
    driver.world.kserve.set_knative_down()
    driver.run(200)
    assert driver.weights() == [10, 25]
    driver.world.kserve.set_knative_down(False)
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]


def test_holds_while_kserve_controller_is_down() -> None:
    """Every write is a 500 from its webhook: repeated until it is back, no step skipped."""
    driver = healthy_start()
    driver.until_weight(10)
    driver.run(3)
    driver.world.kserve.set_kserve_down()
    driver.run(150)
    assert driver.weights() == [10]
    driver.world.kserve.set_kserve_down(False)
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.events().count("step_taken") == 4


def test_stale_cache_stops_all_decisions() -> None:
    """The watch is cut for ten minutes: held after a while, notified, and continued when it is back."""
    driver = healthy_start()
    driver.until_weight(10)
    driver.run(3)
    driver.world.cluster.set_watch_down()
    driver.run(600)
    assert driver.weights() in ([10], [10, 25])
    assert driver.phase() is Phase.HOLDING
    assert driver.rollout().progress.reason is Reason.OBSERVATION_STALE
    driver.world.cluster.set_watch_down(False)
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.events().count("rollout_held") == 1


def test_gradual_rollouts_of_knative_are_waited_for() -> None:
    """rollout-duration makes Knative ramp a new revision: the step's clock starts when the ramp is over."""
    driver = Driver()
    document_ = dict(driver.world.deploy("mnist", V1))
    del document_
    annotation = {"metadata": {"annotations": {"serving.knative.dev/rollout-duration": "40s"}}}
    driver.world.kserve.patch("models", "mnist", annotation)
    driver.run(10)
    driver.release(V2, 0)
    driver.finish(limit=1200)
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]


def test_minimal_crd_is_supported() -> None:
    """Its spec is one atomic field: merge patches work, and our own writes are not taken for another client's."""
    driver = healthy_start(minimal_crd=True)
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]


def test_a_slow_controller_delays_and_breaks_nothing() -> None:
    """Six seconds from a patch to the status, as measured under load."""
    driver = healthy_start(lag=6.0)
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.events().count("step_taken") == 4


def test_one_step_to_100() -> None:
    """The shortest policy: staged, then everything, judged in the bake."""
    driver = healthy_start(policy(steps=(Step(100, 60.0),)))
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [100]
    assert STEPS[-1].weight == 100


def test_an_abort_of_a_candidate_that_crashed_before_its_weight_took_effect_ends() -> None:
    """The candidate blocks the route and has no traffic: the rollback is over, and no spec is overwritten."""
    driver = healthy_start()
    key = driver.world.key("mnist")
    driver.until(lambda: (seen := driver.world.cluster.observe(key)) is not None and seen.weight == 10)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    driver.write(Verb.ABORT)
    driver.until_phase(Phase.ROLLED_BACK, limit=120)
    assert driver.weights() == [10, 0]
    spec = driver.world.kserve.document("models", "mnist")["spec"]
    assert spec["predictor"]["model"]["storageUri"] == V2
    assert max(driver.share("00002")) == 0
    (message,) = driver.messages_of("rollout_rolled_back")
    assert "aborted by ann" in message
    assert "the route is not ready until a new revision is released" in message


def test_a_block_that_is_seen_in_a_status_from_before_the_0_ends_no_rollback() -> None:
    """KServe stops after it has asked for 10 %: a candidate that recovers gets them, whatever the status shows."""
    driver = healthy_start()
    key = driver.world.key("mnist")
    driver.until(lambda: (seen := driver.world.cluster.observe(key)) is not None and seen.weight == 10)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    driver.write(Verb.ABORT)
    driver.until(lambda: driver.weights() == [10, 0])
    driver.world.kserve.set_kserve_down()
    driver.run(60)
    driver.world.kserve.recover("models", "mnist", "mnist-predictor-00002")
    driver.run(60)
    assert driver.world.split("mnist")["00002"] == 10
    assert driver.phase() is Phase.ROLLING_BACK
    driver.world.kserve.set_kserve_down(False)
    driver.until_phase(Phase.ROLLED_BACK, limit=120)
    assert driver.world.split("mnist")["00002"] == 0


def test_a_restored_spec_whose_ingress_is_late_ends_the_rollback() -> None:
    """The restored revision is ready and its route is not for a minute: then stable has 100 % beside a weight of 0."""
    driver = healthy_start()
    driver.until_weight(10)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    driver.until(lambda: document(driver)["model"]["storageUri"] == V1)
    driver.world.kserve.hold_ingress("models", "mnist")
    driver.run(60)
    assert driver.phase() is Phase.ROLLING_BACK
    driver.world.kserve.hold_ingress("models", "mnist", held=False)
    driver.until_phase(Phase.ROLLED_BACK, limit=120)
