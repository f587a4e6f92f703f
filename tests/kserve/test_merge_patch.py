"""JSON merge-patch as RFC 7386 defines it, and the patch between two documents."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autocanary.kserve.merge_patch import apply, diff

# RFC 7386, appendix A: original, patch, result.
APPENDIX_A: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("original", "patch", "result"), APPENDIX_A)
def test_the_examples_of_the_rfc(original: Any, patch: Any, result: Any) -> None:
    """Every example of the RFC's appendix gives the result printed there."""
    assert apply(original, patch) == result


leaves = st.integers(0, 2) | st.sampled_from(["x", "", [1], [{"a": 1}], True])
keys = st.sampled_from("abc")
documents = st.dictionaries(keys, leaves | st.dictionaries(keys, leaves | st.just({}), max_size=3), max_size=3)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=200)


@unhurried
@given(documents, documents)
def test_a_diff_applied_gives_the_target(source: dict[str, Any], target: dict[str, Any]) -> None:
    """For any two documents without nulls."""
    assert apply(source, diff(source, target)) == target


@unhurried
@given(documents)
def test_equal_documents_differ_in_nothing(document: dict[str, Any]) -> None:
    """No change is an empty patch."""
    assert diff(document, document) == {}


def test_a_null_in_the_target_means_absent() -> None:
    """A merge-patch cannot write null, and the API server drops it."""
    assert diff({"a": 1, "b": 2}, {"a": None, "b": 2}) == {"a": None}
    assert diff({}, {"a": {"b": None, "c": 1}}) == {"a": {"c": 1}}


def test_number_to_bool_is_a_change() -> None:
    """Python calls 1 and True equal; JSON does not."""
    assert diff({"a": 1}, {"a": True}) == {"a": True}
    assert diff({"a": {"b": 0}}, {"a": {"b": False}}) == {"a": {"b": False}}
    assert diff({"a": [{"b": [0]}]}, {"a": [{"b": [False]}]}) == {"a": [{"b": [False]}]}
    assert diff({"a": [{"b": [0]}]}, {"a": [{"b": [0]}]}) == {}
