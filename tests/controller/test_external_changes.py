"""What others do to the service in the middle of a rollout: users, GitOps tools, new releases, deletions."""

from __future__ import annotations

from typing import Any

import pytest

from autocanary.model.policy import OnWeightRemoved
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.simulator.pod_behaviour import NEVER_READY, ready_after_seconds
from autocanary.simulator.response_quality import Quality, from_revision_age
from tests.controller.driver import BROKEN, V1, V2, V3, V4, Driver, healthy_start, policy

ENDED = "rollout_ended"


def at(weight: int, **more: Any) -> Driver:
    driver = healthy_start(**more)
    driver.until_weight(weight)
    driver.run(3)
    return driver


# --- the weight -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("foreign", [0, 5, 40, 100])
def test_external_weight_change_pauses_and_names_writer(foreign: int) -> None:
    """It is kept: nothing is written until a user resumes or decides."""
    driver = at(25)
    driver.patch_weight(foreign, "helm-controller")
    driver.run(2)
    assert driver.phase_and_reason() == (Phase.PAUSED, Reason.EXTERNAL_CHANGE)
    (message,) = driver.messages_of("external_change")
    assert "helm-controller" in message
    assert f"to {foreign}" in message
    driver.run(900)
    assert driver.weights() == [10, 25]
    assert driver.events().count("external_change") == 1


@pytest.mark.parametrize(
    ("foreign", "written"), [(5, [10, 25, 50, 100]), (40, [50, 100]), (25, [50, 100]), (0, [10, 25, 50, 100])]
)
def test_after_an_external_change_resume_goes_on_from_there(foreign: int, written: list[int]) -> None:
    """From the weight that is there now, without skipping a step above it."""
    driver = at(25)
    driver.patch_weight(foreign if foreign != 25 else 24, "helm-controller")
    driver.run(2)
    if foreign == 25:
        driver.patch_weight(25, "helm-controller")
        driver.run(2)
    assert driver.ask(Verb.RESUME) == "resumed"
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, *written]


def test_after_an_external_change_a_user_can_abort() -> None:
    """The weight goes to 0 from wherever it was put."""
    driver = at(25)
    driver.patch_weight(60, "helm-controller")
    driver.run(2)
    driver.ask(Verb.ABORT)
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.ABORTED_BY_USER)
    assert driver.weights() == [10, 25, 0]


def test_second_external_change_is_notified() -> None:
    """Each change is one transition, notified once with its own number."""
    driver = at(25)
    driver.patch_weight(40, "helm-controller")
    driver.run(5)
    driver.patch_weight(60, "argocd")
    driver.run(5)
    first, second = driver.messages_of("external_change")
    assert "to 40" in first
    assert "argocd set canaryTrafficPercent from 40 to 60" in second


def test_external_weight_raise_during_rollback_is_reverted() -> None:
    """A user wants the traffic on the candidate again while it is being taken away: a user must say."""
    driver = healthy_start(qualities={V2: BROKEN})
    driver.until_weight(10)
    driver.world.kserve.hold_ingress("models", "mnist")
    driver.until_phase(Phase.ROLLING_BACK)
    driver.run(2)
    driver.patch_weight(50, "argocd")
    driver.run(3)
    assert driver.phase_and_reason() == (Phase.PAUSED, Reason.EXTERNAL_CHANGE)
    assert "argocd" in driver.messages_of("external_change")[0]


def test_removed_weight_field_is_restored() -> None:
    """Removing it would promote the candidate unjudged: put back within a tick, and the message names who removed it."""
    driver = at(25)
    driver.patch_weight(None, "argocd")
    driver.tick()
    assert driver.weights() == [10, 25, 25]
    assert driver.rollout().progress.reason is Reason.WEIGHT_LOST
    assert driver.events()[-1] == "external_change"
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 25, 50, 100]
    assert driver.events().count("external_change") == 1


