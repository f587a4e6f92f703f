"""Knative's routes, from Route objects and from KServe's status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autocanary.kserve.knative_routes import Route, parse_route
from autocanary.kserve.v1beta1 import V1Beta1
from autocanary.model.observation import ConditionStatus

RECORDED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "data" / "recorded_documents.json").read_text()
)


def test_a_route_object() -> None:
    """Shares of one revision are summed; a revision at 0 % is still a target."""
    document = {
        "metadata": {"name": "iris-predictor"},
        "status": {
            "url": "http://iris-predictor.ml.example.com",
            "conditions": [{"type": "Ready", "status": "True"}],
            "traffic": [
                {"revisionName": "iris-1", "percent": 90, "tag": "prev"},
                {"revisionName": "iris-2", "percent": 4},
                {"revisionName": "iris-2", "percent": 6},
                {"revisionName": "iris-0"},
                {"percent": 1},
                "x",
            ],
        },
    }
    shares = (("iris-1", 90), ("iris-2", 10), ("iris-0", 0))
    assert parse_route(document) == Route(
        "iris-predictor", "http://iris-predictor.ml.example.com", ConditionStatus.TRUE, shares
    )


def test_a_route_without_a_status() -> None:
    """Just created: a name and nothing else."""
    assert parse_route({"metadata": {"name": "a"}}) == Route("a", "", ConditionStatus.UNKNOWN, ())
    assert parse_route({"metadata": {"name": "a"}, "status": {"traffic": "x"}}).traffic == ()


@pytest.mark.parametrize("percent", [None, True, "40", float("nan"), float("inf"), [], 2**63])
def test_a_share_that_is_no_number_is_none(percent: Any) -> None:
    """A status that a user has edited is still read."""
    entry = {"revisionName": "iris-1", "percent": percent}
    route = parse_route({"metadata": {"name": "a"}, "status": {"traffic": [entry]}})
    assert route.traffic == (("iris-1", 2**63 if percent == 2**63 else 0),)


def test_the_split_is_in_kserves_one_route() -> None:
    """A route for each component, with both revisions in it."""
    (route,) = V1Beta1().routes(RECORDED["canary-at-10"])
    assert route.name == "ms02-predictor"
    assert route.ready is ConditionStatus.TRUE
    assert dict(route.traffic) == {"ms02-predictor-00002": 10, "ms02-predictor-00001": 90}
    assert V1Beta1().routes({"metadata": {"name": "a"}}) == ()
