"""The traps of KServe and Knative that a rollout can fall into, each written once and sprung on both grounds.

``row`` says where a trap is described: ``table`` is the recorded scenarios of the real controllers, ``rules``
KServe's own scenario table, ``gotcha`` the checklist for controllers. The shapes of the assertions are three:
what autocanary wrote, what people were told, and what share of the requests a revision ever had.

Over 300 lines because it is one list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autocanary.model.observation import Trinary
from autocanary.model.policy import Component
from autocanary.simulator.knative_controller import Wanted
from tests.traps.ground import ABSENT, SERVICE, Ground, once

__all__ = ["TRAPS", "Trap"]

LADDER = [10, 25, 50, 100]
KEY = "autocanary-tests/key"


@dataclass(frozen=True, slots=True)
class Trap:
    """``name`` is the test's; ``sentence`` what should happen in it."""

    name: str
    sentence: str
    spring: Callable[[Ground], None]


TRAPS: list[Trap] = []


def row(name: str) -> Callable[[Callable[[Ground], None]], Callable[[Ground], None]]:
    def note(spring: Callable[[Ground], None]) -> Callable[[Ground], None]:
        TRAPS.append(Trap(name, str(spring.__doc__), spring))
        return spring

    return note


# --- KServe's own rules, one by one --------------------------------------------------------------------------


@row("rules-01-created-with-a-weight")
def _(g: Ground) -> None:
    """A first revision with a weight is no candidate: nothing is written."""
    g.serve("v1", 10)
    g.wait(8)
    assert g.written() == []
    assert g.rollouts() == {}
    assert g.share(1) == 100


@row("rules-02-changed-without-the-field")
def _(g: Ground) -> None:
    """It is caught at 0 before it is ready and goes up the ladder: never 100 % at once."""
    g.serve()
    g.release("v2-slow4", ABSENT)
    g.until_phase(2, "Promoted")
    assert once(g.written()) == [0, *LADDER]
    assert set(g.shares(2)) <= {0, *LADDER}
    assert "rollout_promoted" in g.events(2)


@row("rules-03-changed-with-ten-in-one-patch")
def _(g: Ground) -> None:
    """It is adopted at the weight it came with, which is not written again."""
    g.serve()
    g.release("v2", 10)
    g.until_phase(2, "Promoted")
    assert once(g.written()) == [25, 50, 100]


@row("rules-04-a-weight-makes-no-revision")
def _(g: Ground) -> None:
    """The whole way up there are two revisions."""
    g.promoted()
    seen = g.seen()
    assert seen is not None
    assert (seen.created, seen.rolled_out) == (g.revision(2), g.revision(2))


@row("rules-05-at-100-the-candidate-is-stable")
def _(g: Ground) -> None:
    """100 stays in the field, KServe calls the candidate rolled out, and it has every request."""
    g.promoted()
    assert g.field() == 100
    assert g.split() == {g.revision(2): 100}


@row("rules-06-removing-the-field-promotes")
def _(g: Ground) -> None:
    """Somebody removes it in the middle: put back at the last weight at once, and told."""
    g.serve()
    g.release()
    weight = g.hold(2, 25)
    g.weight(None, "helm")
    g.until_told(2, "external_change", "WeightLost")
    g.until_share(2, weight)
    assert g.field() == weight
    assert g.phase(2) == "Paused"


@row("rules-07-zero-takes-the-traffic-back")
def _(g: Ground) -> None:
    """A bad candidate: weight 0, no request on it any more, stable as it was."""
    g.serve()
    g.release("v2-bad")
    g.until_phase(2, "RolledBack")
    assert once(g.written()) == [10, 0]
    assert g.share(2) == 0
    seen = g.seen()
    assert seen is not None
    assert seen.rolled_out == g.revision(1)


@row("rules-08-after-a-rollback-the-field-stays")
def _(g: Ground) -> None:
    """Nothing of ours ever removes the 0; when somebody does, the promotion of the bad one is told."""
    g.serve()
    g.release("v2-bad")
    g.until_phase(2, "RolledBack")
    g.wait(15)
    assert g.field() == 0
    written = len(g.written())
    g.weight(None, "helm")
    g.until_share(2, 100)
    g.until(lambda: "Missed" in {phase for phase, _, _ in g.rollouts().values()}, "the miss to be recorded")
    assert len(g.written()) == written
    assert any(each.reason == "MissedUnstaged" for each in g.told(2))


