"""Every write of a rollout fails, once or for a while, with each error that an API server has: same story."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import pytest

from autocanary.errors import Busy, Conflict, Forbidden, NotFound, NotLeader, Refused, Unreachable
from autocanary.model.decision import Event
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.simulator.fakes import InlinePool
from autocanary.simulator.fault_injection import Strike
from autocanary.simulator.pod_behaviour import starts_in
from autocanary.simulator.response_quality import Quality, from_age
from tests.controller.driver import (
    BROKEN,
    FAULTLESS,
    V2,
    V3,
    Play,
    SlowPool,
    When,
    healthy_start,
    once,
    policy,
    quick,
)
from tests.controller.scenarios import COURSES, Outcome, disturbed, undisturbed

T = TypeVar("T")

FAULTS: dict[str, tuple[When, Callable[[], Exception]]] = {
    "conflict": (When.BEFORE, lambda: Conflict("the object has been modified", status=409)),
    "busy": (When.BEFORE, lambda: Busy("etcdserver: request timed out", status=500)),
    "unreachable": (When.BEFORE, lambda: Unreachable("connection refused")),
    "answer-lost": (When.AFTER, lambda: Unreachable("read timed out")),
    "half-done": (When.BETWEEN, lambda: Unreachable("read timed out")),
    "forbidden": (When.BEFORE, lambda: Forbidden("no right to patch", status=403)),
    "refused": (When.BEFORE, lambda: Refused("an admission webhook says no", status=422)),
    "not-found": (When.BEFORE, lambda: NotFound("not found", status=404)),
    "not-leader": (When.BEFORE, lambda: NotLeader("the lease could not be renewed")),
    "unexpected": (When.BEFORE, lambda: RuntimeError("a bug in an adapter")),
}
HOLDS = (Event.HELD.value, Event.RESUMED.value)
TELLING = ("conflict", "answer-lost", "half-done")
PAIRS = [(course, fault) for course in ("unstaged", "rollback", "supersede") for fault in FAULTS] + [
    (course, fault) for course in ("promotion", "adopted") for fault in TELLING
]
"""The longer courses make the shorter ones' writes too; only the faults that can mislead are tried on all."""


def alike(outcome: Outcome, expected: Outcome, *, held: bool = False) -> bool:
    """``held``: a write that fails for a minute is told as a hold; nothing else may differ."""
    events = {
        name: tuple(each for each in told if each not in HOLDS) for name, told in outcome.events.items()
    }
    return (
        outcome.endings == expected.endings
        and outcome.weights == expected.weights
        and (events if held else outcome.events) == expected.events
    )


def never_back(play: Play) -> bool:
    """Whether the candidate's real share only ever grew."""
    share = play.share("00002")
    return share == sorted(share)


@pytest.mark.parametrize(("course", "fault"), PAIRS)
def test_any_write_that_fails_once(course: str, fault: str) -> None:
    """Same end, same weights in the same order, no transition lost or told twice."""
    expected = undisturbed(course)
    when, error = FAULTS[fault]
    different = []
    for victim, verb in enumerate(expected.writes, start=1):

        def strike(number: int, _: str, victim: int = victim) -> tuple[When, BaseException] | None:
            return (when, error()) if number == victim else None

        outcome, play = disturbed(course, strike)
        steady = course in ("rollback", "supersede") or never_back(play)
        # A 404 from an object that is there makes it be taken up anew: told again, with the same id.
        told_once = fault == "not-found" or len(outcome.told) == len(set(outcome.told))
        if not (alike(outcome, expected) and steady and told_once):
            different.append((victim, verb, outcome.endings, outcome.weights, outcome.events))
    assert not different, f"{fault} at these writes: {different}; expected {expected}"


@pytest.mark.parametrize("fault", [each for each in FAULTS if each not in ("conflict", "answer-lost")])
@pytest.mark.parametrize("course", ["unstaged", "rollback"])
def test_writes_that_fail_five_times_in_a_row(course: str, fault: str) -> None:
    """From any third write on: about half a minute without an API server, and then the same story."""
    expected = undisturbed(course)
    when, error = FAULTS[fault]
    different = []
    for victim, verb in list(enumerate(expected.writes, start=1))[::3]:

        def strike(number: int, _: str, victim: int = victim) -> tuple[When, BaseException] | None:
            return (when, error()) if victim <= number < victim + 5 else None

        outcome, _ = disturbed(course, strike)
        if not alike(outcome, expected, held=True):
            different.append((victim, verb, outcome.endings, outcome.weights, outcome.events))
    assert not different, f"{fault} from these writes on: {different}; expected {expected}"


