"""Tests of autocanary.notifications.delivery: steps in made-up time, and the real thread without waiting."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import pytest

from autocanary import logs
from autocanary.errors import DeliveryError
from autocanary.model.decision import Event
from autocanary.model.policy import NotificationRoute
from autocanary.notifications.audit_log import AuditLog
from autocanary.notifications.channel import Channel
from autocanary.notifications.delivery import DeliveryWorkers
from autocanary.notifications.webhook import PolicyWebhookChannels
from autocanary.outbound.http_client import NO_RETRY, HttpClient
from autocanary.ports import Delivery, Message, Notifier
from tests.kube.fake_api import until
from tests.notifications.example_messages import message, rollout
from tests.notifications.http_receiver import Receiver, Reply


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at


class ScriptedChannel:
    """A channel that fails as scripted, then delivers."""

    def __init__(self, name: str = "slack", *failures: Exception) -> None:
        self.name = name
        self.failures = list(failures)
        self.sent: list[str] = []
        self.wanting = True
        self.on_event = threading.Event()

    def wants(self, message: Message) -> bool:
        return self.wanting

    def send(self, message: Message) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(message.notification.id)
        self.on_event.set()


class StuckChannel(ScriptedChannel):
    """A channel whose receiver never answers until released."""

    def __init__(self, name: str = "stuck") -> None:
        super().__init__(name)
        self.release, self.entered = threading.Event(), threading.Event()

    def send(self, message: Message) -> None:
        self.entered.set()
        self.release.wait(10)


def numbered_message(number: int, event: Event = Event.STEP, **changes: object) -> Message:
    return message(event, id=f"t{number}", **changes)  # type: ignore[arg-type]


def delivery_worker(
    *channels: Channel, clock: Clock | None = None, synchronous: Sequence[Channel] = ()
) -> DeliveryWorkers:
    return DeliveryWorkers(channels, clock=clock or Clock(), synchronous=synchronous, jitter=lambda: 0.0)


def deliver_all_due(worker: DeliveryWorkers) -> float | None:
    """Everything that is due; returns how long to wait then."""
    while (pause := worker.deliver_next()) == 0.0:
        pass
    return pause


def test_sends_nothing_without_leadership() -> None:
    """A moment without leadership only delays; once it is forgotten, the next leader delivers it."""
    slack, is_leader = ScriptedChannel(), [False]
    worker = DeliveryWorkers([slack], clock=Clock(), is_leader=lambda: is_leader[0])
    assert worker.deliver_next() is None
    worker.notify(numbered_message(1))
    pause = deliver_all_due(worker)
    assert pause is not None
    assert (slack.sent, list(worker.take_deliveries())) == ([], [])
    is_leader[0] = True
    deliver_all_due(worker)
    assert slack.sent == ["t1"]
    is_leader[0] = False
    worker.notify(numbered_message(2))
    worker.drop_pending()
    is_leader[0] = True
    assert deliver_all_due(worker) is None
    assert slack.sent == ["t1"]
    worker.notify(numbered_message(2))
    deliver_all_due(worker)
    assert slack.sent == ["t1", "t2"]


@pytest.mark.parametrize("failure", [None, DeliveryError("not now"), DeliveryError("never", retry_after=NO_RETRY)])
def test_message_dropped_while_it_is_sent(failure: DeliveryError | None) -> None:
    """It ends as it ends; nothing of it waits afterwards."""
    slack = ScriptedChannel("slack", *([failure] if failure else []))
    worker = DeliveryWorkers([slack], clock=Clock())
    send = slack.send

    def forgetting(message: Message) -> None:
        worker.drop_pending()
        send(message)

    slack.send = forgetting  # type: ignore[method-assign]
    worker.notify(numbered_message(1))
    assert deliver_all_due(worker) is None
    assert [each.ok for each in worker.take_deliveries()] == ([] if failure else [True])


def test_implements_the_notifier_port() -> None:
    """The workers implement the controller's Protocol."""
    notifier: Notifier = delivery_worker(ScriptedChannel())
    assert notifier.channels(message()) == ("slack",)