@row("rules-09-the-next-release-after-a-rollback-at-zero")
def _(g: Ground) -> None:
    """v3 pushed with the 0 kept is rolled out; v2 gets nothing again."""
    g.serve()
    g.release("v2-bad")
    g.until_phase(2, "RolledBack")
    looked = len(g.shares(2))
    g.release("v3", 0)
    g.until_phase(3, "Promoted")
    assert max(g.shares(2)[looked:]) == 0
    assert once(g.written()) == [10, 0, *LADDER]


@row("rules-10-the-next-release-after-a-rollback-brings-ten")
def _(g: Ground) -> None:
    """New spec and 10 in one patch gives the rolled-back v2 those 10 % until v3 is ready: taken away at once."""
    g.serve()
    g.release("v2-bad")
    g.until_phase(2, "RolledBack")
    g.release("v3-slow40", 10)
    g.until_created(3)
    g.until_share(2, 0, seconds=25)
    assert g.field() == 0
    g.until_phase(3, "Promoted")
    assert g.share(2) == 0


@row("rules-10-the-next-release-after-a-rollback-brings-no-weight")
def _(g: Ground) -> None:
    """KServe rolls the bad revision out until the new one is ready: told as wrong, and the new one goes on."""
    g.serve()
    g.release("v2-bad")
    g.until_phase(2, "RolledBack")
    g.wait(g.rest)
    g.release("v3-slow8", ABSENT)
    g.until_told(3, "rollout_warning", "WrongStable", seconds=40)
    g.until_phase(3, "Promoted")
    assert once(g.written())[-5:] == [0, *LADDER]


@row("rules-11-zero-after-the-promotion")
def _(g: Ground) -> None:
    """Somebody goes back to the previous revision by hand: their decision, not fought."""
    g.promoted()
    written = g.written()
    g.weight(0)
    g.until_share(1, 100)
    g.wait(8)
    assert g.written() == written
    assert g.phase(2) == "Promoted"


@row("rules-12-ten-after-the-promotion")
def _(g: Ground) -> None:
    """An old manifest's 10 comes back: no new revision, so no rollout, and nothing of ours is written."""
    g.promoted()
    written = g.written()
    g.weight(10, "argocd")
    g.until_share(1, 90)
    g.wait(8)
    assert g.written() == written
    assert set(g.rollouts()) == {g._name(2)}


@row("rules-13-never-ready")
def _(g: Ground) -> None:
    """Told why, and given up at the deadline, without a single request on it."""
    g.policy(progressDeadline="20s")
    g.serve()
    g.release("v2-crash", 10)
    g.until_phase(2, "RolledBack")
    assert g.reason(2) == "RevisionFailed"
    assert "model failed to load" in g.message(2)
    assert g.field() == 0
    assert g.highest(2) == 0


@row("rules-14-at-100-while-it-is-not-ready")
def _(g: Ground) -> None:
    """Somebody sets 100 on a candidate that still starts: it would cut over by itself; told before it can."""
    g.serve()
    g.release("v2-slow20", 0)
    g.until_phase(2, "Staging")
    g.weight(100, "kubectl-edit")
    g.until_told(2, "external_change", "ExternalChange", seconds=15)
    assert g.share(2) == 0


@row("rules-15-a-second-release-in-the-middle")
def _(g: Ground) -> None:
    """The weight goes to 0 before v3 can inherit it; the first ends as superseded, v3 starts from the bottom."""
    g.serve()
    g.release("v2")
    g.hold(2, 25)
    g.patch({"spec": {"predictor": {"model": {"storageUri": f"gs://models/{SERVICE}/v3-slow5"}}}})
    g.until_phase(2, "Superseded")
    g.until_phase(3, "Promoted")
    assert g.written()[-5:] == [0, *LADDER]
    assert once(each for each in g.shares(3))[:2] == [0, 10]