@pytest.mark.parametrize(
    ("verb", "phase", "weights"),
    [
        (None, Phase.PAUSED, [10, 25]),
        (Verb.RESUME, Phase.PROMOTED, [10, 25]),
        (Verb.ABORT, Phase.ROLLED_BACK, [10, 25, 0]),
    ],
)
def test_removed_weight_field_with_user_request(verb: Verb | None, phase: Phase, weights: list[int]) -> None:
    """onWeightRemoved: pause. It is notified and left as it is, and the user's next request is done."""
    driver = healthy_start(policy(on_weight_removed=OnWeightRemoved.PAUSE))
    driver.until_weight(25)
    driver.patch_weight(None, "ann")
    driver.run(30)
    assert driver.phase_and_reason() == (Phase.PAUSED, Reason.EXTERNAL_CHANGE)
    assert driver.messages_of("external_change") == [
        "another client removed canaryTrafficPercent (25 before), so mnist-predictor-00002 gets 100 %; "
        "the rollout is paused and keeps that weight"
    ]
    assert driver.share("00002")[-1] == 100
    if verb is not None:
        driver.ask(verb)
        driver.finish()
    assert (driver.phase(), driver.weights()) == (phase, weights)


def test_promoted_bad_candidate_is_rolled_back_when_evaluated() -> None:
    """A user resumes what has everything: the bake finds out."""
    driver = healthy_start(
        policy(on_weight_removed=OnWeightRemoved.PAUSE),
        qualities={V2: Quality(error_percent=from_revision_age(120.0, 50.0, 0.0))},
    )
    driver.until_weight(25)
    driver.patch_weight(None, "ann")
    driver.run(3)
    driver.ask(Verb.RESUME)
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert driver.share("00002")[-1] == 0


def test_weight_removed_while_staging_is_missed_if_policy_ignores() -> None:
    """It was taken for a request; the candidate has everything as soon as it is ready, and that is said."""
    take_changes = policy(on_weight_removed=OnWeightRemoved.PAUSE)
    driver = healthy_start(take_changes, behaviours={V2: ready_after_seconds(60.0)})
    driver.until_phase(Phase.STAGING)
    driver.patch_weight(None, "ann")
    driver.finish()
    assert driver.phase_and_reason() == (Phase.MISSED, Reason.MISSED_UNSTAGED)
    assert driver.weights() == []


def test_a_field_lost_while_staging_is_put_back_at_zero() -> None:
    """It is a candidate that is not ready: without the field it would take everything when it is."""
    driver = healthy_start(behaviours={V2: ready_after_seconds(60.0)})
    driver.until_phase(Phase.STAGING)
    driver.patch_weight(None, "argocd")
    driver.run(3)
    assert driver.weights() == [0]
    assert max(driver.share("00002")) == 0
    driver.finish()
    assert driver.weights() == [0, 10, 25, 50, 100]


def test_a_field_lost_during_a_rollback_is_written_again() -> None:
    """The rollback stands: 0 is put back at once."""
    driver = healthy_start(qualities={V2: BROKEN})
    driver.until_weight(10)
    driver.world.kserve.hold_ingress("models", "mnist")
    driver.until_phase(Phase.ROLLING_BACK)
    driver.patch_weight(None, "argocd")
    driver.run(2)
    assert driver.weights() == [10, 0, 0]
    driver.world.kserve.hold_ingress("models", "mnist", held=False)
    driver.finish()
    assert driver.phase() is Phase.ROLLED_BACK


def test_removing_the_field_at_100_changes_nothing() -> None:
    """KServe treats an absent field as 100; the bake goes on."""
    driver = at(100)
    driver.patch_weight(None, "argocd")
    driver.finish()
    assert driver.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.weights() == [10, 25, 50, 100]


def test_a_lost_field_while_paused_by_a_user_is_put_back() -> None:
    """Paused is not blind."""
    driver = at(25)
    driver.pause()
    driver.patch_weight(None, "argocd")
    driver.run(3)
    assert driver.weights() == [10, 25, 25]
    assert driver.phase() is Phase.PAUSED
    driver.pause(False)
    driver.finish()
    assert driver.weights() == [10, 25, 25, 50, 100]


