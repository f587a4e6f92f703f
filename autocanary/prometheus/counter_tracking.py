"""One revision's tally: what successive looks saw of every process, as counts that only grow.

A *process* is what counts: a pod, or a host where the series name no pod. Its counters begin at 0 with it,
and a series exists from its first request on. So

* a process that was there when the account began (at the first look, or scraped within the hour before)
  gives only a baseline at first sight; one that was not counts from 0, and so does a new series of a known
  process (the first 5xx);
* a value below the previous one means that the process began again: all its new values are the increment.
  When also one of several series behind a value has vanished, that may be the reason instead: a baseline;
* a process or series that vanishes keeps its last value until it returns;
* of several scrapes of one process (two jobs, two replicas of Prometheus) one is followed. Another takes
  over when it is gone: it goes on from there if it is the same target and nothing went down, else it gives
  a baseline.

Where this errs, it counts too little: what a process did after its last sample, what a restart hid whose
counters had already overtaken the old ones, and a look's worth at a change of scrape. It would count too
much only if a process served before the account began, was not scraped once in the hour before, and is
scraped later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from autocanary.model.measurement import Totals

__all__ = ["APART", "BAD", "GOOD", "WITHIN", "Key", "Look", "Scrape", "Tally"]

GOOD, BAD = "good", "bad"
APART = "apart"
"""Failures counted beside a histogram that does not tell them from successes."""
WITHIN = "within"
"""Requests up to a bound, which is the key's other half, in seconds."""

Key = tuple[str, "str | float"]
"""What a value counts: one of the above, and the code, metric or bound by which it is kept apart."""

_FORGET_AFTER = 3600.0
_CLOSEST = 1.0
"""Seconds between two scrapes of one server. What is closer came from two, whose clocks may differ."""
_ROUNDING = 1 - 1e-9
"""Sums of the same fractions, added up in another order, may differ by so little."""
_MOST_ELDERS = 5000


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one scrape read of one process.

    ``path`` tells scrapes of the same process apart and ``instance`` is the address that was scraped;
    ``at`` is the sample's time, and ``series`` how many series the values were added up from.
    """

    process: str
    path: tuple[str, ...]
    instance: str
    at: float
    series: float
    values: Mapping[Key, float]


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that Prometheus had of one revision at an instant; empty when that was nothing.

    ``elders`` are the processes scraped in the hour before, which are asked for when the account begins.
    None then means that nobody could tell, so that no process is believed to be new.
    """

    at: float
    scrapes: Sequence[Scrape] = ()
    elders: frozenset[str] | None = None


@dataclass(slots=True)
class _Process:
    path: tuple[str, ...]
    instance: str
    at: float
    series: float
    seen: float
    values: dict[Key, float] = field(default_factory=dict)


class Tally:
    """One revision's counts since its first look.

    ``looked`` is the time of the latest look and ``newest`` that of the newest sample; ``bounds`` are those
    that every process has, None before any had one.
    """

    def __init__(self, first: Look) -> None:
        self.looked = first.at
        self.newest: float | None = None
        self.bounds: frozenset[float] | None = None
        self._trusting = first.elders is not None
        self._elders = dict.fromkeys(first.elders or ())
        self._processes: dict[str, _Process] = {}
        self._grown: dict[Key, float] = {}
        self._within: dict[float, float] = {}  # succeeded up to the bound
        self._follow(first, begun=False)

    def see(self, look: Look) -> None:
        """Go on; a look that is not newer than the previous one is passed over."""
        if look.at > self.looked:
            self.looked = look.at
            self._follow(look, begun=True)

    def totals(self, bounds: Iterable[float]) -> Totals:
        requests = errors = 0.0
        for (kind, _), grown in self._grown.items():
            if kind in (GOOD, BAD):
                requests += grown
            if kind in (BAD, APART):
                errors += grown
        within = tuple(self._within.get(bound, 0.0) for bound in bounds)
        return Totals(requests, min(errors, requests), within)

    def _follow(self, look: Look, *, begun: bool) -> None:
        by_process: dict[str, list[Scrape]] = {}
        for scrape in look.scrapes:
            by_process.setdefault(scrape.process, []).append(scrape)
        for name, scrapes in by_process.items():
            process = self._processes.get(name)
            scrape = _followed(process, scrapes)
            self.newest = scrape.at if self.newest is None else max(self.newest, scrape.at)
            if process is None:
                born = begun and self._trusting and name not in self._elders
                process = _Process(scrape.path, scrape.instance, scrape.at, scrape.series, look.at)
                self._processes[name] = process
                self._take(process, scrape, counted=born)
            else:
                process.seen = look.at
                self._go_on(process, scrape)
        self._retire()
        apart = sum(grown for key, grown in self._grown.items() if key[0] == APART)
        for bound in self.bounds or ():
            up_to = self._grown.get((WITHIN, bound), 0.0) - apart
            # A failure that took longer than the bound is subtracted too, until successes make up for it.
            self._within[bound] = max(self._within.get(bound, 0.0), up_to)

    def _go_on(self, process: _Process, scrape: Scrape) -> None:
        if scrape.at <= process.at:
            return
        before = process.values
        fell = any(value < before.get(key, 0.0) * _ROUNDING for key, value in scrape.values.items())
        if fell and scrape.at - process.at < _CLOSEST:
            return  # from a server whose clock is ahead, and in truth the older one; the next will tell
        if scrape.path != process.path and (fell or scrape.instance != process.instance):
            before.clear()
            self._take(process, scrape, counted=False)
        elif not fell:
            self._take(process, scrape, counted=True)
        elif scrape.series < process.series and _codes(scrape.values) == _codes(before):
            self._take(process, scrape, counted=False)
        else:
            before.clear()
            self._take(process, scrape, counted=True)

    def _take(self, process: _Process, scrape: Scrape, *, counted: bool) -> None:
        """The scrape's values become the process's; what they grew by is counted, or they are a baseline."""
        before = process.values
        if counted:
            for key, value in scrape.values.items():
                if (grown := value - before.get(key, 0.0)) > 0:
                    self._grown[key] = self._grown.get(key, 0.0) + grown
        before.update(scrape.values)
        process.path, process.instance = scrape.path, scrape.instance
        process.at, process.series = scrape.at, scrape.series
        own = frozenset(float(key[1]) for key in scrape.values if key[0] == WITHIN)
        if own:  # a process that has only failed so far has none
            self.bounds = own if self.bounds is None else self.bounds & own

    def _retire(self) -> None:
        """Of a process long gone only the name is kept, so that it would not count from 0 if it came back."""
        gone = [name for name, each in self._processes.items() if self.looked - each.seen > _FORGET_AFTER]
        for name in gone:
            del self._processes[name]
            self._elders[name] = None
        if len(self._elders) > _MOST_ELDERS:
            self._elders.clear()
            self._trusting = False


def _followed(process: _Process | None, scrapes: Sequence[Scrape]) -> Scrape:
    """The scrape that is counted: the same as before while it is there, else the newest."""
    if process is not None:
        for scrape in scrapes:
            if scrape.path == process.path:
                return scrape
    return max(scrapes, key=lambda scrape: (scrape.at, scrape.path))


def _codes(values: Iterable[Key]) -> set[Key]:
    return {key for key in values if key[0] != WITHIN}
