"""What must survive a restart: how large it may be, that it is exact, and what becomes of an earlier version's."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocanary.analysis import AnalysisInput, Evaluation, Verdict, analyse
from autocanary.analysis.analyse import BUDGET_METRIC
from autocanary.analysis.packed_floats import pack_counts, unpack_counts
from autocanary.model.measurement import (
    FailureCounts,
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

COMPARED = ComparisonPolicy()
ERRORS = Metric("error-rate", Range(max=2.0), Unit.PERCENT, compare=COMPARED, objective=True)
LATENCY = Metric("request-duration", Range(), Unit.SECONDS, quantile=0.99, compare=COMPARED)
FIRST = Analysis((ERRORS,), on_inconclusive=OnInconclusive.HOLD, max_failed_requests=10**9)
LATER = replace(FIRST, metrics=(ERRORS, LATENCY))
ALL_METRICS = (ERRORS, LATENCY)
BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
WITHIN = (0.1, 0.5, 0.52, 0.78, 0.92, 0.972, 0.996, 0.999)
LIMIT = 4096


class Traffic:
    """Millions of requests of two revisions, with as many processes that fail as are kept."""

    def __init__(self, seed: int, scale: int) -> None:
        self.rng, self.scale, self.now = random.Random(seed), scale, NOW
        self.sides = [[0] * (2 + len(BOUNDS)), [0] * (2 + len(BOUNDS))]
        self.processes: dict[str, float] = {}

    def next(self) -> Mapping[str, Measurement]:
        self.now += self.rng.uniform(14.0, 16.0)
        for side, share in zip(self.sides, (0.1, 0.9), strict=True):
            requests = round(self.rng.uniform(0.5, 1.5) * share * self.scale)
            failed = round(requests * self.rng.uniform(0.0, 0.004))
            side[0], side[1] = side[0] + requests, side[1] + failed
            for index, part in enumerate(WITHIN):
                side[2 + index] += round((requests - failed) * part)
        name = f"{self.rng.getrandbits(24):06x}"
        self.processes[name] = self.processes.get(name, 0.0) + self.sides[0][1]
        candidate, stable = (RequestTotals(float(n), float(e), tuple(map(float, w))) for n, e, *w in self.sides)
        latency = RequestCounters("0123456789ab-12345", self.now, candidate, stable, BOUNDS)
        errors = replace(latency, candidate=replace(candidate, bucket_counts=()), bounds=())
        errors = replace(errors, stable=replace(stable, bucket_counts=()))
        failures = FailureCounts("0123456789ab-12345", float(self.sides[0][1]), self.processes)
        value = Measurement(MeasurementKind.VALUE, 1.2345678901234, Unit.PERCENT, 12345.6, 12.34, Source.KNATIVE)
        return {
            "error-rate": replace(value, counters=errors),
            "request-duration": replace(value, unit=Unit.SECONDS, counters=latency),
            BUDGET_METRIC: replace(value, failures=failures),
        }


class State:
    """What a rollout's progress holds between two evaluations."""

    def __init__(self) -> None:
        self.metrics: Mapping[str, MetricState] = {}
        self.evidence: Mapping[str, Any] = {}
        self.failed_requests: Mapping[str, Any] = {}

    def evaluate(self, measurements: Mapping[str, Measurement], at: Evaluation) -> Verdict:
        analysis = FIRST if at.step < 3 else LATER
        given_input = AnalysisInput(at, measurements, self.metrics, self.evidence, self.failed_requests)
        found = analyse(analysis, analysis.metrics, given_input, ALL_METRICS)
        self.metrics = found.metrics
        self.evidence, self.failed_requests = found.evidence or {}, found.failed_requests or {}
        return found

    def through_json(self) -> State:
        again = State()
        again.metrics = {name: MetricState.from_dict(_json(each.to_dict())) for name, each in self.metrics.items()}
        again.evidence, again.failed_requests = _json(dict(self.evidence)), _json(self.failed_requests)
        return again

    @property
    def size(self) -> int:
        return len(json.dumps(dict(self.evidence))) + len(json.dumps(self.failed_requests))


