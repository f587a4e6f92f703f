"""The chart's dashboard, as far as it can be checked without Prometheus; tests/real asks its queries."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import promql_parser
import pytest

from autocanary.http_server.metric_table import METRIC_SPECS
from autocanary.model.progress import Phase
from tests.http_server.dashboard import DASHBOARD, Query, filled, panels, queries, variables

_VALUES = {
    "job": ".+",
    "namespace": ".+",
    "service": "mnist",
    "rollout": "mnist-00002",
    "__rate_interval": "1m",
    "__range": "6h",
}
_SERIES = {row.name: row for row in METRIC_SPECS}
_OF_THE_TARGET = {"job", "instance"}


@pytest.mark.parametrize("query", list(queries()), ids=str)
def test_a_query_is_promql_about_series_and_labels_that_exist(query: Query) -> None:
    """A metric or label that is renamed takes its panels along."""
    expression = filled(query.expression, _VALUES)
    promql_parser.parse(expression)
    for name, matchers in re.findall(r"\b(autocanary_\w+)(?:\{([^}]*)\})?", expression):
        base = re.sub(r"_(sum|count|bucket)$", "", name)
        row = _SERIES.get(name) or _SERIES[base]
        asked = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers))
        assert asked <= set(row.labels) | _OF_THE_TARGET, name
        assert "job" in asked, f"{name} is not held to the chosen installation"
    assert set(re.findall(r'phase="(\w+)"', expression)) <= {phase.value for phase in Phase}


def test_every_metric_is_shown_somewhere() -> None:
    """What is worth exporting is worth a place."""
    text = " ".join(query.expression for query in queries())
    assert [row.name for row in METRIC_SPECS if row.name not in text] == []


def test_every_panel_and_target_asks_the_chosen_datasource() -> None:
    """The dashboard works whatever the datasource is called."""
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    asked = [*panels(), *DASHBOARD["annotations"]["list"]]
    asked += [target for panel in panels() for target in panel["targets"]]
    asked += [each for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    assert [each for each in asked if each["datasource"] != chosen] == []
    first = DASHBOARD["templating"]["list"][0]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")


def test_a_variable_is_defined_before_it_is_used() -> None:
    """Grafana fills them in from left to right."""
    known: dict[str, str] = {}
    for name, (selector, label) in variables().items():
        promql_parser.parse(filled(selector, known))
        assert label in _SERIES[selector.partition("{")[0]].labels or label in _OF_THE_TARGET
        known[name] = ".+"
    assert set(known) == {"job", "namespace", "service", "rollout"}


def test_panels_have_their_own_place_number_and_title() -> None:
    """No two overlap, none is wider than the page, and links to a panel are unambiguous."""
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert all(panel["title"] for panel in DASHBOARD["panels"])
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert [pair for pair in combinations(places, 2) if _overlap(*pair)] == []


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )
