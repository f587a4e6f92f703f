"""Metrics that say nothing: what is held, what is told, what happens at the stated deadline and not before."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autocanary.errors import Busy
from autocanary.model.measurement import ReadingKind
from autocanary.model.policy import Grace, Step, Then
from autocanary.model.progress import MetricState, Phase
from autocanary.model.reason import Reason
from autocanary.simulator.prometheus_server import Fault
from autocanary.simulator.traffic import Load
from tests.controller.driver import BROKEN, STEPS, V2, Play, healthy_start, policy

REASONS = {
    ReadingKind.OUTAGE: Reason.METRICS_OUTAGE,
    ReadingKind.REFUSED: Reason.METRICS_OUTAGE,
    ReadingKind.STALE: Reason.METRICS_STALE,
    ReadingKind.PARTIAL: Reason.METRICS_PARTIAL,
    ReadingKind.NOT_A_NUMBER: Reason.METRICS_NOT_A_NUMBER,
    ReadingKind.NO_SERIES: Reason.NO_DATA,
}
SILENT = frozenset({ReadingKind.NOT_A_NUMBER, ReadingKind.NO_SERIES})
"""These are "no data", the others an outage; each has a deadline of its own."""
HOLD = 200.0
AWAY = Busy("etcdserver: request timed out", status=500)
BACK_AFTER: dict[str, Any] = {
    "on_no_data": Grace(HOLD, Then.ROLLBACK),
    "on_outage": Grace(HOLD, Then.ROLLBACK),
}
FOR_EVER: dict[str, Any] = {"on_no_data": Grace(HOLD, Then.HOLD), "on_outage": Grace(HOLD, Then.HOLD)}
PAUSING: dict[str, Any] = {"on_no_data": Grace(HOLD, Then.PAUSE), "on_outage": Grace(HOLD, Then.PAUSE)}


def judged_at(weight: int, rules: dict[str, Any]) -> Play:
    """A healthy candidate that has had a good look at this weight."""
    play = healthy_start(policy(**rules))
    play.until_weight(weight)
    play.until(lambda: play.rollout().progress.reason is Reason.ANALYSING)
    return play


def break_metrics(play: Play, kind: ReadingKind, seconds: float = 1e9) -> float:
    now = play.world.now()
    play.world.metrics.faults = [Fault(kind, now, now + seconds)]
    return now


@pytest.mark.parametrize("weight", [10, 25, 100])
@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.value)
def test_it_is_held_and_told_and_rolled_back_at_the_deadline_and_not_before(
    kind: ReadingKind, weight: int
) -> None:
    """In the first step, a middle step and the bake: never promoted, never rolled back a second early."""
    play = judged_at(weight, BACK_AFTER)
    before = play.weights()
    began = break_metrics(play, kind)
    play.until_phase(Phase.HOLDING, limit=60)
    assert play.rollout().progress.reason is REASONS[kind]
    play.finish()
    expected = Reason.NO_DATA_DEADLINE if kind in SILENT else Reason.OUTAGE_DEADLINE
    assert play.ending() == (Phase.ROLLED_BACK, expected)
    assert play.weights() == [*before, 0]
    lasted = play.world.cluster.writes[-1].at - began
    assert HOLD <= lasted <= HOLD + 45, f"rolled back after {lasted} s, the policy says {HOLD}"
    assert play.events().count("rollout_held") == 1


@pytest.mark.parametrize("weight", [10, 25, 100])
@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.value)
def test_it_is_held_without_end_where_the_policy_says_so(kind: ReadingKind, weight: int) -> None:
    """An hour of silence: the weight stays; when the metrics are back it goes on without skipping."""
    play = judged_at(weight, FOR_EVER)
    before = play.weights()
    break_metrics(play, kind, 3600.0)
    play.run(3590)
    assert play.weights() == before
    assert play.phase() is Phase.HOLDING
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]
    assert play.events().count("rollout_held") == 1


@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.value)
def test_it_is_paused_at_the_deadline_where_the_policy_says_so(kind: ReadingKind) -> None:
    """A person is asked once; nothing moves."""
    play = judged_at(25, PAUSING)
    break_metrics(play, kind)
    play.until_phase(Phase.PAUSED)
    play.run(600)
    assert play.weights() == [10, 25]
    assert play.events().count("rollout_paused") == 1


@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.value)
def test_a_rollback_needs_no_metrics(kind: ReadingKind) -> None:
    """They break while the traffic is being taken back: it is finished all the same."""
    play = healthy_start(qualities={V2: BROKEN})
    play.until_weight(10)
    play.world.kserve.hold_ingress("models", "mnist")
    play.until_phase(Phase.ROLLING_BACK)
    break_metrics(play, kind)
    play.run(20)
    play.world.kserve.hold_ingress("models", "mnist", held=False)
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert play.weights() == [10, 0]


@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.value)
def test_metrics_that_never_work_never_let_the_first_step_pass(kind: ReadingKind) -> None:
    """Broken before the candidate was made: it gets its first step, and no second one."""
    play = Play(policy(**FOR_EVER))
    play.serve()
    break_metrics(play, kind)
    play.release()
    play.run(1800)
    assert play.weights() == [10]
    assert play.ending() == (Phase.HOLDING, REASONS[kind])


@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.value)
def test_one_hiccup_is_not_worth_a_message(kind: ReadingKind) -> None:
    """A single look without an answer: no step on it, no message about it."""
    play = judged_at(10, BACK_AFTER)
    break_metrics(play, kind, 16.0)
    silent = play.world.now() + 15
    play.until(lambda: play.world.now() > silent)
    (state,) = play.engine.rollouts()[0].progress.metrics.values()
    assert state.ok is None, "the look in the middle of it had an answer"
    play.finish()
    assert play.weights() == [10, 25, 50, 100]
    assert play.events().count("rollout_held") == 0


def test_an_outage_of_one_service_is_not_one_of_the_other() -> None:
    """The series of one are gone, the other's are not."""
    play = Play(policy(**FOR_EVER))
    play.serve("mnist")
    play.serve("fraud")
    play.world.metrics.faults = [Fault(ReadingKind.NO_SERIES, service="fraud")]
    play.release(name="mnist")
    play.release(name="fraud")
    play.finish("mnist-00002")
    assert play.weights("mnist") == [10, 25, 50, 100]
    assert play.weights("fraud") == [10]


