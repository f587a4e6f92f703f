"""Kubernetes Events: what they say, and that each is written once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocanary.errors import Busy, DeliveryError, Forbidden, Unreachable
from autocanary.kube.events import EventWriter
from autocanary.model.progress_json import with_stored_fields
from autocanary.ports import Message
from tests.kube.fake_api import FakeApi, Reply, status
from tests.kube.samples import notification, rollout

MESSAGE = Message(notification=notification(), rollout=rollout(uid="rollout-uid"))


def test_both_objects_get_an_event(api: FakeApi) -> None:
    """`kubectl describe` of either shows the story."""
    EventWriter(api.client(), "pod-1").write(MESSAGE)
    first, second = (each.body for each in api.made("POST", "/api/v1/namespaces/ml/events"))
    assert first["involvedObject"] == {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "namespace": "ml",
        "name": "mnist",
        "uid": rollout().service_uid,
    }
    assert second["involvedObject"] == {
        "apiVersion": "autocanary.dev/v1alpha1",
        "kind": "CanaryRollout",
        "namespace": "ml",
        "name": "mnist-00002",
        "uid": "rollout-uid",
    }
    for event in (first, second):
        assert (event["type"], event["reason"], event["message"]) == (
            "Normal",
            "StepPassed",
            "25 % of traffic now",
        )
        assert event["source"] == {"component": "autocanary"}
        assert event["reportingInstance"] == "pod-1"
        assert event["firstTimestamp"] == event["lastTimestamp"] == "2023-11-14T22:13:50Z"


def test_repeated_event_counts_as_delivered(api: FakeApi) -> None:
    """After a restart, or when only the second of the two got through, no transition is shown twice."""
    writer = EventWriter(api.client())
    writer.write(MESSAGE)
    writer.write(MESSAGE)
    assert len(api.objects) == 2
    EventWriter(api.client()).write(Message(notification=notification(id="mnist-00002/4"), rollout=MESSAGE.rollout))
    assert len(api.objects) == 4


def test_a_half_delivered_message_is_completed(api: FakeApi) -> None:
    """The first Event was written, the second refused for the moment."""
    writer = EventWriter(api.client())
    api.reply("POST", "/events", Reply(201, b"{}", after=True), Reply(503))
    with pytest.raises(Busy):
        writer.write(MESSAGE)
    writer.write(MESSAGE)
    assert len(api.objects) == 2


@pytest.mark.parametrize(
    ("event", "reason", "kind"),
    [
        ("rollout_started", "RolloutStarted", "Normal"),
        ("rollout_promoted", "Promoted", "Normal"),
        ("rollback_started", "MetricViolation", "Warning"),
        ("rollout_rolled_back", "RolledBack", "Warning"),
        ("external_change", "ExternalChange", "Warning"),
        ("rollout_warning", "RollbackBlocked", "Warning"),
        ("rollout_ended", "MissedUnstaged", "Warning"),
        ("rollout_paused", "FailurePaused", "Warning"),
        ("rollout_held", "CanaryUnsupported", "Warning"),
        ("rollout_paused", "PausedByUser", "Normal"),
    ],
)
def test_event_needing_action_is_warning(api: FakeApi, event: str, reason: str, kind: str) -> None:
    """Alerts select Events by type."""
    EventWriter(api.client()).write(
        Message(notification=notification(event=event, reason=reason), rollout=MESSAGE.rollout)
    )
    assert {each.body["type"] for each in api.made("POST")} == {kind}


def test_names_and_messages_fit(api: FakeApi) -> None:
    """Long names of services and long stories must not be refused."""
    long = Message(notification=notification(message="ü" * 2000), rollout=rollout(service="s" * 250, name="r" * 63))
    EventWriter(api.client()).write(long)
    for request in api.made("POST"):
        assert len(request.body["metadata"]["name"]) <= 253
        assert len(request.body["message"].encode()) <= 1024
        assert request.body["message"].endswith("…")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404, status(404, "NotFound", 'namespaces "ml" not found', name="ml")),
        Reply(422, status(422, "Invalid", "involvedObject.namespace does not match")),
        Reply(
            403,
            status(403, "Forbidden", "being terminated", causes=[{"reason": "NamespaceTerminating"}]),
        ),
    ],
)
def test_what_can_never_be_delivered_is_given_up(api: FakeApi, reply: Reply) -> None:
    """A namespace that is gone will not take an Event later."""
    api.reply("POST", "/events", reply)
    with pytest.raises(DeliveryError) as caught:
        EventWriter(api.client()).write(MESSAGE)
    assert caught.value.retry_after == float("inf")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(403, status(403, "Forbidden", "cannot create")), Forbidden),
        (Reply(429, b"", {"Retry-After": "2"}), Busy),
        (Reply(201, b"{", cut=True), Unreachable),
    ],
)
def test_what_may_be_delivered_later_is_not_given_up(api: FakeApi, reply: Reply, kind: type[Exception]) -> None:
    """The notifier tries again."""
    api.reply("POST", "/events", reply)
    with pytest.raises(kind):
        EventWriter(api.client()).write(MESSAGE)


def test_an_event_names_the_models_and_keeps_its_link_whole(api: FakeApi) -> None:
    """A long message is cut, the permalink is not."""
    about = replace(
        rollout(),
        stable_spec={"model": {"storageUri": "gs://b/v1"}},
        candidate_spec={"model": {"storageUri": "gs://b/v2"}},
    )
    ended = replace(MESSAGE.notification, event="rollout_rolled_back", message="x" * 2000)
    url = "https://canary.example.com/rollouts/ml/mnist-00002"
    EventWriter(api.client()).write(replace(MESSAGE, rollout=about, notification=ended, page_url=url))
    short = replace(ended, id="short", message="rolled back")
    EventWriter(api.client()).write(replace(MESSAGE, rollout=about, notification=short, page_url=url))
    texts = [str(each["message"]) for each in api.objects.values()]
    assert {len(text.encode()) for text in texts if text.startswith("xxx")} <= set(range(900, 1025))
    assert all(text.endswith(f" {url}") for text in texts)
    assert f"rolled back [gs://b/v1 → gs://b/v2] {url}" in texts


def test_the_event_of_a_rollback_says_what_was_put_back(api: FakeApi) -> None:
    """And that the manifest still has the other model: the next apply would bring it back."""
    specs = ({"model": {"storageUri": f"gs://b/v{number}"}} for number in (1, 2))
    about = replace(rollout(), **dict(zip(("stable_spec", "candidate_spec"), specs, strict=True)))  # type: ignore[arg-type]
    about = replace(about, progress=with_stored_fields(about.progress, {"repairing": True, "restored": True}))
    ended = replace(MESSAGE.notification, event="rollout_rolled_back", message="mnist-2 rolled back")
    EventWriter(api.client()).write(replace(MESSAGE, rollout=about, notification=ended))
    text = "mnist-2 rolled back. spec.predictor was set back to gs://b/v1; your manifest still has gs://b/v2"
    assert all(str(each["message"]).startswith(text) for each in api.objects.values())
    assert api.objects
