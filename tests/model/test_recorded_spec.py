"""A recorded spec is used only as it was recorded."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from autocanary.model.recorded_spec import changed_specs, spec_digests
from autocanary.model.rollout_json import from_document, to_document
from tests.kube.samples import rollout

STABLE = {"model": {"storageUri": "s3://m/v1", "args": None, "env": [{"name": "A", "value": "ü"}]}, "minReplicas": 1}
EVIL = {"containers": [{"image": "evil", "securityContext": {"privileged": True}}]}


def document() -> dict[str, Any]:
    made = rollout(stable_spec=STABLE, candidate_spec={"model": {}}, candidate_digest="c")
    return json.loads(json.dumps(to_document(made)))  # type: ignore[no-any-return]


def _set_value(spec: dict[str, Any]) -> None:
    spec["stableSpec"]["value"] = EVIL


def _add_field(spec: dict[str, Any]) -> None:
    spec["stableSpec"]["value"]["serviceAccountName"] = "cluster-admin"


def _set_hash(spec: dict[str, Any]) -> None:
    spec["stableSpec"]["hash"] = "other"


def _swap(spec: dict[str, Any]) -> None:
    spec["stableSpec"] = spec["candidateSpec"]


@pytest.mark.parametrize("change", [_set_value, _add_field, _set_hash, _swap])
def test_changed_spec_is_left_out(change: Callable[[dict[str, Any]], None]) -> None:
    """With its hash; the rest of the rollout is read as it is."""
    changed = document()
    change(changed["spec"])
    found = from_document(changed)
    assert (found.stable_spec, found.stable_digest) == (None, "")
    assert found.changed_specs == ("stableSpec",)
    assert found.candidate_spec == {"model": {}}
    assert found.progress == from_document(document()).progress


def test_change_stays_refused_and_said_in_the_status() -> None:
    """The next record keeps the digest that was recorded, and the status names the field."""
    changed = document()
    recorded = changed["status"]["specDigests"]
    _set_value(changed["spec"])
    status = to_document(from_document(changed))["status"]
    assert status["specDigests"] == recorded
    [condition] = [each for each in status["conditions"] if each["type"] == "RecordedSpecs"]
    assert condition["status"] == "False"
    assert condition["message"] == "spec.stableSpec is not what autocanary recorded, and is not used"
    assert from_document({**changed, "status": status}).stable_spec is None
    assert from_document({**document(), "status": status}).stable_spec == STABLE  # put back


def test_spec_that_was_never_recorded_is_left_out() -> None:
    """A spec that a user adds to a rollout without one."""
    added = json.loads(json.dumps(to_document(rollout(stable_spec=None, stable_digest=""))))
    added["spec"]["stableSpec"] = {"hash": "x", "value": EVIL}
    assert from_document(added).stable_spec is None
    assert from_document(added).changed_specs == ("stableSpec",)


@pytest.mark.parametrize(("generation", "used"), [(1, True), (2, False)])
def test_object_without_status_is_used_as_it_was_created(generation: int, used: bool) -> None:
    """A process that stopped between create and the first status; the API server counts changes of the spec."""
    created = document()
    del created["status"]
    created["metadata"]["generation"] = generation
    assert (from_document(created).stable_spec is not None) is used


def test_unchanged_spec_is_used_whatever_the_server_makes_of_its_json() -> None:
    """Order of keys, and 1.0 for 1."""
    unchanged = document()
    value = unchanged["spec"]["stableSpec"]["value"]
    unchanged["spec"]["stableSpec"]["value"] = {**dict(reversed(value.items())), "minReplicas": 1.0}
    assert from_document(unchanged).changed_specs == ()


@pytest.mark.parametrize(("one", "other"), [(1, "1"), (1, True), (None, ""), ([1, 2], [2, 1]), ({}, []), (1, 1.5)])
def test_digest_distinguishes_values(one: object, other: object) -> None:
    """Also where Python takes two values for equal."""
    digests = spec_digests({"stableSpec": {"value": {"a": one}}})
    assert changed_specs({"stableSpec": {"value": {"a": copy.deepcopy(one)}}}, digests) == ()
    assert changed_specs({"stableSpec": {"value": {"a": other}}}, digests) == ("stableSpec",)
