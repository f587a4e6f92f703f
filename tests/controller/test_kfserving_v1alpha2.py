"""Services whose spec holds stable beside the candidate (KFServing's default and canary), by the same engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from autocanary import logs
from autocanary.model.policy import CandidateCleanup, Component, Policy
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.simulator.pod_behaviour import CRASHES, ready_after_seconds
from autocanary.simulator.world import kfserving_manifest
from tests.controller.driver import (
    BROKEN,
    V1,
    V2,
    V3,
    V4,
    Driver,
    FaultPoint,
    ProcessCrash,
    WriteFaults,
    fast_policy,
    without_repeats,
)

FIRST = "mnist-canary-00001"
"""The rollout of the first candidate; its revision is ``mnist-predictor-canary-00001``."""


class KFServingService(Driver):
    """A driver with ``mnist`` as a service of KFServing's v1alpha2."""

    def begin(self) -> None:
        """Stable serves everything, and the controller knows it."""
        self.apply()
        self.until(lambda: self.traffic() == {"default-00001": 100}, 60)
        self.run(15)

    def apply(self, canary: str = "", weight: int | None = None, default: str = V1) -> None:
        self.world.deploy_kfserving("mnist", default, canary=canary, weight=weight)

    def edit(self, **spec: Any) -> None:
        """A user's ``kubectl edit``: a merge-patch of the spec."""
        self.world.kserve.patch("models", "mnist", {"spec": spec}, "kubectl-edit")

    def spec(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.world.kserve.document("models", "mnist")["spec"]
        return found

    def traffic(self) -> Mapping[str, int]:
        return self.world.split("mnist")


def model(uri: str) -> dict[str, Any]:
    return {"predictor": {"tensorflow": {"storageUri": uri}}}


def started(**more: Any) -> KFServingService:
    """Ten percent have just been given to a candidate that starts in 4 s."""
    behaviours = {
        V2: ready_after_seconds(4.0),
        V3: ready_after_seconds(4.0),
        V4: ready_after_seconds(4.0),
        **more.pop("behaviours", {}),
    }
    driver = KFServingService(fast_policy(min_requests=1.0), behaviours=behaviours, scrape_seconds=2.0, **more)
    driver.begin()
    driver.apply(V2, 10)
    return driver


def test_promotion_copies_canary_to_default() -> None:
    """Adopted at its weight, stepped to 100, copied into default, and only then taken out of canary."""
    driver = started()
    driver.finish(FIRST)
    assert driver.phase_and_reason(FIRST) == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.weights() == [50, 100]
    assert driver.finalized() == ["adopt", "clear"]
    assert driver.spec() == {"default": model(V2)}
    assert driver.traffic() == {"default-00002": 100}
    assert driver.rollout(FIRST).progress.step.observed_weight == 100
    assert driver.events(FIRST) == ["rollout_started", *["step_taken"] * 3, "rollout_promoted"]
    assert "Finalizing" in driver.phases(FIRST)
    driver.run(400)
    assert driver.rollout_names() == [FIRST], "the promoted spec in its new place is no release of its own"


def test_old_stable_gets_no_traffic_while_finalizing() -> None:
    """From 100 % on it is the candidate's spec that answers, whatever side it stands on."""
    driver = started()
    driver.finish(FIRST)
    shares = driver.shares["models", "mnist"]
    full = next(at for at, share in enumerate(shares) if share.get("canary-00001") == 100)
    assert all(share.get("default-00001", 0) == 0 for share in shares[full:])


def test_failed_canary_stays_at_0_percent() -> None:
    """For inspection, with the weight at 0 and stable untouched."""
    driver = started(qualities={V2: BROKEN})
    driver.finish(FIRST)
    assert driver.phase_and_reason(FIRST) == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert driver.weights() == [0]
    assert driver.spec() == {"default": model(V1), "canaryTrafficPercent": 0, "canary": model(V2)}
    assert driver.traffic() == {"default-00001": 100, "canary-00001": 0}
    driver.run(400)
    assert driver.rollout_names() == [FIRST]


def test_failed_canary_is_removed_if_policy_says_remove() -> None:
    """Only after the traffic has left it; then there is nothing beside stable any more."""
    driver = KFServingService(
        fast_policy(min_requests=1.0, candidate_cleanup=CandidateCleanup.REMOVE),
        qualities={V2: BROKEN},
        scrape_seconds=2.0,
    )
    driver.begin()
    driver.apply(V2, 10)
    driver.finish(FIRST)
    assert driver.phase_and_reason(FIRST) == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert [(each.weight, each.restored) for each in driver.world.cluster.writes] == [
        (0, False),
        (None, True),
    ]
    assert driver.spec() == {"default": model(V1)}
    assert driver.traffic() == {"default-00001": 100}
    driver.run(400)
    assert driver.rollout_names() == [FIRST]


def test_weight_0_dropped_by_server_equals_0() -> None:
    """``omitempty``: absent is 0, not a user's change."""
    driver = started(qualities={V2: BROKEN})
    driver.finish(FIRST)
    driver.edit(canaryTrafficPercent=None)
    driver.run(400)
    assert driver.phase_and_reason(FIRST) == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert driver.weights() == [0]
    assert driver.rollout_names() == [FIRST]


def test_route_flapping_after_canary_is_added_is_no_violation() -> None:
    """The service is not ready and has no split for a while; the rollout stays in Staging."""
    driver = started(behaviours={V2: ready_after_seconds(60.0)})
    driver.run(40)
    seen = driver.world.cluster.observe(driver.world.key("mnist"))
    assert seen is not None
    assert (seen.service_ready.value, seen.traffic) == ("False", {})
    assert driver.phase(FIRST) is Phase.STAGING
    driver.finish(FIRST)
    assert driver.phase(FIRST) is Phase.PROMOTED


def test_rolls_back_canary_that_never_becomes_ready() -> None:
    """The router cannot be written while it is there, so it is taken out of the spec in the end."""
    driver = started(behaviours={V2: CRASHES})
    driver.finish(FIRST)
    assert driver.phase_and_reason(FIRST) == (Phase.ROLLED_BACK, Reason.REVISION_FAILED)
    assert driver.spec() == {"default": model(V1)}
    assert driver.traffic() == {"default-00001": 100}


def test_removes_canary_that_crashes_while_serving() -> None:
    """Its weight of 0 never gets into the router: stable alone in the spec does."""
    driver = started()
    driver.until(lambda: 50 in driver.weights())
    driver.run(5)
    driver.world.kserve.crash("models", "mnist", "mnist-predictor-canary-00001")
    driver.ask(Verb.ABORT, FIRST, within=60)
    driver.finish(FIRST)
    assert driver.phase_and_reason(FIRST) == (Phase.ROLLED_BACK, Reason.ABORTED_BY_USER)
    assert driver.spec() == {"default": model(V1)}
    assert driver.traffic() == {"default-00001": 100}


def test_intercepts_canary_applied_at_100_percent() -> None:
    """All traffic at once is no step of the policy's."""
    driver = started()
    driver.finish(FIRST)
    driver.apply(V3, 100, default=V2)
    driver.until(lambda: any(name != FIRST for name in driver.rollout_names()), 60)
    second = next(name for name in driver.rollout_names() if name != FIRST)
    driver.finish(second)
    assert driver.phase(second) is Phase.PROMOTED
    assert without_repeats(driver.weights()) == [50, 100, 0, 10, 50, 100]
    assert driver.spec() == {"default": model(V3)}


def test_the_same_model_on_both_sides() -> None:
    """As in the article: nothing must be copied, and no new revision of default is waited for."""
    driver = KFServingService(fast_policy(min_requests=1.0), scrape_seconds=2.0)
    driver.begin()
    driver.apply(V1, 10)
    driver.finish(FIRST)
    assert driver.phase(FIRST) is Phase.PROMOTED
    assert driver.finalized() == ["clear"]
    assert driver.spec() == {"default": model(V1)}
    assert driver.traffic() == {"default-00001": 100}


def test_a_canary_that_is_taken_out_by_hand() -> None:
    """In the middle: that is the owner's rollback, and nothing is written any more."""
    driver = started()
    driver.until(lambda: 50 in driver.weights())
    driver.edit(canary=None, canaryTrafficPercent=None)
    driver.finish(FIRST)
    assert driver.phase_and_reason(FIRST) == (Phase.SUPERSEDED, Reason.REVERTED)
    written = list(driver.world.cluster.writes)
    driver.run(400)
    assert driver.world.cluster.writes == written
    assert driver.rollout_names() == [FIRST]


def test_a_promotion_by_hand() -> None:
    """As KFServing's SDK does it: copied into default and taken out in one write."""
    driver = started()
    driver.until(lambda: 50 in driver.weights())
    driver.edit(default=model(V2), canary=None, canaryTrafficPercent=None)
    driver.finish(FIRST)
    assert driver.phase_and_reason(FIRST) == (Phase.PROMOTED, Reason.PROMOTED_BY_USER)
    driver.run(400)
    assert driver.rollout_names() == [FIRST]


def test_another_canary_in_the_middle() -> None:
    """It replaces the first, from 0; what is promoted in the end is the second."""
    driver = started()
    driver.until(lambda: 50 in driver.weights())
    driver.run(5)
    driver.edit(canary=model(V3))
    second = "mnist-canary-00002"
    driver.finish(second)
    assert driver.phase_and_reason(FIRST) == (Phase.SUPERSEDED, Reason.NEW_REVISION)
    assert driver.phase(second) is Phase.PROMOTED
    assert without_repeats(driver.weights()) == [50, 0, 10, 50, 100]
    assert driver.spec() == {"default": model(V3)}


def test_another_canary_before_the_first_is_copied() -> None:
    """What was not judged never becomes default, although the one before it had won already."""
    driver = started()
    driver.until(lambda: driver.has_rollout(FIRST) and driver.phase(FIRST) is Phase.FINALIZING)
    assert driver.finalized() == []
    driver.edit(canary=model(V3))
    driver.finish(FIRST)
    assert driver.phase_and_reason(FIRST) == (Phase.SUPERSEDED, Reason.NEW_REVISION)
    assert driver.spec()["default"] == model(V1)
    driver.finish("mnist-canary-00002")
    assert driver.spec() == {"default": model(V3)}


def test_external_weight_change_while_finalizing() -> None:
    """It is kept: the rollout pauses, and continues from there at a user's request."""
    driver = started()
    driver.until(lambda: driver.has_rollout(FIRST) and driver.phase(FIRST) is Phase.FINALIZING)
    driver.edit(canaryTrafficPercent=50)
    driver.until_reason(Reason.EXTERNAL_CHANGE, FIRST, 60)
    assert driver.finalized() == []
    driver.ask(Verb.RESUME, FIRST)
    driver.finish(FIRST)
    assert driver.phase(FIRST) is Phase.PROMOTED
    assert driver.spec() == {"default": model(V2)}


def test_another_canary_after_the_first_was_copied() -> None:
    """The first has won: its spec is default's. The second is intercepted and rolled out on its own."""
    driver = started()
    driver.until(lambda: driver.finalized() == ["adopt"])
    driver.edit(canary=model(V3))
    driver.finish(FIRST)
    assert driver.phase_and_reason(FIRST) == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.spec()["default"] == model(V2)
    driver.finish("mnist-canary-00002")
    assert driver.phase("mnist-canary-00002") is Phase.PROMOTED
    assert driver.spec() == {"default": model(V3)}


def test_the_same_name_with_another_spec_is_another_candidate() -> None:
    """Taken out and put in again: Knative counts from 00001 again, and the rollout store must not be fooled."""
    driver = started(qualities={V2: BROKEN})
    driver.finish(FIRST)
    driver.edit(canary=None, canaryTrafficPercent=None)
    driver.run(10)
    driver.apply(V3, 10)
    again = f"{FIRST}-r2"
    driver.finish(again)
    assert driver.rollout(again).candidate == driver.rollout(FIRST).candidate
    assert driver.phase(again) is Phase.PROMOTED
    assert driver.spec() == {"default": model(V3)}


def test_canary_replaced_between_two_evaluations() -> None:
    """The gap was not observed; the spec shows it, once it is older than a status lags."""
    driver = started()
    driver.until(lambda: 50 in driver.weights())
    driver.world.cluster.set_watch_down()
    driver.edit(canary=None, canaryTrafficPercent=None)
    driver.world.advance(5.0)
    driver.apply(V3, 50)
    driver.world.advance(15.0)
    driver.world.cluster.set_watch_down(False)
    driver.finish(FIRST)
    assert driver.phase_and_reason(FIRST) == (Phase.SUPERSEDED, Reason.NEW_REVISION)
    driver.finish(f"{FIRST}-r2")
    assert driver.spec() == {"default": model(V3)}


def test_default_edited_during_a_canary() -> None:
    """The candidate is judged again against the new stable, from the weight it has; nothing is undone."""
    driver = started()
    driver.until(lambda: 50 in driver.weights())
    driver.run(5)
    driver.edit(default=model(V4))
    driver.finish(FIRST)
    assert driver.phase_and_reason(FIRST) == (Phase.SUPERSEDED, Reason.STABLE_CHANGED)
    second = f"{FIRST}-r2"
    driver.finish(second)
    assert driver.rollout(second).stable == "mnist-predictor-default-00002"
    assert driver.phase(second) is Phase.PROMOTED
    assert without_repeats(driver.weights()) == [50, 100]
    assert driver.spec() == {"default": model(V2)}


def test_default_edited_at_100() -> None:
    """Neither overwritten unseen nor given the traffic: the candidate bakes again, and is promoted then."""
    driver = started()
    driver.until(lambda: driver.has_rollout(FIRST) and driver.phase(FIRST) is Phase.BAKING)
    driver.edit(default=model(V4))
    driver.finish(FIRST)
    assert driver.phase_and_reason(FIRST) == (Phase.SUPERSEDED, Reason.STABLE_CHANGED)
    driver.finish(f"{FIRST}-r2")
    assert without_repeats(driver.weights()) == [50, 100]
    assert driver.spec() == {"default": model(V2)}


def test_warns_when_default_is_edited_without_canary() -> None:
    """A release without a canary cannot be intercepted here; users are notified that it was not analysed."""
    driver = KFServingService(
        fast_policy(min_requests=1.0), behaviours={V3: ready_after_seconds(20.0)}, scrape_seconds=2.0
    )
    driver.begin()
    driver.edit(default=model(V3))
    driver.run(60)
    assert [each.progress.phase for each in driver.world.store.rollouts()] == [Phase.MISSED]
    driver.run(400)
    assert len(driver.rollout_names()) == 1


def test_unknown_fields_are_carried_over() -> None:
    """Byte for byte: what we do not know, deep inside, with lists and numbers as they are."""
    driver = started()
    odd = {
        **model(V3),
        "x-team": {"a": [1, 2.5, {"b": None}], "big": 9007199254740993, "text": "ü\u2028"},
        "minReplicas": 2,
    }
    odd["predictor"] = {**odd["predictor"], "x-deep": [{"k": []}, {}]}
    driver.edit(canary=odd)
    driver.until(lambda: driver.finalized() == ["adopt", "clear"], 1200)
    assert driver.spec() == {"default": odd}


@pytest.mark.parametrize("when", [FaultPoint.BEFORE, FaultPoint.AFTER])
def test_a_crash_at_any_write(when: FaultPoint) -> None:
    """The next process goes on as if nothing had happened: same weights, same order, same end."""
    driver = started()
    write_faults = WriteFaults(lambda *_: None)
    write_faults.watch(driver.world)
    driver.finish(FIRST)
    writes = list(write_faults.verbs)
    assert writes.count("finalize") == 2
    expected = (
        driver.phase_and_reason(FIRST),
        without_repeats(driver.weights()),
        driver.finalized(),
        driver.spec(),
        driver.events(FIRST),
    )
    for victim in range(1, len(writes) + 1):
        other = started()
        WriteFaults(lambda n, _, v=victim: (when, ProcessCrash(v)) if n == v else None).watch(other.world)  # type: ignore[misc]
        other.finish(FIRST)
        assert other.restarted
        notified = (
            other.phase_and_reason(FIRST),
            without_repeats(other.weights()),
            other.finalized(),
            other.spec(),
            other.events(FIRST),
        )
        assert notified == expected, f"a crash {when.value} write {victim} ({writes[victim - 1]})"


def upgraded(**more: Any) -> KFServingService:
    """10 % are in effect when KFServing is replaced by one that splits no traffic in v1alpha2."""
    driver = started(**more)
    driver.until(lambda: driver.has_rollout(FIRST) and driver.rollout(FIRST).progress.step.verified_at is not None)
    driver.world.kserve.objects.without_canaries = True
    return driver


def test_kfserving_without_canary_support_has_its_own_reason() -> None:
    """Held at the weight there is, notified at once and once with what works instead; and tried again."""
    driver = upgraded()
    driver.until_reason(Reason.CANARY_UNSUPPORTED, FIRST, 120)
    progress = driver.rollout(FIRST).progress
    assert (progress.phase, progress.step.weight) == (Phase.HOLDING, 50)
    assert "50 % is refused" in progress.message
    assert "apply the service as serving.kubeflow.org/v1beta1" in progress.message
    driver.run(900)
    assert driver.weights() == []
    assert driver.traffic() == {"default-00001": 90, "canary-00001": 10}
    assert driver.events(FIRST) == ["rollout_started", "step_taken", "step_taken", "rollout_held"]
    driver.world.kserve.objects.without_canaries = False
    driver.finish(FIRST)
    assert driver.phase_and_reason(FIRST) == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.weights() == [50, 100]


def test_a_rollback_without_weights_takes_the_candidate_out() -> None:
    """The only write towards stable that a KFServing without canaries accepts."""
    driver = upgraded(qualities={V2: BROKEN})
    driver.finish(FIRST)
    assert driver.phase_and_reason(FIRST) == (Phase.ROLLED_BACK, Reason.METRIC_VIOLATION)
    assert [(each.weight, each.restored) for each in driver.world.cluster.writes] == [(None, True)]
    assert driver.spec() == {"default": model(V1)}
    assert driver.traffic() == {"default-00001": 100}


def test_warns_when_kfserving_refuses_promotion() -> None:
    """The copy keeps the weight of 100, so it is refused too: warned of once, and made when it can be."""
    driver = started()
    driver.until(lambda: driver.weights() == [50, 100])
    driver.world.kserve.objects.without_canaries = True
    driver.until(lambda: "rollout_warning" in driver.events(FIRST), 300)
    driver.run(300)
    assert driver.rollout(FIRST).progress.outbox.warnings_sent == (Reason.CANARY_UNSUPPORTED.value,)
    assert driver.events(FIRST).count("rollout_warning") == 1
    assert driver.spec()["default"] == model(V1)
    driver.world.kserve.objects.without_canaries = False
    driver.finish(FIRST)
    assert driver.spec() == {"default": model(V2)}


def test_warns_when_default_does_not_become_ready() -> None:
    """The candidate goes on serving everything; the notification names what is waited for."""
    driver = started()
    driver.until(lambda: driver.has_rollout(FIRST) and driver.phase(FIRST) is Phase.BAKING)
    driver.world.model(V2, ready_after_seconds(2000.0))
    driver.until(
        lambda: any(
            "cannot be made stable" in messages_of for messages_of in driver.messages_of("rollout_warning", FIRST)
        ),
        900,
    )
    assert driver.traffic().get("canary-00001") == 100
    assert driver.phase(FIRST) is Phase.FINALIZING
    driver.finish(FIRST, 4000)
    assert driver.spec() == {"default": model(V2)}


def test_pause_while_finalizing() -> None:
    """Nothing is written while a user has paused it."""
    driver = started()
    driver.until(lambda: driver.has_rollout(FIRST) and driver.phase(FIRST) is Phase.FINALIZING)
    driver.pause(True, FIRST)
    driver.run(120)
    assert (driver.phase(FIRST), driver.finalized()) == (Phase.PAUSED, [])
    driver.pause(False, FIRST)
    driver.finish(FIRST)
    assert driver.finalized() == ["adopt", "clear"]


def test_abort_while_finalizing_explains_how_to_roll_back() -> None:
    """Stable's place may hold the candidate's spec by now; another candidate is the way back."""
    driver = started()
    driver.until(lambda: driver.finalized() == ["adopt"])
    assert "apply the former spec" in driver.ask(Verb.ABORT, FIRST)
    driver.finish(FIRST)
    assert driver.phase(FIRST) is Phase.PROMOTED


def test_pauses_when_promoted_spec_creates_no_revision() -> None:
    """A field that KFServing does not know makes none: whether the server read it is unknown."""
    driver = KFServingService(fast_policy(min_requests=1.0), scrape_seconds=2.0)
    driver.begin()
    driver.edit(canary={"predictor": {"tensorflow": {"storageUri": V1}, "x-team": "a"}}, canaryTrafficPercent=10)
    driver.until(
        lambda: any("still mnist-predictor-default-00001" in it for it in driver.messages_of("rollout_warning", FIRST))
    )
    assert driver.phase(FIRST) is Phase.FINALIZING
    driver.ask(Verb.PROMOTE, FIRST)
    driver.finish(FIRST)
    assert driver.phase(FIRST) is Phase.PROMOTED
    assert "canary" not in driver.spec()


def test_abort_while_paused_on_another_stable() -> None:
    """Default was edited while a user had paused it: the pause stays, and going back is to that default."""
    driver = started()
    driver.until(lambda: 50 in driver.weights())
    driver.pause(True, FIRST)
    driver.edit(default=model(V4))
    driver.run(60)
    assert driver.phase(FIRST) is Phase.PAUSED
    driver.ask(Verb.ABORT, FIRST)
    driver.finish(FIRST)
    assert driver.phase(FIRST) is Phase.ROLLED_BACK
    assert driver.traffic() == {"default-00002": 100, "canary-00001": 0}


TWO = {
    "equally specific for one component": (fast_policy("one"), fast_policy("two")),
    "for components that share one weight": (
        fast_policy("one"),
        fast_policy("two", component=Component.TRANSFORMER),
    ),
}


@pytest.mark.parametrize("policies", TWO.values(), ids=TWO)
def test_tied_policies_start_no_rollout(policies: tuple[Policy, Policy]) -> None:
    """As in KServe: notified once for each component, nothing is written; when one is gone, it is started."""

    def both(number: int) -> dict[str, Any]:
        image = {"containers": [{"image": f"pre:{number}"}]}
        return {**model(f"gs://models/mnist/{number}"), "transformer": image}

    driver = KFServingService(*policies, scrape_seconds=2.0)
    with logs.capture() as lines:
        driver.apply()
        driver.edit(default=both(1))
        driver.run(60)
        driver.edit(canary=both(2), canaryTrafficPercent=10)
        driver.run(120)
    assert (driver.rollout_names(), driver.weights()) == ([], [])
    refusals = lines.named("rollout_refused")
    assert [each["reason"] for each in refusals] == ["PolicyTie"] * len({each.component for each in policies})
    driver.world.policies.put(fast_policy(min_requests=1.0))
    driver.finish(FIRST)
    assert driver.phase_and_reason(FIRST) == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.spec() == {"default": both(2)}


def test_both_generations_in_one_cluster() -> None:
    """Each service by the rules of its own."""
    driver = started()
    driver.deploy_stable("iris")
    driver.release(V2, 0, name="iris")
    driver.finish("iris-00002")
    driver.finish(FIRST)
    assert driver.phase("iris-00002") is Phase.PROMOTED
    assert driver.phase(FIRST) is Phase.PROMOTED
    assert driver.world.split("iris") == {"00002": 100}


def test_applies_manifest_as_users_write_it() -> None:
    """The tests above would prove little about another form."""
    assert kfserving_manifest("a", "u", canary="v", weight=10)["spec"] == {
        "default": model("u"),
        "canaryTrafficPercent": 10,
        "canary": model("v"),
    }
