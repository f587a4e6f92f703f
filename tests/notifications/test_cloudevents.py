"""Tests of autocanary.notifications.webhook: against the specification's rules for attributes and JSON."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from autocanary.model.decision import Event
from autocanary.notifications.webhook import CONTENT_TYPE, WebhookChannel, cloudevent
from autocanary.outbound.http_client import HttpClient
from tests.notifications.example_messages import message, policy_of
from tests.notifications.http_receiver import Received, Receiver, Reply


def faults(content_type: str, body: bytes) -> list[str]:
    """What a receiver of structured CloudEvents (CloudEvents 1.0.2, sections 3 and 3.1) has against a request."""
    if content_type.partition(";")[0].strip() != "application/cloudevents+json":
        return ["not structured mode"]
    event: dict[str, Any] = json.loads(body)
    wrong = [
        name
        for name in ("id", "source", "specversion", "type")
        if not isinstance(event.get(name), str) or not event[name]
    ]
    wrong += [name for name in event if name != "data" and not re.fullmatch(r"[a-z0-9]{1,20}", name)]
    wrong += [name for name, value in event.items() if name != "data" and not isinstance(value, str | int | bool)]
    if event.get("specversion") != "1.0":
        wrong.append("specversion")
    if re.search(r"[\s<>\"{}|\\^`]", event["source"]) or urlsplit(event["source"]).geturl() != event["source"]:
        wrong.append("source is no URI reference")
    if "time" in event and datetime.fromisoformat(event["time"].replace("Z", "+00:00")).tzinfo is None:
        wrong.append("time")
    if event.get("datacontenttype") != "application/json":
        wrong.append("datacontenttype")
    return wrong


def ce_receiver(got: Received) -> Reply:
    """As a broker takes structured events: 202, or 400 with what is wrong."""
    wrong = faults(got.headers.get("Content-Type", ""), got.body)
    return Reply(400, ", ".join(wrong).encode()) if wrong else Reply(202, b"")


@pytest.mark.parametrize("cluster", ["", "prod-1", "prod eu/ä <1>"])
@pytest.mark.parametrize("event", list(Event))
def test_every_event_is_a_valid_cloudevent(receiver: Receiver, http: HttpClient, event: Event, cluster: str) -> None:
    """Whatever the cluster is called."""
    receiver.reply_with = ce_receiver
    WebhookChannel(receiver.url(), http, cluster=cluster, policy_of=policy_of).send(message(event))
    [got] = receiver.received
    assert faults(got.headers["Content-Type"], got.body) == []
    assert got.json["type"] == f"dev.autocanary.{event.value}"


def test_the_receiver_of_these_tests_refuses_what_is_no_cloudevent() -> None:
    """Otherwise the test above could not fail."""
    made = json.dumps({**cloudevent(message(), "c", {}), "source": "", "dataVersion": 1, "time": "2026-01-01T00:00:00"})
    assert faults(CONTENT_TYPE, made.encode()) == ["source", "dataVersion", "time"]
    assert faults("application/json", b"{}") == ["not structured mode"]


def test_the_attributes() -> None:
    """What they are made of; the data is passed through."""
    assert cloudevent(message(), "prod 1", {"a": 1}) == {
        "specversion": "1.0",
        "id": "models/mnist-00002/rollout_rolled_back/1767225600000",
        "source": "/autocanary/prod%201",
        "type": "dev.autocanary.rollout_rolled_back",
        "subject": "models/mnist",
        "time": "2026-01-01T00:00:00Z",
        "datacontenttype": "application/json",
        "data": {"a": 1},
    }
    assert cloudevent(message(), "", {})["source"] == "/autocanary"


def test_redelivery_has_the_same_id(receiver: Receiver, http: HttpClient) -> None:
    """The first answer was lost: the receiver sees by id and source that it has it."""
    receiver.replies(Reply(503), Reply(202))
    channel = WebhookChannel(receiver.url(), http, cluster="c")
    with pytest.raises(Exception, match="503"):
        channel.send(message())
    WebhookChannel(receiver.url(), http, cluster="c").send(message())
    first, second = (got.json for got in receiver.received)
    assert (first["id"], first["source"]) == (second["id"], second["source"])
