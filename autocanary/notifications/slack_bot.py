"""Slack by a bot token: one message per rollout and channel, updated as it goes, its history in the thread.

What a transition does in a channel:

1. The rollout's message is updated, or posted when there is none yet. The rollout store keeps
   its id (``Progress.channel_message_ids``), so a restarted or another instance goes on with it. When it is
   gone from Slack, or is not ours to edit any more, a new one is posted.
2. The transition is posted in its thread, when the routes select it. The start is not: the message says it.

Slack notifies no user of an edit. So what needs a user is shown in the channel as well, with the mentions that
the policy or the settings ask for. A transition that the routes leave out still updates the message, so that
it never shows an old weight; it never makes one.

Over 300 lines because the message and its thread are updated in one order, which a crash may interrupt anywhere.

The delivery workers send one message to Slack at a time, so nothing here is locked.

The one message of a rollout that is updated as it goes: its weight, its metrics, what comes next.

Its thread has the story; each entry there is what ``slack.body`` makes of a transition.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from autocanary import logs
from autocanary.errors import DeliveryError
from autocanary.model.decision import Event
from autocanary.model.policy import NotificationRoute, Policy
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.notifications.channel import (
    Channel,
    PolicyOf,
    no_policy,
    route_selects,
    wanted_by_default_channels,
)
from autocanary.notifications.message_text import advice, calls_for_action, next_action, release_text, summary, title
from autocanary.notifications.metric_rows import rows_to_show
from autocanary.notifications.slack_api import SlackApi, SlackApiError
from autocanary.notifications.slack_approvals import ABORT, PROMOTE, button_value
from autocanary.notifications.slack_blocks import (
    attachment_message,
    buttons,
    context,
    emoji_and_color,
    escape_mrkdwn,
    fields_section,
    links,
    mentions,
    section,
    slack_date,
)
from autocanary.notifications.slack_webhook import body, measurement_text
from autocanary.outbound.http_client import NO_RETRY
from autocanary.ports import Message

__all__ = ["SlackBot", "rollout_message_content", "weight_bar"]

_CELLS = 20


def rollout_message_content(
    message: Message, cluster: str, policy: Policy | None, *, approvals: bool = False
) -> dict[str, Any]:
    """The rollout after a transition; with ``approvals`` also buttons for what a user can request of it now."""
    emoji, colour = emoji_and_color(message)
    rows = rows_to_show(message, policy)
    blocks = [section(_progress_text(message, policy))]
    if rows:
        blocks.append(fields_section("*Metrics*", map(measurement_text, rows)))
    next_lines = (next_action(message, policy), *(f"{name}: {text}" for name, text in message.details))
    if any(next_lines):
        lines = "\n".join(escape_mrkdwn(line) for line in next_lines if line)
        blocks.append(section(f"*What comes next*\n{lines}"))
    if todo := advice(message):
        blocks.append(section(f"*What you should do*\n{escape_mrkdwn(todo)}"))
    if approvals:
        blocks.extend(approval_buttons(message))
    blocks.append(context(_footer(message, cluster)))
    return attachment_message(f"{emoji} {escape_mrkdwn(title(message))}", colour, blocks)


def approval_buttons(message: Message) -> list[dict[str, Any]]:
    """Abort while it runs, and Promote where it waits for a user; none once it goes back or has ended."""
    rollout, notification = message.rollout, message.notification
    value = button_value(rollout, notification.weight)
    abort = (ABORT, "Abort", value, f"Roll {rollout.candidate} back? All traffic goes to {rollout.stable}.")
    if notification.phase == Phase.PAUSED.value:
        approval = notification.reason == Reason.AWAITING_APPROVAL.value
        question = f"Pass the step at {notification.weight} %?"
        return [buttons((PROMOTE, "Approve" if approval else "Promote", value, question), abort)]
    return [buttons(abort)] if notification.phase in _ABORTABLE else []


_ABORTABLE = frozenset(each.value for each in (Phase.STAGING, Phase.PROGRESSING, Phase.HOLDING, Phase.BAKING))


def weight_bar(weight: int) -> str:
    """The weight as a bar: 1 % shows, and 99 % does not fill it.

    >>> bar(0), bar(1), bar(50)
    ('░░░░░░░░░░░░░░░░░░░░', '█░░░░░░░░░░░░░░░░░░░', '██████████░░░░░░░░░░')
    """
    whole = min(max(weight, 0), 100)
    full = 0 if whole == 0 else _CELLS if whole == 100 else min(max(round(whole / 100 * _CELLS), 1), _CELLS - 1)
    return "█" * full + "░" * (_CELLS - full)


def _progress_text(message: Message, policy: Policy | None) -> str:
    rollout, notification = message.rollout, message.notification
    steps = f" of {len(policy.steps)}" if policy else ""
    step = f" · step {notification.step}{steps}" if notification.step > 0 else ""
    observed, blocked = rollout.progress.step.observed_weight, notification.reason == Reason.ROLLBACK_BLOCKED.value
    seen = f", but {observed} % seen" if blocked and observed not in (None, notification.weight) else ""
    lines = [
        f"`{weight_bar(notification.weight)}` *{notification.weight} %*{seen}{step} · "
        f"{escape_mrkdwn(notification.phase)}",
        f"{escape_mrkdwn(rollout.candidate)} instead of {escape_mrkdwn(rollout.stable)}",
    ]
    if release := release_text(message):
        lines.append(escape_mrkdwn(release))
    lines.append(f"{escape_mrkdwn(summary(message))} ({escape_mrkdwn(notification.reason)})")
    return "\n".join(lines)


def _footer(message: Message, cluster: str) -> str:
    rollout = message.rollout
    parts = (cluster, f"{rollout.namespace}/{rollout.name}", f"policy {rollout.policy_name}")
    times = f"started {slack_date(rollout.progress.started_at)} · updated {slack_date(message.notification.at)}"
    return " · ".join(filter(None, (*map(escape_mrkdwn, parts), times, links(message))))


_MESSAGE_ID = re.compile(r"([A-Z0-9]{3,30})/(\d{1,15}\.\d{1,9})", re.ASCII)
_MESSAGE_GONE_ERRORS = frozenset({"cant_update_message", "channel_not_found", "message_not_found"})
_EDIT_WINDOW_CLOSED = "edit_window_closed"
_MESSAGES_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class _RolloutMessage:
    """A rollout's message in Slack: ``shown`` is the notification that it shows, of the time ``shown_at``."""

    channel: str
    ts: str
    shown: str = ""
    shown_at: float = 0.0

    @property
    def channel_message_id(self) -> str:
        return f"{self.channel}/{self.ts}"


