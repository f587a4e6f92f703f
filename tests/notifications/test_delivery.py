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
from autocanary.notifications.delivery import Courier
from autocanary.notifications.http_client import NEVER, Http
from autocanary.notifications.webhook import RouteWebhooks
from autocanary.ports import Delivery, Message, Notifier
from tests.notifications.examples import message
from tests.notifications.receiver import Receiver, Reply


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at


class Scripted:
    """A channel that fails as scripted, then delivers."""

    def __init__(self, name: str = "slack", *failures: Exception) -> None:
        self.name = name
        self.failures = list(failures)
        self.sent: list[str] = []
        self.wanting = True
        self.heard = threading.Event()

    def wants(self, message: Message) -> bool:
        return self.wanting

    def send(self, message: Message) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(message.telling.id)
        self.heard.set()


class Stuck(Scripted):
    """A channel whose receiver never answers until released."""

    def __init__(self) -> None:
        super().__init__("stuck")
        self.release, self.entered = threading.Event(), threading.Event()

    def send(self, message: Message) -> None:
        self.entered.set()
        self.release.wait(10)


def numbered(number: int, event: Event = Event.STEP, **changes: object) -> Message:
    return message(event, id=f"t{number}", **changes)  # type: ignore[arg-type]


def courier(*channels: Channel, clock: Clock | None = None, at_once: Sequence[Channel] = ()) -> Courier:
    return Courier(channels, clock=clock or Clock(), at_once=at_once, chance=lambda: 0.0)


def work_all(worker: Courier) -> float | None:
    """Everything that is due; returns how long to wait then."""
    while (pause := worker.work()) == 0.0:
        pass
    return pause


def test_nothing_is_sent_while_another_may_lead() -> None:
    """A moment without leadership only delays; once it is forgotten, it is the next leader's to tell."""
    slack, leads = Scripted(), [False]
    worker = Courier([slack], clock=Clock(), leads=lambda: leads[0])
    assert worker.work() is None
    worker.tell(numbered(1))
    pause = work_all(worker)
    assert pause is not None
    assert (slack.sent, list(worker.delivered())) == ([], [])
    leads[0] = True
    work_all(worker)
    assert slack.sent == ["t1"]
    leads[0] = False
    worker.tell(numbered(2))
    worker.forget()
    leads[0] = True
    assert work_all(worker) is None
    assert slack.sent == ["t1"]
    worker.tell(numbered(2))
    work_all(worker)
    assert slack.sent == ["t1", "t2"]


@pytest.mark.parametrize(
    "failure", [None, DeliveryError("not now"), DeliveryError("never", retry_after=NEVER)]
)
def test_a_message_that_is_forgotten_while_it_is_sent(failure: DeliveryError | None) -> None:
    """It ends as it ends; nothing of it waits afterwards."""
    slack = Scripted("slack", *([failure] if failure else []))
    worker = Courier([slack], clock=Clock())
    send = slack.send

    def forgetting(message: Message) -> None:
        worker.forget()
        send(message)

    slack.send = forgetting  # type: ignore[method-assign]
    worker.tell(numbered(1))
    assert work_all(worker) is None
    assert [each.ok for each in worker.delivered()] == ([] if failure else [True])


def test_it_is_the_port() -> None:
    """The engine's Protocol is what the courier offers."""
    notifier: Notifier = courier(Scripted())
    assert notifier.channels(message()) == ("slack",)


def test_telling_reaches_every_channel_and_is_reported_once() -> None:
    """Each wanting channel gets it, the log at once; deliveries are drained by asking."""
    slack, hook, quiet = Scripted("slack"), Scripted("webhook"), Scripted("quiet")
    quiet.wanting = False
    log = Scripted("log")
    worker = courier(slack, hook, quiet, at_once=[log])
    told = numbered(1)
    assert worker.channels(told) == ("log", "slack", "webhook")
    worker.tell(told)
    assert log.sent == ["t1"]
    assert slack.sent == []
    assert worker.delivered() == (Delivery("models", "mnist-00002", "t1", "log", True),)
    assert work_all(worker) is None
    assert (slack.sent, hook.sent, quiet.sent) == (["t1"], ["t1"], [])
    assert {(each.channel, each.ok) for each in worker.delivered()} == {("slack", True), ("webhook", True)}
    assert worker.delivered() == ()


