"""The traps of KServe and Knative that a rollout can fall into, each written once and run on all three grounds.

``trap`` says where a trap is described: ``table`` is the recorded scenarios of the real controllers, ``rules``
KServe's own scenario table, ``gotcha`` the checklist for controllers. The shapes of the assertions are three:
what autocanary wrote, what it notified, and what share of the requests a revision ever had.

Over 300 lines because it is one list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autocanary.model.observation import ConditionStatus
from autocanary.model.policy import Component
from tests.real.manifests import analysis
from tests.traps.world import ABSENT, SERVICE, TrapWorld, without_repetitions

__all__ = ["TRAPS", "Trap"]

STEP_WEIGHTS = [10, 25, 50, 100]
LABEL_KEY = "autocanary-tests/key"


@dataclass(frozen=True, slots=True)
class Trap:
    """``name`` is the test's; ``sentence`` what should happen in it."""

    name: str
    sentence: str
    run: Callable[[TrapWorld], None]


TRAPS: list[Trap] = []


def trap(name: str) -> Callable[[Callable[[TrapWorld], None]], Callable[[TrapWorld], None]]:
    def note(run: Callable[[TrapWorld], None]) -> Callable[[TrapWorld], None]:
        TRAPS.append(Trap(name, str(run.__doc__), run))
        return run

    return note


# --- KServe's own rules, one by one --------------------------------------------------------------------------


@trap("rules-01-created-with-a-weight")
def _(world: TrapWorld) -> None:
    """A first revision with a weight is no candidate: nothing is written."""
    world.serve("v1", 10)
    world.wait(8)
    assert world.written_weights() == []
    assert world.rollouts() == {}
    assert world.share(1) == 100


@trap("rules-02-changed-without-the-field")
def _(world: TrapWorld) -> None:
    """It is intercepted at 0 before it is ready and goes up the ladder: never 100 % at once."""
    world.serve()
    world.release("v2-slow12", ABSENT)
    world.until_phase(2, "Promoted")
    assert without_repetitions(world.written_weights()) == [0, *STEP_WEIGHTS]
    assert set(world.shares(2)) <= {0, *STEP_WEIGHTS}
    world.until_notified(2, "rollout_promoted", seconds=5)


@trap("rules-03-changed-with-ten-in-one-patch")
def _(world: TrapWorld) -> None:
    """It is adopted at the weight it came with, which is not written again."""
    world.serve()
    world.release("v2", 10)
    world.until_phase(2, "Promoted")
    assert without_repetitions(world.written_weights()) == [25, 50, 100]


@trap("rules-04-a-weight-makes-no-revision")
def _(world: TrapWorld) -> None:
    """The whole way up there are two revisions."""
    world.promoted()
    seen = world.seen()
    assert seen is not None
    assert (seen.created, seen.rolled_out) == (world.revision(2), world.revision(2))


@trap("rules-05-at-100-the-candidate-is-stable")
def _(world: TrapWorld) -> None:
    """100 stays in the field, KServe calls the candidate rolled out, and it has every request."""
    world.promoted()
    assert world.field() == 100
    assert world.split() == {world.revision(2): 100}


@trap("rules-06-removing-the-field-promotes")
def _(world: TrapWorld) -> None:
    """A user removes it in the middle: put back at the last weight at once, and notified."""
    world.serve()
    world.release()
    weight = world.hold(2, 25)
    world.weight(None, "helm")
    world.until_notified(2, "external_change", "WeightLost")
    world.until_share(2, weight)
    assert world.field() == weight
    assert world.phase(2) == "Paused"


@trap("rules-07-zero-takes-the-traffic-back")
def _(world: TrapWorld) -> None:
    """A bad candidate: weight 0, no request on it any more, stable as it was."""
    world.serve()
    world.release("v2-bad")
    world.until_phase(2, "RolledBack")
    assert without_repetitions(world.written_weights()) == [10, 0]
    assert world.share(2) == 0
    seen = world.seen()
    assert seen is not None
    assert seen.rolled_out == world.revision(1)


@trap("rules-07-aborted-before-the-weight-is-shown")
def _(world: TrapWorld) -> None:
    """A status from before the first weight shows 0 as well: the rollback is over when no traffic can follow."""
    world.serve()
    world.release("v2-slow4")
    world.until(lambda: world.field() == 10, "10 % to be written")
    world.wait(5 if world.is_late else 0)  # KServe knows of the 10 % by then, and does not show it yet
    world.ask(2, "abort")
    world.until_phase(2, "RolledBack")
    looked = len(world.history())
    world.wait(10)
    assert max(world.shares(2)[looked:]) == 0


@trap("rules-08-after-a-rollback-the-field-stays")
def _(world: TrapWorld) -> None:
    """The field is removed over a rolled-back candidate: 0 is put back at once, and stable keeps the traffic."""
    world.serve()
    world.release("v2-bad")
    world.until_phase(2, "RolledBack")
    world.wait(15)
    assert world.field() == 0
    world.weight(None, "helm")
    world.until(lambda: world.field() == 0, "0 to be put back", seconds=10)
    world.until_notified(2, "rollout_rolled_back", "KnownBad")
    world.wait(10)
    assert world.share(2) == 0
    assert world.share(1) == 100
    assert any("canaryTrafficPercent was removed" in each.message for each in world.notifications(2))


