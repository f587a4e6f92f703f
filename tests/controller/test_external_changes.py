"""What others do to the service in the middle of a rollout: people, GitOps tools, new releases, deletions."""

from __future__ import annotations

from typing import Any

import pytest

from autocanary.model.policy import OnWeightRemoved
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.simulator.pod_behaviour import NEVER_READY, starts_in
from autocanary.simulator.response_quality import Quality, from_age
from tests.controller.driver import BROKEN, V1, V2, V3, V4, Play, healthy_start, policy

ENDED = "rollout_ended"


def at(weight: int, **more: Any) -> Play:
    play = healthy_start(**more)
    play.until_weight(weight)
    play.run(3)
    return play


# --- the weight -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("foreign", [0, 5, 40, 100])
def test_a_weight_set_by_somebody_else_pauses_and_names_the_writer(foreign: int) -> None:
    """Not fought: nothing is written until a person resumes or decides."""
    play = at(25)
    play.patch_weight(foreign, "helm-controller")
    play.run(2)
    assert play.ending() == (Phase.PAUSED, Reason.EXTERNAL_CHANGE)
    (message,) = play.said("external_change")
    assert "helm-controller" in message
    assert f"to {foreign}" in message
    play.run(900)
    assert play.weights() == [10, 25]
    assert play.events().count("external_change") == 1


@pytest.mark.parametrize(
    ("foreign", "written"), [(5, [10, 25, 50, 100]), (40, [50, 100]), (25, [50, 100]), (0, [10, 25, 50, 100])]
)
def test_after_an_external_change_resume_goes_on_from_there(foreign: int, written: list[int]) -> None:
    """From the weight that is there now, without skipping a step above it."""
    play = at(25)
    play.patch_weight(foreign if foreign != 25 else 24, "helm-controller")
    play.run(2)
    if foreign == 25:
        play.patch_weight(25, "helm-controller")
        play.run(2)
    assert play.ask(Verb.RESUME) == "resumed"
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, *written]


def test_after_an_external_change_a_person_can_abort() -> None:
    """The weight goes to 0 from wherever it was put."""
    play = at(25)
    play.patch_weight(60, "helm-controller")
    play.run(2)
    play.ask(Verb.ABORT)
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.ABORTED_BY_USER)
    assert play.weights() == [10, 25, 0]


def test_a_second_external_change_is_told_again() -> None:
    """Each change is one transition, told once with its own number."""
    play = at(25)
    play.patch_weight(40, "helm-controller")
    play.run(5)
    play.patch_weight(60, "argocd")
    play.run(5)
    first, second = play.said("external_change")
    assert "to 40" in first
    assert "argocd set canaryTrafficPercent from 40 to 60" in second


def test_a_weight_raised_by_somebody_during_a_rollback_is_noticed() -> None:
    """Somebody wants the traffic on the candidate again while it is being taken away: a person must say."""
    play = healthy_start(qualities={V2: BROKEN})
    play.until_weight(10)
    play.world.kserve.hold_ingress("models", "mnist")
    play.until_phase(Phase.ROLLING_BACK)
    play.run(2)
    play.patch_weight(50, "argocd")
    play.run(3)
    assert play.ending() == (Phase.PAUSED, Reason.EXTERNAL_CHANGE)
    assert "argocd" in play.said("external_change")[0]


def test_a_lost_field_is_put_back() -> None:
    """Removing it would promote the candidate unjudged: back within a tick, told with who removed it."""
    play = at(25)
    play.patch_weight(None, "argocd")
    play.tick()
    assert play.weights() == [10, 25, 25]
    assert play.rollout().progress.reason is Reason.WEIGHT_LOST
    assert play.events()[-1] == "external_change"
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 25, 50, 100]
    assert play.events().count("external_change") == 1


