"""Holding in ways that several rules share."""

from __future__ import annotations

from typing import Any

from autocanary.decide import transitions
from autocanary.decide.decision_input import Situation
from autocanary.model.decision import Decision
from autocanary.model.policy import WebhookType
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout_windows import next_opening
from autocanary.model.value_wording import duration

__all__ = ["gate_closed", "held", "window_closed"]


def held(s: Situation, rule: str, reason: Reason, message: str) -> Decision:
    """A hold, except that a pause which a person or the policy asked for stays a pause."""
    return (
        transitions.unchanged(s, rule)
        if s.progress.phase is Phase.PAUSED
        else transitions.hold(s, rule, reason, message)
    )


def window_closed(s: Situation, rule: str, **changes: Any) -> Decision:
    opening = next_opening(s.policy.windows, s.now)
    when = f"opens in {duration(opening - s.now)}" if opening is not None else "does not open within a week"
    message = f"steps may not be taken now; the next window {when}"
    return transitions.hold(s, rule, Reason.WINDOW_CLOSED, message, **changes)


def gate_closed(s: Situation, rule: str, kind: WebhookType) -> Decision | None:
    """Held when a gate has just said no or could not be asked; nothing new when it was not asked now."""
    for each in s.gates.get(kind, ()):
        if not each.ok:
            said = "says no" if each.ok is False else "cannot be asked"
            detail = f": {each.detail}" if each.detail else ""
            message = f"the {kind.value} webhook {each.name} {said}{detail}"
            since = s.progress.held_since
            if since is not None and s.now - since > s.policy.progress_deadline:
                text = f"{message}, for {duration(s.now - since)}"
                return transitions.roll_back(s, rule, Reason.PROGRESS_DEADLINE_EXCEEDED, text)
            return transitions.hold(s, rule, Reason.WEBHOOK_PENDING, message)
    return None
