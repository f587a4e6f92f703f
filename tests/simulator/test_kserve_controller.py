"""What the recordings at rest do not show: lag, leaks on the way, cold pods, freezes, and each fault."""

from __future__ import annotations

from typing import Any

import pytest

from autocanary.errors import Busy, NotFound
from autocanary.kserve import DIALECTS
from autocanary.model.observation import ConditionStatus, Observation
from autocanary.model.policy import Component
from autocanary.simulator.cluster import KServeCluster
from autocanary.simulator.pod_behaviour import CRASHES, NEVER_READY, Behaviour, by_uri, ready_after_seconds
from autocanary.simulator.virtual_clock import VirtualClock
from autocanary.simulator.world import manifest

NS, NAME = "models", "iris"
V1, V2, V3 = (f"iris-predictor-{number:05d}" for number in (1, 2, 3))


class KServeFixture:
    """A KServe with one service whose first revision is up."""

    def __init__(self, behaviours: dict[str, Behaviour] | None = None, **options: Any) -> None:
        self.clock = VirtualClock()
        self.kserve = KServeCluster(self.clock, behaviour_of=by_uri(behaviours or {}), **options)
        self.kserve.create(manifest(NAME, "v1"))
        self.wait(30)

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def put(self, uri: str = "", **predictor: Any) -> None:
        change = dict(predictor) | ({"model": {"storageUri": uri}} if uri else {})
        self.kserve.patch(NS, NAME, {"spec": {"predictor": change}})

    def weigh(self, weight: int | None) -> None:
        self.put(canaryTrafficPercent=weight)

    @property
    def seen(self) -> Observation:
        return DIALECTS[0].observe(self.kserve.document(NS, NAME))[0]

    def split(self) -> dict[str, int]:
        return dict(self.kserve.split(NS, NAME))


def test_the_status_shows_a_patch_only_after_the_lag() -> None:
    """Until then it is the complete old one, Ready and all."""
    place = KServeFixture()
    place.put("v2", canaryTrafficPercent=0)
    place.wait(30)
    before = place.seen
    place.weigh(10)
    place.wait(0.5)
    assert (place.seen.traffic, place.seen.service_ready) == (before.traffic, ConditionStatus.TRUE)
    assert place.split() == {V2: 10, V1: 90}  # the route is faster than the status
    place.wait(0.2)
    assert place.seen.weight_in_effect(candidate=V2, stable=V1, weight=10)


def test_status_is_immediate_without_lag() -> None:
    """With a lag of 0 the status follows within the same instant."""
    place = KServeFixture(lag=0.0)
    place.put("v2", canaryTrafficPercent=0)
    place.wait(1.0)
    place.weigh(10)
    place.wait(0)
    assert place.seen.weight_in_effect(candidate=V2, stable=V1, weight=10)


def test_first_weight_shows_full_traffic_briefly() -> None:
    """Created with 10: first all to the only revision, then split over it twice."""
    clock = VirtualClock()
    kserve = KServeCluster(clock)
    kserve.create(manifest(NAME, "v1", weight=10))
    lists = set()
    for _ in range(100):
        clock.advance(0.1)
        part = kserve.document(NS, NAME).get("status", {}).get("components", {}).get("predictor", {})
        lists.add(tuple((entry["percent"], entry.get("tag")) for entry in part.get("traffic", ())))
    assert lists == {(), ((100, None),), ((10, None), (90, "prev"))}


def test_a_release_after_a_rollback_leaks_to_the_bad_revision() -> None:
    """New spec and 10 in one patch: 10 percent go to the rolled-back one until the new one is ready."""
    place = KServeFixture({"v3": ready_after_seconds(8)})
    place.put("v2", canaryTrafficPercent=10)
    place.wait(30)
    place.weigh(0)
    place.wait(30)
    place.put("v3", canaryTrafficPercent=10)
    place.wait(4)
    assert (place.seen.created, place.seen.ready) == (V3, V2)
    assert place.seen.traffic == place.split() == {V2: 10, V1: 90}
    place.wait(10)
    assert place.split() == {V3: 10, V1: 90}


def test_a_superseded_candidate_that_is_ready_first_takes_the_share() -> None:
    """It gives it to the newer one when that is ready."""
    place = KServeFixture({"v2": ready_after_seconds(4), "v3": ready_after_seconds(9)})
    place.put("v2", canaryTrafficPercent=10)
    place.wait(1.5)
    place.put("v3")
    place.wait(5)
    assert (place.seen.created, place.seen.traffic) == (V3, {V2: 10, V1: 90})
    place.wait(10)
    assert place.seen.traffic == {V3: 10, V1: 90}


