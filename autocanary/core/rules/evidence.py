"""What do the metrics say, and what does it mean when they say nothing?"""

from __future__ import annotations

from autocanary.core import moves
from autocanary.core.decision import Decision
from autocanary.core.judge.verdict import Outcome
from autocanary.core.policy import Grace, Then, WebhookType
from autocanary.core.progress import Phase
from autocanary.core.reason import Reason
from autocanary.core.rules.holding import held, window_closed
from autocanary.core.situation import BY_FAILURE, Situation
from autocanary.core.story import duration
from autocanary.core.windows import is_open

__all__ = ["failed", "not_conclusive", "nothing_measured", "unanswered"]


def failed(s: Situation) -> Decision | None:
    """The judge blames the candidate, or a rollback webhook says yes."""
    for each in s.gates.get(WebhookType.ROLLBACK, ()):
        if each.ok and not (s.progress.phase is Phase.PAUSED and s.progress.paused_by == BY_FAILURE):
            message = f"the rollback webhook {each.name} asked for it {each.detail}".rstrip()
            return moves.roll_back(s, "failed", Reason.ROLLBACK_WEBHOOK, message)
    if s.verdict is None or s.verdict.outcome is not Outcome.FAIL or not s.judged:
        return None
    return moves.roll_back(s, "failed", s.verdict.reason, s.verdict.message)


def nothing_measured(s: Situation) -> Decision | None:
    """Between two looks at the metrics nothing more can be decided."""
    return moves.unchanged(s, "nothing_measured") if s.verdict is None else None


def unanswered(s: Situation) -> Decision | None:
    """An outage or no data says nothing about the candidate: hold, and only at the stated deadline act."""
    verdict = s.verdict
    if verdict is None or verdict.outcome not in (Outcome.OUTAGE, Outcome.NO_DATA):
        return None
    if s.progress.phase is Phase.PAUSED:
        return moves.unchanged(s, "unanswered")  # a person has been asked already; silence changes nothing
    outage = verdict.outcome is Outcome.OUTAGE
    grace = s.policy.analysis.on_outage if outage else s.policy.analysis.on_no_data
    began = s.progress.outage_since if outage else s.progress.no_data_since
    since = began if began is not None else s.now
    lasted = s.now - since
    if lasted >= grace.hold and grace.then is not Then.HOLD:
        return _grace_over(s, grace, outage, lasted)
    if lasted < s.policy.analysis.interval:
        return moves.unchanged(s, "unanswered")  # one hiccup is not worth a message
    until = f", {grace.then.value} after {duration(grace.hold)}"
    if grace.then is Then.HOLD:
        until = " until there are metrics again"
    message = f"{verdict.message}; held at {s.progress.weight} %{until}"
    return held(s, "unanswered", verdict.reason, message)


def _grace_over(s: Situation, grace: Grace, outage: bool, lasted: float) -> Decision:
    reason = Reason.OUTAGE_DEADLINE if outage else Reason.NO_DATA_DEADLINE
    detail = s.verdict.message if s.verdict else ""
    message = f"no usable metrics for {duration(lasted)} ({detail})"
    if grace.then is Then.PAUSE:
        return moves.pause(s, "unanswered", BY_FAILURE, reason, f"{message}; paused, as the policy says")
    return moves.roll_back(s, "unanswered", reason, message)


def not_conclusive(s: Situation) -> Decision | None:
    """The time is over, but a metric has too few requests or was out of range at the last look."""
    if s.verdict is None or s.verdict.outcome is Outcome.PASS:
        return None
    if not s.at_last_step and not is_open(s.policy.windows, s.now) and s.progress.phase is not Phase.PAUSED:
        return window_closed(s, "not_conclusive")  # it could not move anyway: no deadline runs at night
    return held(s, "not_conclusive", s.verdict.reason, s.verdict.message)
