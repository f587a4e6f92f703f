"""Healthy and bad rollouts in the whole simulated world, with mishaps: fewer than in the benchmark, wide bounds."""

from __future__ import annotations

import json

import pytest

from benchmarks import world
from benchmarks.world import RolloutResult, main, run_rollout

ROLLOUTS = 60
MOST_ROLLED_BACK = 9
"""More than these of 60 have a probability of 1e-3 at alpha, and none are expected."""


@pytest.mark.timeout(900)
def test_healthy_releases_are_not_rolled_back() -> None:
    """Pods are replaced, the service is restarted, the load swings, Prometheus is down: no fault of theirs."""
    ends = [run_rollout(f"test/{run}") for run in range(ROLLOUTS)]
    assert sum(end.is_rolled_back for end in ends) <= MOST_ROLLED_BACK
    assert sum(end.phase == "Promoted" for end in ends) >= ROLLOUTS * 0.8
    met = {word for end in ends for word in end.disturbances}
    assert met >= {"pods replaced", "service restarted", "swinging load", "bursts", "Prometheus: outage"}


def test_bad_releases_are_rolled_back() -> None:
    """A hundred times the errors, with the same mishaps; those that have none cannot have more."""
    ends = [run_rollout(f"test/{run}", worse=100.0) for run in range(12)]
    back = [end for end in ends if end.is_rolled_back]
    assert len(back) >= 8
    assert {end.reason for end in back} == {"WorseThanStable"}


def test_same_seed_gives_the_same_rollout() -> None:
    """Its seed says all of it."""
    assert run_rollout("again") == run_rollout("again")
    assert run_rollout("again") != run_rollout("another")


def test_the_command_says_how_many_and_how_sure(capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence and tables for users, a line for programs."""
    assert main(["--runs", "2", "--jobs", "1", "--seed", "5"]) == 0
    said = capsys.readouterr().out
    assert "of 2 healthy rollouts were rolled back" in said
    assert "seed 5" in said
    assert main(["--runs", "2", "--jobs", "1", "--seed", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (found["runs"], found["seed"]) == (2, 5)


def test_reports_progress_while_running(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends a long run, it has said something, and how long the rest would take."""
    monkeypatch.setattr(world, "_SAID_EVERY", 1)
    assert main(["--runs", "2", "--jobs", "1", "--seed", "5"]) == 0
    first, second, last = capsys.readouterr().err.splitlines()
    assert "of 1 healthy rollouts were rolled back" in first
    assert "of 2 healthy rollouts were rolled back" in second
    assert second.endswith("about 0 min left")
    assert last.startswith("2 of 2 in ")


def test_what_counts_as_rolled_back() -> None:
    """On its way back as well."""
    for phase, is_back in (
        ("RolledBack", True),
        ("RollingBack", True),
        ("Promoted", False),
        ("Holding", False),
    ):
        assert RolloutResult("1", phase, "", 1.0, ()).is_rolled_back is is_back
