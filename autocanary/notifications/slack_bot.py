"""Slack by a bot token: one message per rollout and channel, updated as it goes, its story in the thread.

What a transition does in a channel:

1. The rollout's message is updated, or posted when there is none yet. Which one it is, is the receipt that
   the ledger keeps (``Progress.receipts``), so a restarted or another instance goes on with it. When it is
   gone from Slack, or is not ours to edit any more, a new one is posted.
2. The transition is told in its thread, when the routes select it. The start is not: the message says it.

An edit notifies nobody. So a rollback and a warning are shown in the channel as well, with the mentions that
the policy or the settings ask for. A transition that the routes leave out still updates the message, so that
it never shows an old weight; it never makes one.

``send`` is called by the courier's one worker only, so nothing here is locked.

The one message of a rollout that is updated as it goes: where it stands, on what numbers, what comes next.

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
from autocanary.model.rollout import Rollout
from autocanary.notifications.channel import Channel, PolicyOf, for_everyone, no_policy, selects
from autocanary.notifications.http_client import NEVER
from autocanary.notifications.message_text import advice, title, upcoming
from autocanary.notifications.metric_rows import evidence
from autocanary.notifications.slack_api import SlackApi, SlackRefusal
from autocanary.notifications.slack_blocks import (
    coloured,
    context,
    escaped,
    facts,
    look,
    mentions,
    moment,
    section,
)
from autocanary.notifications.slack_webhook import body, measured
from autocanary.ports import Message

__all__ = ["SlackBot", "bar", "head"]

_CELLS = 20


def head(message: Message, cluster: str, policy: Policy | None) -> dict[str, Any]:
    """The rollout as it stands after a transition."""
    emoji, colour = look(message)
    rows = evidence(message, policy)
    blocks = [section(_standing(message, policy))]
    if rows:
        blocks.append(facts("*The numbers*", map(measured, rows)))
    coming = (upcoming(message, policy), *(f"{name}: {text}" for name, text in message.details))
    if any(coming):
        lines = "\n".join(escaped(line) for line in coming if line)
        blocks.append(section(f"*What comes next*\n{lines}"))
    if (todo := advice(message)) != "Nothing.":
        blocks.append(section(f"*What to do now*\n{escaped(todo)}"))
    blocks.append(context(_footer(message, cluster)))
    return coloured(f"{emoji} {escaped(title(message))}", colour, blocks)


def bar(weight: int) -> str:
    """The weight as a picture; what is not nothing shows, and what is not all does not fill it.

    >>> bar(0), bar(1), bar(50)
    ('░░░░░░░░░░░░░░░░░░░░', '█░░░░░░░░░░░░░░░░░░░', '██████████░░░░░░░░░░')
    """
    whole = min(max(weight, 0), 100)
    full = (
        0 if whole == 0 else _CELLS if whole == 100 else min(max(round(whole / 100 * _CELLS), 1), _CELLS - 1)
    )
    return "█" * full + "░" * (_CELLS - full)


def _standing(message: Message, policy: Policy | None) -> str:
    rollout, telling = message.rollout, message.telling
    steps = f" of {len(policy.steps)}" if policy else ""
    step = f" · step {telling.step}{steps}" if telling.step > 0 else ""
    lines = [
        f"`{bar(telling.weight)}` *{telling.weight} %*{step} · {escaped(telling.phase)}",
        f"{escaped(rollout.candidate)} instead of {escaped(rollout.stable)}",
    ]
    if telling.message:
        lines.append(f"{escaped(telling.message)} ({escaped(telling.reason)})")
    return "\n".join(lines)


def _footer(message: Message, cluster: str) -> str:
    rollout = message.rollout
    parts = (cluster, f"{rollout.namespace}/{rollout.name}", f"policy {rollout.policy_name}")
    times = f"started {moment(rollout.progress.started_at)} · updated {moment(message.telling.at)}"
    return " · ".join((*(escaped(part) for part in parts if part), times))


_RECEIPT = re.compile(r"([A-Z0-9]{3,30})/(\d{1,15}\.\d{1,9})", re.ASCII)
_GONE = frozenset({"cant_update_message", "channel_not_found", "message_not_found"})
_FIXED = "edit_window_closed"
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Head:
    """A rollout's message in Slack: ``shown`` is the telling that it shows, of the time ``shown_at``."""

    channel: str
    ts: str
    shown: str = ""
    shown_at: float = 0.0

    @property
    def receipt(self) -> str:
        return f"{self.channel}/{self.ts}"