@pytest.mark.parametrize("verb", ["record", "weight"])
@pytest.mark.parametrize("course", ["promotion", "unstaged"])
def test_one_kind_of_write_fails_for_two_minutes(course: str, verb: str) -> None:
    """Ledger or cluster alone: nothing is skipped afterwards, and nothing is raised meanwhile twice."""
    expected = undisturbed(course)

    def strike(number: int, kind: str) -> tuple[When, BaseException] | None:
        failing = kind == verb and 3 <= number <= 20
        return (
            (When.BEFORE, Busy("etcdserver: mvcc: database space exceeded", status=500)) if failing else None
        )

    outcome, play = disturbed(course, strike)
    assert alike(outcome, expected, held=True), play.story()
    assert never_back(play)


def test_a_rollback_is_written_even_while_the_ledger_refuses() -> None:
    """Taking traffic from a bad candidate does not wait for etcd: the weight is 0 within the same look."""
    play = healthy_start(policy(), qualities={V2: BROKEN})
    play.until_weight(10)
    refused = Refused("the definitions are gone", status=404)
    play.world.ledger.faults.next(refused, verb="record", times=1_000_000)
    play.until(lambda: play.weights() == [10, 0], 120)
    play.run(60)
    assert play.weights() == [10, 0]
    assert play.share("00002")[-1] == 0
    assert play.phase() in (Phase.PROGRESSING, Phase.HOLDING), "nothing could be recorded"
    assert "rollback_started" not in play.events()
    play.world.ledger.faults.clear()
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)
    assert play.events() == ["rollout_started", "step_taken", "rollback_started", "rollout_rolled_back"]
    assert play.weights() == [10, 0]


def test_no_step_is_taken_that_could_not_be_recorded() -> None:
    """While the ledger refuses, a healthy candidate stays where it is."""
    play = healthy_start()
    play.until_weight(10)
    play.world.ledger.faults.next(Forbidden("no right", status=403), verb="record", times=1_000_000)
    play.run(600)
    assert play.weights() == [10]
    play.world.ledger.faults.clear()
    play.finish()
    assert play.weights() == [10, 25, 50, 100]
    assert play.events().count("step_taken") == 4


def test_an_unstaged_release_is_caught_even_while_the_ledger_refuses() -> None:
    """The race against readiness is not lost to etcd; the record is made when it can be."""
    play = Play(behaviours={V2: starts_in(5.0)})
    play.serve()
    play.world.ledger.faults.next(Busy("etcd is full", status=500), verb="create", times=1_000_000)
    play.release(V2, None)
    play.run(20)
    assert play.weights() == [0]
    assert max(play.share("00002")) == 0
    assert play.names() == []
    play.world.ledger.faults.clear()
    play.finish()
    assert once(play.weights()) == [0, 10, 25, 50, 100]


def test_a_catch_that_fails_is_repeated_in_time() -> None:
    """The first attempts meet a 500; the revision takes 20 s to become ready and gets nothing."""
    play = Play(behaviours={V2: starts_in(20.0)})
    play.serve()
    play.world.cluster.faults.next(Busy("failed calling webhook", status=500), verb="weight", times=3)
    play.release(V2, None)
    play.finish()
    assert max(play.share("00002")[:25]) == 0
    assert play.weights() == [0, 10, 25, 50, 100]


def test_a_missed_record_that_cannot_be_made_is_made_later() -> None:
    """The release took all traffic, and the ledger was away: people hear of it when it is back."""
    play = Play(behaviours={V2: starts_in(0.2)}, lag=0.1)
    play.serve()
    play.world.cluster.blind()
    play.release(V2, None)
    play.run(5)
    play.world.ledger.faults.next(Busy("etcd is full", status=500), verb="create", times=3)
    play.world.cluster.blind(False)
    play.until(lambda: play.known("mnist-00002"), 900)
    play.run(5)
    assert play.ending() == (Phase.MISSED, Reason.MISSED_UNSTAGED)
    assert play.events() == ["rollout_ended"]


def test_an_abort_whose_answer_was_lost_is_made_once() -> None:
    """The request was carried out, the connection died: the same 0 at most once more, told once."""
    play = healthy_start()
    play.until_weight(25)
    lost = Unreachable("read timed out")
    play.world.ledger.faults.next(lost, strike=Strike.AFTER, verb="record")
    play.world.cluster.faults.next(lost, strike=Strike.AFTER, verb="weight")
    play.ask(Verb.ABORT, within=10)
    play.finish()
    assert once(play.weights()) == [10, 25, 0]
    assert play.events().count("rollback_started") == 1


