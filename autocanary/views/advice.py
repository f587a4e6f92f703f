"""What the reader of a message or a view should do now.

Messages ask with the event and the reason that they are about, views with the state of the rollout.
"""

from __future__ import annotations

from collections.abc import Mapping

from autocanary.model.decision import Event
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.views.model_change import model_change

__all__ = ["advice_now", "advice_text", "blocked_without_a_way_out"]

_PROMOTE = "`kubectl autocanary promote {service} -n {namespace}`"
_RESUME = "`kubectl autocanary resume {service} -n {namespace}`"
_ABORT = "`kubectl autocanary abort {service} -n {namespace}`"
_RETRY = "`kubectl autocanary retry {service} -n {namespace}`"
_STATUS = "`kubectl autocanary status {service} -n {namespace}`"
_DESCRIBE = "`kubectl describe inferenceservice {service} -n {namespace}`"
_PODS = "`kubectl logs -n {namespace} -l serving.knative.dev/revision={candidate} -c kserve-container`"

_NO_ACTION = ""
_ADVICE_BY_REASON: Mapping[str, str] = {
    Reason.AWAITING_APPROVAL.value: f"Approve with {_PROMOTE}, or roll back with {_ABORT}.",
    Reason.PAUSED_BY_USER.value: f"{_RESUME} goes on, {_ABORT} rolls back.",
    Reason.FAILURE_PAUSED.value: f"Roll back with {_ABORT}, or go on with {_RESUME}.",
    Reason.EXTERNAL_CHANGE.value: f"Go on from this weight with {_RESUME}, or roll back with {_ABORT}.",
    Reason.WEIGHT_LOST.value: "Find the client that removes canaryTrafficPercent, a GitOps tool for example.",
    Reason.NO_DATA.value: "Nothing is known about the model: check that clients call the service, and that Prometheus "
    "scrapes {candidate}.",
    Reason.INCONCLUSIVE.value: f"Compare the numbers, then {_PROMOTE} or {_ABORT}.",
    Reason.TOO_FEW_REQUESTS.value: "Nothing while traffic is expected; otherwise lower minRequests in the policy.",
    Reason.METRICS_OUTAGE.value: "Check Prometheus: it does not answer the policy's queries.",
    Reason.METRICS_STALE.value: "Check Prometheus' scraping: its newest samples are old.",
    Reason.METRICS_PARTIAL.value: "Check the warnings of the Prometheus query: its answer is incomplete.",
    Reason.METRICS_NOT_A_NUMBER.value: "Check the metric's query: it divides by zero.",
    Reason.VIOLATION_SEEN.value: _NO_ACTION,
    Reason.GATHERING_EVIDENCE.value: "Nothing: more requests decide.",
    Reason.SUSPICIOUS.value: f"Nothing: more requests decide. {_ABORT} rolls back now.",
    Reason.BEYOND_OBJECTIVE.value: "Check what both revisions depend on: stable may miss the objective, too.",
    Reason.TRAFFIC_MISSING.value: "Check {candidate}'s pods: it completes fewer requests than its share.",
    Reason.WINDOW_CLOSED.value: f"Nothing: it goes on when the window opens. {_PROMOTE} takes this step now.",
    Reason.COMPONENTS_TOGETHER.value: "Choose the component that goes on: `kubectl autocanary resume {rollout} -n "
    "{namespace}`, or the other's rollout. `after` in a policy states the order.",
    Reason.WAITING_FOR_COMPONENT.value: "Nothing while the other component is rolled out. "
    "`kubectl autocanary promote {rollout} -n {namespace}` lets this one go on now.",
    Reason.UNGOVERNED_COMPONENT.value: "Watch the other component: no policy governs it.",
    Reason.WEBHOOK_PENDING.value: "Let the webhook answer yes, or wait until it does.",
    Reason.CANARY_UNSUPPORTED.value: "Apply the service as serving.kubeflow.org/v1beta1, with "
    "canaryTrafficPercent on the predictor.",
    Reason.STABLE_SPEC_UNKNOWN.value: "Apply the last good InferenceService manifest.",
    Reason.REVISION_FAILED.value: f"Read its logs: {_PODS}.",
    Reason.WAITING_FOR_EFFECT.value: f"See {_DESCRIBE} for why the traffic does not follow.",
    Reason.STABLE_FAILED.value: f"Repair stable: {_DESCRIBE}.",
    Reason.SHARED_OUTAGE.value: "Repair what both revisions depend on; the rollout goes on when it works again.",
    Reason.ROUTE_NOT_READY.value: f"See {_DESCRIBE} for the revision that is not ready.",
    Reason.MISSED_UNSTAGED.value: "Watch the service. Apply the next revision with canaryTrafficPercent: 0.",
    Reason.WRONG_STABLE.value: _NO_ACTION,
}

