"""Every trap in the simulated world."""

from __future__ import annotations

import pytest

from tests.traps.simulated import SimulatedGround
from tests.traps.traps import TRAPS, Trap


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_trap(trap: Trap) -> None:
    """What the trap's own sentence says."""
    with SimulatedGround(trap.name) as ground:
        trap.spring(ground)
