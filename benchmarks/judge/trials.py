"""Many runs of one row at one load, judged by every rule at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autocanary.analysis.e_values import wilson_interval
from autocanary.analysis.parameters import parameters_of
from autocanary.model.policy import ComparisonPolicy, ComparisonPreset
from benchmarks.judge.crowd import BatchComparison, log_ratios_of
from benchmarks.judge.peers import (
    Argo,
    ArgoFourFailures,
    Flagger,
    Kayenta,
    Mixture,
    OBrienFleming,
    PlainBets,
    Pooled,
    Rule,
)
from benchmarks.judge.traffic import ROWS, TICK, Integers, Scrape, TrafficCase, scraped_ticks

__all__ = ["OUR_RULES", "RULES", "Result", "run"]

OUR_RULES = tuple(preset.value for preset in ComparisonPreset)
PEERS: Mapping[str, Callable[[int], Rule]] = {
    "Flagger": Flagger,
    "Argo": Argo,
    "Argo, 4 failures": ArgoFourFailures,
    "z each tick": Pooled,
    "Kayenta-like": Kayenta,
    "mSPRT": Mixture,
    "O'Brien-Fleming": OBrienFleming,
    "bets alone": PlainBets,
}
RULES = (*OUR_RULES, *PEERS)

_NEVER = 10**9
_CHUNK = 1000  # arrays that fit into a processor's cache


@dataclass(frozen=True)
class Result:
    """What one rule did: ``ended`` of ``runs`` were rolled back; times in seconds, None for "most never".

    Of a row with an onset ``early`` were rolled back before it, which are in ``ended`` and not in the other figures:
    those begin with the onset. ``failed`` is the median number of requests that the candidate had failed by then.
    ``passed`` is how many runs were shown to be not worse, and ``passed_after`` the median time of that.
    """

    row: str
    load: float
    rule: str
    runs: int
    ended: int
    median: float | None
    ninety: float | None
    failed: float | None
    passed: int = 0
    passed_after: float | None = None
    early: int = 0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the chance of a rollback."""
        return wilson_interval(self.ended, self.runs)

    def to_dict(self) -> dict[str, Any]:
        low, high = self.interval
        return {**vars(self), "share": self.ended / self.runs, "low": low, "high": high}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Result:
        return cls(**{each.name: raw[each.name] for each in fields(cls) if each.name in raw})


def run(name: str, load: float, runs: int, seed: int) -> list[Result]:
    """All rules on the same ``runs`` runs. The same seed gives the same counts, whatever else is run."""
    row = ROWS[name]
    chunks = []
    for chunk, first in enumerate(range(0, runs, _CHUNK)):
        rng = np.random.default_rng([seed, list(ROWS).index(name), row.loads.index(load), chunk])
        chunks.append(_run_chunk(row, load, min(_CHUNK, runs - first), rng))
    return [
        _result(row, load, rule, runs, *(np.concatenate([chunk[rule][i] for chunk in chunks]) for i in range(3)))
        for rule in RULES
    ]


def _run_chunk(
    row: TrafficCase, load: float, runs: int, rng: np.random.Generator
) -> dict[str, tuple[Integers, Integers, NDArray[np.float64]]]:
    """For each rule: the ticks at which runs were ended and shown to be fine, and what had failed by then."""
    parameters = {preset.value: parameters_of(ComparisonPolicy(preset=preset)) for preset in ComparisonPreset}
    # One crowd serves the presets that differ in alpha alone.
    of = {rule: ComparisonPreset.DEFAULT.value if rule == ComparisonPreset.STRICT.value else rule for rule in OUR_RULES}
    steps = len(row.steps) if not row.harmful or row.bake else 3
    batches = {rule: BatchComparison(parameters[rule], runs, steps) for rule in set(of.values())}
    peers: dict[str, Rule] = {peer: rule(runs) for peer, rule in PEERS.items()}
    ended = {rule: np.full(runs, _NEVER) for rule in RULES}
    passed = {rule: np.full(runs, _NEVER) for rule in RULES}
    failed = {rule: np.zeros(runs) for rule in RULES}
    so_far = np.zeros(runs)
    for tick, (step, weight, counts, scrape) in enumerate(scraped_ticks(row, load, runs, rng), start=1):
        if tick > row.onset:
            so_far += counts.e_c
        log_ratios = None
        if scrape is Scrape.BOTH:
            log_ratios = log_ratios_of(counts, parameters[ComparisonPreset.DEFAULT.value].fail_margin)
        for batch in batches.values():
            batch.update(step, weight, counts, log_ratios, scrape)
        flags = {rule: batches[of[rule]].reached(parameters[rule].bound) for rule in OUR_RULES}
        flags |= {peer: rule.update(step, counts) for peer, rule in peers.items()}
        for rule, flag in flags.items():
            now = flag & (ended[rule] == _NEVER)
            ended[rule][now] = tick
            failed[rule][now] = so_far[now]
        for rule in OUR_RULES if row.name.startswith("A") else ():
            unknown = np.flatnonzero(passed[rule] == _NEVER)
            if unknown.size:
                fine = batches[of[rule]].passed(unknown)
                passed[rule][unknown[fine]] = tick
        if row.harmful and all((each < _NEVER).all() for each in ended.values()):
            break
    return {rule: (ended[rule], passed[rule], failed[rule]) for rule in RULES}


def _result(
    row: TrafficCase,
    load: float,
    rule: str,
    runs: int,
    ended: Integers,
    passed: Integers,
    failed: NDArray[np.float64],
) -> Result:
    early = ended <= row.onset
    ended, failed = ended[~early] - row.onset, failed[~early]
    done = ended < _NEVER - row.onset
    enough = 2 * int(done.sum()) > len(ended) > 0
    return Result(
        row=row.name,
        load=load,
        rule=rule,
        runs=runs,
        ended=int(done.sum() + early.sum()),
        median=_at(ended, 0.5),
        ninety=_at(ended, 0.9),
        failed=float(np.median(failed[done])) if enough else None,
        passed=int((passed < _NEVER).sum()),
        passed_after=_at(passed, 0.5),
        early=int(early.sum()),
    )


def _at(times: Integers, part: float) -> float | None:
    """The time by which this part of all runs had ended, in seconds; None if it never had."""
    if not len(times):
        return None
    tick = int(np.sort(times)[min(int(part * len(times)), len(times) - 1)])
    return None if tick > _NEVER // 2 else tick * TICK