class SlackBot:
    """Finds the Slack channels of a message: those that the policy names, else the settings' own.

    ``mention`` is for the settings' own channel; a policy's channels have the policy's. ``approvals``: messages have
    buttons, which ``SlackApprovals`` answers.
    """

    def __init__(
        self,
        api: SlackApi,
        *,
        channel: str = "",
        mention: Sequence[str] = (),
        cluster: str = "",
        policy_of: PolicyOf = no_policy,
        approvals: bool = False,
    ) -> None:
        self._api, self._cluster, self._policy_of = api, cluster, policy_of
        self._approvals = approvals
        self._channel, self._mention = channel, tuple(mention)
        self._messages: OrderedDict[tuple[str, str, str, str], _RolloutMessage] = OrderedDict()
        self._log = logs.logger("autocanary.notifications.slack_webhook")

    def __call__(self, message: Message) -> tuple[Channel, ...]:
        routes = [route for route in message.routes if route.slack_channel]
        names = dict.fromkeys(route.slack_channel for route in routes)
        if names:
            return tuple(
                _SlackBotChannel(self, name, _event_filter(routes, name), _mention(routes, name)) for name in names
            )
        if not self._channel:
            return ()
        return (
            _SlackBotChannel(
                self, self._channel, lambda event: wanted_by_default_channels(message, event), self._mention
            ),
        )

    def rollout_message(self, rollout: Rollout, name: str) -> _RolloutMessage | None:
        """The newest message that this process or the rollout store knows; timestamps in Slack grow."""
        kept = self._messages.get(_key(rollout, name))
        found = _MESSAGE_ID.fullmatch(rollout.progress.outbox.channel_message_ids.get(name, ""))
        noted = _RolloutMessage(found[1], found[2]) if found else None
        if kept is None or noted is None:
            return kept or noted
        return noted if float(noted.ts) > float(kept.ts) else kept

    def update_message(
        self, message: Message, name: str, current: _RolloutMessage | None
    ) -> tuple[_RolloutMessage, bool]:
        """The rollout's message, showing the transition, and whether it is a new one."""
        if current is not None and _is_shown(message, current):
            return current, False
        notification, slack_channel = message.notification, name.partition(":")[2]
        policy = self._policy_of(message.rollout)
        content = rollout_message_content(message, self._cluster, policy, approvals=self._approvals)
        if current is not None and self._update(current, content, slack_channel):
            return self._remember(message, name, current.channel, current.ts), False
        given = self.post({"channel": slack_channel, **content}, slack_channel)
        channel, ts = str(given.get("channel", "")), str(given.get("ts", ""))
        if not _MESSAGE_ID.fullmatch(f"{channel}/{ts}"):
            raise DeliveryError(f"Slack did not say which message it made in {slack_channel}", retry_after=NO_RETRY)
        if current is not None:
            self._log.info(
                "slack_message_replaced",
                slack_channel=slack_channel,
                rollout=notification.id.rpartition("/")[0],
            )
        return self._remember(message, name, channel, ts), True

    def post_in_thread(
        self,
        message: Message,
        parent: _RolloutMessage,
        slack_channel: str,
        *,
        broadcast: bool,
        mention: Sequence[str],
    ) -> None:
        """The transition in the thread of the rollout's message."""
        content = body(message, self._cluster, self._policy_of)
        if broadcast and mention:
            content["text"] = f"{mentions(mention)} {content['text']}"
        if broadcast and self._approvals:
            content["attachments"][0]["blocks"] += approval_buttons(message)
        place = {"channel": parent.channel, "thread_ts": parent.ts, "reply_broadcast": broadcast}
        self.post({**place, **content}, slack_channel)

    def post(self, arguments: dict[str, Any], slack_channel: str) -> Any:
        options = {"unfurl_links": False, "unfurl_media": False}
        return self._api.call("chat.postMessage", {**arguments, **options}, slack_channel)

    def _update(self, current: _RolloutMessage, content: dict[str, Any], slack_channel: str) -> bool:
        """Whether the message is there (and shows the content, where it may be edited)."""
        place = {"channel": current.channel, "ts": current.ts, "parse": "none"}
        try:
            self._api.call("chat.update", {**place, **content}, slack_channel)
        except SlackApiError as refusal:
            if refusal.error_code in _MESSAGE_GONE_ERRORS:
                return False
            if refusal.error_code != _EDIT_WINDOW_CLOSED:
                raise
        return True

    def _remember(self, message: Message, name: str, channel: str, ts: str) -> _RolloutMessage:
        made = _RolloutMessage(channel, ts, message.notification.id, message.notification.at)
        key = _key(message.rollout, name)
        self._messages[key] = made
        self._messages.move_to_end(key)
        while len(self._messages) > _MESSAGES_KEPT:
            self._messages.popitem(last=False)
        return made


