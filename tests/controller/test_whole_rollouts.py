"""Whole rollouts from the first revision to the end: what is written, what is notified, and the phases."""

from __future__ import annotations

import pytest

from autocanary import logs
from autocanary.model.policy import OnUnstaged, OnWeightRemoved
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.simulator.pod_behaviour import ready_after_seconds
from autocanary.simulator.scenarios import SCENARIOS
from autocanary.simulator.world import manifest
from tests.controller.driver import BROKEN, V1, V2, V3, Driver, healthy_start, policy

STARTED, STEP, PROMOTED = "rollout_started", "step_taken", "rollout_promoted"
BACK = ["rollback_started", "rollout_rolled_back"]
HELD, ENDED = "rollout_held", "rollout_ended"
UP = ["Staging", "Progressing", "Baking", "Promoted"]
DOWN = ["Staging", "Progressing", "RollingBack", "RolledBack"]
ALL_STEPS = [STARTED, STEP, STEP, STEP, STEP, PROMOTED]


def run_scenario(scenario: str) -> Driver:
    """A scenario of the demo until all that it expects has ended and is notified."""
    story = SCENARIOS[scenario]
    driver = Driver(world=story.open())

    def over() -> bool:
        rollouts = driver.world.store.rollouts()
        ended = all(each.is_final and not each.progress.outbox.pending for each in rollouts)
        return len(rollouts) >= len(story.expected) and ended

    driver.until(over, int(story.horizon))
    return driver


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
def test_a_scenario_of_the_demo(scenario: str, weights: list[int], events: list[str], phases: list[str]) -> None:
    """Each writes exactly these weights, notifies each transition once, and goes through these phases."""
    driver = run_scenario(scenario)
    (expected,) = SCENARIOS[scenario].expected
    assert driver.phase_and_reason() == (expected.phase, expected.reason)
    assert driver.weights() == weights
    assert driver.events() == events
    assert driver.phases() == phases


