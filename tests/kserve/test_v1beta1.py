"""InferenceService documents, as the real KServe 0.20 wrote them, become observations and patches."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from autocanary.kserve import merge_patch
from autocanary.kserve.v1beta1 import V1Beta1, spec_digest
from autocanary.model.observation import ConditionStatus, DeploymentMode, Observation, ServiceKey
from autocanary.model.policy import Component

RECORDED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "data" / "recorded_documents.json").read_text()
)
DIALECT = V1Beta1()


def recorded(name: str) -> Observation:
    (observation,) = DIALECT.observe(RECORDED[name])
    return observation


def document(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "iris", "namespace": "models", "uid": "u1", "resourceVersion": "7"},
        "spec": {"predictor": {"model": {"storageUri": "gs://b/v1"}} | spec},
    }


def one(raw: dict[str, Any]) -> Observation:
    (observation,) = DIALECT.observe(raw)
    return observation


def test_a_canary_at_ten_percent() -> None:
    """A finalized canary gives the split by revision, KServe's four names and three ready signs."""
    observation = recorded("canary-at-10")
    stable, canary = "ms02-predictor-00001", "ms02-predictor-00002"
    assert observation.key == ServiceKey("s02", "ms02", Component.PREDICTOR)
    assert observation.traffic == {canary: 10, stable: 90}
    assert (observation.rolled_out, observation.previous, observation.ready, observation.created) == (
        stable,
        "",
        canary,
        canary,
    )
    assert (observation.route_ready, observation.service_ready, observation.latest_ready) == (ConditionStatus.TRUE,) * 3
    assert (observation.weight, observation.mode, observation.failure, observation.reconcile_error) == (
        10,
        DeploymentMode.KNATIVE,
        "",
        "",
    )
    assert observation.weight_in_effect(candidate=canary, stable=stable, weight=10)


def test_the_latest_entry_is_not_the_canary_while_it_is_unready() -> None:
    """Before the candidate is ready both entries name stable, so it is summed to all of the traffic."""
    observation = recorded("candidate-not-ready")
    assert observation.traffic == {"ms02-predictor-00001": 100}
    assert observation.traffic_percent("ms02-predictor-00002") == 0
    assert observation.latest_ready is ConditionStatus.UNKNOWN
    assert observation.failure == ""


def test_a_rolled_back_canary_stays_on_the_list_with_nothing() -> None:
    """Weight 0 leaves an entry of 0 percent, which is in effect."""
    observation = recorded("rolled-back")
    assert observation.weight == 0
    assert observation.traffic == {"ms04-predictor-00002": 0, "ms04-predictor-00001": 100}


@pytest.mark.parametrize(
    ("name", "words"),
    [("candidate-failed", "Container failed with"), ("candidate-timed-out", "timed out progressing")],
)
def test_a_candidate_that_cannot_become_ready_is_named_with_the_reason(name: str, words: str) -> None:
    """Knative's message is passed on once the Configuration says that its newest revision failed."""
    observation = recorded(name)
    assert words in observation.failure
    assert not observation.failure.startswith("Revision")
    assert observation.latest_ready is ConditionStatus.FALSE


def test_a_canary_that_crashed_after_it_was_ready_is_named_with_the_reason() -> None:
    """Its configuration says why, and the route names it as what blocks the split."""
    observation = recorded("canary-crashed-after-ready")
    assert observation.failure == "Container failed with: FAKE: model failed to load"
    assert observation.blocked_by == observation.created == observation.ready
    assert observation.route_failure == f'Revision "{observation.created}" failed to become ready.'
    assert (observation.latest_ready, observation.route_ready) == (ConditionStatus.FALSE, ConditionStatus.FALSE)


def test_a_stable_revision_that_failed_is_named_by_the_route() -> None:
    """With and without a name in the message: the newest revision's configuration is ready, so it is stable."""
    document = copy.deepcopy(RECORDED["canary-crashed-after-ready"])
    for row in document["status"]["conditions"]:
        if row["type"] == "PredictorConfigurationReady":
            row.update(status="True", reason="", message="")
        if row["type"] == "PredictorRouteReady":
            row["message"] = row["message"].replace("00002", "00001")
    (observation,) = DIALECT.observe(document)
    assert (observation.failure, observation.blocked_by) == ("", observation.rolled_out)
    for row in document["status"]["conditions"]:
        if row["type"] == "PredictorRouteReady":
            row["message"] = "targets are missing"
    (observation,) = DIALECT.observe(document)
    assert observation.blocked_by == observation.rolled_out


def test_a_refused_revision_and_an_old_failure_do_not_fail_the_candidate() -> None:
    """The condition is about the revision that could not be created; lastFailureInfo is never cleared."""
    for name in ("grand-previous", "recovered-failure-not-cleared"):
        assert (recorded(name).failure, recorded(name).blocked_by) == ("", "")
    assert recorded("recovered-failure-not-cleared").latest_ready is ConditionStatus.TRUE


