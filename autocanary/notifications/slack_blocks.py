"""Slack's form of a message: marks, colours, blocks within Block Kit's limits, text without mentions.

Limits that are kept: 3,000 characters a text, 2,000 a field, 10 fields a section. Everything that comes from
outside goes through ``escape_mrkdwn``; a mention is made of an id that the policy's schema has let pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from autocanary.model.decision import Event
from autocanary.model.progress import Phase
from autocanary.ports import Message

__all__ = [
    "MAX_FIELDS",
    "VERDICT_EMOJI",
    "attachment_message",
    "buttons",
    "context",
    "emoji_and_color",
    "escape_mrkdwn",
    "fields_section",
    "links",
    "mentions",
    "section",
    "slack_date",
    "truncate",
    "utc",
]

_TEXT_LIMIT, _FIELD_LIMIT, MAX_FIELDS = 3000, 2000, 8
_GREEN, _BLUE, _YELLOW, _RED, _GREY = "#2eb67d", "#1d9bd1", "#ecb22e", "#e01e5a", "#868686"
_EMOJI_AND_COLOR: Mapping[str, tuple[str, str]] = {
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
VERDICT_EMOJI = {True: ":large_green_circle:", False: ":red_circle:", None: ":white_circle:"}


def emoji_and_color(message: Message) -> tuple[str, str]:
    """The emoji and the colour of a transition."""
    emoji, colour = _EMOJI_AND_COLOR.get(message.notification.event, (":speech_balloon:", _GREY))
    missed = message.notification.phase == Phase.MISSED.value
    return (emoji, _YELLOW) if missed else (emoji, colour)


def attachment_message(text: str, colour: str, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """A message: ``text`` is its first line and what a notification shows, the blocks follow in colour."""
    return {"text": truncate(text), "attachments": [{"color": colour, "blocks": blocks}]}


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": truncate(text)}}


def fields_section(text: str, fields: Iterable[str]) -> dict[str, Any]:
    """A section with up to FIELDS short texts in two columns below its own; the others are counted."""
    rows = tuple(fields)
    left = f"\n…and {len(rows) - MAX_FIELDS} more metrics" if len(rows) > MAX_FIELDS else ""
    shown = [{"type": "mrkdwn", "text": truncate(each, _FIELD_LIMIT)} for each in rows[:MAX_FIELDS]]
    return {**section(text + left), "fields": shown}


def context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": truncate(text)}]}


def buttons(*named: tuple[str, str, str, str]) -> dict[str, Any]:
    """Buttons: (action_id, text, value, what is asked before it counts; "" asks nothing). The first is highlighted."""
    elements: list[dict[str, Any]] = []
    for index, (action_id, text, value, question) in enumerate(named):
        button: dict[str, Any] = {
            "type": "button",
            "action_id": action_id,
            "text": {"type": "plain_text", "text": text},
            "value": value,
        }
        if len(named) > 1:
            button["style"] = "danger" if index else "primary"
        if question:
            button["confirm"] = {
                "title": {"type": "plain_text", "text": text},
                "text": {"type": "plain_text", "text": question},
                "confirm": {"type": "plain_text", "text": "Yes"},
                "deny": {"type": "plain_text", "text": "No"},
            }
        elements.append(button)
    return {"type": "actions", "elements": elements}


def mentions(ids: Iterable[str]) -> str:
    """``here`` and ``channel``, members (``U…``, ``W…``) and user groups (``S…``), as Slack notifies them."""
    return " ".join(map(_mention, ids))


def _mention(name: str) -> str:
    if name in ("here", "channel"):
        return f"<!{name}>"
    return f"<!subteam^{name}>" if name.startswith("S") else f"<@{name}>"


def slack_date(at: float) -> str:
    """A time that each reader sees in their own zone."""
    return f"<!date^{int(at)}^{{date_short_pretty}} {{time}}|{utc(at)}>"


def utc(at: float) -> str:
    return datetime.fromtimestamp(at, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def links(message: Message) -> str:
    """``<url|page> · <url|runbook>``; "" without links."""
    named = (("page", message.page_url), ("runbook", message.runbook_url))
    return " · ".join(f"<{escape_mrkdwn(url).replace('|', '%7C')}|{name}>" for name, url in named if url)


def escape_mrkdwn(text: str) -> str:
    """As Slack asks: these three only. It also keeps ``<!channel>`` in a message from notifying the whole channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def truncate(text: str, limit: int = _TEXT_LIMIT) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
