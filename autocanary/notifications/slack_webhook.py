"""Slack by an incoming webhook: one message per transition, with what, why, what was done, what to do now.

The webhook's URL is a secret that may be rotated: it is read from its file at each use, and neither errors
nor logs show more of it than the host. An incoming webhook posts to the one channel it was made for, so a
policy's own Slack channel cannot be honoured; that is said once in the log per channel.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from autocanary import logs
from autocanary.notifications.channel import PolicyOf, no_policy, wanted_by_slack
from autocanary.notifications.message_text import action_taken, advice, release_text, summary, title
from autocanary.notifications.metric_rows import MetricRow, rows_to_show
from autocanary.notifications.slack_blocks import (
    VERDICT_EMOJI,
    attachment_message,
    context,
    emoji_and_color,
    escape_mrkdwn,
    fields_section,
    links,
    section,
    utc,
)
from autocanary.outbound.http_client import HttpClient, raise_for_status, read_secret
from autocanary.ports import Message

__all__ = ["SlackWebhook", "body", "measurement_text"]

_URL = re.compile(r"https?://[^\s/]+\S*", re.ASCII)


class SlackWebhook:
    """Channel ``slack``."""

    name = "slack"

    def __init__(self, url_file: Path, http: HttpClient, *, cluster: str = "", policy_of: PolicyOf = no_policy) -> None:
        self._url_file, self._http, self._cluster, self._policy_of = url_file, http, cluster, policy_of
        self._warned: set[str] = set()
        self._log = logs.logger("autocanary.notifications.slack_webhook")

    def wants(self, message: Message) -> bool:
        return wanted_by_slack(message)

    def send(self, message: Message) -> None:
        self._warn_of_ignored_channels(message)
        url = read_secret(self._url_file, _URL, "Slack's webhook URL (https://...)")
        response = self._http.post(url, body(message, self._cluster, self._policy_of))
        raise_for_status(response, url)

    def _warn_of_ignored_channels(self, message: Message) -> None:
        for route in message.routes:
            if route.slack_channel and route.slack_channel not in self._warned:
                self._warned.add(route.slack_channel)
                self._log.warning(
                    "slack_channel_ignored",
                    slack_channel=route.slack_channel,
                    policy=message.rollout.policy_name,
                    namespace=message.rollout.namespace,
                    hint="an incoming webhook posts to the channel it was made for; a bot token "
                    "(AUTOCANARY_SLACK_BOT_TOKEN_FILE) can choose",
                )


def body(message: Message, cluster: str, policy_of: PolicyOf) -> dict[str, Any]:
    """The message for Slack: the title as text (notifications show it), the rest in a coloured attachment."""
    emoji, colour = emoji_and_color(message)
    rows = rows_to_show(message, policy_of(message.rollout))
    blocks: list[dict[str, Any]] = [section(escape_mrkdwn(summary(message)))]
    if rows:
        blocks.append(fields_section("*Metrics*", map(measurement_text, rows)))
    if action := action_taken(message):
        blocks.append(section(f"*What autocanary does*\n{escape_mrkdwn(action)}"))
    if todo := advice(message):
        blocks.append(section(f"*What you should do*\n{escape_mrkdwn(todo)}"))
    blocks.append(context(_footer(message, cluster)))
    return attachment_message(f"{emoji} {escape_mrkdwn(title(message))}", colour, blocks)


def measurement_text(row: MetricRow) -> str:
    """One metric: its value, its limit, the requests behind it; both sides where they are compared."""
    return "\n".join([f"{VERDICT_EMOJI[row.ok]} *{escape_mrkdwn(row.title)}*", *map(escape_mrkdwn, row.lines)])


def _footer(message: Message, cluster: str) -> str:
    rollout, notification = message.rollout, message.notification
    parts = (
        cluster,
        f"{rollout.namespace}/{rollout.name}",
        f"{rollout.candidate} instead of {rollout.stable}",
        release_text(message),
        f"policy {rollout.policy_name}",
        notification.reason,
        utc(notification.at),
        *(f"{name} {text}" for name, text in message.details),
    )
    return " · ".join(filter(None, (*map(escape_mrkdwn, parts), links(message))))
