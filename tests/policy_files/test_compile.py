"""From the document to the Policy: units removed, defaults filled in, short forms written out."""

from __future__ import annotations

from dataclasses import replace
from datetime import time
from zoneinfo import ZoneInfo

import pytest

from autocanary.model.measurement import Source, Unit
from autocanary.model.policy import (
    Analysis,
    CandidateCleanup,
    Component,
    Metric,
    NotificationRoute,
    OnFailure,
    OnUnstaged,
    OnWeightRemoved,
    Policy,
    Range,
    Selector,
    Step,
    Timeout,
    TimeoutAction,
    Webhook,
    WebhookType,
)
from autocanary.model.rollout_windows import Window
from autocanary.policy_files import validate
from autocanary.policy_files.compile import digest_of
from tests.policy_files.policy_texts import FULL_POLICY, MINIMAL_POLICY, document, named, only


def test_a_whole_policy() -> None:
    """Every field of the document arrives in the Policy, in core's units."""
    assert replace(only(FULL_POLICY), digest="", document={}) == Policy(
        name="prod-models",
        namespace="models",
        selector=Selector(names=("mnist", "fraud-*"), labels=(("tier", "prod"),)),
        steps=(Step(10, 300.0), Step(25, 300.0), Step(50, 300.0), Step(100, 600.0)),
        analysis=Analysis(
            metrics=(
                Metric("request-success-rate", Range(min=99.0), Unit.PERCENT, failure_limit=3),
                Metric(
                    "request-duration",
                    Range(max=0.5),
                    Unit.SECONDS,
                    quantile=0.95,
                    consecutive=True,
                    min_requests=100.0,
                    window=300.0,
                ),
                Metric(
                    "prediction-drift",
                    Range(max=0.0),
                    Unit.NUMBER,
                    query='sum(increase(drift_alerts_total{revision="{{ revision }}"}[{{ window }}]))',
                    dry_run=True,
                ),
            ),
            interval=20.0,
            warmup=40.0,
            window=120.0,
            window_follows=False,
            min_requests=60.0,
            source=Source.ISTIO,
            on_no_data=Timeout(300.0, TimeoutAction.PAUSE),
            on_outage=Timeout(3600.0, TimeoutAction.ROLLBACK),
        ),
        component=Component.TRANSFORMER,
        bake=600.0,
        progress_deadline=2700.0,
        on_failure=OnFailure.PAUSE,
        candidate_cleanup=CandidateCleanup.REMOVE,
        on_unstaged=OnUnstaged.IGNORE,
        on_weight_removed=OnWeightRemoved.PAUSE,
        windows=(Window((0, 3), time(9), time(17), ZoneInfo("Asia/Seoul")),),
        webhooks=(Webhook("smoke", WebhookType.PRE_ROLLOUT, "http://smoke/run", 30.0, 2, (("a", "1"), ("b", "2"))),),
        notifications=(
            NotificationRoute(
                ("started", "promoted", "rolled-back", "held"),
                slack_channel="#ml-ops",
                slack_mention=("S012AB3CD", "here"),
            ),
            NotificationRoute(webhook="https://hooks.example.com/x"),
            NotificationRoute(("warning",)),
        ),
        origin="policy:1",
    )


def test_defaults_equal_model_defaults() -> None:
    """The document's defaults are those of ``core.policy``, so that there is one set of them."""
    policy = only(MINIMAL_POLICY)
    metrics = (Metric("request-success-rate", Range(min=99.0), Unit.PERCENT),)
    assert policy == Policy(
        name="small",
        namespace="",
        selector=Selector(names=("mnist",)),
        steps=(Step(10, 300.0), Step(100, 300.0)),
        analysis=Analysis(metrics),
        digest=policy.digest,
        origin="policy:1",
    )