@row("rules-16-reverted-to-stables-spec-in-the-middle")
def _(g: Ground) -> None:
    """Knative makes 00003 of v1's content; the rollout of v2 ends as reverted, v2 gets nothing more."""
    g.serve()
    g.release("v2")
    g.hold(2, 25)
    g.patch({"spec": {"predictor": {"model": {"storageUri": f"gs://models/{SERVICE}/v1"}}}})
    g.until_phase(2, "Superseded", "Abandoned", "RolledBack")
    assert g.reason(2) == "Reverted"
    g.until_share(2, 0)


@row("rules-17-a-rollback-that-is-blocked")
def _(g: Ground) -> None:
    """The candidate's pods crash, so 0 does not arrive: told, stable's spec put back, done when it is true."""
    g.serve()
    g.release("v2")
    g.hold(2, 10)
    g.crash(2)
    g.wait(3)
    g.ask(2, "abort")
    g.until_told(2, "rollout_warning", "RollbackBlocked")
    assert g.phase(2) == "RollingBack"
    g.until_phase(2, "RolledBack", seconds=240)
    assert g.share(2) == 0
    assert g.document()["spec"]["predictor"]["model"]["storageUri"].endswith("/v1")
    assert g.field() in (0, None)


@row("rules-18-the-grand-previous-revision-becomes-stable")
def _(g: Ground) -> None:
    """v3 comes with a weight, its revision is refused: the share of the revision before stable is taken back."""
    g.promoted()
    g.refuse_revisions()
    g.release("v3", 10)
    g.until_told(2, "rollout_warning", "WrongStable", seconds=30)
    g.until(lambda: g.split() == {g.revision(2): 100}, "00002 to have everything", seconds=30)
    assert once(g.written())[-1] is None
    g.refuse_revisions("")


# --- the recordings of the real controllers ------------------------------------------------------------------


@row("table-s05e-s26-blocked-and-recovered")
def _(g: Ground) -> None:
    """The queued 0 applies by itself when the pods are back in time: nothing is restored."""
    g.serve()
    g.release("v2")
    g.hold(2, 10)
    g.crash(2)
    g.wait(2)
    g.ask(2, "abort")
    g.until(lambda: g.field() == 0, "0 in the field")
    g.wait(5)
    g.recover(2)
    g.until_phase(2, "RolledBack")
    assert g.document()["spec"]["predictor"]["model"]["storageUri"].endswith("/v2")
    assert g.share(2) == 0


@row("table-s05i-ready-after-it-was-called-failed")
def _(g: Ground) -> None:
    """A revision that recovers after its rollout was given up gets nothing: the 0 stays."""
    g.policy(progressDeadline="10s")
    g.serve()
    g.release("v2-slow30", 10)
    g.until_phase(2, "RolledBack")
    g.until(lambda: g.ready() == g.revision(2), "00002 to be ready after all", seconds=60)
    g.wait(5)
    assert g.highest(2) == 0
    assert g.field() == 0


@row("table-s06-v3-at-25-kept")
def _(g: Ground) -> None:
    """The manifest's own 25 comes with v3: nobody inherits what v2 had reached."""
    g.serve()
    g.release("v2", 10)
    g.hold(2, 25)
    looked = len(g.shares(3))
    g.release("v3-slow4", 25)
    g.until_phase(2, "Superseded")
    g.until_phase(3, "Promoted")
    assert once(g.shares(3)[looked:])[:2] == [0, 10]


@row("table-s07b-the-100-of-the-last-promotion")
def _(g: Ground) -> None:
    """100 is still in the field: v3 would be cut over when it is ready, and is caught."""
    g.promoted()
    g.patch({"spec": {"predictor": {"model": {"storageUri": f"gs://models/{SERVICE}/v3-slow4"}}}})
    g.until_phase(3, "Promoted")
    assert once(g.written())[-5:] == [0, *LADDER]
    assert set(g.shares(3)) <= {0, *LADDER}


@row("table-s08-a-breach-in-the-bake")
def _(g: Ground) -> None:
    """At 100 % the way back is the previous revision: 0 moves everything there, and it is waited for."""
    g.policy(bake="60s")
    g.serve()
    g.release()
    g.until_phase(2, "Baking")
    g.until_share(2, 100)
    g.ask(2, "abort")
    g.until_phase(2, "RolledBack")
    assert g.split()[g.revision(1)] == 100