def test_notification_reaches_every_channel_and_is_reported_once() -> None:
    """Each wanting channel gets it, the log at once; deliveries are drained by asking."""
    slack, hook, quiet = ScriptedChannel("slack"), ScriptedChannel("webhook"), ScriptedChannel("quiet")
    quiet.wanting = False
    log = ScriptedChannel("log")
    worker = delivery_worker(slack, hook, quiet, synchronous=[log])
    given = numbered_message(1)
    assert worker.channels(given) == ("log", "slack", "webhook")
    worker.notify(given)
    assert log.sent == ["t1"]
    assert slack.sent == []
    assert worker.take_deliveries() == (Delivery("models", "mnist-00002", "t1", "log", True),)
    assert deliver_all_due(worker) is None
    assert (slack.sent, hook.sent, quiet.sent) == (["t1"], ["t1"], [])
    assert {(each.channel, each.ok) for each in worker.take_deliveries()} == {
        ("slack", True),
        ("webhook", True),
    }
    assert worker.take_deliveries() == ()


def test_skips_channels_that_have_it() -> None:
    """After a restart the rollout store says which channel has it already."""
    slack, log = ScriptedChannel("slack"), ScriptedChannel("log")
    worker = delivery_worker(slack, synchronous=[log])
    worker.notify(numbered_message(1, delivered_channels=("log", "slack")))
    assert deliver_all_due(worker) is None
    assert (slack.sent, log.sent) == ([], [])
    assert worker.take_deliveries() == ()


def test_redelivery_sends_once_and_reports_again() -> None:
    """Queued again while it waits and after it was sent: one message, and one Delivery each time."""
    slack, log = ScriptedChannel("slack"), ScriptedChannel("log")
    worker = delivery_worker(slack, synchronous=[log])
    worker.notify(numbered_message(1))
    worker.notify(numbered_message(1))
    deliver_all_due(worker)
    assert len(worker.take_deliveries()) == 2
    worker.notify(numbered_message(1))
    deliver_all_due(worker)
    assert (slack.sent, log.sent) == (["t1"], ["t1"])
    assert {each.channel for each in worker.take_deliveries()} == {"slack", "log"}


def test_failing_channel_is_retried_and_logged_once(logged: logs.CapturedLogs) -> None:
    """Failures pause that channel alone; the log has one line for the fault and one for the end of it."""
    clock = Clock()
    slack = ScriptedChannel("slack", DeliveryError("no answer"), DeliveryError("no answer"))
    hook = ScriptedChannel("webhook")
    worker = delivery_worker(slack, hook, clock=clock)
    worker.notify(numbered_message(1))
    assert deliver_all_due(worker) == 1.0
    assert hook.sent == ["t1"]
    clock.at += 1.0
    assert deliver_all_due(worker) == 2.0
    clock.at += 2.0
    assert deliver_all_due(worker) is None
    assert slack.sent == ["t1"]
    assert [(line["channel"], line["error"]) for line in logged.named("notifications_failing")] == [
        ("slack", "no answer")
    ]
    assert len(logged.named("notifications_recovered")) == 1


def test_expired_message_is_a_failed_delivery(logged: logs.CapturedLogs) -> None:
    """After its time a message is given up with the last error, so that the outbox can drop it."""
    clock = Clock()
    slack = ScriptedChannel("slack", *[DeliveryError("HTTP 500")] * 100)
    worker = delivery_worker(slack, clock=clock)
    worker.notify(numbered_message(1))
    worker.notify(numbered_message(2, Event.PROMOTED))
    while clock.at < 1000.0 + 700:
        clock.at += deliver_all_due(worker) or 0.0
    assert worker.take_deliveries() == (Delivery("models", "mnist-00002", "t1", "slack", False, "HTTP 500"),)
    [line] = logged.named("notification_dropped")
    assert (line["notification"], line["rollout"], line["error"]) == ("step_taken", "mnist-00002", "HTTP 500")
    slack.failures.clear()
    clock.at += 60
    deliver_all_due(worker)
    assert slack.sent == ["t2"]
    worker.notify(numbered_message(1))
    deliver_all_due(worker)
    assert slack.sent == ["t2"]
    assert [each.ok for each in worker.take_deliveries()] == [True, False]


