"""Whole rollouts of the benchmark: what is scraped when, and a record that can be continued."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from autocanary.model.policy import Component
from autocanary.simulator.demo_policy import NAMESPACE, SERVICE
from autocanary.simulator.releases import CANDIDATE, STABLE, RevisionPair
from benchmarks.judge.rollouts import SITUATIONS, clopper_pearson, main, report, run_one
from benchmarks.judge.situations import Release, ScrapeSchedule

BY_NAME = {each.name: each for each in SITUATIONS}


def scraped(every: float, missed: float, seed: int) -> dict[str, list[float]]:
    """When each revision was scraped in the first half hour of a release."""
    release = Release("release", rps=200.0, scrapes=ScrapeSchedule(every, missed=missed))
    pair = RevisionPair(release, seed)
    pair.write(50)
    times: dict[str, set[float]] = {STABLE: set(), CANDIDATE: set()}
    for _ in range(360):
        pair.advance_to(pair.clock.now() + 5.0)
        for name, series in pair._traffic.series(NAMESPACE, SERVICE, Component.PREDICTOR).items():
            times[name] |= {sample.at for sample in series.samples}
    return {name: sorted(each) for name, each in times.items()}


def test_each_revision_is_scraped_at_its_own_phase() -> None:
    """Every 15 s each, and in most releases not at the same seconds."""
    apart = 0
    for seed in range(9):
        times = scraped(15.0, 0.0, seed)
        for each in times.values():
            assert {b - a for a, b in pairwise(each[4:])} == {15.0}
        apart += times[STABLE][-1] % 15.0 != times[CANDIDATE][-1] % 15.0
    assert 3 <= apart <= 8


def test_scrapes_are_missed() -> None:
    """One in five, on each side for itself."""
    times = scraped(15.0, 0.2, 1)
    for each in times.values():
        gaps = [b - a for a, b in pairwise(each[4:])]  # the first were scraped before the schedule began
        assert all(gap % 15.0 == 0.0 for gap in gaps)
        assert 0.05 < sum(gap > 15.0 for gap in gaps) / len(gaps) < 0.4


@pytest.mark.parametrize(
    ("name", "outcome"), [("step-0", "rolled_back"), ("healthy-200-errors", "promoted"), ("outage-15", "promoted")]
)
def test_a_rollout_ends_as_it_should(name: str, outcome: str) -> None:
    """And the same seed gives the same rollout."""
    found = run_one(BY_NAME[name], 0, 1)
    assert found["outcome"] == outcome
    assert found == run_one(BY_NAME[name], 0, 1)
    assert found != run_one(BY_NAME[name], 1, 1)


def test_harm_in_the_bake_is_timed_from_its_onset() -> None:
    """Thirty minutes after all traffic; not from the first step."""
    found = run_one(BY_NAME["bake-30-half"], 0, 1)
    full = next(at for at, weight in found["steps"] if weight == 100)
    assert found["outcome"] == "rolled_back"
    assert found["after_onset"] == pytest.approx(found["seconds"] - full - 1800.0, abs=0.2)
    assert 0.0 < found["after_onset"] < 180.0


@pytest.mark.parametrize("side", ["stable", "candidate"])
def test_a_side_that_is_not_scraped_stops_the_steps(side: str) -> None:
    """From a minute and a half into the gap until its end."""
    found = [run_one(BY_NAME[f"lost-{side}"], run, 1) for run in range(8)]
    assert sum(each["steps_in_gap"] for each in found) == 0
    assert any(reason in ("MetricsStale", "NoData") for each in found for _, _, reason, _ in each["events"])


def test_a_record_is_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was cut off is run again, what is there is not, and the result is that of one go."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(["--record", str(whole), "--only", "step-0", "--runs", "3"]) == 0
    assert main(["--record", str(parts), "--only", "step-0", "--runs", "2"]) == 0
    parts.write_text(parts.read_text()[:-20] + "\n")
    capsys.readouterr()
    assert main(["--record", str(parts), "--only", "step-0", "--runs", "3"]) == 0
    table = capsys.readouterr().out
    assert "| 0.5 % to 5 % from the first request | 3 | 3: 100.00 % (29.24 to 100.00 %) | 0 |" in table
    kept = [json.loads(line) for line in whole.read_text().splitlines()]
    assert report(kept) == table.strip()
    assert report([*kept, *kept[:2]]) == table.strip()
    with pytest.raises(SystemExit):
        main(["--record", str(parts), "--only", "no-such"])


@pytest.mark.parametrize(
    ("hits", "runs", "low", "high"),
    [(0, 200, 0.0, 0.01828), (1, 2000, 0.0000127, 0.002783), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129)],
)
def test_clopper_pearson(hits: int, runs: int, low: float, high: float) -> None:
    """Known intervals."""
    assert clopper_pearson(hits, runs) == pytest.approx((low, high), abs=1e-4)
