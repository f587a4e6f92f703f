"""Tests of autocanary.notifications.webhook against a real receiver."""

from __future__ import annotations

import json

import pytest

from autocanary.errors import DeliveryError
from autocanary.model.comparison_summary import ComparisonSummary, RevisionCounts
from autocanary.model.comparison_wording import comparison_lines
from autocanary.model.decision import Event
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.policy import NotificationRoute
from autocanary.model.progress import MetricState
from autocanary.notifications.webhook import PolicyWebhookChannels, WebhookChannel, payload
from autocanary.outbound.http_client import HttpClient
from tests.notifications.example_messages import message, policy_of, progress, rollout
from tests.notifications.http_receiver import Receiver, Reply

READ = Measurement(MeasurementKind.VALUE, 1.0, Unit.PERCENT, requests=1000.0)


def test_payload_and_headers_on_the_wire(receiver: Receiver, http: HttpClient) -> None:
    """The documented object and headers are what a receiver gets."""
    WebhookChannel(receiver.url("/h"), http, cluster="prod-1", policy_of=policy_of).send(
        message(details=(("writer", "kubectl-edit"),))
    )
    [got] = receiver.received
    assert got.headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert got.headers["Idempotency-Key"] == got.json["id"]
    assert got.json["data"] == {
        "id": "models/mnist-00002/rollout_rolled_back/1767225600000",
        "event": "rollout_rolled_back",
        "time": "2026-01-01T00:00:00Z",
        "cluster": "prod-1",
        "namespace": "models",
        "service": "mnist",
        "component": "predictor",
        "rollout": "mnist-00002",
        "stable": "mnist-predictor-00001",
        "candidate": "mnist-predictor-00002",
        "phase": "RolledBack",
        "step": 1,
        "steps": 3,
        "weight": 0,
        "reason": "MetricViolation",
        "message": "success rate 97.2 % (needs 99 %), 1,234 requests, 3 of 3 violations",
        "dryRun": False,
        "metrics": [
            {
                "name": "request-success-rate",
                "verdict": "violation",
                "kind": "value",
                "value": 97.2,
                "unit": "percent",
                "min": 99.0,
                "max": None,
                "requests": 1234.0,
                "dryRun": False,
                "comparison": None,
            },
            {
                "name": "request-duration",
                "verdict": "pass",
                "kind": "value",
                "value": 0.34,
                "unit": "seconds",
                "min": None,
                "max": 0.5,
                "requests": 1234.0,
                "dryRun": False,
                "comparison": None,
            },
            {
                "name": "drift",
                "verdict": "inconclusive",
                "kind": "no-series",
                "value": None,
                "unit": "number",
                "min": None,
                "max": 0.0,
                "requests": None,
                "dryRun": True,
                "comparison": None,
            },
        ],
        "failedRequests": None,
        "models": {"stable": None, "candidate": None, "changes": []},
        "releasedBy": None,
        "links": {"page": None, "runbook": None},
        "details": {"writer": "kubectl-edit"},
    }


def test_payload_is_strict_json_without_policy_and_with_nan() -> None:
    """A number that JSON has no word for is null, and an unknown policy leaves the steps null."""
    odd = MetricState(last=Measurement(MeasurementKind.NOT_A_NUMBER, float("nan"), Unit.PERCENT))
    made = payload(message(about=rollout(progress=progress(metrics={"m": odd}))), "", lambda _: None)
    assert made["steps"] is None
    assert made["metrics"][0]["value"] is None
    json.dumps(made, allow_nan=False)


@pytest.mark.parametrize(("status", "final"), [(410, True), (500, False)])
def test_other_statuses_are_delivery_errors(receiver: Receiver, http: HttpClient, status: int, final: bool) -> None:
    """A refusal is for good, a fault is not."""
    receiver.replies(Reply(status, b"why"))
    with pytest.raises(DeliveryError, match=f"answered {status}: why") as caught:
        WebhookChannel(receiver.url(), http).send(message())
    assert (caught.value.retry_after == float("inf")) is final


def test_default_webhook_follows_default_routes(http: HttpClient) -> None:
    """A policy whose general route names rollbacks only silences steps here, too."""
    channel = WebhookChannel("http://h/", http)
    assert channel.name == "webhook"
    only = (NotificationRoute(events=("rolled-back",)),)
    assert not channel.wants(message(Event.STEP, routes=only))
    assert channel.wants(message(Event.ROLLED_BACK, routes=only))


def test_policy_webhooks_are_notified_too(receiver: Receiver, http: HttpClient) -> None:
    """Each address that a route names for this event is a channel, named without its secret, once."""
    routes = (
        NotificationRoute(webhook=receiver.url("/a?key=s3cr3t")),
        NotificationRoute(events=("rolled-back",), webhook=receiver.url("/a?key=s3cr3t")),
        NotificationRoute(events=("rolled-back",), webhook=receiver.url("/b")),
        NotificationRoute(events=("promoted",), webhook=receiver.url("/c")),
        NotificationRoute(slack_channel="#x"),
    )
    given = message(routes=routes)
    channels = PolicyWebhookChannels(http, cluster="c1", policy_of=policy_of)(given)
    for channel in channels:
        assert channel.wants(message(Event.STEP, routes=(NotificationRoute(events=("promoted",)),)))
        channel.send(given)
    assert [got.path for got in receiver.received] == ["/a?key=s3cr3t", "/b"]
    assert [got.json["data"]["cluster"] for got in receiver.received] == ["c1", "c1"]
    names = [channel.name for channel in channels]
    assert len(set(names)) == 2
    assert all(name.startswith(f"webhook:http://127.0.0.1:{receiver.port}#") for name in names)
    assert names == [channel.name for channel in PolicyWebhookChannels(http)(given)]


def test_comparison_has_counts_of_both_revisions() -> None:
    """What was counted on each, and how much it proves."""
    comparison_summary = ComparisonSummary(
        RevisionCounts(1000, 10),
        RevisionCounts(9000, 45),
        evidence_percent=80.0,
        non_inferior_percent=1.5,
        recent_candidate=RevisionCounts(500, 8),
        recent_stable=RevisionCounts(4500, 20),
        recent_seconds=300.0,
        needed_requests=1900.0,
        needed_seconds=720.0,
    )
    about = rollout(
        progress=progress(
            metrics={"error-rate": MetricState(ok=None, last=READ, comparison_summary=comparison_summary)}
        )
    )
    [row] = payload(message(about=about), "", policy_of)["metrics"]
    assert row["comparison"] == {
        "candidate": {"requests": 1000, "bad": 10},
        "stable": {"requests": 9000, "bad": 45},
        "recent": {
            "seconds": 300.0,
            "candidate": {"requests": 500, "bad": 8},
            "stable": {"requests": 4500, "bad": 20},
        },
        "difference": {"points": 0.5, "interval": [-0.6508, 2.4715], "confidencePercent": 95.0},
        "slowerThanSeconds": None,
        "limitPercent": None,
        "evidencePercent": 80.0,
        "nonInferiorPercent": 1.5,
        "neededRequests": 1900.0,
        "neededSeconds": 720.0,
        "text": list(comparison_lines(comparison_summary)),
        "note": "",
    }


def test_failed_requests_and_their_budget() -> None:
    """Null in a rollout without a budget, as above."""
    about = rollout(progress=progress(failed_requests={"version": 1, "failed": 1204, "max": 1000}))
    assert payload(message(about=about), "", policy_of)["failedRequests"] == {"count": 1204, "max": 1000}