@trap("rules-08-removing-the-field-promotes-where-the-policy-says-so")
def _(world: TrapWorld) -> None:
    """``onWeightRemoved: pause``: the promotion of the rolled-back candidate is recorded and left."""
    world.policy(onWeightRemoved="pause")
    world.serve()
    world.release("v2-bad")
    world.until_phase(2, "RolledBack")
    world.weight(None, "helm")
    world.until_stable(2)
    world.until(lambda: "Missed" in {phase for phase, _, _ in world.rollouts().values()}, "the miss to be recorded")
    assert world.share(2) == 100
    world.until(lambda: any(each.reason == "MissedUnstaged" for each in world.notifications(2)), "the notification")


@trap("rules-09-the-next-release-after-a-rollback-at-zero")
def _(world: TrapWorld) -> None:
    """v3 pushed with the 0 kept is rolled out; v2 gets nothing again."""
    world.serve()
    world.release("v2-bad")
    world.until_phase(2, "RolledBack")
    looked = len(world.shares(2))
    world.release("v3", 0)
    world.until_phase(3, "Promoted")
    assert max(world.shares(2)[looked:]) == 0
    assert without_repetitions(world.written_weights()) == [10, 0, *STEP_WEIGHTS]


@trap("rules-10-the-next-release-after-a-rollback-brings-ten")
def _(world: TrapWorld) -> None:
    """New spec and 10 in one patch gives the rolled-back v2 those 10 % until v3 is ready: taken away at once."""
    world.serve()
    world.release("v2-bad")
    world.until_phase(2, "RolledBack")
    world.release("v3-slow40", 10)
    world.until_created(3)
    world.until_share(2, 0, seconds=25)
    assert world.field() == 0
    world.until_phase(3, "Promoted")
    assert world.share(2) == 0


@trap("rules-10-the-next-release-after-a-rollback-brings-no-weight")
def _(world: TrapWorld) -> None:
    """KServe promotes the bad revision at once: the new one replaces it without steps, and is analysed in the bake."""
    world.serve()
    world.release("v2-bad")
    world.until_phase(2, "RolledBack")
    world.wait(world.rest_seconds)
    looked, written_weights = len(world.history()), len(world.written_weights())
    world.release("v3-slow8", ABSENT)
    world.until_phase(3, "Promoted")
    assert world.written_weights()[written_weights:] == []
    assert set(world.shares(3)[looked:]) == {0, 100}
    assert "without steps" in world.notifications(3)[0].message


@trap("rules-10-a-bad-release-after-a-rollback-brings-no-weight")
def _(world: TrapWorld) -> None:
    """It goes back to the spec of the last good stable, and not to the revision that was rolled back before."""
    world.serve()
    world.release("v2-bad")
    world.until_phase(2, "RolledBack")
    world.wait(world.rest_seconds)
    world.release("v3-slow8-bad", ABSENT)
    world.until_phase(3, "RolledBack", seconds=120)
    world.wait(10)
    assert world.share(2) == world.share(3) == 0
    assert world.share(4) == 100
    assert world.document()["spec"]["predictor"]["model"]["storageUri"].endswith("/v1")
    assert world.phase(3) == "RolledBack"
    assert world.phase(4) == ""


@trap("rules-11-zero-after-the-promotion")
def _(world: TrapWorld) -> None:
    """A user goes back to the previous revision by hand: their decision is kept."""
    world.promoted()
    written_weights = world.written_weights()
    world.weight(0)
    world.until_share(1, 100)
    world.wait(8)
    assert world.written_weights() == written_weights
    assert world.phase(2) == "Promoted"


@trap("rules-12-ten-after-the-promotion")
def _(world: TrapWorld) -> None:
    """An old manifest's 10 comes back: no new revision, so no rollout, and nothing of ours is written."""
    world.promoted()
    written_weights = world.written_weights()
    world.weight(10, "argocd")
    world.until_share(1, 90)
    world.wait(8)
    assert world.written_weights() == written_weights
    assert set(world.rollouts()) == {world._name(2)}


@trap("rules-13-never-ready")
def _(world: TrapWorld) -> None:
    """Notified with the reason, and given up at the deadline, without a single request on it."""
    world.policy(progressDeadline="20s")
    world.serve()
    world.release("v2-crash", 10)
    world.until_phase(2, "RolledBack")
    assert world.reason(2) == "RevisionFailed"
    assert "model failed to load" in world.message(2)
    assert world.field() == 0
    assert world.highest(2) == 0


