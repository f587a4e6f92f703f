"""What an evaluation adds to a comparison: increments of both revisions, gathered into blocks within one step.

Which counts are dropped never depends on how the requests ended, only on when they were counted: counts
across a change of the split and one block after it, because requests of the old split are still ending.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import sub
from typing import Any

from autocanary.analysis.packed_floats import pack_counts, unpack_counts
from autocanary.analysis.parameters import ComparisonParameters
from autocanary.analysis.start_weights import weight_of_steps_to_come
from autocanary.model.frozen_copy import replace
from autocanary.model.measurement import RequestCounters, RequestTotals
from autocanary.model.policy import FULL_WEIGHT

__all__ = ["BlockCounter", "BlockUpdate", "Counts", "add_sample", "is_silent"]

_BLOCK_TOLERANCE = 0.9  # evaluations are not quite regular: a block of 30 s may end after 28 s
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of both revisions and, for each outcome, how many of them were bad.

    An outcome is one way to be bad: failed, or slower than one bound. A comparison of errors has one.
    """

    candidate: int = 0
    stable: int = 0
    bad: tuple[tuple[int, int], ...] = ()

    def __add__(self, other: Counts) -> Counts:
        if not self.bad or not other.bad:
            bad = self.bad or other.bad
            return Counts(self.candidate + other.candidate, self.stable + other.stable, bad)
        bad = tuple([(c + dc, s + ds) for (c, s), (dc, ds) in zip(self.bad, other.bad, strict=True)])
        return Counts(self.candidate + other.candidate, self.stable + other.stable, bad)

    def outcome(self, index: int) -> tuple[int, int, int, int]:
        """n_c, e_c, n_s, e_s of one outcome."""
        e_c, e_s = self.bad[index] if self.bad else (0, 0)
        return self.candidate, e_c, self.stable, e_s

    def pack(self) -> str:
        return pack_counts([self.candidate, self.stable, *(each for pair in self.bad for each in pair)])

    @classmethod
    def unpack(cls, raw: str | Sequence[int]) -> Counts:
        """The version before has a list of the numbers."""
        numbers = unpack_counts(raw) if isinstance(raw, str) else raw
        return cls(numbers[0], numbers[1], tuple(zip(numbers[2::2], numbers[3::2], strict=True)))


_NO_COUNTS = Counts()


@dataclass(frozen=True, slots=True)
class BlockCounter:
    """Where the counting stands.

    ``account_id`` (empty: the next counters are a baseline only), ``at`` and ``totals`` are the baseline of
    the next difference. Differences that begin before ``count_from`` are dropped; it is None when the
    split has changed and no counters were seen since. ``started`` of ``steps`` steps have begun.
    ``block`` is the open block, ``span`` its length in seconds, ``samples`` how many evaluations are in it.
    ``silent`` says that a side has had no current sample since ``at``.
    """

    account_id: str = ""
    at: float = 0.0
    totals: Counts = _NO_COUNTS
    step: int = -1
    weight: int = -1
    started: int = 0
    steps: int = 0
    count_from: float | None = 0.0
    block: Counts = _NO_COUNTS
    span: float = 0.0
    samples: int = 0
    silent: bool = False

    def to_list(self) -> list[Any]:
        return [
            self.account_id,
            self.at,
            self.totals.pack(),
            self.step,
            self.weight,
            self.started,
            self.steps,
            self.count_from,
            self.block.pack(),
            self.span,
            self.samples,
            self.silent,
        ]

    @classmethod
    def from_list(cls, raw: Sequence[Any]) -> BlockCounter:
        values = list(raw)
        values[2], values[8] = Counts.unpack(values[2]), Counts.unpack(values[8])
        return cls(*values)


@dataclass(frozen=True, slots=True)
class BlockUpdate:
    """What one evaluation brought, in the order in which it counts.

    ``before`` is the open block of the split that has just ended, which was ``before_weight``;
    ``added_weight`` the weight of the steps that begin now; ``sample`` the counts since the last evaluation,
    ``block`` a full block. ``after_silence``: a side had no current sample for a part of ``sample``.
    ``before_seconds``, ``block_seconds`` and ``sample_seconds`` are how long these were.
    """

    before: Counts | None = None
    before_weight: int = 0
    added_weight: float = 0.0
    sample: Counts | None = None
    block: Counts | None = None
    after_silence: bool = False
    before_seconds: float = 0.0
    block_seconds: float = 0.0
    sample_seconds: float = 0.0


_NO_CHANGE = BlockUpdate()