def test_partial_timeout_keeps_the_other_default() -> None:
    """``onNoData: {hold: 5m}`` still rolls back, ``onOutage: {hold: 5m}`` still holds."""
    analysis = only(MINIMAL_POLICY + "    onNoData: {hold: 5m}\n    onOutage: {hold: 5m}\n").analysis
    assert (analysis.on_no_data, analysis.on_outage) == (
        Timeout(300.0, TimeoutAction.ROLLBACK),
        Timeout(300.0, TimeoutAction.HOLD),
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("stepWeights: [10, 100]\n  stepDuration: 5m", (Step(10, 300.0), Step(100, 300.0))),
        ("stepWeights: [10, 100]\n  stepDuration: 5m\n  bake: 10m", (Step(10, 300.0), Step(100, 600.0))),
        ("stepWeights: [10, 100]\n  stepDuration: 5m\n  bake: 1m", (Step(10, 300.0), Step(100, 300.0))),
        ("stepWeights: [10, 50]\n  stepDuration: 5m", (Step(10, 300.0), Step(50, 300.0), Step(100, 0.0))),
        ("stepWeights: [10]\n  stepDuration: 5m\n  bake: 1m", (Step(10, 300.0), Step(100, 60.0))),
        ("stepWeights: [100]\n  stepDuration: 5m", (Step(100, 300.0),)),
        ("steps: [{setWeight: 10}]", (Step(10, 0.0), Step(100, 0.0))),
        (
            "steps: [{setWeight: 10}, {pause: {duration: 5m}}, {pause: {duration: 90s}}, {setWeight: 100}]",
            (Step(10, 390.0), Step(100, 0.0)),
        ),
        (
            "steps: [{setWeight: 10}, {pause: {}}, {pause: {duration: 1m}}, {setWeight: 50}, {pause: {}}]",
            (Step(10, 60.0, True), Step(50, 0.0, True), Step(100, 0.0)),
        ),
        (
            "steps: [{setWeight: 100}, {pause: {duration: 1m}}, {pause: {}}]\n  bake: 2m",
            (Step(100, 120.0, True),),
        ),
    ],
)
def test_steps(lines: str, expected: tuple[Step, ...]) -> None:
    """Pauses add up, the list ends at 100, and 100 is held for the longer of its pauses and ``bake``."""
    assert only(MINIMAL_POLICY.replace("stepWeights: [10, 100]\n  stepDuration: 5m", lines)).steps == expected


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (
            "{name: error-rate, thresholdRange: {max: 0.5%}}",
            Metric("error-rate", Range(max=0.5), Unit.PERCENT),
        ),
        ("{name: error-rate, thresholdRange: {max: 1}}", Metric("error-rate", Range(max=1.0), Unit.PERCENT)),
        (
            "{name: time-to-first-token, thresholdRange: {max: 2s}}",
            Metric("time-to-first-token", Range(max=2.0), Unit.SECONDS, quantile=0.99),
        ),
        (
            "{name: kv-cache-usage, thresholdRange: {max: 95}}",
            Metric("kv-cache-usage", Range(max=95.0), Unit.PERCENT),
        ),
        (
            "{name: request-count, thresholdRange: {min: 5}}",
            Metric("request-count", Range(min=5.0), Unit.REQUESTS),
        ),
        (
            "{name: x, query: up, thresholdRange: {min: -1, max: 0.5}, minRequests: 0}",
            Metric("x", Range(-1.0, 0.5), Unit.NUMBER, query="up", min_requests=0.0),
        ),
    ],
)
def test_units_and_quantiles_of_metrics(metric: str, expected: Metric) -> None:
    """Presets know their unit; durations have a quantile even when none is written."""
    assert only(MINIMAL_POLICY + f"      - {metric}\n").analysis.metrics[1] == expected


def test_a_window_to_midnight_and_on_every_day() -> None:
    """``"24:00"`` is the next midnight; days left out are all days."""
    lines = '  windows: [{from: "18:00", to: "24:00", timezone: UTC}]\n'
    (window,) = only(MINIMAL_POLICY + lines).windows
    assert window == Window(tuple(range(7)), time(18), time(0), ZoneInfo("UTC"))