@trap("rules-14-at-100-while-it-is-not-ready")
def _(world: TrapWorld) -> None:
    """A user sets 100 on a candidate that still starts: it would cut over as soon as it is ready; notified before it can."""
    world.serve()
    world.release("v2-slow20", 0)
    world.until_phase(2, "Staging")
    world.weight(100, "kubectl-edit")
    world.until_notified(2, "external_change", "ExternalChange", seconds=15)
    assert world.share(2) == 0


@trap("rules-15-a-second-release-in-the-middle")
def _(world: TrapWorld) -> None:
    """The weight goes to 0 before v3 can inherit it; the first ends as superseded, v3 starts from the bottom."""
    world.serve()
    world.release("v2")
    world.hold(2, 25)
    world.patch({"spec": {"predictor": {"model": {"storageUri": f"gs://models/{SERVICE}/v3-slow12"}}}})
    world.until_phase(2, "Superseded")
    world.until_phase(3, "Promoted")
    assert world.written_weights()[-5:] == [0, *STEP_WEIGHTS]
    assert without_repetitions(each for each in world.shares(3))[:2] == [0, 10]


@trap("rules-16-reverted-to-stables-spec-in-the-middle")
def _(world: TrapWorld) -> None:
    """Knative makes 00003 of v1's content; the rollout of v2 ends as reverted, v2 gets nothing more."""
    world.serve()
    world.release("v2")
    world.hold(2, 25)
    world.patch({"spec": {"predictor": {"model": {"storageUri": f"gs://models/{SERVICE}/v1"}}}})
    world.until_phase(2, "Superseded", "Abandoned", "RolledBack")
    assert world.reason(2) == "Reverted"
    world.until_share(2, 0)


@trap("rules-17-a-rollback-that-is-blocked")
def _(world: TrapWorld) -> None:
    """The candidate's pods crash at a weight: rolled back by that name; 0 is blocked, so stable's spec is put back."""
    world.serve()
    world.release("v2")
    world.hold(2, 10)
    world.crash(2)
    world.until_notified(2, "rollback_started", "RevisionFailed", seconds=15)
    world.until_notified(2, "rollout_warning", "RollbackBlocked", seconds=15)
    world.until_phase(2, "RolledBack", seconds=60)
    assert world.reason(2) == "RevisionFailed"
    assert world.share(2) == 0
    assert world.document()["spec"]["predictor"]["model"]["storageUri"].endswith("/v1")
    assert world.field() in (0, None)


@trap("rules-18-the-grand-previous-revision-becomes-stable")
def _(world: TrapWorld) -> None:
    """v3 comes with a weight, its revision is refused: the share of the revision before stable is taken back."""
    world.promoted()
    world.refuse_revisions()
    world.release("v3", 10)
    world.until_notified(2, "rollout_warning", "WrongStable", seconds=30)
    world.until(lambda: world.split() == {world.revision(2): 100}, "00002 to have everything", seconds=30)
    assert without_repetitions(world.written_weights())[-1] is None
    world.refuse_revisions(False)


# --- the recordings of the real controllers ------------------------------------------------------------------


@trap("table-s05e-s26-blocked-and-recovered")
def _(world: TrapWorld) -> None:
    """Its pods recover a moment after the crash: the candidate stays out all the same."""
    world.serve()
    world.release("v2")
    world.hold(2, 10)
    world.crash(2)
    world.until(lambda: world.field() == 0, "0 in the field", seconds=15)
    world.recover(2)
    world.until_phase(2, "RolledBack", seconds=60)
    world.wait(10)
    assert world.share(2) == 0
    assert world.share(1) == 100


@trap("table-s05f-pods-run-and-are-not-ready")
def _(world: TrapWorld) -> None:
    """KServe's status stays as it is: without requests nothing is raised, and ``onNoData`` rolls back."""
    world.policy(analysis={**analysis(), "onNoData": {"hold": "20s", "then": "rollback"}})
    world.serve()
    world.release("v2")
    weight = world.hold(2, 10)
    world.unready(2)
    world.ask(2, "resume")
    world.until_phase(2, "RolledBack", seconds=90)
    assert max(each or 0 for each in world.written_weights()[-2:]) <= weight
    assert world.share(2) == 0


@trap("table-s05e-candidate-crashes-without-an-abort")
def _(world: TrapWorld) -> None:
    """Its pods crash in the middle of a step: rolled back within one evaluation, and nothing is raised."""
    world.serve()
    world.release("v2")
    world.until_step_analyzed(2, 10)
    world.crash(2)
    world.until_notified(2, "rollback_started", "RevisionFailed", seconds=15)
    world.until_phase(2, "RolledBack", seconds=60)
    assert max(weight or 0 for weight in world.written_weights()) == 10
    assert world.share(2) == 0


@trap("table-s20-stable-crashes-and-nobody-pauses")
def _(world: TrapWorld) -> None:
    """Stable is named at once; when it recovers the rollout goes on."""
    world.serve()
    world.release("v2")
    world.until_step_analyzed(2, 10)
    world.crash(1)
    world.until_notified(2, "rollout_held", "StableFailed", seconds=15)
    weight = world.written_weights()[-1]
    assert weight == 10 or world.is_late
    world.wait(15)
    assert world.written_weights()[-1] == weight
    world.recover(1)
    world.until_phase(2, "Promoted")


