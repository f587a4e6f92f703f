"""Whole rollouts from the first revision to the end: what is written, what is told, and the phases."""

from __future__ import annotations

import pytest

from autocanary import logs
from autocanary.model.policy import OnUnstaged
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.simulator.pod_behaviour import starts_in
from autocanary.simulator.scenarios import SCENARIOS
from autocanary.simulator.world import manifest
from tests.controller.driver import BROKEN, V1, V2, V3, Play, healthy_start, policy

STARTED, STEP, PROMOTED = "rollout_started", "step_taken", "rollout_promoted"
BACK = ["rollback_started", "rollout_rolled_back"]
HELD, ENDED = "rollout_held", "rollout_ended"
UP = ["Staging", "Progressing", "Baking", "Promoted"]
DOWN = ["Staging", "Progressing", "RollingBack", "RolledBack"]
ALL_STEPS = [STARTED, STEP, STEP, STEP, STEP, PROMOTED]


def played(scenario: str) -> Play:
    """A scenario of the demo until all that it expects has ended and is told."""
    story = SCENARIOS[scenario]
    play = Play(world=story.open())

    def over() -> bool:
        rollouts = play.world.ledger.rollouts()
        ended = all(each.is_final and not each.progress.untold for each in rollouts)
        return len(rollouts) >= len(story.expected) and ended

    play.until(over, int(story.horizon))
    return play


@pytest.mark.parametrize(
    ("scenario", "weights", "events", "phases"),
    [
        ("healthy", [10, 25, 50, 100], ALL_STEPS, UP),
        ("errors", [10, 0], [STARTED, STEP, *BACK], DOWN),
        ("slow", [10, 0], [STARTED, STEP, *BACK], DOWN),
        ("late-onset", [10, 25, 50, 0], [STARTED, STEP, STEP, STEP, *BACK], DOWN),
        (
            "no-traffic",
            [10, 0],
            [STARTED, STEP, HELD, *BACK],
            ["Staging", "Progressing", "Holding", "RollingBack", "RolledBack"],
        ),
        (
            "outage",
            [10, 25, 50, 100],
            [STARTED, STEP, STEP, HELD, STEP, STEP, PROMOTED],
            ["Staging", "Progressing", "Holding", "Progressing", "Baking", "Promoted"],
        ),
        ("crash-loop", [], [STARTED, HELD, *BACK], ["Staging", "RollingBack", "RolledBack"]),
        ("unstaged", [0, 10, 25, 50, 100], ALL_STEPS, UP),
    ],
)
def test_a_scenario_of_the_demo(
    scenario: str, weights: list[int], events: list[str], phases: list[str]
) -> None:
    """Each writes exactly these weights, tells each transition once, and goes through these phases."""
    play = played(scenario)
    (expected,) = SCENARIOS[scenario].expected
    assert play.ending() == (expected.phase, expected.reason)
    assert play.weights() == weights
    assert play.events() == events
    assert play.phases() == phases