@pytest.mark.parametrize(
    ("verb", "phase", "weights"),
    [
        (None, Phase.PAUSED, [10, 25]),
        (Verb.RESUME, Phase.PROMOTED, [10, 25]),
        (Verb.ABORT, Phase.ROLLED_BACK, [10, 25, 0]),
    ],
)
def test_a_removed_field_may_be_a_persons_wish(verb: Verb | None, phase: Phase, weights: list[int]) -> None:
    """onWeightRemoved: pause. It is told and left as it is, and what a person says next is done."""
    play = healthy_start(policy(on_weight_removed=OnWeightRemoved.PAUSE))
    play.until_weight(25)
    play.patch_weight(None, "ann")
    play.run(30)
    assert play.ending() == (Phase.PAUSED, Reason.EXTERNAL_CHANGE)
    assert play.said("external_change") == [
        "somebody removed canaryTrafficPercent (25 before), so mnist-predictor-00002 gets 100 %; paused, not fought"
    ]
    assert play.share("00002")[-1] == 100
    if verb is not None:
        play.ask(verb)
        play.finish()
    assert (play.phase(), play.weights()) == (phase, weights)


def test_a_bad_candidate_that_was_let_through_is_rolled_back_when_it_is_judged_again() -> None:
    """A person resumes what has everything: the bake finds out."""
    play = healthy_start(
        policy(on_weight_removed=OnWeightRemoved.PAUSE),
        qualities={V2: Quality(error_percent=from_age(120.0, 50.0, 0.0))},
    )
    play.until_weight(25)
    play.patch_weight(None, "ann")
    play.run(3)
    play.ask(Verb.RESUME)
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert play.share("00002")[-1] == 0


def test_a_field_removed_while_staging_is_missed_where_that_is_wanted() -> None:
    """It was taken for a wish; the candidate has everything as soon as it is ready, and that is said."""
    changed = policy(on_weight_removed=OnWeightRemoved.PAUSE)
    play = healthy_start(changed, behaviours={V2: starts_in(60.0)})
    play.until_phase(Phase.STAGING)
    play.patch_weight(None, "ann")
    play.finish()
    assert play.ending() == (Phase.MISSED, Reason.MISSED_UNSTAGED)
    assert play.weights() == []


def test_a_field_lost_while_staging_is_put_back_at_zero() -> None:
    """It is a candidate that is not ready: without the field it would take everything when it is."""
    play = healthy_start(behaviours={V2: starts_in(60.0)})
    play.until_phase(Phase.STAGING)
    play.patch_weight(None, "argocd")
    play.run(3)
    assert play.weights() == [0]
    assert max(play.share("00002")) == 0
    play.finish()
    assert play.weights() == [0, 10, 25, 50, 100]


def test_a_field_lost_during_a_rollback_is_written_again() -> None:
    """The rollback stands: 0 is put back at once."""
    play = healthy_start(qualities={V2: BROKEN})
    play.until_weight(10)
    play.world.kserve.hold_ingress("models", "mnist")
    play.until_phase(Phase.ROLLING_BACK)
    play.patch_weight(None, "argocd")
    play.run(2)
    assert play.weights() == [10, 0, 0]
    play.world.kserve.hold_ingress("models", "mnist", held=False)
    play.finish()
    assert play.phase() is Phase.ROLLED_BACK


def test_removing_the_field_at_100_changes_nothing() -> None:
    """KServe treats an absent field as 100; the bake goes on."""
    play = at(100)
    play.patch_weight(None, "argocd")
    play.finish()
    assert play.ending() == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.weights() == [10, 25, 50, 100]


def test_a_lost_field_while_paused_by_a_person_is_put_back() -> None:
    """Paused is not blind."""
    play = at(25)
    play.pause()
    play.patch_weight(None, "argocd")
    play.run(3)
    assert play.weights() == [10, 25, 25]
    assert play.phase() is Phase.PAUSED
    play.pause(False)
    play.finish()
    assert play.weights() == [10, 25, 25, 50, 100]


