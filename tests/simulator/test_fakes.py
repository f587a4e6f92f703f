"""The smaller ports record what they were asked and answer as told."""

from __future__ import annotations

import pytest

from autocanary.errors import Busy, PolicyError
from autocanary.model.policy import Component, Webhook, WebhookType
from autocanary.model.progress import Phase, Progress, Telling
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.ports import Call, CallResult, Delivery, Message
from autocanary.simulator.demo_policy import DEMO_POLICY
from autocanary.simulator.fakes import InlinePool, RecordingNotifier, SimGates, SimLeadership, SimPolicies


def message(id_: str = "t1", event: str = "step_taken", done: tuple[str, ...] = ()) -> Message:
    progress = Progress(Phase.PROGRESSING, Reason.STEP_PASSED, "", 0.0, 0.0)
    rollout = Rollout(
        "models", "iris-00002", "iris", "u", "v", Component.PREDICTOR, "a", "b", "p", "d", {}, progress
    )
    return Message(Telling(id_, event, 0.0, "Progressing", 0, 10, "StepPassed", "", done), rollout)


def test_the_pool_runs_work_at_once() -> None:
    """Its result or its error is there when submit returns."""
    pool = InlinePool()
    assert pool.submit(lambda: 7).result(timeout=0) == 7

    def fail() -> None:
        raise Busy("x")

    assert isinstance(pool.submit(fail).exception(timeout=0), Busy)


def test_leadership_can_be_lost() -> None:
    """It leads until told otherwise."""
    leadership = SimLeadership()
    assert leadership.is_leader()
    leadership.leads = False
    assert not leadership.is_leader()


def test_people_are_told_and_say_so() -> None:
    """Each channel that has not the message yet delivers it once."""
    notifier = RecordingNotifier(("slack", "webhook"))
    assert notifier.channels(message()) == ("slack", "webhook")
    notifier.tell(message(done=("slack",)))
    assert notifier.delivered() == [Delivery("models", "iris-00002", "t1", "webhook", True)]
    assert notifier.delivered() == []


def test_a_dead_channel_delivers_later() -> None:
    """Nothing is lost meanwhile."""
    notifier = RecordingNotifier()
    notifier.down = True
    notifier.tell(message())
    assert notifier.delivered() == ()
    notifier.down = False
    assert len(notifier.delivered()) == 1


def test_events_are_told_once_each() -> None:
    """A repetition of the same telling is not a second event; other rollouts are others."""
    notifier = RecordingNotifier()
    for each in (message(), message(), message("t2", "rollout_promoted")):
        notifier.tell(each)
    assert notifier.events() == ["step_taken", "rollout_promoted"]
    assert notifier.events("iris-00002") == ["step_taken", "rollout_promoted"]
    assert notifier.events("other") == []


def test_gates_say_yes_unless_told_otherwise() -> None:
    """By the webhook's name."""
    gates = SimGates()
    gates.answers["approve"] = CallResult(False, "not yet")
    hooks = [Webhook(name, WebhookType.ROLLOUT, "http://x") for name in ("smoke", "approve")]
    calls = [Call(hook, "models", "iris", "Progressing", "c") for hook in hooks]
    assert list(gates.call(calls).values()) == [CallResult(True), CallResult(False, "not yet")]
    assert gates.calls == calls


def test_policies_are_put_and_restored() -> None:
    """A snapshot finds the policy it was taken from, also when another is in force now."""
    policies = SimPolicies()
    assert policies.current() == ()
    policies.put(DEMO_POLICY)
    assert policies.current() == (DEMO_POLICY,)
    assert policies.current() is policies.current()
    policies.put()
    assert policies.current() == ()
    assert policies.restore("demo", dict(DEMO_POLICY.document)) is DEMO_POLICY
    with pytest.raises(PolicyError, match="not known"):
        policies.restore("demo", {})