# --- a newer release ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weight", "interception_weights"), [(0, []), (None, [25, 0]), (25, [0]), (10, [0])])
def test_second_release_restarts_at_first_step(weight: int | None, interception_weights: list[int]) -> None:
    """With the field at 0, without it, at the weight of the first and at another: never inherits traffic."""
    driver = at(25, behaviours={V3: ready_after_seconds(20.0)}, watching=True)
    driver.release(V3, weight)
    driver.finish("mnist-00003")
    assert driver.phase_and_reason("mnist-00002") == (Phase.SUPERSEDED, Reason.NEW_REVISION)
    assert driver.phase_and_reason("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.weights() == [10, 25, *interception_weights, 10, 25, 50, 100]
    third = [share for share in driver.share("00003") if share]
    assert third[0] == 10
    assert driver.rollout("mnist-00003").stable == "mnist-predictor-00001"
    assert driver.rollout("mnist-00003").stable_spec == driver.rollout("mnist-00002").stable_spec
    assert driver.events("mnist-00002").count(ENDED) == 1


def test_warns_when_superseded_candidate_took_all_traffic() -> None:
    """v3 is applied without the field and seen only when it exists: KServe has made v2 stable meanwhile."""
    driver = at(25, behaviours={V3: ready_after_seconds(20.0)})
    driver.release(V3, None)
    driver.finish("mnist-00003")
    assert driver.rollout("mnist-00003").stable == "mnist-predictor-00002"
    assert "took 100 % of the traffic" in driver.messages_of(ENDED)[0]


def test_merge_patch_without_weight_keeps_previous_weight() -> None:
    """Only the model is changed, 25 stays in the field: the new revision must not begin at 25."""
    driver = at(25, behaviours={V3: ready_after_seconds(20.0)})
    driver.world.kserve.patch("models", "mnist", {"spec": {"predictor": {"model": {"storageUri": V3}}}})
    driver.finish("mnist-00003")
    assert driver.weights() == [10, 25, 0, 10, 25, 50, 100]
    assert next(share for share in driver.share("00003") if share) == 10


def test_a_second_release_during_a_rollback() -> None:
    """The new one is rolled out; the bad one never gets traffic again."""
    driver = healthy_start(qualities={V2: BROKEN}, behaviours={V3: ready_after_seconds(10.0)})
    driver.until_phase(Phase.ROLLING_BACK)
    driver.release(V3, 0)
    driver.finish("mnist-00003")
    driver.finish("mnist-00002")
    assert driver.phase("mnist-00002").is_final
    assert driver.phase_and_reason("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.weights() == [10, 0, 10, 25, 50, 100]


def test_a_second_release_during_a_blocked_rollback() -> None:
    """A new revision unblocks Knative: it is started, and the stuck rollback ends."""
    driver = at(25)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    driver.until_phase(Phase.ROLLING_BACK)
    driver.release(V3, 0)
    driver.finish("mnist-00003")
    driver.finish("mnist-00002")
    assert driver.phase_and_reason("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.weights()[-4:] == [10, 25, 50, 100]


@pytest.mark.parametrize("weight", [0, None, 10])
def test_a_second_release_during_the_bake(weight: int | None) -> None:
    """The first has 100 % and is stable for KServe: the second goes against it, whatever its manifest says."""
    driver = at(100, behaviours={V3: ready_after_seconds(10.0)})
    driver.release(V3, weight)
    driver.finish("mnist-00003")
    assert driver.phase("mnist-00002") in (Phase.SUPERSEDED, Phase.PROMOTED)
    assert driver.phase_and_reason("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    third = [share for share in driver.share("00003") if share]
    assert third[0] == 10
    assert driver.rollout("mnist-00003").stable == "mnist-predictor-00002"


def test_three_releases_in_a_row() -> None:
    """Each supersedes the one before; only the last is promoted, and it alone is notified as started last."""
    driver = at(10, behaviours={V3: NEVER_READY, V4: ready_after_seconds(5.0)})
    driver.release(V3, 0)
    driver.run(20)
    driver.release(V4, 0)
    driver.finish("mnist-00004")
    assert [driver.phase(f"mnist-0000{n}") for n in (2, 3, 4)] == [
        Phase.SUPERSEDED,
        Phase.SUPERSEDED,
        Phase.PROMOTED,
    ]
    assert driver.share("00003") == [0] * len(driver.share("00003"))


def test_superseded_candidate_gets_no_traffic() -> None:
    """v2 becomes ready while v3 starts: without a 0 in the field v2 would get v3's share."""
    driver = healthy_start(behaviours={V2: ready_after_seconds(20.0), V3: ready_after_seconds(60.0)})
    driver.until_phase(Phase.STAGING)
    driver.release(V3, 10)
    driver.finish("mnist-00003")
    assert driver.phase_and_reason("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert max(driver.share("00002")) == 0


@pytest.mark.parametrize("weight", [0, 25])
def test_a_revert_to_the_stable_spec_ends_the_rollout(weight: int) -> None:
    """A user takes v2 back by applying v1: said as a revert; the new revision has v1's content."""
    driver = at(25)
    driver.release(V1, weight)
    driver.finish()
    assert driver.phase_and_reason() == (Phase.SUPERSEDED, Reason.REVERTED)
    assert driver.share("00002")[-1] == 0
    driver.finish("mnist-00003")
    assert driver.phase("mnist-00003") is Phase.PROMOTED


def test_a_revision_made_by_a_label_supersedes_too() -> None:
    """KServe makes revisions of annotations and labels; the candidate is known by its name only."""
    driver = at(25)
    driver.world.kserve.patch("models", "mnist", {"metadata": {"annotations": {"argocd/tracking-id": "x"}}})
    driver.finish("mnist-00003")
    assert driver.phase_and_reason("mnist-00002") == (Phase.SUPERSEDED, Reason.NEW_REVISION)
    assert driver.phase_and_reason("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.weights() == [10, 25, 0, 10, 25, 50, 100]


def test_change_without_new_revision_changes_nothing() -> None:
    """kubectl's own annotation is not copied into the template."""
    driver = at(25)
    note = {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}}
    driver.world.kserve.patch("models", "mnist", note)
    driver.finish()
    assert driver.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.rollout_names() == ["mnist-00002"]


def test_a_new_runtime_image_makes_a_revision_of_every_service() -> None:
    """A user edits the ServingRuntime: no manifest was applied, and it is rolled out all the same."""
    driver = Driver()
    driver.deploy_stable()
    driver.world.kserve.set_runtime_image("runtime:2")
    driver.run(5)
    assert driver.has_rollout("mnist-00002")
    driver.finish()
    assert driver.phase() in (Phase.PROMOTED, Phase.MISSED)


# --- the service itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [10, 50, 100])
def test_a_service_that_is_deleted_ends_its_rollout(weight: int) -> None:
    """Abandoned within ticks, notified once; nothing is written to what is gone."""
    driver = at(weight)
    before = driver.weights()
    driver.world.kserve.delete("models", "mnist")
    driver.run(5)
    assert driver.phase_and_reason() == (Phase.ABANDONED, Reason.SERVICE_DELETED)
    assert driver.events()[-1] == ENDED
    assert driver.weights() == before


def test_a_service_that_is_deleted_while_staging() -> None:
    """The same before the first step."""
    driver = healthy_start(behaviours={V2: NEVER_READY})
    driver.until_phase(Phase.STAGING)
    driver.world.kserve.delete("models", "mnist")
    driver.run(5)
    assert driver.phase_and_reason() == (Phase.ABANDONED, Reason.SERVICE_DELETED)


def test_recreated_service_is_another_service() -> None:
    """Deleted and created between two evaluations, with a new uid: the old rollout never touches the new one."""
    driver = at(25)
    driver.world.cluster.set_watch_down()
    driver.world.kserve.delete("models", "mnist")
    driver.world.advance(1.0)
    driver.world.deploy("mnist", V3)
    driver.world.advance(5.0)
    driver.world.cluster.set_watch_down(False)
    driver.run(5)
    assert driver.phase_and_reason() == (Phase.ABANDONED, Reason.SERVICE_REPLACED)
    assert driver.weights() == [10, 25]
    driver.run(60)
    driver.release(V4, 0)
    driver.until(lambda: len(driver.rollout_names()) == 2, 60)
    (again,) = [name for name in driver.rollout_names() if name != "mnist-00002"]
    driver.finish(again)
    assert driver.phase(again) is Phase.PROMOTED
    assert driver.rollout(again).service_uid != driver.rollout("mnist-00002").service_uid


def test_the_records_of_a_deleted_service_are_collected_with_it() -> None:
    """The cluster's garbage collection takes them; a namesake starts with the plain name again."""
    driver = at(25)
    uid = driver.rollout().service_uid
    driver.world.kserve.delete("models", "mnist")
    driver.run(5)
    driver.world.store.collect_garbage(uid)
    driver.run(5)
    assert driver.rollout_names() == []
    driver.deploy_stable("mnist", V3)
    driver.release(V4, 0)
    driver.finish("mnist-00002")
    assert driver.phase() is Phase.PROMOTED


def test_a_service_that_is_stopped_ends_its_rollout() -> None:
    """KServe forgets everything about it; after a resume it starts over as it stands."""
    driver = at(25)
    stop = {"metadata": {"annotations": {"serving.kserve.io/stop": "true"}}}
    driver.world.kserve.patch("models", "mnist", stop)
    driver.run(5)
    assert driver.phase_and_reason() == (Phase.ABANDONED, Reason.SERVICE_STOPPED)
    assert driver.weights() == [10, 25]
    resume = {"metadata": {"annotations": {"serving.kserve.io/stop": None}}}
    driver.world.kserve.patch("models", "mnist", resume)
    driver.run(60)
    assert driver.rollout_names() == ["mnist-00002"]
    assert driver.weights() == [10, 25]


# --- the record -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weight", "rest"), [(10, [25, 50, 100]), (25, [50, 100]), (50, [100])])
def test_deleted_rollout_is_recreated_at_current_weight(weight: int, rest: list[int]) -> None:
    """A user deletes the CanaryRollout: the candidate is adopted at its weight, nothing goes down or up."""
    driver = at(weight)
    before = driver.weights()
    driver.world.store.remove("models", "mnist-00002")
    driver.run(3)
    assert driver.has_rollout("mnist-00002")
    assert driver.weights() == before
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [*before, *rest]


def test_a_record_deleted_during_a_rollback() -> None:
    """The candidate is at 0 with no record: it is staged again and, still being bad, rolled back again."""
    driver = healthy_start(qualities={V2: BROKEN})
    driver.until_phase(Phase.ROLLING_BACK)
    driver.world.store.remove("models", "mnist-00002")
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert driver.weights() == [10, 0, 10, 0]


def test_a_finished_record_that_is_deleted_stays_deleted() -> None:
    """History is the users' to prune: a promoted candidate is not rolled out again."""
    driver = healthy_start()
    driver.finish()
    driver.world.store.remove("models", "mnist-00002")
    driver.run(700)
    assert driver.rollout_names() == []
    assert driver.weights() == [10, 25, 50, 100]


def test_a_label_on_the_record_is_kept() -> None:
    """A user labels the object in the middle: the rollout goes on, and only the status is ours."""
    driver = at(25)

    def label(document: dict[str, Any]) -> None:
        document["metadata"]["labels"]["touched"] = "yes"

    driver.world.store.edit("models", "mnist-00002", label)
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]
    assert driver.world.store.document("models", "mnist-00002")["metadata"]["labels"]["touched"] == "yes"


# --- two at once ----------------------------------------------------------------------------------------


def test_status_written_by_other_is_adopted() -> None:
    """Another instance got further: its state is not overwritten from an older one in memory."""
    driver = at(25)

    driver.world.store.edit("models", "mnist-00002", _pause)
    driver.run(300)
    assert driver.phase() is Phase.PAUSED
    assert driver.weights() == [10, 25]


def test_a_status_written_by_another_client_is_found_by_the_conflict() -> None:
    """The same when the watch is late: our own record meets a 409, and the other's state is taken."""
    driver = at(25)
    driver.world.store.edit("models", "mnist-00002", _pause)
    driver.world.store.take_changes()
    driver.run(300)
    assert driver.phase() is Phase.PAUSED
    assert driver.weights() == [10, 25]


def _pause(document: dict[str, Any]) -> None:
    document["status"]["progress"] |= {"phase": "Paused", "paused_by": "failure"}


def test_two_services_are_independent() -> None:
    """One is promoted, the other rolled back, at the same time and each with its own weights."""
    driver = Driver(policy(), qualities={V3: BROKEN})
    driver.deploy_stable("mnist")
    driver.deploy_stable("fraud")
    driver.release(V2, 0, name="mnist")
    driver.release(V3, 0, name="fraud")
    driver.finish("mnist-00002")
    driver.finish("fraud-00002")
    assert driver.weights("mnist") == [10, 25, 50, 100]
    assert driver.weights("fraud") == [10, 0]
    assert driver.phase_and_reason("fraud-00002") == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
