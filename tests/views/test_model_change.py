"""What a release changes: the model's place first, then image, arguments and the rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocanary.model.policy import Component
from autocanary.views import model_change
from autocanary.views.model_change import model_of
from tests.decide.builders import rollout

V1: dict[str, Any] = {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "gs://b/v1", "args": ["--batch=1"]}}


def changed(**model: Any) -> Any:
    return model_change(rollout(stable_spec=V1, candidate_spec={"model": {**V1["model"], **model}}))


def test_a_new_storage_uri_is_the_change() -> None:
    """The headline of most releases."""
    found = changed(storageUri="gs://b/v2")
    assert (found.old, found.new, found.text) == ("gs://b/v1", "gs://b/v2", "gs://b/v1 → gs://b/v2")
    assert [(each.field, each.old, each.new) for each in found.changes] == [
        ("model.storageUri", "gs://b/v1", "gs://b/v2")
    ]


def test_the_same_model_with_other_arguments_says_which() -> None:
    """The storageUri alone would say that nothing changed."""
    assert changed(args=["--batch=8"]).text == "gs://b/v1: args --batch=1 → --batch=8"


def test_an_image_stands_for_a_model_without_a_storage_uri() -> None:
    """A container of the user's own."""
    spec = {"containers": [{"name": "kserve-container", "image": "r/m:2", "env": [{"name": "A", "value": "1"}]}]}
    assert model_of(spec) == "r/m:2"


def test_the_order_of_changes_is_by_what_a_model_is_known_by() -> None:
    """storageUri, image, then arguments, then the rest."""
    found = changed(storageUri="gs://b/v2", args=["--batch=8"], resources={"limits": {"cpu": "2"}})
    assert [each.field for each in found.changes] == ["model.storageUri", "model.args", "model.resources.limits.cpu"]
    assert str(found.changes[2]) == "cpu (none) → 2"


def test_an_unknown_stable_spec_is_said() -> None:
    """autocanary began after the stable revision was made."""
    found = model_change(rollout(stable_spec=None, candidate_spec=V1))
    assert (found.known, found.text, found.changes) == (False, "(unknown) → gs://b/v1", ())


def test_an_endpoint_of_v1alpha2_holds_its_components_by_name() -> None:
    """The recorded spec of KFServing is the whole endpoint."""
    endpoint = {"predictor": {"tensorflow": {"storageUri": "gs://b/t1"}}}
    assert model_of(endpoint, Component.PREDICTOR) == "gs://b/t1"


def test_the_weight_is_no_change() -> None:
    """It is what autocanary writes."""
    found = model_change(rollout(stable_spec=V1, candidate_spec={**V1, "canaryTrafficPercent": 10}))
    assert (found.changes, found.text) == ((), "gs://b/v1 (the same spec)")


@pytest.mark.parametrize("hostile", ["gs://b/\x1b[2Jv2", "gs://b/‮v2", "gs://b/v2\nINJECTED"])
def test_foreign_text_is_one_clean_line(hostile: str) -> None:
    """A tenant's storageUri may hold anything."""
    assert changed(storageUri=hostile).text.isprintable()


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(
    stable=st.dictionaries(st.text(max_size=8), json_like), candidate=st.dictionaries(st.text(max_size=8), json_like)
)
def test_any_two_specs_compare(stable: dict[str, Any], candidate: dict[str, Any]) -> None:
    """No spec that an API server takes raises; equal ones have no change."""
    found = model_change(rollout(stable_spec=stable, candidate_spec=candidate))
    assert isinstance(found.text, str)
    if stable == candidate and repr(stable) == repr(candidate):
        assert found.changes == ()
