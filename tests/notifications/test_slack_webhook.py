"""Tests of autocanary.notifications.slack_webhook against a receiver that answers as Slack's incoming webhooks do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autocanary import logs
from autocanary.errors import DeliveryError
from autocanary.model.decision import Event
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.policy import NotificationRoute
from autocanary.model.progress import MetricState, Phase
from autocanary.model.reason import Reason
from autocanary.notifications.slack_webhook import SlackWebhook, body
from autocanary.outbound.http_client import NO_RETRY, HttpClient
from tests.notifications.example_messages import message, policy_of, progress, rollout
from tests.notifications.http_receiver import Received, Receiver, Reply
from tests.notifications.slack_server import fits, shown


def slack_like(got: Received) -> Reply:
    """``ok`` for a payload within Slack's rules; otherwise its 400 with the name of the fault."""
    try:
        payload = got.json
    except ValueError:
        return Reply(400, b"invalid_payload")
    if not payload.get("text") and not payload.get("attachments"):
        return Reply(400, b"no_text")
    return Reply(200, b"ok") if fits(payload) else Reply(400, b"invalid_blocks")


@pytest.fixture
def url_file(tmp_path: Path, receiver: Receiver) -> Path:
    receiver.reply_with = slack_like
    path = tmp_path / "url"
    path.write_text(receiver.url("/services/T0AAAA/B0BBBB/s3cr3t") + "\n")
    return path


@pytest.mark.parametrize("event", list(Event))
def test_every_event_is_a_valid_slack_message(
    receiver: Receiver, http: HttpClient, url_file: Path, event: Event
) -> None:
    """Each transition makes a valid payload, posted to the secret path."""
    SlackWebhook(url_file, http, cluster="prod-1", policy_of=policy_of).send(message(event))
    [got] = receiver.received
    assert got.path == "/services/T0AAAA/B0BBBB/s3cr3t"
    assert slack_like(got) == Reply(200, b"ok")


def test_rollback_shows_cause_action_and_advice() -> None:
    """A rollback holds value, threshold, requests, what was done and what to do now, in red."""
    payload = body(message(), "prod-1", policy_of)
    text = shown(payload)
    assert payload["text"] == ":x: models/mnist: rolled back"
    assert payload["attachments"][0]["color"] == "#e01e5a"
    assert text.count("97.2 %") == 1
    assert "*p99 latency*\n340 ms (limit 500 ms), 1,234 requests" in text
    assert ":white_circle: *drift*" in text
    assert "not acted on" in text
    assert "MetricViolation" in text
    assert "kubectl logs -n models" in text
    assert "prod-1 · models/mnist-00002 · mnist-predictor-00002 instead of mnist-predictor-00001" in text
    assert "2026-01-01 00:00:00 UTC" in text


def test_promotion_is_green_and_a_missed_release_is_yellow() -> None:
    """Colour follows the outcome."""
    assert body(message(Event.PROMOTED), "", policy_of)["attachments"][0]["color"] == "#2eb67d"
    ended = message(Event.ENDED, phase=Phase.MISSED.value, reason=Reason.MISSED_UNSTAGED.value)
    assert body(ended, "", policy_of)["attachments"][0]["color"] == "#ecb22e"


def test_shows_the_reason_without_metrics_or_message() -> None:
    """A start has measured nothing; the message still says why it is there."""
    about = rollout(progress=progress(metrics={}))
    quiet = message(Event.STARTED, about=about, message="", reason="RolloutStarted")
    text = shown(body(quiet, "", policy_of))
    assert "RolloutStarted.\n" in text
    assert "*Metrics*" not in text


def test_unknown_event_is_shown() -> None:
    """An event of a newer version has no words of its own, and is still sent."""
    known = message()
    payload = body(replace(known, notification=replace(known.notification, event="rollout_rewound")), "", policy_of)
    assert payload["text"] == ":speech_balloon: models/mnist: rollout_rewound"
    assert "What autocanary does" not in shown(payload)