def test_wrong_stable_shows_in_rolled_out_revision() -> None:
    """KServe's fall-back to the revision before stable is seen by the rolled-out name."""
    observation = recorded("grand-previous")
    assert (observation.rolled_out, observation.previous) == (
        "ms28b-predictor-00001",
        "ms28b-predictor-00001",
    )
    assert observation.traffic == {"ms28b-predictor-00002": 0, "ms28b-predictor-00001": 100}


def test_a_blocked_route_shows_its_old_split() -> None:
    """With stable crashed the spec says 0, the traffic still 10 and the route is not ready."""
    observation = recorded("stable-crashed")
    assert (observation.weight, observation.traffic_percent("ms20-predictor-00002")) == (0, 10)
    assert observation.route_ready is ConditionStatus.FALSE


def test_a_weight_that_kserve_cannot_use_is_a_reconcile_error() -> None:
    """101 is accepted by the API server; the message of KServe's failing reconcile is passed on."""
    observation = recorded("weight-101")
    assert observation.weight == 101
    assert "expected 0 <= 101 <= 100" in observation.reconcile_error
    assert observation.traffic_percent("ms13-predictor-00002") == 12


def test_a_gradual_rollout_is_summed_by_revision() -> None:
    """Three entries, two of stable: 7 + 90 and 3."""
    observation = recorded("gradual-rollout")
    assert observation.traffic == {"ms15-predictor-00001": 97, "ms15-predictor-00002": 3}
    assert observation.route_ready is ConditionStatus.UNKNOWN


def test_traffic_before_the_ingress_is_programmed_is_not_in_effect() -> None:
    """The list already shows 25, but the route is not ready."""
    observation = recorded("ingress-held")
    assert observation.traffic_percent("ms22-predictor-00002") == 25
    assert not observation.weight_in_effect(candidate="ms22-predictor-00002", stable="ms22-predictor-00001", weight=25)


def test_a_stopped_service() -> None:
    """The annotation stops it, and the status is wiped."""
    observation = recorded("stopped")
    assert observation.stopped
    assert (observation.traffic, observation.created, observation.rolled_out) == ({}, "", "")
    assert observation.service_ready is ConditionStatus.FALSE


def test_a_service_in_its_first_seconds() -> None:
    """Without components in the status nothing is known but the mode."""
    observation = recorded("new-service-first-seconds")
    assert (observation.created, observation.ready, observation.traffic) == ("", "", {})
    assert observation.traffic_percent("anything") is None
    assert (observation.mode, observation.route_ready) == (DeploymentMode.KNATIVE, ConditionStatus.UNKNOWN)


def test_no_status_at_all() -> None:
    """A document just created, before KServe has seen it, gives unknowns and no exception."""
    observation = one(document())
    assert (observation.mode, observation.weight, observation.traffic) == (DeploymentMode.UNKNOWN, None, {})
    assert (observation.route_ready, observation.service_ready, observation.latest_ready) == (
        ConditionStatus.UNKNOWN,
    ) * 3
    assert (observation.labels, observation.writer, observation.deleting, observation.stopped) == (
        {},
        "",
        False,
        False,
    )


@pytest.mark.parametrize("spec", [{}, {"predictor": None}, {"predictor": "text"}, None])
def test_a_document_without_components_gives_nothing(spec: Any) -> None:
    """The minimal CRD lets any spec pass; one without a component is not ours."""
    assert DIALECT.observe({**document(), "spec": spec}) == ()


def test_a_malformed_status_is_read_as_unknown() -> None:
    """The minimal CRD lets any status pass too."""
    raw = document() | {
        "status": {
            "conditions": ["x", {"status": "True"}, {"type": "Ready", "status": "Perhaps"}],
            "components": {"predictor": {"traffic": ["x", {"percent": 5}, {"revisionName": "a"}]}},
        }
    }
    observation = one(raw)
    assert observation.traffic == {"a": 0}
    assert observation.service_ready is ConditionStatus.UNKNOWN
    assert one(document() | {"status": {"components": {"predictor": "x"}}}).traffic == {}


