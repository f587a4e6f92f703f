"""KFServing's v1alpha2: documents with default and canary become observations, and decisions patches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autocanary.kserve import merge_patch
from autocanary.kserve.v1alpha2 import V1Alpha2
from autocanary.model.observation import (
    ConditionStatus,
    DeploymentMode,
    Observation,
    PromotionPending,
    ServiceKey,
)
from autocanary.model.policy import Component

DIALECT = V1Alpha2()
STABLE, CANARY = "mnist-predictor-default-x7zcl", "mnist-predictor-canary-mswmr"
CONDITIONS = ("DefaultPredictorReady", "CanaryPredictorReady", "RoutesReady", "Ready")


def model(uri: str) -> dict[str, Any]:
    return {"predictor": {"tensorflow": {"storageUri": uri}}}


def conditions(**said: Any) -> list[dict[str, Any]]:
    """All true but these: a status, or a status and a message."""
    rows = []
    for kind in dict.fromkeys((*CONDITIONS, *said)):
        state = said.get(kind, "True")
        row, message = state if isinstance(state, tuple) else (state, "")
        if row:
            rows.append({"type": kind, "status": row} | ({"message": message} if message else {}))
    return rows


def document(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A canary at 10 %, in effect."""
    fields = {
        "default": {"predictor": {"name": STABLE, "host": "mnist-predictor-default.ml.example.com"}},
        "canary": {"predictor": {"name": CANARY, "host": "mnist-predictor-canary.ml.example.com"}},
        "traffic": 90,
        "canaryTraffic": 10,
        "conditions": conditions(),
        **(status or {}),
    }
    wanted = {"default": model("pvc://m/1"), "canary": model("pvc://m/2"), "canaryTrafficPercent": 10, **spec}
    return {
        "apiVersion": "serving.kubeflow.org/v1alpha2",
        "kind": "InferenceService",
        "metadata": {"name": "mnist", "namespace": "ml", "uid": "u1", "resourceVersion": "7"},
        "spec": {name: value for name, value in wanted.items() if value is not None},
        "status": {name: value for name, value in fields.items() if value is not None},
    }


def at_rest(**status: Any) -> dict[str, Any]:
    gone = {"canary": None, "canaryTraffic": None, "traffic": 100}
    without = [each for each in conditions() if not each["type"].startswith("Canary")]
    return document({**gone, "conditions": without, **status}, canary=None, canaryTrafficPercent=None)


def one(raw: dict[str, Any]) -> Observation:
    (observation,) = DIALECT.observe(raw)
    return observation


def test_a_canary_at_ten_percent() -> None:
    """The two numbers become shares of the two sides' revisions."""
    observation = one(document())
    assert observation.key == ServiceKey("ml", "mnist", Component.PREDICTOR)
    assert observation.traffic == {STABLE: 90, CANARY: 10}
    assert (observation.rolled_out, observation.previous, observation.ready, observation.created) == (
        STABLE,
        "",
        CANARY,
        CANARY,
    )
    assert (observation.weight, observation.mode, observation.failure, observation.reconcile_error) == (
        10,
        DeploymentMode.KNATIVE,
        "",
        "",
    )
    assert (observation.route_ready, observation.service_ready, observation.latest_ready) == (ConditionStatus.TRUE,) * 3
    assert observation.spec == model("pvc://m/2")
    assert observation.default_endpoint is not None
    assert (
        observation.default_endpoint.spec,
        observation.default_endpoint.ready,
        observation.default_endpoint.has_candidate,
    ) == (
        model("pvc://m/1"),
        ConditionStatus.TRUE,
        True,
    )
    assert observation.weight_in_effect(candidate=CANARY, stable=STABLE, weight=10)
    assert not observation.candidate_removed


