"""The sentences that only people need: what was done about the traffic, what comes next, what to do now.

What happened and why is already said by the telling (``core.story`` and the rules make it).
"""

from __future__ import annotations

from collections.abc import Mapping

from autocanary.model.decision import Event
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.value_wording import format_duration
from autocanary.ports import Message

__all__ = ["action_taken", "advice", "next_action", "title"]

_TITLES: Mapping[str, str] = {
    Event.STARTED.value: "canary started",
    Event.STEP.value: "canary at {weight} %",
    Event.HELD.value: "canary held at {weight} %",
    Event.PAUSED.value: "canary paused at {weight} %",
    Event.RESUMED.value: "canary resumed at {weight} %",
    Event.PROMOTED.value: "promoted",
    Event.ROLLBACK.value: "rolling back",
    Event.ROLLED_BACK.value: "rolled back",
    Event.EXTERNAL_CHANGE.value: "somebody else changed the weight",
    Event.ENDED.value: "rollout ended ({phase})",
    Event.WARNING.value: "needs a person",
}

_ACTIONS: Mapping[str, str] = {
    Event.STARTED.value: "{candidate} is to replace {stable}, in steps while it stays healthy.",
    Event.STEP.value: "{weight} % of the traffic goes to {candidate}, the rest to {stable}.",
    Event.HELD.value: "Nothing was changed: {candidate} keeps {weight} %.",
    Event.PAUSED.value: "Nothing is changed until a person says so: {candidate} keeps {weight} %.",
    Event.RESUMED.value: "Judging goes on at {weight} %.",
    Event.PROMOTED.value: "{candidate} serves all traffic.",
    Event.ROLLBACK.value: "The weight of {candidate} was set to {weight} %; the effect is being verified.",
    Event.ROLLED_BACK.value: "{stable} serves all traffic; {candidate} gets none.",
    Event.EXTERNAL_CHANGE.value: "The rollout is paused rather than fighting over the weight ({weight} %).",
    Event.ENDED.value: "This rollout changes nothing any more.",
    Event.WARNING.value: "Nothing more could be done safely without a person.",
}

_PROMOTE = "`kubectl autocanary promote {service} -n {namespace}`"
_RESUME = "`kubectl autocanary resume {service} -n {namespace}`"
_ABORT = "`kubectl autocanary abort {service} -n {namespace}`"
_RETRY = "`kubectl autocanary retry {service} -n {namespace}`"
_STATUS = "`kubectl autocanary status {service} -n {namespace}`"
_DESCRIBE = "`kubectl describe inferenceservice {service} -n {namespace}`"

_ADVICE_BY_REASON: Mapping[str, str] = {
    Reason.AWAITING_APPROVAL.value: f"Look at the canary, then {_PROMOTE} or {_ABORT}.",
    Reason.PAUSED_BY_USER.value: f"{_RESUME} goes on, {_ABORT} rolls back.",
    Reason.FAILURE_PAUSED.value: f"The policy pauses on a breach: {_ABORT} rolls back, {_RESUME} goes on.",
    Reason.EXTERNAL_CHANGE.value: f"Find out who did it; {_RESUME} goes on from there, {_ABORT} rolls back.",
    Reason.NO_DATA.value: "Check that requests reach the canary and that Prometheus scrapes it.",
    Reason.TOO_FEW_REQUESTS.value: "Nothing, if traffic is expected to come; otherwise lower minRequests.",
    Reason.METRICS_OUTAGE.value: "Check Prometheus: it cannot answer what the policy asks.",
    Reason.METRICS_STALE.value: "Check Prometheus' scraping: its newest samples are old.",
    Reason.METRICS_PARTIAL.value: "Check the warnings of the Prometheus query: its answer is incomplete.",
    Reason.SHARED_OUTAGE.value: "Repair what both revisions depend on; the rollout goes on when it works again.",
    Reason.METRICS_NOT_A_NUMBER.value: "Check the metric's query: it divides by nothing.",
    Reason.VIOLATION_SEEN.value: "Nothing yet: the failure limit is not reached.",
    Reason.GATHERING_EVIDENCE.value: "Nothing: more requests decide.",
    Reason.SUSPICIOUS.value: f"Nothing yet: more requests decide. {_ABORT} does not wait for them.",
    Reason.BEYOND_OBJECTIVE.value: "Look at both revisions: the objective is missed, perhaps by stable too.",
    Reason.TRAFFIC_MISSING.value: "Check that requests reach the canary: it completes fewer than its share.",
    Reason.INCONCLUSIVE.value: f"Look at the numbers, then {_PROMOTE} or {_ABORT}.",
    Reason.WINDOW_CLOSED.value: f"Nothing: it goes on when the window opens. {_PROMOTE} passes the step now.",
    Reason.COMPONENTS_TOGETHER.value: "Say which component goes on: `kubectl autocanary resume {rollout} -n "
    "{namespace}`, or the other's rollout; `after` in a policy states the order.",
    Reason.WAITING_FOR_COMPONENT.value: "Nothing while the other component is rolled out. "
    "`kubectl autocanary promote {rollout} -n {namespace}` lets this one go on at once.",
    Reason.UNGOVERNED_COMPONENT.value: "Watch the other component; a policy for it would stage it.",
    Reason.WEBHOOK_PENDING.value: "Open the gate that has not said yes, or wait for it.",
    Reason.CANARY_UNSUPPORTED.value: "Apply the service as serving.kubeflow.org/v1beta1, with "
    "canaryTrafficPercent on the predictor.",
    Reason.ROLLBACK_BLOCKED.value: f"Look at the route now: {_DESCRIBE}.",
    Reason.STABLE_SPEC_UNKNOWN.value: "Apply the last good InferenceService manifest by hand.",
    Reason.MISSED_UNSTAGED.value: "Watch the service; to be caught in time, apply new revisions with "
    "canaryTrafficPercent: 0.",
}

