"""The API server in memory answers as the real one was measured to answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autocanary.errors import AlreadyExists, Busy, Conflict, NotFound, Refused
from autocanary.simulator.api_server import InMemoryApiServer
from autocanary.simulator.virtual_clock import VirtualClock
from autocanary.simulator.world import manifest

NAME = ("models", "iris")


def store(*, minimal_crd: bool = False) -> InMemoryApiServer:
    return InMemoryApiServer(VirtualClock(), minimal_crd=minimal_crd)


def weight(value: Any) -> dict[str, Any]:
    return {"spec": {"predictor": {"canaryTrafficPercent": value}}}


def test_a_created_object_has_what_the_server_adds() -> None:
    """uid, version, generation, finalizer; a status in the manifest is not taken."""
    objects = store()
    made = objects.create({**manifest("iris", "gs://v1"), "status": {"x": 1}})
    metadata = made["metadata"]
    assert metadata["generation"] == 1
    assert metadata["finalizers"] == ["inferenceservice.finalizers"]
    assert metadata["uid"]
    assert metadata["resourceVersion"]
    assert "status" not in made
    assert [each["metadata"]["name"] for each in objects] == ["iris"]
    with pytest.raises(AlreadyExists, match="already exists"):
        objects.create(manifest("iris", "gs://v1"))


def test_documents_are_never_changed_in_place() -> None:
    """A reader's copy stays as it was when it was read."""
    objects = store()
    before = objects.create(manifest("iris", "gs://v1"))
    after = objects.patch(NAME, weight(10))
    assert "canaryTrafficPercent" not in before["spec"]["predictor"]
    assert after["spec"]["predictor"]["canaryTrafficPercent"] == 10
    objects.write_status(NAME, {"a": 1})
    assert "status" not in after
    assert objects.get(NAME)["status"] == {"a": 1}


def test_patch_checks_resource_version_and_uid() -> None:
    """A stale version is a conflict, a foreign uid is refused, and the right ones pass."""
    objects = store()
    first = objects.create(manifest("iris", "gs://v1"))["metadata"]
    guard = {"resourceVersion": first["resourceVersion"], "uid": first["uid"]}
    second = objects.patch(NAME, {"metadata": guard, **weight(10)})["metadata"]
    assert (second["generation"], second["uid"]) == (2, first["uid"])
    assert second["resourceVersion"] != first["resourceVersion"]
    with pytest.raises(Conflict, match="the object has been modified"):
        objects.patch(NAME, {"metadata": guard, **weight(25)})
    with pytest.raises(Refused, match="field is immutable"):
        objects.patch(NAME, {"metadata": {"uid": "other"}, **weight(25)})
    assert objects.get(NAME)["spec"]["predictor"]["canaryTrafficPercent"] == 10


def test_a_patch_that_changes_nothing_is_no_write() -> None:
    """The version stays, and no watcher is called."""
    objects = store()
    first = objects.create(manifest("iris", "gs://v1", weight=10))
    events: list[tuple[tuple[str, str], bool]] = []
    objects.watch(lambda name, spec_changed: events.append((name, spec_changed)))
    assert objects.patch(NAME, weight(10)) is first
    assert objects.patch(NAME, weight(10.0)) is first
    assert events == []


def test_metadata_moves_the_version_but_not_the_generation() -> None:
    """As on the real server; and a status write differs from a spec write."""
    objects = store()
    events: list[bool] = []
    objects.create(manifest("iris", "gs://v1"))
    objects.watch(lambda _, spec_changed: events.append(spec_changed))
    after = objects.patch(NAME, {"metadata": {"annotations": {"a": "b"}}})
    assert after["metadata"]["generation"] == 1
    objects.write_status(NAME, {})
    assert events == [True, False]
    gone = objects.patch(NAME, {"metadata": {"annotations": {"a": None}}})
    assert "annotations" not in gone["metadata"]


@pytest.mark.parametrize("value", ["10", 10.5, True, 1e21, 2**63])
def test_weights_that_the_webhook_cannot_decode(value: object) -> None:
    """They are a 400; 101 and -1 are not."""
    objects = store()
    objects.create(manifest("iris", "gs://v1"))
    with pytest.raises(Refused, match="cannot unmarshal") as refused:
        objects.patch(NAME, weight(value))
    assert refused.value.status == 400
    for accepted in (101, -1):
        assert objects.patch(NAME, weight(accepted))["spec"]["predictor"]["canaryTrafficPercent"] == accepted


def test_missing_object_is_not_found() -> None:
    """404 to every client, but a late status write is no error."""
    objects = store()
    calls: tuple[Callable[[], object], ...] = (
        lambda: objects.get(NAME),
        lambda: objects.patch(NAME, {}),
        lambda: objects.delete(NAME),
    )
    for call in calls:
        with pytest.raises(NotFound, match='"iris" not found in namespace models'):
            call()
    objects.write_status(NAME, {})
    assert objects.find(NAME) is None


