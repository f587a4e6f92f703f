"""Every trap in the simulated world."""

from __future__ import annotations

import pytest

from tests.traps.simulated_world import SimulatedTrapWorld
from tests.traps.trap_list import TRAPS, Trap


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_trap(trap: Trap) -> None:
    """What the trap's own sentence says."""
    with SimulatedTrapWorld(trap.name) as world:
        trap.run(world)
