"""Tests of autocanary.notifications.message_text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocanary.model.decision import Event
from autocanary.model.policy import Step
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.notifications.message_text import action_taken, advice, next_action, title
from tests.notifications.example_messages import POLICY, message


@pytest.mark.parametrize("event", list(Event))
def test_every_event_has_all_three_sentences(event: Event) -> None:
    """Each transition says what it is, what was done and what to do, with every place filled."""
    for say in (title, action_taken, advice):
        text = say(message(event))
        assert text
        assert "{" not in text


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_gives_advice(reason: Reason) -> None:
    """No reason leaves a held rollout without advice."""
    text = advice(message(Event.HELD, reason=reason.value))
    assert text
    assert "{" not in text


def test_reason_decides_the_advice_while_something_can_be_done() -> None:
    """Waiting for approval names the commands for this very rollout."""
    text = advice(message(Event.PAUSED, reason=Reason.AWAITING_APPROVAL.value))
    assert "autocanary promote mnist -n models" in text
    assert "autocanary abort mnist -n models" in text


def test_advice_after_the_end_ignores_the_reason() -> None:
    """A rollback for lack of data does not advise to repair the scrape first."""
    text = advice(message(Event.ROLLED_BACK, reason=Reason.NO_DATA.value))
    assert "mnist-predictor-00002's logs" in text
    assert "autocanary retry mnist -n models" in text


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
        (Phase.PROGRESSING, 1, "50 % after 5m of health at 10 %."),
        (Phase.PROGRESSING, 2, "100 %, when a person says promote."),
        (Phase.HOLDING, 1, "50 % after 5m of health at 10 %, as soon as it may go on."),
        (Phase.PAUSED, 2, "100 %, when a person says promote."),
        (Phase.BAKING, 3, "Promotion after 10m of health at 100 %."),
        (Phase.ROLLING_BACK, 2, "All traffic is back on mnist-predictor-00001."),
        (Phase.PROMOTED, 3, ""),
        (Phase.PROGRESSING, 9, ""),
    ],
)
def test_next_action(phase: Phase, step: int, words: str) -> None:
    """By the plan; nothing after the end, or beyond a plan that is not this one."""
    plan = replace(POLICY, steps=(Step(10, 300.0), Step(50, 0.0, approval=True), Step(100, 600.0)))
    assert next_action(message(Event.STEP, phase=phase.value, step=step), plan) == words


def test_next_action_without_a_policy() -> None:
    """Only a rollback's end is known without the plan."""
    assert next_action(message(Event.STEP, phase=Phase.PROGRESSING.value), None) == ""
    assert next_action(message(Event.ROLLBACK, phase=Phase.ROLLING_BACK.value), None) != ""
