"""Whole rollouts in Slack: the unchanged controller, the real delivery workers and bot, a Slack with its protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autocanary.controller import Controller
from autocanary.model.policy import NotificationRoute, Policy
from autocanary.model.progress import Phase
from autocanary.notifications.delivery import DeliveryWorkers
from autocanary.notifications.slack_api import SlackApi
from autocanary.notifications.slack_bot import SlackBot
from tests.controller.driver import BROKEN, V2, Driver, policy
from tests.notifications.http_receiver import Receiver, Reply
from tests.notifications.slack_server import TOKEN, Slack, limited

HEALTHY = [
    "canary started",
    "canary at 10 %",
    "canary at 25 %",
    "canary at 50 %",
    "canary at 100 %",
    "promoted",
]


class SlackRun(Driver):
    """A driver whose users are in Slack; ``stop`` and ``kill`` are the two ways in which a process ends."""

    def __init__(self, api: SlackApi, *, policies: tuple[Policy, ...] = (), **more: Any) -> None:
        self._api = api
        super().__init__(*policies, **more)

    def new_controller(self) -> Controller:
        bot = SlackBot(self._api, channel="#ml-ops", policy_of=lambda rollout: self.controller.policy_of(rollout))
        self.delivery_worker = DeliveryWorkers([], clock=self.world.clock, channels_for=bot, jitter=lambda: 0.0)
        self.world.notifier = self.delivery_worker  # type: ignore[assignment]
        return super().new_controller()

    def tick(self) -> None:
        super().tick()
        while self.delivery_worker.deliver_next() == 0.0:
            pass

    def stop(self) -> None:
        """As the service does on SIGTERM: deliveries are recorded, nothing new begins."""
        while self.controller.record_remaining_deliveries():
            pass
        self.kill()

    def kill(self) -> None:
        self.controller = self.new_controller()


def story(slack: Slack) -> list[str]:
    """What the thread of the only message says; the message itself says the start."""
    [head] = slack.top_level_posts()
    return [
        reply.text.partition(": ")[2].partition("models/mnist: ")[2] or reply.text.rpartition("mnist: ")[2]
        for reply in slack.thread(head)
    ]


def released(api: SlackApi, **more: Any) -> SlackRun:
    driver = SlackRun(api, **more)
    driver.deploy_stable()
    driver.release()
    return driver


def test_promotion_is_one_message_with_a_thread(api: SlackApi, slack: Slack) -> None:
    """Started, each step, promoted; the rollout store says which message it is."""
    final = released(api).finish()
    [head] = slack.top_level_posts()
    assert head.text == ":white_check_mark: models/mnist: promoted"
    assert story(slack) == HEALTHY[1:]
    assert dict(final.progress.outbox.channel_message_ids) == {"slack:#ml-ops": f"C0ML0000/{head.ts}"}


def test_rollback_is_broadcast_to_the_channel(api: SlackApi, slack: Slack) -> None:
    """The beginning of the rollback is the one answer that the channel sees as well."""
    driver = released(api, qualities={V2: BROKEN})
    assert driver.finish().progress.phase is Phase.ROLLED_BACK
    [head] = slack.top_level_posts()
    assert story(slack)[-2:] == ["rolling back", "rolled back"]
    assert [reply.broadcast for reply in slack.thread(head)].count(True) == 1
    assert "(needs 99 %)" in head.shown


@pytest.mark.parametrize("every", [1, 7, 45])
def test_restarts_neither_repeat_nor_lose_notifications(api: SlackApi, slack: Slack, every: int) -> None:
    """An upgrade at any moment: the message goes on, each transition is posted once."""
    driver = released(api)
    while not (driver.has_rollout("mnist-00002") and driver.phase("mnist-00002") is Phase.PROMOTED):
        driver.run(every)
        driver.stop()
    driver.finish()
    assert story(slack) == HEALTHY[1:]


def test_kill_loses_no_notification(api: SlackApi, slack: Slack) -> None:
    """What it had sent without recording it may come again; the message is still one, its end is posted."""
    driver = released(api)
    while not (driver.has_rollout("mnist-00002") and driver.phase("mnist-00002") is Phase.PROMOTED):
        driver.run(10)
        driver.kill()
    driver.finish()
    assert list(dict.fromkeys(story(slack))) == HEALTHY[1:]


def _refused_connection() -> list[Reply]:
    return [Reply(abrupt=True)] * 8


def _limits() -> list[Reply]:
    return [limited("3")] * 20


def _server_errors() -> list[Reply]:
    return [Reply(503)] * 8


@pytest.mark.parametrize("trouble", [_refused_connection, _limits, _server_errors])
def test_delivers_after_a_slack_outage(
    api: SlackApi, slack: Slack, receiver: Receiver, trouble: Callable[[], list[Reply]]
) -> None:
    """In the middle of a rollout, with a restart in it: posted when Slack is back, in order, once."""
    driver = released(api)
    driver.until_weight(25)
    slack.scripted += trouble()
    driver.until_weight(50)
    driver.stop()
    driver.finish()
    assert slack.scripted == []
    assert story(slack) == HEALTHY[1:]


def test_slack_outage_does_not_delay_the_rollout(api: SlackApi, slack: Slack) -> None:
    """The rollback is as fast as with a Slack that answers; its end is posted later."""
    quick = released(api, qualities={V2: BROKEN})
    quick.until_phase(Phase.ROLLED_BACK)
    slack.posts.clear()
    slow = released(api, qualities={V2: BROKEN})
    slack.revoked.add(TOKEN)
    slow.until_phase(Phase.ROLLED_BACK)
    assert slow.world.now() <= quick.world.now()
    assert slack.posts == []
    slack.revoked.clear()
    slow.finish()
    [head] = slack.top_level_posts()
    assert head.text.endswith("rolled back")


def test_deleted_message_is_posted_again_and_its_id_stored(api: SlackApi, slack: Slack) -> None:
    """The message was deleted: the next transition makes a new one, which the rollout store then names."""
    driver = released(api)
    driver.until_weight(25)
    slack.delete(slack.top_level_posts()[0])
    final = driver.finish()
    [head] = slack.top_level_posts()
    assert head.text.endswith("promoted")
    assert dict(final.progress.outbox.channel_message_ids) == {"slack:#ml-ops": f"C0ML0000/{head.ts}"}


def test_restart_between_the_message_and_its_thread_reply(api: SlackApi, slack: Slack) -> None:
    """The rate limit fell between the two calls: the half that is done is recorded, the rest follows."""
    route = NotificationRoute(("step", "promoted"), slack_channel="#ml-ops")
    driver = SlackRun(api, policies=(policy(notifications=(route,)),))
    driver.deploy_stable()
    slack.scripted += [None, limited("20")]
    driver.release()
    driver.until(slack.top_level_posts)
    driver.run(2)
    [head] = slack.top_level_posts()
    assert slack.thread(head) == []
    assert dict(driver.rollout("mnist-00002").progress.outbox.channel_message_ids) == {
        "slack:#ml-ops": f"C0ML0000/{head.ts}"
    }
    assert driver.rollout("mnist-00002").progress.outbox.pending
    driver.kill()
    driver.finish()
    assert story(slack) == HEALTHY[1:]
