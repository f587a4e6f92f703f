"""A comparison in words: each sentence of it, and the order in which metrics are shown."""

from __future__ import annotations

import pytest

from autocanary.model.comparison_summary import ComparisonSummary, RevisionCounts
from autocanary.model.comparison_wording import (
    comparison_lines,
    difference_text,
    evidence_text,
    needed_text,
    proof_text,
    worse_text,
    worst_first,
)
from autocanary.model.progress import MetricState

HEALTHY = ComparisonSummary(
    RevisionCounts(1000, 10),
    RevisionCounts(9000, 45),
    evidence_percent=40.2,
    non_inferior_percent=60.0,
    recent_candidate=RevisionCounts(400, 4),
    recent_stable=RevisionCounts(3600, 18),
    recent_seconds=480.0,
    needed_requests=1934.0,
    needed_seconds=718.0,
)
LATE = ComparisonSummary(
    RevisionCounts(50_000, 260),
    RevisionCounts(450_000, 2250),
    evidence_percent=100.0,
    recent_candidate=RevisionCounts(1000, 50),
    recent_stable=RevisionCounts(9000, 45),
    recent_seconds=360.0,
)


@pytest.mark.parametrize(
    ("percent", "shown"),
    [(0.0, "0 %"), (40.2, "40 %"), (99.9, "99 %"), (100.0, "100 %"), (140.0, "100 %"), (-3, "0 %")],
)
def test_meter_is_full_only_when_it_rolls_back(percent: float, shown: str) -> None:
    assert evidence_text(percent) == f"worse than stable: {shown} of the proof needed to roll back"


def test_all_sentences_of_a_comparison() -> None:
    """Each total has the time that it is of, and the estimate is rounded to two digits."""
    assert comparison_lines(HEALTHY) == (
        "since the rollout began: canary 10/1000 = 1.00 %, stable 45/9000 = 0.50 %, 2.0x",
        "in the last 8m: canary 4/400 = 1.00 %, stable 18/3600 = 0.50 %, 2.0x",
        "0.50 points more than stable (95 % interval at all times: -0.65 to 2.47)",
        "this metric alone: 40 % of the proof needed to roll back",
        "no worse than stable: 60 % of the proof needed to pass the step; "
        "needs about 1,900 more requests: 12m at this traffic",
    )


def test_a_reason_why_nothing_is_compared_is_all_there_is() -> None:
    assert comparison_lines(ComparisonSummary(not_compared_reason="no histogram")) == ("no histogram",)


@pytest.mark.parametrize(("requests", "seconds"), [(None, None), (0.0, 0.0)])
def test_without_an_estimate_nothing_is_needed(requests: float | None, seconds: float | None) -> None:
    summary = ComparisonSummary(needed_requests=requests, needed_seconds=seconds)
    assert needed_text(summary) == ""
    assert proof_text(summary) == "no worse than stable: 0 % of the proof needed to pass the step"


def test_late_harm_is_shown_by_the_latest_counts() -> None:
    """In the totals of the rollout it hardly shows."""
    assert worse_text(HEALTHY) == str(HEALTHY)
    assert worse_text(LATE) == "in the last 6m: canary 50/1000 = 5.00 %, stable 45/9000 = 0.50 %, 10.0x"


def test_in_the_bake_the_limit_is_named() -> None:
    """Stable has no traffic then; its past is what the candidate is compared with."""
    bake = ComparisonSummary(
        RevisionCounts(50_000, 500),
        RevisionCounts(450_000, 2250),
        recent_candidate=RevisionCounts(9000, 450),
        recent_seconds=300.0,
        limit_percent=0.61,
    )
    limit = "stable has no traffic, and by its past would show at most 0.61 %"
    assert worse_text(bake) == f"in the last 5m: canary 450/9000 = 5.00 %, stable 0/0; {limit}"
    assert limit in comparison_lines(bake)
    assert not any("to pass the step" in line for line in comparison_lines(bake))


def test_no_difference_without_requests() -> None:
    assert difference_text(ComparisonSummary(RevisionCounts(10, 1))) == ""
    less = ComparisonSummary(RevisionCounts(1000, 0), RevisionCounts(1000, 10))
    assert difference_text(less).startswith("1.00 points less than stable (95 % interval")


def test_the_worst_metric_comes_first() -> None:
    """A violation, then evidence, then what is not known, then what is fine."""
    states = {
        "fine": MetricState(ok=True),
        "unknown": MetricState(ok=None),
        "doubtful": MetricState(ok=None, comparison_summary=HEALTHY),
        "violated": MetricState(ok=False),
        "worse": MetricState(ok=False, comparison_summary=LATE),
    }
    assert [name for name, _ in worst_first(states)] == ["worse", "violated", "doubtful", "unknown", "fine"]


def test_summary_is_restored_from_its_json() -> None:
    for summary in (HEALTHY, LATE, ComparisonSummary()):
        assert ComparisonSummary.from_dict(summary.to_dict()) == summary


def test_status_has_every_number() -> None:
    """What programs read: the counts with their times, the difference, and what is needed."""
    status = HEALTHY.to_status()
    assert status["recent"]["seconds"] == 480.0
    assert status["recent"]["candidate"]["bad"] == 4
    assert status["difference"]["points"] == 0.5
    assert status["difference"]["confidencePercent"] == 95.0
    assert status["needed"] == {"requests": 1934.0, "seconds": 718.0}
    assert "needed" not in LATE.to_status()
