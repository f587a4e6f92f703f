"""Counts of two revisions over time, for tests of comparisons."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autocanary.analysis import AnalysisInput, Evaluation, Verdict, analyse
from autocanary.model.measurement import (
    Measurement,
    MeasurementKind,
    RequestCounters,
    RequestTotals,
    Source,
    Unit,
)
from autocanary.model.policy import Analysis, ComparisonPolicy, Metric, OnInconclusive, Range
from autocanary.model.progress import MetricState
from tests.decide.builders import NOW

__all__ = ["BOUNDS", "ERRORS", "LATENCY", "ComparisonRun", "analysis"]

ERRORS = Metric("error-rate", Range(), Unit.PERCENT, compare=ComparisonPolicy())
LATENCY = Metric("request-duration", Range(), Unit.SECONDS, quantile=0.99, compare=ComparisonPolicy())
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0)
_OF_COUNTERS = frozenset({"exact", "bounds", "candidate_current", "stable_current"})


def analysis(*metrics: Metric, **changes: Any) -> Analysis:
    return Analysis(metrics or (ERRORS,), on_inconclusive=OnInconclusive.HOLD, **changes)


class ComparisonRun:
    """Looks at one rollout, fifteen seconds apart; what is kept goes through JSON between two of them."""

    def __init__(self, *metrics: Metric, weight: int = 10, step: int = 0, steps: int = 3) -> None:
        self.analysis = analysis(*metrics)
        self.at = Evaluation(NOW, step, steps, weight)
        self.candidate, self.stable = (
            RequestTotals(bucket_counts=(0.0,) * 5),
            RequestTotals(bucket_counts=(0.0,) * 5),
        )
        self.states: Mapping[str, MetricState] = {}
        self.evidence: Mapping[str, Any] = {}
        self.evaluations(3, 0, 0, 0, 0)  # the account begins, and one block is left out after the change of split

    def evaluations(
        self,
        count: int,
        n_c: float,
        e_c: float,
        n_s: float,
        e_s: float,
        *,
        slow_c: float = 0.0,
        **measurement: Any,
    ) -> Verdict:
        """``count`` looks, each after so many requests and errors; ``slow_c`` of the candidate's were slow."""
        found: Verdict | None = None
        for _ in range(count):
            self.candidate = _more(self.candidate, n_c, e_c, slow_c)
            self.stable = _more(self.stable, n_s, e_s, 0.0)
            self.at = replace(self.at, now=self.at.now + 15.0)
            found = self.look(**measurement)
        assert found is not None, "no look at all"
        return found

    def look(self, **changes: Any) -> Verdict:
        measurements = {each.name: self._reading(each, changes) for each in self.analysis.metrics}
        states = {name: MetricState.from_dict(_json(state.to_dict())) for name, state in self.states.items()}
        analysis_input = AnalysisInput(self.at, measurements, states, _json(self.evidence))
        found = analyse(self.analysis, self.analysis.metrics, analysis_input)
        self.states = {**self.states, **found.metrics}
        self.evidence = dict(found.evidence or {})
        return found

    def _reading(self, metric: Metric, changes: Mapping[str, Any]) -> Measurement:
        latency = metric.unit is Unit.SECONDS
        sides = (self.candidate, self.stable)
        candidate, stable = sides if latency else (replace(each, bucket_counts=()) for each in sides)
        counters = RequestCounters("a", self.at.now, candidate, stable, BOUNDS if latency else ())
        given: dict[str, Any] = {
            "kind": MeasurementKind.VALUE,
            "value": 0.2 if latency else 1.0,
            "unit": metric.unit,
            "requests": 500.0,
            "source": Source.KNATIVE,
            "counters": counters if metric.compare is not None else None,
            **{name: value for name, value in changes.items() if name not in _OF_COUNTERS},
        }
        of_counters = {name: value for name, value in changes.items() if name in _OF_COUNTERS - {"bounds"}}
        if given["counters"] is not None:
            given["counters"] = replace(counters, **of_counters)
        if given["counters"] is not None and "bounds" in changes:
            given["counters"] = RequestCounters("a", self.at.now, RequestTotals(), RequestTotals())
        return Measurement(**given)


def _more(totals: RequestTotals, requests: float, errors: float, slow: float) -> RequestTotals:
    """Fast ones take 80 ms, slow ones 400."""
    good = requests - errors
    bucket_counts = tuple(
        before + (0 if bound < 0.1 else good - slow if bound < 0.5 else good)
        for before, bound in zip(totals.bucket_counts, BOUNDS, strict=True)
    )
    return RequestTotals(totals.requests + requests, totals.errors + errors, bucket_counts)


def _json(raw: Any) -> Any:
    return json.loads(json.dumps(raw))