def test_done_channels_are_left_out() -> None:
    """After a restart the ledger says who has it already."""
    slack, log = Scripted("slack"), Scripted("log")
    worker = courier(slack, at_once=[log])
    worker.tell(numbered(1, done=("log", "slack")))
    assert work_all(worker) is None
    assert (slack.sent, log.sent) == ([], [])
    assert worker.delivered() == ()


def test_telling_again_sends_once_and_reports_again() -> None:
    """Told while it waits and after it was sent: one message, and the ledger hears of it each time."""
    slack, log = Scripted("slack"), Scripted("log")
    worker = courier(slack, at_once=[log])
    worker.tell(numbered(1))
    worker.tell(numbered(1))
    work_all(worker)
    assert len(worker.delivered()) == 2
    worker.tell(numbered(1))
    work_all(worker)
    assert (slack.sent, log.sent) == (["t1"], ["t1"])
    assert {each.channel for each in worker.delivered()} == {"slack", "log"}


def test_failing_channel_is_tried_again_and_said_once(logged: logs.Captured) -> None:
    """Failures pause that channel alone; the log has one line for the fault and one for the end of it."""
    clock = Clock()
    slack = Scripted("slack", DeliveryError("no answer"), DeliveryError("no answer"))
    hook = Scripted("webhook")
    worker = courier(slack, hook, clock=clock)
    worker.tell(numbered(1))
    assert work_all(worker) == 1.0
    assert hook.sent == ["t1"]
    clock.at += 1.0
    assert work_all(worker) == 2.0
    clock.at += 2.0
    assert work_all(worker) is None
    assert slack.sent == ["t1"]
    assert [(line["channel"], line["error"]) for line in logged.named("notifications_failing")] == [
        ("slack", "no answer")
    ]
    assert len(logged.named("notifications_recovered")) == 1


def test_giving_up_is_a_delivery_that_failed(logged: logs.Captured) -> None:
    """After its time a message is given up with the last error, so that the outbox can let it go."""
    clock = Clock()
    slack = Scripted("slack", *[DeliveryError("HTTP 500")] * 100)
    worker = courier(slack, clock=clock)
    worker.tell(numbered(1))
    worker.tell(numbered(2, Event.PROMOTED))
    while clock.at < 1000.0 + 700:
        clock.at += work_all(worker) or 0.0
    assert worker.delivered() == (Delivery("models", "mnist-00002", "t1", "slack", False, "HTTP 500"),)
    [line] = logged.named("notification_given_up")
    assert (line["told"], line["rollout"], line["error"]) == ("step_taken", "mnist-00002", "HTTP 500")
    slack.failures.clear()
    clock.at += 60
    work_all(worker)
    assert slack.sent == ["t2"]
    worker.tell(numbered(1))
    work_all(worker)
    assert slack.sent == ["t2"]
    assert [each.ok for each in worker.delivered()] == [True, False]


def test_fault_in_a_channel_does_not_end_the_worker() -> None:
    """An unforeseen exception is a refusal with its name, and the next message goes out."""
    slack = Scripted("slack", KeyError("oops"))
    worker = courier(slack)
    worker.tell(numbered(1))
    worker.tell(numbered(2))
    work_all(worker)
    assert slack.sent == ["t2"]
    first, second = worker.delivered()
    assert (first.ok, first.detail) == (False, "slack: KeyError: 'oops'")
    assert second.ok


def test_log_that_fails_is_given_up_at_once() -> None:
    """What is told at once has no second try."""
    worker = courier(at_once=[Scripted("log", DeliveryError("disk full"))])
    worker.tell(numbered(1))
    assert [(each.ok, each.detail) for each in worker.delivered()] == [(False, "disk full")]


