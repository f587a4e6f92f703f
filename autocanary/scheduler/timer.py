"""The timer: a few fixed jobs, each at its own interval, on APScheduler. No other module imports APScheduler.

A late job is run, not dropped (``misfire_grace_time=None``). A job that raises is reported to ``on_failure``
and runs again. A wall clock that is set back does not stop the timer. Its threads are daemons, so that a stuck
job does not keep the process from ending.
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

__all__ = ["Job", "Timer"]

SPACING = 0.05
"""Seconds between the end of a run and a hurried one: a burst of watch events becomes one run."""

_log = logger("schedule")

OnFailure = Callable[[str, BaseException], None]


@dataclass(frozen=True, slots=True)
class Job:
    """A job: ``work`` is called every ``seconds``, the first time at once; never twice at the same time."""

    name: str
    seconds: float
    work: Callable[[], object]


class _JobState:
    """One job's state: whether it runs, and whether another run was requested since it began."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.running = False
        self.requeued = False
        self.ended_at = float("-inf")


class _DaemonExecutor(BasePoolExecutor):  # type: ignore[misc]  # apscheduler has no types
    def __init__(self, pool: ThreadPool) -> None:
        super().__init__(pool)

    def _do_submit_job(self, job: Any, run_times: Any) -> None:
        with contextlib.suppress(PoolStoppedError):  # a job became due while the scheduler was being stopped
            super()._do_submit_job(job, run_times)


class _SteadyScheduler(BackgroundScheduler):  # type: ignore[misc]  # apscheduler has no types
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


def _log_failure(name: str, error: BaseException) -> None:
    _log.error("job_failed", job=name, exc_info=error)


def _is_not_skip_warning(record: logging.LogRecord) -> bool:
    """A run that is due while its job still runs is skipped on purpose; the library warns at each."""
    return "maximum number of running instances reached" not in str(record.msg)


class Timer:
    """Runs ``jobs`` from ``start`` to ``stop``; a job's exception goes to ``on_failure`` and no further."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        on_failure: OnFailure = _log_failure,
        spacing: float = SPACING,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        logging.getLogger("apscheduler").setLevel(logging.WARNING)  # two lines a run at INFO
        logging.getLogger("apscheduler.scheduler").addFilter(_is_not_skip_warning)
        self._on_failure, self._spacing, self._monotonic = on_failure, spacing, monotonic
        self._states = {job.name: _JobState(job) for job in jobs}
        if len(self._states) != len(jobs):
            raise ValueError("two jobs have the same name")
        self._lock = threading.Lock()
        self._pool = ThreadPool(max(1, len(jobs)), "beat")
        self._scheduler = _SteadyScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": _DaemonExecutor(self._pool)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone=timezone.utc,
        )
        self._scheduler.longest_sleep = min((1.0, *(job.seconds for job in jobs)))
        self._scheduler.add_listener(self._on_skipped, EVENT_JOB_MAX_INSTANCES)

    def start(self) -> None:
        """Starts the timer; every job runs once now."""
        for state in self._states.values():
            self._scheduler.add_job(
                self._run,
                IntervalTrigger(seconds=state.job.seconds, timezone=timezone.utc),
                args=(state,),
                id=state.job.name,
                name=state.job.name,
                next_run_time=datetime.now(timezone.utc),
            )
        self._scheduler.start()

    def stop(self, wait: float = 5.0) -> bool:
        """Stops the timer and waits up to ``wait`` seconds for running jobs; True when all have ended.

        Safe to call again, and from within a job.
        """
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)  # it would hold its locks while it waits, and for ever
        return self._pool.stop(wait)

    def next_run(self, name: str) -> datetime | None:
        """When a job runs next; None before the start and after the stop."""
        job = self._scheduler.get_job(name)
        return job.next_run_time if job is not None else None

    def run_within(self, name: str, seconds: float) -> None:
        """Has a job run after so many seconds, unless it is due earlier anyway."""
        self._run_within(self._states[name], seconds)

    def requeue(self, name: str) -> None:
        """Runs a job as soon as it may; many calls before it begins are one run, calls during it another.

        Without effect before ``start`` (which runs every job anyway) and after ``stop``.
        """
        state = self._states[name]
        with self._lock:
            if state.requeued:
                return
            state.requeued = True
            if state.running:
                return  # the end of the run sees it
        self._run_within(state)

    def _run(self, state: _JobState) -> None:
        with self._lock:
            state.running, state.requeued = True, False
        try:
            state.job.work()
        except Exception as error:  # noqa: BLE001  # whatever it is, the timer goes on
            self._on_failure(state.job.name, error)
        finally:
            with self._lock:
                state.running, state.ended_at = False, self._monotonic()
                requeued_again = state.requeued
            if requeued_again:
                self._run_within(state)

    def _run_within(self, state: _JobState, seconds: float = 0.0) -> None:
        delay = max(seconds, state.ended_at + self._spacing - self._monotonic(), 0.0)
        at = datetime.now(timezone.utc) + timedelta(seconds=delay)
        try:
            job = self._scheduler.get_job(state.job.name)
            if job is not None and (job.next_run_time is None or job.next_run_time > at):
                self._scheduler.modify_job(state.job.name, next_run_time=at)
        except JobLookupError:
            return  # stopped in between

    def _on_skipped(self, event: Any) -> None:
        """APScheduler counts a run as over a moment after it is: a requeued run may fall into that gap."""
        state = self._states[event.job_id]
        with self._lock:
            missed = state.requeued and not state.running
        if missed:
            self._run_within(state)
