"""The rules of KFServing 0.4, as its documentation and source have them, in the world in memory."""

from __future__ import annotations

from typing import Any

import pytest

from autocanary.errors import CanaryUnsupported, Refused
from autocanary.model.measurement import MetricQuery, Source
from autocanary.model.policy import Component
from autocanary.simulator.kubectl_columns import kubectl_get
from autocanary.simulator.pod_behaviour import CRASHES, ready_after_seconds
from autocanary.simulator.response_quality import Quality
from autocanary.simulator.traffic import RequestLoad
from autocanary.simulator.world import World, kfserving_manifest

NAME = "mnist"
D1, D2, C1, C2 = "default-00001", "default-00002", "canary-00001", "canary-00002"


class KFServingFixture:
    """A service whose default is up."""

    def __init__(self) -> None:
        self.world = World()
        self.world.deploy_kfserving(NAME, "v1")
        self.wait(10)

    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    def edit(self, **spec: Any) -> None:
        self.world.kserve.patch("models", NAME, {"spec": spec})

    def canary(self, uri: str = "v2", weight: int | None = 10) -> None:
        self.world.deploy_kfserving(NAME, "v1", canary=uri, weight=weight)

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.world.kserve.document("models", NAME)["status"]
        return found

    @property
    def conditions(self) -> dict[str, str]:
        return {each["type"]: each["status"] for each in self.status["conditions"]}

    def traffic(self) -> tuple[int | None, int | None]:
        return self.status.get("traffic"), self.status.get("canaryTraffic")

    def split(self) -> dict[str, int]:
        return dict(self.world.split(NAME))


def test_default_without_canary_gets_all_traffic() -> None:
    """100, no canary field, the url with the model's path, and a revision and a host by component."""
    place = KFServingFixture()
    assert place.traffic() == (100, None)
    assert place.conditions == {"DefaultPredictorReady": "True", "Ready": "True", "RoutesReady": "True"}
    assert place.status["url"] == "http://mnist.models.example.com/v1/models/mnist"
    assert place.status["default"] == {
        "predictor": {
            "name": f"{NAME}-predictor-{D1}",
            "host": f"{NAME}-predictor-default.models.example.com",
        }
    }
    assert "canary" not in place.status


def test_router_is_unchanged_while_the_canary_starts() -> None:
    """Routes and service are not ready and the split is gone from the status; the requests go on."""
    place = KFServingFixture()
    place.world.model("v2", ready_after_seconds(30.0))
    place.canary()
    place.wait(10)
    assert place.conditions["Ready"] == place.conditions["RoutesReady"] == "False"
    assert place.conditions["CanaryPredictorReady"] == "Unknown"
    assert place.traffic() == (None, None)
    assert "url" not in place.status
    assert place.split() == {D1: 100}
    place.wait(30)
    assert (place.traffic(), place.split()) == ((90, 10), {D1: 90, C1: 10})


def test_ready_condition_ignores_the_canary() -> None:
    """It is the routes that are not ready."""
    place = KFServingFixture()
    place.world.model("v2", CRASHES)
    place.canary()
    place.wait(10)
    assert place.conditions["CanaryPredictorReady"] == "False"
    assert place.conditions["DefaultPredictorReady"] == "True"
    assert place.split() == {D1: 100}


@pytest.mark.parametrize(("weight", "shown"), [(0, (100, None)), (50, (50, 50)), (100, (None, 100))])
def test_weights(weight: int, shown: tuple[int | None, int | None]) -> None:
    """Zeros are omitted, on both sides; no revision is made of a weight."""
    place = KFServingFixture()
    place.canary(weight=weight)
    place.wait(10)
    assert place.traffic() == shown
    assert place.split() == {D1: 100 - weight, C1: weight}


def test_canary_without_weight_gets_no_traffic() -> None:
    """Absent is 0 here, not 100 as in KServe."""
    place = KFServingFixture()
    place.canary(weight=None)
    place.wait(10)
    assert place.split() == {D1: 100, C1: 0}


