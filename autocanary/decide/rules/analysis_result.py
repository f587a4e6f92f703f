"""What do the metrics say, and what does it mean when they say nothing?"""

from __future__ import annotations

from autocanary.analysis.verdict import Outcome
from autocanary.decide import transitions
from autocanary.decide.decision_input import BY_FAILURE, Situation
from autocanary.decide.rules.holding import held, window_closed
from autocanary.model.decision import Decision
from autocanary.model.policy import Grace, OnInconclusive, Then, WebhookType
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout_windows import is_open
from autocanary.model.value_wording import duration

__all__ = ["failed", "not_conclusive", "nothing_measured", "suspicious", "unanswered"]

_WAITING = frozenset({Reason.GATHERING_EVIDENCE, Reason.TOO_FEW_REQUESTS})
"""Inconclusive for want of evidence, and not because something was seen."""


def failed(s: Situation) -> Decision | None:
    """The judge blames the candidate, or a rollback webhook says yes."""
    for each in s.gates.get(WebhookType.ROLLBACK, ()):
        if each.ok and not (s.progress.phase is Phase.PAUSED and s.progress.paused_by == BY_FAILURE):
            message = f"the rollback webhook {each.name} asked for it {each.detail}".rstrip()
            return transitions.roll_back(s, "failed", Reason.ROLLBACK_WEBHOOK, message)
    if s.verdict is None or s.verdict.outcome is not Outcome.FAIL or not s.judged:
        return None
    return transitions.roll_back(s, "failed", s.verdict.reason, s.verdict.message)


def nothing_measured(s: Situation) -> Decision | None:
    """Between two looks at the metrics nothing more can be decided."""
    return transitions.unchanged(s, "nothing_measured") if s.verdict is None else None


def unanswered(s: Situation) -> Decision | None:
    """An outage or no data says nothing about the candidate: hold, and only at the stated deadline act."""
    verdict = s.verdict
    if verdict is None or verdict.outcome not in (Outcome.OUTAGE, Outcome.NO_DATA):
        return None
    if s.progress.phase is Phase.PAUSED:
        return transitions.unchanged(
            s, "unanswered"
        )  # a person has been asked already; silence changes nothing
    outage = verdict.outcome is Outcome.OUTAGE
    grace = s.policy.analysis.on_outage if outage else s.policy.analysis.on_no_data
    began = s.progress.outage_since if outage else s.progress.no_data_since
    since = began if began is not None else s.now
    lasted = s.now - since
    if lasted >= grace.hold and grace.then is not Then.HOLD:
        return _grace_over(s, grace, outage, lasted)
    if lasted < s.policy.analysis.interval:
        return transitions.unchanged(s, "unanswered")  # one hiccup is not worth a message
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
        return transitions.pause(
            s, "unanswered", BY_FAILURE, reason, f"{message}; paused, as the policy says"
        )
    return transitions.roll_back(s, "unanswered", reason, message)


def suspicious(s: Situation) -> Decision | None:
    """The candidate looks bad, but not beyond doubt: held at once, and said, until it is over or certain."""
    verdict = s.verdict
    if verdict is None or verdict.outcome is not Outcome.SUSPICIOUS:
        return None
    gives_up = s.policy.analysis.on_inconclusive is OnInconclusive.ROLLBACK and _may_move(s)
    if s.timed_out and gives_up and s.progress.phase is not Phase.PAUSED:
        return _given_up(s, "suspicious")
    return held(s, "suspicious", verdict.reason, verdict.message)


def not_conclusive(s: Situation) -> Decision | None:
    """The time is over, but there is too little evidence, or a metric was out of range at the last look."""
    verdict, then = s.verdict, s.policy.analysis.on_inconclusive
    if verdict is None or verdict.outcome is Outcome.PASS:
        return None
    if not _may_move(s) and s.progress.phase is not Phase.PAUSED:
        # It could not move anyway: no deadline runs at night.
        return window_closed(s, "not_conclusive", undecided_since=None)
    if then is None:
        return held(s, "not_conclusive", verdict.reason, verdict.message)
    if not s.timed_out:
        return _waits(s)
    if then is OnInconclusive.PROMOTE and verdict.reason in _WAITING:
        return None  # as if it had passed; what is said about it says that it has not
    if then is OnInconclusive.ROLLBACK and s.progress.phase is not Phase.PAUSED:
        return _given_up(s, "not_conclusive")
    message = f"inconclusive for {duration(s.undecided)}: {verdict.message}; held as the policy says"
    return held(s, "not_conclusive", Reason.INCONCLUSIVE, message)


def _waits(s: Situation) -> Decision:
    """Waiting for evidence is what a step is for: it is no hold."""
    verdict = s.verdict
    if verdict is None or s.progress.phase is Phase.PAUSED:
        return transitions.unchanged(s, "not_conclusive")
    return transitions.stay(s, "not_conclusive", verdict.reason, verdict.message)


def _given_up(s: Situation, rule: str) -> Decision:
    said = s.verdict.message if s.verdict is not None else ""
    message = f"inconclusive for {duration(s.undecided)}: {said}"
    return transitions.roll_back(s, rule, Reason.INCONCLUSIVE, message)


def _may_move(s: Situation) -> bool:
    return s.at_last_step or is_open(s.policy.windows, s.now)