def test_outcomes_are_counted_by_kind_of_channel() -> None:
    """The label of the metric is the kind, not each address."""
    counts: Counter[tuple[str, str]] = Counter()
    clock = Clock()
    hook = Scripted("webhook:http://h#1", DeliveryError("x"), DeliveryError("y", retry_after=NEVER))
    worker = Courier(
        [hook],
        clock=clock,
        at_once=[Scripted("log")],
        counted=lambda channel, outcome: counts.update([(channel, outcome)]),
        chance=lambda: 0.0,
    )
    worker.tell(numbered(1))
    worker.tell(numbered(2))
    work_all(worker)
    clock.at += 5
    work_all(worker)
    assert counts == {
        ("log", "delivered"): 2,
        ("webhook", "failed"): 1,
        ("webhook", "given-up"): 1,
        ("webhook", "delivered"): 1,
    }


def test_full_queue_gives_up_what_is_not_final(logged: logs.Captured) -> None:
    """What does not fit is let go at once, said once; a final message always fits."""
    slack = Scripted("slack")
    worker = Courier([slack], clock=Clock(), capacity=1)
    for number in (1, 2, 3):
        worker.tell(numbered(number))
    worker.tell(numbered(4, Event.ROLLED_BACK))
    assert len(logged.named("notifications_queue_full")) == 1
    assert [(each.telling_id, each.ok, each.detail) for each in worker.delivered()] == [
        ("t2", False, "too many messages wait for their receivers"),
        ("t3", False, "too many messages wait for their receivers"),
    ]
    work_all(worker)
    worker.tell(numbered(5))
    worker.tell(numbered(6))
    work_all(worker)
    assert slack.sent == ["t1", "t4", "t5"]
    assert len(logged.named("notifications_queue_full")) == 2


def test_worker_thread_delivers_and_stops() -> None:
    """The real thread wakes for a telling and ends when asked; nothing waits for it."""
    slack = Scripted("slack")
    worker = courier(slack)
    worker.start()
    worker.tell(numbered(1))
    assert slack.heard.wait(5)
    worker.stop()
    assert not any(thread.name == "notify" for thread in threading.enumerate())
    assert slack.sent == ["t1"]


def test_stop_flushes_what_is_due() -> None:
    """What was told just before the end still goes out."""
    channels = [Scripted(f"c{number}") for number in range(3)]
    worker = courier(*channels)
    for number in range(5):
        worker.tell(numbered(number))
    worker.start()
    worker.stop()
    assert all(len(channel.sent) == 5 for channel in channels)


def test_stop_does_not_wait_for_pauses(logged: logs.Captured) -> None:
    """A channel in its pause is left for the next start, with a word."""
    slack = Scripted("slack", DeliveryError("x", retry_after=500.0))
    worker = courier(slack)
    worker.tell(numbered(1))
    work_all(worker)
    worker.start()
    worker.stop()
    assert slack.sent == []
    assert logged.named("notifications_left")[0]["count"] == 1


def test_neither_tell_nor_stop_waits_for_a_stuck_receiver(logged: logs.Captured) -> None:
    """While one send hangs, telling returns at once, and stopping gives up after its time."""
    stuck = Stuck()
    worker = courier(stuck)
    worker.start()
    worker.tell(numbered(1))
    assert stuck.entered.wait(5)
    worker.tell(numbered(2))
    worker.stop(0.01)
    assert logged.named("notifications_left")[0]["count"] == 2
    stuck.release.set()
    for thread in threading.enumerate():
        if thread.name == "notify":
            thread.join(5)


def test_stop_ends_after_its_time_even_if_more_is_due() -> None:
    """A worker that has used up its time leaves the rest."""
    clock = Clock()

    class Slow(Scripted):
        def send(self, message: Message) -> None:
            super().send(message)
            clock.at += 10.0

    slow = Slow("slow")
    worker = courier(slow, clock=clock)
    for number in range(3):
        worker.tell(numbered(number))
    worker._stop_at = clock.at + 5.0
    worker._run()
    assert slow.sent == ["t0"]


