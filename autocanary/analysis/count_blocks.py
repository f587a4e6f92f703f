"""What a look adds to a comparison: increments of both revisions, gathered into blocks within one step.

Which counts are dropped never depends on how the requests ended, only on when they were counted: counts
across a change of the split and one block after it, because requests of the old split are still ending.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import sub
from typing import Any

from autocanary.analysis.parameters import Terms, idle_weight
from autocanary.model.measurement import Counters, Totals

__all__ = ["Intake", "Taken", "Tally", "take"]

_NEARLY = 0.9  # looks are not quite regular: a block of 30 s may end after 28 s
_WHOLE = 1e-6


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests of both revisions and, for each lane, how many of them were bad.

    A lane is one way to be bad: failed, or slower than one bound. A comparison of errors has one lane.
    """

    candidate: int = 0
    stable: int = 0
    bad: tuple[tuple[int, int], ...] = ()

    def __add__(self, other: Tally) -> Tally:
        if not self.bad or not other.bad:
            bad = self.bad or other.bad
            return Tally(self.candidate + other.candidate, self.stable + other.stable, bad)
        bad = tuple([(c + dc, s + ds) for (c, s), (dc, ds) in zip(self.bad, other.bad, strict=True)])
        return Tally(self.candidate + other.candidate, self.stable + other.stable, bad)

    def lane(self, index: int) -> tuple[int, int, int, int]:
        """n_c, e_c, n_s, e_s of one lane."""
        e_c, e_s = self.bad[index] if self.bad else (0, 0)
        return self.candidate, e_c, self.stable, e_s

    def to_list(self) -> list[int]:
        return [self.candidate, self.stable, *(each for pair in self.bad for each in pair)]

    @classmethod
    def from_list(cls, raw: Sequence[int]) -> Tally:
        return cls(raw[0], raw[1], tuple(zip(raw[2::2], raw[3::2], strict=True)))


_NONE = Tally()


@dataclass(frozen=True, slots=True)
class Intake:
    """Where the counting stands.

    ``epoch`` (empty: the next counters are a baseline only), ``at`` and ``totals`` are the baseline of
    the next difference. Differences that begin before ``settled_at`` are dropped; it is None when the
    split has changed and no counters were seen since. ``started`` of ``steps`` steps have begun.
    ``block`` is the open block, ``span`` its length in seconds, ``looks`` how many looks are in it.
    """

    epoch: str = ""
    at: float = 0.0
    totals: Tally = _NONE
    step: int = -1
    weight: int = -1
    started: int = 0
    steps: int = 0
    settled_at: float | None = 0.0
    block: Tally = _NONE
    span: float = 0.0
    looks: int = 0

    @property
    def idle(self) -> float:
        """The stake of the steps that have not begun."""
        return idle_weight(self.started, self.steps)

    def to_list(self) -> list[Any]:
        return [
            self.epoch,
            self.at,
            self.totals.to_list(),
            self.step,
            self.weight,
            self.started,
            self.steps,
            self.settled_at,
            self.block.to_list(),
            self.span,
            self.looks,
        ]

    @classmethod
    def from_list(cls, raw: Sequence[Any]) -> Intake:
        values = list(raw)
        values[2], values[8] = Tally.from_list(values[2]), Tally.from_list(values[8])
        return cls(*values)


@dataclass(frozen=True, slots=True)
class Taken:
    """What one look brought, in the order in which it must be judged.

    ``before`` is the open block of the split that has just ended, which was ``before_weight``; ``begun``
    the stake of the steps that begin now; ``look`` the counts since the last look, ``block`` a full block.
    """

    before: Tally | None = None
    before_weight: int = 0
    begun: float = 0.0
    look: Tally | None = None
    block: Tally | None = None


_NO_CHANGE = Taken()