def test_exception_in_a_channel_does_not_end_the_worker() -> None:
    """An unforeseen exception is a refusal with its name, and the next message goes out."""
    slack = ScriptedChannel("slack", KeyError("oops"))
    worker = delivery_worker(slack)
    worker.notify(numbered_message(1))
    worker.notify(numbered_message(2))
    deliver_all_due(worker)
    assert slack.sent == ["t2"]
    first, second = worker.take_deliveries()
    assert (first.ok, first.detail) == (False, "slack: KeyError: 'oops'")
    assert second.ok


def test_failing_log_channel_is_not_retried(logged: logs.CapturedLogs) -> None:
    """A synchronous channel has no second try; the failure is one line in the log."""
    worker = delivery_worker(synchronous=[ScriptedChannel("log", DeliveryError("disk full"))])
    worker.notify(numbered_message(1))
    assert [(each.ok, each.detail) for each in worker.take_deliveries()] == [(False, "disk full")]
    [line] = logged.named("notification_dropped")
    assert (line["channel"], line["notification"], line["error"]) == ("log", "step_taken", "disk full")


def test_outcomes_are_counted_by_kind_of_channel() -> None:
    """The label of the metric is the kind, not each address."""
    counts: Counter[tuple[str, str]] = Counter()
    clock = Clock()
    hook = ScriptedChannel("webhook:http://h#1", DeliveryError("x"), DeliveryError("y", retry_after=NO_RETRY))
    worker = DeliveryWorkers(
        [hook],
        clock=clock,
        synchronous=[ScriptedChannel("log")],
        on_outcome=lambda channel, outcome: counts.update([(channel, outcome)]),
        jitter=lambda: 0.0,
    )
    worker.notify(numbered_message(1))
    worker.notify(numbered_message(2))
    deliver_all_due(worker)
    clock.at += 5
    deliver_all_due(worker)
    assert counts == {
        ("log", "delivered"): 2,
        ("webhook", "failed"): 1,
        ("webhook", "dropped"): 1,
        ("webhook", "delivered"): 1,
    }


def test_full_queue_drops_messages_that_are_not_final(logged: logs.CapturedLogs) -> None:
    """What does not fit is let go at once, said once; a final message always fits."""
    slack = ScriptedChannel("slack")
    worker = DeliveryWorkers([slack], clock=Clock(), capacity=1)
    for number in (1, 2, 3):
        worker.notify(numbered_message(number))
    worker.notify(numbered_message(4, Event.ROLLED_BACK))
    assert len(logged.named("notifications_queue_full")) == 1
    assert [(each.notification_id, each.ok, each.detail) for each in worker.take_deliveries()] == [
        ("t2", False, "too many messages wait for their receivers"),
        ("t3", False, "too many messages wait for their receivers"),
    ]
    deliver_all_due(worker)
    worker.notify(numbered_message(5))
    worker.notify(numbered_message(6))
    deliver_all_due(worker)
    assert slack.sent == ["t1", "t4", "t5"]
    assert len(logged.named("notifications_queue_full")) == 2


def test_worker_thread_delivers_and_stops() -> None:
    """The real thread wakes for a message and ends when asked; nothing waits for it."""
    slack = ScriptedChannel("slack")
    worker = delivery_worker(slack)
    worker.start()
    worker.notify(numbered_message(1))
    assert slack.on_event.wait(5)
    worker.stop()
    assert not any(thread.name == "notify" for thread in threading.enumerate())
    assert slack.sent == ["t1"]


def test_stop_flushes_what_is_due() -> None:
    """What was queued just before the end still goes out."""
    channels = [ScriptedChannel(f"c{number}") for number in range(3)]
    worker = delivery_worker(*channels)
    for number in range(5):
        worker.notify(numbered_message(number))
    worker.start()
    worker.stop()
    assert all(len(channel.sent) == 5 for channel in channels)