def test_the_scenario_of_a_second_release() -> None:
    """The first is superseded where it stood, the second goes from the bottom to the top."""
    driver = run_scenario("second-release")
    assert driver.phase_and_reason("mnist-00002") == (Phase.SUPERSEDED, Reason.NEW_REVISION)
    assert driver.phase_and_reason("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.weights() == [10, 25, 10, 25, 50, 100]
    assert driver.events("mnist-00002") == [STARTED, STEP, STEP, ENDED]
    assert driver.events("mnist-00003") == ALL_STEPS
    assert driver.phases("mnist-00002") == ["Staging", "Progressing", "Superseded"]
    assert driver.phases("mnist-00003") == UP


@pytest.mark.parametrize(
    ("weight", "written", "steps"),
    [(10, [25, 50, 100], 4), (30, [50, 100], 3), (5, [10, 25, 50, 100], 4), (99, [100], 2)],
)
def test_a_release_that_brings_its_weight_is_adopted_there(weight: int, written: list[int], steps: int) -> None:
    """Applied at 10, 30, 5 (below the first step) and 99: the field is never lowered."""
    driver = Driver()
    driver.deploy_stable()
    driver.release(V2, weight)
    assert driver.finish().progress.phase is Phase.PROMOTED
    assert driver.weights() == written
    assert driver.events() == [STARTED, *[STEP] * steps, PROMOTED]
    assert driver.share("00002") == sorted(driver.share("00002"))


def test_a_bad_release_adopted_at_its_weight_goes_to_zero() -> None:
    """Adopted at 30, judged there, rolled back from there."""
    driver = Driver(qualities={V2: BROKEN})
    driver.deploy_stable()
    driver.release(V2, 30)
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert driver.weights() == [0]
    assert driver.share("00002")[-1] == 0


def test_unstaged_release_is_intercepted_within_one_tick() -> None:
    """The 0 is written within a second of latestCreatedRevision moving."""
    driver = Driver(behaviours={V2: ready_after_seconds(8.0)})
    driver.deploy_stable()
    driver.release(V2, None)
    key = driver.world.key("mnist")

    def created() -> bool:
        seen = driver.world.kserve.document("models", "mnist")["status"]["components"]["predictor"]
        return bool(seen["latestCreatedRevision"] == "mnist-predictor-00002")

    while not created():
        driver.world.advance(0.05)
    moved_at = driver.world.now()
    assert driver.weights() == []
    driver.tick()
    (catch,) = driver.world.cluster.writes
    assert (catch.key, catch.weight) == (key, 0)
    assert catch.at - moved_at <= 1.0
    assert driver.rollout().progress.reason is Reason.INTERCEPTED_UNSTAGED
    assert max(driver.share("00002")) == 0
    assert driver.finish().progress.phase is Phase.PROMOTED
    assert driver.weights() == [0, 10, 25, 50, 100]
    assert driver.events() == ALL_STEPS


def test_release_with_leftover_weight_100_is_intercepted() -> None:
    """A manifest without the field leaves 100 in it; the next release is not cut over."""
    driver = healthy_start(behaviours={V2: ready_after_seconds(5.0), V3: ready_after_seconds(5.0)})
    driver.finish()
    body = {"spec": {"predictor": {"model": {"storageUri": V3}}}}
    driver.world.kserve.patch("models", "mnist", body, "argocd")
    driver.finish("mnist-00003")
    assert driver.phase_and_reason("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.weights() == [10, 25, 50, 100, 0, 10, 25, 50, 100]
    third = [share for share in driver.share("00003") if share]
    assert third[0] == 10
    assert third == sorted(third)


def test_an_unstaged_release_is_left_alone_where_the_policy_says_so() -> None:
    """onUnstaged: ignore means that KServe's own cut-over stands, without a record."""
    driver = Driver(policy(on_unstaged=OnUnstaged.IGNORE))
    driver.deploy_stable()
    driver.release(V2, None)
    driver.run(120)
    assert driver.weights() == []
    assert driver.rollout_names() == []
    assert driver.share("00002")[-1] == 100


def test_revision_at_100_before_first_evaluation_is_missed() -> None:
    """It is said and recorded, and nothing is written: the stable revision's pods are gone."""
    driver = Driver(behaviours={V2: ready_after_seconds(0.2)}, lag=0.1)
    driver.deploy_stable()
    driver.world.cluster.set_watch_down()
    driver.release(V2, None)
    driver.run(5)
    driver.world.cluster.set_watch_down(False)
    driver.run(5)
    assert driver.phase_and_reason() == (Phase.MISSED, Reason.MISSED_UNSTAGED)
    assert driver.weights() == []
    assert driver.events() == [ENDED]
    assert driver.phases() == ["Missed"]
    driver.run(700)
    assert driver.weights() == []
    assert driver.rollout_names() == ["mnist-00002"]
    assert driver.events() == [ENDED]


def test_the_release_after_a_missed_one_is_rolled_out() -> None:
    """The missed revision is stable now, and the next one is measured against it."""
    driver = Driver(behaviours={V2: ready_after_seconds(0.2)}, lag=0.1)
    driver.deploy_stable()
    driver.world.cluster.set_watch_down()
    driver.release(V2, None)
    driver.run(5)
    driver.world.cluster.set_watch_down(False)
    driver.run(5)
    driver.release(V3, 0)
    driver.finish("mnist-00003")
    assert driver.phase_and_reason("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.rollout("mnist-00003").stable == "mnist-predictor-00002"
    assert driver.rollout("mnist-00003").stable_spec == driver.rollout("mnist-00002").candidate_spec


def test_a_service_in_standard_mode_is_refused_once() -> None:
    """Its traffic cannot be split: said once, whatever happens to it later, and nothing is written."""
    driver = Driver()
    document = manifest("raw", V1)
    document["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": "RawDeployment"}
    with logs.capture() as captured:
        driver.world.kserve.create(document)
        driver.run(10)
        driver.patch_weight(10, name="raw")
        driver.run(700)
    (refusal,) = captured.named("rollout_refused")
    assert (refusal["reason"], refusal["service"]) == ("UnsupportedDeploymentMode", "raw")
    assert driver.rollout_names() == []
    assert driver.weights("raw") == []


def test_a_rolled_back_candidate_is_not_tried_again() -> None:
    """Not by the controller, not after a restart, and not when a user touches the weight or a label."""
    driver = healthy_start(qualities={V2: BROKEN})
    driver.finish()
    assert driver.weights() == [10, 0]
    driver.run(400)
    driver.restart()
    driver.run(400)
    driver.patch_weight(10)
    driver.run(30)
    driver.patch_weight(0)
    driver.run(400)
    assert driver.rollout_names() == ["mnist-00002"]
    assert driver.weights() == [10, 0]
    assert driver.events() == [STARTED, STEP, *BACK]


@pytest.mark.parametrize("foreign", [None, 100])
def test_warns_when_known_bad_candidate_is_promoted(foreign: int | None) -> None:
    """Where removing the field promotes, and at 100: recorded as missed, and not undone."""
    driver = healthy_start(policy(on_weight_removed=OnWeightRemoved.PAUSE), qualities={V2: BROKEN})
    driver.finish()
    driver.patch_weight(foreign, "argocd")
    driver.run(700)
    assert driver.weights() == [10, 0]
    assert driver.rollout_names() == ["mnist-00002", "mnist-00002-r2"]
    assert driver.phase_and_reason("mnist-00002-r2") == (Phase.MISSED, Reason.MISSED_UNSTAGED)
    assert driver.events("mnist-00002-r2") == [ENDED]
    driver.restart()
    driver.run(700)
    assert driver.rollout_names() == ["mnist-00002", "mnist-00002-r2"]


@pytest.mark.parametrize("seconds_away", [0, 6])
def test_puts_zero_back_when_the_weight_of_a_rolled_back_candidate_is_removed(seconds_away: int) -> None:
    """At once, and after an outage in which KServe has promoted the candidate: stable has all the traffic again."""
    driver = healthy_start(qualities={V2: BROKEN})
    driver.finish()
    driver.patch_weight(None, "argocd")
    driver.world.advance(float(seconds_away))
    assert driver.world.split("mnist") == ({"00002": 100} if seconds_away else {"00001": 100, "00002": 0})
    driver.finish("mnist-00002-r2")
    assert driver.phase_and_reason("mnist-00002-r2") == (Phase.ROLLED_BACK, Reason.KNOWN_BAD)
    assert driver.events("mnist-00002-r2") == [STARTED, BACK[-1]]
    assert driver.weights() == [10, 0, 0]
    driver.restart()
    driver.run(700)
    assert driver.rollout_names() == ["mnist-00002", "mnist-00002-r2"]
    assert driver.world.split("mnist") == {"00001": 100, "00002": 0}
    assert driver.share("00002")[-700:] == [0] * 700


def test_release_after_rollback_starts_at_first_step() -> None:
    """v3 replaces the rolled-back v2; stable is still v1."""
    driver = healthy_start(qualities={V2: BROKEN})
    driver.finish()
    driver.release(V3, 0)
    driver.finish("mnist-00003")
    assert driver.rollout("mnist-00003").stable == "mnist-predictor-00001"
    assert driver.weights() == [10, 0, 10, 25, 50, 100]
    rolled_back_at = driver.world.cluster.writes[1].at
    late = driver.share("00002")[int(rolled_back_at - driver.world.now()) + 3 :]
    assert set(late) == {0}


def test_a_release_with_a_weight_after_a_rollback_gives_the_rolled_back_one_nothing() -> None:
    """New spec and 10 in one apply would send 10 % to the bad revision until the new one is ready."""
    driver = healthy_start(qualities={V2: BROKEN}, behaviours={V3: ready_after_seconds(20.0)})
    driver.finish()
    since = len(driver.share("00002"))
    driver.release(V3, 10)
    driver.finish("mnist-00003")
    assert driver.phase_and_reason("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    reached = [share for share in driver.share("00002")[since:] if share]
    assert len(reached) <= 3, f"the rolled-back revision had {reached} % for {len(reached)} s"
    assert driver.weights() == [10, 0, 0, 10, 25, 50, 100]


def test_a_policy_without_bake_promotes_as_soon_as_all_traffic_arrives() -> None:
    """The last step's hold is 0: verified at 100 % is promoted."""
    steps = policy().steps
    driver = healthy_start(policy(steps=(*steps[:-1], type(steps[0])(100, 0.0)), bake=0.0))
    driver.finish()
    assert driver.events() == ALL_STEPS
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.world.now() - driver.world.cluster.writes[-1].at < 10


def test_no_policy_means_no_rollout() -> None:
    """A service that nothing selects is left to KServe."""
    driver = Driver()
    driver.world.policies.put()
    driver.deploy_stable()
    driver.release(V2, 0)
    driver.run(60)
    assert driver.rollout_names() == []
    assert driver.weights() == []


def test_later_policy_adopts_waiting_candidate() -> None:
    """The candidate staged at 0 is adopted when a policy first selects the service."""
    driver = Driver()
    driver.world.policies.put()
    driver.deploy_stable()
    driver.release(V2, 0)
    driver.run(60)
    driver.world.policies.put(policy())
    driver.finish()
    assert driver.weights() == [10, 25, 50, 100]


def test_the_first_revision_of_a_service_is_no_candidate() -> None:
    """Nothing is stable yet: KServe gives it everything, and there is no rollout."""
    driver = Driver()
    driver.deploy_stable("mnist", V1)
    driver.run(400)
    assert driver.rollout_names() == []
    assert driver.weights() == []