def test_a_breach_before_an_outage_still_counts_after_it() -> None:
    """One breach, ten minutes of nothing, one breach: the limit of two is reached."""
    play = healthy_start(policy(**FOR_EVER, metrics=policy().analysis.metrics), qualities={V2: BROKEN})
    play.until(lambda: any(m.breaches == 1 for m in _metrics(play)))
    break_metrics(play, ReadingKind.OUTAGE, 600.0)
    play.run(590)
    assert play.weights() == [10]
    play.finish(limit=120)
    assert play.ending() == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)


def _metrics(play: Play) -> list[MetricState]:
    return list(play.rollout().progress.metrics.values()) if play.known("mnist-00002") else []


def test_the_deadline_of_an_outage_survives_a_restart() -> None:
    """It is counted from its beginning, not from the beginning of the process."""
    play = judged_at(10, BACK_AFTER)
    began = break_metrics(play, ReadingKind.OUTAGE)
    for _ in range(6):
        play.run(30)
        play.restart()
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.OUTAGE_DEADLINE)
    assert play.world.cluster.writes[-1].at - began <= HOLD + 60


def test_two_short_outages_are_not_one_long_one() -> None:
    """Each is shorter than the deadline, with good looks in between: no rollback."""
    play = judged_at(10, BACK_AFTER)
    now = play.world.now()
    play.world.metrics.faults = [
        Fault(ReadingKind.OUTAGE, now, now + 150),
        Fault(ReadingKind.OUTAGE, now + 185, now + 335),
    ]
    play.finish()
    assert play.phase() is Phase.PROMOTED
    assert play.weights() == [10, 25, 50, 100]


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_little_or_no_traffic_is_no_success(rate: float) -> None:
    """Nobody calls, or one in twenty seconds: never promoted by silence."""
    play = healthy_start(policy(**FOR_EVER), load=Load(rate))
    play.run(250)
    assert play.weights() == [10]
    play.run(1200)
    assert 25 not in play.weights()


