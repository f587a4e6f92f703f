"""Slack by an incoming webhook: one message per transition, with what, why, what was done, what to do now.

The webhook's URL is a secret that may be rotated: it is read from its file at each use, and neither errors
nor logs show more of it than the host. An incoming webhook posts to the one channel it was made for, so a
policy's own Slack channel cannot be honoured; that is said once in the log per channel.

Limits of Block Kit that are kept: 3,000 characters a text, 2,000 a field, 10 fields a section.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autocanary import logs
from autocanary.core.decision import Event
from autocanary.core.progress import Phase
from autocanary.errors import DeliveryError
from autocanary.notify.channel import PolicyOf, no_policy
from autocanary.notify.evidence import Evidence, evidence
from autocanary.notify.http import Http, check
from autocanary.notify.routes import slack_wanted
from autocanary.notify.wording import advice, done, title
from autocanary.ports import Message

__all__ = ["SlackWebhook", "body"]

_TEXT, _FIELD, _FIELDS = 3000, 2000, 8
_GREEN, _BLUE, _YELLOW, _RED, _GREY = "#2eb67d", "#1d9bd1", "#ecb22e", "#e01e5a", "#868686"
_LOOKS: Mapping[str, tuple[str, str]] = {
    Event.STARTED.value: (":rocket:", _BLUE),
    Event.STEP.value: (":arrow_up:", _BLUE),
    Event.HELD.value: (":hourglass_flowing_sand:", _YELLOW),
    Event.PAUSED.value: (":double_vertical_bar:", _YELLOW),
    Event.RESUMED.value: (":arrow_forward:", _BLUE),
    Event.PROMOTED.value: (":white_check_mark:", _GREEN),
    Event.ROLLBACK.value: (":rewind:", _RED),
    Event.ROLLED_BACK.value: (":x:", _RED),
    Event.EXTERNAL_CHANGE.value: (":warning:", _YELLOW),
    Event.ENDED.value: (":black_square_for_stop:", _GREY),
    Event.WARNING.value: (":rotating_light:", _RED),
}
_MARKS = {True: ":large_green_circle:", False: ":red_circle:", None: ":white_circle:"}


class SlackWebhook:
    """Channel ``slack``."""

    name = "slack"

    def __init__(
        self, url_file: Path, http: Http, *, cluster: str = "", policy_of: PolicyOf = no_policy
    ) -> None:
        self._url_file, self._http, self._cluster, self._policy_of = url_file, http, cluster, policy_of
        self._said: set[str] = set()
        self._log = logs.logger("autocanary.notify.slack")

    def wants(self, message: Message) -> bool:
        return slack_wanted(message)

    def send(self, message: Message) -> None:
        self._say_what_is_not_honoured(message)
        url = self._url()
        answer = self._http.post(url, body(message, self._cluster, self._policy_of))
        check(answer, url)

    def _url(self) -> str:
        try:
            url = self._url_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else "it is not text"
            raise DeliveryError(
                f"the Slack webhook URL cannot be read from {self._url_file} ({why}); "
                "AUTOCANARY_SLACK_WEBHOOK_URL_FILE must name a readable file"
            ) from error
        if urlsplit(url).scheme not in ("http", "https"):
            raise DeliveryError(
                f"{self._url_file} must hold Slack's webhook URL (https://...) and nothing else"
            )
        return url

    def _say_what_is_not_honoured(self, message: Message) -> None:
        for route in message.routes:
            if route.slack_channel and route.slack_channel not in self._said:
                self._said.add(route.slack_channel)
                self._log.warning(
                    "slack_channel_not_honoured",
                    slack_channel=route.slack_channel,
                    policy=message.rollout.policy_name,
                    namespace=message.rollout.namespace,
                    hint="an incoming webhook posts to the channel it was made for; make the webhook for "
                    "that channel, or send these events to a webhook route",
                )


def body(message: Message, cluster: str, policy_of: PolicyOf) -> dict[str, Any]:
    """The message for Slack: the title as text (notifications show it), the rest in a coloured attachment."""
    emoji, colour = _look(message)
    rows = evidence(message, policy_of(message.rollout))
    telling = message.telling
    blocks: list[dict[str, Any]] = []
    if telling.message:
        blocks.append(_section(f"*What happened*\n{_escape(telling.message)}"))
    if rows:
        fields = [_cut(_measured(row), _FIELD) for row in rows[:_FIELDS]]
        left = f"\n…and {len(rows) - _FIELDS} more metrics" if len(rows) > _FIELDS else ""
        blocks.append(
            {
                "type": "section",
                "text": {"type": "mrkdwn", "text": f"*Why* ({_escape(telling.reason)}){left}"},
                "fields": [{"type": "mrkdwn", "text": each} for each in fields],
            }
        )
    else:
        blocks.append(_section(f"*Why*\n{_escape(telling.reason)}"))
    if did := done(message):
        blocks.append(_section(f"*What was done*\n{_escape(did)}"))
    blocks.append(_section(f"*What to do now*\n{_escape(advice(message))}"))
    blocks.append(
        {"type": "context", "elements": [{"type": "mrkdwn", "text": _cut(_footer(message, cluster), _TEXT)}]}
    )
    return {
        "text": _cut(f"{emoji} {_escape(title(message))}", _TEXT),
        "attachments": [{"color": colour, "blocks": blocks}],
    }


def _look(message: Message) -> tuple[str, str]:
    emoji, colour = _LOOKS.get(message.telling.event, (":speech_balloon:", _GREY))
    missed = message.telling.phase == Phase.MISSED.value
    return (emoji, _YELLOW) if missed else (emoji, colour)


def _measured(row: Evidence) -> str:
    against = f" (must be {_escape(row.threshold)})" if row.threshold else ""
    requests = f", {row.requests:,.0f} requests" if row.requests is not None else ""
    watched = ", only watched" if row.dry_run else ""
    return f"{_MARKS[row.ok]} *{_escape(row.metric)}*\n{_escape(row.measured)}{against}{requests}{watched}"


def _footer(message: Message, cluster: str) -> str:
    rollout, telling = message.rollout, message.telling
    at = datetime.fromtimestamp(telling.at, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    parts = (
        cluster,
        f"{rollout.namespace}/{rollout.name}",
        f"{rollout.candidate} instead of {rollout.stable}",
        f"policy {rollout.policy_name}",
        at,
        *(f"{name} {text}" for name, text in message.details),
    )
    return " · ".join(_escape(part) for part in parts if part)


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text, _TEXT)}}


def _escape(text: str) -> str:
    """As Slack asks: these three only. It also keeps ``<!channel>`` in a message from calling everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