def test_a_rollback_after_promotion_goes_through_a_split_over_one_revision() -> None:
    """First 10 and 90 of the promoted revision, then the old one gets its share, and is cold."""
    place = KServeFixture({"v1": ready_after_seconds(20)})
    place.wait(60)
    place.put("v2", canaryTrafficPercent=10)
    place.wait(30)
    place.weigh(100)
    place.wait(30)
    assert place.kserve.revisions(NS, NAME)[V1].warm_at is None
    place.weigh(10)
    place.wait(0.65)
    assert (place.seen.traffic, place.seen.rolled_out) == ({V2: 100}, V1)
    place.wait(1.2)
    assert place.seen.traffic == {V2: 10, V1: 90}
    warm_at = place.kserve.revisions(NS, NAME)[V1].warm_at
    assert warm_at is not None
    assert warm_at - place.clock.now() > 15


def test_a_blocked_route_applies_what_was_queued_when_the_pods_recover() -> None:
    """All pods of the canary crash: the status names it, the old split stays, and 0 follows on recovery."""
    place = KServeFixture()
    place.put("v2", canaryTrafficPercent=10)
    place.wait(30)
    place.kserve.crash(NS, NAME, V2)
    place.weigh(0)
    place.wait(60)
    assert place.split() == place.seen.traffic == {V2: 10, V1: 90}
    assert place.seen.route_ready is ConditionStatus.FALSE
    assert (place.seen.failure, place.seen.blocked_by) == ("Container failed with: model crashed", V2)
    place.kserve.recover(NS, NAME, V2)
    place.wait(1)
    assert place.seen.traffic == {V2: 0, V1: 100}
    assert (place.seen.failure, place.seen.blocked_by) == ("", "")


def test_pods_that_crash_once_and_come_back() -> None:
    """A behaviour can say when, counted from readiness; it does so once."""
    place = KServeFixture({"v2": Behaviour(ready_after=1, crashes_after=20, recovers_after=10)})
    place.put("v2", canaryTrafficPercent=10)
    states = []
    for seconds in (10, 15, 10, 120):
        place.wait(seconds)
        states.append(place.seen.route_ready)
    assert states == [ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.TRUE, ConditionStatus.TRUE]


def test_never_ready_fails_at_the_progress_deadline_only() -> None:
    """Before it everything is Unknown; a crash is declared at once."""
    place = KServeFixture({"v2": NEVER_READY, "v3": CRASHES}, progress_deadline=60)
    place.put("v2", canaryTrafficPercent=0)
    place.wait(58)
    assert (place.seen.latest_ready, place.seen.failure) == (ConditionStatus.UNKNOWN, "")
    place.wait(5)
    assert "timed out progressing" in place.seen.failure
    place.put("v3")
    place.wait(2)
    assert (place.seen.created, place.seen.failure) == (V3, "Container failed with: model failed to load")


def test_frozen_status_hides_changes() -> None:
    """The split moves, the status does not; afterwards it catches up."""
    place = KServeFixture()
    place.put("v2", canaryTrafficPercent=10)
    place.wait(30)
    place.kserve.controller.freeze((NS, NAME))
    place.weigh(50)
    place.wait(60)
    assert place.split() == {V2: 50, V1: 50}
    assert place.seen.traffic == {V2: 10, V1: 90}
    place.kserve.controller.freeze((NS, NAME), False)
    place.wait(1)
    assert place.seen.traffic == {V2: 50, V1: 50}


def test_held_ingress_shows_the_split_before_it_is_programmed() -> None:
    """traffic says 25 and the route is not ready; requests go as before."""
    place = KServeFixture()
    place.put("v2", canaryTrafficPercent=10)
    place.wait(30)
    place.kserve.hold_ingress(NS, NAME)
    place.weigh(25)
    place.wait(30)
    assert place.seen.traffic == {V2: 25, V1: 75}
    assert place.split() == {V2: 10, V1: 90}
    assert not place.seen.weight_in_effect(candidate=V2, stable=V1, weight=25)
    place.kserve.hold_ingress(NS, NAME, False)
    place.wait(1)
    assert place.seen.weight_in_effect(candidate=V2, stable=V1, weight=25)


def test_while_the_knative_controller_is_down_the_status_looks_perfect() -> None:
    """A new revision is not even made; after the start everything happens."""
    place = KServeFixture()
    place.kserve.set_knative_down()
    place.put("v2", canaryTrafficPercent=10)
    place.wait(60)
    assert (place.seen.created, place.seen.service_ready) == (V1, ConditionStatus.TRUE)
    place.kserve.set_knative_down(False)
    place.wait(10)
    assert place.seen.traffic == {V2: 10, V1: 90}


def test_while_kserve_is_down_nothing_can_be_written() -> None:
    """Its webhook answers every write; reading works; afterwards all is as before."""
    place = KServeFixture()
    place.kserve.set_kserve_down()
    with pytest.raises(Busy):
        place.weigh(10)
    assert place.seen.weight is None
    place.kserve.set_kserve_down(False)
    place.weigh(10)
    place.wait(10)
    assert place.seen.weight == 10


