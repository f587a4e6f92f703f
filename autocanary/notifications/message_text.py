"""The sentences around a transition's own message: the title, what autocanary does, what the reader should do.

The rules say what happened and why (``Notification.message``); nothing here repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from autocanary.model.decision import Event
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.value_wording import format_duration
from autocanary.ports import Message
from autocanary.views import model_change, released_by_text
from autocanary.views.advice import advice_text, blocked_without_a_way_out
from autocanary.views.wait_reason import HOLDS_THAT_NEED_A_USER

__all__ = ["action_taken", "advice", "calls_for_action", "next_action", "release_text", "summary", "title"]

_TITLES: Mapping[str, str] = {
    Event.STARTED.value: "canary started",
    Event.STEP.value: "canary at {weight} %",
    Event.HELD.value: "canary held at {weight} %",
    Event.PAUSED.value: "canary paused at {weight} %",
    Event.RESUMED.value: "canary resumed at {weight} %",
    Event.PROMOTED.value: "promoted",
    Event.ROLLBACK.value: "rolling back",
    Event.ROLLED_BACK.value: "rolled back",
    Event.EXTERNAL_CHANGE.value: "paused, another client changed the weight",
    Event.ENDED.value: "rollout ended ({phase})",
    Event.WARNING.value: "warning",
}
_TITLES_BY_REASON: Mapping[tuple[str, str], str] = {
    (Event.HELD.value, Reason.REVISION_FAILED.value): "the candidate is not ready",
    (Event.HELD.value, Reason.WAITING_FOR_EFFECT.value): "{weight} % has no effect",
    (Event.HELD.value, Reason.STABLE_FAILED.value): "stable failed, canary held at {weight} %",
    (Event.HELD.value, Reason.SHARED_OUTAGE.value): "stable and canary fail, held at {weight} %",
    (Event.PAUSED.value, Reason.AWAITING_APPROVAL.value): "approval required at {weight} %",
    (Event.PAUSED.value, Reason.FAILURE_PAUSED.value): "failed and paused at {weight} %",
    (Event.EXTERNAL_CHANGE.value, Reason.WEIGHT_LOST.value): "weight removed and put back",
    (Event.ROLLBACK.value, Reason.WRONG_STABLE.value): "putting the stable spec back",
    (Event.ENDED.value, Reason.NEW_REVISION.value): "superseded by a newer revision",
    (Event.ENDED.value, Reason.REVERTED.value): "superseded, the spec was reverted",
    (Event.ENDED.value, Reason.MISSED_UNSTAGED.value): "released without a canary",
    (Event.WARNING.value, Reason.ROLLBACK_BLOCKED.value): "rollback blocked",
    (Event.WARNING.value, Reason.ROUTE_NOT_READY.value): "the route is not ready",
    (Event.WARNING.value, Reason.TRAFFIC_DRIFTED.value): "traffic differs from the weight",
}
_ACTION_REQUIRED = "action required"

_ACTIONS: Mapping[str, str] = {
    Event.STARTED.value: "It gets traffic in steps while it stays healthy.",
    Event.HELD.value: "Nothing was changed: {candidate} keeps {weight} %.",
    Event.PAUSED.value: "Nothing changes until you decide: {candidate} keeps {weight} %.",
    Event.RESUMED.value: "The analysis goes on at {weight} %.",
    Event.ROLLBACK.value: "autocanary sets the weight of {candidate} to {weight} %; {stable} gets all traffic.",
    Event.EXTERNAL_CHANGE.value: "autocanary stopped and keeps {weight} %.",
    Event.ENDED.value: "This rollout changes nothing any more.",
}
"""What autocanary does; the messages of the other events say it."""
_ACTIONS_BY_REASON: Mapping[tuple[str, str], str] = {
    (Event.HELD.value, Reason.WAITING_FOR_EFFECT.value): "No further step is taken until the traffic follows.",
    (Event.EXTERNAL_CHANGE.value, Reason.WEIGHT_LOST.value): "The rollout goes on.",
    (Event.ROLLBACK.value, Reason.WRONG_STABLE.value): "autocanary puts the spec of {stable} back, without a weight.",
}

_CALLING_EVENTS = frozenset({Event.ROLLBACK.value, Event.EXTERNAL_CHANGE.value})
_CALLING_HOLDS = frozenset(reason.value for reason in HOLDS_THAT_NEED_A_USER)
_WARNINGS_WITHOUT_ACTION = frozenset(
    {
        Reason.ROUTE_NOT_READY.value,
        Reason.TRAFFIC_DRIFTED.value,
        Reason.UNGOVERNED_COMPONENT.value,
        Reason.WAITING_FOR_COMPONENT.value,
    }
)
_ENDED = frozenset(phase.value for phase in Phase if phase.is_final)
_HOLDS: Mapping[str, str] = {
    Reason.WINDOW_CLOSED.value: ", when the window opens",
    Reason.WEBHOOK_PENDING.value: ", when the webhook says yes",
    Reason.WAITING_FOR_COMPONENT.value: ", when the other component is rolled out",
    Reason.METRICS_OUTAGE.value: ", when Prometheus answers again",
    Reason.METRICS_STALE.value: ", when Prometheus has current samples",
    Reason.NO_DATA.value: ", when requests are measured",
    Reason.TOO_FEW_REQUESTS.value: ", when there are enough requests",
    Reason.GATHERING_EVIDENCE.value: ", when there is enough evidence",
    Reason.SUSPICIOUS.value: ", or a rollback: more requests decide",
    Reason.SHARED_OUTAGE.value: ", when both revisions work again",
}


def title(message: Message) -> str:
    """``models/mnist: rolled back``."""
    rollout, notification = message.rollout, message.notification
    if message.dry_run:
        return f"{rollout.namespace}/{rollout.service}: dry run, {_fill(_would(message), message)}"
    what = _TITLES_BY_REASON.get(_case(message)) or _TITLES.get(notification.event, notification.event)
    if notification.event == Event.WARNING.value and _needs_action(message):
        known = _case(message) in _TITLES_BY_REASON
        what = f"{what}, {_ACTION_REQUIRED}" if known else _ACTION_REQUIRED
    return f"{rollout.namespace}/{rollout.service}: {_fill(what, message)}"


def summary(message: Message) -> str:
    """What happened and why, as a sentence; the reason where the rules give no words. In a dry run what would be."""
    if message.dry_run:
        return _conditional(message)
    text = message.notification.message or message.notification.reason
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    if (
        first.isalpha() and first.islower() and first != "autocanary"
    ):  # names of revisions, fields and clients stay as they are
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


_WOULD: Mapping[str, str] = {
    Event.STARTED.value: "would roll {candidate} out, from {weight} % on",
    Event.STEP.value: "would raise {candidate} to {weight} %",
    Event.HELD.value: "would hold {candidate} at {weight} %",
    Event.PAUSED.value: "would pause at {weight} %",
    Event.RESUMED.value: "would go on at {weight} %",
    Event.PROMOTED.value: "would promote {candidate}",
    Event.ROLLBACK.value: "would roll {candidate} back",
    Event.ROLLED_BACK.value: "{stable} would have all traffic again",
    Event.EXTERNAL_CHANGE.value: "would stop and keep {weight} %: another client changed the weight",
    Event.ENDED.value: "would end this rollout ({phase})",
    Event.WARNING.value: "would warn",
}
_FACTS = frozenset({Event.HELD.value, Event.PAUSED.value, Event.WARNING.value, Event.ROLLBACK.value})
"""Events whose message says why, and nothing that autocanary did: it is true in a dry run, too."""
_DEED = re.compile(r"; (?:held at|paused|autocanary puts|[\w.-]+ was rolled back before)\b|, so ")
"""Where a message goes on to what autocanary does about it."""
_NOTHING_WRITTEN = "Nothing was written: KServe sends the traffic as the manifest says"


def _would(message: Message) -> str:
    return _WOULD.get(message.notification.event, f"would be {message.notification.event}")


def _conditional(message: Message) -> str:
    """``autocanary would raise mnist-predictor-00002 to 25 %. Nothing was written: …``; never what was done."""
    notification = message.notification
    would = _fill(_would(message), message)
    text = would if notification.event == Event.ROLLED_BACK.value else f"autocanary {would}"
    if notification.event in _FACTS and notification.message:
        why = _DEED.split(notification.message, maxsplit=1)[0]
        text = f"{text}: {why.rstrip('.')}"
    return f"{text}. {_NOTHING_WRITTEN}."


def release_text(message: Message) -> str:
    """The models and who released: ``gs://b/v1 → gs://b/v2, released by ada (argocd)``; "" when neither is known."""
    by = released_by_text(message.rollout)
    parts = (model_change(message.rollout).text, f"released by {by}" if by else "")
    return ", ".join(part for part in parts if part)