def add_sample(
    block_counter: BlockCounter,
    parameters: ComparisonParameters,
    counters: RequestCounters | None,
    *,
    step: int,
    steps: int,
    weight: int,
    warming: bool = False,
    bounds: Sequence[float] = (),
    drop_silence: bool = False,
    dropped_seconds: float = 0.0,
) -> tuple[BlockCounter, BlockUpdate]:
    """One evaluation. ``bounds`` are the latency bounds that are compared; none means failed requests are.

    A side without a current sample gives no counts. What it counted meanwhile comes with its next sample;
    ``drop_silence`` drops that: pods that were never scraped may have served a part of it. After a change of
    split ``dropped_seconds`` seconds are dropped, or a block where that is longer.
    """
    block_counter, block_update = _enter_step(block_counter, step, steps, weight)
    if counters is None or not _is_comparable(counters, bounds):
        return block_counter, block_update
    if is_silent(counters, weight):
        return replace(block_counter, silent=True) if not block_counter.silent else block_counter, block_update
    totals = _totals(counters, bounds)
    if totals is None:
        return replace(block_counter, account_id=""), block_update
    if counters.account_id != block_counter.account_id:
        if block_counter.count_from is not None and block_counter.count_from > block_counter.at:
            block_counter = replace(block_counter, count_from=None)  # the next account may go by another clock
        return _with_baseline(block_counter, counters, totals, max(parameters.block, dropped_seconds)), block_update
    if counters.at <= block_counter.at:
        return block_counter, block_update
    increment = _difference(block_counter.totals, totals)
    after_silence = block_counter.silent
    if after_silence and drop_silence:
        increment = None
    if increment is None or warming or block_counter.count_from is None or block_counter.at < block_counter.count_from:
        return _with_baseline(block_counter, counters, totals, max(parameters.block, dropped_seconds)), block_update
    block, span, samples = (
        block_counter.block + increment,
        block_counter.span + counters.at - block_counter.at,
        block_counter.samples + 1,
    )
    full = samples >= parameters.samples and span >= _BLOCK_TOLERANCE * parameters.block
    block_update = BlockUpdate(
        block_update.before,
        block_update.before_weight,
        block_update.added_weight,
        increment,
        block if full else None,
        after_silence,
        block_update.before_seconds,
        span,
        counters.at - block_counter.at,
    )
    if full:
        block, span, samples = _NO_COUNTS, 0.0, 0
    # Not replace(): this is done for every rollout and metric at every evaluation.
    after = BlockCounter(
        block_counter.account_id,
        counters.at,
        totals,
        step,
        weight,
        block_counter.started,
        block_counter.steps,
        block_counter.count_from,
        block,
        span,
        samples,
    )
    return after, block_update


def _enter_step(block_counter: BlockCounter, step: int, steps: int, weight: int) -> tuple[BlockCounter, BlockUpdate]:
    """The step and split of this evaluation; a change ends the open block, whatever is in it."""
    if (step, weight) == (block_counter.step, block_counter.weight):
        return block_counter, _NO_CHANGE
    steps = block_counter.steps or max(steps, 1)
    started = max(block_counter.started, step + 1)
    added_weight = weight_of_steps_to_come(block_counter.started, steps) - weight_of_steps_to_come(started, steps)
    before = block_counter.weight
    block_counter = replace(block_counter, step=step, weight=weight, steps=steps, started=started)
    if block_counter.at == 0.0:
        return block_counter, BlockUpdate(added_weight=added_weight)
    open_block = block_counter.block if block_counter.samples else None
    block_update = BlockUpdate(open_block, before, added_weight, before_seconds=block_counter.span)
    return replace(block_counter, block=_NO_COUNTS, span=0.0, samples=0, count_from=None), block_update


def _with_baseline(
    block_counter: BlockCounter, counters: RequestCounters, totals: Counts, dropped_seconds: float
) -> BlockCounter:
    count_from = counters.at + dropped_seconds if block_counter.count_from is None else block_counter.count_from
    return replace(
        block_counter,
        account_id=counters.account_id,
        at=counters.at,
        totals=totals,
        count_from=count_from,
        silent=False,
    )


def is_silent(counters: RequestCounters, weight: int) -> bool:
    """Whether a side that should have traffic has no current sample; at 100 % stable needs none."""
    return not counters.candidate_current or (weight < FULL_WEIGHT and not counters.stable_current)


def _is_comparable(counters: RequestCounters, bounds: Sequence[float]) -> bool:
    """Whether these are counts, of what is compared; other answers are as good as none."""
    if not counters.exact or not bounds:
        return counters.exact
    whole = len(counters.candidate.bucket_counts) == len(counters.stable.bucket_counts) == len(counters.bounds)
    return whole and all(map(counters.bounds.__contains__, bounds))


def _totals(counters: RequestCounters, bounds: Sequence[float]) -> Counts | None:
    """None when something is not a whole number: whatever that is, it was not counted."""
    bound_indexes = [counters.bounds.index(each) for each in bounds]
    ours, theirs = _bad_counts(counters.candidate, bound_indexes), _bad_counts(counters.stable, bound_indexes)
    try:
        candidate, stable = list(map(round, ours)), list(map(round, theirs))
    except (OverflowError, ValueError):  # infinite, not a number
        return None
    for whole, numbers in ((candidate, ours), (stable, theirs)):
        if whole != numbers and max(map(abs, map(sub, whole, numbers))) > _ROUNDING:
            return None
    return Counts(candidate[0], stable[0], tuple(zip(candidate[1:], stable[1:], strict=True)))


def _bad_counts(totals: RequestTotals, bound_indexes: Sequence[int]) -> list[float]:
    """All requests, and the bad ones of each outcome."""
    requests, bucket_counts = totals.requests, totals.bucket_counts
    if not bound_indexes:
        return [requests, totals.errors]
    return [requests, *[requests - bucket_counts[place] for place in bound_indexes]]


def _difference(old: Counts, new: Counts) -> Counts | None:
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
    return Counts(n_c, n_s, bad)