@trap("table-s05i-ready-after-it-was-called-failed")
def _(world: TrapWorld) -> None:
    """A revision that recovers after its rollout was given up gets nothing: the 0 stays."""
    world.policy(progressDeadline="10s")
    world.serve()
    world.release("v2-slow30", 10)
    world.until_phase(2, "RolledBack")
    world.until(lambda: world.ready() == world.revision(2), "00002 to be ready after all", seconds=60)
    world.wait(5)
    assert world.highest(2) == 0
    assert world.field() == 0


@trap("table-s06-v3-at-25-kept")
def _(world: TrapWorld) -> None:
    """The manifest's own 25 comes with v3: v3 does not inherit what v2 had reached."""
    world.serve()
    world.release("v2", 10)
    world.hold(2, 25)
    looked = len(world.shares(3))
    world.release("v3-slow12", 25)
    world.until_phase(2, "Superseded")
    world.until_phase(3, "Promoted")
    assert without_repetitions(world.shares(3)[looked:])[:2] == [0, 10]


@trap("table-s07b-the-100-of-the-last-promotion")
def _(world: TrapWorld) -> None:
    """100 is still in the field: v3 would be cut over when it is ready, and is intercepted."""
    world.promoted()
    world.patch({"spec": {"predictor": {"model": {"storageUri": f"gs://models/{SERVICE}/v3-slow4"}}}})
    world.until_phase(3, "Promoted")
    assert without_repetitions(world.written_weights())[-5:] == [0, *STEP_WEIGHTS]
    assert set(world.shares(3)) <= {0, *STEP_WEIGHTS}


@trap("table-s08-a-breach-in-the-bake")
def _(world: TrapWorld) -> None:
    """At 100 % the way back is the previous revision: 0 moves everything there, and it is waited for."""
    world.policy(bake="60s")
    world.serve()
    world.release()
    world.until_phase(2, "Baking")
    world.until_share(2, 100)
    world.ask(2, "abort")
    world.until_phase(2, "RolledBack")
    assert world.share(1) == 100, (world.split(), world.seen(), world.written_weights())


@trap("table-s12-stable-is-deleted")
def _(world: TrapWorld) -> None:
    """Nothing but 100 applies any more: stable is named at once, and nothing is raised."""
    world.serve()
    world.release()
    world.hold(2, 10)
    world.delete_revision(1)
    world.until_notified(2, "rollout_warning", "StableFailed", seconds=15)
    world.ask(2, "resume")
    world.until_notified(2, "rollout_held", "StableFailed")
    written_weights = world.written_weights()
    world.wait(10)
    assert world.phase(2) == "Holding"
    assert world.written_weights() == written_weights


@trap("table-s12d-the-candidate-is-deleted")
def _(world: TrapWorld) -> None:
    """Knative makes it again under the same name: the rollout goes on."""
    world.serve()
    world.release()
    world.until_step_analyzed(2, 10)
    world.delete_revision(2)
    world.until_phase(2, "Promoted")


@trap("table-s12e-deleted-in-the-middle")
def _(world: TrapWorld) -> None:
    """Abandoned; a service of the same name is another one, whose revisions are numbered from 1."""
    world.serve()
    world.release()
    world.hold(2, 10)
    world.delete()
    world.until(lambda: world.seen() is None, "the service to be gone")
    world.until_notified(2, "rollout_ended", "ServiceDeleted")  # where objects are collected, its record goes too
    world.apply("v7")
    world.until_stable(1)
    world.wait(5)
    assert world.field() is None
    assert world.share(1) == 100


@trap("table-s12f-the-knative-service-is-deleted-in-the-middle")
def _(world: TrapWorld) -> None:
    """00001 is recreated of the candidate's spec and has everything: stable's spec is put back, and notified."""
    world.serve()
    world.release()
    world.hold(2, 10)
    world.delete_knative_service()
    world.until_notified(2, "rollback_started", "ServiceReplaced", seconds=40)
    world.until_phase(2, "RolledBack", seconds=60)
    assert world.field() is None
    assert world.document()["spec"]["predictor"]["model"]["storageUri"].endswith("/v1")
    assert world.split() == {world.revision(2): 100}


@trap("table-s12f-the-knative-service-is-deleted-after-a-rollback")
def _(world: TrapWorld) -> None:
    """The bad spec is the only one there is, under stable's name, with everything: a user is notified."""
    world.serve()
    world.release("v2-bad")
    world.until_phase(2, "RolledBack")
    world.wait(world.rest_seconds)
    written_weights = len(world.written_weights())
    world.delete_knative_service()
    world.until(
        lambda: any(each.reason == "MissedUnstaged" for each in world.notifications(1)), "the miss to be notified"
    )
    assert len(world.written_weights()) == written_weights