def test_each_component_has_its_own_bookkeeping() -> None:
    """A transformer is observed beside the predictor, with its own weight, names and conditions."""
    raw = document(canaryTrafficPercent=10)
    raw["spec"]["transformer"] = {"containers": [{"image": "t:2"}], "canaryTrafficPercent": 20}
    raw["status"] = {
        "deploymentMode": "Serverless",
        "components": {
            "predictor": {"latestCreatedRevision": "p-2", "latestReadyRevision": "p-2"},
            "transformer": {"latestCreatedRevision": "t-2", "latestReadyRevision": "t-1"},
        },
        "conditions": [
            {"type": "PredictorConfigurationReady", "status": "True"},
            {"type": "TransformerConfigurationReady", "status": "False", "reason": "RevisionFailed"},
            {"type": "LatestDeploymentReady", "status": "False", "reason": "TransformerConfigurationReady"},
            {"type": "PredictorRouteReady", "status": "True"},
            {"type": "TransformerRouteReady", "status": "Unknown"},
        ],
    }
    predictor, transformer = DIALECT.observe(raw)
    assert (predictor.weight, transformer.weight) == (10, 20)
    assert (predictor.latest_ready, transformer.latest_ready) == (ConditionStatus.TRUE, ConditionStatus.FALSE)
    assert (predictor.route_ready, transformer.route_ready) == (ConditionStatus.TRUE, ConditionStatus.UNKNOWN)
    assert predictor.failure == ""
    assert transformer.failure == "RevisionFailed"
    assert transformer.key.component is Component.TRANSFORMER


def test_latest_deployment_ready_stands_in_for_a_missing_configuration_condition() -> None:
    """Without the component's own condition the aggregate is believed, even without words."""
    raw = document()
    raw["status"] = {
        "components": {"predictor": {"latestCreatedRevision": "p-2", "latestReadyRevision": "p-1"}},
        "conditions": [{"type": "LatestDeploymentReady", "status": "False"}],
    }
    assert one(raw).failure == "KServe says that it failed and gives no reason"
    raw["status"]["conditions"][0]["message"] = 'Revision "p-2" failed with message: .'
    assert one(raw).failure == "KServe says that it failed and gives no reason"


@pytest.mark.parametrize(
    ("status", "annotation", "mode"),
    [
        ("Knative", None, DeploymentMode.KNATIVE),
        ("Serverless", None, DeploymentMode.KNATIVE),
        ("Standard", None, DeploymentMode.STANDARD),
        ("RawDeployment", "Serverless", DeploymentMode.STANDARD),
        ("ModelMesh", None, DeploymentMode.MODELMESH),
        (None, "RawDeployment", DeploymentMode.STANDARD),
        (None, "modelmesh", DeploymentMode.MODELMESH),
        ("Something", "Serverless", DeploymentMode.KNATIVE),
        ("Something", None, DeploymentMode.UNKNOWN),
        (None, None, DeploymentMode.UNKNOWN),
    ],
)
def test_the_deployment_mode(status: str | None, annotation: str | None, mode: DeploymentMode) -> None:
    """The status wins over the annotation, and legacy names mean what they always meant."""
    raw = document() | {"status": {"deploymentMode": status}}
    if annotation:
        raw["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": annotation}
    assert one(raw).mode is mode


def test_a_knative_revision_proves_the_mode_of_an_old_kserve() -> None:
    """KServe before 0.15 says no mode; a revision name in the status says it."""
    raw = document() | {"status": {"components": {"predictor": {"latestCreatedRevision": "iris-1"}}}}
    assert one(raw).mode is DeploymentMode.KNATIVE


@pytest.mark.parametrize(("written", "weight"), [(0, 0), (10.0, 10), (100, 100), (None, None), (-1, -1)])
def test_weights_that_are_whole_numbers(written: Any, weight: int | None) -> None:
    """10.0 is accepted by KServe as 10; 0 is not absent."""
    observation = one(document(canaryTrafficPercent=written))
    assert (observation.weight, observation.reconcile_error) == (weight, "")


@pytest.mark.parametrize("written", ["10", 10.5, True, float("nan"), float("inf"), [10], {"a": 1}])
def test_weights_that_are_not_whole_numbers(written: Any) -> None:
    """They are no weight, and the reason is said in words."""
    observation = one(document(canaryTrafficPercent=written))
    assert observation.weight is None
    assert "must be a whole number from 0 to 100" in observation.reconcile_error


def test_marks_on_the_object() -> None:
    """Annotations and a deletion timestamp are read from the metadata."""
    raw = document()
    raw["metadata"] |= {
        "annotations": {"serving.kserve.io/disable-auto-update": "true", "serving.kserve.io/stop": "True"},
        "deletionTimestamp": "2026-11-22T10:09:56Z",
        "labels": {"tier": "prod"},
    }
    observation = one(raw)
    assert (observation.auto_update_disabled, observation.stopped, observation.deleting) == (True, True, True)
    assert observation.labels == {"tier": "prod"}
    raw["metadata"] |= {"annotations": {"serving.kserve.io/stop": "false"}, "deletionTimestamp": None}
    assert (one(raw).stopped, one(raw).deleting) == (False, False)


def entry(manager: str, time: str, fields: dict[str, Any], subresource: str = "") -> dict[str, Any]:
    return {"manager": manager, "time": time, "fieldsV1": fields} | (
        {"subresource": subresource} if subresource else {}
    )