def action_taken(message: Message) -> str:
    """What autocanary does about it; "" where the summary says it, or for an event that this version does not know."""
    if message.dry_run:
        return ""
    if message.notification.reason == Reason.ROLLBACK_BLOCKED.value:
        return ""  # the summary says it
    if message.notification.event == Event.ROLLED_BACK.value:
        return _restored(message)
    text = _ACTIONS_BY_REASON.get(_case(message)) or _ACTIONS.get(message.notification.event, "")
    if message.notification.event == Event.HELD.value and message.notification.weight == 0:
        text = _ACTIONS_BY_REASON.get(_case(message), _HELD_WITHOUT_TRAFFIC)
    return _fill(text, message)


_HELD_WITHOUT_TRAFFIC = "{candidate} gets no traffic yet."


def _restored(message: Message) -> str:
    """What was put back, with the models' names; "" where the weight alone was lowered."""
    rollout = message.rollout
    if not rollout.progress.rollback.repairing:
        return ""
    back = model_change(rollout).old or f"the spec of {rollout.stable}"
    return f"autocanary set spec.{rollout.component.value} back to {back}, as a new revision."


def advice(message: Message) -> str:
    """What the reader should do now; "" when no action is required."""
    if message.dry_run:
        return ""
    return advice_text(message.rollout, message.notification.event, message.notification.reason)