class SlackBot:
    """Finds the Slack channels of a message: those that the policy names, else the settings' own.

    ``mention`` is for the settings' own channel; a policy's channels have the policy's.
    """

    def __init__(
        self,
        api: SlackApi,
        *,
        channel: str = "",
        mention: Sequence[str] = (),
        cluster: str = "",
        policy_of: PolicyOf = no_policy,
    ) -> None:
        self._api, self._cluster, self._policy_of = api, cluster, policy_of
        self._channel, self._mention = channel, tuple(mention)
        self._heads: OrderedDict[tuple[str, str, str, str], _Head] = OrderedDict()
        self._log = logs.logger("autocanary.notifications.slack_webhook")

    def __call__(self, message: Message) -> tuple[Channel, ...]:
        routes = [route for route in message.routes if route.slack_channel]
        names = dict.fromkeys(route.slack_channel for route in routes)
        if names:
            return tuple(
                _InChannel(self, name, _tells(routes, name), _mention(routes, name)) for name in names
            )
        if not self._channel:
            return ()
        return (_InChannel(self, self._channel, lambda event: for_everyone(message, event), self._mention),)

    def head_of(self, rollout: Rollout, name: str) -> _Head | None:
        """The newest message that we or the ledger know of; timestamps in Slack grow."""
        kept = self._heads.get(_key(rollout, name))
        found = _RECEIPT.fullmatch(rollout.progress.receipts.get(name, ""))
        noted = _Head(found[1], found[2]) if found else None
        if kept is None or noted is None:
            return kept or noted
        return noted if float(noted.ts) > float(kept.ts) else kept

    def show(self, message: Message, name: str, present: _Head | None) -> tuple[_Head, bool]:
        """The rollout's message, showing the transition, and whether it is a new one."""
        if present is not None and _is_shown(message, present):
            return present, False
        telling, room = message.telling, name.partition(":")[2]
        content = head(message, self._cluster, self._policy_of(message.rollout))
        if present is not None and self._update(present, content, room):
            return self._keep(message, name, present.channel, present.ts), False
        given = self.post({"channel": room, **content}, room)
        channel, ts = str(given.get("channel", "")), str(given.get("ts", ""))
        if not _RECEIPT.fullmatch(f"{channel}/{ts}"):
            raise DeliveryError(f"Slack did not say which message it made in {room}", retry_after=NEVER)
        if present is not None:
            self._log.info(
                "slack_message_replaced", slack_channel=room, rollout=telling.id.rpartition("/")[0]
            )
        return self._keep(message, name, channel, ts), True

    def tell(self, message: Message, parent: _Head, room: str, *, loud: bool, mention: Sequence[str]) -> None:
        """The transition in the thread of the rollout's message."""
        content = body(message, self._cluster, self._policy_of)
        if loud and mention:
            content["text"] = f"{mentions(mention)} {content['text']}"
        place = {"channel": parent.channel, "thread_ts": parent.ts, "reply_broadcast": loud}
        self.post({**place, **content}, room)

    def post(self, arguments: dict[str, Any], room: str) -> Any:
        quiet = {"unfurl_links": False, "unfurl_media": False}
        return self._api.call("chat.postMessage", {**arguments, **quiet}, room)

    def _update(self, present: _Head, content: dict[str, Any], room: str) -> bool:
        """Whether the message is there (and shows the content, where it may be edited)."""
        place = {"channel": present.channel, "ts": present.ts, "parse": "none"}
        try:
            self._api.call("chat.update", {**place, **content}, room)
        except SlackRefusal as refusal:
            if refusal.word in _GONE:
                return False
            if refusal.word != _FIXED:
                raise
        return True

    def _keep(self, message: Message, name: str, channel: str, ts: str) -> _Head:
        made = _Head(channel, ts, message.telling.id, message.telling.at)
        key = _key(message.rollout, name)
        self._heads[key] = made
        self._heads.move_to_end(key)
        while len(self._heads) > _REMEMBERED:
            self._heads.popitem(last=False)
        return made


class _InChannel:
    """Channel ``slack:<name>``; ``tells`` says whether the routes select an event."""

    def __init__(
        self, bot: SlackBot, name: str, tells: Callable[[str], bool], mention: Sequence[str]
    ) -> None:
        self._bot, self._room, self._tells, self._mention = bot, name, tells, mention

    @property
    def name(self) -> str:
        return f"slack:{self._room}"

    def wants(self, message: Message) -> bool:  # noqa: ARG002 - what is not told updates the message all the same
        return True

    def send(self, message: Message) -> str | None:
        event, present = message.telling.event, self._bot.head_of(message.rollout, self.name)
        told = self._tells(event)
        if present is None and not told:
            return None
        shown, new = self._bot.show(message, self.name, present)
        if told and not (new and event == Event.STARTED.value):
            try:
                self._bot.tell(message, shown, self._room, loud=self._is_loud(event), mention=self._mention)
            except DeliveryError as error:
                error.receipt = shown.receipt  # the message is there: a restart must not post it again
                raise
        return shown.receipt

    def _is_loud(self, event: str) -> bool:
        """Whether the channel sees it: a rollback once, at its beginning when that is told at all."""
        if event == Event.ROLLED_BACK.value:
            return not self._tells(Event.ROLLBACK.value)
        return event in (Event.ROLLBACK.value, Event.WARNING.value)


def _key(rollout: Rollout, name: str) -> tuple[str, str, str, str]:
    return rollout.namespace, rollout.name, rollout.uid, name


def _is_shown(message: Message, present: _Head) -> bool:
    """Whether the message shows this transition or a later one, or is about to."""
    latest = max((each.at for each in message.rollout.progress.untold), default=0.0)
    at = message.telling.at
    return present.shown == message.telling.id or at < present.shown_at or at < latest


def _tells(routes: Sequence[NotificationRoute], name: str) -> Callable[[str], bool]:
    mine = tuple(route for route in routes if route.slack_channel == name)
    return lambda event: any(selects(route, event) for route in mine)


def _mention(routes: Sequence[NotificationRoute], name: str) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(who for each in routes if each.slack_channel == name for who in each.slack_mention)
    )
