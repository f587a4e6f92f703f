"""Tests of autocanary.notifications.slack_bot: what users see in Slack's channels, and what the rollout store keeps of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autocanary.errors import DeliveryError
from autocanary.model.decision import Event
from autocanary.model.policy import NotificationRoute
from autocanary.model.progress import Phase
from autocanary.notifications.slack_api import SlackApi, SlackApiError
from autocanary.notifications.slack_bot import SlackBot
from autocanary.ports import Message
from tests.notifications.example_messages import AT, message, policy_of, progress, rollout
from tests.notifications.http_receiver import Reply
from tests.notifications.slack_server import TOKEN, Post, Slack, SlackChannel, limited

NAME = "slack:#ml-ops"


def bot(api: SlackApi, **changes: Any) -> SlackBot:
    return SlackBot(api, **{"channel": "#ml-ops", "cluster": "prod-1", "policy_of": policy_of, **changes})


def transition(event: Event, number: int, *, channel_message_id: str = "", name: str = NAME, **changes: Any) -> Message:
    """The ``number``-th transition of a rollout whose stored message id is ``channel_message_id``."""
    progressing: dict[str, Any] = {"phase": Phase.PROGRESSING.value, "step": number, "weight": 10 * number}
    about = rollout(progress=progress(channel_message_ids={name: channel_message_id} if channel_message_id else {}))
    values = {"id": f"t{number}", "at": AT + 60 * number, "about": about, **progressing, **changes}
    return message(event, **values)


def send(to: SlackBot, what: Message) -> list[str | None]:
    """To every channel that it has; their message ids."""
    return [channel.send(what) for channel in to(what) if channel.wants(what)]


def only(slack: Slack) -> Post:
    [head] = slack.top_level_posts()
    return head


def test_updates_one_message_and_posts_transitions_in_its_thread(api: SlackApi, slack: Slack) -> None:
    """Three transitions: one message in the channel that shows the newest, two answers to it."""
    channel = bot(api)
    channel_message_ids = [
        *send(channel, transition(Event.STARTED, 0, phase=Phase.STAGING.value)),
        *send(channel, transition(Event.STEP, 1)),
        *send(channel, transition(Event.STEP, 2)),
    ]
    head = only(slack)
    assert set(channel_message_ids) == {f"C0ML0000/{head.ts}"}
    assert slack.methods() == ["chat.postMessage", *["chat.update", "chat.postMessage"] * 2]
    assert head.text == ":arrow_up: models/mnist: canary at 20 %"
    assert "`████░░░░░░░░░░░░░░░░` *20 %* · step 2 of 3" in head.shown
    assert [reply.text for reply in slack.thread(head)] == [
        ":arrow_up: models/mnist: canary at 10 %",
        ":arrow_up: models/mnist: canary at 20 %",
    ]
    assert not any(reply.broadcast for reply in slack.thread(head))


def test_restart_updates_the_stored_message(api: SlackApi, slack: Slack) -> None:
    """Another process, with the message id: no second message."""
    [channel_message_id] = send(bot(api), transition(Event.STARTED, 0))
    assert channel_message_id is not None
    [again] = send(bot(api), transition(Event.PROMOTED, 4, channel_message_id=channel_message_id))
    assert again == channel_message_id
    assert only(slack).text == ":white_check_mark: models/mnist: promoted"
    assert len(slack.thread(only(slack))) == 1


def test_redelivered_start_is_not_posted_in_the_thread(api: SlackApi, slack: Slack) -> None:
    """The answer to the first post was lost with the process, the message id was not: an update, and a reply."""
    [channel_message_id] = send(bot(api), transition(Event.STARTED, 0))
    assert channel_message_id is not None
    send(bot(api), transition(Event.STARTED, 0, channel_message_id=channel_message_id))
    assert len(slack.top_level_posts()) == 1


def test_uses_the_newer_of_two_known_messages(api: SlackApi, slack: Slack) -> None:
    """Another instance has led in between, found the message gone and made a new one."""
    first, second = bot(api), bot(api)
    [old] = send(first, transition(Event.STARTED, 0))
    assert old is not None
    slack.delete(only(slack))
    [new] = send(second, transition(Event.STEP, 1, channel_message_id=old))
    assert new != old
    assert new is not None
    [after] = send(first, transition(Event.STEP, 2, channel_message_id=new))
    assert after == new
    [stale] = send(second, transition(Event.STEP, 3, channel_message_id=old))
    assert stale == new
    assert only(slack).text.endswith("canary at 30 %")


@pytest.mark.parametrize("how", ["deleted", "of another app", "channel of another workspace"])
def test_posts_a_new_message_when_the_old_one_is_gone(api: SlackApi, slack: Slack, token_file: Any, how: str) -> None:
    """The transition is posted all the same, in the thread of the new message."""
    channel = bot(api)
    [old] = send(channel, transition(Event.STARTED, 0))
    if how == "deleted":
        slack.delete(only(slack))
    elif how == "of another app":
        slack.tokens["xoxb-other"] = "B0OTHER"
        token_file.write_text("xoxb-other")
    else:
        slack.channels[:] = [SlackChannel("C0MOVED0", "ml-ops")]
    [new] = send(channel, transition(Event.STEP, 1))
    assert new is not None
    assert new != old
    head = slack.top_level_posts(new.partition("/")[0])[-1]
    assert head.text.endswith("canary at 10 %")
    assert len(slack.thread(head)) == 1


def test_posts_in_the_thread_when_the_edit_window_is_closed(api: SlackApi, slack: Slack) -> None:
    """A workspace may close messages for edits: no new message for each transition, then."""
    channel = bot(api)
    send(channel, transition(Event.STARTED, 0))
    slack.editable = False
    send(channel, transition(Event.STEP, 1))
    assert only(slack).text.endswith("canary started")
    assert len(slack.thread(only(slack))) == 1


def test_ignores_a_malformed_channel_message_id(api: SlackApi, slack: Slack) -> None:
    """What cannot be a message of Slack's is no message."""
    send(bot(api), transition(Event.STEP, 1, channel_message_id="C0ML0000"))
    assert slack.methods() == ["chat.postMessage", "chat.postMessage"]