@trap("table-s14-scaled-to-zero-is-no-success")
def _(world: TrapWorld) -> None:
    """Without requests nothing passes; the policy's deadline for silence decides."""
    world.policy(
        analysis={
            "interval": "1s",
            "warmup": "2s",
            "window": "5s",
            "minRequests": 100000,
            "source": "knative",
            "metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}}],
        },
        progressDeadline="20s",
    )
    world.serve()
    world.release()
    world.until_phase(2, "RolledBack")
    assert world.reason(2) == "ProgressDeadlineExceeded"
    assert world.highest(2) == 10


@trap("table-s15-a-gradual-rollout-of-knative")
def _(world: TrapWorld) -> None:
    """rollout-duration ramps a new revision up to its 10 %: the step's clock starts when the ramp is over."""
    world.serve()
    world.apply("v2", 10, annotations={"serving.knative.dev/rollout-duration": "8s"})
    world.until_phase(2, "Promoted")
    assert without_repetitions(world.written_weights()) == [25, 50, 100]
    assert any(0 < share < 10 for share in world.shares(2)), "Knative did not ramp it up"


@trap("table-s16-stopped-in-the-middle")
def _(world: TrapWorld) -> None:
    """KServe forgets everything: the rollout ends, and nothing is written to what is stopped."""
    world.serve()
    world.release()
    world.hold(2, 10)
    written_weights = world.written_weights()
    world.patch({"metadata": {"annotations": {"serving.kserve.io/stop": "true"}}})
    world.until_phase(2, "Abandoned")
    assert world.reason(2) == "ServiceStopped"
    assert world.written_weights() == written_weights


@trap("table-s17-auto-update-disabled")
def _(world: TrapWorld) -> None:
    """KServe ignores the field: said, and no step is believed in that did not happen."""
    world.serve()
    world.release("v2-slow6")
    world.until_phase(2, "Staging")
    world.ask(2, "pause")  # so that no weight is written between the revision's readiness and the annotation
    world.until_phase(2, "Paused")
    world.until(lambda: world.ready() == world.revision(2), "00002 to be ready")
    world.patch({"metadata": {"annotations": {"serving.kserve.io/disable-auto-update": "true"}}})
    world.ask(2, "resume")
    world.until_notified(2, "rollout_held", "WaitingForEffect")
    world.wait(5)
    assert world.phase(2) == "Holding"
    assert (world.written_weights(), world.highest(2)) == ([10], 0)


@trap("table-s18-somebody-edits-the-knative-service")
def _(world: TrapWorld) -> None:
    """Really routed 50/50 for a moment, then reverted by KServe: nothing of ours is written for it."""
    world.serve()
    world.release()
    weight = world.hold(2, 10)
    world.until_shown(2, weight)
    written_weights = world.written_weights()
    world.edit_knative_traffic(50, 1)
    world.wait(5)
    world.until_share(2, weight)
    assert 50 in world.shares(2) or world.is_late, "the edit was never routed"
    assert world.written_weights() == written_weights


@trap("table-s20-stable-crashes-in-the-middle")
def _(world: TrapWorld) -> None:
    """Every change but 100 is blocked: stable is named at once, and nothing is raised."""
    world.serve()
    world.release()
    weight = world.hold(2, 10)
    world.crash(1)
    world.ask(2, "resume")
    world.until_notified(2, "rollout_held", "StableFailed", seconds=15)
    written = world.written_weights()[-1]
    assert written == weight or world.is_late
    world.wait(15)
    assert world.written_weights()[-1] == written
    assert world.share(2) == weight
    assert world.phase(2) == "Holding"


@trap("table-s21-a-superseded-candidate-is-ready-first")
def _(world: TrapWorld) -> None:
    """v2 becomes ready while v3 starts: it gets none of v3's share."""
    world.serve()
    world.release("v2-slow25", 10)
    world.until_created(2)
    world.patch({"spec": {"predictor": {"model": {"storageUri": f"gs://models/{SERVICE}/v3-slow40"}}}})
    world.until_phase(3, "Promoted", seconds=240)
    assert world.highest(2) == 0


@trap("table-s22-the-ingress-is-not-programmed")
def _(world: TrapWorld) -> None:
    """traffic[] shows the weight already: no further weight is written before the route is ready."""
    world.serve()
    world.release()
    world.until_created(2)
    world.hold_ingress()
    world.until(lambda: world.field() == 10, "10 in the field")
    world.wait(15)
    assert world.written_weights() == [10]
    assert world.highest(2) == 0
    world.hold_ingress(False)
    world.until_phase(2, "Promoted")


@trap("table-s25-kserves-bookkeeping-is-lost")
def _(world: TrapWorld) -> None:
    """R is gone and the candidate calls itself stable: seen against the record, stable's spec is put back."""
    world.serve()
    world.release()
    world.hold(2, 10)
    world.lose_rolled_out()
    world.until_notified(2, "rollback_started", "WrongStable")
    world.until_phase(2, "RolledBack")
    assert world.share(2) == 0
    assert world.document()["spec"]["predictor"]["model"]["storageUri"].endswith("/v1")