def test_a_service_without_a_canary() -> None:
    """Default is the newest and has everything; there is nothing to weigh."""
    observation = one(at_rest())
    assert (observation.rolled_out, observation.ready, observation.created) == (STABLE, STABLE, STABLE)
    assert (
        observation.weight,
        observation.traffic,
        observation.candidate_removed,
        observation.promotion_pending,
    ) == (None, {STABLE: 100}, True, None)
    assert observation.default_endpoint is not None
    assert observation.spec_digest == observation.default_endpoint.digest


def test_a_canary_without_a_status_yet() -> None:
    """Just applied: default is still the newest revision, and the canary's weight is seen."""
    observation = one(document({"canary": None, "canaryTraffic": None, "traffic": 100}))
    assert (observation.created, observation.weight, observation.candidate_removed) == (STABLE, 10, False)
    assert observation.traffic == {STABLE: 100}


@pytest.mark.parametrize("written", [None, 0])
def test_absent_weight_is_0(written: int | None) -> None:
    """``omitempty`` drops a 0 from spec and status."""
    raw = document({"traffic": 100, "canaryTraffic": None}, canaryTrafficPercent=written)
    observation = one(raw)
    assert observation.weight == 0
    assert observation.traffic == {STABLE: 100, CANARY: 0}
    assert observation.weight_in_effect(candidate=CANARY, stable=STABLE, weight=0)


def test_all_traffic_on_the_canary() -> None:
    """There the other number is the one that is dropped."""
    observation = one(document({"traffic": None, "canaryTraffic": 100}, canaryTrafficPercent=100))
    assert observation.traffic == {STABLE: 0, CANARY: 100}
    assert observation.weight_in_effect(candidate=CANARY, stable=STABLE, weight=100)
    assert observation.promotion_pending is PromotionPending.ADOPT


def test_unready_router_has_no_traffic() -> None:
    """While a side is not ready both numbers are gone: that is no split of 0 and 0."""
    raw = document(
        {
            "traffic": None,
            "canaryTraffic": None,
            "conditions": conditions(CanaryPredictorReady="Unknown", RoutesReady="False", Ready="False"),
        }
    )
    observation = one(raw)
    assert (observation.traffic, observation.traffic_percent(CANARY), observation.ready) == ({}, None, STABLE)
    assert (observation.route_ready, observation.latest_ready, observation.failure) == (
        ConditionStatus.FALSE,
        ConditionStatus.UNKNOWN,
        "",
    )


def test_a_canary_that_fails_says_why() -> None:
    """Ready of the service knows nothing of it, so the side's own condition is asked."""
    raw = document({"conditions": conditions(CanaryPredictorReady=("False", "Container failed with: no model."))})
    observation = one(raw)
    assert observation.failure == "Container failed with: no model"
    assert (observation.latest_ready, observation.service_ready) == (
        ConditionStatus.FALSE,
        ConditionStatus.TRUE,
    )
    wordless = one(document({"conditions": conditions(CanaryPredictorReady="False")}))
    assert "gives no reason" in wordless.failure


def test_a_default_that_fails_says_why() -> None:
    """Of stable, apart from the candidate's."""
    raw = document({"conditions": conditions(DefaultPredictorReady=("False", "no GPU"))})
    observation = one(raw)
    assert observation.default_endpoint is not None
    assert (
        observation.default_endpoint.ready,
        observation.default_endpoint.failure,
        observation.failure,
    ) == (ConditionStatus.FALSE, "no GPU", "")


def test_all_components_share_weight_and_spec() -> None:
    """Each is seen by its own revisions; a side is ready with all of them."""
    raw = document()
    for side in ("default", "canary"):
        raw["spec"][side]["transformer"] = {"custom": {"container": {"image": "t:1"}}}
        raw["status"][side]["transformer"] = {"name": f"mnist-transformer-{side}-a"}
    raw["spec"]["default"]["explainer"] = {"alibi": {"type": "AnchorTabular"}}
    raw["status"]["default"]["explainer"] = {"name": "mnist-explainer-default-a"}
    raw["status"]["conditions"] = conditions(CanaryTransformerReady="Unknown", DefaultTransformerReady="True")
    predictor, transformer, explainer = DIALECT.observe(raw)
    assert transformer.key.component is Component.TRANSFORMER
    assert transformer.traffic == {"mnist-transformer-default-a": 90, "mnist-transformer-canary-a": 10}
    assert predictor.weight == transformer.weight == explainer.weight == 10
    assert predictor.spec_digest == transformer.spec_digest
    assert (predictor.ready, predictor.latest_ready) == (STABLE, ConditionStatus.UNKNOWN)
    assert (explainer.created, explainer.rolled_out) == ("mnist-explainer-default-a",) * 2