def test_escapes_mentions_and_markup() -> None:
    """Slack's three special characters are escaped wherever text comes from outside."""
    about = rollout(progress=progress(metrics={"<!here>": MetricState(last=Measurement(MeasurementKind.VALUE, 1.0))}))
    odd = message(about=about, message="<!channel> a & b", details=(("by", "<@U1>"),))
    text = shown(body(odd, "<c>", policy_of))
    assert "<" not in text
    assert "&lt;!channel&gt; a &amp; b" in text
    assert "by &lt;@U1&gt;" in text


def test_long_text_and_many_metrics_fit_block_kit(receiver: Receiver, http: HttpClient, url_file: Path) -> None:
    """Slack's limits are kept by cutting, with a word on what was left out."""
    measurement = Measurement(MeasurementKind.OUTAGE, unit=Unit.PERCENT, detail="d" * 5000)
    about = rollout(progress=progress(metrics={f"m{number}": MetricState(last=measurement) for number in range(12)}))
    channel = SlackWebhook(url_file, http)
    channel.send(message(about=about, message="x" * 9000, details=(("long", "y" * 9000),)))
    assert "…and 4 more metrics" in shown(receiver.received[0].json)


def test_routes_filter_slack_events(http: HttpClient, tmp_path: Path) -> None:
    """A policy's Slack routes narrow the events."""
    channel = SlackWebhook(tmp_path / "x", http)
    only = (NotificationRoute(events=("promoted",), slack_channel="#ml"),)
    assert channel.name == "slack"
    assert channel.wants(message(Event.PROMOTED, routes=only))
    assert not channel.wants(message(Event.STEP, routes=only))


def test_rotated_url_is_used_at_once(receiver: Receiver, http: HttpClient, url_file: Path) -> None:
    """The file is read at each use."""
    channel = SlackWebhook(url_file, http)
    channel.send(message())
    url_file.write_text(receiver.url("/services/T0AAAA/B0BBBB/rotated"))
    channel.send(message())
    assert [got.path.rpartition("/")[2] for got in receiver.received] == ["s3cr3t", "rotated"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"cannot be read from .*/url \(No such file or directory\)"),
        (b"\xff\xfe", r"cannot be read from .*/url \(it is not text\)"),
        (b"", "must hold Slack's webhook URL"),
        (b"s3cr3t-without-scheme", "must hold Slack's webhook URL"),
    ],
)
def test_url_that_cannot_be_used(tmp_path: Path, http: HttpClient, content: bytes | None, words: str) -> None:
    """A missing or wrong file is said with its path, never with its content, and tried again later."""
    path = tmp_path / "url"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DeliveryError, match=words) as caught:
        SlackWebhook(path, http).send(message())
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    ("reply", "pause"),
    [
        (Reply(400, b"invalid_payload"), NO_RETRY),
        (Reply(403, b"action_prohibited"), NO_RETRY),
        (Reply(404, b"no_service"), NO_RETRY),
        (Reply(410, b"channel_is_archived"), NO_RETRY),
        (Reply(429, b"rate_limited", {"Retry-After": "30"}), 30.0),
        (Reply(500, b"rollup_error"), None),
    ],
)
def test_slack_rejects_the_message(
    receiver: Receiver, http: HttpClient, url_file: Path, reply: Reply, pause: float | None
) -> None:
    """Slack's own word is in the error, its secret is not, and its pause is kept."""
    receiver.replies(reply)
    with pytest.raises(DeliveryError, match=reply.body.decode()) as caught:
        SlackWebhook(url_file, http).send(message())
    assert "s3cr3t" not in str(caught.value)
    assert "T0AAAA" not in str(caught.value)
    assert caught.value.retry_after == pause


def test_warns_once_of_an_ignored_slack_channel(
    receiver: Receiver, http: HttpClient, url_file: Path, logged: logs.CapturedLogs
) -> None:
    """A webhook cannot choose the channel: said once per channel, and the message goes out."""
    channel = SlackWebhook(url_file, http)
    for name in ("#ml", "#ml", "#ops"):
        channel.send(message(routes=(NotificationRoute(slack_channel=name), NotificationRoute(webhook="http://h/"))))
    assert [line["slack_channel"] for line in logged.named("slack_channel_ignored")] == ["#ml", "#ops"]
    assert len(receiver.received) == 3
