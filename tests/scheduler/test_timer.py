"""The timer: what APScheduler must not be able to do to the controller."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone, tzinfo

import pytest

from autocanary import logs
from autocanary.scheduler.timer import Job, Timer

PATIENCE = 5.0
NEVER = 3600.0

Start = Callable[..., Timer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Makes and starts timers, and stops them at the end."""
    made: list[Timer] = []

    def make(*beats: Job, **options: object) -> Timer:
        timer = Timer(beats, **options)  # type: ignore[arg-type]
        made.append(timer)
        timer.start()
        return timer

    yield make
    for timer in made:
        assert timer.stop(PATIENCE)


class Counter:
    """Work that counts itself and lets a test wait for the n-th run."""

    def __init__(self) -> None:
        self.runs, self._changed = 0, threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self.runs += 1
            self._changed.notify_all()

    def reaches(self, runs: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.runs >= runs, PATIENCE)


def test_every_job_runs_at_once_and_again(start: Start) -> None:
    """The first tick does not wait for an interval."""
    fast, slow = Counter(), Counter()
    start(Job("fast", 0.02, fast), Job("slow", NEVER, slow))
    assert slow.reaches(1)
    assert fast.reaches(3)
    assert slow.runs == 1


def test_a_job_that_raises_is_reported_and_runs_again(start: Start) -> None:
    """One bad tick must not be the last one."""
    failures: list[tuple[str, str]] = []
    counter = Counter()

    def work() -> None:
        counter()
        raise RuntimeError(f"run {counter.runs}")

    start(Job("tick", 0.02, work), on_failure=lambda name, error: failures.append((name, str(error))))
    assert counter.reaches(3)
    assert failures[:2] == [("tick", "run 1"), ("tick", "run 2")]


def test_without_a_listener_the_failure_is_logged(start: Start) -> None:
    """A failure is never silent."""
    on_failure = threading.Event()

    def work() -> None:
        on_failure.set()
        raise RuntimeError("boom")

    with logs.capture() as captured:
        timer = start(Job("tick", NEVER, work))
        assert on_failure.wait(PATIENCE)
        assert timer.stop(PATIENCE)
    (line,) = captured.named("job_failed")
    assert (line["job"], line["error"]) == ("tick", "RuntimeError: boom")


def test_requeue_runs_a_job_long_before_its_time(start: Start) -> None:
    """A watch event does not wait for the next beat."""
    counter = Counter()
    timer = start(Job("tick", NEVER, counter), spacing=0.001)
    assert counter.reaches(1)
    timer.requeue("tick")
    assert counter.reaches(2)


def test_requeues_before_run_cause_one_run(start: Start) -> None:
    """A burst of events is one run; the spacing is what collects them."""
    counter = Counter()
    timer = start(Job("tick", 10 * NEVER, counter), spacing=NEVER)
    assert counter.reaches(1)
    for _ in range(100):
        timer.requeue("tick")
    next_run = timer.next_run("tick")
    assert next_run is not None
    assert timedelta(0) < next_run - datetime.now(timezone.utc) <= timedelta(seconds=NEVER)
    assert counter.runs == 1


def test_a_job_can_be_wanted_before_its_beat_and_not_after_it(start: Start) -> None:
    """A run that is due between two ticks happens then; one that is due later changes nothing."""
    counter = Counter()
    timer = start(Job("tick", NEVER, counter), spacing=0.001)
    assert counter.reaches(1)

    def wait() -> float:
        next_run = timer.next_run("tick")
        assert next_run is not None
        return (next_run - datetime.now(timezone.utc)).total_seconds()

    timer.run_within("tick", 2 * NEVER)
    assert NEVER / 2 < wait() <= NEVER
    timer.run_within("tick", 100.0)
    assert 50.0 < wait() <= 100.0
    timer.run_within("tick", -1.0)
    assert counter.reaches(2)


def test_requeue_during_run_causes_one_more_run(start: Start) -> None:
    """What happened after the run began may not have been seen by it; and never two runs at once."""
    begun, release, counter = threading.Event(), threading.Event(), Counter()
    inside, selectors_overlap = [0], [0]

    def work() -> None:
        inside[0] += 1
        selectors_overlap[0] += inside[0] > 1
        begun.set()
        release.wait(PATIENCE)
        inside[0] -= 1
        counter()

    timer = start(Job("tick", NEVER, work), spacing=0.001)
    assert begun.wait(PATIENCE)
    for _ in range(10):
        timer.requeue("tick")
    release.set()
    assert counter.reaches(2)
    assert timer.stop(PATIENCE)
    assert (counter.runs, selectors_overlap) == (2, [0])