def test_the_document_is_kept_as_it_was_written() -> None:
    """The snapshot of a running rollout shows its author's own words."""
    assert only(FULL_POLICY).document == document(FULL_POLICY)["spec"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("stepDuration: 5m", "stepDuration: 300s"),
        ("min: 99", 'min: "99%"'),
        ("[mnist]}", "[mnist], matchLabels: {}}"),
        ("stepDuration: 5m", "stepDuration: 5m\n  progressDeadline: 30m\n  bake: 0s"),
        (
            "stepWeights: [10, 100]\n  stepDuration: 5m",
            "steps: [{setWeight: 10}, {pause: {duration: 5m}}, {setWeight: 100}, {pause: {duration: 5m}}]",
        ),
        ("name: small", "name: another, namespace: models"),
    ],
)
def test_digest_ignores_spelling(one: str, other: str) -> None:
    """Other words for the same policy are no change."""
    changed = MINIMAL_POLICY.replace(one, other)
    assert changed != MINIMAL_POLICY
    assert only(changed).digest == only(MINIMAL_POLICY).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[10, 100]", "[11, 100]"),
        ("5m", "6m"),
        ("min: 99", "max: 99"),
        ("{names: [mnist]}", "{namespaces: [mnist]}"),
        ("stepDuration: 5m", "stepDuration: 5m\n  onFailure: {action: pause}"),
        ("stepDuration: 5m", 'stepDuration: 5m\n  windows: [{from: "01:00", to: "02:00", timezone: UTC}]'),
    ],
)
def test_a_change_of_meaning_changes_the_digest(one: str, other: str) -> None:
    """Every part of the meaning counts."""
    digest = only(MINIMAL_POLICY.replace(one, other)).digest
    assert digest != only(MINIMAL_POLICY).digest
    assert len(digest) == 16
    assert int(digest, 16) >= 0


def test_the_order_of_components_is_read_and_counts() -> None:
    """However it is listed."""
    one = only(MINIMAL_POLICY + "  after: [explainer, transformer]\n")
    assert one.after == (Component.TRANSFORMER, Component.EXPLAINER)
    assert only(MINIMAL_POLICY).after == ()
    assert (
        one.digest == only(MINIMAL_POLICY + "  after: [transformer, explainer]\n").digest != only(MINIMAL_POLICY).digest
    )


def test_zones_are_part_of_the_meaning() -> None:
    """Nine o'clock in Seoul is not nine o'clock in Berlin."""
    text = MINIMAL_POLICY + '  windows: [{from: "01:00", to: "02:00", timezone: Asia/Seoul}]\n'
    assert only(text).digest != only(text.replace("Asia/Seoul", "Europe/Berlin")).digest


def test_a_file_and_a_custom_resource_mean_the_same() -> None:
    """One schema, one meaning; only the origin differs."""
    from_file = only(named("same").replace("name: same", "name: same, namespace: models"))
    resource = document(named("same"))
    resource["metadata"]["namespace"] = "models"
    from_resource, problems = validate(resource)
    assert problems == ()
    assert from_resource is not None
    assert replace(from_resource, origin=from_file.origin) == from_file
    assert from_resource.digest == from_file.digest


@pytest.mark.parametrize(
    ("query", "query_type"),
    [
        ('sum(rate(a{r="{{ revision }}"}[{{ window }}]))', "vector"),
        ("scalar(a)", "scalar"),
        ("a[5m]", "matrix"),
        ("a smoothed", ""),
    ],
)
def test_query_has_its_type_from_the_policy(query: str, query_type: str) -> None:
    """It is parsed when the policy is read; an evaluation parses nothing."""
    policy = only(named("a") + f"      - name: own\n        query: '{query}'\n        thresholdRange: {{max: 1}}\n")
    assert policy.analysis.metrics[-1].query_type == query_type


def test_query_type_does_not_change_the_digest() -> None:
    """A newer parser does not change a policy."""
    policy = only(named("a") + "      - {name: own, query: a, thresholdRange: {max: 1}}\n")
    metrics = tuple(replace(metric, query_type="") for metric in policy.analysis.metrics)
    assert digest_of(replace(policy, analysis=replace(policy.analysis, metrics=metrics))) == policy.digest
