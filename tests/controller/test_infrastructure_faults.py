"""Revisions that crash or cannot be made, and KServe's traps: what is repaired, and what people are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autocanary.model.policy import OnFailure, Step
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.simulator.pod_behaviour import CRASHES, NEVER_READY, UNSCHEDULABLE, Behaviour, starts_in
from autocanary.simulator.response_quality import from_weight
from tests.controller.driver import BROKEN, FAULTLESS, STEPS, V1, V2, V3, Play, healthy_start, policy


def document(play: Play) -> dict[str, object]:
    predictor = play.world.kserve.document("models", "mnist")["spec"]["predictor"]
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
    """Given up at the progress deadline, without a request and without a write; told why."""
    play = healthy_start(behaviours={V2: behaviour})
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, reason)
    assert play.weights() == []
    assert words in play.said("rollback_started")[0]
    assert max(play.share("00002")) == 0
    progress = play.rollout().progress
    assert progress.finished_at is not None
    assert 300 <= progress.finished_at - progress.started_at <= 330


def test_a_candidate_that_never_becomes_ready_applied_at_10() -> None:
    """The weight goes to 0 at the deadline, so that a late recovery changes nothing."""
    play = Play(behaviours={V2: NEVER_READY})
    play.serve()
    play.release(V2, 10)
    play.finish()
    assert play.phase() is Phase.ROLLED_BACK
    assert play.weights() == [0]


def test_a_slow_candidate_that_makes_it_before_the_deadline() -> None:
    """Four minutes of loading a model are no failure; it is held meanwhile and told so at most once."""
    play = healthy_start(behaviours={V2: starts_in(240.0)})
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]
    assert play.events() == ["rollout_started", *["step_taken"] * 4, "rollout_promoted"]


def test_a_candidate_that_crashes_after_it_was_ready() -> None:
    """Knative blocks the route, so weight 0 has no effect: the stable spec is put back, and that unblocks."""
    play = healthy_start()
    play.until_weight(25)
    play.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    play.ask(Verb.ABORT)
    play.finish()
    assert play.phase() is Phase.ROLLED_BACK
    assert play.weights() == [10, 25, 0, 0]
    assert play.world.cluster.writes[-1].restored
    assert document(play)["model"] == {"modelFormat": {"name": "sklearn"}, "storageUri": V1}
    assert play.share("00002")[-1] == 0
    assert play.events()[-3:] == ["rollback_started", "rollout_warning", "rollout_rolled_back"]
    play.run(600)
    assert set(play.share("00002")[-600:]) == {0}
    assert play.phase() is Phase.ROLLED_BACK


def test_a_crash_that_recovers_needs_no_repair() -> None:
    """The queued 0 applies by itself when the pods are back within the half minute."""
    play = healthy_start()
    play.until_weight(25)
    play.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    play.ask(Verb.ABORT)
    play.run(10)
    play.world.kserve.recover("models", "mnist", "mnist-predictor-00002")
    play.finish()
    assert play.phase() is Phase.ROLLED_BACK
    assert play.weights() == [10, 25, 0]
    assert not any(each.restored for each in play.world.cluster.writes)


def test_a_crashed_candidate_without_requests_is_rolled_back_by_the_metrics() -> None:
    """Nobody aborts: a candidate that stops answering shows no data, and the deadline of that is kept."""
    play = healthy_start()
    play.until_weight(25)
    play.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    play.finish()
    assert play.phase() is Phase.ROLLED_BACK
    assert play.share("00002")[-1] == 0
    assert 50 not in play.weights()


def test_a_blocked_rollback_whose_stable_spec_was_never_seen_is_said() -> None:
    """The process began when the candidate existed: it can only write 0 and tell a person."""
    play = Play()
    play.world.deploy("mnist", V1)
    play.world.advance(10.0)
    play.release(V2, 0)
    play.until_weight(25)
    assert play.rollout().stable_spec is None
    play.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    play.ask(Verb.ABORT)
    play.run(120)
    assert play.phase() is Phase.ROLLING_BACK
    (warning,) = play.said("rollout_warning")
    assert "put it back by hand" in warning
    assert play.weights() == [10, 25, 0]
    play.world.kserve.recover("models", "mnist", "mnist-predictor-00002")
    play.finish()
    assert play.phase() is Phase.ROLLED_BACK


def test_a_stable_that_crashes_in_the_middle() -> None:
    """Every change but 100 is blocked: no further step is taken on a traffic that does not follow."""
    play = healthy_start()
    play.until_weight(25)
    play.run(3)
    play.world.kserve.crash("models", "mnist", "mnist-predictor-00001")
    play.until(lambda: play.weights()[-1] == 50)
    play.run(200)
    assert play.weights() == [10, 25, 50]
    assert play.phase() is Phase.HOLDING
    assert play.rollout().progress.reason is Reason.WAITING_FOR_EFFECT
    assert play.ask(Verb.PROMOTE_FULL) == "going to 100 %"
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.share("00002")[-1] == 100


def test_a_stable_that_crashes_and_recovers() -> None:
    """The queued weight applies by itself, and the rollout goes on."""
    play = healthy_start()
    play.until_weight(25)
    play.run(3)
    play.world.kserve.crash("models", "mnist", "mnist-predictor-00001")
    play.run(120)
    play.world.kserve.recover("models", "mnist", "mnist-predictor-00001")
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]


def test_a_stable_that_is_deleted() -> None:
    """As with a crash, but for good: a person is told, and 100 is the way out."""
    play = healthy_start()
    play.until_weight(25)
    play.run(3)
    play.world.kserve.delete_revision("models", "mnist", "mnist-predictor-00001")
    play.run(200)
    assert 100 not in play.weights()
    play.ask(Verb.PROMOTE_FULL)
    play.finish()
    assert play.phase() is Phase.PROMOTED


def second_rollout(**more: Any) -> Play:
    """v2 has been promoted (so KServe remembers v1 as the revision before stable)."""
    play = healthy_start(**more)
    play.finish()
    return play


def test_the_trap_in_the_middle_of_a_rollout_is_repaired() -> None:
    """The rollout of v3 runs when a spec edit's revision is refused: stable's spec is back within ticks."""
    play = second_rollout(behaviours={V3: starts_in(5.0)})
    play.release(V3, 0)
    play.until_phase(Phase.PROGRESSING, name="mnist-00003")
    play.run(20)
    play.world.kserve.refuse_revisions("models", "mnist")
    edit = {"spec": {"predictor": {"model": {"storageUri": "gs://models/mnist/refused"}}}}
    play.world.kserve.patch("models", "mnist", edit)
    play.run(90)
    assert play.share("00001")[-1] == 0


def test_a_template_neutral_edit_is_no_trap_for_us() -> None:
    """After a promotion, a weight without a new revision is somebody's rollback to v1: seen, not fought."""
    play = second_rollout()
    play.patch_weight(10, "argocd")
    play.run(120)
    assert play.weights() == [10, 25, 50, 100]
    assert play.share("00001")[-1] == 90


