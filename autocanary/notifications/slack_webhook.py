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
from autocanary.notifications.channel import PolicyOf, no_policy, slack_wanted
from autocanary.notifications.http_client import Http, check, read_secret
from autocanary.notifications.message_text import advice, done, title
from autocanary.notifications.metric_rows import Evidence, evidence
from autocanary.notifications.slack_blocks import MARKS, coloured, context, escaped, facts, look, section, utc
from autocanary.ports import Message

__all__ = ["SlackWebhook", "body", "measured"]

_URL = re.compile(r"https?://[^\s/]+\S*", re.ASCII)


class SlackWebhook:
    """Channel ``slack``."""

    name = "slack"

    def __init__(
        self, url_file: Path, http: Http, *, cluster: str = "", policy_of: PolicyOf = no_policy
    ) -> None:
        self._url_file, self._http, self._cluster, self._policy_of = url_file, http, cluster, policy_of
        self._said: set[str] = set()
        self._log = logs.logger("autocanary.notifications.slack_webhook")

    def wants(self, message: Message) -> bool:
        return slack_wanted(message)

    def send(self, message: Message) -> None:
        self._say_what_is_not_honoured(message)
        url = read_secret(self._url_file, _URL, "Slack's webhook URL (https://...)")
        answer = self._http.post(url, body(message, self._cluster, self._policy_of))
        check(answer, url)

    def _say_what_is_not_honoured(self, message: Message) -> None:
        for route in message.routes:
            if route.slack_channel and route.slack_channel not in self._said:
                self._said.add(route.slack_channel)
                self._log.warning(
                    "slack_channel_not_honoured",
                    slack_channel=route.slack_channel,
                    policy=message.rollout.policy_name,
                    namespace=message.rollout.namespace,
                    hint="an incoming webhook posts to the channel it was made for; a bot token "
                    "(AUTOCANARY_SLACK_BOT_TOKEN_FILE) can choose",
                )


def body(message: Message, cluster: str, policy_of: PolicyOf) -> dict[str, Any]:
    """The message for Slack: the title as text (notifications show it), the rest in a coloured attachment."""
    emoji, colour = look(message)
    rows = evidence(message, policy_of(message.rollout))
    telling = message.telling
    blocks: list[dict[str, Any]] = []
    if telling.message:
        blocks.append(section(f"*What happened*\n{escaped(telling.message)}"))
    if rows:
        blocks.append(facts(f"*Why* ({escaped(telling.reason)})", map(measured, rows)))
    else:
        blocks.append(section(f"*Why*\n{escaped(telling.reason)}"))
    if did := done(message):
        blocks.append(section(f"*What was done*\n{escaped(did)}"))
    blocks.append(section(f"*What to do now*\n{escaped(advice(message))}"))
    blocks.append(context(_footer(message, cluster)))
    return coloured(f"{emoji} {escaped(title(message))}", colour, blocks)


def measured(row: Evidence) -> str:
    """One metric: what it said, against what, from how many requests; both sides where they are compared."""
    against = f" (must be {escaped(row.threshold)})" if row.threshold else ""
    requests = f", {row.requests:,.0f} requests" if row.requests is not None else ""
    watched = ", only watched" if row.dry_run else ""
    lines = [
        f"{MARKS[row.ok]} *{escaped(row.metric)}*",
        f"{escaped(row.measured)}{against}{requests}{watched}",
        *map(escaped, row.comparison),
    ]
    return "\n".join(lines)


def _footer(message: Message, cluster: str) -> str:
    rollout, telling = message.rollout, message.telling
    parts = (
        cluster,
        f"{rollout.namespace}/{rollout.name}",
        f"{rollout.candidate} instead of {rollout.stable}",
        f"policy {rollout.policy_name}",
        utc(telling.at),
        *(f"{name} {text}" for name, text in message.details),
    )
    return " · ".join(escaped(part) for part in parts if part)