@trap("table-s28-a-refused-revision-with-a-previous-one")
def _(world: TrapWorld) -> None:
    """Before any rollout of v3 began: the field is not touched while latestCreatedRevision has not moved."""
    world.promoted()
    written_weights = world.written_weights()
    looked = len(world.history())
    world.refuse_revisions()
    world.patch({"spec": {"predictor": {"model": {"storageUri": f"gs://models/{SERVICE}/v3-slow12"}}}})
    world.wait(15)
    assert world.written_weights() == written_weights
    world.refuse_revisions(False)
    world.until_phase(3, "Promoted")
    assert max(world.shares(1)[looked:]) == 0
    assert without_repetitions(world.written_weights())[-5:] == [0, *STEP_WEIGHTS]


@trap("table-s28b-staged-at-zero-while-it-is-refused")
def _(world: TrapWorld) -> None:
    """v3 + 0 is refused: 100 % would go to the revision before stable, for good. Repaired and notified."""
    world.promoted()
    world.refuse_revisions()
    world.release("v3", 0)
    world.until_notified(2, "rollout_warning", "WrongStable", seconds=30)
    world.until(lambda: world.split() == {world.revision(2): 100}, "00002 to have everything", seconds=30)


@trap("table-s35-a-template-neutral-edit-with-a-weight")
def _(world: TrapWorld) -> None:
    """An edit that makes no revision, with 10: 90 % would go to the revision before stable. Repaired and notified."""
    world.promoted()
    model = {"protocolVersion": "v1"}
    world.patch({"spec": {"predictor": {"canaryTrafficPercent": 10, "model": model}}})
    world.until_notified(2, "rollout_warning", "WrongStable", seconds=30)
    world.until(lambda: world.split() == {world.revision(2): 100}, "00002 to have everything", seconds=30)


@trap("table-s30-the-knative-controller-is-away")
def _(world: TrapWorld) -> None:
    """The status looks perfect and nothing moves: a step that did not take effect is not passed."""
    world.serve()
    world.release()
    world.until_step_analyzed(2, 10)
    world.freeze()
    world.wait(12)
    assert world.phase(2) in ("Progressing", "Holding")
    assert world.highest(2) <= 25
    world.freeze(False)
    world.until_phase(2, "Promoted")


@trap("table-s33-the-serving-runtime-is-edited")
def _(world: TrapWorld) -> None:
    """An annotation makes a revision in the middle without a change of the spec: it supersedes."""
    world.serve()
    world.release()
    world.hold(2, 10)
    world.patch({"metadata": {"annotations": {LABEL_KEY: "another"}}})
    world.until_phase(2, "Superseded")
    world.until_phase(3, "Promoted")
    assert without_repetitions(world.written_weights())[-5:] == [0, *STEP_WEIGHTS]


@trap("table-s36-v3-crashes-with-a-previous-revision")
def _(world: TrapWorld) -> None:
    """LR is not LC, so KServe does not fall back: v3 is given up at the deadline, v2 keeps everything."""
    world.policy(progressDeadline="45s")
    world.promoted()
    looked = len(world.history())
    world.release("v3-crash", 10)
    world.until_phase(3, "RolledBack")
    world.wait(3)
    assert max(world.shares(1)[looked:]) == 0
    assert world.share(2) == 100


# --- the checklist -------------------------------------------------------------------------------------------


@trap("gotcha-01-nothing-but-the-field-is-written")
def _(world: TrapWorld) -> None:
    """Two rollouts, one of them back: metadata and the rest of the spec are as their owner wrote them."""
    world.promoted()
    world.release("v3-bad", 0)
    world.until_created(3)
    before = world.document()["metadata"]
    world.until_phase(3, "RolledBack")
    document = world.document()
    for kind in ("annotations", "labels"):  # KServe's webhook adds its own
        assert document["metadata"].get(kind) == before.get(kind)
    predictor = {**document["spec"]["predictor"]}
    assert predictor.pop("canaryTrafficPercent") == 0
    assert predictor["model"]["storageUri"].endswith("/v3-bad")
    seen = world.seen()
    assert seen is not None
    assert seen.created == world.revision(3)


@trap("gotcha-03-gitops-applies-again-with-another-weight")
def _(world: TrapWorld) -> None:
    """Git holds 10, we are at 25: it pauses, keeps the change and names who wrote it."""
    world.serve()
    world.release("v2", 10)
    world.hold(2, 25)
    written_weights = world.written_weights()
    world.weight(5, "argocd-controller")
    world.until_notified(2, "external_change", "ExternalChange")
    world.wait(6)
    assert world.written_weights() == written_weights
    assert any("argocd-controller" in each.message for each in world.notifications(2))


@trap("gotcha-03-kubectl-apply-drops-the-field")
def _(world: TrapWorld) -> None:
    """Git once had the field and drops it: apply deletes it, which promotes. Back at the last weight at once."""
    world.serve()
    world.release("v2", 10)
    weight = world.hold(2, 25)
    world.apply("v2", ABSENT)
    world.until_notified(2, "external_change", "WeightLost")
    world.until_share(2, weight)
    assert world.field() == weight


