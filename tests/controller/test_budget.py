"""What a rollout costs while nothing happens: writes, questions, calls, and how soon things are noticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count, pairwise

import pytest

from autocanary.controller import Engine
from autocanary.http_server.counters import Counters
from autocanary.model.measurement import Question, Reading, ReadingKind, Unit
from autocanary.model.policy import Metric, Policy, Range, Step, Webhook, WebhookType
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.simulator.pod_behaviour import NEVER_READY, starts_in
from autocanary.simulator.prometheus_server import Fault
from tests.controller.driver import BROKEN, V1, V2, V3, Play, SlowPool, healthy_start, policy

LONG = (Step(10, 3600.0), Step(100, 60.0))


def writes_within(play: Play, seconds: float) -> int:
    before = len(play.world.ledger.writes)
    play.run(seconds)
    return len(play.world.ledger.writes) - before


def fleet(size: int, followed: Policy) -> Play:
    """So many services under one policy; each has just got its second version."""
    play = Play(followed)
    names = [f"model-{number:03d}" for number in range(size)]
    for name in names:
        play.world.deploy(name, V1)
    play.run(15)
    for name in names:
        play.release(name=name)
    return play


def watched(play: Play) -> list[tuple[float, Question]]:
    """Every question from now on, with its time."""
    asked: list[tuple[float, Question]] = []
    ask = play.world.metrics.ask

    def noting(questions: Sequence[Question]) -> Mapping[Question, Reading]:
        asked.extend((play.world.now(), question) for question in questions)
        return ask(questions)

    play.world.metrics.ask = noting  # type: ignore[method-assign]
    return asked


@pytest.mark.parametrize("interval", [5.0, 15.0, 60.0])
def test_a_step_that_is_held_costs_at_most_a_write_each_half_minute(interval: float) -> None:
    """Ten minutes of good looks: the status is refreshed now and then, not at every look."""
    play = healthy_start(policy(steps=LONG, interval=interval))
    play.until(lambda: play.known("mnist-00002") and play.rollout().progress.reason is Reason.ANALYSING)
    play.run(40)
    assert 1 <= writes_within(play, 600) <= 20
    assert play.weights() == [10]


def test_looks_that_differ_each_time_cost_no_more() -> None:
    """Enough requests at one look and too few at the next, every five seconds, while the step is held."""
    looks = count()

    def now_and_then(_: Question, __: float) -> Reading:
        return Reading(ReadingKind.VALUE, 0.0, requests=500.0 if next(looks) % 2 else 5.0)

    drift = Metric("drift", Range(max=1.0), Unit.NUMBER, query="drift")
    play = Play(policy(steps=LONG, interval=5.0, metrics=(drift,)))
    play.world.metrics.custom["drift"] = now_and_then
    play.serve()
    play.release()
    play.until_weight(10)
    play.run(60)
    assert writes_within(play, 600) <= 20


def test_waiting_for_a_revision_costs_at_most_a_write_each_half_minute() -> None:
    """A model that loads for hours."""
    play = healthy_start(policy(progress_deadline=86400.0), behaviours={V2: NEVER_READY})
    play.until_phase(Phase.STAGING)
    play.run(60)
    assert writes_within(play, 600) <= 20


@pytest.mark.parametrize("kind", [ReadingKind.OUTAGE, ReadingKind.NO_SERIES], ids=lambda kind: kind.value)
def test_an_outage_costs_at_most_a_write_each_half_minute(kind: ReadingKind) -> None:
    """Held, with a message that does not change at every look."""
    play = healthy_start(policy(steps=LONG, progress_deadline=86400.0))
    play.until_weight(10)
    play.world.metrics.faults = [Fault(kind)]
    play.until_phase(Phase.HOLDING)
    play.run(60)
    assert writes_within(play, 300) <= 10


def test_a_pause_costs_at_most_a_write_each_half_minute() -> None:
    """And nothing is written to the service."""
    play = healthy_start(policy(steps=LONG))
    play.until_weight(10)
    play.pause()
    play.run(60)
    assert writes_within(play, 600) <= 20
    assert play.weights() == [10]


def test_a_finished_rollout_costs_nothing() -> None:
    """No write, no question, no message."""
    play = healthy_start()
    play.finish()
    play.run(60)
    asked = play.world.metrics.asked
    assert writes_within(play, 1200) == 0
    assert play.world.metrics.asked == asked


def test_a_service_without_a_rollout_costs_nothing() -> None:
    """Thousands of these are watched."""
    play = Play()
    play.serve()
    assert writes_within(play, 1200) == 0
    assert play.world.metrics.asked == 0
    assert play.weights() == []


def test_each_question_is_asked_once_per_interval() -> None:
    """At the beats of the grid, from the end of the warm-up on."""
    play = healthy_start(policy(steps=LONG))
    asked = watched(play)
    play.until_weight(10)
    play.run(600)
    times = [at for at, _ in asked]
    assert len(times) >= 36
    assert all(at % 15 == 0 for at in times)
    assert max(Counter(times).values()) == 1
    assert {later - earlier for earlier, later in pairwise(times)} == {15.0}


def test_rollouts_of_one_interval_ask_together() -> None:
    """Started at different times, they are due in the same tick, so their queries can be grouped."""
    play = Play(policy(steps=LONG))
    play.serve("mnist")
    play.serve("fraud")
    asked = watched(play)
    play.release(name="mnist")
    play.run(37)
    play.release(name="fraud")
    play.run(300)
    late = [(at, question.service) for at, question in asked if at > play.world.now() - 120]
    times = {at for at, _ in late}
    assert len(times) <= 9
    assert all({service for when, service in late if when == at} == {"mnist", "fraud"} for at in times)


class Sluggish(Play):
    """Records take longer than an interval, answers of Prometheus come in between."""

    def _engine(self) -> Engine:
        world = self.world
        return Engine(
            cluster=world.cluster,
            ledger=world.ledger,
            metrics=world.metrics,
            gates=world.gates,
            notifier=world.notifier,
            policies=world.policies,
            leadership=world.leadership,
            clock=world.clock,
            pool=SlowPool(world, 20.0),
            askers=SlowPool(world, 3.0),
            hooks=world.pool,
            listener=Counters(),
        )


@pytest.mark.parametrize("heard", [False, True], ids=["in silence", "with a watch event meanwhile"])
def test_no_look_is_lost_while_a_record_takes_long(heard: bool) -> None:
    """An answer waits for the record and a look comes due in between: the look is made right after it."""
    play = Sluggish(policy(steps=LONG))
    play.serve()
    play.release()
    asked = watched(play)
    play.until_weight(10)
    play.until(lambda: asked)
    noted = 0.0
    for second in range(600):
        play.tick()
        if heard and asked[-1][0] > noted and play.world.now() - asked[-1][0] > 10:
            noted = asked[-1][0]
            note = {
                "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": f"{second}"}}
            }
            play.world.kserve.patch("models", "mnist", note)
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(asked)]
    assert 20.0 <= max(gaps) <= 22.0
    assert len(gaps) >= 30


def test_watch_events_do_not_cause_more_questions() -> None:
    """A service whose status is written every second is looked at every second, and measured as before."""
    play = healthy_start(policy(steps=LONG))
    asked = watched(play)
    play.until_weight(10)
    play.run(31)
    before = len(asked)
    for second in range(300):
        note = {
            "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": str(second)}}
        }
        play.world.kserve.patch("models", "mnist", note)
        play.tick()
    assert len(asked) - before <= 300 / 15 + 1
    assert play.weights() == [10]
    assert play.names() == ["mnist-00002"]


def test_watch_events_do_not_cause_more_records() -> None:
    """Nor do they refresh the status each time."""
    play = healthy_start(policy(steps=LONG))
    play.until_weight(10)
    play.run(60)
    before = len(play.world.ledger.writes)
    for second in range(300):
        note = {
            "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": str(second)}}
        }
        play.world.kserve.patch("models", "mnist", note)
        play.tick()
    assert len(play.world.ledger.writes) - before <= 11


def test_nothing_is_measured_before_there_is_something_to_measure() -> None:
    """While the candidate starts, while its weight is on its way, and while it warms up."""
    play = healthy_start(policy(warmup=30.0), behaviours={V2: starts_in(60.0)})
    play.until_weight(10)
    assert play.world.metrics.asked == 0
    verified = play.rollout().progress.verified_at
    play.until(lambda: play.world.metrics.asked)
    assert verified is not None
    assert play.world.now() - verified >= 30


def test_webhooks_are_called_once_per_look() -> None:
    """Not once per tick."""
    hook = Webhook("load", WebhookType.ROLLOUT, "http://load")
    play = healthy_start(policy(steps=LONG, webhooks=(hook,)))
    play.until_weight(10)
    play.run(60)
    before = len(play.world.gates.calls)
    play.run(300)
    assert 18 <= len(play.world.gates.calls) - before <= 21


def test_many_idle_rollouts_share_one_small_budget_of_writes() -> None:
    """A hundred held rollouts refresh less often, so that the API server hardly notices them."""
    play = fleet(100, policy(steps=LONG))
    play.run(90)
    assert writes_within(play, 60) <= 60 * 5 + 100


def test_routine_writes_come_evenly() -> None:
    """A hundred rollouts that began at once do not refresh at once: each look writes its part."""
    play = fleet(100, policy(steps=LONG, interval=5.0))
    play.run(120)
    play.world.ledger.writes.clear()
    play.run(120)
    by_second = Counter(each.at for each in play.world.ledger.writes)
    by_name = Counter(each.name for each in play.world.ledger.writes)
    assert max(by_second.values()) <= 20
    assert set(by_name.values()) <= {3, 4}
    assert len(by_name) == 100


def test_more_than_a_group_are_looked_at_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each still once per interval, each group with its own questions in one tick."""
    monkeypatch.setattr("autocanary.controller.state.SIZE", 10)
    play = fleet(40, policy(steps=LONG, interval=20.0))
    play.run(100)
    asked = watched(play)
    play.run(100)
    assert {at % 20 for at, _ in asked} == {0.0, 5.0, 10.0, 15.0}
    assert set(Counter(at for at, _ in asked).values()) == {10}
    assert set(Counter(question.service for _, question in asked).values()) == {5}