def calls_for_action(message: Message) -> bool:
    """Whether the transition is shown in the channel and mentions users: a rollback, or one that waits for a user.

    A user who paused the rollout needs no call, and neither does a warning that autocanary deals with, or a dry run.
    """
    notification = message.notification
    if message.dry_run:
        return False
    if notification.event == Event.WARNING.value:
        return _needs_action(message)
    if notification.event == Event.PAUSED.value:
        return notification.reason != Reason.PAUSED_BY_USER.value
    if notification.event == Event.HELD.value:
        return notification.reason in _CALLING_HOLDS
    return notification.event in _CALLING_EVENTS


def next_action(message: Message, policy: Policy | None) -> str:
    """What the planner does next; "" when the rollout has ended or the plan is not known."""
    notification, rollout = message.notification, message.rollout
    if message.dry_run:
        return ""
    if notification.phase == Phase.ROLLING_BACK.value:
        if notification.reason == Reason.ROLLBACK_BLOCKED.value and _needs_action(message):
            return f"{rollout.candidate} keeps its traffic until you apply the last good manifest."
        return f"All traffic goes back to {rollout.stable}."
    if policy is None or notification.phase in _ENDED or notification.step > len(policy.steps):
        return ""
    if notification.phase == Phase.PAUSED.value:
        approval = notification.reason == Reason.AWAITING_APPROVAL.value
        return "Nothing until you promote or abort." if approval else "Nothing until you resume, promote or abort."
    if notification.reason == Reason.STABLE_FAILED.value:
        put_back = f"If {rollout.stable} is not ready {format_duration(policy.progress_deadline)} after it failed"
        return f"Nothing while {rollout.stable} is not ready. {put_back}, its spec is put back as a new revision."
    wait = _HOLDS.get(notification.reason, "")
    if notification.step == 0 and notification.reason == Reason.REVISION_FAILED.value:
        first = f"{policy.steps[0].weight} % of the traffic, once {rollout.candidate} is ready"
        return f"{first}; a rollback, if it is not ready {format_duration(policy.progress_deadline)} after it started."
    if notification.step == 0:
        return f"{policy.steps[0].weight} % of the traffic{wait or f', once {rollout.candidate} is ready'}."
    present, ahead = policy.steps[notification.step - 1], policy.steps[notification.step :]
    what = f"{ahead[0].weight} %" if ahead else "Promotion"
    held = f" after {format_duration(present.hold)} at {present.weight} % without a failure" if present.hold > 0 else ""
    approval_text = ", with your approval" if present.approval else ""
    waiting = wait or ", as soon as the hold is over" if notification.phase == Phase.HOLDING.value else ""
    return f"{what}{held}{approval_text or waiting}."


def _case(message: Message) -> tuple[str, str]:
    return message.notification.event, message.notification.reason


def _needs_action(message: Message) -> bool:
    """Whether a warning needs the reader: not while autocanary itself has a way out."""
    reason = message.notification.reason
    if reason == Reason.ROLLBACK_BLOCKED.value:
        return blocked_without_a_way_out(message.rollout)
    return reason not in _WARNINGS_WITHOUT_ACTION


def _fill(text: str, message: Message) -> str:
    rollout, notification = message.rollout, message.notification
    return text.format(
        weight=notification.weight,
        phase=notification.phase,
        service=rollout.service,
        namespace=rollout.namespace,
        stable=rollout.stable,
        candidate=rollout.candidate,
        rollout=rollout.name,
        model=model_change(rollout).new or f"the spec of {rollout.candidate}",
    )