WEIGHT_FIELDS: dict[str, Any] = {"f:spec": {"f:predictor": {"f:canaryTrafficPercent": {}}}}


def test_the_writer_of_the_weight_is_its_newest_owner() -> None:
    """Owners of other fields and status writers are not asked."""
    raw = document(canaryTrafficPercent=10)
    raw["metadata"]["managedFields"] = [
        entry("helm", "2026-01-01T00:00:00Z", WEIGHT_FIELDS),
        entry("argocd", "2026-01-03T00:00:00Z", WEIGHT_FIELDS),
        entry("kubectl", "2026-01-04T00:00:00Z", {"f:spec": {"f:predictor": {"f:model": {}}}}),
        entry("kubectl", "2026-01-04T00:00:00Z", {"f:metadata": {}}),
        entry("manager", "2026-01-05T00:00:00Z", WEIGHT_FIELDS, "status"),
    ]
    assert one(raw).writer == "argocd"


def test_the_writer_on_the_minimal_crd_owns_the_atomic_spec() -> None:
    """There the spec is one field; who wrote any of it wrote all of it."""
    raw = document(canaryTrafficPercent=10)
    raw["metadata"]["managedFields"] = [
        entry("autocanary", "2026-01-01T00:00:00Z", {"f:spec": {}}),
        entry("flux", "2026-01-02T00:00:00Z", {"f:spec": {}}),
    ]
    assert one(raw).writer == "flux"


def test_weight_without_owner_has_no_manager() -> None:
    """After the field has been removed, or without managedFields, the writer is unknown."""
    raw = document()
    assert one(raw).writer == ""
    raw["metadata"]["managedFields"] = [entry("kubectl", "x", {"f:spec": {"f:transformer": {}}}), {}]
    assert one(raw).writer == ""


def test_the_digest_ignores_the_weight_and_the_order_of_keys() -> None:
    """The weight is not part of what a revision is made of."""
    plain = spec_digest({"a": 1, "b": {"c": 2, "d": 3}})
    assert plain == spec_digest({"b": {"d": 3, "c": 2}, "a": 1, "canaryTrafficPercent": 5})
    assert plain != spec_digest({"a": 1, "b": {"c": 2, "d": 4}})
    assert len(plain) == 16
    assert one(document(canaryTrafficPercent=5)).spec_digest == one(document()).spec_digest
    assert "canaryTrafficPercent" not in one(document(canaryTrafficPercent=5)).spec


def test_a_weight_patch_is_compare_and_set() -> None:
    """Nothing but the weight is written, guarded by version and uid."""
    observation = one(document())
    assert DIALECT.weight_patch(observation, 25) == {
        "metadata": {"resourceVersion": "7", "uid": "u1"},
        "spec": {"predictor": {"canaryTrafficPercent": 25}},
    }


@pytest.mark.parametrize("weight", [-1, 101])
def test_weights_outside_the_range_are_never_written(weight: int) -> None:
    """The API server would say 200 and KServe would stop reconciling."""
    observation = one(document())
    with pytest.raises(ValueError, match=r"models/iris: weight .* outside 0\.\.100"):
        DIALECT.weight_patch(observation, weight)
    with pytest.raises(ValueError, match="outside"):
        DIALECT.restore_patch(observation, {}, weight)


@pytest.mark.parametrize(("weight", "field"), [(0, {"canaryTrafficPercent": 0}), (None, {})])
def test_a_restore_patch_brings_the_spec_back(weight: int | None, field: dict[str, int]) -> None:
    """Applied to the live object it gives the recorded spec, with or without the weight."""
    stable = {"model": {"storageUri": "gs://b/v1", "runtime": "a"}, "minReplicas": 1}
    live = document(canaryTrafficPercent=10, extra={"x": 1})
    patch = DIALECT.restore_patch(one(live), stable | {"canaryTrafficPercent": 99}, weight)
    assert patch["metadata"] == {"resourceVersion": "7", "uid": "u1"}
    after = merge_patch.apply(live, patch)
    assert after["spec"]["predictor"] == stable | field
    assert patch["spec"]["predictor"]["extra"] is None
    assert "storageUri" not in patch["spec"]["predictor"]["model"]


@pytest.mark.parametrize(
    ("observed", "generation", "behind"),
    [(3, 4, True), (4, 4, False), (5, 4, False), (None, 4, False), ("3", 4, False)],
)
def test_a_status_that_was_made_from_an_older_spec(observed: Any, generation: int, behind: bool) -> None:
    """Only two numbers can show it."""
    raw = document()
    raw["metadata"]["generation"] = generation
    raw["status"] = {"observedGeneration": observed}
    assert one(raw).is_status_behind is behind
