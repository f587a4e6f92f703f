"""What do the metrics say, and what does it mean when they say nothing?"""

from __future__ import annotations

from autocanary.analysis.verdict import Outcome
from autocanary.decide import transitions
from autocanary.decide.decision_input import BY_FAILURE, DecisionInput
from autocanary.decide.rules.holding import hold_for_window, hold_unless_paused
from autocanary.decide.rules.rule import rule
from autocanary.model.decision import Decision
from autocanary.model.frozen_copy import replace
from autocanary.model.policy import OnInconclusive, Timeout, TimeoutAction, WebhookType
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout_windows import is_open
from autocanary.model.value_wording import format_duration

__all__ = [
    "handle_inconclusive",
    "hold_while_suspicious",
    "hold_without_metrics",
    "roll_back_on_failure",
    "wait_for_evaluation",
]

_NEEDS_MORE_REQUESTS = frozenset({Reason.GATHERING_EVIDENCE, Reason.TOO_FEW_REQUESTS})
"""Inconclusive because evidence is missing, and not because something was seen."""


@rule("AnalysisFailed")
def roll_back_on_failure(given: DecisionInput) -> Decision | None:
    """The analysis fails the candidate, or a rollback webhook says yes."""
    for each in given.webhook_answers.get(WebhookType.ROLLBACK, ()):
        if each.ok and not (given.progress.phase is Phase.PAUSED and given.progress.hold.paused_by == BY_FAILURE):
            message = f"the rollback webhook {each.name} asked for it {each.detail}".rstrip()
            return transitions.roll_back(given, Reason.ROLLBACK_WEBHOOK, message)
    if given.verdict is None or given.verdict.outcome is not Outcome.FAIL or not given.is_evaluated:
        return None
    return transitions.roll_back(given, given.verdict.reason, given.verdict.message)


@rule("NotEvaluated")
def wait_for_evaluation(given: DecisionInput) -> Decision | None:
    """Between two evaluations of the metrics nothing more can be decided."""
    return transitions.unchanged(given) if given.verdict is None else None


@rule("MetricsUnavailable")
def hold_without_metrics(given: DecisionInput) -> Decision | None:
    """An outage or no data says nothing about the candidate: hold, and only at the stated deadline act."""
    verdict = given.verdict
    if verdict is None or verdict.outcome not in (Outcome.OUTAGE, Outcome.NO_DATA):
        return None
    if given.progress.phase is Phase.PAUSED:
        return transitions.unchanged(given)  # a user must resume it; missing data change nothing
    outage = verdict.outcome is Outcome.OUTAGE and given.progress.analysis.outage_since is not None
    timeout = given.analysis.on_outage if outage else given.analysis.on_no_data
    began = given.progress.analysis.outage_since if outage else given.progress.analysis.no_data_since
    since = began if began is not None else given.now
    lasted = given.now - since
    if lasted >= timeout.hold and timeout.action is not TimeoutAction.HOLD:
        return _apply_timeout(given, timeout, outage, lasted)
    if lasted < given.analysis.interval:
        return transitions.unchanged(given)  # a failure shorter than one interval needs no message
    until = f", {timeout.action.value} after {format_duration(timeout.hold)}"
    if timeout.action is TimeoutAction.HOLD:
        shared = verdict.reason is Reason.SHARED_OUTAGE
        until = " until the outage is over" if shared else " until there are metrics again"
    message = f"{verdict.message}; held at {given.progress.step.weight} %{until}"
    return hold_unless_paused(given, verdict.reason, message)


def _apply_timeout(given: DecisionInput, timeout: Timeout, outage: bool, lasted: float) -> Decision:
    reason = Reason.OUTAGE_DEADLINE if outage else Reason.NO_DATA_DEADLINE
    detail = given.verdict.message if given.verdict else ""
    shared = given.verdict is not None and given.verdict.reason is Reason.SHARED_OUTAGE
    what = "an outage of both revisions" if shared else "no usable metrics"
    message = f"{what} for {format_duration(lasted)} ({detail})"
    if timeout.action is TimeoutAction.PAUSE:
        return transitions.pause(given, BY_FAILURE, reason, f"{message}; paused, as the policy says")
    return transitions.roll_back(given, reason, message)


@rule("Suspicious")
def hold_while_suspicious(given: DecisionInput) -> Decision | None:
    """The candidate looks worse than stable, without enough evidence: held and notified at once."""
    verdict = given.verdict
    if verdict is None or verdict.outcome is not Outcome.SUSPICIOUS:
        return None
    gives_up = given.analysis.on_inconclusive is OnInconclusive.ROLLBACK and _window_open(given)
    if given.inconclusive_timed_out and gives_up and given.progress.phase is not Phase.PAUSED:
        return _roll_back_inconclusive(given)
    return hold_unless_paused(given, verdict.reason, verdict.message)


@rule("Inconclusive")
def handle_inconclusive(given: DecisionInput) -> Decision | None:
    """The time is over, but there is too little evidence, or a metric was out of range at the last evaluation."""
    verdict, action = given.verdict, given.analysis.on_inconclusive
    if verdict is None or verdict.outcome is Outcome.PASS:
        return None
    if not _window_open(given) and given.progress.phase is not Phase.PAUSED:
        # It could not move anyway: no deadline runs at night.
        analysis = replace(given.progress.analysis, inconclusive_since=None)
        return hold_for_window(given, replace(given.progress, analysis=analysis))
    if action is None:
        return hold_unless_paused(given, verdict.reason, verdict.message)
    if not given.inconclusive_timed_out:
        return _wait_for_evidence(given)
    if action is OnInconclusive.PROMOTE and verdict.reason in _NEEDS_MORE_REQUESTS:
        return None  # as if it had passed; what is said about it says that it has not
    if action is OnInconclusive.ROLLBACK and given.progress.phase is not Phase.PAUSED:
        return _roll_back_inconclusive(given)
    message = (
        f"inconclusive for {format_duration(given.inconclusive_seconds)}: {verdict.message}; held as the policy says"
    )
    return hold_unless_paused(given, Reason.INCONCLUSIVE, message)


def _wait_for_evidence(given: DecisionInput) -> Decision:
    """Waiting for evidence is what a step is for: it is no hold."""
    verdict = given.verdict
    if verdict is None or given.progress.phase is Phase.PAUSED:
        return transitions.unchanged(given)
    return transitions.continue_step(given, verdict.reason, verdict.message)


def _roll_back_inconclusive(given: DecisionInput) -> Decision:
    said = given.verdict.message if given.verdict is not None else ""
    message = f"inconclusive for {format_duration(given.inconclusive_seconds)}: {said}"
    return transitions.roll_back(given, Reason.INCONCLUSIVE, message)


def _window_open(given: DecisionInput) -> bool:
    return given.at_last_step or is_open(given.policy.windows, given.now)
