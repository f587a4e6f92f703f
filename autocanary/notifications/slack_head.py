"""The one message of a rollout that is updated as it goes: where it stands, on what numbers, what comes next.

Its thread has the story; each entry there is what ``slack.body`` makes of a transition.
"""

from __future__ import annotations

from typing import Any

from autocanary.model.policy import Policy
from autocanary.notifications.message_text import advice, title, upcoming
from autocanary.notifications.metric_rows import evidence
from autocanary.notifications.slack_blocks import coloured, context, escaped, facts, look, moment, section
from autocanary.notifications.slack_webhook import measured
from autocanary.ports import Message

__all__ = ["bar", "head"]

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
