"""One revision's counts: what successive updates added of every process, which only grows.

A *process* is what counts: a pod, or a host where the series name no pod. Its counters begin at 0 with it,
and a series exists from its first request on. So

* a process that was there when tracking began (at the first update, or scraped within the hour before)
  gives only a baseline at first sight; one that was not counts from 0, and so does a new series of a known
  process (the first 5xx);
* a value below the previous one means that the process began again: all its new values are the increment.
  When also one of several series behind a value has vanished, that may be the reason instead: a baseline;
* a process or series that vanishes keeps its last value until it returns; a series that returns below it began
  again alone, with what it returns with, because the others may have been counted since;
* of several scrapes of one process (two jobs, two replicas of Prometheus) one is followed. Another takes
  over when it is gone: it goes on from there if it is the same target and nothing went down, else it gives
  a baseline.

Where this errs, it counts too little: what a process did after its last sample, what a restart hid whose
counters had already overtaken the old ones, and one update at a change of scrape. It would count too
much only if a process served before tracking began, was not scraped once in the hour before, and is
scraped later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from autocanary.model.measurement import RequestTotals

__all__ = [
    "BAD",
    "GOOD",
    "SEPARATE_FAILURE",
    "WITHIN_BOUND",
    "CounterKey",
    "CounterTracker",
    "CounterUpdate",
    "ProcessScrape",
]

GOOD, BAD = "good", "bad"
SEPARATE_FAILURE = "apart"
"""Failures counted beside a histogram that does not distinguish them from successes."""
WITHIN_BOUND = "within"
"""Requests up to a bound, which is the key's other half, in seconds."""

CounterKey = tuple[str, "str | float"]
"""What a value counts: one of the above, and the code, metric or bound by which it is kept apart."""

_EXPIRE_AFTER = 3600.0
_MIN_SCRAPE_SPACING = 1.0
"""Seconds between two scrapes of one server. What is closer came from two, whose clocks may differ."""
_ROUNDING = 1 - 1e-9
"""Sums of the same fractions, added up in another order, may differ by so little."""
_MAX_KNOWN_PROCESSES = 5000


@dataclass(frozen=True, slots=True)
class ProcessScrape:
    """What one scrape read of one process.

    ``scrape_labels`` distinguishes scrapes of the same process and ``instance`` is the address that was
    scraped; ``at`` is the sample's time, and ``series`` how many series the values were added up from.
    """

    process: str
    scrape_labels: tuple[str, ...]
    instance: str
    at: float
    series: float
    values: Mapping[CounterKey, float]


@dataclass(frozen=True, slots=True)
class CounterUpdate:
    """Everything that Prometheus had of one revision at an instant; empty when that was nothing.

    ``known_processes`` are the processes scraped in the hour before, which are queried when tracking
    begins. None means that they are unknown, so that no process is believed to be new.
    """

    at: float
    scrapes: Sequence[ProcessScrape] = ()
    known_processes: frozenset[str] | None = None


@dataclass(slots=True)
class _Process:
    scrape_labels: tuple[str, ...]
    instance: str
    at: float
    series: float
    last_seen_at: float
    digest: str
    values: dict[CounterKey, float] = field(default_factory=dict)
    absent: frozenset[CounterKey] = frozenset()

    @property
    def failed(self) -> float:
        """The failures that it counts now: its raw counters."""
        return sum(value for (kind, _), value in self.values.items() if kind in (BAD, SEPARATE_FAILURE))