@trap("gotcha-03-a-removed-field-that-is-a-wish")
def _(world: TrapWorld) -> None:
    """`onWeightRemoved: pause`: notified and left as it is; a user resumes, and it is analysed at 100 %."""
    world.policy(onWeightRemoved="pause")
    world.serve()
    world.release()
    world.until_step_analyzed(2, 10)
    written_weights = len(world.written_weights())
    world.weight(None, "helm")
    world.until_notified(2, "external_change", "ExternalChange")
    world.until_share(2, 100)
    world.until_shown(2, 100)
    assert world.phase(2) == "Paused"
    world.ask(2, "promote")
    world.until_phase(2, "Promoted")
    assert set(world.written_weights()[written_weights:]) <= {100}


@trap("gotcha-03-kubectl-replace-drops-the-field")
def _(world: TrapWorld) -> None:
    """PUT without the field is a promotion: back at the last weight at once."""
    world.serve()
    world.release("v2", 10)
    weight = world.hold(2, 25)
    world.replace("v2", ABSENT)
    world.until_notified(2, "external_change", "WeightLost")
    world.until_share(2, weight)
    assert world.field() == weight


@trap("gotcha-04-kserves-webhook-is-away-during-a-rollback")
def _(world: TrapWorld) -> None:
    """For forty seconds every write is refused: 0 is written at its return, and the user's spec is not touched."""
    world.serve()
    world.release()
    world.hold(2, 10)
    world.take_webhook_away()
    world.ask(2, "abort")
    world.until_notified(2, "rollback_started", "AbortedByUser", seconds=20)
    world.wait(40)
    assert world.field() == 10
    world.take_webhook_away(False)
    world.until_share(2, 0, seconds=15)
    world.until_phase(2, "RolledBack", seconds=30)
    world.wait(5)
    assert world.document()["spec"]["predictor"]["model"]["storageUri"].endswith("/v2")
    assert without_repetitions(world.written_weights()) == [10, 0]


@trap("gotcha-05-the-status-is-late")
def _(world: TrapWorld) -> None:
    """KServe freezes for a while after a weight was written: analysis starts when the share is real."""
    world.serve()
    world.release()
    world.until_share(2, 10)
    world.freeze()
    world.wait(6)
    world.freeze(False)
    world.until_phase(2, "Promoted")
    assert without_repetitions(world.written_weights()) == STEP_WEIGHTS


@trap("gotcha-06-not-ready-is-no-breach")
def _(world: TrapWorld) -> None:
    """Ready is Unknown for half a minute while the new revision starts: no rollback, no message of failure."""
    world.serve()
    world.release("v2-slow30")
    world.until_phase(2, "Promoted", seconds=240)
    assert "rollback_started" not in world.events(2)


@trap("gotcha-13-the-previous-revision-was-collected")
def _(world: TrapWorld) -> None:
    """Rolling back from the bake onto a revision that is gone: stable's spec comes back as a new revision."""
    world.policy(bake="120s")
    world.serve()
    world.release()
    world.until_phase(2, "Baking")
    world.until_share(2, 100)
    world.wait(3)
    world.delete_revision(1)
    world.ask(2, "abort")
    world.until_notified(2, "rollout_warning", "RollbackBlocked")
    world.until(lambda: world.share(2) == 0, "00002 to have nothing", seconds=240)
    assert world.document()["spec"]["predictor"]["model"]["storageUri"].endswith("/v1")


@trap("gotcha-15-revisions-keep-coming")
def _(world: TrapWorld) -> None:
    """Something makes a new revision every few seconds: each supersedes the last, and it is said and stopped."""
    world.serve()
    world.release("v2", 0)
    for number in range(3, 10):
        world.until_created(number - 1)
        world.wait(1.5)
        world.patch({"metadata": {"annotations": {LABEL_KEY: str(number)}}})
    world.until_created(9)
    world.until_phase(9, "Paused")
    assert world.reason(9) == "RevisionChurn"
    assert "something makes new revisions" in world.message(9)
    world.wait(5)
    assert world.field() == 0
    assert all(world.highest(number) <= 10 for number in range(2, 10))


@trap("gotcha-19-the-same-bad-spec-again")
def _(world: TrapWorld) -> None:
    """The owner applies the rolled-back manifest again, without and with the field: it is not tried again."""
    world.serve()
    world.release("v2-bad", 10)
    world.until_phase(2, "RolledBack")
    looked = len(world.history())
    world.patch({"metadata": {"annotations": {LABEL_KEY: "again"}}})
    world.until_created(3)
    world.wait(12)
    assert world.field() == 0
    assert max(world.shares(3)[looked:], default=0) == 0


# --- the modes in which there is nothing to roll out ---------------------------------------------------------


