"""Which samples count: however often they are evaluated, the same ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocanary.analysis import AnalysisInput, Evaluation, Outcome, Verdict, analyse
from autocanary.analysis.new_samples import sample_spacing
from autocanary.analysis.thresholds import evaluate_threshold
from autocanary.model.measurement import Measurement, MeasurementKind, RequestCounters, RequestTotals, Unit
from autocanary.model.policy import Analysis, ComparisonPolicy, Metric, Range
from autocanary.model.progress import MetricState

_START = 1_700_000_000.0
_COMPARED = Metric("error-rate", Range(), Unit.PERCENT, compare=ComparisonPolicy())

metrics = st.builds(
    Metric,
    st.just("request-success-rate"),
    st.just(Range(min=99.0)),
    st.just(Unit.PERCENT),
    failure_limit=st.integers(1, 4),
    consecutive=st.booleans(),
    consecutive_failure_limit=st.none() | st.integers(1, 4),
    consecutive_success_limit=st.none() | st.integers(1, 4),
)
values = st.sampled_from([100.0, 99.5, 90.0, 0.0])


def measured(value: float, at: float, scrape: float | None = 15.0, *, now: float | None = None) -> Measurement:
    age = (now if now is not None else at) - at
    return Measurement(
        MeasurementKind.VALUE, value, Unit.PERCENT, 500.0, age, scrape_interval=scrape, sample_at=_START + at
    )


@pytest.mark.parametrize(
    ("interval", "scrape", "spacing"),
    [(15.0, 1.0, 12.5), (15.0, 15.0, 6.0), (15.0, 60.0, 6.0), (60.0, 15.0, 39.0), (15.0, None, 6.0)],
)
def test_samples_count_about_an_interval_apart(interval: float, scrape: float | None, spacing: float) -> None:
    """A tenth for irregular evaluations, and what one of them may see too early because of the scrapes."""
    assert sample_spacing(interval, scrape) == pytest.approx(spacing)


@settings(deadline=None)
@given(
    metrics,
    st.lists(st.tuples(values, st.integers(1, 4)), min_size=1, max_size=40),
    st.sampled_from([1.0, 5.0, 15.0, 40.0]),
    st.sampled_from([5.0, 15.0, 60.0]),
)
def test_same_decisions_however_often_each_sample_is_evaluated(
    metric: Metric, samples: list[tuple[float, int]], scrape: float, interval: float
) -> None:
    """An evaluation per sample, or several: the same counts, outcome by outcome."""
    analysis = Analysis(metrics=(metric,), interval=interval, min_requests=50.0)

    def outcomes(*, repeated: bool) -> list[tuple[Outcome, str]]:
        states: dict[str, MetricState] = {}
        found = []
        for number, (value, times) in enumerate(samples):
            measurement = measured(value, number * scrape, scrape)
            for repetition in range(times if repeated else 1):
                verdict = verdict_on(analysis, {metric.name: measurement}, states)
                states = dict(verdict.metrics)
                if repetition == 0:
                    found.append((verdict.outcome, verdict.message))
                assert (verdict.outcome, verdict.message) == found[-1]
        return found

    assert outcomes(repeated=True) == outcomes(repeated=False)


def verdict_on(
    analysis: Analysis,
    measurements: dict[str, Measurement],
    states: dict[str, MetricState],
    *,
    early: bool = False,
) -> Verdict:
    return analyse(analysis, analysis.metrics, AnalysisInput(Evaluation(weight=10, early=early), measurements, states))


@settings(deadline=None)
@given(
    st.lists(values, min_size=1, max_size=120),
    st.sampled_from([1.0, 5.0, 15.0]),
    st.floats(0.0, 0.99),
    st.integers(1, 4),
)
def test_every_sample_finds_no_violation_later_than_the_grid(
    seen: list[float], scrape: float, phase: float, limit: int
) -> None:
    """Evaluations of every sample reach a limit at the latest when those on the policy's grid alone would."""
    interval = 15.0
    metric = Metric("request-success-rate", Range(min=99.0), Unit.PERCENT, failure_limit=limit)

    def reached_at(instants: list[float]) -> float:
        state = MetricState()
        for now in instants:
            number = int(now // scrape)
            state = evaluate_threshold(metric, measured(seen[number], number * scrape, scrape), state, 50.0, interval)
            if state.violations >= limit:
                return now
        return float("inf")

    end = len(seen) * scrape
    grid = [at for at in (phase * interval + index * interval for index in range(200)) if at < end]
    each = [number * scrape for number in range(len(seen))]
    assert reached_at(sorted({*grid, *each})) <= reached_at(grid)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 3), st.booleans()), min_size=1, max_size=40),
    st.sampled_from([1.0, 5.0, 15.0]),
)
def test_repeated_counts_add_nothing(samples: list[tuple[int, int, bool]], scrape: float) -> None:
    """A comparison that is evaluated again with the same counts, early or not, says the same and stores the same."""
    analysis = Analysis(metrics=(_COMPARED,), interval=15.0, min_requests=50.0)

    def evidence(*, repeated: bool) -> list[tuple[Outcome, dict[str, object]]]:
        known: dict[str, object] = {}
        states: dict[str, MetricState] = {}
        candidate = stable = errors = 0.0
        found = []
        for number, (failed, times, early) in enumerate(samples):
            candidate, stable, errors = candidate + 30, stable + 270, errors + failed
            at = number * scrape
            counters = RequestCounters(
                "account", _START + at, RequestTotals(candidate, errors), RequestTotals(stable, 0.0)
            )
            measurement = replace(measured(failed / 0.3, at, scrape), counters=counters)
            for repetition in range(times if repeated else 1):
                at_once = Evaluation(now=_START + at, weight=10, early=early and repetition > 0)
                basis = AnalysisInput(at_once, {_COMPARED.name: measurement}, states, known)
                verdict = analyse(analysis, analysis.metrics, basis)
                states, known = dict(verdict.metrics), dict(verdict.evidence or {})
                if repetition == 0:
                    found.append((verdict.outcome, known))
                assert (verdict.outcome, known) == found[-1]
        return found

    assert evidence(repeated=True) == evidence(repeated=False)


