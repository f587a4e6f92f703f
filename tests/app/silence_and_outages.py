"""``python -m tests.app.silence_and_outages [RUNS]``: releases in silence and in outages, in the simulated world.

Each pod is scraped at its own phase. Printed is how many rollouts were rolled back or took a step while nothing could be
known, and how many dead candidates were promoted; ``test_silence_and_outages`` runs a few of each.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from autocanary.app.simulated_rollout import RunOutcome, Transition, simulate_run
from autocanary.model.policy import Policy
from autocanary.policy_files import parse
from autocanary.simulator.releases import FIRST_STEP_AFTER, SimulatedRelease, seeds_of

__all__ = ["DeadCandidates", "ScrapeLosses", "dead_candidates", "scrape_losses"]

_HORIZON = 4 * 3600.0
_KNOWN_AFTER = 90.0
"""Seconds after the last sample from which on a revision has no current one."""
_QUIET_AFTER = 180.0
"""Seconds after the loss within which what was counted meanwhile is read."""
_LOSSES = (120.0, 300.0, 600.0, 1200.0)

_TEXT = """
apiVersion: autocanary.dev/v1alpha1
kind: RolloutPolicy
metadata: {name: default}
spec: {selector: {}, stepWeights: [10, 25, 50, 100], bake: 30m}
"""
POLICY: Policy = parse(_TEXT)[0]


@dataclass(frozen=True, slots=True)
class ScrapeLosses:
    """Of ``runs`` healthy rollouts whose scrapes of one side stop for 2 to 20 minutes."""

    runs: int
    rollbacks: int
    steps: int


@dataclass(frozen=True, slots=True)
class DeadCandidates:
    """Of ``runs`` candidates that fail everything behind a stable that fails everything."""

    runs: int
    promoted: int


def scrape_losses(runs: int) -> ScrapeLosses:
    """One side after the other, at the default policy, from the first minute to the bake."""
    rollbacks = steps = 0
    for release, seed in _losses(runs):
        found = simulate_run(POLICY, release, seed, _HORIZON, keep_transitions=True)
        began, ended = release.silent_from, release.silent_from + release.silent_seconds
        inside = [each for each in found.transitions if began <= each.at - FIRST_STEP_AFTER]
        rollbacks += any(_is(each, "rollback_started", ended + _QUIET_AFTER) for each in inside)
        known = [each for each in inside if each.at - FIRST_STEP_AFTER >= began + _KNOWN_AFTER]
        steps += any(_is(each, "step_taken", ended) for each in known)
    return ScrapeLosses(runs, rollbacks, steps)


def _is(transition: Transition, event: str, until: float) -> bool:
    return transition.event == event and transition.at - FIRST_STEP_AFTER < until


def _losses(runs: int) -> Iterator[tuple[SimulatedRelease, int]]:
    """Either side in turn, each duration, at a random time."""
    for number in range(runs):
        side = ("candidate", "stable")[number % 2]
        seconds = _LOSSES[number // 2 % len(_LOSSES)]
        name = f"{side} not scraped for {seconds:.0f} s, {number}"
        began = 60.0 + Random(name).random() * 1200.0
        release = SimulatedRelease(name, rps=50.0, silent=side, silent_from=began, silent_seconds=seconds)
        yield release, seeds_of(1, release, 1)[0]


def dead_candidates(runs: int) -> DeadCandidates:
    """With traffic from 2 to 200 requests a second."""
    promoted = 0
    for number in range(runs):
        rps = (2.0, 20.0, 200.0)[number % 3]
        release = SimulatedRelease(f"dead {number}", rps=rps, base_error=100.0, canary_error=100.0)
        found = simulate_run(POLICY, release, seeds_of(1, release, 1)[0], _HORIZON)
        promoted += found.outcome is RunOutcome.PROMOTED
    return DeadCandidates(runs, promoted)


def main(runs: int) -> None:
    losses, dead = scrape_losses(runs), dead_candidates(runs)
    sys.stdout.write(
        f"scrapes of one side lost: {losses.rollbacks} rollbacks and {losses.steps} steps in {losses.runs}\n"
        f"dead candidate behind a dead stable: {dead.promoted} promoted of {dead.runs}\n"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