def test_a_requeue_is_not_lost_however_close_to_a_run(start: Start) -> None:
    """Without any spacing the gap between a run's end and its bookkeeping is hit often; none is lost."""
    counter = Counter()
    timer = start(Job("tick", NEVER, counter), spacing=0.0)
    for run in range(1, 60):
        assert counter.reaches(run)
        timer.requeue("tick")
    assert counter.reaches(60)


def test_requeue_before_the_start_and_after_the_stop_does_nothing() -> None:
    """Watches may outlive the timer by a moment."""
    counter = Counter()
    timer = Timer([Job("tick", NEVER, counter)])
    timer.requeue("tick")
    assert counter.runs == 0
    timer.start()
    assert counter.reaches(1)
    assert timer.stop(PATIENCE)
    timer.requeue("tick")
    assert timer.stop(PATIENCE)
    assert counter.runs == 1


def test_requeue_of_unknown_job_raises() -> None:
    """It cannot be ignored."""
    with pytest.raises(KeyError):
        Timer([]).requeue("tick")


def test_two_jobs_of_one_name_are_refused() -> None:
    """One of them would never run."""
    with pytest.raises(ValueError, match="same name"):
        Timer([Job("tick", 1, print), Job("tick", 2, print)])


class ShiftedClock(datetime):
    """The wall clock of the timer and of APScheduler, set forward or back by ``shift``."""

    shift = timedelta(0)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> ShiftedClock:
        at = datetime.now(tz) + cls.shift
        return cls(at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond, at.tzinfo)


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[ShiftedClock]]:
    monkeypatch.setattr("apscheduler.schedulers.base.datetime", ShiftedClock)
    monkeypatch.setattr("autocanary.scheduler.timer.datetime", ShiftedClock)
    yield ShiftedClock
    ShiftedClock.shift = timedelta(0)


def test_wall_clock_set_back_does_not_stop_jobs(start: Start, wall_clock: type[ShiftedClock]) -> None:
    """To APScheduler it looks like a job that is due in an hour; the timer notices that it cannot be."""
    counter = Counter()
    start(Job("tick", 0.05, counter))
    assert counter.reaches(1)
    before = counter.runs
    wall_clock.shift = timedelta(hours=-1)
    assert counter.reaches(before + 3)


def test_a_late_job_is_run_and_what_was_missed_is_one_run(start: Start, wall_clock: type[ShiftedClock]) -> None:
    """As after a machine was asleep: no run is dropped for being late, and there is no burst."""
    counter = Counter()
    timer = start(Job("tick", NEVER, counter))
    assert counter.reaches(1)
    wall_clock.shift = timedelta(seconds=10 * NEVER + NEVER / 2)
    assert counter.reaches(2)
    assert timer.stop(PATIENCE)
    assert counter.runs == 2


def test_a_stuck_job_does_not_hold_up_the_stop() -> None:
    """The stop says that a job was left behind."""
    begun, release = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        release.wait(PATIENCE)

    timer = Timer([Job("tick", NEVER, work)])
    timer.start()
    assert begun.wait(PATIENCE)
    assert timer.stop(wait=0.01) is False
    release.set()
    assert timer.stop(wait=PATIENCE) is True


def test_it_can_be_stopped_from_a_job() -> None:
    """A job that finds that the process must end may say so."""
    stopped = threading.Event()

    def work() -> None:
        timer.stop(wait=0.0)
        stopped.set()

    timer = Timer([Job("tick", NEVER, work)])
    timer.start()
    assert stopped.wait(PATIENCE)
    assert timer.stop(PATIENCE)


def test_the_scheduler_is_quiet(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """APScheduler logs two lines a run at INFO; a beat of a second would drown everything else."""
    counter = Counter()
    with caplog.at_level(logging.INFO):
        timer = start(Job("tick", 0.02, counter))
        assert counter.reaches(3)
        assert timer.stop(PATIENCE)
    assert [each for each in caplog.records if each.levelno < logging.WARNING] == []
