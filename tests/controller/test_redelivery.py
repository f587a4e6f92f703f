"""Who has been told is not forgotten when the record turns out to be another than the one in memory."""

from __future__ import annotations

from autocanary.model.progress import Phase
from tests.controller.driver import Play, healthy_start


def _changed_by_another(play: Play) -> None:
    """Another instance, or a write of ours whose answer was lost: the ledger holds something else."""
    held = play.rollout()
    play.world.ledger.record(held.but(progress=held.progress.but(last_look_at=1.0)))


def test_what_was_delivered_while_the_record_was_another_is_noted_in_it() -> None:
    """The messages went out, and their delivery was to be written over a record that had moved on."""
    play = healthy_start()
    play.until_phase(Phase.PROGRESSING)
    play.world.notifier.down = True
    play.until_weight(25)
    assert play.rollout().progress.untold
    play.world.notifier.down = False
    play.engine.tick()
    _changed_by_another(play)
    play.until_phase(Phase.PROMOTED)
    play.until(lambda: not play.rollout().progress.untold, 60)
