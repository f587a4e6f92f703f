"""Comparisons in policies: what is written, what it means, and what stays as it was."""

from __future__ import annotations

import pytest

from autocanary.model.measurement import Unit
from autocanary.model.policy import (
    Analysis,
    ComparisonPolicy,
    ComparisonPreset,
    Metric,
    OnInconclusive,
    Range,
    Step,
)
from autocanary.policy_files.compile import MIN_COMPARED_STEP
from tests.policy_files.policy_texts import MINIMAL_POLICY, only, problems

HEAD = "apiVersion: autocanary.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {name: a}\nspec:\n"
PLAIN = HEAD + "  stepWeights: [10, 100]\n  analysis:\n    metrics:\n"
ERRORS = Metric("error-rate", Range(), Unit.PERCENT, compare=ComparisonPolicy())
LATENCY = Metric("request-duration", Range(), Unit.SECONDS, quantile=0.99, compare=ComparisonPolicy())


def metric(text: str, *, head: str = PLAIN) -> Metric:
    return only(head + f"      - {text}\n").analysis.metrics[-1]


@pytest.mark.parametrize("analysis", ["", "  analysis: {}\n", "  analysis: {preset: default, minRequests: 50}\n"])
def test_default_metrics_compare_errors_and_latency(analysis: str) -> None:
    """At the pace of the evidence, and held when nothing can be said."""
    policy = only(HEAD + "  selector: {names: [mnist]}\n  stepWeights: [10, 50, 100]\n" + analysis)
    assert policy.analysis == Analysis((ERRORS, LATENCY), on_inconclusive=OnInconclusive.HOLD)
    assert policy.steps == (
        Step(10, MIN_COMPARED_STEP),
        Step(50, MIN_COMPARED_STEP),
        Step(100, MIN_COMPARED_STEP),
    )
    assert policy.step_timeout is None


def test_explicit_step_duration_is_kept() -> None:
    """Then each step lasts at least so long; 100 % at the end of a shorter list is not held."""
    policy = only(HEAD + "  stepWeights: [10, 50]\n  stepDuration: 5m\n  stepTimeout: 1h\n  bake: 10m\n")
    assert policy.steps == (Step(10, 300.0), Step(50, 300.0), Step(100, 600.0))
    assert policy.step_timeout == 3600


def test_steps_without_pause_get_the_minimum_duration() -> None:
    """A manual step waits for its evidence, and then for a user."""
    policy = only(
        HEAD + "  steps: [{setWeight: 5}, {setWeight: 20}, {pause: {}}, {setWeight: 100}, {pause: {duration: 1h}}]\n"
    )
    assert policy.steps == (
        Step(5, MIN_COMPARED_STEP),
        Step(20, MIN_COMPARED_STEP, approval=True),
        Step(100, 3600.0),
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{}", ComparisonPolicy()),
        ("{to: stable}", ComparisonPolicy()),
        ("{to: stable, margin: 0.5%, confidence: 99%}", ComparisonPolicy(0.5, 99.0)),
        ("{margin: 2, confidence: 95}", ComparisonPolicy(2.0, 95.0)),
        ("{ratio: 2}", ComparisonPolicy(ratio=2.0)),
        ("{preset: robust}", ComparisonPolicy(preset=ComparisonPreset.ROBUST)),
    ],
)
def test_a_comparison(written: str, expected: ComparisonPolicy) -> None:
    """Percent with or without the sign."""
    found = metric(f"{{name: error-rate, compare: {written}}}")
    assert (found.compare, found.range, found.objective) == (expected, Range(), False)


def test_analysis_preset_is_the_default_for_metrics() -> None:
    """A metric's own wins."""
    text = HEAD + "  stepWeights: [10, 100]\n  analysis:\n    preset: strict\n    metrics:\n"
    both = "      - {name: error-rate, compare: {}}\n      - {name: request-duration, compare: {preset: fast}}\n"
    found = only(text + both).analysis.metrics
    assert [each.compare and each.compare.preset for each in found] == [
        ComparisonPreset.STRICT,
        ComparisonPreset.FAST,
    ]
    assert [
        each.compare and each.compare.preset for each in only(text.replace("    metrics:\n", "")).analysis.metrics
    ] == [
        ComparisonPreset.STRICT,
        ComparisonPreset.STRICT,
    ]


@pytest.mark.parametrize(
    ("more", "objective"), [("", True), (", failureLimit: 1", False), (", consecutive: true", False)]
)
def test_range_with_comparison_is_an_objective(more: str, objective: bool) -> None:
    """With a failureLimit the range is a plain threshold."""
    found = metric(f"{{name: error-rate, compare: {{}}, thresholdRange: {{max: 1%}}{more}}}")
    assert (found.range, found.objective) == (Range(max=1.0), objective)


def test_range_without_comparison_is_a_threshold() -> None:
    """No objective, no comparison, and the progress deadline limits a hold."""
    policy = only(MINIMAL_POLICY)
    (found,) = policy.analysis.metrics
    assert (found.objective, found.compare, policy.analysis.on_inconclusive) == (False, None, None)
    assert policy.steps == (Step(10, 300.0), Step(100, 300.0))


@pytest.mark.parametrize("then", list(OnInconclusive))
def test_on_inconclusive(then: OnInconclusive) -> None:
    """Also for thresholds, where it is written."""
    text = MINIMAL_POLICY.replace("  analysis:\n", f"  analysis:\n    onInconclusive: {then.value}\n")
    assert only(text).analysis.on_inconclusive is then


def test_dry_run_comparison_sets_no_minimum_duration() -> None:
    """So the steps need their duration."""
    watched = "      - {name: error-rate, compare: {}, dryRun: true}\n      - {name: request-duration, thresholdRange: {max: 1s}}\n"
    (problem,) = problems(PLAIN + watched)
    assert "stepDuration is missing" in problem
    policy = only((PLAIN + watched).replace("  analysis", "  stepDuration: 1m\n  analysis"))
    assert policy.analysis.on_inconclusive is None


def test_missing_duration_hides_no_other_problem() -> None:
    """Whether the steps could be paced is not known while the metrics cannot be read."""
    (problem,) = problems(HEAD + "  stepWeights: [10, 100]\n  analysis: {metrics: 5}\n")
    assert "metrics" in problem