def test_the_scenario_of_a_second_release() -> None:
    """The first is superseded where it stood, the second goes from the bottom to the top."""
    play = played("second-release")
    assert play.ending("mnist-00002") == (Phase.SUPERSEDED, Reason.NEW_REVISION)
    assert play.ending("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.weights() == [10, 25, 10, 25, 50, 100]
    assert play.events("mnist-00002") == [STARTED, STEP, STEP, ENDED]
    assert play.events("mnist-00003") == ALL_STEPS
    assert play.phases("mnist-00002") == ["Staging", "Progressing", "Superseded"]
    assert play.phases("mnist-00003") == UP


@pytest.mark.parametrize(
    ("weight", "written", "steps"),
    [(10, [25, 50, 100], 4), (30, [50, 100], 3), (5, [10, 25, 50, 100], 4), (99, [100], 2)],
)
def test_a_release_that_brings_its_weight_is_adopted_there(
    weight: int, written: list[int], steps: int
) -> None:
    """Applied at 10, 30, 5 (below the first step) and 99: the field is never lowered."""
    play = Play()
    play.serve()
    play.release(V2, weight)
    assert play.finish().progress.phase is Phase.PROMOTED
    assert play.weights() == written
    assert play.events() == [STARTED, *[STEP] * steps, PROMOTED]
    assert play.share("00002") == sorted(play.share("00002"))


def test_a_bad_release_adopted_at_its_weight_goes_to_zero() -> None:
    """Adopted at 30, judged there, rolled back from there."""
    play = Play(qualities={V2: BROKEN})
    play.serve()
    play.release(V2, 30)
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert play.weights() == [0]
    assert play.share("00002")[-1] == 0


def test_an_unstaged_release_is_caught_within_a_tick() -> None:
    """The 0 is written within a second of latestCreatedRevision moving."""
    play = Play(behaviours={V2: starts_in(8.0)})
    play.serve()
    play.release(V2, None)
    key = play.world.key("mnist")

    def created() -> bool:
        seen = play.world.kserve.document("models", "mnist")["status"]["components"]["predictor"]
        return bool(seen["latestCreatedRevision"] == "mnist-predictor-00002")

    while not created():
        play.world.advance(0.05)
    moved_at = play.world.now()
    assert play.weights() == []
    play.tick()
    (catch,) = play.world.cluster.writes
    assert (catch.key, catch.weight) == (key, 0)
    assert catch.at - moved_at <= 1.0
    assert play.rollout().progress.reason is Reason.CAUGHT_UNSTAGED
    assert max(play.share("00002")) == 0
    assert play.finish().progress.phase is Phase.PROMOTED
    assert play.weights() == [0, 10, 25, 50, 100]
    assert play.events() == ALL_STEPS


def test_the_100_kept_from_the_last_promotion_is_caught() -> None:
    """A manifest without the field leaves 100 in it; the next release is not cut over."""
    play = healthy_start(behaviours={V2: starts_in(5.0), V3: starts_in(5.0)})
    play.finish()
    body = {"spec": {"predictor": {"model": {"storageUri": V3}}}}
    play.world.kserve.patch("models", "mnist", body, "argocd")
    play.finish("mnist-00003")
    assert play.ending("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.weights() == [10, 25, 50, 100, 0, 10, 25, 50, 100]
    third = [share for share in play.share("00003") if share]
    assert third[0] == 10
    assert third == sorted(third)


def test_an_unstaged_release_is_left_alone_where_the_policy_says_so() -> None:
    """onUnstaged: ignore means that KServe's own cut-over stands, without a record."""
    play = Play(policy(on_unstaged=OnUnstaged.IGNORE))
    play.serve()
    play.release(V2, None)
    play.run(120)
    assert play.weights() == []
    assert play.names() == []
    assert play.share("00002")[-1] == 100


def test_a_revision_that_took_all_traffic_between_two_looks_is_missed() -> None:
    """It is said and recorded, and nothing is written: the stable revision's pods are gone."""
    play = Play(behaviours={V2: starts_in(0.2)}, lag=0.1)
    play.serve()
    play.world.cluster.blind()
    play.release(V2, None)
    play.run(5)
    play.world.cluster.blind(False)
    play.run(5)
    assert play.ending() == (Phase.MISSED, Reason.MISSED_UNSTAGED)
    assert play.weights() == []
    assert play.events() == [ENDED]
    assert play.phases() == ["Missed"]
    play.run(700)
    assert play.weights() == []
    assert play.names() == ["mnist-00002"]
    assert play.events() == [ENDED]


def test_the_release_after_a_missed_one_is_rolled_out() -> None:
    """The missed revision is stable now, and the next one is measured against it."""
    play = Play(behaviours={V2: starts_in(0.2)}, lag=0.1)
    play.serve()
    play.world.cluster.blind()
    play.release(V2, None)
    play.run(5)
    play.world.cluster.blind(False)
    play.run(5)
    play.release(V3, 0)
    play.finish("mnist-00003")
    assert play.ending("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.rollout("mnist-00003").stable == "mnist-predictor-00002"
    assert play.rollout("mnist-00003").stable_spec == play.rollout("mnist-00002").candidate_spec


def test_a_service_in_standard_mode_is_refused_once() -> None:
    """Its traffic cannot be split: said once, whatever happens to it later, and nothing is written."""
    play = Play()
    document = manifest("raw", V1)
    document["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": "RawDeployment"}
    with logs.capture() as captured:
        play.world.kserve.create(document)
        play.run(10)
        play.patch_weight(10, name="raw")
        play.run(700)
    (refusal,) = captured.named("rollout_refused")
    assert (refusal["reason"], refusal["service"]) == ("UnsupportedDeploymentMode", "raw")
    assert play.names() == []
    assert play.weights("raw") == []


def test_a_rolled_back_candidate_is_not_tried_again() -> None:
    """Not by the engine, not after a restart, and not when somebody touches the weight or a label."""
    play = healthy_start(qualities={V2: BROKEN})
    play.finish()
    assert play.weights() == [10, 0]
    play.run(400)
    play.restart()
    play.run(400)
    play.patch_weight(10)
    play.run(30)
    play.patch_weight(0)
    play.run(400)
    assert play.names() == ["mnist-00002"]
    assert play.weights() == [10, 0]
    assert play.events() == [STARTED, STEP, *BACK]


@pytest.mark.parametrize("foreign", [None, 100])
def test_a_rolled_back_candidate_that_somebody_promotes_is_told(foreign: int | None) -> None:
    """The field is removed or raised to 100 by hand: recorded as missed, with who did it, and not undone."""
    play = healthy_start(qualities={V2: BROKEN})
    play.finish()
    play.patch_weight(foreign, "argocd")
    play.run(700)
    assert play.weights() == [10, 0]
    assert play.names() == ["mnist-00002", "mnist-00002-r2"]
    assert play.ending("mnist-00002-r2") == (Phase.MISSED, Reason.MISSED_UNSTAGED)
    assert play.events("mnist-00002-r2") == [ENDED]
    play.restart()
    play.run(700)
    assert play.names() == ["mnist-00002", "mnist-00002-r2"]


def test_the_release_after_a_rollback_starts_from_the_bottom() -> None:
    """v3 replaces the rolled-back v2; stable is still v1."""
    play = healthy_start(qualities={V2: BROKEN})
    play.finish()
    play.release(V3, 0)
    play.finish("mnist-00003")
    assert play.rollout("mnist-00003").stable == "mnist-predictor-00001"
    assert play.weights() == [10, 0, 10, 25, 50, 100]
    rolled_back_at = play.world.cluster.writes[1].at
    late = play.share("00002")[int(rolled_back_at - play.world.now()) + 3 :]
    assert set(late) == {0}


def test_a_release_with_a_weight_after_a_rollback_gives_the_rolled_back_one_nothing() -> None:
    """New spec and 10 in one apply would send 10 % to the bad revision until the new one is ready."""
    play = healthy_start(qualities={V2: BROKEN}, behaviours={V3: starts_in(20.0)})
    play.finish()
    since = len(play.share("00002"))
    play.release(V3, 10)
    play.finish("mnist-00003")
    assert play.ending("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    reached = [share for share in play.share("00002")[since:] if share]
    assert len(reached) <= 3, f"the rolled-back revision had {reached} % for {len(reached)} s"
    assert play.weights() == [10, 0, 0, 10, 25, 50, 100]


def test_a_policy_without_bake_promotes_as_soon_as_all_traffic_arrives() -> None:
    """The last step's hold is 0: verified at 100 % is promoted."""
    steps = policy().steps
    play = healthy_start(policy(steps=(*steps[:-1], type(steps[0])(100, 0.0)), bake=0.0))
    play.finish()
    assert play.events() == ALL_STEPS
    assert play.weights() == [10, 25, 50, 100]
    assert play.world.now() - play.world.cluster.writes[-1].at < 10


def test_no_policy_means_no_rollout() -> None:
    """A service that nothing selects is left to KServe."""
    play = Play()
    play.world.policies.put()
    play.serve()
    play.release(V2, 0)
    play.run(60)
    assert play.names() == []
    assert play.weights() == []


def test_a_policy_that_comes_later_takes_a_waiting_candidate_up() -> None:
    """The candidate staged at 0 is adopted when a policy first selects the service."""
    play = Play()
    play.world.policies.put()
    play.serve()
    play.release(V2, 0)
    play.run(60)
    play.world.policies.put(policy())
    play.finish()
    assert play.weights() == [10, 25, 50, 100]


def test_the_first_revision_of_a_service_is_no_candidate() -> None:
    """Nothing is stable yet: KServe gives it everything, and nobody rolls it out."""
    play = Play()
    play.serve("mnist", V1)
    play.run(400)
    assert play.names() == []
    assert play.weights() == []
