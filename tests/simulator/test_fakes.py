"""The smaller ports record their calls and answer as set."""

from __future__ import annotations

import pytest

from autocanary.errors import Busy, PolicyError
from autocanary.model.policy import Component, Webhook, WebhookType
from autocanary.model.progress import Notification, Phase, Progress
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.ports import Delivery, Message, WebhookCall, WebhookResult
from autocanary.simulator.demo_policy import DEMO_POLICY
from autocanary.simulator.fakes import (
    FakeLeadership,
    FakePolicies,
    FakePolicyWebhooks,
    InlinePool,
    RecordingNotifier,
)


def message(id_: str = "t1", event: str = "step_taken", done: tuple[str, ...] = ()) -> Message:
    progress = Progress(Phase.PROGRESSING, Reason.STEP_PASSED, "", 0.0, 0.0)
    rollout = Rollout("models", "iris-00002", "iris", "u", "v", Component.PREDICTOR, "a", "b", "p", "d", {}, progress)
    return Message(Notification(id_, event, 0.0, "Progressing", 0, 10, "StepPassed", "", done), rollout)


def test_the_pool_runs_work_at_once() -> None:
    """Its result or its error is there when submit returns."""
    pool = InlinePool()
    assert pool.submit(lambda: 7).result(timeout=0) == 7

    def fail() -> None:
        raise Busy("x")

    assert isinstance(pool.submit(fail).exception(timeout=0), Busy)


def test_leadership_can_be_lost() -> None:
    """It leads until it is turned off."""
    leadership = FakeLeadership()
    assert leadership.is_leader()
    leadership.leads = False
    assert not leadership.is_leader()


def test_notifier_delivers_to_every_channel() -> None:
    """Each channel that has not the message yet delivers it once."""
    notifier = RecordingNotifier(("slack", "webhook"))
    assert notifier.channels(message()) == ("slack", "webhook")
    notifier.notify(message(done=("slack",)))
    assert notifier.take_deliveries() == [Delivery("models", "iris-00002", "t1", "webhook", True)]
    assert notifier.take_deliveries() == []


def test_notifier_delivers_after_an_outage() -> None:
    """Nothing is lost meanwhile."""
    notifier = RecordingNotifier()
    notifier.down = True
    notifier.notify(message())
    assert notifier.take_deliveries() == ()
    notifier.down = False
    assert len(notifier.take_deliveries()) == 1


def test_notifier_lists_each_event_once() -> None:
    """A repetition of the same notification is not a second event; other rollouts are others."""
    notifier = RecordingNotifier()
    for each in (message(), message(), message("t2", "rollout_promoted")):
        notifier.notify(each)
    assert notifier.events() == ["step_taken", "rollout_promoted"]
    assert notifier.events("iris-00002") == ["step_taken", "rollout_promoted"]
    assert notifier.events("other") == []


def test_policy_webhooks_allow_by_default() -> None:
    """By the webhook's name."""
    policy_webhooks = FakePolicyWebhooks()
    policy_webhooks.answers["approve"] = WebhookResult(False, "not yet")
    hooks = [Webhook(name, WebhookType.ROLLOUT, "http://x") for name in ("smoke", "approve")]
    calls = [WebhookCall(hook, "models", "iris", "Progressing", "c") for hook in hooks]
    assert list(policy_webhooks.call(calls).values()) == [
        WebhookResult(True),
        WebhookResult(False, "not yet"),
    ]
    assert policy_webhooks.calls == calls


def test_policies_are_replaced_and_restored() -> None:
    """A snapshot finds the policy it was taken from, also when another is in force now."""
    policies = FakePolicies()
    assert policies.current() == ()
    policies.put(DEMO_POLICY)
    assert policies.current() == (DEMO_POLICY,)
    assert policies.current() is policies.current()
    policies.put()
    assert policies.current() == ()
    assert policies.restore("demo", dict(DEMO_POLICY.document)) is DEMO_POLICY
    with pytest.raises(PolicyError, match="not known"):
        policies.restore("demo", {})