def test_older_sample_counts_after_the_clock_was_set_back() -> None:
    """Another server, an hour behind: its samples must not be ignored for an hour."""
    metric = Metric("request-success-rate", Range(min=99.0), Unit.PERCENT, failure_limit=3)
    state = evaluate_threshold(metric, measured(90.0, 4000.0), MetricState(), 50.0, 15.0)
    state = evaluate_threshold(metric, measured(90.0, 3990.0), state, 50.0, 15.0)
    assert state.violations == 1
    assert evaluate_threshold(metric, measured(90.0, 400.0), state, 50.0, 15.0).violations == 2


def test_sample_without_a_time_counts_at_every_evaluation() -> None:
    """As custom PromQL, which says nothing about its samples."""
    metric = Metric("drift", Range(max=1.0), Unit.NUMBER, failure_limit=3, query="drift{}")
    measurement = Measurement(MeasurementKind.VALUE, 2.0)
    state = MetricState()
    for _ in range(3):
        state = evaluate_threshold(metric, measurement, state, 0.0, 15.0)
    assert state.violations == 3


def test_violation_after_a_pass_counts_at_once() -> None:
    """Of a sample one second later, and of the same sample where the window has moved on."""
    metric = Metric("request-success-rate", Range(min=99.0), Unit.PERCENT)
    passed = evaluate_threshold(metric, measured(100.0, 0.0, 1.0), MetricState(), 50.0, 15.0)
    for at in (1.0, 0.0):
        assert evaluate_threshold(metric, measured(90.0, at, 1.0), passed, 50.0, 15.0).violations == 1
