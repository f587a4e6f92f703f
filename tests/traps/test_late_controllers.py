"""Every trap in the simulated world whose controllers are late: by the same time always, or each time by another."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from autocanary.simulator.controller_loop import Lag
from tests.traps.simulated_world import SimulatedTrapWorld
from tests.traps.trap_list import TRAPS, Trap

_PATIENCE = 8.0
_LONGEST_SECONDS = 25.0  # measured on real controllers of a busy machine


def _constant(seconds: float) -> Callable[[str], Lag]:
    return lambda _: seconds


def _varying(seed: int) -> Callable[[str], Lag]:
    def of(name: str) -> Lag:
        random = Random(f"{seed}/{name}")
        return lambda: random.uniform(0.3, _LONGEST_SECONDS)

    return of


LAGS: dict[str, Callable[[str], Lag]] = {
    "8s": _constant(8.0),
    "12s": _constant(12.0),
    "25s": _constant(_LONGEST_SECONDS),
    **{f"varying-{seed}": _varying(seed) for seed in range(3)},
}


@pytest.mark.parametrize("lag", LAGS)
@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_trap(trap: Trap, lag: str) -> None:
    """What the trap's own sentence says, however late the statuses are."""
    with SimulatedTrapWorld(trap.name, LAGS[lag](trap.name), _PATIENCE) as world:
        trap.run(world)