def test_deletion_of_history_that_fails_is_made_up_for() -> None:
    """Pruning is a courtesy: it fails quietly, and the next end prunes both."""
    play = Play(quick(min_requests=1.0), history_limit=1)
    play.serve()
    play.world.ledger.faults.next(Forbidden("no right to delete", status=403), verb="delete")
    for number in range(2, 6):
        play.release(f"gs://models/mnist/{number + 20}", 0)
        play.finish(f"mnist-{number:05d}")
        play.run(30)
    assert len(play.names()) <= 2


def test_an_end_that_the_record_calls_told_is_closed_whoever_has_recorded_that() -> None:
    """Our own write whose answer was lost comes back by the watch like somebody else's: nothing is left to do."""
    play = Play(quick(min_requests=1.0), history_limit=1)
    play.serve()
    play.release(V2)
    play.finish()
    play.run(30)
    play.release(V3)
    play.until(lambda: play.known("mnist-00003") and play.rollout("mnist-00003").is_final)
    assert play.rollout("mnist-00003").progress.untold
    play.world.ledger.edit(
        "models", "mnist-00003", lambda written: written["status"]["progress"].pop("untold")
    )
    play.run(30)
    assert play.names() == ["mnist-00003"]
    assert play.engine.rollouts() == []


@pytest.mark.parametrize("seconds", [0.3, 2.5, 9.0])
@pytest.mark.parametrize("course", COURSES)
def test_slow_calls_change_the_times_and_nothing_else(course: str, seconds: float) -> None:
    """Every write and question takes a while in another thread; the engine is never confused by it.

    Questions that take almost a whole interval may make it hold a little, and say so.
    """
    expected = undisturbed(course)
    quality = {V2: BROKEN} if course == "rollback" else None
    play = Play(
        quick(min_requests=1.0), qualities=quality, behaviours={V2: starts_in(15.0)}, scrape_seconds=2.0
    )
    play.world.pool = SlowPool(play.world, seconds)  # type: ignore[assignment]
    play.restart()
    play.restarted = False
    play.serve()
    COURSES[course](play)
    names = play.names()
    assert {name: play.ending(name) for name in names} == {
        name: (Phase(phase), Reason(reason)) for name, (phase, reason) in expected.endings.items()
    }
    assert once(play.weights()) == list(expected.weights)
    heard = {name: tuple(each for each in play.events(name) if each != "rollout_held") for name in names}
    assert heard == expected.events


def slow_step(play: Play) -> None:
    """Until the write of 25 has been decided and is under way; it arrives some seconds later."""
    play.until_weight(10)
    play.run(20)
    pool = SlowPool(play.world, 4.0)
    play.world.pool = pool  # type: ignore[assignment]
    play.restart()
    play.until(lambda: play.rollout().progress.weight == 25 or _recording(play, pool), 200)


def _recording(play: Play, pool: SlowPool) -> bool:
    live = [each for each in play.engine.rollouts() if each.progress.weight == 25]
    return bool(live) and pool.under_way > 0


def test_a_weight_that_somebody_sets_while_ours_is_on_its_way_stands() -> None:
    """The write meets a conflict, reads anew, and finds that its ground has gone: paused, not overwritten."""
    play = healthy_start()
    slow_step(play)
    play.patch_weight(40, "argocd")
    play.run(60)
    assert play.weights() == [10]
    assert play.ending() == (Phase.PAUSED, Reason.EXTERNAL_CHANGE)


def test_a_revision_that_is_made_while_a_step_is_on_its_way_does_not_get_it() -> None:
    """A label made a new revision: the 25 was decided for the one before."""
    play = healthy_start(behaviours={V2: starts_in(6.0)})
    slow_step(play)
    play.world.kserve.patch("models", "mnist", {"metadata": {"annotations": {"argocd/tracking-id": "x"}}})
    play.until(lambda: play.known("mnist-00003"), 120)
    play.until(lambda: max(play.share("00003")) > 0, 300)
    assert 25 not in play.weights()
    assert max(play.share("00003")) == 10


def test_a_conflict_about_nothing_is_written_through_at_once() -> None:
    """KServe writes status all along: the step meets a conflict, nothing that matters has changed."""
    play = healthy_start()
    slow_step(play)
    note = {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}}
    play.world.kserve.patch("models", "mnist", note)
    play.run(6)
    assert play.weights() == [10, 25]


@pytest.mark.parametrize("course", COURSES)
def test_ticks_between_the_beats_change_nothing(course: str) -> None:
    """The watch hurries the engine after every change, as in a cluster: same story, some seconds sooner."""
    expected = undisturbed(course)
    quality = {V2: BROKEN} if course == "rollback" else None
    play = Play(
        quick(min_requests=1.0),
        qualities=quality,
        behaviours={V2: starts_in(4.0)},
        scrape_seconds=2.0,
        watching=True,
    )
    play.serve()
    COURSES[course](play)
    names = play.names()
    assert {name: tuple(each.value for each in play.ending(name)) for name in names} == expected.endings
    assert once(play.weights()) == list(expected.weights)
    assert {name: tuple(play.events(name)) for name in names} == expected.events