def test_retries_the_thread_reply_without_reposting_the_message(api: SlackApi, slack: Slack) -> None:
    """The first post worked, the rate limit hit the second: the message id is passed on with the error."""
    what = transition(Event.HELD, 1)
    [place] = bot(api)(what)
    slack.scripted += [None, limited("7")]
    with pytest.raises(DeliveryError, match="asks to wait for 7 s") as caught:
        place.send(what)
    assert caught.value.channel_message_id == f"C0ML0000/{only(slack).ts}"
    assert caught.value.retry_after == 7.0
    assert place.send(what) == caught.value.channel_message_id
    assert slack.methods() == ["chat.postMessage", "chat.postMessage"]
    assert len(slack.thread(only(slack))) == 1


def test_restart_before_the_thread_reply_posts_no_second_message(api: SlackApi, slack: Slack) -> None:
    """The part's message id is recorded by then."""
    channel, what = bot(api), transition(Event.HELD, 1)
    shown, new = channel.update_message(what, NAME, None)
    assert new
    [channel_message_id] = send(bot(api), transition(Event.HELD, 1, channel_message_id=shown.channel_message_id))
    assert channel_message_id == shown.channel_message_id
    assert len(slack.top_level_posts()) == 1
    assert len(slack.thread(only(slack))) == 1


def test_late_transition_does_not_revert_the_message(api: SlackApi, slack: Slack) -> None:
    """It was set aside while newer ones went out: it is posted in the thread, the message stays as it is."""
    channel = bot(api)
    send(channel, transition(Event.STEP, 2))
    send(channel, transition(Event.STEP, 1))
    assert only(slack).text.endswith("canary at 20 %")
    assert [reply.text[-4:] for reply in slack.thread(only(slack))] == ["20 %", "10 %"]


def test_updates_the_message_once_after_an_outage(api: SlackApi, slack: Slack) -> None:
    """What waited is posted one by one; the message goes straight to the newest."""
    channel = bot(api)
    send(channel, transition(Event.STARTED, 0))
    waiting = tuple(transition(Event.STEP, number).notification for number in (1, 2, 3))
    for notification in waiting:
        about = rollout(progress=progress(pending_notifications=waiting))
        send(channel, replace(transition(Event.STEP, 1), notification=notification, rollout=about))
    assert slack.methods().count("chat.update") == 1
    assert len(slack.thread(only(slack))) == 3
    assert only(slack).text.endswith("canary at 30 %")


def test_rollback_is_broadcast_to_the_channel_with_mentions(api: SlackApi, slack: Slack) -> None:
    """Slack notifies no user of an edit, so the beginning of a rollback is broadcast once, with the mentions."""
    channel = bot(api, mention=("S0TEAM00", "U0MEMBER", "here"))
    for number, event in enumerate((Event.STARTED, Event.STEP, Event.ROLLBACK, Event.ROLLED_BACK, Event.WARNING)):
        send(channel, transition(event, number))
    replies = slack.thread(only(slack))
    assert [reply.broadcast for reply in replies] == [False, True, False, True]
    assert replies[1].text == "<!subteam^S0TEAM00> <@U0MEMBER> <!here> :rewind: models/mnist: rolling back"
    assert [reply.text.count("<") for reply in replies] == [0, 3, 0, 3]
    assert "<@" not in only(slack).text


