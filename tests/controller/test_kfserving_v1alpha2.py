"""Services whose spec holds stable beside the candidate (KFServing's default and canary), by the same engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from autocanary import logs
from autocanary.model.policy import Component, Leftover, Policy
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.simulator.pod_behaviour import CRASHES, starts_in
from autocanary.simulator.world import sided_manifest
from tests.controller.driver import BROKEN, V1, V2, V3, V4, Crash, Doom, Play, When, once, quick

FIRST = "mnist-canary-00001"
"""The rollout of the first candidate; its revision is ``mnist-predictor-canary-00001``."""


class Sided(Play):
    """A play about ``mnist`` as a service of KFServing's v1alpha2."""

    def begin(self) -> None:
        """Stable serves everything, and the engine knows it."""
        self.apply()
        self.until(lambda: self.traffic() == {"default-00001": 100}, 60)
        self.run(15)

    def apply(self, canary: str = "", weight: int | None = None, default: str = V1) -> None:
        self.world.deploy_sided("mnist", default, canary=canary, weight=weight)

    def edit(self, **spec: Any) -> None:
        """Somebody's ``kubectl edit``: a merge-patch of the spec."""
        self.world.kserve.patch("models", "mnist", {"spec": spec}, "kubectl-edit")

    def spec(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.world.kserve.document("models", "mnist")["spec"]
        return found

    def traffic(self) -> Mapping[str, int]:
        return self.world.split("mnist")


def model(uri: str) -> dict[str, Any]:
    return {"predictor": {"tensorflow": {"storageUri": uri}}}


def started(**more: Any) -> Sided:
    """Ten percent have just been given to a candidate that starts in 4 s."""
    behaviours = {V2: starts_in(4.0), V3: starts_in(4.0), V4: starts_in(4.0), **more.pop("behaviours", {})}
    play = Sided(quick(min_requests=1.0), behaviours=behaviours, scrape_seconds=2.0, **more)
    play.begin()
    play.apply(V2, 10)
    return play


def test_a_good_candidate_becomes_default() -> None:
    """Adopted at its weight, stepped to 100, copied into default, and only then taken out of canary."""
    play = started()
    play.finish(FIRST)
    assert play.ending(FIRST) == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.weights() == [50, 100]
    assert play.settled() == ["adopt", "clear"]
    assert play.spec() == {"default": model(V2)}
    assert play.traffic() == {"default-00002": 100}
    assert play.rollout(FIRST).progress.observed_weight == 100
    assert play.events(FIRST) == ["rollout_started", *["step_taken"] * 3, "rollout_promoted"]
    assert "Settling" in play.phases(FIRST)
    play.run(400)
    assert play.names() == [FIRST], "the promoted spec in its new place is no release of its own"


def test_the_old_stable_never_gets_traffic_back_while_it_settles() -> None:
    """From 100 % on it is the candidate's spec that answers, whatever side it stands on."""
    play = started()
    play.finish(FIRST)
    shares = play.shares["models", "mnist"]
    full = next(at for at, share in enumerate(shares) if share.get("canary-00001") == 100)
    assert all(share.get("default-00001", 0) == 0 for share in shares[full:])


def test_a_bad_candidate_is_kept_at_0() -> None:
    """For inspection, with the weight at 0 and stable untouched."""
    play = started(qualities={V2: BROKEN})
    play.finish(FIRST)
    assert play.ending(FIRST) == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert play.weights() == [0]
    assert play.spec() == {"default": model(V1), "canaryTrafficPercent": 0, "canary": model(V2)}
    assert play.traffic() == {"default-00001": 100, "canary-00001": 0}
    play.run(400)
    assert play.names() == [FIRST]


def test_a_bad_candidate_is_removed_if_the_policy_says_so() -> None:
    """Only after the traffic has left it; then there is nothing beside stable any more."""
    play = Sided(
        quick(min_requests=1.0, leftover=Leftover.REMOVE), qualities={V2: BROKEN}, scrape_seconds=2.0
    )
    play.begin()
    play.apply(V2, 10)
    play.finish(FIRST)
    assert play.ending(FIRST) == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert [(each.weight, each.restored) for each in play.world.cluster.writes] == [(0, False), (None, True)]
    assert play.spec() == {"default": model(V1)}
    assert play.traffic() == {"default-00001": 100}
    play.run(400)
    assert play.names() == [FIRST]


def test_a_weight_of_0_that_the_server_drops_is_the_same() -> None:
    """``omitempty``: absent is 0, not somebody's change."""
    play = started(qualities={V2: BROKEN})
    play.finish(FIRST)
    play.edit(canaryTrafficPercent=None)
    play.run(400)
    assert play.ending(FIRST) == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert play.weights() == [0]
    assert play.names() == [FIRST]


def test_routes_that_flap_while_a_canary_is_added_are_no_breach() -> None:
    """The service is not ready and has no split for a while; the rollout stays in Staging."""
    play = started(behaviours={V2: starts_in(60.0)})
    play.run(40)
    seen = play.world.cluster.observe(play.world.key("mnist"))
    assert seen is not None
    assert (seen.service_ready.value, seen.traffic) == ("False", {})
    assert play.phase(FIRST) is Phase.STAGING
    play.finish(FIRST)
    assert play.phase(FIRST) is Phase.PROMOTED


def test_a_canary_that_cannot_start_is_given_up() -> None:
    """The router cannot be written while it is there, so it is taken out of the spec in the end."""
    play = started(behaviours={V2: CRASHES})
    play.finish(FIRST)
    assert play.ending(FIRST) == (Phase.ROLLED_BACK, Reason.REVISION_FAILED)
    assert play.spec() == {"default": model(V1)}
    assert play.traffic() == {"default-00001": 100}


def test_a_canary_that_crashes_while_it_serves_is_taken_out() -> None:
    """Its weight of 0 never gets into the router: stable alone in the spec does."""
    play = started()
    play.until(lambda: 50 in play.weights())
    play.run(5)
    play.world.kserve.crash("models", "mnist", "mnist-predictor-canary-00001")
    play.ask(Verb.ABORT, FIRST, within=60)
    play.finish(FIRST)
    assert play.ending(FIRST) == (Phase.ROLLED_BACK, Reason.ABORTED_BY_USER)
    assert play.spec() == {"default": model(V1)}
    assert play.traffic() == {"default-00001": 100}


def test_a_canary_at_100_from_the_start_is_caught() -> None:
    """All traffic at once is no step of the policy's."""
    play = started()
    play.finish(FIRST)
    play.apply(V3, 100, default=V2)
    play.until(lambda: any(name != FIRST for name in play.names()), 60)
    second = next(name for name in play.names() if name != FIRST)
    play.finish(second)
    assert play.phase(second) is Phase.PROMOTED
    assert once(play.weights()) == [50, 100, 0, 10, 50, 100]
    assert play.spec() == {"default": model(V3)}


def test_the_same_model_on_both_sides() -> None:
    """As in the article: nothing is to be copied, and no new revision of default is waited for."""
    play = Sided(quick(min_requests=1.0), scrape_seconds=2.0)
    play.begin()
    play.apply(V1, 10)
    play.finish(FIRST)
    assert play.phase(FIRST) is Phase.PROMOTED
    assert play.settled() == ["clear"]
    assert play.spec() == {"default": model(V1)}
    assert play.traffic() == {"default-00001": 100}


def test_a_canary_that_is_taken_out_by_hand() -> None:
    """In the middle: that is the owner's rollback, and nothing is written any more."""
    play = started()
    play.until(lambda: 50 in play.weights())
    play.edit(canary=None, canaryTrafficPercent=None)
    play.finish(FIRST)
    assert play.ending(FIRST) == (Phase.SUPERSEDED, Reason.REVERTED)
    written = list(play.world.cluster.writes)
    play.run(400)
    assert play.world.cluster.writes == written
    assert play.names() == [FIRST]


def test_a_promotion_by_hand() -> None:
    """As KFServing's SDK does it: copied into default and taken out in one write."""
    play = started()
    play.until(lambda: 50 in play.weights())
    play.edit(default=model(V2), canary=None, canaryTrafficPercent=None)
    play.finish(FIRST)
    assert play.ending(FIRST) == (Phase.PROMOTED, Reason.PROMOTED_BY_USER)
    play.run(400)
    assert play.names() == [FIRST]


def test_another_canary_in_the_middle() -> None:
    """It replaces the first, from 0; what is promoted in the end is the second."""
    play = started()
    play.until(lambda: 50 in play.weights())
    play.run(5)
    play.edit(canary=model(V3))
    second = "mnist-canary-00002"
    play.finish(second)
    assert play.ending(FIRST) == (Phase.SUPERSEDED, Reason.NEW_REVISION)
    assert play.phase(second) is Phase.PROMOTED
    assert once(play.weights()) == [50, 0, 10, 50, 100]
    assert play.spec() == {"default": model(V3)}


def test_another_canary_before_the_first_is_copied() -> None:
    """What was not judged never becomes default, although the one before it had won already."""
    play = started()
    play.until(lambda: play.known(FIRST) and play.phase(FIRST) is Phase.SETTLING)
    assert play.settled() == []
    play.edit(canary=model(V3))
    play.finish(FIRST)
    assert play.ending(FIRST) == (Phase.SUPERSEDED, Reason.NEW_REVISION)
    assert play.spec()["default"] == model(V1)
    play.finish("mnist-canary-00002")
    assert play.spec() == {"default": model(V3)}


def test_somebodys_weight_while_it_settles() -> None:
    """Not fought: it is paused, and goes on from there when a person says so."""
    play = started()
    play.until(lambda: play.known(FIRST) and play.phase(FIRST) is Phase.SETTLING)
    play.edit(canaryTrafficPercent=50)
    play.until_reason(Reason.EXTERNAL_CHANGE, FIRST, 60)
    assert play.settled() == []
    play.ask(Verb.RESUME, FIRST)
    play.finish(FIRST)
    assert play.phase(FIRST) is Phase.PROMOTED
    assert play.spec() == {"default": model(V2)}


def test_another_canary_after_the_first_was_copied() -> None:
    """The first has won: its spec is default's. The second is caught and rolled out on its own."""
    play = started()
    play.until(lambda: play.settled() == ["adopt"])
    play.edit(canary=model(V3))
    play.finish(FIRST)
    assert play.ending(FIRST) == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.spec()["default"] == model(V2)
    play.finish("mnist-canary-00002")
    assert play.phase("mnist-canary-00002") is Phase.PROMOTED
    assert play.spec() == {"default": model(V3)}


def test_the_same_name_with_another_spec_is_another_candidate() -> None:
    """Taken out and put in again: Knative counts from 00001 again, and the ledger must not be fooled."""
    play = started(qualities={V2: BROKEN})
    play.finish(FIRST)
    play.edit(canary=None, canaryTrafficPercent=None)
    play.run(10)
    play.apply(V3, 10)
    again = f"{FIRST}-r2"
    play.finish(again)
    assert play.rollout(again).candidate == play.rollout(FIRST).candidate
    assert play.phase(again) is Phase.PROMOTED
    assert play.spec() == {"default": model(V3)}


def test_replaced_between_two_looks_under_the_same_name() -> None:
    """Nobody saw the gap; the spec tells, once it has stood for longer than a status lags."""
    play = started()
    play.until(lambda: 50 in play.weights())
    play.world.cluster.blind()
    play.edit(canary=None, canaryTrafficPercent=None)
    play.world.advance(5.0)
    play.apply(V3, 50)
    play.world.advance(15.0)
    play.world.cluster.blind(False)
    play.finish(FIRST)
    assert play.ending(FIRST) == (Phase.SUPERSEDED, Reason.NEW_REVISION)
    play.finish(f"{FIRST}-r2")
    assert play.spec() == {"default": model(V3)}


def test_default_edited_during_a_canary() -> None:
    """The candidate is judged anew against the new stable, from the weight it has; nothing is undone."""
    play = started()
    play.until(lambda: 50 in play.weights())
    play.run(5)
    play.edit(default=model(V4))
    play.finish(FIRST)
    assert play.ending(FIRST) == (Phase.SUPERSEDED, Reason.STABLE_CHANGED)
    second = f"{FIRST}-r2"
    play.finish(second)
    assert play.rollout(second).stable == "mnist-predictor-default-00002"
    assert play.phase(second) is Phase.PROMOTED
    assert once(play.weights()) == [50, 100]
    assert play.spec() == {"default": model(V2)}


def test_default_edited_at_100() -> None:
    """Neither overwritten unseen nor given the traffic: the candidate bakes anew, and is promoted then."""
    play = started()
    play.until(lambda: play.known(FIRST) and play.phase(FIRST) is Phase.BAKING)
    play.edit(default=model(V4))
    play.finish(FIRST)
    assert play.ending(FIRST) == (Phase.SUPERSEDED, Reason.STABLE_CHANGED)
    play.finish(f"{FIRST}-r2")
    assert once(play.weights()) == [50, 100]
    assert play.spec() == {"default": model(V2)}


def test_default_edited_at_rest_is_said() -> None:
    """A release without a canary cannot be caught here; people are told that nobody judged it."""
    play = Sided(quick(min_requests=1.0), behaviours={V3: starts_in(20.0)}, scrape_seconds=2.0)
    play.begin()
    play.edit(default=model(V3))
    play.run(60)
    assert [each.progress.phase for each in play.world.ledger.rollouts()] == [Phase.MISSED]
    play.run(400)
    assert len(play.names()) == 1


def test_unknown_fields_are_carried_over() -> None:
    """Byte for byte: what we do not know, deep inside, with lists and numbers as they are."""
    play = started()
    odd = {
        **model(V3),
        "x-team": {"a": [1, 2.5, {"b": None}], "big": 9007199254740993, "text": "ü\u2028"},
        "minReplicas": 2,
    }
    odd["predictor"] = {**odd["predictor"], "x-deep": [{"k": []}, {}]}
    play.edit(canary=odd)
    play.until(lambda: play.settled() == ["adopt", "clear"], 1200)
    assert play.spec() == {"default": odd}


@pytest.mark.parametrize("when", [When.BEFORE, When.AFTER])
def test_a_crash_at_any_write(when: When) -> None:
    """The next process goes on as if nothing had happened: same weights, same order, same end."""
    play = started()
    doom = Doom(lambda *_: None)
    doom.watch(play.world)
    play.finish(FIRST)
    writes = list(doom.verbs)
    assert writes.count("settle") == 2
    expected = (play.ending(FIRST), once(play.weights()), play.settled(), play.spec(), play.events(FIRST))
    for victim in range(1, len(writes) + 1):
        other = started()
        Doom(lambda n, _, v=victim: (when, Crash(v)) if n == v else None).watch(other.world)  # type: ignore[misc]
        other.finish(FIRST)
        assert other.restarted
        told = (
            other.ending(FIRST),
            once(other.weights()),
            other.settled(),
            other.spec(),
            other.events(FIRST),
        )
        assert told == expected, f"a crash {when.value} write {victim} ({writes[victim - 1]})"


def upgraded(**more: Any) -> Sided:
    """10 % are in effect when KFServing is replaced by one that splits no traffic in v1alpha2."""
    play = started(**more)
    play.until(lambda: play.known(FIRST) and play.rollout(FIRST).progress.verified_at is not None)
    play.world.kserve.objects.without_canaries = True
    return play


def test_a_kfserving_that_refuses_canaries_is_a_reason_of_its_own() -> None:
    """Held at the weight there is, told at once and once with what works instead; and tried on."""
    play = upgraded()
    play.until_reason(Reason.CANARY_UNSUPPORTED, FIRST, 120)
    progress = play.rollout(FIRST).progress
    assert (progress.phase, progress.weight) == (Phase.HOLDING, 50)
    assert "50 % is refused" in progress.message
    assert "apply the service as serving.kubeflow.org/v1beta1" in progress.message
    play.run(900)
    assert play.weights() == []
    assert play.traffic() == {"default-00001": 90, "canary-00001": 10}
    assert play.events(FIRST) == ["rollout_started", "step_taken", "step_taken", "rollout_held"]
    play.world.kserve.objects.without_canaries = False
    play.finish(FIRST)
    assert play.ending(FIRST) == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.weights() == [50, 100]


def test_a_rollback_without_weights_takes_the_candidate_out() -> None:
    """The only write towards stable that a KFServing without canaries accepts."""
    play = upgraded(qualities={V2: BROKEN})
    play.finish(FIRST)
    assert play.ending(FIRST) == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert [(each.weight, each.restored) for each in play.world.cluster.writes] == [(None, True)]
    assert play.spec() == {"default": model(V1)}
    assert play.traffic() == {"default-00001": 100}


def test_a_promotion_that_canaries_are_refused_to_is_told() -> None:
    """The copy keeps the weight of 100, so it is refused too: warned of once, and made when it can be."""
    play = started()
    play.until(lambda: play.weights() == [50, 100])
    play.world.kserve.objects.without_canaries = True
    play.until(lambda: "rollout_warning" in play.events(FIRST), 300)
    play.run(300)
    assert play.rollout(FIRST).progress.warned == (Reason.CANARY_UNSUPPORTED.value,)
    assert play.events(FIRST).count("rollout_warning") == 1
    assert play.spec()["default"] == model(V1)
    play.world.kserve.objects.without_canaries = False
    play.finish(FIRST)
    assert play.spec() == {"default": model(V2)}


def test_a_default_that_does_not_come_up_is_said() -> None:
    """The candidate goes on serving everything; a person is told what is waited for."""
    play = started()
    play.until(lambda: play.known(FIRST) and play.phase(FIRST) is Phase.BAKING)
    play.world.model(V2, starts_in(2000.0))
    play.until(
        lambda: any("cannot be made stable" in said for said in play.said("rollout_warning", FIRST)), 900
    )
    assert play.traffic().get("canary-00001") == 100
    assert play.phase(FIRST) is Phase.SETTLING
    play.finish(FIRST, 4000)
    assert play.spec() == {"default": model(V2)}


def test_a_pause_while_it_settles() -> None:
    """Nothing is written while a person has paused it."""
    play = started()
    play.until(lambda: play.known(FIRST) and play.phase(FIRST) is Phase.SETTLING)
    play.pause(True, FIRST)
    play.run(120)
    assert (play.phase(FIRST), play.settled()) == (Phase.PAUSED, [])
    play.pause(False, FIRST)
    play.finish(FIRST)
    assert play.settled() == ["adopt", "clear"]


def test_going_back_while_it_settles_is_answered_with_how() -> None:
    """Stable's place may hold the candidate's spec by now; another candidate is the way back."""
    play = started()
    play.until(lambda: play.settled() == ["adopt"])
    assert "apply the former spec" in play.ask(Verb.ABORT, FIRST)
    play.finish(FIRST)
    assert play.phase(FIRST) is Phase.PROMOTED


def test_a_copy_that_makes_no_revision_waits_for_a_person() -> None:
    """A field that KFServing does not know makes none: whether it was seen at all cannot be told."""
    play = Sided(quick(min_requests=1.0), scrape_seconds=2.0)
    play.begin()
    play.edit(
        canary={"predictor": {"tensorflow": {"storageUri": V1}, "x-team": "a"}}, canaryTrafficPercent=10
    )
    play.until(
        lambda: any("still mnist-predictor-default-00001" in it for it in play.said("rollout_warning", FIRST))
    )
    assert play.phase(FIRST) is Phase.SETTLING
    play.ask(Verb.PROMOTE, FIRST)
    play.finish(FIRST)
    assert play.phase(FIRST) is Phase.PROMOTED
    assert "canary" not in play.spec()


def test_abort_while_paused_on_another_stable() -> None:
    """Default was edited while a person had paused it: the pause stays, and going back is to that default."""
    play = started()
    play.until(lambda: 50 in play.weights())
    play.pause(True, FIRST)
    play.edit(default=model(V4))
    play.run(60)
    assert play.phase(FIRST) is Phase.PAUSED
    play.ask(Verb.ABORT, FIRST)
    play.finish(FIRST)
    assert play.phase(FIRST) is Phase.ROLLED_BACK
    assert play.traffic() == {"default-00002": 100, "canary-00001": 0}


TWO = {
    "equally specific for one component": (quick("one"), quick("two")),
    "for components that share one weight": (quick("one"), quick("two", component=Component.TRANSFORMER)),
}


@pytest.mark.parametrize("policies", TWO.values(), ids=TWO)
def test_two_policies_for_one_service_start_nothing(policies: tuple[Policy, Policy]) -> None:
    """As in KServe: told once for each component, nothing is written; when one is gone, it is taken up."""

    def both(number: int) -> dict[str, Any]:
        image = {"containers": [{"image": f"pre:{number}"}]}
        return {**model(f"gs://models/mnist/{number}"), "transformer": image}

    play = Sided(*policies, scrape_seconds=2.0)
    with logs.capture() as lines:
        play.apply()
        play.edit(default=both(1))
        play.run(60)
        play.edit(canary=both(2), canaryTrafficPercent=10)
        play.run(120)
    assert (play.names(), play.weights()) == ([], [])
    refusals = lines.named("rollout_refused")
    assert [each["reason"] for each in refusals] == ["PolicyTie"] * len({each.component for each in policies})
    play.world.policies.put(quick(min_requests=1.0))
    play.finish(FIRST)
    assert play.ending(FIRST) == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.spec() == {"default": both(2)}


def test_both_generations_in_one_cluster() -> None:
    """Each service by the rules of its own."""
    play = started()
    play.serve("iris")
    play.release(V2, 0, name="iris")
    play.finish("iris-00002")
    play.finish(FIRST)
    assert play.phase("iris-00002") is Phase.PROMOTED
    assert play.phase(FIRST) is Phase.PROMOTED
    assert play.world.split("iris") == {"00002": 100}


def test_a_manifest_is_applied_as_people_write_it() -> None:
    """The tests above would prove little about another form."""
    assert sided_manifest("a", "u", canary="v", weight=10)["spec"] == {
        "default": model("u"),
        "canaryTrafficPercent": 10,
        "canary": model("v"),
    }