def _refused(world: TrapWorld, mode: str, words: str, spec: dict[str, Any] | None = None) -> None:
    """A service in another mode changes, with a weight: refused in words, and nothing of ours is written."""
    annotations = {"serving.kserve.io/deploymentMode": mode}
    world.apply("v1", annotations=annotations)
    world.until(
        lambda: (seen := world.seen()) is not None and seen.service_ready is ConditionStatus.TRUE,
        "v1 to be ready",
    )
    world.apply("v2", 10, annotations=annotations)
    if spec is not None:
        world.patch({"spec": spec})
    world.until(world.rejections, "a refusal")
    world.wait(6)
    assert world.written_weights() == []
    assert world.rollouts() == {}
    (refusal,) = set(world.rejections())
    assert refusal.startswith("UnsupportedDeploymentMode: ")
    assert words in refusal
    assert "serving.kserve.io/deploymentMode: Knative" in refusal


@trap("modes-standard")
def _(world: TrapWorld) -> None:
    """The field is silently ignored by KServe there, so no step of ours would ever take effect."""
    _refused(world, "Standard", "Standard (RawDeployment) mode")


@trap("modes-rawdeployment")
def _(world: TrapWorld) -> None:
    """The name of the same mode before 0.15."""
    _refused(world, "RawDeployment", "Standard (RawDeployment) mode")


@trap("modes-standard-with-canaries-of-its-own")
def _(world: TrapWorld) -> None:
    """KServe 0.20 makes Deployments of spec.canary that no weight reaches: not driven, and said."""
    model = {"name": "kserve-container", "modelFormat": {"name": "sklearn"}, "storageUri": f"gs://models/{SERVICE}/v2"}
    canary = {"trafficPercent": 20, "predictor": {"name": "v2", "minReplicas": 1, "model": model}}
    _refused(world, "Standard", "does not drive spec.canary", {"canary": [canary]})


@trap("modes-modelmesh")
def _(world: TrapWorld) -> None:
    """ModelMesh has no revisions."""
    _refused(world, "ModelMesh", "ModelMesh mode")


# --- a predictor and a transformer ---------------------------------------------------------------------------


def _image(tag: str) -> dict[str, Any]:
    return {"containers": [{"name": "kserve-container", "image": f"registry/pre:{tag}"}]}


def _pair(world: TrapWorld) -> None:
    """Predictor and transformer at their first revision, at rest."""
    world.apply("v1")
    world.patch({"spec": {"transformer": _image("1")}})

    def at_rest() -> bool:
        parts = [world.seen(), world.seen(Component.TRANSFORMER)]
        return all(seen is not None and seen.rolled_out and seen.created == seen.rolled_out for seen in parts)

    world.until(at_rest, "both components to serve")
    world.wait(world.rest_seconds)


def _of_the_transformer(world: TrapWorld) -> tuple[str, str, str]:
    return world.rollouts().get(f"{SERVICE}-transformer-00002", ("", "", ""))


def _share_of_the_transformer(world: TrapWorld) -> int:
    seen = world.seen(Component.TRANSFORMER)
    return seen.traffic.get(f"{SERVICE}-transformer-00002", 0) if seen is not None else 0


@trap("table-s19-components-changed-together")
def _(world: TrapWorld) -> None:
    """One patch of both, no order stated: neither gets traffic until a user lets one go; that one goes."""
    world.policy(component="transformer")
    _pair(world)
    model = {"model": {"storageUri": f"gs://models/{SERVICE}/v2-slow12"}}
    world.patch({"spec": {"predictor": model, "transformer": _image("2-slow12")}})
    world.until_phase(2, "Paused")
    world.until(lambda: _of_the_transformer(world)[0] == "Paused", "the transformer's rollout to be paused")
    world.wait(10)
    assert (world.reason(2), _of_the_transformer(world)[1]) == ("ComponentsTogether", "ComponentsTogether")
    assert world.highest(2) == _share_of_the_transformer(world) == 0
    world.until(lambda: world.ready() == world.revision(2), "00002 to be ready")
    world.ask(2, "promote")
    world.until_phase(2, "Promoted")
    assert (_of_the_transformer(world)[0], _share_of_the_transformer(world)) == ("Paused", 0)


@trap("table-s19-components-in-the-stated-order")
def _(world: TrapWorld) -> None:
    """``after``: the predictor waits at 0 until the transformer is promoted, then goes up without a request."""
    world.policy(after=["transformer"])
    world.policy(component="transformer")
    _pair(world)
    model = {"model": {"storageUri": f"gs://models/{SERVICE}/v2-slow12"}}
    world.patch({"spec": {"predictor": model, "transformer": _image("2-slow12")}})
    world.until_reason(2, "WaitingForComponent")
    world.until(lambda: _of_the_transformer(world)[0] in ("Progressing", "Baking"), "the transformer to be rolled out")
    assert world.highest(2) == 0
    world.until(lambda: _of_the_transformer(world)[0] == "Promoted", "the transformer to be promoted")
    world.until_phase(2, "Promoted")
    assert set(world.shares(2)) <= {0, *STEP_WEIGHTS}