class CounterTracker:
    """One revision's counts since its first update.

    ``updated_at`` is the time of the latest update and ``newest_sample_at`` that of the newest sample;
    ``bounds`` are those that every process has, None before any had one.
    """

    def __init__(self, first: CounterUpdate) -> None:
        self.updated_at = first.at
        self.newest_sample_at: float | None = None
        self.bounds: frozenset[float] | None = None
        self._history_known = first.known_processes is not None
        self._known_processes = dict.fromkeys(first.known_processes or ())
        self._processes: dict[str, _Process] = {}
        self._increases: dict[CounterKey, float] = {}
        self._within: dict[float, float] = {}  # succeeded up to the bound
        self._track(first, started=False)

    def add(self, update: CounterUpdate) -> None:
        """Add an update; one that is not newer than the previous one is ignored."""
        if update.at > self.updated_at:
            self.updated_at = update.at
            self._track(update, started=True)

    def totals(self, bounds: Iterable[float]) -> RequestTotals:
        requests = errors = 0.0
        for (kind, _), increase in self._increases.items():
            if kind in (GOOD, BAD):
                requests += increase
            if kind in (BAD, SEPARATE_FAILURE):
                errors += increase
        within = tuple(self._within.get(bound, 0.0) for bound in bounds)
        return RequestTotals(requests, min(errors, requests), within)

    def failed_by_process(self) -> dict[str, float]:
        """The raw counters of failures by a digest of the process's name, of those that have any."""
        found = ((process.digest, process.failed) for process in self._processes.values())
        return {digest: failed for digest, failed in found if failed > 0.0}

    def _track(self, update: CounterUpdate, *, started: bool) -> None:
        by_process: dict[str, list[ProcessScrape]] = {}
        for scrape in update.scrapes:
            by_process.setdefault(scrape.process, []).append(scrape)
        for name, scrapes in by_process.items():
            process = self._processes.get(name)
            scrape = _scrape_to_count(process, scrapes)
            self.newest_sample_at = (
                scrape.at if self.newest_sample_at is None else max(self.newest_sample_at, scrape.at)
            )
            if process is None:
                is_new = started and self._history_known and name not in self._known_processes
                process = _Process(
                    scrape.scrape_labels, scrape.instance, scrape.at, scrape.series, update.at, _digest(name)
                )
                self._processes[name] = process
                self._accept(process, scrape, counted=is_new)
            else:
                process.last_seen_at = update.at
                self._advance(process, scrape)
        self._expire_processes()
        apart = sum(increase for key, increase in self._increases.items() if key[0] == SEPARATE_FAILURE)
        for bound in self.bounds or ():
            up_to = self._increases.get((WITHIN_BOUND, bound), 0.0) - apart
            # A failure that took longer than the bound is subtracted too, until successes make up for it.
            self._within[bound] = max(self._within.get(bound, 0.0), up_to)

    def _advance(self, process: _Process, scrape: ProcessScrape) -> None:
        if scrape.at <= process.at:
            return
        before = process.values
        lower = {key for key, value in scrape.values.items() if value < before.get(key, 0.0) * _ROUNDING}
        decreased = bool(lower)
        if decreased and scrape.at - process.at < _MIN_SCRAPE_SPACING:
            return  # from a server whose clock is ahead, and in truth the older one; the next will tell
        if scrape.scrape_labels != process.scrape_labels and (decreased or scrape.instance != process.instance):
            before.clear()
            self._accept(process, scrape, counted=False)
        elif lower <= process.absent:  # nothing is lower, or only what has returned
            for key in lower:
                del before[key]
            self._accept(process, scrape, counted=True)
        elif scrape.series < process.series and _without_buckets(scrape.values) == _without_buckets(before):
            self._accept(process, scrape, counted=False)
        else:
            before.clear()
            self._accept(process, scrape, counted=True)

    def _accept(self, process: _Process, scrape: ProcessScrape, *, counted: bool) -> None:
        """The scrape's values become the process's; what they grew by is counted, or they are a baseline."""
        before = process.values
        if counted:
            for key, value in scrape.values.items():
                if (increase := value - before.get(key, 0.0)) > 0:
                    self._increases[key] = self._increases.get(key, 0.0) + increase
        process.absent = frozenset(before.keys() - scrape.values.keys())
        before.update(scrape.values)
        process.scrape_labels, process.instance = scrape.scrape_labels, scrape.instance
        process.at, process.series = scrape.at, scrape.series
        own = frozenset(float(key[1]) for key in scrape.values if key[0] == WITHIN_BOUND)
        if own:  # a process that has only failed so far has none
            self.bounds = own if self.bounds is None else self.bounds & own

    def _expire_processes(self) -> None:
        """Of a process long gone only the name is kept, so that it would not count from 0 if it came back."""
        gone = [name for name, each in self._processes.items() if self.updated_at - each.last_seen_at > _EXPIRE_AFTER]
        for name in gone:
            del self._processes[name]
            self._known_processes[name] = None
        if len(self._known_processes) > _MAX_KNOWN_PROCESSES:
            self._known_processes.clear()
            self._history_known = False


def _digest(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:6]


def _scrape_to_count(process: _Process | None, scrapes: Sequence[ProcessScrape]) -> ProcessScrape:
    """The scrape that is counted: the same as before while it is there, else the newest."""
    if process is not None:
        for scrape in scrapes:
            if scrape.scrape_labels == process.scrape_labels:
                return scrape
    return max(scrapes, key=lambda scrape: (scrape.at, scrape.scrape_labels))


def _without_buckets(values: Iterable[CounterKey]) -> set[CounterKey]:
    return {key for key in values if key[0] != WITHIN_BOUND}