def test_a_breach_in_the_bake_goes_back_to_the_previous_revision() -> None:
    """At 100 % stable's pods are gone; the traffic returns to it all the same, and only when it is verified
    the rollout is called rolled back."""
    late = replace(FAULTLESS, error_percent=from_weight(100, bad=30.0, good=0.0))
    play = healthy_start(qualities={V2: late})
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert play.weights() == [10, 25, 50, 100, 0]
    assert play.share("00001")[-1] == 100
    assert play.phases() == ["Staging", "Progressing", "Baking", "RollingBack", "RolledBack"]
    play.run(300)
    assert play.names() == ["mnist-00002"]
    assert play.weights() == [10, 25, 50, 100, 0]


def test_the_release_after_a_rolled_back_bake() -> None:
    """KServe has v1 for stable again; v3 is measured against it."""
    late = replace(FAULTLESS, error_percent=from_weight(100, bad=30.0, good=0.0))
    play = healthy_start(qualities={V2: late})
    play.finish()
    play.release(V3, 0)
    play.finish("mnist-00003")
    assert play.phase("mnist-00003") is Phase.PROMOTED
    assert play.rollout("mnist-00003").stable == "mnist-predictor-00001"


def test_a_candidate_that_crashes_during_the_bake() -> None:
    """It has 100 % and KServe calls it stable: only v1's spec as a new revision gets out of that."""
    play = healthy_start()
    play.until_weight(100)
    play.run(3)
    play.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    play.ask(Verb.ABORT)
    play.finish()
    assert play.phase() is Phase.ROLLED_BACK
    assert play.share("00002")[-1] == 0
    assert document(play)["model"] == {"modelFormat": {"name": "sklearn"}, "storageUri": V1}