# --- schedules of faults --------------------------------------------------------------------------------


def test_a_watch_that_fails_in_one_namespace_holds_only_that_one() -> None:
    """The other goes on to its end; the first when its watch is back."""
    play = Play(policy())
    play.serve("mnist")
    play.serve("fraud", namespace="bank")
    play.release(V2, 0, name="mnist")
    play.world.deploy("fraud", V2, weight=0, namespace="bank")
    play.until_weight(10)
    play.until(lambda: play.rollout("fraud-00002").progress.verified_at is not None)
    play.world.cluster.blind(namespace="bank")
    play.finish("mnist-00002")
    assert play.weights("mnist") == [10, 25, 50, 100]
    assert play.ending("fraud-00002") == (Phase.HOLDING, Reason.OBSERVATION_STALE)
    play.world.cluster.blind(False, namespace="bank")
    play.finish("fraud-00002")
    assert play.weights("fraud") == [10, 25, 50, 100]


@dataclass(frozen=True)
class Spell:
    """Metrics or the API server are out of order for a while."""

    start: int
    seconds: int
    what: str


SPELLS = st.lists(
    st.builds(
        Spell,
        start=st.integers(0, 400),
        seconds=st.integers(1, 150),
        what=st.sampled_from([*(kind.value for kind in REASONS), "ledger", "cluster", "leader", "blind"]),
    ),
    max_size=6,
)
PATIENT: dict[str, Any] = {
    "on_no_data": Grace(3000.0, Then.ROLLBACK),
    "on_outage": Grace(3000.0, Then.ROLLBACK),
    "progress_deadline": 3000.0,
}


def apply(play: Play, spells: list[Spell]) -> None:
    """Arrange them all from now on."""
    world, now = play.world, play.world.now()
    kinds = {kind.value: kind for kind in REASONS}
    for spell in spells:
        if spell.what in kinds:
            fault = Fault(kinds[spell.what], now + spell.start, now + spell.start + spell.seconds)
            world.metrics.faults.append(fault)
        elif spell.what in ("ledger", "cluster"):
            faults = world.ledger.faults if spell.what == "ledger" else world.cluster.faults
            world.after(spell.start, partial(faults.next, AWAY, times=10_000))
            world.after(spell.start + spell.seconds, faults.clear)
        elif spell.what == "leader":
            world.after(spell.start, lambda: setattr(world.leadership, "leads", False))
            world.after(spell.start + spell.seconds, lambda: setattr(world.leadership, "leads", True))
        else:
            world.after(spell.start, world.cluster.blind)
            world.after(spell.start + spell.seconds, lambda: world.cluster.blind(False))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(spells=SPELLS)
def test_a_healthy_release_survives_any_schedule_of_faults(spells: list[Spell]) -> None:
    """Never rolled back before a deadline, never a step skipped, never a jump up or a fall: promoted."""
    play = Play(policy(**PATIENT, steps=(Step(10, 30.0), *STEPS[1:3], Step(100, 30.0))))
    play.serve()
    play.restarted = True
    apply(play, spells)
    play.release()
    play.finish()
    assert play.ending() == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.weights() == [10, 25, 50, 100]
    assert play.share("00002") == sorted(play.share("00002"))
    steps = [
        event for event in play.events() if event in ("rollout_started", "step_taken", "rollout_promoted")
    ]
    assert steps == ["rollout_started", *["step_taken"] * 4, "rollout_promoted"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(spells=SPELLS)
def test_a_bad_release_is_never_promoted_by_any_schedule_of_faults(spells: list[Spell]) -> None:
    """Whatever fails around it, it never gets more than the first step, and is rolled back in the end."""
    play = Play(policy(**PATIENT), qualities={V2: BROKEN})
    play.serve()
    play.restarted = True
    apply(play, spells)
    play.release()
    play.finish()
    assert play.phase() is Phase.ROLLED_BACK
    assert set(play.weights()) == {10, 0}
    assert max(play.share("00002")) <= 10
    assert play.share("00002")[-1] == 0