def take(
    intake: Intake,
    terms: Terms,
    counters: Counters | None,
    *,
    step: int,
    steps: int,
    weight: int,
    warming: bool = False,
    bounds: Sequence[float] = (),
) -> tuple[Intake, Taken]:
    """One look. ``bounds`` are the latency bounds that are compared; none means failed requests are."""
    intake, taken = _enter(intake, step, steps, weight)
    if counters is None or not _comparable(counters, bounds):
        return intake, taken
    totals = _totals(counters, bounds)
    if totals is None:
        return replace(intake, epoch=""), taken
    if counters.epoch != intake.epoch:
        if intake.settled_at is not None and intake.settled_at > intake.at:
            intake = replace(intake, settled_at=None)  # the next account may go by another clock
        return _rebased(intake, counters, totals, terms), taken
    if counters.at <= intake.at:
        return intake, taken
    grown = _difference(intake.totals, totals)
    if grown is None or warming or intake.settled_at is None or intake.at < intake.settled_at:
        return _rebased(intake, counters, totals, terms), taken
    block, span, looks = intake.block + grown, intake.span + counters.at - intake.at, intake.looks + 1
    full = looks >= terms.looks and span >= _NEARLY * terms.block
    taken = Taken(taken.before, taken.before_weight, taken.begun, grown, block if full else None)
    if full:
        block, span, looks = _NONE, 0.0, 0
    # Not replace(): this is done for every rollout and metric at every look.
    after = Intake(
        intake.epoch,
        counters.at,
        totals,
        step,
        weight,
        intake.started,
        intake.steps,
        intake.settled_at,
        block,
        span,
        looks,
    )
    return after, taken


def _enter(intake: Intake, step: int, steps: int, weight: int) -> tuple[Intake, Taken]:
    """The step and split of this look; a change ends the open block, whatever is in it."""
    if (step, weight) == (intake.step, intake.weight):
        return intake, _NO_CHANGE
    steps = intake.steps or max(steps, 1)
    started = max(intake.started, step + 1)
    begun = idle_weight(intake.started, steps) - idle_weight(started, steps)
    before = intake.weight
    intake = replace(intake, step=step, weight=weight, steps=steps, started=started)
    if intake.at == 0.0:
        return intake, Taken(begun=begun)
    taken = Taken(intake.block if intake.looks else None, before, begun)
    return replace(intake, block=_NONE, span=0.0, looks=0, settled_at=None), taken


def _rebased(intake: Intake, counters: Counters, totals: Tally, terms: Terms) -> Intake:
    settled_at = counters.at + terms.block if intake.settled_at is None else intake.settled_at
    return replace(intake, epoch=counters.epoch, at=counters.at, totals=totals, settled_at=settled_at)


def _comparable(counters: Counters, bounds: Sequence[float]) -> bool:
    """Whether these are counts, of what is compared; other answers are as good as none."""
    if not counters.exact or not bounds:
        return counters.exact
    whole = len(counters.candidate.within) == len(counters.stable.within) == len(counters.bounds)
    return whole and all(map(counters.bounds.__contains__, bounds))


def _totals(counters: Counters, bounds: Sequence[float]) -> Tally | None:
    """None when something is not a whole number: whatever that is, it was not counted."""
    places = [counters.bounds.index(each) for each in bounds]
    ours, theirs = _side(counters.candidate, places), _side(counters.stable, places)
    try:
        candidate, stable = list(map(round, ours)), list(map(round, theirs))
    except (OverflowError, ValueError):  # infinite, not a number
        return None
    for whole, numbers in ((candidate, ours), (stable, theirs)):
        if whole != numbers and max(map(abs, map(sub, whole, numbers))) > _WHOLE:
            return None
    return Tally(candidate[0], stable[0], tuple(zip(candidate[1:], stable[1:], strict=True)))


def _side(totals: Totals, places: Sequence[int]) -> list[float]:
    """All requests, and the bad ones of each lane."""
    requests, within = totals.requests, totals.within
    if not places:
        return [requests, totals.errors]
    return [requests, *[requests - within[place] for place in places]]


def _difference(old: Tally, new: Tally) -> Tally | None:
    """None where it cannot be what happened since: the account has shrunk, or counts more bad than all."""
    if len(old.bad) != len(new.bad):
        return None
    n_c, n_s = new.candidate - old.candidate, new.stable - old.stable
    bad = tuple([(c - oc, s - os) for (c, s), (oc, os) in zip(new.bad, old.bad, strict=True)])
    if n_c < 0 or n_s < 0:
        return None
    for c, s in bad:
        if not (0 <= c <= n_c and 0 <= s <= n_s):
            return None
    return Tally(n_c, n_s, bad)