@row("table-s12-stable-is-deleted")
def _(g: Ground) -> None:
    """Nothing but 100 applies any more: a person is told at once, and nobody decides it for them."""
    g.serve()
    g.release()
    g.hold(2, 10)
    g.delete_revision(1)
    g.ask(2, "resume")
    g.until_told(2, "rollout_held", "WaitingForEffect")
    g.wait(10)
    assert g.phase(2) == "Holding"
    assert 100 not in g.written()


@row("table-s12d-the-candidate-is-deleted")
def _(g: Ground) -> None:
    """Knative makes it again under the same name: the rollout goes on."""
    g.serve()
    g.release()
    g.steady(2, 10)
    g.delete_revision(2)
    g.until_phase(2, "Promoted")


@row("table-s12e-deleted-in-the-middle")
def _(g: Ground) -> None:
    """Abandoned; a service of the same name is another one, with revisions that begin anew."""
    g.serve()
    g.release()
    g.hold(2, 10)
    g.delete()
    g.until(lambda: g.seen() is None, "the service to be gone")
    g.until_phase(2, "Abandoned")
    assert g.reason(2) == "ServiceDeleted"
    g.apply("v7")
    g.until_stable(1)
    g.wait(5)
    assert g.field() is None
    assert g.share(1) == 100


@row("table-s12f-the-knative-service-is-deleted-in-the-middle")
def _(g: Ground) -> None:
    """00001 is made anew of the candidate's spec and has everything: stable's spec is put back, and told."""
    g.serve()
    g.release()
    g.hold(2, 10)
    g.inside(lambda rules: rules.drop_child((g.namespace, SERVICE), Component.PREDICTOR))
    g.until_told(2, "rollback_started", "ServiceReplaced", seconds=40)
    g.until_phase(2, "RolledBack", seconds=60)
    assert g.field() is None
    assert g.document()["spec"]["predictor"]["model"]["storageUri"].endswith("/v1")
    assert g.split() == {g.revision(2): 100}


@row("table-s12f-the-knative-service-is-deleted-after-a-rollback")
def _(g: Ground) -> None:
    """The bad spec is the only one there is, under stable's name, with everything: a person is told."""
    g.serve()
    g.release("v2-bad")
    g.until_phase(2, "RolledBack")
    g.wait(g.rest)
    written = len(g.written())
    g.inside(lambda rules: rules.drop_child((g.namespace, SERVICE), Component.PREDICTOR))
    g.until(lambda: any(each.reason == "MissedUnstaged" for each in g.told(1)), "the miss to be told")
    assert len(g.written()) == written