def test_while_knatives_webhook_is_down_a_weight_is_accepted_and_queued() -> None:
    """The reconcile fails and says so; it applies without a write when the webhook is back."""
    place = KServeFixture()
    place.put("v2", canaryTrafficPercent=10)
    place.wait(30)
    place.kserve.set_knative_webhook_down()
    place.weigh(50)
    place.wait(30)
    assert "failed calling webhook" in place.seen.reconcile_error
    assert place.seen.traffic == {V2: 10, V1: 90}
    place.kserve.set_knative_webhook_down(False)
    place.wait(1)
    assert (place.seen.reconcile_error, place.seen.traffic) == ("", {V2: 50, V1: 50})


def test_an_edit_of_the_serving_runtime_makes_a_revision_of_every_service() -> None:
    """The generation of the InferenceService does not move."""
    place = KServeFixture()
    generation = place.kserve.document(NS, NAME)["metadata"]["generation"]
    place.kserve.set_runtime_image("runtime:2")
    place.wait(30)
    assert place.seen.created == V2
    assert place.kserve.document(NS, NAME)["metadata"]["generation"] == generation


def test_delete_and_create_again() -> None:
    """The object is marked, then gone with all it owned; its namesake starts at 00001 with another uid."""
    place = KServeFixture()
    place.put("v2")
    place.wait(30)
    before = place.seen
    place.kserve.delete(NS, NAME)
    assert place.seen.deleting
    place.wait(1)
    with pytest.raises(NotFound):
        place.kserve.document(NS, NAME)
    assert place.split() == {}
    assert place.kserve.revisions(NS, NAME) == {}
    place.kserve.create(manifest(NAME, "v1"))
    place.wait(30)
    assert place.seen.uid != before.uid
    assert place.seen.created == V1


def test_recreated_service_survives_the_old_finalizer() -> None:
    """The end of a deleted object is the end of that uid only."""
    place = KServeFixture()
    place.kserve.delete(NS, NAME)
    place.kserve.objects.remove((NS, NAME))
    place.kserve.create(manifest(NAME, "v1"))
    place.wait(30)
    assert place.seen.created == V1


def test_transformer_has_its_own_revision_history() -> None:
    """Its weight does not touch the predictor's split; without it its status is gone."""
    place = KServeFixture()
    image = {"containers": [{"name": "kserve-container", "image": "t:1"}]}
    place.kserve.patch(NS, NAME, {"spec": {"transformer": image}})
    place.wait(30)
    second = {"containers": [{"name": "kserve-container", "image": "t:2"}], "canaryTrafficPercent": 20}
    place.kserve.patch(NS, NAME, {"spec": {"transformer": second}})
    place.wait(30)
    predictor, transformer = DIALECTS[0].observe(place.kserve.document(NS, NAME))
    assert transformer.traffic == {"iris-transformer-00002": 20, "iris-transformer-00001": 80}
    assert transformer.traffic == place.kserve.split(NS, NAME, Component.TRANSFORMER)
    assert predictor.traffic == {V1: 100}
    place.kserve.patch(NS, NAME, {"spec": {"transformer": None}})
    place.wait(30)
    assert "transformer" not in place.kserve.document(NS, NAME)["status"]["components"]


def test_a_gradual_rollout_shares_the_latest_entry_on_the_way() -> None:
    """Three entries; the sums by revision climb to the weight, and the route is not ready before the end."""
    place = KServeFixture()
    place.kserve.patch(NS, NAME, {"metadata": {"annotations": {"serving.knative.dev/rollout-duration": "20s"}}})
    place.wait(30)
    place.put("v2", canaryTrafficPercent=10)
    shares = []
    for _ in range(26):
        place.wait(1)
        shares.append(place.seen.traffic_percent(V2) or 0)
        assert sum(place.seen.traffic.values()) == 100
        assert place.seen.route_ready is not ConditionStatus.TRUE or shares[-1] in (0, 10)
    assert shares == sorted(shares)
    assert {1, 5, 9, 10} <= set(shares)


def test_a_service_in_raw_mode_says_so() -> None:
    """It is ready, and has no revisions."""
    place = KServeFixture()
    raw = manifest("raw", "v1")
    raw["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": "RawDeployment"}
    place.kserve.create(raw)
    place.wait(5)
    (seen,) = DIALECTS[0].observe(place.kserve.document(NS, "raw"))
    assert (seen.mode.value, seen.created, seen.service_ready) == ("Standard", "", ConditionStatus.TRUE)


def test_unknown_revision_raises_key_error() -> None:
    """Faults name what they are meant for."""
    place = KServeFixture()
    with pytest.raises(KeyError, match="models/iris has no revision nope"):
        place.kserve.crash(NS, NAME, "nope")
    assert place.kserve.revisions(NS, "nobody") == {}


def test_simulation_is_deterministic() -> None:
    """Nothing depends on chance or on the hour."""

    def run() -> list[Any]:
        place = KServeFixture({"v2": ready_after_seconds(3)})
        place.put("v2", canaryTrafficPercent=10)
        seen = []
        for _ in range(40):
            place.wait(0.25)
            seen.append(place.kserve.document(NS, NAME))
        return seen

    assert run() == run()