def test_a_failure_pauses_where_the_policy_says_so() -> None:
    """onFailure: pause: the weight stays, a person is told, resume or abort decide."""
    play = healthy_start(policy(on_failure=OnFailure.PAUSE), qualities={V2: BROKEN})
    play.until_phase(Phase.PAUSED)
    assert play.rollout().progress.reason is Reason.FAILURE_PAUSED
    play.run(600)
    assert play.weights() == [10]
    assert play.events().count("rollout_paused") == 1
    play.ask(Verb.ABORT)
    play.finish()
    assert play.weights() == [10, 0]


def test_an_ingress_that_is_never_programmed_is_noticed() -> None:
    """`traffic` shows the weight at once; the route is not ready, so nothing is judged and nothing raised."""
    play = healthy_start()
    play.until_weight(10)
    play.run(3)
    play.world.kserve.hold_ingress("models", "mnist")
    play.until(lambda: play.weights()[-1] == 25)
    play.run(200)
    assert play.weights() == [10, 25]
    assert play.rollout().progress.reason is Reason.WAITING_FOR_EFFECT
    play.world.kserve.hold_ingress("models", "mnist", held=False)
    play.finish()
    assert play.weights() == [10, 25, 50, 100]


def test_an_ingress_that_stays_stuck_rolls_back_at_the_deadline() -> None:
    """Five minutes without effect: the weight is taken back."""
    play = healthy_start()
    play.until_weight(10)
    play.run(3)
    play.world.kserve.hold_ingress("models", "mnist")
    play.until_phase(Phase.ROLLING_BACK)
    assert play.rollout().progress.reason is Reason.PROGRESS_DEADLINE_EXCEEDED
    assert play.weights()[-1] == 0


def test_a_knative_controller_that_is_away() -> None:
    """Its status looks perfect and nothing moves: no step is called done, and it goes on when it is back."""
    play = healthy_start()
    play.until_weight(10)
    play.run(3)
    play.world.kserve.set_knative_down()
    play.run(200)
    assert play.weights() == [10, 25]
    play.world.kserve.set_knative_down(False)
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]


def test_a_kserve_manager_that_is_away() -> None:
    """Every write is a 500 from its webhook: repeated until it is back, no step skipped."""
    play = healthy_start()
    play.until_weight(10)
    play.run(3)
    play.world.kserve.set_kserve_down()
    play.run(150)
    assert play.weights() == [10]
    play.world.kserve.set_kserve_down(False)
    play.finish()
    assert play.weights() == [10, 25, 50, 100]
    assert play.events().count("step_taken") == 4


def test_a_stale_picture_of_the_cluster_stops_everything() -> None:
    """The watch is cut for ten minutes: held after a while, told, and gone on with when it is back."""
    play = healthy_start()
    play.until_weight(10)
    play.run(3)
    play.world.cluster.blind()
    play.run(600)
    assert play.weights() in ([10], [10, 25])
    assert play.phase() is Phase.HOLDING
    assert play.rollout().progress.reason is Reason.OBSERVATION_STALE
    play.world.cluster.blind(False)
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]
    assert play.events().count("rollout_held") == 1


def test_gradual_rollouts_of_knative_are_waited_for() -> None:
    """rollout-duration makes Knative ramp a new revision: the step's clock starts when the ramp is over."""
    play = Play()
    document_ = dict(play.world.deploy("mnist", V1))
    del document_
    annotation = {"metadata": {"annotations": {"serving.knative.dev/rollout-duration": "40s"}}}
    play.world.kserve.patch("models", "mnist", annotation)
    play.run(10)
    play.release(V2, 0)
    play.finish(limit=1200)
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]


def test_the_minimal_crd_is_rolled_out_all_the_same() -> None:
    """Its spec is one atomic field: merge patches work, and our own writes are not taken for somebody else's."""
    play = healthy_start(minimal_crd=True)
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]


def test_a_slow_controller_delays_and_breaks_nothing() -> None:
    """Six seconds from a patch to the status, as measured under load."""
    play = healthy_start(lag=6.0)
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]
    assert play.events().count("step_taken") == 4


def test_one_step_to_100() -> None:
    """The shortest policy: staged, then everything, judged in the bake."""
    play = healthy_start(policy(steps=(Step(100, 60.0),)))
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [100]
    assert STEPS[-1].weight == 100