# --- how soon ------------------------------------------------------------------------------------------


def test_a_wish_is_answered_within_a_tick_of_a_long_interval() -> None:
    """A look every five minutes does not mean that people wait five minutes."""
    play = healthy_start(policy(interval=300.0))
    play.until_weight(10)
    play.run(30)
    play.ask(Verb.ABORT, within=2)
    play.run(2)
    assert play.weights()[-1] == 0
    assert play.until_phase(Phase.ROLLED_BACK, limit=10).progress.reason is Reason.ABORTED_BY_USER


def test_a_breach_is_answered_in_the_same_look() -> None:
    """The weight is 0 in the tick in which the limit was reached."""
    play = healthy_start(qualities={V2: BROKEN})
    asked = watched(play)
    play.until(lambda: 0 in play.weights())
    assert play.world.cluster.writes[-1].at == asked[-1][0]


def test_a_blocked_rollback_escalates_in_time_whatever_the_interval() -> None:
    """Half a minute without effect is half a minute, also for a policy with a look every five minutes."""
    play = healthy_start(policy(interval=300.0))
    play.until_weight(25)
    play.run(3)
    play.world.kserve.crash("models", "mnist", "mnist-predictor-00002")
    began = play.world.now()
    play.ask(Verb.ABORT)
    play.until(lambda: any(each.restored for each in play.world.cluster.writes), 900)
    assert play.world.now() - began <= 60


def test_a_candidate_given_up_at_its_deadline_is_given_up_then_whatever_the_interval() -> None:
    """progressDeadline 5m is not 10m because of the interval."""
    play = healthy_start(policy(interval=299.0), behaviours={V2: NEVER_READY})
    play.until_phase(Phase.STAGING)
    began = play.world.now()
    play.until_phase(Phase.ROLLED_BACK, limit=1200)
    assert play.world.now() - began <= 330


def test_the_first_step_follows_readiness_whatever_the_interval() -> None:
    """A watch event brings the look forward."""
    play = healthy_start(policy(interval=300.0), behaviours={V2: starts_in(20.0), V3: starts_in(20.0)})
    began = play.world.now()
    play.until(lambda: play.weights() == [10], 900)
    assert play.world.now() - began <= 23
