"""The analysis of a step: what it replaces, how long it holds, and what is wrong with it, with its place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocanary.model.measurement import Unit
from autocanary.model.policy import (
    ComparisonPolicy,
    ComparisonPreset,
    Metric,
    OnInconclusive,
    Range,
    Timeout,
    TimeoutAction,
)
from autocanary.policy_files.compile import MIN_COMPARED_STEP
from tests.policy_files.policy_texts import only, problems

HEAD = "apiVersion: autocanary.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {name: a, namespace: models}\nspec:\n"
ERRORS = Metric("error-rate", Range(), Unit.PERCENT, compare=ComparisonPolicy())
LATENCY = Metric("request-duration", Range(), Unit.SECONDS, quantile=0.99, compare=ComparisonPolicy())

STEPS = (
    HEAD
    + """\
  analysis: {warmup: 20s, firstWarmup: 5m, minRequests: 40, maxFailedRequests: 100}
  steps:
    - setWeight: 5
    - setWeight: 20
      analysis:
        minRequests: 400
        metrics:
          - {name: error-rate, compare: {to: stable}}
          - {name: request-success-rate, thresholdRange: {min: 99}, consecutiveFailureLimit: 3}
    - pause: {duration: 10m}
    - setWeight: 50
      analysis: {warmup: 2m, preset: robust, onOutage: {hold: 1h, then: rollback}}
    - setWeight: 80
"""
)


def test_each_step_has_what_was_stated_last() -> None:
    """A field that a step does not write is as it was, and the step of 100 % that is added has the last one's."""
    policy = only(STEPS)
    assert [step.weight for step in policy.steps] == [5, 20, 50, 80, 100]
    assert [step.analysis_from for step in policy.steps] == [0, 2, 3, 3, 3]
    first, second, third, fourth, last = (policy.analysis_at(index) for index in range(5))
    assert first is policy.analysis
    assert first.metrics == (ERRORS, LATENCY)
    assert [metric.name for metric in second.metrics] == ["error-rate", "request-success-rate"]
    assert (second.min_requests, second.warmup, second.on_outage) == (400.0, 20.0, first.on_outage)
    robust = ComparisonPolicy(preset=ComparisonPreset.ROBUST)
    assert third.metrics == (replace(ERRORS, compare=robust), second.metrics[1])
    assert (third.min_requests, third.warmup) == (400.0, 120.0)
    assert third.on_outage == Timeout(3600.0, TimeoutAction.ROLLBACK)
    assert third == fourth == last
    assert {each.max_failed_requests for each in policy.analyses} == {100}


def test_first_warmup_is_that_of_the_first_step_alone() -> None:
    """A step that states a warm-up has its own, the first one too."""
    policy = only(STEPS)
    assert [policy.warmup_at(step) for step in range(-1, 5)] == [300.0, 300.0, 20.0, 120.0, 120.0, 120.0]
    own = only(STEPS.replace("- setWeight: 5\n", "- {setWeight: 5, analysis: {warmup: 1m}}\n"))
    assert [own.warmup_at(step) for step in range(5)] == [60.0, 60.0, 120.0, 120.0, 120.0]
    short = only(HEAD + "  stepWeights: [10, 50]\n  analysis: {firstWarmup: 3m}\n")
    assert [short.warmup_at(step) for step in range(3)] == [180.0, 30.0, 30.0]


def test_steps_that_compare_wait_for_evidence() -> None:
    """A step of thresholds alone, without a pause, is not held; one that compares is."""
    policy = only(
        HEAD
        + "  analysis: {metrics: [{name: error-rate, thresholdRange: {max: 1%}}]}\n"
        + "  steps:\n    - setWeight: 5\n    - {setWeight: 20, analysis: {metrics: [{name: error-rate, compare: {}}]}}\n"
    )
    assert [step.hold for step in policy.steps] == [0.0, MIN_COMPARED_STEP, 0.0]
    assert policy.analysis_at(0).on_inconclusive is None
    assert policy.analysis_at(1).on_inconclusive is OnInconclusive.HOLD


def test_metrics_are_found_by_name_at_every_step() -> None:
    """The step's own, then those of other steps."""
    policy = only(STEPS)
    assert policy.metrics_at(0)["error-rate"] == ERRORS
    assert policy.metrics_at(2)["error-rate"].compare == ComparisonPolicy(preset=ComparisonPreset.ROBUST)
    assert set(policy.metrics_at(0)) == {"error-rate", "request-duration", "request-success-rate"}
    assert len(policy.all_metrics) == 4


@pytest.mark.parametrize(
    ("step", "found"),
    [
        (
            "- {pause: {duration: 5m}, analysis: {warmup: 1m}}",
            "p.yaml:7:33: this step sets no weight: write analysis beside the - setWeight from which it holds",
        ),
        (
            "- {setWeight: 50, analysis: {interval: 1m}}",
            "spec.steps[1].analysis.interval: unknown field (it belongs under spec.analysis)",
        ),
        (
            "- {setWeight: 50, analysis: {metrics: [{name: error-rat, thresholdRange: {max: 1}}]}}",
            "did you mean error-rate?",
        ),
        (
            "- {setWeight: 50, analysis: {metrics: [{name: error-rate, thresholdRange: {max: 1}, dryRun: true}]}}",
            "every metric is dryRun, so nothing would stop a bad candidate",
        ),
        ("- {setWeight: 50, analysis: {metrics: []}}", "the policy has no metric"),
        (
            "- {setWeight: 50, analysis: {metrics: [{name: request-success-rate, compare: {to: stable}}]}}",
            "request-success-rate and error-rate compare the same requests",
        ),
        (
            "- {setWeight: 50, analysis: {metrics: [{name: error-rate, compare: {to: stable}, dryRun: true}, "
            "{name: request-duration, thresholdRange: {max: 1s}}]}}",
            "the comparison of error-rate decides at one step and is a dry run at another",
        ),
        (
            "- {setWeight: 50, analysis: {metrics: [{name: error-rate, compare: {}, consecutiveFailureLimit: 3}]}}",
            "there is no thresholdRange whose violations could be counted",
        ),
        ("- {setWeight: 50, analysis: {minRequests: -1}}", "-1 is less than 0"),
    ],
)
def test_errors_name_the_place_in_the_step(step: str, found: str) -> None:
    """Line and column of the step's own field, and the same checks as in the policy's analysis."""
    text = (
        HEAD
        + "  analysis: {metrics: [{name: error-rate, compare: {to: stable}}]}\n  steps: [{setWeight: 10},\n"
        + f"    {step.removeprefix('- ')}]\n"
    )
    shown = [str(each) for each in problems(text)]
    assert any(found.split(": ")[-1] in each or found in each for each in shown), shown
    assert all(":7:" in each for each in shown), shown
