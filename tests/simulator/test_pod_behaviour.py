"""How a revision's pods behave is found, or read from the name of its model."""

from __future__ import annotations

import pytest

from autocanary.simulator.pod_behaviour import (
    CRASHES,
    HEALTHY,
    NEVER_READY,
    UNSCHEDULABLE,
    Behaviour,
    behaviour_from_uri,
    by_uri,
    ready_after_seconds,
    storage_uri,
)


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ({"model": {"storageUri": "gs://a"}}, "gs://a"),
        ({"storageUri": "gs://b"}, "gs://b"),
        ({"containers": [{"image": "img:1"}]}, "img:1"),
        ({"model": {}}, ""),
        ({}, ""),
    ],
)
def test_storage_uri_of_each_model_spec(spec: dict[str, object], place: str) -> None:
    """The model's own place, the component's, or the first container's image."""
    assert storage_uri(spec) == place


@pytest.mark.parametrize(
    ("uri", "behaviour"),
    [
        ("gs://b/v2", HEALTHY),
        ("gs://b/v3-slow8", ready_after_seconds(8.0)),
        ("gs://b/crash2", CRASHES),
        ("gs://b/never2", NEVER_READY),
        ("gs://b/pending2", UNSCHEDULABLE),
    ],
)
def test_behaviour_is_read_from_the_uri(uri: str, behaviour: Behaviour) -> None:
    """The words of the recordings mean the same here."""
    assert behaviour_from_uri({"model": {"storageUri": uri}}) == behaviour


def test_an_image_that_cannot_be_pulled_fails_at_once() -> None:
    """The model's own image is read, too."""
    behaviour = behaviour_from_uri({"model": {"storageUri": "gs://b/v2", "image": "registry.invalid/x:1"}})
    assert (behaviour.ready_after, behaviour.fails_after) == (None, 0.1)


def test_behaviour_mapping_may_grow_at_run_time() -> None:
    """What is not in it is healthy, or as given."""
    known = {"gs://a": CRASHES}
    lookup = by_uri(known)
    assert lookup({"storageUri": "gs://a"}) is CRASHES
    assert lookup({"storageUri": "gs://b"}) is HEALTHY
    known["gs://b"] = NEVER_READY
    assert lookup({"storageUri": "gs://b"}) is NEVER_READY
    assert by_uri({}, otherwise=CRASHES)({}) is CRASHES