def test_broadcasts_rolled_back_when_rollback_is_not_selected(api: SlackApi, slack: Slack) -> None:
    """The policy selects ``rolled-back`` and not ``rollback``."""
    routes = (NotificationRoute(("started", "rolled-back"), slack_channel="#ml-ops", slack_mention=("channel",)),)
    channel = bot(api)
    for number, event in enumerate((Event.STARTED, Event.ROLLBACK, Event.ROLLED_BACK)):
        send(channel, transition(event, number, routes=routes))
    [reply] = slack.thread(only(slack))
    assert reply.broadcast
    assert reply.text == "<!channel> :x: models/mnist: rolled back"


def test_unselected_event_still_updates_the_message(api: SlackApi, slack: Slack) -> None:
    """Only ``held`` is selected: no message before it, one after, which then never shows an old weight."""
    routes = (NotificationRoute(("held",), slack_channel="#ml-ops"),)
    channel = bot(api)
    assert send(channel, transition(Event.STARTED, 0, routes=routes)) == [None]
    assert slack.posts == []
    send(channel, transition(Event.HELD, 1, routes=routes))
    send(channel, transition(Event.STEP, 2, routes=routes))
    assert only(slack).text.endswith("canary at 20 %")
    assert [reply.text for reply in slack.thread(only(slack))] == [
        ":hourglass_flowing_sand: models/mnist: canary held at 10 %"
    ]


def test_posts_to_the_channels_of_the_policy(api: SlackApi, slack: Slack) -> None:
    """Each channel has a message of its own; two routes to one channel are one."""
    routes = (
        NotificationRoute(("started",), slack_channel="#ml-ops", slack_mention=("here",)),
        NotificationRoute(("step", "rollback"), slack_channel="#ml-ops", slack_mention=("here", "U0MEMBER")),
        NotificationRoute(slack_channel="C0CALL00"),
        NotificationRoute(webhook="http://h/"),
    )
    channel = bot(api, channel="#nowhere")
    what = transition(Event.STARTED, 0, routes=routes)
    assert [each.name for each in channel(what)] == ["slack:#ml-ops", "slack:C0CALL00"]
    send(channel, what)
    send(channel, transition(Event.ROLLBACK, 1, routes=routes))
    assert len(slack.top_level_posts("C0ML0000")) == len(slack.top_level_posts("C0CALL00")) == 1
    [reply] = slack.thread(only(slack))
    assert reply.text.startswith("<!here> <@U0MEMBER> ")
    [other] = slack.thread(slack.top_level_posts("C0CALL00")[0])
    assert not other.text.startswith("<")


def test_posts_to_the_default_channel_when_the_policy_has_none(api: SlackApi, slack: Slack) -> None:
    """And is narrowed by the routes for all channels; without a channel nothing is sent."""
    only_ends = (NotificationRoute(("promoted",)),)
    channel = bot(api)
    assert send(channel, transition(Event.STARTED, 0, routes=only_ends)) == [None]
    send(channel, transition(Event.PROMOTED, 1, routes=only_ends))
    assert only(slack).text.endswith("promoted")
    assert bot(api, channel="")(transition(Event.STARTED, 0)) == ()


def test_two_rollouts_have_two_messages(api: SlackApi, slack: Slack) -> None:
    """A name that is used again (deleted and created again) is another rollout, too."""
    channel = bot(api)
    send(channel, transition(Event.STARTED, 0))
    send(channel, transition(Event.STARTED, 0, about=rollout("mnist-00003")))
    send(channel, transition(Event.STARTED, 0, about=rollout(uid="u2")))
    assert len(slack.top_level_posts()) == 3


def test_other_update_errors_do_not_post_a_new_message(api: SlackApi, slack: Slack) -> None:
    """A revoked token says nothing about the message: nothing is posted, and it is tried again."""
    channel = bot(api)
    send(channel, transition(Event.STARTED, 0))
    slack.revoked.add(TOKEN)
    with pytest.raises(SlackApiError, match="token_revoked"):
        send(channel, transition(Event.STEP, 1))
    slack.revoked.clear()
    send(channel, transition(Event.STEP, 1))
    assert len(slack.top_level_posts()) == 1


def test_ok_without_a_message_id_is_not_retried(api: SlackApi, slack: Slack) -> None:
    """Whatever answered, it would make a message at each try."""
    slack.scripted.append(Reply(200, b'{"ok": true}'))
    with pytest.raises(DeliveryError, match="did not say which message") as caught:
        send(bot(api), transition(Event.STARTED, 0))
    assert caught.value.retry_after == float("inf")


def test_keeps_a_bounded_number_of_messages_in_memory(
    api: SlackApi, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was dropped from memory is in the rollout store."""
    monkeypatch.setattr("autocanary.notifications.slack_bot._MESSAGES_KEPT", 1)
    channel = bot(api)
    [channel_message_id] = send(channel, transition(Event.STARTED, 0))
    send(channel, transition(Event.STARTED, 0, about=rollout("mnist-00003")))
    assert channel_message_id is not None
    send(channel, transition(Event.STEP, 1, channel_message_id=channel_message_id))
    assert len(slack.top_level_posts()) == 2
