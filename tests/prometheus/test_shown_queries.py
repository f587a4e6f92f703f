"""The PromQL that users copy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocanary.model.measurement import Measurement, MeasurementKind, Source, Unit
from autocanary.model.policy import Metric, Policy, Range
from autocanary.model.progress import MetricState
from autocanary.model.rollout import Rollout
from autocanary.prometheus.shown_queries import shown_query
from autocanary.promql import syntax_error
from tests.cli.fake_client import POLICY, rollout


def _measured_by(source: Source | None) -> Rollout:
    found = rollout()
    state = MetricState(last=Measurement(MeasurementKind.VALUE, 1.0, Unit.PERCENT, source=source))
    names = ("request-success-rate", "request-duration")
    return replace(
        found,
        progress=replace(
            found.progress, analysis=replace(found.progress.analysis, metrics=dict.fromkeys(names, state))
        ),
    )


@pytest.mark.parametrize("metric", ["request-success-rate", "request-duration"])
@pytest.mark.parametrize("source", [Source.KNATIVE, Source.ISTIO, Source.KSERVE])
def test_a_presets_query_is_the_answering_sources(source: Source, metric: str) -> None:
    """For both revisions, and it parses."""
    text = shown_query(_measured_by(source), POLICY, metric)
    assert "mnist-predictor-00002" in text
    assert "mnist-predictor-00001" in text
    assert syntax_error(text) is None


def test_nothing_is_shown_before_a_source_has_answered() -> None:
    """The policy says auto; it is not known yet which one it is."""
    assert shown_query(_measured_by(None), POLICY, "request-success-rate") == ""
    assert shown_query(_measured_by(Source.KNATIVE), POLICY, "unknown") == ""


def test_the_policys_own_query_is_filled() -> None:
    """With the names of this rollout."""
    text = 'sum(rate(x{revision="{{ revision }}",ns="{{ namespace }}"}[{{ window }}]))'
    metric = Metric("mine", Range(max=1.0), Unit.NUMBER, query=text)
    policy: Policy = replace(POLICY, analysis=replace(POLICY.analysis, metrics=(metric,)))
    assert shown_query(rollout(), policy, "mine") == 'sum(rate(x{revision="mnist-predictor-00002",ns="models"}[1m]))'
