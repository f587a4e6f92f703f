"""Who released a spec: the field manager of what is not the weight, and the author that an annotation names."""

from __future__ import annotations

from typing import Any

import pytest

from autocanary.kserve import DIALECTS, dialects_with_author

ANNOTATION = "example.com/author"


def entry(manager: str, at: str, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "time": at, "fieldsV1": {"f:spec": fields}, **more}


def service(*managed: Any, annotations: dict[str, Any] | None = None, spec: Any = None) -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "namespace": "models",
            "name": "mnist",
            "managedFields": list(managed),
            "annotations": annotations or {},
        },
        "spec": spec or {"predictor": {"model": {"storageUri": "gs://b/v2"}}},
    }


def released_by(document: dict[str, Any], annotation: str = "") -> str:
    dialect = dialects_with_author(annotation)[0] if annotation else DIALECTS[0]
    return dialect.observe(document)[0].released_by


MODEL: dict[str, Any] = {"f:predictor": {"f:model": {"f:storageUri": {}}}}
WEIGHT: dict[str, Any] = {"f:predictor": {"f:canaryTrafficPercent": {}}}


def test_the_last_writer_of_the_model_released_it() -> None:
    """Not the writer of the weight, however late, and not the controller's status."""
    document = service(
        entry("helm", "2026-01-01T00:00:00Z", MODEL),
        entry("kubectl-client-side-apply", "2026-01-02T00:00:00Z", MODEL),
        entry("autocanary", "2026-01-03T00:00:00Z", WEIGHT),
        entry("manager", "2026-01-04T00:00:00Z", MODEL, subresource="status"),
    )
    assert released_by(document) == "kubectl-client-side-apply"


def test_an_annotation_names_the_author() -> None:
    """Only the annotation that the settings name."""
    document = service(entry("argocd", "2026-01-01T00:00:00Z", MODEL), annotations={ANNOTATION: "ada@example.com"})
    assert released_by(document) == "argocd"
    assert released_by(document, ANNOTATION) == "ada@example.com (argocd)"


def test_a_spec_owned_as_a_whole_has_one_writer() -> None:
    """Minimal definitions make the spec atomic."""
    assert released_by(service(entry("kubectl-edit", "2026-01-01T00:00:00Z", {}))) == "kubectl-edit"


@pytest.mark.parametrize(
    "managed",
    [[], [{"manager": "x"}], [{"manager": "x", "fieldsV1": {"f:metadata": {}}}]],
)
def test_unknown_or_broken_owners_are_unknown(managed: list[Any]) -> None:
    """An API server may prune managedFields, and a client may write nonsense."""
    assert released_by(service(*managed)) == ""


def test_v1alpha2_asks_for_the_side_that_is_released() -> None:
    """The candidate's place, not stable's."""
    document = service(
        entry("helm", "2026-01-02T00:00:00Z", {"f:default": {"f:predictor": {}}}),
        entry("kubectl", "2026-01-01T00:00:00Z", {"f:canary": {"f:predictor": {}}}),
        spec={"default": {"predictor": {"sklearn": {}}}, "canary": {"predictor": {"sklearn": {}}}},
    )
    assert DIALECTS[2].observe(document)[0].released_by == "kubectl"


def test_foreign_text_is_one_clean_line() -> None:
    """An annotation is a tenant's text."""
    document = service(annotations={ANNOTATION: "ada\n\x1b[2Jroot" + "x" * 500})
    found = released_by(document, ANNOTATION)
    assert found.startswith("ada root")
    assert found.isprintable()
    assert len(found) <= 120


def test_an_undo_names_its_user_and_reason() -> None:
    """By the annotations that it writes; they say nothing once another manager releases."""
    annotations = {"autocanary.dev/released-by": "ada", "autocanary.dev/release-reason": "wrong labels"}
    undone = entry("autocanary-undo", "2026-01-02T00:00:00Z", MODEL)
    assert released_by(service(undone, annotations=annotations)) == "ada (autocanary undo: wrong labels)"
    later = entry("argocd", "2026-01-03T00:00:00Z", MODEL)
    assert released_by(service(undone, later, annotations=annotations)) == "argocd"
