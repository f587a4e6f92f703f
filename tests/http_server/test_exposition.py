"""Tests of autocanary.http_server.exposition and rollouts: what a scraper reads, by prometheus_client's parser."""

from __future__ import annotations

import subprocess
import time

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from autocanary import __version__
from autocanary.decide.guarded_services import GuardedService
from autocanary.http_server.metric_table import METRIC_SPECS
from autocanary.model.comparison_summary import ComparisonSummary, RevisionCounts
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.observation import ServiceKey
from autocanary.model.policy import Component
from autocanary.model.progress import FINAL, MetricState, Phase
from autocanary.model.reason import Reason
from tests.http_server.examples import METRICS, World, rollout
from tests.testbed import setup
from tests.testbed.servers.skip_without_servers import require_servers

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(world: World) -> Series:
    families = text_string_to_metric_families(world.exposition.render().decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def of(series: Series, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    return {tuple(sorted(labels)): value for (found, labels), value in series.items() if found == name}


def one(series: Series, name: str, **labels: str) -> float | None:
    return next((v for (found, given), v in series.items() if found == name and set(labels.items()) <= given), None)


def test_running_rollout_has_all_its_series() -> None:
    """Info, weight, phase, the numbers read and the limits of the policy."""
    series = scrape(World(rollout()))
    about = {
        "component": "predictor",
        "stable": "mnist-predictor-00001",
        "candidate": "mnist-predictor-00002",
        "policy": "prod",
    }
    identity = {"namespace": "models", "service": "mnist", "rollout": "mnist-00002"}
    assert one(series, "autocanary_rollout_info", **identity, **about) == 1
    assert one(series, "autocanary_rollout_weight_percent", **identity) == 10
    assert one(series, "autocanary_rollout_phase", **identity, phase="Progressing", reason="Analysing") == 1
    assert one(series, "autocanary_metric_value", **identity, metric="request-success-rate") == 99.5
    assert one(series, "autocanary_metric_value", **identity, metric="request-duration") == 0.25
    assert one(series, "autocanary_metric_threshold", metric="request-success-rate", bound="min") == 99
    assert one(series, "autocanary_metric_threshold", metric="request-duration", bound="max") == 0.5
    assert len(of(series, "autocanary_metric_value")) == 2
    assert len(of(series, "autocanary_metric_threshold")) == 4


def test_finished_and_deleted_rollouts_leave_nothing_behind() -> None:
    """The series of a rollout go with it."""
    world = World(rollout("a"), rollout("b"))
    assert len(of(scrape(world), "autocanary_rollout_info")) == 2
    world.rollouts = [rollout("b", Phase.PROMOTED)]
    series = scrape(world)
    assert not [name for name, labels in series if "rollout" in dict(labels)]


@pytest.mark.parametrize("phase", list(Phase))
def test_each_phase(phase: Phase) -> None:
    """Running phases have one series with value 1, final ones none."""
    phases = of(scrape(World(rollout(phase=phase))), "autocanary_rollout_phase")
    assert len(phases) == (0 if phase in FINAL else 1)
    assert all(("phase", phase.value) in labels and value == 1 for labels, value in phases.items())


def test_services_that_the_guard_holds_without_a_policy_have_a_series_each() -> None:
    """1 where a revision waits; of the leader alone; of thousands those that wait come first."""
    world = World()
    rest = [GuardedService(ServiceKey("models", f"s{number}"), False, "") for number in range(2000)]
    world.guarded = [*rest, GuardedService(ServiceKey("models", "z", Component.TRANSFORMER), True, "")]
    name = "autocanary_guarded_service_without_policy"
    series = scrape(world)
    assert one(series, name, namespace="models", service="z", component="transformer") == 1
    assert one(series, name, namespace="models", service="s0", component="predictor") == 0
    assert len(of(series, name)) == 1000
    world.leads = False
    assert of(scrape(world), name) == {}


def test_standby_exports_no_rollouts() -> None:
    """With two replicas each rollout is seen once."""
    world = World(rollout())
    world.leads = False
    series = scrape(world)
    assert one(series, "autocanary_leader") == 0
    assert of(series, "autocanary_rollout_info") == {}
    world.leads = True
    assert one(scrape(world), "autocanary_leader") == 1


@pytest.mark.parametrize(
    ("evidence", "ratio"), [({}, None), ({"evidence_percent": 43.0}, 0.43), ({"evidence_percent": 100}, 1.0)]
)
def test_evidence_ratio_is_1_at_rollback(evidence: dict[str, float], ratio: float | None) -> None:
    """1 rolls back; a policy without comparisons has no such series."""
    assert one(scrape(World(rollout(evidence=evidence))), "autocanary_evidence_ratio") == ratio


def test_both_sides_of_a_comparison() -> None:
    """Requests and share of bad ones of candidate and stable, and how far it is cleared."""
    comparison_summary = ComparisonSummary(
        RevisionCounts(200.0, 3.0),
        RevisionCounts(1800.0, 9.0),
        evidence_percent=30.0,
        non_inferior_percent=25.0,
    )
    series = scrape(World(rollout(metrics={"error-rate": MetricState(comparison_summary=comparison_summary)})))
    requests = "autocanary_comparison_requests"
    assert one(series, requests, metric="error-rate", side="candidate") == 200
    assert one(series, requests, metric="error-rate", side="stable") == 1800
    assert one(series, "autocanary_comparison_bad_percent", side="candidate") == 1.5
    assert one(series, "autocanary_comparison_bad_percent", side="stable") == 0.5
    assert one(series, "autocanary_comparison_non_inferiority_ratio", metric="error-rate") == 0.25


def test_a_comparison_without_requests_or_that_is_none() -> None:
    """No share of nothing, and no series for a metric that cannot be compared."""
    metrics = {
        "error-rate": MetricState(comparison_summary=ComparisonSummary()),
        "request-duration": MetricState(
            comparison_summary=ComparisonSummary(not_compared_reason="the source has no histogram")
        ),
    }
    series = scrape(World(rollout(metrics=metrics)))
    assert len(of(series, "autocanary_comparison_requests")) == 2
    assert of(series, "autocanary_comparison_bad_percent") == {}
    assert len(of(series, "autocanary_comparison_non_inferiority_ratio")) == 1


def test_absent_weight_and_numbers_that_are_none() -> None:
    """What is not known has no series, rather than a zero."""
    odd = {
        "nan": MetricState(last=Measurement(MeasurementKind.NOT_A_NUMBER, float("nan"))),
        "inf": MetricState(last=Measurement(MeasurementKind.VALUE, float("inf"))),
        "never": MetricState(),
        "zero": MetricState(last=Measurement(MeasurementKind.VALUE, 0.0)),
        "tiny": MetricState(last=Measurement(MeasurementKind.VALUE, 1e-12)),
        "whole": MetricState(last=Measurement(MeasurementKind.VALUE, 7)),
    }
    series = scrape(World(rollout(weight=None, metrics=odd)))
    assert of(series, "autocanary_rollout_weight_percent") == {}
    values = {dict(labels)["metric"]: value for labels, value in of(series, "autocanary_metric_value").items()}
    assert values == {"zero": 0.0, "tiny": 1e-12, "whole": 7.0}


def test_labels_with_special_characters_survive() -> None:
    """Quotes, backslashes and line breaks in a metric's name come back as they were."""
    name = 'a "b"\\n\\\nc\\'
    series = scrape(World(rollout(metrics={name: METRICS["request-success-rate"]})))
    assert one(series, "autocanary_metric_value", metric=name) == 99.5


def test_two_components_of_one_service() -> None:
    """A transformer's rollout is apart from the predictor's."""
    other = rollout(name="mnist-transformer-00002", component=Component.TRANSFORMER)
    series = scrape(World(rollout(), other))
    assert len(of(series, "autocanary_rollout_weight_percent")) == 2
    assert one(series, "autocanary_rollout_info", component="transformer") == 1


def test_policy_is_asked_once_per_digest() -> None:
    """Limits are remembered by what identifies the policy; a new one is asked for."""
    world = World(rollout("a"), rollout("b"), rollout("c", policy_digest="d2"))
    scrape(world)
    scrape(world)
    assert world.asked == ["d1", "d2"]


def test_policy_that_cannot_be_read_has_no_limits() -> None:
    """The rest is exported all the same."""
    world = World(rollout())
    world.policy = None
    series = scrape(world)
    assert of(series, "autocanary_metric_threshold") == {}
    assert one(series, "autocanary_metric_value", metric="request-duration") == 0.25


def test_limits_of_policies_long_gone_are_forgotten() -> None:
    """The memory of limits is bounded, and what is forgotten is asked for again."""
    world = World(*(rollout(f"s{number}", policy_digest=f"d{number}") for number in range(1001)))
    scrape(world)
    world.asked.clear()
    world.rollouts = [rollout("s0", policy_digest="d0"), rollout("s1000", policy_digest="d1000")]
    series = scrape(world)
    assert world.asked == ["d0"]
    assert len(of(series, "autocanary_metric_threshold")) == 8


def test_counts_and_state_of_the_service() -> None:
    """Counters, histograms, policies and the build are there with their labels."""
    world = World()
    world.counters.on_decision(rollout(), Reason.STEP_PASSED.value)
    world.counters.on_rollout_finished(rollout(phase=Phase.ROLLED_BACK, reason=Reason.METRIC_VIOLATION))
    world.counters.query("ok")
    world.counters.count_kube_request("patch", 409)
    world.counters.count_notification("slack", "failed")
    world.counters.tick(0.03, 0.2)
    series = scrape(world)
    assert one(series, "autocanary_decisions_total", reason="StepPassed") == 1
    assert one(series, "autocanary_rollouts_finished_total", outcome="RolledBack", reason="MetricViolation") == 1
    assert one(series, "autocanary_prometheus_queries_total", outcome="ok") == 1
    assert one(series, "autocanary_kube_requests_total", verb="patch", code="409") == 1
    assert one(series, "autocanary_notifications_total", channel="slack", outcome="failed") == 1
    assert one(series, "autocanary_policies", valid="true") == 3
    assert one(series, "autocanary_policies", valid="false") == 1
    assert one(series, "autocanary_build_info", version=__version__) == 1
    assert one(series, "autocanary_tick_duration_seconds_count") == 1
    assert one(series, "autocanary_tick_duration_seconds_sum") == 0.03
    assert one(series, "autocanary_tick_duration_seconds_bucket", le="0.025") == 0
    assert one(series, "autocanary_tick_duration_seconds_bucket", le="0.05") == 1
    assert one(series, "autocanary_tick_lag_seconds_bucket", le="+Inf") == 1


def test_every_decision_reason_begins_at_zero() -> None:
    """increase() sees the first decision only if the series was there before it."""
    reasons = {dict(labels)["reason"] for labels in of(scrape(World()), "autocanary_decisions_total")}
    assert reasons == {reason.value for reason in Reason}


def test_exported_is_exactly_the_table() -> None:
    """Names, types, help and labels of what is exported are those of the table, in its documentation too."""
    compared = MetricState(comparison_summary=ComparisonSummary(RevisionCounts(10, 1), RevisionCounts(90, 1)))
    world = World(
        rollout(
            evidence={"version": 1, "evidence_percent": 43.0},
            metrics={**METRICS, "error-rate": compared},
            failed_requests={"version": 1, "failed": 12, "max": 1000},
        )
    )
    world.guarded = [GuardedService(ServiceKey("models", "mnist"), True, "")]
    world.counters.on_rollout_finished(rollout())
    world.counters.query("ok")
    world.counters.count_kube_request("get", 200)
    world.counters.count_notification("log", "delivered")
    families = list(text_string_to_metric_families(world.exposition.render().decode()))
    kinds = {"info": "gauge"}
    expected = {row.name.removesuffix("_total"): row for row in METRIC_SPECS}
    assert {family.name for family in families} == set(expected)
    for family in families:
        row = expected[family.name]
        assert family.type == kinds.get(row.kind, row.kind)
        assert family.documentation == row.help
        seen = {frozenset(sample.labels) - {"le"} for sample in family.samples}
        assert seen == {frozenset(row.labels)}, family.name


def test_failed_requests_and_their_budget() -> None:
    """Of a rollout whose policy limits them, and of no other."""
    series = scrape(World(rollout(failed_requests={"version": 1, "failed": 12, "max": 1000})))
    assert one(series, "autocanary_failed_requests", namespace="models", service="mnist", rollout="mnist-00002") == 12
    assert of(series, "autocanary_failed_requests_budget")
    assert not of(scrape(World(rollout())), "autocanary_failed_requests")


def test_watches_are_exported_by_kind() -> None:
    """Whether each cache is whole, and how many objects are left out."""
    text = World().exposition.render().decode()
    assert 'autocanary_watch_healthy{kind="InferenceService"} 1.0' in text
    assert 'autocanary_watch_healthy{kind="RolloutPolicy"} 0.0' in text
    assert 'autocanary_objects_skipped{kind="RolloutPolicy"} 2.0' in text


def test_family_without_series_still_has_its_header() -> None:
    """A service with nothing to do exports valid text."""
    text = World().exposition.render().decode()
    assert "# TYPE autocanary_rollout_phase gauge\n" in text
    assert text.endswith("\n")


def test_global_registry_is_left_alone() -> None:
    """What libraries register globally is not served, and nothing of ours is registered there."""
    before = {family.name for family in REGISTRY.collect()}
    text = World(rollout()).exposition.render().decode()
    assert {family.name for family in REGISTRY.collect()} == before
    assert "python_gc" not in text


def test_five_thousand_rollouts_cost_less_than_half_a_second() -> None:
    """CPU time of one scrape with 5,000 rollouts of three metrics each."""
    numbers = {
        name: MetricState(last=Measurement(MeasurementKind.VALUE, 99.123 + place, Unit.PERCENT))
        for place, name in enumerate(METRICS)
    }
    world = World(*(rollout(f"service-{number}", metrics=numbers) for number in range(5000)))
    world.exposition.render()
    before = time.process_time()
    text = world.exposition.render()
    spent = time.process_time() - before
    assert text.count(b"\nautocanary_metric_value{") == 15_000
    assert text.count(b"\nautocanary_metric_threshold{") == 20_000
    assert spent < 0.5


@pytest.mark.real
def test_promtool_accepts_exposition() -> None:
    """Prometheus' own linter accepts the page."""
    require_servers("promtool")
    world = World(rollout(), rollout("b", Phase.HOLDING))
    world.counters.on_rollout_finished(rollout())
    world.counters.query("ok")
    world.counters.count_kube_request("get", 200)
    world.counters.count_notification("log", "delivered")
    world.counters.tick(0.1, 0.0)
    done = subprocess.run(
        [str(setup.find("promtool")), "check", "metrics"],
        input=world.exposition.render(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
