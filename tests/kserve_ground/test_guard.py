"""The guard with KServe's real defaulting webhook behind it, and real revisions: who gets traffic, and when."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chart.chart import CHART, PROMETHEUS, helm
from tests.kserve_ground.cluster import KServeCluster
from tests.testbed import setup
from tests.testbed.servers import ApiServer, require_servers, wait_until

pytestmark = [
    pytest.mark.real,
    pytest.mark.kserve,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (CHART / "templates/guard.yaml").exists(), reason="this chart has no guard"),
]

GATE = (
    "--feature-gates=MutatingAdmissionPolicy=true",
    "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
)
Spec = dict[str, Any]


class Guarded:
    """One cluster with the chart's guard over the namespace `models`."""

    def __init__(self, api: ApiServer, cluster: KServeCluster) -> None:
        self._api, self._cluster = api, cluster

    def apply(self, name: str, predictor: Spec, *flags: str) -> Spec:
        """``kubectl apply`` of the owner's manifest; the object as it is stored."""
        document = {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": name, "namespace": "models"},
            "spec": {"predictor": {"minReplicas": 1, **predictor}},
        }
        found: Spec = json.loads(
            self._api.kubectl("apply", "-o", "json", *flags, "-f", "-", stdin=json.dumps(document))
        )
        return found

    def predictor(self, name: str) -> Spec:
        found: Spec = json.loads(self._api.kubectl("-n", "models", "get", "inferenceservice", name, "-o", "json"))
        return dict(found["spec"]["predictor"])

    def shares(self, name: str) -> dict[str, int]:
        """Percent by number of the revision, as the Ingress object has it."""
        routed = self._cluster.split().get(("models", name), {})
        return {revision[-5:]: percent for revision, percent in routed.items() if percent}

    def serve(self, name: str, predictor: Spec) -> None:
        self.apply(name, predictor)
        wait_until(lambda: self.shares(name) == {"00001": 100}, seconds=60, what=f"{name} to serve")
        wait_until(lambda: self.stable(name) != "", seconds=60, what=f"{name} to be rolled out")

    def stable(self, name: str) -> str:
        found = json.loads(self._api.kubectl("-n", "models", "get", "inferenceservice", name, "-o", "json"))
        components = (found.get("status") or {}).get("components") or {}
        return str((components.get("predictor") or {}).get("latestRolledoutRevision", ""))

    def reason(self, name: str) -> str:
        """Why the predictor is not ready, as KServe says it; "" while it is."""
        found = json.loads(self._api.kubectl("-n", "models", "get", "inferenceservice", name, "-o", "json"))
        conditions = (found.get("status") or {}).get("conditions") or ()
        ready = next((each for each in conditions if each["type"] == "PredictorReady"), {"status": ""})
        return "" if ready["status"] == "True" else str(ready.get("message", ready["status"]))

    def created(self, name: str) -> str:
        found = json.loads(self._api.kubectl("-n", "models", "get", "inferenceservice", name, "-o", "json"))
        return str(found["status"]["components"]["predictor"]["latestReadyRevision"])[-5:]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    require_servers(*(server.name for server in setup.SERVERS), *setup.CONTROLLERS, "helm")
    folder: Path = tmp_path_factory.mktemp("guard")
    with ApiServer(folder=folder / "api", flags=GATE) as api, KServeCluster(api, folder) as cluster:
        for name in ("models", "auto"):
            api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        words = ("template", "autocanary", str(CHART), "--namespace", "auto", "--show-only", "templates/guard.yaml")
        versions = ("--api-versions", "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy")
        values = {**PROMETHEUS, "guard": {"enabled": True, "namespaces": ["models"]}}
        rendered = helm(*words, *versions, given=values)
        api.kubectl("apply", "-f", "-", stdin=rendered.stdout)
        made = Guarded(api, cluster)
        made.serve("probe", MODELS["model"][0])

        def holds() -> bool:
            again = made.apply("probe", MODELS["model"][1], "--dry-run=server")
            return bool(again["spec"]["predictor"].get("canaryTrafficPercent") == 0)

        wait_until(holds, seconds=60, what="the guard to hold", every=0.5)
        yield made


def _uri(version: int) -> str:
    return f"gs://models/mnist/v{version}"


def _container(version: int) -> Spec:
    return {"containers": [{"name": "kserve-container", "image": f"dev.local/model:{version}"}]}