@row("table-s14-scaled-to-zero-is-no-success")
def _(g: Ground) -> None:
    """Without requests nothing passes; the policy's deadline for silence decides."""
    g.policy(
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
    g.serve()
    g.release()
    g.until_phase(2, "RolledBack")
    assert g.reason(2) == "ProgressDeadlineExceeded"
    assert g.highest(2) == 10


@row("table-s15-a-gradual-rollout-of-knative")
def _(g: Ground) -> None:
    """rollout-duration ramps a new revision up to its 10 %: the step's clock starts when the ramp is over."""
    g.serve()
    g.apply("v2", 10, annotations={"serving.knative.dev/rollout-duration": "8s"})
    g.until_phase(2, "Promoted")
    assert once(g.written()) == [25, 50, 100]
    assert any(0 < share < 10 for share in g.shares(2)), "Knative did not ramp it up"


@row("table-s16-stopped-in-the-middle")
def _(g: Ground) -> None:
    """KServe forgets everything: the rollout ends, and nothing is written to what is stopped."""
    g.serve()
    g.release()
    g.hold(2, 10)
    written = g.written()
    g.patch({"metadata": {"annotations": {"serving.kserve.io/stop": "true"}}})
    g.until_phase(2, "Abandoned")
    assert g.reason(2) == "ServiceStopped"
    assert g.written() == written


@row("table-s17-auto-update-disabled")
def _(g: Ground) -> None:
    """KServe ignores the field: said, and no step is believed in that did not happen."""
    g.serve()
    g.release("v2-slow6")
    g.until_phase(2, "Staging")
    g.until(lambda: g.ready() == g.revision(2), "00002 to be ready")
    g.patch({"metadata": {"annotations": {"serving.kserve.io/disable-auto-update": "true"}}})
    g.until_told(2, "rollout_held", "WaitingForEffect")
    g.wait(5)
    assert g.phase(2) == "Holding"
    assert (g.written(), g.highest(2)) == ([10], 0)


@row("table-s18-somebody-edits-the-knative-service")
def _(g: Ground) -> None:
    """Really routed 50/50 for a moment, then reverted by KServe: nothing of ours is written for it."""
    g.serve()
    g.release()
    weight = g.hold(2, 10)
    written = g.written()
    split = (Wanted("", 50, ""), Wanted(g.revision(1), 50, "prev"))
    g.inside(lambda rules: rules.edit_child((g.namespace, SERVICE), Component.PREDICTOR, split))
    g.wait(5)
    g.until_share(2, weight)
    assert 50 in g.shares(2), "the edit was never routed"
    assert g.written() == written


@row("table-s20-stable-crashes-in-the-middle")
def _(g: Ground) -> None:
    """Every change but 100 is blocked: no step counts that did not take effect, a person is told."""
    g.serve()
    g.release()
    weight = g.hold(2, 10)
    g.crash(1)
    g.ask(2, "resume")
    g.until_told(2, "rollout_held", "WaitingForEffect")
    g.wait(5)
    assert g.share(2) == weight
    assert g.phase(2) == "Holding"


@row("table-s21-a-superseded-candidate-is-ready-first")
def _(g: Ground) -> None:
    """v2 becomes ready while v3 starts: it gets none of v3's share."""
    g.serve()
    g.release("v2-slow12", 10)
    g.until_created(2)
    g.patch({"spec": {"predictor": {"model": {"storageUri": f"gs://models/{SERVICE}/v3-slow25"}}}})
    g.until_phase(3, "Promoted", seconds=240)
    assert g.highest(2) == 0


@row("table-s22-the-ingress-is-not-programmed")
def _(g: Ground) -> None:
    """traffic[] shows the weight already: it is not in effect before the route is ready."""
    g.serve()
    g.release("v2-slow4")
    g.until_created(2)
    g.hold_ingress()
    g.until(lambda: 10 in g.written(), "the first step to be written")
    g.wait(12)
    assert g.phase(2) in ("Progressing", "Holding")
    assert g.written() == [10]
    g.hold_ingress(False)
    g.until_phase(2, "Promoted")


@row("table-s25-kserves-bookkeeping-is-lost")
def _(g: Ground) -> None:
    """R is gone and the candidate calls itself stable: seen against the record, stable's spec is put back."""
    g.serve()
    g.release()
    g.hold(2, 10)
    g.inside(lambda rules: rules.lose_rolled_out((g.namespace, SERVICE)))
    g.until_told(2, "rollback_started", "WrongStable")
    g.until_phase(2, "RolledBack")
    assert g.share(2) == 0
    assert g.document()["spec"]["predictor"]["model"]["storageUri"].endswith("/v1")


@row("table-s28-a-refused-revision-with-a-previous-one")
def _(g: Ground) -> None:
    """Before any rollout of v3 began: the field is not touched while latestCreatedRevision has not moved."""
    g.promoted()
    written = g.written()
    looked = len(g.history())
    g.refuse_revisions()
    g.patch({"spec": {"predictor": {"model": {"storageUri": f"gs://models/{SERVICE}/v3-slow3"}}}})
    g.wait(15)
    assert g.written() == written
    g.refuse_revisions("")
    g.until_phase(3, "Promoted")
    assert max(g.shares(1)[looked:]) == 0
    assert once(g.written())[-5:] == [0, *LADDER]


@row("table-s28b-staged-at-zero-while-it-is-refused")
def _(g: Ground) -> None:
    """v3 + 0 is refused: 100 % would go to the revision before stable, for good. Repaired, told."""
    g.promoted()
    g.refuse_revisions()
    g.release("v3", 0)
    g.until_told(2, "rollout_warning", "WrongStable", seconds=30)
    g.until(lambda: g.split() == {g.revision(2): 100}, "00002 to have everything", seconds=30)


@row("table-s35-a-template-neutral-edit-with-a-weight")
def _(g: Ground) -> None:
    """An edit that makes no revision, with 10: 90 % would go to the revision before stable. Repaired, told."""
    g.promoted()
    model = {"protocolVersion": "v1"}
    g.patch({"spec": {"predictor": {"canaryTrafficPercent": 10, "model": model}}})
    g.until_told(2, "rollout_warning", "WrongStable", seconds=30)
    g.until(lambda: g.split() == {g.revision(2): 100}, "00002 to have everything", seconds=30)


@row("table-s30-the-knative-controller-is-away")
def _(g: Ground) -> None:
    """The status looks perfect and nothing moves: a step that did not take effect is not passed."""
    g.serve()
    g.release()
    g.steady(2, 10)
    g.freeze()
    g.wait(12)
    assert g.phase(2) in ("Progressing", "Holding")
    assert g.highest(2) <= 25
    g.freeze(False)
    g.until_phase(2, "Promoted")


@row("table-s33-the-serving-runtime-is-edited")
def _(g: Ground) -> None:
    """An annotation makes a revision in the middle although nobody changed the spec: it supersedes."""
    g.serve()
    g.release()
    g.hold(2, 10)
    g.patch({"metadata": {"annotations": {KEY: "another"}}})
    g.until_phase(2, "Superseded")
    g.until_phase(3, "Promoted")
    assert once(g.written())[-5:] == [0, *LADDER]


@row("table-s36-v3-crashes-with-a-previous-revision")
def _(g: Ground) -> None:
    """LR is not LC, so KServe does not fall back: v3 is given up at the deadline, v2 keeps everything."""
    g.policy(progressDeadline="15s")
    g.promoted()
    looked = len(g.history())
    g.release("v3-crash", 10)
    g.until_phase(3, "RolledBack")
    g.wait(3)
    assert max(g.shares(1)[looked:]) == 0
    assert g.share(2) == 100


# --- the checklist -------------------------------------------------------------------------------------------


@row("gotcha-01-nothing-but-the-field-is-written")
def _(g: Ground) -> None:
    """Two rollouts, one of them back: metadata and the rest of the spec are as their owner wrote them."""
    g.promoted()
    g.release("v3-bad", 0)
    g.until_phase(3, "RolledBack")
    document = g.document()
    annotations = set(document["metadata"].get("annotations") or {})
    assert annotations <= {"kubectl.kubernetes.io/last-applied-configuration"}
    assert not document["metadata"].get("labels")
    predictor = {**document["spec"]["predictor"]}
    assert predictor.pop("canaryTrafficPercent") == 0
    assert predictor["model"]["storageUri"].endswith("/v3-bad")
    seen = g.seen()
    assert seen is not None
    assert seen.created == g.revision(3)


@row("gotcha-03-gitops-applies-again-with-another-weight")
def _(g: Ground) -> None:
    """Git holds 10, we are at 25: it is paused and told who wrote, not fought."""
    g.serve()
    g.release("v2", 10)
    g.hold(2, 25)
    written = g.written()
    g.weight(5, "argocd-controller")
    g.until_told(2, "external_change", "ExternalChange")
    g.wait(6)
    assert g.written() == written
    assert any("argocd-controller" in each.message for each in g.told(2))


@row("gotcha-03-kubectl-apply-drops-the-field")
def _(g: Ground) -> None:
    """Git once had the field and drops it: apply deletes it, which promotes. Back at the last weight at once."""
    g.serve()
    g.release("v2", 10)
    weight = g.hold(2, 25)
    g.apply("v2", ABSENT)
    g.until_told(2, "external_change", "WeightLost")
    g.until_share(2, weight)
    assert g.field() == weight


@row("gotcha-03-a-removed-field-that-is-a-wish")
def _(g: Ground) -> None:
    """`onWeightRemoved: pause`: told and left as it is; a person resumes, and it is judged at 100 %."""
    g.policy(onWeightRemoved="pause")
    g.serve()
    g.release()
    g.steady(2, 10)
    written = len(g.written())
    g.weight(None, "helm")
    g.until_told(2, "external_change", "ExternalChange")
    g.until_share(2, 100)
    assert g.phase(2) == "Paused"
    g.ask(2, "promote")
    g.until_phase(2, "Promoted")
    assert set(g.written()[written:]) <= {100}


@row("gotcha-03-kubectl-replace-drops-the-field")
def _(g: Ground) -> None:
    """PUT without the field is a promotion: back at the last weight at once."""
    g.serve()
    g.release("v2", 10)
    weight = g.hold(2, 25)
    g.replace("v2", ABSENT)
    g.until_told(2, "external_change", "WeightLost")
    g.until_share(2, weight)
    assert g.field() == weight


@row("gotcha-05-the-status-is-late")
def _(g: Ground) -> None:
    """KServe freezes for a while after a weight was written: analysis starts when the share is real."""
    g.serve()
    g.release()
    g.until_share(2, 10)
    g.freeze()
    g.wait(6)
    g.freeze(False)
    g.until_phase(2, "Promoted")
    assert once(g.written()) == LADDER


@row("gotcha-06-not-ready-is-no-breach")
def _(g: Ground) -> None:
    """Ready is Unknown for half a minute while the new revision starts: no rollback, no message of failure."""
    g.serve()
    g.release("v2-slow30")
    g.until_phase(2, "Promoted", seconds=240)
    assert "rollback_started" not in g.events(2)


@row("gotcha-13-the-previous-revision-was-collected")
def _(g: Ground) -> None:
    """Rolling back from the bake onto a revision that is gone: stable's spec comes back as a new revision."""
    g.policy(bake="120s")
    g.serve()
    g.release()
    g.until_phase(2, "Baking")
    g.until_share(2, 100)
    g.wait(3)
    g.delete_revision(1)
    g.ask(2, "abort")
    g.until_told(2, "rollout_warning", "RollbackBlocked")
    g.until(lambda: g.share(2) == 0, "00002 to have nothing", seconds=240)
    assert g.document()["spec"]["predictor"]["model"]["storageUri"].endswith("/v1")


@row("gotcha-15-revisions-keep-coming")
def _(g: Ground) -> None:
    """Something makes a new revision every few seconds: each supersedes the last, and it is said and stopped."""
    g.serve()
    g.release("v2", 0)
    for number in range(3, 10):
        g.until_created(number - 1)
        g.wait(1.5)
        g.patch({"metadata": {"annotations": {KEY: str(number)}}})
    g.until_created(9)
    g.until_phase(9, "Paused")
    assert g.reason(9) == "RevisionChurn"
    assert "something makes new revisions" in g.message(9)
    g.wait(5)
    assert g.field() == 0
    assert all(g.highest(number) <= 10 for number in range(2, 10))


@row("gotcha-19-the-same-bad-spec-again")
def _(g: Ground) -> None:
    """The owner applies the rolled-back manifest again, without and with the field: it is not tried again."""
    g.serve()
    g.release("v2-bad", 10)
    g.until_phase(2, "RolledBack")
    looked = len(g.history())
    g.patch({"metadata": {"annotations": {KEY: "again"}}})
    g.until_created(3)
    g.wait(12)
    assert g.field() == 0
    assert max(g.shares(3)[looked:], default=0) == 0


# --- the modes in which there is nothing to roll out ---------------------------------------------------------


def _refused(g: Ground, mode: str, words: str, spec: dict[str, Any] | None = None) -> None:
    """A service in another mode changes, with a weight: refused in words, and nothing of ours is written."""
    annotations = {"serving.kserve.io/deploymentMode": mode}
    g.apply("v1", annotations=annotations)
    g.until(lambda: (seen := g.seen()) is not None and seen.service_ready is Trinary.TRUE, "v1 to be ready")
    g.apply("v2", 10, annotations=annotations)
    if spec is not None:
        g.patch({"spec": spec})
    g.until(g.refusals, "a refusal")
    g.wait(6)
    assert g.written() == []
    assert g.rollouts() == {}
    (refusal,) = set(g.refusals())
    assert refusal.startswith("UnsupportedDeploymentMode: ")
    assert words in refusal
    assert "serving.kserve.io/deploymentMode: Knative" in refusal


@row("modes-standard")
def _(g: Ground) -> None:
    """The field is silently ignored by KServe there, so no step of ours would ever take effect."""
    _refused(g, "Standard", "Standard (RawDeployment) mode")


@row("modes-rawdeployment")
def _(g: Ground) -> None:
    """The name of the same mode before 0.15."""
    _refused(g, "RawDeployment", "Standard (RawDeployment) mode")


@row("modes-standard-with-canaries-of-its-own")
def _(g: Ground) -> None:
    """KServe 0.20 makes Deployments of spec.canary that no weight reaches: not driven, and said."""
    canary = {"trafficPercent": 20, "predictor": {"name": "v2", "minReplicas": 1}}
    _refused(g, "Standard", "does not drive spec.canary", {"canary": [canary]})


@row("modes-modelmesh")
def _(g: Ground) -> None:
    """ModelMesh has no revisions."""
    _refused(g, "ModelMesh", "ModelMesh mode")


# --- a predictor and a transformer ---------------------------------------------------------------------------


def _image(tag: str) -> dict[str, Any]:
    return {"containers": [{"name": "kserve-container", "image": f"registry/pre:{tag}"}]}


def _pair(g: Ground) -> None:
    """Predictor and transformer at their first revision, at rest."""
    g.apply("v1")
    g.patch({"spec": {"transformer": _image("1")}})

    def at_rest() -> bool:
        parts = [g.seen(), g.seen(Component.TRANSFORMER)]
        return all(seen is not None and seen.rolled_out and seen.created == seen.rolled_out for seen in parts)

    g.until(at_rest, "both components to serve")
    g.wait(g.rest)


def _of_the_transformer(g: Ground) -> tuple[str, str, str]:
    return g.rollouts().get(f"{SERVICE}-transformer-00002", ("", "", ""))


def _share_of_the_transformer(g: Ground) -> int:
    seen = g.seen(Component.TRANSFORMER)
    return seen.traffic.get(f"{SERVICE}-transformer-00002", 0) if seen is not None else 0


@row("table-s19-components-changed-together")
def _(g: Ground) -> None:
    """One patch of both, no order stated: neither gets traffic until a person lets one go; that one goes."""
    g.policy(component="transformer")
    _pair(g)
    model = {"model": {"storageUri": f"gs://models/{SERVICE}/v2-slow6"}}
    g.patch({"spec": {"predictor": model, "transformer": _image("2-slow6")}})
    g.until_phase(2, "Paused")
    g.until(lambda: _of_the_transformer(g)[0] == "Paused", "the transformer's rollout to be paused")
    g.wait(10)
    assert (g.reason(2), _of_the_transformer(g)[1]) == ("ComponentsTogether", "ComponentsTogether")
    assert g.highest(2) == _share_of_the_transformer(g) == 0
    g.ask(2, "promote")
    g.until_phase(2, "Promoted")
    assert (_of_the_transformer(g)[0], _share_of_the_transformer(g)) == ("Paused", 0)


@row("table-s19-components-in-the-stated-order")
def _(g: Ground) -> None:
    """``after``: the predictor waits at 0 until the transformer is promoted, then goes up by itself."""
    g.policy(after=["transformer"])
    g.policy(component="transformer")
    _pair(g)
    model = {"model": {"storageUri": f"gs://models/{SERVICE}/v2-slow6"}}
    g.patch({"spec": {"predictor": model, "transformer": _image("2-slow6")}})
    g.until_reason(2, "WaitingForComponent")
    g.until(
        lambda: _of_the_transformer(g)[0] in ("Progressing", "Baking"), "the transformer to be rolled out"
    )
    assert g.highest(2) == 0
    g.until(lambda: _of_the_transformer(g)[0] == "Promoted", "the transformer to be promoted")
    g.until_phase(2, "Promoted")
    assert set(g.shares(2)) <= {0, *LADDER}
