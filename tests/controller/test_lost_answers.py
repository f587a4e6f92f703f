"""A start whose answer was lost, and a newer release before it is tried again."""

from __future__ import annotations

from autocanary.errors import Unreachable
from autocanary.model.progress import Phase
from autocanary.simulator.fault_injection import Strike
from tests.controller.driver import V2, V3, Play


def test_a_rollout_that_was_made_unheard_does_not_run_beside_a_newer_one() -> None:
    """Its create arrived, the answer did not: it is taken up and superseded, and the newer one runs alone."""
    play = Play()
    play.serve()
    lost = Unreachable("read timed out")
    play.world.ledger.faults.next(lost, strike=Strike.AFTER, verb="create", name="mnist-00002")
    play.world.ledger.faults.next(lost, verb="create", name="mnist-00002", times=1)
    play.release(V2, 0)
    play.until(lambda: play.known("mnist-00002"), 10)
    play.release(V3, 0)
    play.until(lambda: play.known("mnist-00003"), 60)
    play.until_weight(10)
    play.pause(True, "mnist-00002")
    play.pause(False, "mnist-00002")
    play.finish("mnist-00003")
    assert play.phase("mnist-00002") is Phase.SUPERSEDED
    assert play.phase("mnist-00003") is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]