MODELS: dict[str, tuple[Spec, Spec]] = {
    "model": (
        {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": _uri(1)}},
        {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": _uri(2)}},
    ),
    "sklearn": ({"sklearn": {"storageUri": _uri(1)}}, {"sklearn": {"storageUri": _uri(2)}}),
    "containers": (_container(1), _container(2)),
}


@pytest.mark.parametrize("form", MODELS)
def test_a_release_without_a_weight_gets_no_request(guarded: Guarded, form: str) -> None:
    """Whatever form the owner writes and KServe's webhook makes of it: ready, and 0 % from the first moment."""
    before, after = MODELS[form]
    guarded.serve(form, before)
    assert "canaryTrafficPercent" not in guarded.predictor(form)
    assert guarded.apply(form, after)["spec"]["predictor"]["canaryTrafficPercent"] == 0
    wait_until(lambda: guarded.created(form) == "00002", seconds=60, what="the second revision to be ready")
    until = time.monotonic() + 8
    while time.monotonic() < until:
        assert guarded.shares(form) == {"00001": 100}
        time.sleep(0.1)


@pytest.mark.parametrize("form", MODELS)
def test_the_same_manifest_again_is_no_release(guarded: Guarded, form: str) -> None:
    """A 0 without a new revision would give everything to the revision before: KServe's own defaults do not count."""
    name = f"{form}-again"
    guarded.serve(name, MODELS[form][0])
    for _ in range(2):
        assert "canaryTrafficPercent" not in guarded.apply(name, MODELS[form][0])["spec"]["predictor"]
    assert guarded.shares(name) == {"00001": 100}


def test_kserve_stores_items_of_env_in_its_own_form(guarded: Guarded) -> None:
    """So a manifest's item is never equal to the stored one, and the guard may not compare whole items."""
    source: Spec = {"resourceFieldRef": {"resource": "limits.cpu"}}
    model = {**MODELS["model"][0]["model"], "env": [{"name": "CPU", "valueFrom": source}]}
    stored = guarded.apply("own-form", {"model": model})["spec"]["predictor"]["model"]["env"]
    assert stored == [{"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0"}}}]


def test_another_tag_under_a_runtime_version_is_no_release(guarded: Guarded) -> None:
    """KServe writes the version over the tag: no revision is made, and a 0 would have nothing to hold."""
    model = {**MODELS["model"][0]["model"], "runtimeVersion": "v5"}
    guarded.serve("tag", {"model": {**model, "image": "dev.local/server:1"}})
    after = guarded.apply("tag", {"model": {**model, "image": "dev.local/server:2"}})
    assert "canaryTrafficPercent" not in after["spec"]["predictor"]
    time.sleep(5)
    assert guarded.created("tag") == "00001"


def test_a_manifest_that_drops_the_weight_leaves_the_candidate_where_it_is(guarded: Guarded) -> None:
    """Rolled back to 0, and Git has no weight any more: KServe would promote it within two seconds."""
    before, after = MODELS["model"]
    guarded.serve("dropped", before)
    guarded.apply("dropped", {**after, "canaryTrafficPercent": 0})
    wait_until(lambda: guarded.created("dropped") == "00002", seconds=60, what="the second revision to be ready")
    assert guarded.apply("dropped", after)["spec"]["predictor"]["canaryTrafficPercent"] == 0
    time.sleep(5)
    assert guarded.shares("dropped") == {"00001": 100}


def test_a_spec_that_knative_refuses_moves_no_traffic(guarded: Guarded) -> None:
    """The 0 is in the spec and no revision was made: the way back is the manifest before, with 100."""
    first, second = MODELS["model"]
    guarded.serve("refused", first)
    guarded.apply("refused", {**second, "canaryTrafficPercent": 100})
    wait_until(lambda: guarded.shares("refused") == {"00002": 100}, seconds=60, what="the second revision")
    wait_until(lambda: guarded.stable("refused").endswith("00002"), seconds=60, what="it to be stable")
    third = {"model": {**second["model"], "storageUri": _uri(3)}, "timeout": 100_000}
    assert guarded.apply("refused", third)["spec"]["predictor"]["canaryTrafficPercent"] == 0
    wait_until(lambda: "timeoutSeconds" in guarded.reason("refused"), seconds=60, what="KServe to say why")
    assert guarded.shares("refused") == {"00002": 100}
    guarded.apply("refused", {**second, "canaryTrafficPercent": 100})
    wait_until(lambda: guarded.reason("refused") == "", seconds=60, what="the service to be as before")
    assert guarded.shares("refused") == {"00002": 100}
    assert guarded.created("refused") == "00002"