def test_changed_canary_makes_a_new_canary_revision() -> None:
    """Until it is ready the one before it keeps the canary's share, for the router is not written."""
    place = KFServingFixture()
    place.canary()
    place.wait(10)
    place.world.model("v3", ready_after_seconds(20.0))
    place.edit(canary={"predictor": {"tensorflow": {"storageUri": "v3"}}}, canaryTrafficPercent=0)
    place.wait(10)
    assert place.status["canary"]["predictor"]["name"].endswith(C2)
    assert place.split()[C1] == 10
    place.wait(20)
    assert place.split() == {D1: 100, C2: 0}


def test_removed_canary_is_deleted() -> None:
    """Its Knative Service goes with it, so that the next one's revisions are counted from the start."""
    place = KFServingFixture()
    place.canary()
    place.wait(10)
    place.edit(canary=None, canaryTrafficPercent=None)
    place.wait(10)
    assert (place.traffic(), place.split()) == ((100, None), {D1: 100})
    assert "canary" not in place.status
    place.canary("v3")
    place.wait(10)
    assert place.split() == {D1: 90, C1: 10}


def test_a_new_default_is_built_beside_the_old_one() -> None:
    """Its name shows before it is ready; requests to default are the old revision's until then."""
    place = KFServingFixture()
    place.canary(weight=100)
    place.wait(10)
    place.world.model("v2", ready_after_seconds(20.0))
    place.edit(default={"predictor": {"tensorflow": {"storageUri": "v2"}}})
    place.wait(10)
    assert place.status["default"]["predictor"]["name"].endswith(D2)
    assert place.conditions["DefaultPredictorReady"] == "Unknown"
    assert place.split()[C1] == 100
    place.wait(20)
    assert place.conditions["Ready"] == "True"
    place.edit(canary=None, canaryTrafficPercent=None)
    place.wait(10)
    assert place.split() == {D2: 100}


def test_a_field_that_kfserving_does_not_know_makes_no_revision() -> None:
    """It is kept in the spec all the same."""
    place = KFServingFixture()
    place.edit(default={"predictor": {"x-team": "a"}})
    place.wait(10)
    assert place.split() == {D1: 100}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"canaryTrafficPercent": 10}, "Canary must be specified"),
        ({"canaryTrafficPercent": 101, "canary": {"predictor": {}}}, "between 0 and 100"),
        ({"canaryTrafficPercent": "10"}, "cannot unmarshal"),
        ({"canaryTrafficPercent": True}, "cannot unmarshal"),
    ],
)
def test_what_the_webhook_refuses(spec: dict[str, Any], said: str) -> None:
    """KFServing validates what KServe lets pass."""
    place = KFServingFixture()
    with pytest.raises(Refused, match=said):
        place.edit(**spec)
    place.edit(canaryTrafficPercent=0)


def test_field_manager_of_the_weight_is_recorded() -> None:
    """It is in the spec, not in a component."""
    place = KFServingFixture()
    place.canary()
    place.world.kserve.patch("models", NAME, {"spec": {"canaryTrafficPercent": 20}}, "argocd")
    seen = place.world.cluster.observe(place.world.key(NAME))
    assert seen is not None
    assert (seen.weight, seen.writer) == (20, "argocd")


def test_a_controller_that_is_down_changes_nothing() -> None:
    """And catches up when it is back."""
    place = KFServingFixture()
    place.world.kserve.kfserving.down = True
    place.canary()
    place.wait(10)
    assert (place.traffic(), place.split()) == ((100, None), {D1: 100})
    place.world.kserve.kfserving.down = False
    place.world.kserve.kfserving.resume()
    place.wait(10)
    assert place.split() == {D1: 90, C1: 10}


def test_recreated_service_starts_from_nothing() -> None:
    """Deleted and created again in one moment: another uid is another service."""
    place = KFServingFixture()
    place.canary()
    place.wait(10)
    place.world.kserve.delete("models", NAME)
    place.wait(1)
    assert place.split() == {}
    place.world.deploy_kfserving(NAME, "v3")
    place.wait(10)
    assert place.split() == {D1: 100}