def test_stop_without_start_and_twice() -> None:
    """A service that failed to start may still be stopped."""
    worker = courier(Scripted())
    worker.stop()
    worker.stop()
    assert worker.delivered() == ()


def test_many_threads_tell_the_same_thing_once() -> None:
    """Racing callers write one audit line and queue one message."""
    slack, log = Scripted("slack"), Scripted("log")
    worker = courier(slack, at_once=[log])
    worker.start()
    threads = [threading.Thread(target=worker.tell, args=(numbered(1),)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    worker.stop()
    assert (slack.sent, log.sent) == (["t1"], ["t1"])


def test_whole_way_with_a_policy_webhook(receiver: Receiver, http: Http, logged: logs.Captured) -> None:
    """A telling goes to the audit log and over HTTP to the address of the policy's route, through a 503."""
    receiver.replies(Reply(503, headers={"Retry-After": "0"}), Reply(200))
    worker = Courier([], clock=Clock(), at_once=[AuditLog()], routed=RouteWebhooks(http))
    told = message(routes=(NotificationRoute(events=("rolled-back",), webhook=receiver.url("/me")),))
    worker.tell(told)
    work_all(worker)
    assert [got.path for got in receiver.received] == ["/me", "/me"]
    assert len(logged.named("rollout_rolled_back")) == 1
    assert {(each.channel, each.ok) for each in worker.delivered()} == {
        (name, True) for name in worker.channels(told)
    }


def test_remembers_a_bounded_number() -> None:
    """The memory of what was settled does not grow for ever."""
    log = Scripted("log")
    worker = courier(at_once=[log])
    for number in range(20_001):
        worker.tell(numbered(number))
    worker.tell(numbered(20_000))
    assert len(log.sent) == 20_001
    worker.tell(numbered(0))
    assert len(log.sent) == 20_002


class Receipted(Scripted):
    """A channel that gives a receipt."""

    def send(self, message: Message) -> str:  # type: ignore[override]
        super().send(message)
        return f"r-{message.telling.id}"


def test_a_receipt_is_handed_on() -> None:
    """The ledger keeps it for the rollout's next message."""
    worker = courier(Receipted())
    worker.tell(numbered(1))
    work_all(worker)
    [delivery] = worker.delivered()
    assert (delivery.ok, delivery.settled, delivery.receipt) == (True, True, "r-t1")


def test_a_part_is_handed_on_before_the_rest_is_tried_again() -> None:
    """A process that ends in the pause must not make the part a second time."""
    clock = Clock()
    worker = courier(
        Receipted("slack", DeliveryError("half", retry_after=30.0, receipt="r-part")), clock=clock
    )
    worker.tell(numbered(1))
    work_all(worker)
    [part] = worker.delivered()
    assert (part.settled, part.ok, part.receipt, part.detail) == (False, False, "r-part", "half")
    clock.at += 30
    work_all(worker)
    [whole] = worker.delivered()
    assert (whole.settled, whole.ok, whole.receipt) == (True, True, "r-t1")


def test_a_part_whose_rest_is_given_up_keeps_its_receipt() -> None:
    """The next transition goes on with what is there."""
    failures = [DeliveryError("half", receipt="r-part"), DeliveryError("no", retry_after=NEVER)]
    clock = Clock()
    worker = courier(Receipted("slack", *failures), clock=clock)
    worker.tell(numbered(1))
    worker.work()
    clock.at += 1
    work_all(worker)
    [end] = worker.delivered()
    assert (end.settled, end.ok, end.receipt, end.detail) == (True, False, "r-part", "no")


def test_whoever_records_is_woken() -> None:
    """After each try, so that a receipt is in the ledger before anything else happens."""
    woken: list[int] = []
    channel = Receipted("slack", DeliveryError("later"))
    clock = Clock()
    worker = Courier(
        [channel], clock=clock, chance=lambda: 0.0, heard=lambda: woken.append(len(channel.sent))
    )
    worker.tell(numbered(1))
    worker.work()
    clock.at += 1
    worker.work()
    assert woken == [0, 1]
