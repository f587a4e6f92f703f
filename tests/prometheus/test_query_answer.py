"""Reading the JSON of Prometheus' query API."""

from __future__ import annotations

import math
from typing import Any

import pytest

from autocanary.prometheus.query_answer import MalformedResponseError, parse_response


def _body(kind: str, result: Any, **more: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}, **more}


def test_vector_keeps_labels_and_non_finite_values() -> None:
    """NaN and infinities are numbers here; what they mean is decided elsewhere."""
    answer = parse_response(
        _body(
            "vector",
            [
                {"metric": {"a": "b"}, "value": [1.5, "2.5"]},
                {"metric": {}, "value": [1, "NaN"]},
                {"metric": {}, "value": [1, "+Inf"]},
            ],
        )
    )
    first, second, third = answer.samples
    assert (dict(first.labels), first.value, first.timestamp) == ({"a": "b"}, 2.5, 1.5)
    assert second.value is not None
    assert math.isnan(second.value)
    assert third.value == math.inf


def test_scalar_string_and_matrix_responses() -> None:
    """A scalar is one sample without labels; a string or a range has none, and its kind says so."""
    assert parse_response(_body("scalar", [1, "5"])).samples[0].value == 5
    assert parse_response(_body("string", [1, "x"])).samples == ()
    assert parse_response(_body("matrix", [{"metric": {}, "values": []}])).kind == "matrix"


def test_a_native_histogram_has_no_value() -> None:
    """It comes under another key, with its own timestamp."""
    [sample] = parse_response(_body("vector", [{"metric": {}, "histogram": [7, {"count": "3"}]}])).samples
    assert (sample.value, sample.timestamp) == (None, 7)


def test_promql_info_notes_are_not_warnings() -> None:
    """Infos have their own member, or since 2.48 a prefix among the warnings."""
    warnings = ["PromQL info: metric might not be a counter", "store gateway is down"]
    answer = parse_response(_body("vector", [], warnings=warnings, infos=["PromQL info: x"]))
    assert answer.warnings == ("store gateway is down",)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"isPartial": True}, "isPartial"),  # VictoriaMetrics cluster
        ({"isPartial": "true", "warnings": None}, "isPartial"),
        ({"warnings": ["No StoreAPIs matched for this query"]}, "No StoreAPIs"),  # Thanos
        ({"warnings": ["receive series from Addr: store-1: rpc error: code = Unavailable"]}, "Unavailable"),
        ({"infos": ["query result may contain partial data"]}, "partial data"),  # Mimir, Cortex
        ({"warnings": ["PromQL info: x", "Query result may contain partial data."]}, "partial data"),
    ],
)
def test_partial_answers_are_noticed_in_every_form(members: dict[str, Any], text: str) -> None:
    """HTTP 200 and "success" do not say that the answer is whole."""
    [warning] = parse_response(_body("vector", [], **members)).warnings
    assert text in warning


def test_whole_answers_have_no_warning() -> None:
    """VictoriaMetrics writes isPartial into each answer; empty lists and nulls are nothing."""
    members: dict[str, Any] = {"isPartial": False, "warnings": None, "infos": [], "stats": {"seriesFetched": "3"}}
    assert parse_response(_body("vector", [], **members)).warnings == ()


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"data": []},
        {"data": {"result": []}},
        {"data": {"resultType": "vector"}},
        _body("vector", {}),
        _body("vector", [1]),
        _body("vector", [{"metric": {}}]),
        _body("vector", [{"metric": {}, "value": [1]}]),
        _body("vector", [{"metric": {}, "value": [1, "many"]}]),
        _body("vector", [{"metric": {}, "value": 7}]),
        _body("vector", [{"metric": {}, "histogram": []}]),
        _body("scalar", ["a", "b"]),
        _body("vector", [], warnings="all"),
    ],
)
def test_foreign_json_is_malformed(payload: dict[str, Any]) -> None:
    """Whatever answers JSON at that path is not taken for Prometheus."""
    with pytest.raises(MalformedResponseError):
        parse_response(payload)