def test_stop_does_not_wait_for_pauses(logged: logs.CapturedLogs) -> None:
    """A channel in its pause is left for the next start, with a word."""
    slack = ScriptedChannel("slack", DeliveryError("x", retry_after=500.0))
    worker = delivery_worker(slack)
    worker.notify(numbered_message(1))
    deliver_all_due(worker)
    worker.start()
    worker.stop()
    assert slack.sent == []
    assert logged.named("notifications_pending_at_stop")[0]["count"] == 1


def test_notify_and_stop_do_not_wait_for_a_hanging_receiver(logged: logs.CapturedLogs) -> None:
    """While one send hangs, notify returns at once, and stopping gives up after its time."""
    stuck = StuckChannel()
    worker = delivery_worker(stuck)
    worker.start()
    worker.notify(numbered_message(1))
    assert stuck.entered.wait(5)
    worker.notify(numbered_message(2))
    worker.stop(0.01)
    assert logged.named("notifications_pending_at_stop")[0]["count"] == 2
    stuck.release.set()
    for thread in threading.enumerate():
        if thread.name == "notify":
            thread.join(5)


def test_hanging_webhooks_delay_no_other_namespace() -> None:
    """20 webhooks of one namespace hang; another namespace's webhook and Slack have their messages at once."""
    hanging = [StuckChannel(f"webhook:http://h{number}#1") for number in range(20)]
    own, slack = ScriptedChannel("webhook:http://victim#1"), ScriptedChannel("slack")
    by_namespace: dict[str, list[Channel]] = {"hostile": list(hanging), "victim": [own]}
    workers = DeliveryWorkers(
        [slack], clock=Clock(), channels_for=lambda each: by_namespace[each.rollout.namespace], jitter=lambda: 0.0
    )
    workers.start()
    slack.wanting = False
    workers.notify(message(about=rollout(namespace="hostile")))
    assert all(channel.entered.wait(5) for channel in hanging[:3])
    slack.wanting = True
    workers.notify(message(about=rollout(namespace="victim")))
    assert own.on_event.wait(5)
    assert slack.on_event.wait(5)
    assert sum(channel.entered.is_set() for channel in hanging) == 3
    for channel in hanging:
        channel.release.set()
    workers.stop()