# --- a newer release ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weight", "catch"), [(0, []), (None, [25, 0]), (25, [0]), (10, [0])])
def test_a_second_release_mid_rollout_starts_from_the_bottom(weight: int | None, catch: list[int]) -> None:
    """With the field at 0, without it, at the weight of the first and at another: never inherits traffic."""
    play = at(25, behaviours={V3: starts_in(20.0)}, watching=True)
    play.release(V3, weight)
    play.finish("mnist-00003")
    assert play.ending("mnist-00002") == (Phase.SUPERSEDED, Reason.NEW_REVISION)
    assert play.ending("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.weights() == [10, 25, *catch, 10, 25, 50, 100]
    third = [share for share in play.share("00003") if share]
    assert third[0] == 10
    assert play.rollout("mnist-00003").stable == "mnist-predictor-00001"
    assert play.rollout("mnist-00003").stable_spec == play.rollout("mnist-00002").stable_spec
    assert play.events("mnist-00002").count(ENDED) == 1


def test_a_first_candidate_that_took_all_traffic_on_the_way_out_is_told() -> None:
    """v3 is applied without the field and seen only when it exists: KServe has made v2 stable meanwhile."""
    play = at(25, behaviours={V3: starts_in(20.0)})
    play.release(V3, None)
    play.finish("mnist-00003")
    assert play.rollout("mnist-00003").stable == "mnist-predictor-00002"
    assert "took 100 % of the traffic" in play.said(ENDED)[0]


def test_a_second_release_without_the_field_in_a_merge_keeps_the_first_ones_weight() -> None:
    """Only the model is changed, 25 stays in the field: the new revision must not begin at 25."""
    play = at(25, behaviours={V3: starts_in(20.0)})
    play.world.kserve.patch("models", "mnist", {"spec": {"predictor": {"model": {"storageUri": V3}}}})
    play.finish("mnist-00003")
    assert play.weights() == [10, 25, 0, 10, 25, 50, 100]
    assert next(share for share in play.share("00003") if share) == 10


def test_a_second_release_during_a_rollback() -> None:
    """The new one is rolled out; the bad one never gets traffic again."""
    play = healthy_start(qualities={V2: BROKEN}, behaviours={V3: starts_in(10.0)})
    play.until_phase(Phase.ROLLING_BACK)
    play.release(V3, 0)
    play.finish("mnist-00003")
    play.finish("mnist-00002")
    assert play.phase("mnist-00002").is_final
    assert play.ending("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.weights() == [10, 0, 10, 25, 50, 100]


def test_a_second_release_during_a_blocked_rollback() -> None:
    """A new revision unblocks Knative: it is taken up, and the stuck rollback ends."""
    play = at(25)
    play.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    play.ask(Verb.ABORT)
    play.run(5)
    assert play.phase() is Phase.ROLLING_BACK
    play.release(V3, 0)
    play.finish("mnist-00003")
    play.finish("mnist-00002")
    assert play.ending("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.weights()[-4:] == [10, 25, 50, 100]


@pytest.mark.parametrize("weight", [0, None, 10])
def test_a_second_release_during_the_bake(weight: int | None) -> None:
    """The first has 100 % and is stable for KServe: the second goes against it, whatever its manifest says."""
    play = at(100, behaviours={V3: starts_in(10.0)})
    play.release(V3, weight)
    play.finish("mnist-00003")
    assert play.phase("mnist-00002") in (Phase.SUPERSEDED, Phase.PROMOTED)
    assert play.ending("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    third = [share for share in play.share("00003") if share]
    assert third[0] == 10
    assert play.rollout("mnist-00003").stable == "mnist-predictor-00002"


def test_three_releases_in_a_row() -> None:
    """Each supersedes the one before; only the last is promoted, and it alone is told as started last."""
    play = at(10, behaviours={V3: NEVER_READY, V4: starts_in(5.0)})
    play.release(V3, 0)
    play.run(20)
    play.release(V4, 0)
    play.finish("mnist-00004")
    assert [play.phase(f"mnist-0000{n}") for n in (2, 3, 4)] == [
        Phase.SUPERSEDED,
        Phase.SUPERSEDED,
        Phase.PROMOTED,
    ]
    assert play.share("00003") == [0] * len(play.share("00003"))


def test_a_superseded_candidate_that_becomes_ready_first_gets_nothing() -> None:
    """v2 becomes ready while v3 starts: without a 0 in the field v2 would get v3's share."""
    play = healthy_start(behaviours={V2: starts_in(20.0), V3: starts_in(60.0)})
    play.until_phase(Phase.STAGING)
    play.release(V3, 10)
    play.finish("mnist-00003")
    assert play.ending("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert max(play.share("00002")) == 0


@pytest.mark.parametrize("weight", [0, 25])
def test_a_revert_to_the_stable_spec_ends_the_rollout(weight: int) -> None:
    """Somebody takes v2 back by applying v1: said as a revert; the new revision has v1's content."""
    play = at(25)
    play.release(V1, weight)
    play.finish()
    assert play.ending() == (Phase.SUPERSEDED, Reason.REVERTED)
    assert play.share("00002")[-1] == 0
    play.finish("mnist-00003")
    assert play.phase("mnist-00003") is Phase.PROMOTED


def test_a_revision_made_by_a_label_supersedes_too() -> None:
    """KServe makes revisions of annotations and labels; the candidate is known by its name only."""
    play = at(25)
    play.world.kserve.patch("models", "mnist", {"metadata": {"annotations": {"argocd/tracking-id": "x"}}})
    play.finish("mnist-00003")
    assert play.ending("mnist-00002") == (Phase.SUPERSEDED, Reason.NEW_REVISION)
    assert play.ending("mnist-00003") == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.weights() == [10, 25, 0, 10, 25, 50, 100]


def test_a_change_that_makes_no_revision_disturbs_nothing() -> None:
    """kubectl's own annotation is not copied into the template."""
    play = at(25)
    note = {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}}
    play.world.kserve.patch("models", "mnist", note)
    play.finish()
    assert play.ending() == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.names() == ["mnist-00002"]


def test_a_new_runtime_image_makes_a_revision_of_every_service() -> None:
    """Somebody edits the ServingRuntime: nobody applied anything, and it is rolled out all the same."""
    play = Play()
    play.serve()
    play.world.kserve.set_runtime_image("runtime:2")
    play.run(5)
    assert play.known("mnist-00002")
    play.finish()
    assert play.phase() in (Phase.PROMOTED, Phase.MISSED)


# --- the service itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [10, 50, 100])
def test_a_service_that_is_deleted_ends_its_rollout(weight: int) -> None:
    """Abandoned within ticks, told once; nothing is written to what is gone."""
    play = at(weight)
    before = play.weights()
    play.world.kserve.delete("models", "mnist")
    play.run(5)
    assert play.ending() == (Phase.ABANDONED, Reason.SERVICE_DELETED)
    assert play.events()[-1] == ENDED
    assert play.weights() == before


def test_a_service_that_is_deleted_while_staging() -> None:
    """The same before the first step."""
    play = healthy_start(behaviours={V2: NEVER_READY})
    play.until_phase(Phase.STAGING)
    play.world.kserve.delete("models", "mnist")
    play.run(5)
    assert play.ending() == (Phase.ABANDONED, Reason.SERVICE_DELETED)


def test_a_namesake_of_a_deleted_service_is_another_service() -> None:
    """Deleted and created between two looks, with a new uid: the old rollout never touches the new one."""
    play = at(25)
    play.world.cluster.blind()
    play.world.kserve.delete("models", "mnist")
    play.world.advance(1.0)
    play.world.deploy("mnist", V3)
    play.world.advance(5.0)
    play.world.cluster.blind(False)
    play.run(5)
    assert play.ending() == (Phase.ABANDONED, Reason.SERVICE_REPLACED)
    assert play.weights() == [10, 25]
    play.run(60)
    play.release(V4, 0)
    play.until(lambda: len(play.names()) == 2, 60)
    (again,) = [name for name in play.names() if name != "mnist-00002"]
    play.finish(again)
    assert play.phase(again) is Phase.PROMOTED
    assert play.rollout(again).service_uid != play.rollout("mnist-00002").service_uid


def test_the_records_of_a_deleted_service_are_collected_with_it() -> None:
    """The cluster's garbage collection takes them; a namesake starts with the plain name again."""
    play = at(25)
    uid = play.rollout().service_uid
    play.world.kserve.delete("models", "mnist")
    play.run(5)
    play.world.ledger.collect_garbage(uid)
    play.run(5)
    assert play.names() == []
    play.serve("mnist", V3)
    play.release(V4, 0)
    play.finish("mnist-00002")
    assert play.phase() is Phase.PROMOTED


def test_a_service_that_is_stopped_ends_its_rollout() -> None:
    """KServe forgets everything about it; after a resume it starts over as it stands."""
    play = at(25)
    stop = {"metadata": {"annotations": {"serving.kserve.io/stop": "true"}}}
    play.world.kserve.patch("models", "mnist", stop)
    play.run(5)
    assert play.ending() == (Phase.ABANDONED, Reason.SERVICE_STOPPED)
    assert play.weights() == [10, 25]
    resume = {"metadata": {"annotations": {"serving.kserve.io/stop": None}}}
    play.world.kserve.patch("models", "mnist", resume)
    play.run(60)
    assert play.names() == ["mnist-00002"]
    assert play.weights() == [10, 25]


# --- the record -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weight", "rest"), [(10, [25, 50, 100]), (25, [50, 100]), (50, [100])])
def test_a_record_deleted_mid_rollout_is_made_anew_at_the_weight_that_is_there(
    weight: int, rest: list[int]
) -> None:
    """Somebody deletes the CanaryRollout: the candidate is adopted where it stands, nothing goes down or up."""
    play = at(weight)
    before = play.weights()
    play.world.ledger.remove("models", "mnist-00002")
    play.run(3)
    assert play.known("mnist-00002")
    assert play.weights() == before
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [*before, *rest]


def test_a_record_deleted_during_a_rollback() -> None:
    """The candidate stands at 0 with no record: it is staged anew and, still being bad, rolled back again."""
    play = healthy_start(qualities={V2: BROKEN})
    play.until_phase(Phase.ROLLING_BACK)
    play.world.ledger.remove("models", "mnist-00002")
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert play.weights() == [10, 0, 10, 0]


def test_a_finished_record_that_is_deleted_stays_deleted() -> None:
    """History is the users' to prune: a promoted candidate is not rolled out again."""
    play = healthy_start()
    play.finish()
    play.world.ledger.remove("models", "mnist-00002")
    play.run(700)
    assert play.names() == []
    assert play.weights() == [10, 25, 50, 100]


def test_a_label_on_the_record_is_kept() -> None:
    """Somebody labels the object in the middle: the rollout goes on, and only the status is ours."""
    play = at(25)

    def label(document: dict[str, Any]) -> None:
        document["metadata"]["labels"]["touched"] = "yes"

    play.world.ledger.edit("models", "mnist-00002", label)
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]
    assert play.world.ledger.document("models", "mnist-00002")["metadata"]["labels"]["touched"] == "yes"


# --- two at once ----------------------------------------------------------------------------------------


def test_a_status_written_by_somebody_else_is_taken_as_it_is() -> None:
    """Another instance got further: its state is not overwritten from an older one in memory."""
    play = at(25)

    play.world.ledger.edit("models", "mnist-00002", _pause)
    play.run(300)
    assert play.phase() is Phase.PAUSED
    assert play.weights() == [10, 25]


def test_a_status_written_by_somebody_else_is_found_by_the_conflict() -> None:
    """The same when the watch is late: our own record meets a 409, and the other's state is taken."""
    play = at(25)
    play.world.ledger.edit("models", "mnist-00002", _pause)
    play.world.ledger.changed()
    play.run(300)
    assert play.phase() is Phase.PAUSED
    assert play.weights() == [10, 25]


def _pause(document: dict[str, Any]) -> None:
    document["status"]["progress"] |= {"phase": "Paused", "paused_by": "failure"}


def test_two_services_at_once_do_not_know_of_each_other() -> None:
    """One is promoted, the other rolled back, at the same time and each with its own weights."""
    play = Play(policy(), qualities={V3: BROKEN})
    play.serve("mnist")
    play.serve("fraud")
    play.release(V2, 0, name="mnist")
    play.release(V3, 0, name="fraud")
    play.finish("mnist-00002")
    play.finish("fraud-00002")
    assert play.weights("mnist") == [10, 25, 50, 100]
    assert play.weights("fraud") == [10, 0]
    assert play.ending("fraud-00002") == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