_ADVICE_BY_EVENT: Mapping[str, str] = {
    Event.STARTED.value: f"Nothing. Follow it with {_STATUS}.",
    Event.STEP.value: _NO_ACTION,
    Event.HELD.value: f"See what it waits for: {_STATUS}.",
    Event.PAUSED.value: f"{_RESUME} goes on, {_ABORT} rolls back.",
    Event.RESUMED.value: _NO_ACTION,
    Event.PROMOTED.value: _NO_ACTION,
    Event.ROLLBACK.value: "Nothing: a message follows when the traffic has moved.",
    Event.ROLLED_BACK.value: f"Read {{candidate}}'s logs ({_PODS}), then apply a fixed revision.",
    Event.EXTERNAL_CHANGE.value: f"{_RESUME} goes on, {_ABORT} rolls back.",
    Event.ENDED.value: _NO_ACTION,
    Event.WARNING.value: f"Check the service: {_DESCRIBE}.",
}
_AFTER_ROLLBACK: Mapping[str, str] = {
    Reason.FAILED_REQUESTS_EXCEEDED.value: f"Read {{candidate}}'s logs ({_PODS}), then apply a fixed revision. If the "
    "failures are acceptable, raise maxFailedRequests in the policy.",
    Reason.ABORTED_BY_USER.value: f"Nothing. {_RETRY} starts it again.",
    Reason.NO_DATA_DEADLINE.value: "Nothing is known about the model. Check that clients call the service and that "
    f"Prometheus scrapes it, then {_RETRY}.",
    Reason.OUTAGE_DEADLINE.value: f"Nothing is known about the model. Repair Prometheus, then {_RETRY}.",
    Reason.INCONCLUSIVE.value: f"The numbers decided nothing. With more traffic, {_RETRY}.",
    Reason.PROGRESS_DEADLINE_EXCEEDED.value: f"See {_DESCRIBE} for what it waited for, then {_RETRY}.",
    Reason.ROLLBACK_WEBHOOK.value: f"See what the webhook reports; {_RETRY} starts the rollout again.",
}
_MANIFEST = " Your manifest still has {model}: change it, because the next apply brings it back."
_EVENTS_WITHOUT_REASON_ADVICE = frozenset(
    {Event.PROMOTED.value, Event.ROLLBACK.value, Event.ROLLED_BACK.value, Event.STEP.value, Event.RESUMED.value}
)
"""Events after which the reason is history: what it advises is too late."""
_BLOCKED_LATER = f"Nothing yet. If the rollback is not over in 2 minutes, see {_DESCRIBE}."
_BLOCKED_UNKNOWN = f"Apply the last good InferenceService manifest: autocanary does not know it. See {_DESCRIBE}."


def blocked_without_a_way_out(rollout: Rollout) -> bool:
    """Whether a blocked rollback needs the reader: autocanary does not know the spec that it would put back."""
    return rollout.stable_spec is None


def advice_text(rollout: Rollout, event: str, reason: str) -> str:
    """After this event with this reason; "" when no action is required."""
    general = _ADVICE_BY_EVENT.get(event, f"See {_STATUS}.")
    if event == Event.ROLLED_BACK.value:
        text = general if rollout.progress.rollback.repairing else _AFTER_ROLLBACK.get(reason, general)
        return _fill(text + (_MANIFEST if rollout.progress.rollback.repairing else ""), rollout)
    if reason == Reason.ROLLBACK_BLOCKED.value:
        return _fill(_BLOCKED_UNKNOWN if blocked_without_a_way_out(rollout) else _BLOCKED_LATER, rollout)
    by_reason = event not in _EVENTS_WITHOUT_REASON_ADVICE
    return _fill(_ADVICE_BY_REASON.get(reason, general) if by_reason else general, rollout)


_EVENT_OF_PHASE: Mapping[Phase, Event] = {  # of a pause the sentence about the wait names the commands
    Phase.HOLDING: Event.HELD,
    Phase.ROLLING_BACK: Event.ROLLBACK,
    Phase.ROLLED_BACK: Event.ROLLED_BACK,
    Phase.MISSED: Event.ENDED,
}


def advice_now(rollout: Rollout) -> str:
    """For the state that the rollout is in; "" when no action is required."""
    progress = rollout.progress
    event = _EVENT_OF_PHASE.get(progress.phase)
    if progress.phase is Phase.STAGING and progress.reason in (Reason.REVISION_FAILED, Reason.WEBHOOK_PENDING):
        event = Event.HELD
    if event is None:
        return ""
    if event is Event.ROLLBACK:
        blocked = Reason.ROLLBACK_BLOCKED.value in progress.outbox.warnings_sent
        return advice_text(rollout, event.value, Reason.ROLLBACK_BLOCKED.value) if blocked else ""
    reason = progress.reason.value
    if event is not Event.ROLLED_BACK and reason not in _ADVICE_BY_REASON:
        return ""  # the general advice is to look at what this is shown in
    return advice_text(rollout, event.value, reason)


def _fill(text: str, rollout: Rollout) -> str:
    return text.format(
        service=rollout.service,
        namespace=rollout.namespace,
        stable=rollout.stable,
        candidate=rollout.candidate,
        rollout=rollout.name,
        model=model_change(rollout).new or f"the spec of {rollout.candidate}",
    )