def test_worker_that_cannot_be_started_is_tried_again(
    logged: logs.CapturedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of threads, for a moment, loses no message: the next one starts the worker."""
    slack = ScriptedChannel("slack")
    workers = delivery_worker(slack)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuse)
        workers.start()
        workers.notify(numbered_message(1))
    assert len(logged.named("notification_worker_not_started")) == 1
    workers.notify(numbered_message(2))
    assert slack.on_event.wait(5)
    workers.stop()
    assert slack.sent == ["t1", "t2"]


def test_stop_ends_after_its_time_even_if_more_is_due() -> None:
    """A worker that has used up its time leaves the rest."""
    clock = Clock()

    class Slow(StuckChannel):
        def send(self, message: Message) -> None:
            super().send(message)
            self.sent.append(message.notification.id)
            clock.at += 10.0

    slow = Slow("slow")
    worker = delivery_worker(slow, clock=clock)
    for number in range(3):
        worker.notify(numbered_message(number))
    stopping = threading.Thread(target=worker.stop, args=(5.0,))
    worker.start()
    assert slow.entered.wait(5)
    stopping.start()
    until(lambda: worker.is_stopping)
    slow.release.set()
    stopping.join(5)
    assert slow.sent == ["t0"]


def test_stop_without_start_and_twice() -> None:
    """A service that failed to start may still be stopped."""
    worker = delivery_worker(ScriptedChannel())
    worker.stop()
    worker.stop()
    assert worker.take_deliveries() == ()


def test_concurrent_notify_calls_send_once() -> None:
    """Racing callers write one audit line and queue one message."""
    slack, log = ScriptedChannel("slack"), ScriptedChannel("log")
    worker = delivery_worker(slack, synchronous=[log])
    worker.start()
    threads = [threading.Thread(target=worker.notify, args=(numbered_message(1),)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    worker.stop()
    assert (slack.sent, log.sent) == (["t1"], ["t1"])


def test_delivers_to_a_policy_webhook_end_to_end(
    receiver: Receiver, http: HttpClient, logged: logs.CapturedLogs
) -> None:
    """A message goes to the audit log and over HTTP to the address of the policy's route, through a 503."""
    receiver.replies(Reply(503, headers={"Retry-After": "0"}), Reply(200))
    worker = DeliveryWorkers([], clock=Clock(), synchronous=[AuditLog()], channels_for=PolicyWebhookChannels(http))
    given = message(routes=(NotificationRoute(events=("rolled-back",), webhook=receiver.url("/me")),))
    worker.notify(given)
    deliver_all_due(worker)
    assert [got.path for got in receiver.received] == ["/me", "/me"]
    assert len(logged.named("rollout_rolled_back")) == 1
    assert {(each.channel, each.ok) for each in worker.take_deliveries()} == {
        (name, True) for name in worker.channels(given)
    }


def test_keeps_a_bounded_number_of_finished_deliveries() -> None:
    """The memory of what is finished is bounded."""
    log = ScriptedChannel("log")
    worker = delivery_worker(synchronous=[log])
    for number in range(20_001):
        worker.notify(numbered_message(number))
    worker.notify(numbered_message(20_000))
    assert len(log.sent) == 20_001
    worker.notify(numbered_message(0))
    assert len(log.sent) == 20_002


class ChannelWithMessageId(ScriptedChannel):
    """A channel that returns a message id."""

    def send(self, message: Message) -> str:  # type: ignore[override]
        super().send(message)
        return f"r-{message.notification.id}"


def test_reports_the_channel_message_id() -> None:
    """The rollout store keeps it for the rollout's next message."""
    worker = delivery_worker(ChannelWithMessageId())
    worker.notify(numbered_message(1))
    deliver_all_due(worker)
    [delivery] = worker.take_deliveries()
    assert (delivery.ok, delivery.finished, delivery.channel_message_id) == (True, True, "r-t1")


def test_reports_partial_delivery_before_the_retry() -> None:
    """A process that ends in the pause must not make the part a second time."""
    clock = Clock()
    worker = delivery_worker(
        ChannelWithMessageId("slack", DeliveryError("half", retry_after=30.0, channel_message_id="r-part")),
        clock=clock,
    )
    worker.notify(numbered_message(1))
    deliver_all_due(worker)
    [part] = worker.take_deliveries()
    assert (part.finished, part.ok, part.channel_message_id, part.detail) == (False, False, "r-part", "half")
    clock.at += 30
    deliver_all_due(worker)
    [whole] = worker.take_deliveries()
    assert (whole.finished, whole.ok, whole.channel_message_id) == (True, True, "r-t1")


def test_failed_partial_delivery_keeps_its_channel_message_id() -> None:
    """The next transition goes on with what is there."""
    failures = [DeliveryError("half", channel_message_id="r-part"), DeliveryError("no", retry_after=NO_RETRY)]
    clock = Clock()
    worker = delivery_worker(ChannelWithMessageId("slack", *failures), clock=clock)
    worker.notify(numbered_message(1))
    worker.deliver_next()
    clock.at += 1
    deliver_all_due(worker)
    [end] = worker.take_deliveries()
    assert (end.finished, end.ok, end.channel_message_id, end.detail) == (True, False, "r-part", "no")


def test_calls_back_after_each_attempt() -> None:
    """After each try, so that a message id is recorded before anything else happens."""
    woken: list[int] = []
    channel = ChannelWithMessageId("slack", DeliveryError("later"))
    clock = Clock()
    worker = DeliveryWorkers(
        [channel], clock=clock, jitter=lambda: 0.0, on_event=lambda: woken.append(len(channel.sent))
    )
    worker.notify(numbered_message(1))
    worker.deliver_next()
    clock.at += 1
    worker.deliver_next()
    assert woken == [0, 1]