def test_a_candidate_whose_raise_cannot_be_written_is_judged_at_the_weight_it_has() -> None:
    """It goes bad while every weight is refused: the way back is decided then, and taken when it can be."""
    late = Quality(error_percent=from_age(240.0, bad=20.0, good=0.0))
    play = healthy_start(qualities={V2: late})
    play.until_weight(10)
    play.world.cluster.faults.next(Forbidden("a webhook refuses it", status=403), verb="weight", times=10_000)
    play.until(lambda: play.rollout().progress.weight == 25)
    play.until_phase(Phase.ROLLING_BACK, limit=600)
    assert play.rollout().progress.reason is Reason.METRIC_BREACH
    play.run(30)
    assert play.weights() == [10]
    play.world.cluster.faults.clear()
    play.finish()
    assert play.weights() == [10, 0]
    assert play.ending() == (Phase.ROLLED_BACK, Reason.METRIC_BREACH)


def test_a_candidate_whose_raise_could_not_be_written_for_long_goes_on_when_it_can() -> None:
    """Healthy all along: held at 10 for ten minutes, and promoted after."""
    play = healthy_start()
    play.until_weight(10)
    play.world.cluster.faults.next(Forbidden("a webhook refuses it", status=403), verb="weight", times=10_000)
    play.until(lambda: play.rollout().progress.weight == 25)
    play.run(600)
    assert play.phase() is Phase.HOLDING
    assert play.weights() == [10]
    assert play.events().count("rollout_held") == 1
    play.world.cluster.faults.clear()
    play.finish()
    assert play.weights() == [10, 25, 50, 100]


def test_a_write_that_is_only_thought_is_nobody_elses_doing() -> None:
    """A dry run, or a webhook that turns the weight back: the answer shows the old one. It is tried on."""
    play = healthy_start()
    play.until_weight(0)
    play.world.cluster.set_weight = lambda seen, weight: seen  # type: ignore[method-assign]
    play.until(lambda: play.known("mnist-00002") and play.rollout().progress.weight == 10)
    play.run(120)
    assert play.phase() is Phase.HOLDING
    assert "external_change" not in play.events()
    del play.world.cluster.set_weight
    play.finish()
    assert play.weights() == [10, 25, 50, 100]


def test_people_who_cannot_be_reached_delay_nothing() -> None:
    """Every channel is down from beginning to end: same rollout, and all messages come when they are back."""
    play = healthy_start()
    play.world.notifier.down = True
    play.until(lambda: play.rollout().is_final if play.known("mnist-00002") else False)
    assert play.weights() == [10, 25, 50, 100]
    assert len(play.rollout().progress.untold) == 6
    play.run(120)
    play.world.notifier.down = False
    play.finish()
    assert play.events() == ["rollout_started", *["step_taken"] * 4, "rollout_promoted"]
    assert len(play.rollout().progress.told) == 6


def test_messages_that_nobody_has_heard_are_told_after_a_restart() -> None:
    """Of a rollout that had ended before: the outbox is in the record."""
    play = healthy_start()
    play.world.notifier.down = True
    play.until(lambda: play.rollout().is_final if play.known("mnist-00002") else False)
    ids = [each.id for each in play.rollout().progress.untold]
    play.world.notifier.messages.clear()
    play.restart()
    play.finish()
    assert [each.telling.id for each in play.world.notifier.messages] == ids


def test_the_courses_make_every_kind_of_write() -> None:
    """Otherwise some write would never have failed here."""
    made = {verb for course in COURSES for verb in undisturbed(course).writes}
    assert made == {"create", "record", "weight"}


class _Ordered(InlinePool):
    """Notes how many works were put ahead of the others."""

    def __init__(self) -> None:
        self.first = 0

    def submit_first(self, work: Callable[[], T]) -> Future[T]:
        self.first += 1
        return self.submit(work)


@pytest.mark.parametrize(
    ("weight", "quality", "first"), [(0, FAULTLESS, 0), (0, BROKEN, 1), (None, FAULTLESS, 1)]
)
def test_a_rollback_and_a_catch_go_ahead_of_routine(weight: int | None, quality: Quality, first: int) -> None:
    """What takes traffic from an unjudged or bad candidate does not queue; the steps of a good one do."""
    play = Play(quick(), qualities={V2: quality})
    pool = play.world.pool = _Ordered()
    play.restart()
    play.restarted = False
    play.serve()
    play.release(V2, weight)
    play.finish()
    assert pool.first == first
