"""The rules behind a real API server: what clients see there is what the recordings say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autocanary.kserve import DIALECTS
from autocanary.model.observation import Observation
from autocanary.simulator.knative_controller import KnativeService, Revision
from autocanary.simulator.world import manifest
from tests.testbed.kserve_controller import KServeControllerRunner
from tests.testbed.servers import ApiServer, install_inferenceservice_crd, require_servers, wait_until
from tests.testbed.servers.crds import Variant

pytestmark = pytest.mark.real

PATH = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices"


class ControlledApiServer:
    """A real API server with the rules behind it."""

    def __init__(self, folder: Path, variant: Variant) -> None:
        self.api = ApiServer(folder=folder)
        self._variant: Variant = variant

    def __enter__(self) -> ControlledApiServer:
        self.api.__enter__()
        install_inferenceservice_crd(self.api, self._variant)
        self.kserve = KServeControllerRunner(self.api.kubeconfig(), lag=0.3)
        self.kserve.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.kserve.__exit__(*error)
        self.api.__exit__(*error)

    def create(self, name: str, uri: str, weight: int | None = None) -> None:
        body = manifest(name, uri, namespace="default", weight=weight)
        assert self.api.request(PATH, method="POST", body=body)[0] == 201

    def patch(self, name: str, **predictor: Any) -> int:
        body = {"spec": {"predictor": predictor}}
        return self.send(name, body)

    def send(self, name: str, body: object) -> int:
        kind = "application/merge-patch+json"
        return self.api.request(f"{PATH}/{name}", method="PATCH", body=body, content_type=kind)[0]

    def seen(self, name: str) -> Observation:
        status, body = self.api.request(f"{PATH}/{name}")
        assert status == 200
        return DIALECTS[0].observe(json.loads(body))[0]

    def wait_for(self, name: str, traffic: dict[str, int]) -> Observation:
        wanted = {f"{name}-predictor-{number}": traffic_percent for number, traffic_percent in traffic.items()}
        wait_until(
            lambda: self.seen(name).traffic == wanted,
            seconds=15,
            what=f"{name} at {wanted}",
        )
        return self.seen(name)


@pytest.fixture(scope="module", params=["minimal", "full"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlledApiServer]:
    """One for each of KServe's two definitions of an InferenceService."""
    require_servers("kube-apiserver", "etcd", "kubectl")
    with ControlledApiServer(tmp_path_factory.mktemp("kserve"), request.param) as place:
        yield place


def test_a_release_by_hand(place: ControlledApiServer) -> None:
    """Stage, 10, 100, back to 0: each shows in the status subresource, as the definition lets it."""
    place.create("hand", "gs://b/v1")
    place.wait_for("hand", {"00001": 100})
    assert place.patch("hand", model={"storageUri": "gs://b/v2"}, canaryTrafficPercent=0) == 200
    staged = place.wait_for("hand", {"00002": 0, "00001": 100})
    assert (staged.rolled_out, staged.created) == ("hand-predictor-00001", "hand-predictor-00002")
    assert place.patch("hand", canaryTrafficPercent=10) == 200
    canary = place.wait_for("hand", {"00002": 10, "00001": 90})
    assert canary.weight_in_effect(candidate=canary.created, stable=canary.rolled_out, weight=10)
    assert place.patch("hand", canaryTrafficPercent=100) == 200
    promoted = place.wait_for("hand", {"00002": 100})
    assert (promoted.rolled_out, promoted.previous) == ("hand-predictor-00002", "hand-predictor-00001")
    assert place.patch("hand", canaryTrafficPercent=0) == 200
    back = place.wait_for("hand", {"00002": 0, "00001": 100})
    assert (back.rolled_out, back.previous) == ("hand-predictor-00001", "hand-predictor-00001")
    assert place.kserve.split()["default", "hand"] == {
        "hand-predictor-00002": 0,
        "hand-predictor-00001": 100,
    }
    assert place.kserve.failures == []


def test_crashing_candidate_is_reported_failed(place: ControlledApiServer) -> None:
    """The model's name says that it crashes."""
    place.create("loop", "gs://b/v1")
    place.wait_for("loop", {"00001": 100})
    place.patch("loop", model={"storageUri": "gs://b/crash2"}, canaryTrafficPercent=10)
    wait_until(lambda: place.seen("loop").failure != "", seconds=15, what="the failure")
    assert place.seen("loop").traffic == {"loop-predictor-00001": 100}


def test_pods_crash_and_recover_while_it_runs(place: ControlledApiServer) -> None:
    """A blocked rollback applies on its own when the pods are back."""
    place.create("flap", "gs://b/v1")
    place.wait_for("flap", {"00001": 100})
    place.patch("flap", model={"storageUri": "gs://b/v2"}, canaryTrafficPercent=10)
    place.wait_for("flap", {"00002": 10, "00001": 90})

    def second() -> tuple[KnativeService, Revision]:
        (child,) = place.kserve.rules.children(("default", "flap")).values()
        return child, child.revisions["flap-predictor-00002"]

    place.kserve.do(lambda rules: second()[0].pods_crash(second()[1]))
    wait_until(lambda: place.seen("flap").route_ready.value == "False", seconds=15, what="a blocked route")
    place.patch("flap", canaryTrafficPercent=0)
    wait_until(lambda: place.seen("flap").weight == 0, seconds=5, what="the weight in the spec")
    assert place.seen("flap").traffic_percent("flap-predictor-00002") == 10
    place.kserve.do(lambda rules: second()[0].pods_ready(second()[1], rules.now()))
    place.wait_for("flap", {"00002": 0, "00001": 100})


def test_recreated_service_starts_without_history(place: ControlledApiServer) -> None:
    """Deleted and created again: other uid, first revision, no trace of the old status."""
    place.create("again", "gs://b/v1")
    place.wait_for("again", {"00001": 100})
    place.patch("again", model={"storageUri": "gs://b/v2"})
    old = place.wait_for("again", {"00002": 100})
    assert place.api.request(f"{PATH}/again", method="DELETE")[0] == 200
    place.create("again", "gs://b/v3")
    new = place.wait_for("again", {"00001": 100})
    assert new.uid != old.uid
    assert (new.previous, new.created) == ("", "again-predictor-00001")


def test_the_patches_of_the_dialect_are_compare_and_set_here_too(place: ControlledApiServer) -> None:
    """A stale version is a 409, a foreign uid is refused, and the right ones are written."""
    place.create("guard", "gs://b/v1")
    seen = place.wait_for("guard", {"00001": 100})
    patch = DIALECTS[0].weight_patch(seen, 10)
    assert place.send("guard", {**patch, "metadata": {"resourceVersion": "1", "uid": seen.uid}}) == 409
    assert place.send("guard", {**patch, "metadata": {"uid": "not-this-one"}}) == 422
    wait_until(
        lambda: place.send("guard", DIALECTS[0].weight_patch(place.seen("guard"), 10)) == 200,
        seconds=10,
        what="a write between two status writes",
    )
    assert place.seen("guard").weight == 10