class _SlackBotChannel:
    """Channel ``slack:<name>``; ``selects_event`` says whether the routes select an event."""

    def __init__(self, bot: SlackBot, name: str, selects_event: Callable[[str], bool], mention: Sequence[str]) -> None:
        self._bot, self._slack_channel, self._event_filter, self._mention = bot, name, selects_event, mention

    @property
    def name(self) -> str:
        return f"slack:{self._slack_channel}"

    def wants(self, message: Message) -> bool:  # noqa: ARG002 - an event that is not selected updates the message all the same
        return True

    def send(self, message: Message) -> str | None:
        event, current = message.notification.event, self._bot.rollout_message(message.rollout, self.name)
        selected = self._event_filter(event)
        if current is None and not selected:
            return None
        shown, new = self._bot.update_message(message, self.name, current)
        if selected and not (new and event == Event.STARTED.value):
            try:
                self._bot.post_in_thread(
                    message,
                    shown,
                    self._slack_channel,
                    broadcast=self._is_broadcast(message),
                    mention=self._mention,
                )
            except DeliveryError as error:
                error.channel_message_id = (
                    shown.channel_message_id
                )  # the message is there: a restart must not post it again
                raise
        return shown.channel_message_id

    def _is_broadcast(self, message: Message) -> bool:
        """Whether the channel sees it: a rollback once, at its beginning when the routes select that at all."""
        if message.notification.event == Event.ROLLED_BACK.value:
            return not self._event_filter(Event.ROLLBACK.value)
        return calls_for_action(message)


def _key(rollout: Rollout, name: str) -> tuple[str, str, str, str]:
    return rollout.namespace, rollout.name, rollout.uid, name


def _is_shown(message: Message, current: _RolloutMessage) -> bool:
    """Whether the message shows this transition or a later one, or is about to."""
    latest = max((each.at for each in message.rollout.progress.outbox.pending), default=0.0)
    at = message.notification.at
    return current.shown == message.notification.id or at < current.shown_at or at < latest


def _event_filter(routes: Sequence[NotificationRoute], name: str) -> Callable[[str], bool]:
    mine = tuple(route for route in routes if route.slack_channel == name)
    return lambda event: any(route_selects(route, event) for route in mine)


def _mention(routes: Sequence[NotificationRoute], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(who for each in routes if each.slack_channel == name for who in each.slack_mention))
