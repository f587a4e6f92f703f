"""After a restart: what was not delivered before costs less than the evaluations, and nothing that counts is lost."""

from __future__ import annotations

from dataclasses import replace

from autocanary.model.decision import Event
from autocanary.model.progress import Notification
from autocanary.model.progress_json import with_stored_fields
from autocanary.simulator.fakes import RecordingNotifier
from tests.controller.driver import LONG_STEPS, V1, Driver, healthy_start, policy


def notification(number: int, event: Event, at: float, *channels: str) -> Notification:
    return Notification(
        f"old-{number}", event.value, at, "Progressing", 0, 10, "Analysing", f"message {number}", channels
    )


def with_pending(driver: Driver, *pending: Notification) -> Driver:
    """The record holds these messages, and the process ends."""
    driver.until_weight(10)
    driver.run(5)
    held = driver.rollout()
    driver.world.store.update_status(
        replace(held, progress=with_stored_fields(held.progress, {"pending_notifications": pending}))
    )
    driver.notifiers = lambda: RecordingNotifier(("log", "users"))
    driver.restart()
    driver.world.notifier.messages.clear()
    return driver


def test_old_transitions_are_folded_into_the_newest() -> None:
    """The newest says how many there were; all of them are recorded as delivered."""
    driver = healthy_start(policy(steps=LONG_STEPS))
    old = driver.world.now() - 3000
    steps = [notification(number, Event.STEP, old + number, "log") for number in range(5)]
    with_pending(driver, *steps).run(10)
    (message,) = driver.world.notifier.messages
    assert message.notification.id == "old-4"
    assert dict(message.details)["earlier"].startswith("4 older messages")
    assert not driver.rollout().progress.outbox.pending


def test_nothing_final_new_or_unlogged_is_folded() -> None:
    """A rollback, a transition of a minute ago, and one that no log has."""
    driver = healthy_start(policy(steps=LONG_STEPS))
    old = driver.world.now() - 3000
    kept = [
        notification(0, Event.STEP, old),
        notification(1, Event.ROLLED_BACK, old, "log"),
        notification(2, Event.WARNING, old, "log"),
        notification(3, Event.HELD, driver.world.now(), "log"),
        notification(4, Event.STEP, driver.world.now(), "log"),
    ]
    with_pending(driver, *kept).run(10)
    assert [each.notification.id for each in driver.world.notifier.messages] == [each.id for each in kept]


def test_backlog_is_sent_a_few_rollouts_at_a_time() -> None:
    """Forty rollouts were adopted: all are evaluated at once, and their messages follow over some ticks."""
    driver = Driver(policy(steps=LONG_STEPS))
    names = [f"model-{number:03d}" for number in range(40)]
    for name in names:
        driver.world.deploy(name, V1)
    driver.run(15)
    driver.world.notifier.down = True
    for name in names:
        driver.release(name=name)
    driver.run(40)
    driver.restart()
    sent = []
    for _ in range(6):
        driver.world.notifier.messages.clear()
        driver.tick()
        sent.append(len({each.rollout.name for each in driver.world.notifier.messages}))
    assert sent[0] <= 10
    assert sum(sent) >= 40  # each sends its whole backlog at once