_ADVICE_BY_EVENT: Mapping[str, str] = {
    Event.STARTED.value: f"Nothing. Follow it with {_STATUS}.",
    Event.STEP.value: "Nothing.",
    Event.HELD.value: f"See what it waits for: {_STATUS}.",
    Event.PAUSED.value: f"{_RESUME} goes on, {_ABORT} rolls back.",
    Event.RESUMED.value: "Nothing.",
    Event.PROMOTED.value: "Nothing.",
    Event.ROLLBACK.value: "Nothing yet; a message follows when the traffic has moved.",
    Event.ROLLED_BACK.value: f"Look at {{candidate}}'s logs, then apply a fixed revision or {_RETRY}.",
    Event.EXTERNAL_CHANGE.value: f"{_RESUME} goes on, {_ABORT} rolls back.",
    Event.ENDED.value: f"Nothing, if this was meant. {_STATUS} tells more.",
    Event.WARNING.value: f"Look at it now: {_STATUS}.",
}
_EVENTS_WITHOUT_REASON_ADVICE = frozenset(
    {Event.PROMOTED.value, Event.ROLLBACK.value, Event.ROLLED_BACK.value, Event.STEP.value}
)
"""Events after which the reason is history: what it advises is too late."""

_ENDED = frozenset(phase.value for phase in Phase if phase.is_final)
_WAITING = frozenset({Phase.HOLDING.value, Phase.PAUSED.value})


def title(message: Message) -> str:
    """``models/mnist: rolled back``."""
    rollout = message.rollout
    what = _TITLES.get(message.notification.event, message.notification.event)
    return f"{rollout.namespace}/{rollout.service}: {_fill(what, message)}"


def action_taken(message: Message) -> str:
    """What autocanary did about it; "" for an event that this version does not know."""
    return _fill(_ACTIONS.get(message.notification.event, ""), message)


def advice(message: Message) -> str:
    """What a person should do now."""
    event = message.notification.event
    general = _ADVICE_BY_EVENT.get(event, f"See {_STATUS}.")
    return _fill(
        general
        if event in _EVENTS_WITHOUT_REASON_ADVICE
        else _ADVICE_BY_REASON.get(message.notification.reason, general),
        message,
    )


def next_action(message: Message, policy: Policy | None) -> str:
    """What is to happen next, by the plan; "" when the rollout has ended or the plan is not known."""
    notification, rollout = message.notification, message.rollout
    if notification.phase == Phase.ROLLING_BACK.value:
        return f"All traffic is back on {rollout.stable}."
    if policy is None or notification.phase in _ENDED or notification.step > len(policy.steps):
        return ""
    if notification.step == 0:
        return f"{policy.steps[0].weight} % of the traffic, once {rollout.candidate} is ready."
    present, ahead = policy.steps[notification.step - 1], policy.steps[notification.step :]
    what = f"{ahead[0].weight} %" if ahead else "Promotion"
    held = f" after {format_duration(present.hold)} of health at {present.weight} %" if present.hold > 0 else ""
    approval = ", when a person says promote" if present.approval else ""
    waiting = ", as soon as it may go on" if notification.phase in _WAITING else ""
    return f"{what}{held}{approval or waiting}."


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
    )