def test_a_transformer_is_split_with_the_predictor() -> None:
    """One weight for both sides as wholes; a side is ready with all its components."""
    place = KFServingFixture()
    document = kfserving_manifest(NAME, "v1", canary="v2", weight=10)
    for side in ("default", "canary"):
        document["spec"][side]["transformer"] = {"custom": {"storageUri": f"t-{side}"}}
    place.world.kserve.apply(document, server_side=False)
    place.wait(10)
    split = place.world.kserve.split("models", NAME, Component.TRANSFORMER)
    assert split == {f"{NAME}-transformer-{D1}": 90, f"{NAME}-transformer-{C1}": 10}
    assert place.conditions["CanaryTransformerReady"] == "True"


@pytest.mark.parametrize("component", [Component.PREDICTOR, Component.TRANSFORMER])
def test_every_preset_measures_both_sides(component: Component) -> None:
    """By the revision that the status names for the component on each side; 10 % go to a slow, failing canary."""
    good = Quality(error_percent=0.0, latency_seconds=0.02, spread=0.001)
    bad = Quality(error_percent=20.0, latency_seconds=0.4, spread=0.001)
    qualities = {"v1": good, "t1": good, "v2": bad, "t2": bad}
    world = World(load=RequestLoad(200.0), qualities=qualities, scrape_seconds=1.0)
    document = kfserving_manifest(NAME, "v1", canary="v2", weight=10)
    for side, uri in (("default", "t1"), ("canary", "t2")):
        document["spec"][side]["transformer"] = {"custom": {"storageUri": uri}}
    world.kserve.apply(document, server_side=False)
    world.advance(120)
    seen = world.cluster.observe(world.key(NAME, component=component))
    assert seen is not None
    for revision, errors, (fastest, slowest), share in (
        (seen.rolled_out, 0.0, (0.01, 0.05), 0.9),
        (seen.created, 20.0, (0.25, 0.5), 0.1),
    ):
        asked = [
            MetricQuery("models", NAME, component.value, revision, seen.rolled_out, Source.KNATIVE, 60.0, metric)
            for metric in ("request-success-rate", "error-rate", "request-duration", "request-count")
        ]
        measurements = world.metrics.query(asked)
        good_percent, bad_percent, slow, count = (measurements[each].value for each in asked)
        assert good_percent == pytest.approx(100 - errors, abs=4)
        assert bad_percent == pytest.approx(errors, abs=4)
        assert slow is not None
        assert fastest <= slow <= slowest
        assert count == pytest.approx(200 * 60 * share, rel=0.2)


def test_a_kfserving_without_canaries_refuses_every_weight() -> None:
    """0.5 and 0.6, also of 0; what says nothing of a weight passes, so a canary can be taken out."""
    place = KFServingFixture()
    place.canary()
    place.wait(10)
    place.world.kserve.objects.without_canaries = True
    for weight in (0, 25):
        with pytest.raises(CanaryUnsupported, match=r"apply the service as serving\.kubeflow\.org/v1beta1"):
            place.edit(canaryTrafficPercent=weight)
    with pytest.raises(CanaryUnsupported):
        place.edit(default={"predictor": {"minReplicas": 2}})
    place.edit(canary=None, canaryTrafficPercent=None)
    place.wait(10)
    assert place.split() == {D1: 100}


def test_columns_match_kubectl() -> None:
    """Heads, widths, empty cells and ages as it prints them."""
    place = KFServingFixture()
    place.canary()
    place.wait(90)
    document = place.world.kserve.document("models", NAME)
    assert kubectl_get(document, place.world.now()) == (
        "NAME    URL                                               READY   DEFAULT TRAFFIC   CANARY TRAFFIC   AGE",
        "mnist   http://mnist.models.example.com/v1/models/mnist   True    90                10               100s",
    )
    ages = {100: "100s", 119: "119s", 120: "2m", 185: "3m5s", 599: "9m59s", 601: "10m", 4000: "66m"}
    made = place.world.now() - 100
    for seconds, age in ages.items():
        assert kubectl_get(document, made + seconds)[1].split()[-1] == age
    bare = {"metadata": {"name": "a"}}
    assert kubectl_get(bare, 0.0)[1] == "a"
