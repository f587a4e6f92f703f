"""Whole rollouts told to Slack: the unchanged engine, the real courier and bot, a Slack that speaks its protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autocanary.controller import Engine
from autocanary.model.policy import NotificationRoute, Policy
from autocanary.model.progress import Phase
from autocanary.notifications.delivery import Courier
from autocanary.notifications.slack_api import SlackApi
from autocanary.notifications.slack_bot import SlackBot
from tests.controller.driver import BROKEN, V2, Play, policy
from tests.notifications.receiver import Receiver, Reply
from tests.notifications.slack_server import TOKEN, Slack, limited

HEALTHY = [
    "canary started",
    "canary at 10 %",
    "canary at 25 %",
    "canary at 50 %",
    "canary at 100 %",
    "promoted",
]


class Told(Play):
    """A play whose people are in Slack; ``stop`` and ``kill`` are the two ways in which a process ends."""

    def __init__(self, api: SlackApi, *, policies: tuple[Policy, ...] = (), **more: Any) -> None:
        self._api = api
        super().__init__(*policies, **more)

    def _engine(self) -> Engine:
        bot = SlackBot(self._api, channel="#ml-ops", policy_of=lambda rollout: self.engine.policy_of(rollout))
        self.courier = Courier([], clock=self.world.clock, routed=bot, chance=lambda: 0.0)
        self.world.notifier = self.courier  # type: ignore[assignment]
        return super()._engine()

    def tick(self) -> None:
        super().tick()
        while self.courier.work() == 0.0:
            pass

    def stop(self) -> None:
        """As the service does on SIGTERM: what is told is recorded, nothing new begins."""
        while self.engine.finish():
            pass
        self.kill()

    def kill(self) -> None:
        self.engine = self._engine()


def story(slack: Slack) -> list[str]:
    """What the thread of the only message tells; the message itself has told the start."""
    [head] = slack.heads()
    return [
        reply.text.partition(": ")[2].partition("models/mnist: ")[2] or reply.text.rpartition("mnist: ")[2]
        for reply in slack.thread(head)
    ]


def released(api: SlackApi, **more: Any) -> Told:
    play = Told(api, **more)
    play.serve()
    play.release()
    return play


def test_a_healthy_release_is_one_message_with_its_story(api: SlackApi, slack: Slack) -> None:
    """Started, each step, promoted; the ledger says which message it is."""
    final = released(api).finish()
    [head] = slack.heads()
    assert head.text == ":white_check_mark: models/mnist: promoted"
    assert story(slack) == HEALTHY[1:]
    assert dict(final.progress.receipts) == {"slack:#ml-ops": f"C0ML0000/{head.ts}"}


def test_a_bad_release_is_seen_in_the_channel(api: SlackApi, slack: Slack) -> None:
    """The beginning of the rollback is the one answer that the channel sees as well."""
    play = released(api, qualities={V2: BROKEN})
    assert play.finish().progress.phase is Phase.ROLLED_BACK
    [head] = slack.heads()
    assert story(slack)[-2:] == ["rolling back", "rolled back"]
    assert [reply.broadcast for reply in slack.thread(head)].count(True) == 1
    assert "must be at least 99 %" in head.shown


@pytest.mark.parametrize("every", [1, 7, 45])
def test_restarts_tell_nothing_twice_and_lose_nothing(api: SlackApi, slack: Slack, every: int) -> None:
    """An upgrade at any moment: the message goes on, each transition is told once."""
    play = released(api)
    while not (play.known("mnist-00002") and play.phase("mnist-00002") is Phase.PROMOTED):
        play.run(every)
        play.stop()
    play.finish()
    assert story(slack) == HEALTHY[1:]


def test_a_killed_process_loses_nothing(api: SlackApi, slack: Slack) -> None:
    """What it had told without recording it may be told again; the message is still one, its end is told."""
    play = released(api)
    while not (play.known("mnist-00002") and play.phase("mnist-00002") is Phase.PROMOTED):
        play.run(10)
        play.kill()
    play.finish()
    assert list(dict.fromkeys(story(slack))) == HEALTHY[1:]


def _refused_connection() -> list[Reply]:
    return [Reply(abrupt=True)] * 8


def _limits() -> list[Reply]:
    return [limited("3")] * 20


def _server_errors() -> list[Reply]:
    return [Reply(503)] * 8


@pytest.mark.parametrize("trouble", [_refused_connection, _limits, _server_errors])
def test_slack_away_for_a_while(
    api: SlackApi, slack: Slack, receiver: Receiver, trouble: Callable[[], list[Reply]]
) -> None:
    """In the middle of a rollout, with a restart in it: told when Slack is back, in order, once."""
    play = released(api)
    play.until_weight(25)
    slack.scripted += trouble()
    play.until_weight(50)
    play.stop()
    play.finish()
    assert slack.scripted == []
    assert story(slack) == HEALTHY[1:]


def test_a_dead_slack_delays_nothing(api: SlackApi, slack: Slack) -> None:
    """The rollback is as fast as with a Slack that answers; its end is told in the end."""
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
    [head] = slack.heads()
    assert head.text.endswith("rolled back")


def test_a_deleted_message_is_posted_anew_and_recorded(api: SlackApi, slack: Slack) -> None:
    """Somebody tidied the channel up: the next transition makes a new one, which the ledger then names."""
    play = released(api)
    play.until_weight(25)
    slack.delete(slack.heads()[0])
    final = play.finish()
    [head] = slack.heads()
    assert head.text.endswith("promoted")
    assert dict(final.progress.receipts) == {"slack:#ml-ops": f"C0ML0000/{head.ts}"}


def test_a_restart_between_the_message_and_its_answer(api: SlackApi, slack: Slack) -> None:
    """The rate limit fell between the two calls: the half that is done is in the ledger, the rest follows."""
    route = NotificationRoute(("step", "promoted"), slack_channel="#ml-ops")
    play = Told(api, policies=(policy(notifications=(route,)),))
    play.serve()
    slack.scripted += [None, limited("20")]
    play.release()
    play.until(slack.heads)
    play.run(2)
    [head] = slack.heads()
    assert slack.thread(head) == []
    assert dict(play.rollout("mnist-00002").progress.receipts) == {"slack:#ml-ops": f"C0ML0000/{head.ts}"}
    assert play.rollout("mnist-00002").progress.untold
    play.kill()
    play.finish()
    assert story(slack) == HEALTHY[1:]