def test_while_the_webhook_is_down_every_write_is_a_500() -> None:
    """Reading works."""
    objects = store()
    objects.create(manifest("iris", "gs://v1"))
    objects.webhook_down = True
    writes: tuple[Callable[[], object], ...] = (
        lambda: objects.create(manifest("other", "gs://v1")),
        lambda: objects.patch(NAME, weight(1)),
        lambda: objects.apply(manifest("iris", "gs://v2")),
        lambda: objects.replace(manifest("iris", "gs://v2")),
    )
    for write in writes:
        with pytest.raises(Busy, match="failed calling webhook") as busy:
            write()
        assert busy.value.status == 500
    assert objects.get(NAME)["spec"]["predictor"]["model"]["storageUri"] == "gs://v1"


def test_a_deleted_object_is_marked_first() -> None:
    """The mark counts up the generation once; then its controller removes it."""
    objects = store()
    objects.create(manifest("iris", "gs://v1"))
    marked = objects.delete(NAME)
    assert marked["metadata"]["deletionTimestamp"].startswith("2026-01-01T00:00:00")
    assert marked["metadata"]["generation"] == 2
    assert objects.delete(NAME) is marked
    objects.remove(NAME)
    assert objects.find(NAME) is None
    assert objects.create(manifest("iris", "gs://v1"))["metadata"]["uid"] != marked["metadata"]["uid"]


def writer_of(objects: InMemoryApiServer) -> list[str]:
    fields = objects.get(NAME)["metadata"]["managedFields"]
    owned = [(entry["manager"], entry["fieldsV1"]["f:spec"]) for entry in fields]
    return [manager for manager, spec in owned if not spec or "canaryTrafficPercent" in str(spec)]


def test_the_writer_of_the_weight_is_its_field_manager() -> None:
    """Who changes it owns it; who removes it leaves no owner."""
    objects = store()
    objects.create(manifest("iris", "gs://v1"))
    assert writer_of(objects) == []
    objects.patch(NAME, weight(10), "argocd")
    objects.patch(NAME, weight(10), "kubectl")
    assert writer_of(objects) == ["argocd"]
    objects.patch(NAME, weight(25), "autocanary")
    assert writer_of(objects) == ["autocanary"]
    objects.patch(NAME, weight(None), "kubectl")
    assert writer_of(objects) == []


def test_on_the_minimal_crd_a_writer_owns_the_whole_spec() -> None:
    """Its spec is atomic."""
    objects = store(minimal_crd=True)
    objects.create(manifest("iris", "gs://v1"), "flux")
    assert objects.get(NAME)["metadata"]["managedFields"][0]["fieldsV1"] == {"f:spec": {}}
    objects.patch(NAME, weight(10), "autocanary")
    assert writer_of(objects) == ["autocanary"]


def test_put_removes_absent_fields() -> None:
    """The weight, labels and annotations are gone; uid and finalizers stay."""
    objects = store()
    made = objects.create(manifest("iris", "gs://v1", weight=10))
    objects.patch(NAME, {"metadata": {"labels": {"a": "b"}}})
    after = objects.replace(manifest("iris", "gs://v1"))
    assert "canaryTrafficPercent" not in after["spec"]["predictor"]
    assert "labels" not in after["metadata"]
    assert after["metadata"]["uid"] == made["metadata"]["uid"]
    assert after["metadata"]["finalizers"] == made["metadata"]["finalizers"]


def test_server_side_apply_keeps_what_others_own() -> None:
    """Without the field in git the weight stays, even with force; and a foreign change is a conflict."""
    objects = store()
    objects.apply(manifest("iris", "gs://v1"), "flux")
    objects.patch(NAME, weight(10), "autocanary")
    assert objects.apply(manifest("iris", "gs://v2"), "flux")["spec"]["predictor"]["canaryTrafficPercent"] == 10
    objects.patch(NAME, {"spec": {"predictor": {"model": {"storageUri": "gs://by-hand"}}}})
    with pytest.raises(Conflict, match="changed by another manager"):
        objects.apply(manifest("iris", "gs://v3"), "flux")
    forced = objects.apply(manifest("iris", "gs://v3"), "flux", force=True)
    assert forced["spec"]["predictor"]["model"]["storageUri"] == "gs://v3"
    assert forced["spec"]["predictor"]["canaryTrafficPercent"] == 10


def test_server_side_apply_takes_the_weight_along_on_the_minimal_crd() -> None:
    """The atomic spec is replaced: without force a conflict, with it the field is gone."""
    objects = store(minimal_crd=True)
    objects.apply(manifest("iris", "gs://v1"), "flux")
    objects.patch(NAME, weight(10), "autocanary")
    with pytest.raises(Conflict):
        objects.apply(manifest("iris", "gs://v1"), "flux")
    forced = objects.apply(manifest("iris", "gs://v1"), "flux", force=True)
    assert "canaryTrafficPercent" not in forced["spec"]["predictor"]


def test_apply_removes_a_field_dropped_from_the_manifest() -> None:
    """Client-side apply removes it in any case; server-side only if no other manager wrote it."""
    for server_side, expected in ((True, 0), (False, None)):
        objects = store()
        objects.apply(manifest("iris", "gs://v1", weight=10), server_side=server_side)
        objects.patch(NAME, weight(0), "autocanary")
        after = objects.apply(manifest("iris", "gs://v1"), server_side=server_side)
        assert after["spec"]["predictor"].get("canaryTrafficPercent") == expected
    objects = store()
    objects.apply(manifest("iris", "gs://v1", weight=10))
    assert "canaryTrafficPercent" not in objects.apply(manifest("iris", "gs://v1"))["spec"]["predictor"]
