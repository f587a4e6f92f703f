"""Tests of autocanary.notifications.message_text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocanary.model.decision import Event
from autocanary.model.policy import Step
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.notifications.message_text import action_taken, advice, calls_for_action, next_action, summary, title
from tests.notifications.example_messages import POLICY, message, progress, rollout


@pytest.mark.parametrize("event", list(Event))
@pytest.mark.parametrize("reason", list(Reason))
def test_every_place_is_filled(event: Event, reason: Reason) -> None:
    """Each transition has a title, and no sentence shows its template."""
    given = message(event, reason=reason.value)
    assert title(given).startswith("models/mnist: ")
    assert "{" not in title(given) + action_taken(given) + advice(given)


@pytest.mark.parametrize("event", [Event.STEP, Event.RESUMED, Event.PROMOTED, Event.ENDED])
def test_no_advice_where_no_action_is_needed(event: Event) -> None:
    """A section that says "nothing" is one line too many."""
    assert advice(message(event, reason=Reason.STEP_PASSED.value)) == ""


def test_reason_decides_the_advice_while_something_can_be_done() -> None:
    """Waiting for approval names the commands for this rollout."""
    text = advice(message(Event.PAUSED, reason=Reason.AWAITING_APPROVAL.value))
    assert "autocanary promote mnist -n models" in text
    assert "autocanary abort mnist -n models" in text


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason.METRIC_VIOLATION, "kubectl logs -n models -l serving.knative.dev/revision=mnist-predictor-00002"),
        (Reason.NO_DATA_DEADLINE, "Nothing is known about the model. Check that clients call the service"),
        (Reason.OUTAGE_DEADLINE, "Repair Prometheus, then `kubectl autocanary retry mnist -n models`"),
        (Reason.ABORTED_BY_USER, "Nothing. `kubectl autocanary retry mnist -n models` starts it again."),
        (Reason.NO_DATA, "apply a fixed revision"),
    ],
)
def test_advice_after_a_rollback(reason: Reason, words: str) -> None:
    """What to do depends on what is known about the model."""
    assert words in advice(message(Event.ROLLED_BACK, reason=reason.value))


def test_advice_after_a_restore_names_the_manifest_and_not_retry() -> None:
    """autocanary put stable's spec back, so the manifest and the cluster differ."""
    about = rollout(progress=progress(repairing=True))
    text = advice(message(Event.ROLLED_BACK, about=about, reason=Reason.ABORTED_BY_USER.value))
    assert "Your manifest still has the spec of mnist-predictor-00002" in text
    assert "retry" not in text


@pytest.mark.parametrize(("spec", "required"), [({"predictor": {}}, False), (None, True)])
def test_blocked_rollback_requires_action_only_without_a_spec_to_restore(spec: object, required: bool) -> None:
    """autocanary puts the stable spec back where it knows it."""
    given = message(Event.WARNING, reason=Reason.ROLLBACK_BLOCKED.value, about=rollout(stable_spec=spec))
    assert ("action required" in title(given)) == required
    assert action_taken(given) == ""
    assert advice(given).startswith("Apply the last good" if required else "Nothing yet.")
    assert calls_for_action(given) == required


@pytest.mark.parametrize(
    ("event", "reason", "calls"),
    [
        (Event.ROLLBACK, Reason.METRIC_VIOLATION, True),
        (Event.PAUSED, Reason.AWAITING_APPROVAL, True),
        (Event.PAUSED, Reason.FAILURE_PAUSED, True),
        (Event.PAUSED, Reason.PAUSED_BY_USER, False),
        (Event.EXTERNAL_CHANGE, Reason.EXTERNAL_CHANGE, True),
        (Event.WARNING, Reason.STABLE_SPEC_UNKNOWN, True),
        (Event.WARNING, Reason.UNGOVERNED_COMPONENT, False),
        (Event.STEP, Reason.STEP_PASSED, False),
        (Event.HELD, Reason.NO_DATA, False),
    ],
)
def test_users_are_called_where_they_must_act(event: Event, reason: Reason, calls: bool) -> None:
    """Once per rollback, and for approvals, external changes and warnings that need them."""
    assert calls_for_action(message(event, reason=reason.value)) == calls


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("aborted by ann", "Aborted by ann."),
        ("mnist-predictor-00002 failed", "mnist-predictor-00002 failed."),
        ("p99 latency 2 s (limit 1 s)", "p99 latency 2 s (limit 1 s)."),
        ("autocanary stopped.", "autocanary stopped."),
        ("", "MetricViolation."),
    ],
)
def test_summary_is_a_sentence(text: str, shown: str) -> None:
    """Names keep their spelling."""
    assert summary(message(message=text)) == shown


def test_unknown_event_has_a_title_and_advice() -> None:
    """An event name that is not known is shown as it is."""
    known = message(Event.STEP, reason="Unheard")
    unknown = replace(known, notification=replace(known.notification, event="rollout_rewound"))
    assert title(unknown) == "models/mnist: rollout_rewound"
    assert action_taken(unknown) == ""
    assert "autocanary status mnist" in advice(unknown)


@pytest.mark.parametrize(
    ("phase", "step", "words"),
    [
        (Phase.STAGING, 0, "10 % of the traffic, once mnist-predictor-00002 is ready."),
        (Phase.PROGRESSING, 1, "50 % after 5m at 10 % without a failure."),
        (Phase.PROGRESSING, 2, "100 %, with your approval."),
        (Phase.HOLDING, 1, "50 % after 5m at 10 % without a failure, as soon as the hold is over."),
        (Phase.PAUSED, 2, "Nothing until you resume, promote or abort."),
        (Phase.BAKING, 3, "Promotion after 10m at 100 % without a failure."),
        (Phase.ROLLING_BACK, 2, "All traffic goes back to mnist-predictor-00001."),
        (Phase.PROMOTED, 3, ""),
        (Phase.PROGRESSING, 9, ""),
    ],
)
def test_next_action(phase: Phase, step: int, words: str) -> None:
    """By the plan; nothing after the end, or beyond a plan that is not this one."""
    plan = replace(POLICY, steps=(Step(10, 300.0), Step(50, 0.0, approval=True), Step(100, 600.0)))
    assert next_action(message(Event.STEP, phase=phase.value, step=step), plan) == words


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason.WINDOW_CLOSED, "10 % of the traffic, when the window opens."),
        (Reason.WEBHOOK_PENDING, "10 % of the traffic, when the webhook says yes."),
        (Reason.WAITING_FOR_REVISION, "10 % of the traffic, once mnist-predictor-00002 is ready."),
    ],
)
def test_next_action_before_the_first_step(reason: Reason, words: str) -> None:
    """A candidate that is ready and waits for a window does not wait to become ready."""
    given = message(Event.HELD, phase=Phase.STAGING.value, step=0, reason=reason.value)
    assert next_action(given, POLICY) == words


def test_next_action_without_a_policy() -> None:
    """Only a rollback's end is known without the plan."""
    assert next_action(message(Event.STEP, phase=Phase.PROGRESSING.value), None) == ""
    assert next_action(message(Event.ROLLBACK, phase=Phase.ROLLING_BACK.value), None) != ""
