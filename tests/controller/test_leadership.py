"""Leadership lost and regained: whoever does not lead writes nothing, and whoever leads goes on."""

from __future__ import annotations

from itertools import count

import pytest

from autocanary.controller import Engine
from autocanary.model.observation import Observation
from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout, Verb
from autocanary.simulator.fakes import SimLeadership
from tests.controller.driver import BROKEN, V2, Play, healthy_start, quick
from tests.controller.scenarios import undisturbed


def silent(play: Play, seconds: float) -> None:
    """Nothing is written to anything, and nobody is told anything, for so long."""
    before = (
        len(play.world.cluster.writes),
        len(play.world.ledger.writes),
        len(play.world.notifier.messages),
    )
    play.run(seconds)
    after = (len(play.world.cluster.writes), len(play.world.ledger.writes), len(play.world.notifier.messages))
    assert after == before


@pytest.mark.parametrize("weight", [10, 25, 50, 100])
def test_a_lost_leader_writes_nothing_and_goes_on_when_it_leads_again(weight: int) -> None:
    """Ten minutes without the lease, in each step; then the rollout ends as it would have."""
    play = healthy_start()
    play.until_weight(weight)
    play.world.leadership.leads = False
    silent(play, 600)
    play.world.leadership.leads = True
    play.restarted = True  # what was on its way when leadership was lost may be told again
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]
    assert play.events() == ["rollout_started", *["step_taken"] * 4, "rollout_promoted"]


def test_a_lost_leader_does_not_roll_back() -> None:
    """Not even a bad candidate: another instance will. It does so itself when it leads again."""
    play = healthy_start(qualities={V2: BROKEN})
    play.until_weight(10)
    play.world.leadership.leads = False
    silent(play, 300)
    play.world.leadership.leads = True
    play.restarted = True
    play.finish()
    assert play.weights() == [10, 0]


def test_a_lost_leader_catches_nothing_and_answers_nobody() -> None:
    """A wish and an unstaged release wait for whoever leads."""
    play = Play()
    play.serve()
    play.world.leadership.leads = False
    play.release(V2, None)
    silent(play, 60)
    assert play.names() == []


def test_a_wish_made_while_nobody_led_is_carried_out_by_the_next_leader() -> None:
    """It is in the object's spec, so it is not lost."""
    play = healthy_start()
    play.until_weight(25)
    play.world.leadership.leads = False
    id_ = play.write(Verb.ABORT)
    play.run(30)
    play.world.leadership.leads = True
    play.restarted = True
    play.finish()
    assert play.phase() is Phase.ROLLED_BACK
    assert play.rollout().progress.answered == id_


def test_a_release_made_while_nobody_led_is_found_by_the_next_leader() -> None:
    """Staged at 0 meanwhile; adopted as if it had just been applied."""
    play = Play()
    play.serve()
    play.world.leadership.leads = False
    play.release()
    play.run(120)
    play.world.leadership.leads = True
    play.finish()
    assert play.weights() == [10, 25, 50, 100]


def test_leadership_lost_between_the_record_and_the_write() -> None:
    """The step is recorded and not written by the one; the next leader writes it, once."""
    expected = undisturbed("promotion")
    for victim in range(2, expected.writes.count("record") + 1):
        play = Play(quick(min_requests=1.0))
        play.serve()
        lose_after(play, victim)
        play.release()
        unled = writes_without_leadership(play)
        play.finish(limit=1200)
        assert unled == []
        assert play.weights() == [10, 50, 100], f"leadership was lost after record {victim}"
        assert play.phase() is Phase.PROMOTED


def writes_without_leadership(play: Play) -> list[int]:
    """The weights that are sent from now on by somebody who does not lead."""
    sent: list[int] = []
    cluster, leadership = play.world.cluster, play.world.leadership
    set_weight = cluster.set_weight

    def noting(seen: Observation, weight: int) -> Observation:
        if not leadership.leads:
            sent.append(weight)
        return set_weight(seen, weight)

    cluster.set_weight = noting  # type: ignore[method-assign]
    return sent


def lose_after(play: Play, victim: int) -> None:
    """Leadership goes in the middle of a record, when it has been made, and comes back a minute later."""
    ledger, leadership = play.world.ledger, play.world.leadership
    record = ledger.record
    records = count(1)

    def losing(rollout: Rollout) -> Rollout:
        kept = record(rollout)
        if next(records) == victim:
            leadership.leads = False
            play.world.after(60, lambda: setattr(leadership, "leads", True))
        return kept

    play.restarted = True
    ledger.record = losing  # type: ignore[method-assign]


def test_another_instance_takes_over_in_the_middle() -> None:
    """Two engines over one cluster, each with its own lease: the second continues what the first began."""
    play = healthy_start()
    play.until_weight(25)
    first, mine = play.engine, play.world.leadership
    play.world.leadership = SimLeadership(leads=False)
    second = play._engine()
    theirs = play.world.leadership
    mine.leads, theirs.leads = False, True
    play.restarted = True
    engines: list[Engine] = [first, second]

    class Both:
        def tick(self) -> None:
            for engine in engines:
                engine.tick()

    play.engine = Both()  # type: ignore[assignment]
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]


def test_leadership_that_flaps_every_few_seconds() -> None:
    """Slow, but right: same weights, each once."""
    play = healthy_start()
    play.restarted = True
    for second in range(1800):
        play.world.leadership.leads = second % 11 < 7
        play.tick()
        if play.known("mnist-00002") and play.rollout().is_final:
            break
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]


def test_an_instance_that_never_leads_writes_nothing() -> None:
    """However often it is started, and whatever is released meanwhile."""
    play = Play()
    play.world.leadership.leads = False
    play.serve()
    play.release()
    for _ in range(3):
        play.restart()
        silent(play, 30)
    assert play.names() == []