def test_no_status_at_all() -> None:
    """Just created: unknowns and no exception."""
    raw = document()
    del raw["status"]
    observation = one(raw)
    assert (observation.mode, observation.created, observation.traffic) == (DeploymentMode.UNKNOWN, "", {})
    assert (observation.route_ready, observation.latest_ready) == (ConditionStatus.UNKNOWN,) * 2


@pytest.mark.parametrize("spec", [None, {}, {"default": None}, {"default": "x"}, {"default": {"predictor": 1}}])
def test_a_document_without_components_gives_nothing(spec: Any) -> None:
    """What is not ours is left alone."""
    assert DIALECT.observe({**document(), "spec": spec}) == ()


@pytest.mark.parametrize(
    "status",
    [
        {"conditions": "x"},
        {"conditions": [1, {"type": 2}, {"type": "Ready", "status": []}]},
        {"default": "x", "canary": {"predictor": {"name": 5}}},
        {"traffic": "90", "canaryTraffic": True},
        {"traffic": 50},
    ],
)
def test_a_malformed_status_is_read_as_unknown(status: dict[str, Any]) -> None:
    """The definition lets any status pass."""
    observation = one({**document(), "status": status})
    assert observation.traffic == {}
    assert observation.route_ready is ConditionStatus.UNKNOWN


@pytest.mark.parametrize("written", ["10", 10.5, True, [10]])
def test_weights_that_are_not_whole_numbers(written: Any) -> None:
    """They are no weight, and the reason is said in words."""
    observation = one(document(canaryTrafficPercent=written))
    assert observation.weight is None
    assert "must be a whole number" in observation.reconcile_error


def test_the_writer_of_the_weight_is_its_newest_owner() -> None:
    """It stands in the spec itself, not in a component."""
    raw = document()
    weight: dict[str, Any] = {"f:spec": {"f:canaryTrafficPercent": {}}}
    raw["metadata"]["managedFields"] = [
        {"manager": "kubectl", "time": "2026-01-01T00:00:00Z", "fieldsV1": weight},
        {"manager": "argocd", "time": "2026-01-02T00:00:00Z", "fieldsV1": weight},
        {"manager": "helm", "time": "2026-01-03T00:00:00Z", "fieldsV1": {"f:spec": {"f:canary": {}}}},
    ]
    assert one(raw).writer == "argocd"


def test_a_weight_patch_is_compare_and_set() -> None:
    """Nothing but the weight; what the controller cannot use is not sent."""
    observation = one(document())
    assert DIALECT.weight_patch(observation, 25) == {
        "metadata": {"resourceVersion": "7", "uid": "u1"},
        "spec": {"canaryTrafficPercent": 25},
    }
    for weight in (-1, 101):
        with pytest.raises(ValueError, match=r"0\.\.100"):
            DIALECT.weight_patch(observation, weight)
        with pytest.raises(ValueError, match=r"0\.\.100"):
            DIALECT.restore_patch(observation, {}, weight)


def test_restore_patch_removes_the_candidate() -> None:
    """Stable stands beside it, as its owner wants it, and is not written."""
    observation = one(document())
    assert observation.default_endpoint is not None
    for weight in (0, None):
        assert DIALECT.restore_patch(observation, observation.default_endpoint.spec, weight)["spec"] == {
            "canary": None,
            "canaryTrafficPercent": None,
        }