def _json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def at(number: int, now: float) -> Evaluation:
    """Ten steps of forty evaluations each, at rising weights; the last has all the traffic."""
    step = min(number // 40, 9)
    return Evaluation(now, step, 10, 100 if step == 9 else 5 + 10 * step)


def test_state_stays_below_4_kilobytes() -> None:
    """Errors with an objective, latency with five bounds from the fourth step on, ten steps, a budget, big numbers."""
    traffic, state, largest = Traffic(1, 5_000_000), State(), 0
    for number in range(440):
        measurements = traffic.next()
        state.evaluate(measurements, at(number, traffic.now))
        largest = max(largest, state.size)
    assert len(state.evidence["comparisons"]["metrics"]["request-duration"]["bounds"]) == 5
    assert len(state.failed_requests["processes"].split()) > 10
    assert largest < LIMIT


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([40, 2000, 10**6]), stops=st.sets(st.integers(0, 99)))
def test_resumed_state_equals_an_uninterrupted_one(seed: int, scale: int, stops: set[int]) -> None:
    """Stopped and read from JSON at any evaluations, over steps whose metrics change: every verdict is the same."""
    one, other, plain, resumed = Traffic(seed, scale), Traffic(seed, scale), State(), State()
    for number in range(100):
        if number in stops:
            resumed = resumed.through_json()
        first = plain.evaluate(one.next(), at(number * 4, one.now))
        second = resumed.evaluate(other.next(), at(number * 4, other.now))
        assert (second.outcome, second.reason, second.message) == (first.outcome, first.reason, first.message)
        assert second.metrics == first.metrics
    assert _json(dict(resumed.evidence)) == _json(dict(plain.evidence))
    assert resumed.failed_requests == plain.failed_requests


def _as_written_before(evidence: dict[str, Any]) -> dict[str, Any]:
    """Version 2: counts as lists, and neither the latest counts nor the step's seconds."""
    comparisons = evidence["comparisons"]
    for each in (*comparisons["metrics"].values(), comparisons["share"]):
        each["step"] = unpack_counts(each["step"])
        each["counter"][2], each["counter"][8] = unpack_counts(each["counter"][2]), unpack_counts(each["counter"][8])
        each.pop("recent", None)
        each.pop("stepSeconds", None)
        if "total" in each:
            each["total"] = unpack_counts(each["total"])
    return {**evidence, "version": 2}


def test_a_record_of_the_version_before_is_continued() -> None:
    """Its evidence goes on; what it did not keep is counted from now on, and no estimate is made meanwhile."""
    traffic, state = Traffic(3, 2000), State()
    for _ in range(60):
        state.evaluate(traffic.next(), at(0, traffic.now))
    assert state.evidence["version"] == 3
    earlier = State()
    earlier.metrics, earlier.evidence = state.metrics, _as_written_before(_json(dict(state.evidence)))
    measurements = traffic.next()
    after = earlier.evaluate(measurements, at(0, traffic.now)).metrics["error-rate"].comparison_summary
    expected = state.evaluate(measurements, at(0, traffic.now)).metrics["error-rate"].comparison_summary
    assert after is not None
    assert expected is not None
    assert (after.candidate, after.evidence_percent) == (expected.candidate, expected.evidence_percent)
    assert after.non_inferior_percent == expected.non_inferior_percent
    assert after.needed_requests is None
    assert after.recent_seconds < expected.recent_seconds


def test_a_record_that_cannot_be_read_begins_again_and_says_so() -> None:
    """Of a version that this one does not know."""
    traffic, state = Traffic(4, 2000), State()
    for _ in range(20):
        state.evaluate(traffic.next(), at(0, traffic.now))
    state.evidence = {**dict(state.evidence), "version": 99}
    found = state.evaluate(traffic.next(), at(0, traffic.now))
    assert "the comparison begins again" in found.message


@given(st.lists(st.integers(0, 2**63), max_size=12))
def test_packed_counts_are_exact(values: list[int]) -> None:
    """Zero and the largest counters."""
    assert unpack_counts(pack_counts(values)) == values


@pytest.mark.parametrize("text", ["gA==", "!", "AAA"])
def test_packed_counts_that_are_cut_off_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        unpack_counts(text)
