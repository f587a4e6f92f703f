"""The beat: a few fixed jobs, each at its own interval, on APScheduler. Nothing else imports it.

Its traps are closed here. A job that comes late is run, not dropped (``misfire_grace_time=None``). A job
that raises is told to ``failed`` and comes again. A wall clock that is set back does not stop the beat. Its
threads are daemons, so that a stuck job does not keep the process from ending.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from apscheduler.events import EVENT_JOB_MAX_INSTANCES
from apscheduler.executors.pool import BasePoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from autocanary.logs import logger
from autocanary.scheduler.thread_pool import PoolStoppedError, ThreadPool

__all__ = ["Beat", "Metronome"]

SPACING = 0.05
"""Seconds between the end of a run and a hurried one: a burst of watch events becomes one run."""

_log = logger("schedule")

Failed = Callable[[str, BaseException], None]


@dataclass(frozen=True, slots=True)
class Beat:
    """A job: ``work`` is called every ``seconds``, the first time at once; never twice at the same time."""

    name: str
    seconds: float
    work: Callable[[], object]


class _Runner:
    """One job's state: whether it runs, and whether somebody has asked for it since it began."""

    def __init__(self, beat: Beat) -> None:
        self.beat = beat
        self.running = False
        self.hurried = False
        self.ended = float("-inf")


class _Daemons(BasePoolExecutor):  # type: ignore[misc]  # apscheduler has no types
    def __init__(self, pool: ThreadPool) -> None:
        super().__init__(pool)

    def _do_submit_job(self, job: Any, run_times: Any) -> None:
        with contextlib.suppress(PoolStoppedError):  # a job became due while the scheduler was being stopped
            super()._do_submit_job(job, run_times)


class _Scheduler(BackgroundScheduler):  # type: ignore[misc]  # apscheduler has no types
    """APScheduler sleeps until the wall clock says so; set back by an hour, it would sleep an hour.

    This one never sleeps longer than its shortest interval, and runs at once what is due later than one
    interval from now, which only a clock that went back can have caused.
    """

    longest_sleep = 1.0

    def _process_jobs(self) -> float:
        now = datetime.now(timezone.utc)
        for job in self.get_jobs():
            if job.next_run_time is not None and job.next_run_time - now > job.trigger.interval:
                job.modify(next_run_time=now)
        wait = super()._process_jobs()
        return self.longest_sleep if wait is None else min(wait, self.longest_sleep)


def _tell(name: str, error: BaseException) -> None:
    _log.error("job_failed", job=name, exc_info=error)


def _not_about_skipping(record: logging.LogRecord) -> bool:
    """A beat that comes while its job still runs is skipped on purpose; the library warns at each."""
    return "maximum number of running instances reached" not in str(record.msg)


class Metronome:
    """Runs ``beats`` from ``start`` to ``stop``; a job's exception goes to ``failed`` and no further."""

    def __init__(
        self,
        beats: Sequence[Beat],
        *,
        failed: Failed = _tell,
        spacing: float = SPACING,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        logging.getLogger("apscheduler").setLevel(logging.WARNING)  # two lines a run at INFO
        logging.getLogger("apscheduler.scheduler").addFilter(_not_about_skipping)
        self._failed, self._spacing, self._monotonic = failed, spacing, monotonic
        self._runners = {beat.name: _Runner(beat) for beat in beats}
        if len(self._runners) != len(beats):
            raise ValueError("two jobs have the same name")
        self._lock = threading.Lock()
        self._pool = ThreadPool(max(1, len(beats)), "beat")
        self._scheduler = _Scheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": _Daemons(self._pool)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone=timezone.utc,
        )
        self._scheduler.longest_sleep = min((1.0, *(beat.seconds for beat in beats)))
        self._scheduler.add_listener(self._skipped, EVENT_JOB_MAX_INSTANCES)

    def start(self) -> None:
        """Starts the beat; every job runs once now."""
        for runner in self._runners.values():
            self._scheduler.add_job(
                self._run,
                IntervalTrigger(seconds=runner.beat.seconds, timezone=timezone.utc),
                args=(runner,),
                id=runner.beat.name,
                name=runner.beat.name,
                next_run_time=datetime.now(timezone.utc),
            )
        self._scheduler.start()

    def stop(self, wait: float = 5.0) -> bool:
        """Stops the beat and waits up to ``wait`` seconds for running jobs; True when all have ended.

        Safe to call again, and from within a job.
        """
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)  # it would hold its locks while it waits, and for ever
        return self._pool.stop(wait)

    def within(self, name: str, seconds: float) -> None:
        """Has a job run after so many seconds, unless its beat comes earlier anyway."""
        self._bring_forward(self._runners[name], seconds)

    def hurry(self, name: str) -> None:
        """Runs a job as soon as it may; many calls before it begins are one run, calls during it another.

        Without effect before ``start`` (which runs every job anyway) and after ``stop``.
        """
        runner = self._runners[name]
        with self._lock:
            if runner.hurried:
                return
            runner.hurried = True
            if runner.running:
                return  # the end of the run sees it
        self._bring_forward(runner)

    def _run(self, runner: _Runner) -> None:
        with self._lock:
            runner.running, runner.hurried = True, False
        try:
            runner.beat.work()
        except Exception as error:  # noqa: BLE001  # whatever it is, the beat goes on
            self._failed(runner.beat.name, error)
        finally:
            with self._lock:
                runner.running, runner.ended = False, self._monotonic()
                again = runner.hurried
            if again:
                self._bring_forward(runner)

    def _bring_forward(self, runner: _Runner, seconds: float = 0.0) -> None:
        delay = max(seconds, runner.ended + self._spacing - self._monotonic(), 0.0)
        at = datetime.now(timezone.utc) + timedelta(seconds=delay)
        try:
            job = self._scheduler.get_job(runner.beat.name)
            if job is not None and (job.next_run_time is None or job.next_run_time > at):
                self._scheduler.modify_job(runner.beat.name, next_run_time=at)
        except JobLookupError:
            return  # stopped in between

    def _skipped(self, event: Any) -> None:
        """APScheduler counts a run as over a moment after it is: a hurried run may fall into that gap."""
        runner = self._runners[event.job_id]
        with self._lock:
            lost = runner.hurried and not runner.running
        if lost:
            self._bring_forward(runner)