def test_finalize_patches_in_order() -> None:
    """Copy at 100, wait for default, clear, wait for the traffic; and then there is nothing any more."""
    full = {"traffic": None, "canaryTraffic": 100}
    first = document(full, canaryTrafficPercent=100)
    observation = one(first)
    patch = DIALECT.finalize_patch(observation)
    assert set(patch["spec"]) == {"default"}
    assert patch["metadata"] == {"resourceVersion": "7", "uid": "u1"}
    copied = merge_patch.apply(first, {"spec": patch["spec"]})
    assert copied["spec"] == {
        "default": model("pvc://m/2"),
        "canary": model("pvc://m/2"),
        "canaryTrafficPercent": 100,
    }
    waiting = copied | {"status": {**copied["status"], "conditions": conditions(DefaultPredictorReady="Unknown")}}
    assert one(waiting).promotion_pending is PromotionPending.WAIT
    with pytest.raises(ValueError, match="nothing to finalize"):
        DIALECT.finalize_patch(one(waiting))
    ready = one(copied)
    assert ready.promotion_pending is PromotionPending.CLEAR
    cleared = merge_patch.apply(copied, {"spec": DIALECT.finalize_patch(ready)["spec"]})
    assert cleared["spec"] == {"default": model("pvc://m/2")}
    assert one(cleared).promotion_pending is PromotionPending.WAIT, "the router still sends everything to the canary"
    with pytest.raises(ValueError, match="nothing to finalize"):
        DIALECT.finalize_patch(one(cleared))


leaves = st.none() | st.booleans() | st.integers(-(2**53) - 3, 2**53 + 3) | st.text("aü\u2028", max_size=3)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=5,
)
endpoints = st.dictionaries(st.sampled_from(["predictor", "x", "y"]), trees, max_size=3).map(
    lambda rest: {**rest, "predictor": {"custom": rest}}
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(endpoints, endpoints)
def test_any_spec_is_carried_over_in_one_write(default: dict[str, Any], canary: dict[str, Any]) -> None:
    """Unknown fields, nulls, lists, big numbers: after the copy the two sides are equal, and it says so."""
    raw = document(default=default, canary=canary)
    observation = one(raw)
    if observation.promotion_pending is PromotionPending.ADOPT:
        raw = merge_patch.apply(raw, {"spec": DIALECT.finalize_patch(observation)["spec"]})
        assert one(raw).promotion_pending is PromotionPending.CLEAR
    assert merge_patch.apply(None, raw["spec"]["default"]) == merge_patch.apply(None, raw["spec"]["canary"])


def test_routes_of_both_sides() -> None:
    """As ``kn route list`` shows them: a route for each side, whole in itself."""
    rows = [(each.name, each.url, each.ready, each.traffic) for each in DIALECT.routes(document())]
    assert rows == [
        (
            "mnist-predictor-default",
            "http://mnist-predictor-default.ml.example.com",
            ConditionStatus.TRUE,
            ((STABLE, 100),),
        ),
        (
            "mnist-predictor-canary",
            "http://mnist-predictor-canary.ml.example.com",
            ConditionStatus.TRUE,
            ((CANARY, 100),),
        ),
    ]
    assert DIALECT.routes({"metadata": {"name": "a"}}) == ()


def test_a_release_goes_into_the_candidates_place() -> None:
    """At weight 0; stable's place stays, and what the present candidate has more is removed."""
    running = one(document())
    patch = DIALECT.release_patch(running, {"predictor": {"tensorflow": {"storageUri": "gs://b/v0"}}})
    assert patch["spec"]["canaryTrafficPercent"] == 0
    assert "default" not in patch["spec"]
    assert merge_patch.apply(running.spec, patch["spec"]["canary"]) == {
        "predictor": {"tensorflow": {"storageUri": "gs://b/v0"}}
    }
    raw = document()
    raw["spec"].pop("canary")
    alone = DIALECT.release_patch(one(raw), {"predictor": {"tensorflow": {"storageUri": "gs://b/v0"}}})
    assert alone["spec"]["canary"] == {"predictor": {"tensorflow": {"storageUri": "gs://b/v0"}}}
