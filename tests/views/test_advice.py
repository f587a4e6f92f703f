"""What to do now, in messages and in views."""

from __future__ import annotations

import pytest

from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.views.advice import advice_now
from tests.decide.builders import NOW, progress, rollout


@pytest.mark.parametrize(
    ("phase", "reason", "words"),
    [
        (Phase.HOLDING, Reason.METRICS_OUTAGE, "Check Prometheus"),
        (Phase.HOLDING, Reason.STABLE_FAILED, "Repair stable: `kubectl describe inferenceservice mnist"),
        (Phase.STAGING, Reason.REVISION_FAILED, "Read its logs: `kubectl logs"),
        (Phase.ROLLED_BACK, Reason.NO_DATA_DEADLINE, "then `kubectl autocanary retry mnist"),
        (Phase.MISSED, Reason.MISSED_UNSTAGED, "Apply the next revision with canaryTrafficPercent: 0."),
    ],
)
def test_what_needs_a_reader_says_what_to_do(phase: Phase, reason: Reason, words: str) -> None:
    """With the command where there is one."""
    assert words in advice_now(rollout(progress(1, 25, phase=phase, reason=reason)))


@pytest.mark.parametrize(
    ("phase", "reason"),
    [
        (Phase.PROGRESSING, Reason.ANALYSING),
        (Phase.STAGING, Reason.WAITING_FOR_REVISION),
        (Phase.PAUSED, Reason.AWAITING_APPROVAL),  # the sentence about the wait has the commands
        (Phase.ROLLING_BACK, Reason.METRIC_VIOLATION),
        (Phase.PROMOTED, Reason.PROMOTED),
        (Phase.SUPERSEDED, Reason.NEW_REVISION),
    ],
)
def test_nothing_to_do_says_nothing(phase: Phase, reason: Reason) -> None:
    """Advice that is always there is not read."""
    assert advice_now(rollout(progress(1, 25, phase=phase, reason=reason))) == ""


def test_a_blocked_rollback_says_who_has_the_way_out() -> None:
    """autocanary, where it knows the spec; else the reader."""
    blocked = progress(1, 0, phase=Phase.ROLLING_BACK, warnings_sent=("RollbackBlocked",), phase_since=NOW)
    assert advice_now(rollout(blocked, stable_spec={"model": {}})).startswith("Nothing yet.")
    assert advice_now(rollout(blocked, stable_spec=None)).startswith("Apply the last good InferenceService manifest")
