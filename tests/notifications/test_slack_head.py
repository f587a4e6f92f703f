"""Tests of autocanary.notifications.slack_bot: what the one message of a rollout shows."""

from __future__ import annotations

from typing import Any

import pytest

from autocanary.model.comparison_summary import ComparisonSummary, RevisionCounts
from autocanary.model.decision import Event
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.progress import MetricState, Phase
from autocanary.notifications.slack_bot import rollout_message_content, weight_bar
from tests.notifications.example_messages import AT, POLICY, message, progress, rollout
from tests.notifications.slack_server import fits, shown

STANDING = ComparisonSummary(
    RevisionCounts(1000, 10), RevisionCounts(9000, 45), evidence_percent=38.0, non_inferior_percent=4.0
)
COMPARED = MetricState(
    last=Measurement(MeasurementKind.VALUE, 1.0, Unit.PERCENT, requests=120.0), comparison_summary=STANDING
)


def test_shows_weight_counts_evidence_and_next_action() -> None:
    """Everything that is asked in the middle of a rollout, on one screen."""
    about = rollout(progress=progress(metrics={"error-rate": COMPARED}))
    step = message(
        Event.STEP,
        about=about,
        phase=Phase.PROGRESSING.value,
        step=2,
        weight=50,
        message="at 50 %",
        reason="StepTaken",
    )
    made = rollout_message_content(step, "prod-1", POLICY)
    text = shown(made)
    assert made["text"] == ":arrow_up: models/mnist: canary at 50 %"
    assert made["attachments"][0]["color"] == "#1d9bd1"
    assert "`██████████░░░░░░░░░░` *50 %* · step 2 of 3 · Progressing" in text
    assert "mnist-predictor-00002 instead of mnist-predictor-00001" in text
    assert ". (StepTaken)" in text
    assert "canary 10/1000 = 1.00 %, stable 45/9000 = 0.50 %, 2.0x" in text
    assert "this metric alone: 38 % of the proof needed to roll back" in text
    assert "no worse than stable: 4 % of the proof needed to pass the step" in text
    assert "*What comes next*\n100 % after 5m at 50 % without a failure." in text
    assert "What you should do" not in text
    assert "prod-1 · models/mnist-00002 · policy prod-models" in text
    started, now = int(AT - 600), int(AT)
    assert f"started <!date^{started}^{{date_short_pretty}} {{time}}|2025-12-31 23:50:00 UTC>" in text
    assert f"updated <!date^{now}^" in text


def test_finished_rollout_shows_advice_and_no_next_action() -> None:
    """Rolled back: red, at 0 %, with the numbers that led there."""
    made = rollout_message_content(message(), "", POLICY)
    text = shown(made)
    assert made["attachments"][0]["color"] == "#e01e5a"
    assert "`░░░░░░░░░░░░░░░░░░░░` *0 %*" in text
    assert "97.2 % (needs 99 %)" in text
    assert "What comes next" not in text
    assert "kubectl logs -n models" in text


def test_shows_the_detection_forecast() -> None:
    """A forecast, while a comparison is open."""
    held = message(Event.HELD, phase=Phase.HOLDING.value, details=(("forecast", "a doubled rate shows in 12m"),))
    text = shown(rollout_message_content(held, "", POLICY))
    assert "at 10 % without a failure, as soon as the hold is over.\nforecast: a doubled rate shows in 12m" in text


@pytest.mark.parametrize("event", list(Event))
@pytest.mark.parametrize("phase", list(Phase))
def test_every_event_in_every_phase_fits_block_kit(event: Event, phase: Phase) -> None:
    """With a policy and without, with words of any length."""
    long: dict[str, Any] = {"phase": phase.value, "message": "<x>" * 4000}
    assert fits(rollout_message_content(message(event, **long), "c" * 4000, POLICY))
    assert fits(rollout_message_content(message(event, **long, step=0), "", None))


def test_escapes_mentions_in_foreign_text() -> None:
    """Names and messages are escaped; the only markup of Slack's is the time's."""
    about = rollout(progress=progress(metrics={"<!here>": COMPARED}), candidate="<@U1>", policy_name="<!channel>")
    text = shown(rollout_message_content(message(about=about, message="<!channel> & co"), "<c>", POLICY))
    assert text.count("<") == text.count("<!date^") == 2
    assert "&lt;!channel&gt; &amp; co" in text


@pytest.mark.parametrize(
    ("weight", "full"),
    [(-1, 0), (0, 0), (1, 1), (5, 1), (10, 2), (50, 10), (97, 19), (99, 19), (100, 20), (101, 20)],
)
def test_weight_bar_is_neither_empty_nor_full_between_0_and_100(weight: int, full: int) -> None:
    """1 % shows, and 99 % is not all."""
    assert weight_bar(weight) == "█" * full + "░" * (20 - full)
