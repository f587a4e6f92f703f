"""Whole rollouts through the planner, with scrapes at their own phases: what a policy's comparisons do to a release.

``python -m benchmarks.judge.rollouts --record FILE`` runs every situation, one rollout after the other, and writes a
line per rollout to FILE. Started again with the same FILE it goes on where it was ended. ``--report`` only reads FILE.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from autocanary.app.simulated_rollout import _Run, make_simulatable
from autocanary.model.decision import Event
from autocanary.model.policy import Policy
from autocanary.policy_files import parse
from autocanary.simulator.releases import FIRST_STEP_AFTER
from benchmarks.judge.situations import Outage, Release, ScrapeSchedule, lose_scrapes, with_scrapes

__all__ = ["SITUATIONS", "Situation", "clopper_pearson", "main", "run_one"]

_SEED = 20261130
_HORIZON = 8 * 3600.0
_SAID_EVERY = 20.0
_SILENT_AFTER = 90.0
_HEAD = "apiVersion: autocanary.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {name: benchmark}\nspec:\n  selector: {}\n"
_ERRORS = "  analysis: {metrics: [{name: error-rate, compare: {to: stable}}]}\n"


def _policy(text: str) -> Policy:
    return make_simulatable(parse(_HEAD + text)[0])[0]


POLICIES: Mapping[str, Policy] = {
    "default": _policy("  stepWeights: [10, 25, 50, 100]\n"),
    "errors": _policy("  stepWeights: [10, 25, 50, 100]\n" + _ERRORS),
    "three": _policy("  stepWeights: [10, 50, 100]\n" + _ERRORS),
    "long step": _policy("  stepWeights: [10, 100]\n  stepDuration: 3h\n" + _ERRORS),
    "long bake": _policy("  stepWeights: [10, 50, 100]\n  bake: 3h\n" + _ERRORS),
    "young": _policy("  stepWeights: [10, 50, 100]\n  stepDuration: 15m\n" + _ERRORS),
}


@dataclass(frozen=True, slots=True)
class Situation:
    """``release`` makes the release of one run. ``onset`` is when harm begins, in seconds from the first step; in
    ``bake`` from the moment of all traffic on."""

    name: str
    title: str
    policy: str
    runs: int
    release: Callable[[Random], Release]
    onset: float = 0.0
    bake: bool = False
    horizon: float = _HORIZON


def _null(rng: Random) -> Release:
    rps = math.exp(rng.uniform(math.log(5.0), math.log(200.0)))
    error = rng.choice((0.0, 0.05, 0.2, 0.5, 1.0, 2.0))
    scrapes = ScrapeSchedule(rng.choice((15.0, 30.0, 60.0)), missed=rng.choice((0.0, 0.05, 0.2)))
    return Release("null", rps=rps, base_error=error, canary_error=error, scrapes=scrapes)


def _boundary(rng: Random) -> Release:
    plain = _null(rng)
    return _with(plain, canary_error=1.25 * plain.base_error + 0.05)


def _disturbed(rng: Random) -> Release:
    outages = tuple(
        Outage(rng.uniform(0.0, 2400.0), rng.choice((20.0, 60.0, 300.0)), rng.choice((30.0, 100.0))) for _ in range(2)
    )
    return _with(_null(rng), swing=rng.choice((0.0, 3.0)), load_swing=rng.choice((0.0, 0.8)), outages=outages)


def _with(release: Release, **changes: Any) -> Release:
    values = {name: getattr(release, name) for name in release.__dataclass_fields__}
    return Release(**{**values, **changes})


def _late(base: float, bad: float, **more: Any) -> Callable[[Random], Release]:
    return lambda _: Release("late", rps=200.0, base_error=base, canary_error=bad, **more)


def _healthy(rps: float) -> Callable[[Random], Release]:
    return lambda _: Release("healthy", rps=rps)


def _lost(side: str) -> Callable[[Random], Release]:
    def release(rng: Random) -> Release:
        # At any time of a rollout, for 2 to 20 minutes, at traffic that decides soon and late.
        healthy = Release("healthy", rps=rng.choice((20.0, 200.0)))
        return with_scrapes(healthy, lost=side, start=rng.uniform(30.0, 600.0), seconds=rng.uniform(120.0, 1200.0))

    return release


def _shared_outage(every: float) -> Callable[[Random], Release]:
    def release(rng: Random) -> Release:
        outage = Outage(rng.uniform(30.0, 300.0), rng.choice((20.0, 60.0, 180.0, 300.0)))
        healthy = Release("healthy", rps=rng.choice((20.0, 200.0)), outages=(outage,))
        return with_scrapes(healthy, every=every, missed=0.0)

    return release


def _dead_behind_dead(rng: Random) -> Release:
    return Release("dead", rps=rng.choice((2.0, 20.0, 200.0)), base_error=100.0, canary_error=100.0)


def _outage_while_promoting(rng: Random) -> Release:
    return Release("healthy", rps=rng.choice((20.0, 200.0)), outages=(Outage(rng.uniform(100.0, 400.0), 7200.0),))


def _turning_bad(weight: int, base: float, bad: float) -> Callable[[Random], Release]:
    return lambda _: Release("turning", rps=2.0, base_error=base, canary_error=bad, bad_from_weight=weight)


SITUATIONS = (
    Situation("null", "healthy: both the same", "default", 2000, _null),
    Situation("boundary", "exactly at the margin", "errors", 2000, _boundary),
    Situation("disturbed", "healthy, with shared outages, swinging rates and load", "default", 2000, _disturbed),
    *(
        Situation(
            f"healthy-{rps}-{policy}", f"healthy at {rps} rps, policy {policy}", policy, 100, _healthy(float(rps))
        )
        for policy in ("errors", "default", "three")
        for rps in (2, 20, 200)
    ),
    Situation("step-0", "0.5 % to 5 % from the first request", "long step", 200, _late(0.5, 5.0)),
    Situation("step-30", "0.5 % to 5 %, 30 min into a step", "long step", 200, _late(0.5, 5.0, onset=1800.0), 1800.0),
    Situation(
        "step-30-half", "0.5 % to 50 %, 30 min into a step", "long step", 200, _late(0.5, 50.0, onset=1800.0), 1800.0
    ),
    Situation(
        "step-30-twice", "1 % to 2 %, 30 min into a step", "long step", 200, _late(1.0, 2.0, onset=1800.0), 1800.0
    ),
    Situation("step-0-twice", "1 % to 2 % from the first request", "long step", 200, _late(1.0, 2.0)),
    Situation(
        "bake-30",
        "0.5 % to 5 %, 30 min into the bake",
        "long bake",
        200,
        _late(0.5, 5.0, bake_onset=1800.0),
        1800.0,
        True,
    ),
    Situation(
        "bake-30-half",
        "0.5 % to 50 %, 30 min into the bake",
        "long bake",
        200,
        _late(0.5, 50.0, bake_onset=1800.0),
        1800.0,
        True,
    ),
    Situation(
        "bake-30-twice",
        "1 % to 2 %, 30 min into the bake",
        "long bake",
        100,
        _late(1.0, 2.0, bake_onset=1800.0),
        1800.0,
        True,
    ),
    Situation("lost-stable", "stable is not scraped for 2 to 20 min", "errors", 200, _lost("stable")),
    Situation("lost-candidate", "the candidate is not scraped for 2 to 20 min", "errors", 200, _lost("candidate")),
    Situation("outage-15", "shared total outage in a young step, 15 s scrapes", "young", 1000, _shared_outage(15.0)),
    Situation("outage-60", "shared total outage in a young step, 60 s scrapes", "young", 1000, _shared_outage(60.0)),
    Situation("dead", "dead candidate behind a dead stable", "default", 100, _dead_behind_dead),
    Situation("outage-2h", "both fail everything for 2 h", "default", 100, _outage_while_promoting),
    Situation("second-step", "0.1 % to 1 % from 25 % on, 2 rps", "errors", 200, _turning_bad(25, 0.1, 1.0)),
    Situation("third-step", "0.1 % to 1 % from 50 % on, 2 rps", "errors", 200, _turning_bad(50, 0.1, 1.0)),
    Situation("second-step-5", "0.5 % to 5 % from 25 % on, 2 rps", "errors", 200, _turning_bad(25, 0.5, 5.0)),
    Situation("third-step-5", "0.5 % to 5 % from 50 % on, 2 rps", "errors", 200, _turning_bad(50, 0.5, 5.0)),
    Situation(
        "cold",
        "5 % for the first 5 min, 20 rps",
        "errors",
        200,
        lambda _: Release("cold", canary_error=5.0, transient=300.0),
    ),
)


class _StaggeredRun(_Run):
    """A run whose revisions are scraped as the release says."""

    def __init__(self, policy: Policy, release: Release, seed: int) -> None:
        super().__init__(policy, release, seed, keep_transitions=True)
        lose_scrapes(self._pair, release.scrapes)


def run_one(situation: Situation, run: int, seed: int = _SEED) -> dict[str, Any]:
    """One rollout. All times are in seconds from the first step."""
    own = Random(f"{seed}/{situation.name}/{run}").getrandbits(48)
    release = situation.release(Random(f"release/{own}"))
    result = _StaggeredRun(POLICIES[situation.policy], release, own).until(situation.horizon)
    steps = [
        (round(each.at - FIRST_STEP_AFTER, 1), each.weight)
        for each in result.transitions
        if each.event == Event.STEP.value
    ]
    onset = situation.onset
    if situation.bake:
        onset += next((at for at, weight in steps if weight == 100), math.inf)
    scrapes = release.scrapes
    in_gap = [
        at for at, _ in steps if scrapes.lost and scrapes.start + _SILENT_AFTER < at < scrapes.start + scrapes.seconds
    ]
    return {
        "situation": situation.name,
        "run": run,
        "seed": own,
        "outcome": result.outcome.value,
        "seconds": round(result.seconds, 1),
        "failed": result.failed,
        "after_onset": None if math.isinf(onset) else round(result.seconds - onset, 1),
        "steps": steps,
        "steps_in_gap": len(in_gap),
        "reason": result.transitions[-1].reason if result.transitions else "",
        "events": [
            (round(each.at - FIRST_STEP_AFTER, 1), each.event, each.reason, each.weight) for each in result.transitions
        ],
    }


def clopper_pearson(hits: int, runs: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval for a chance (Clopper & Pearson, Biometrika 1934), by halving."""
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if hits == 0 else _halve(lambda p: 1.0 - _at_most(hits - 1, runs, p) < tail)
    high = 1.0 if hits == runs else _halve(lambda p: _at_most(hits, runs, p) > tail)
    return low, high


def _at_most(hits: int, runs: int, p: float) -> float:
    """The chance of at most ``hits`` of ``runs``."""
    if p <= 0.0 or p >= 1.0:
        return float(p <= 0.0 or hits >= runs)
    logs = [
        math.lgamma(runs + 1)
        - math.lgamma(k + 1)
        - math.lgamma(runs - k + 1)
        + k * math.log(p)
        + (runs - k) * math.log1p(-p)
        for k in range(hits + 1)
    ]
    return min(math.fsum(map(math.exp, logs)), 1.0)


def _halve(is_below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return low


def report(records: Iterable[Mapping[str, Any]]) -> str:
    """A Markdown table, one line per situation; a rollout that was recorded twice, by two processes, counts once."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for each in {(each["situation"], each["seed"]): each for each in records}.values():
        found.setdefault(each["situation"], []).append(each)
    lines = [
        "| Situation | Rollouts | Rolled back (95 % interval) | Before the onset | After the onset, median, 90 % | "
        "Promoted | Until all traffic, median | Held | Steps in the gap |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        "| " + " | ".join([each.title, *_cells(found[each.name])]) + " |" for each in SITUATIONS if each.name in found
    ]
    return "\n".join(lines)


def _cells(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    outcomes = Counter(each["outcome"] for each in runs)
    back = [each for each in runs if each["outcome"] == "rolled_back"]
    low, high = clopper_pearson(len(back), len(runs))
    early = sum(each["after_onset"] is None or each["after_onset"] <= 0.0 for each in back)
    after = sorted(
        each["after_onset"] if each["outcome"] == "rolled_back" and each["after_onset"] is not None else math.inf
        for each in runs
    )
    full = [next((at for at, weight in each["steps"] if weight == 100), math.inf) for each in runs]
    return [
        f"{len(runs):,}",
        f"{len(back):,}: {100 * len(back) / len(runs):.2f} % ({100 * low:.2f} to {100 * high:.2f} %)",
        f"{early:,}",
        f"{_minutes(median(after))}, {_minutes(after[min(int(0.9 * len(after)), len(after) - 1)])}",
        f"{outcomes['promoted']:,}",
        _minutes(median(full)),
        f"{outcomes['undecided']:,}",
        f"{sum(each['steps_in_gap'] for each in runs):,}",
    ]


def _minutes(seconds: float) -> str:
    return "–" if math.isinf(seconds) else f"{seconds / 60:.1f} min"


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """What was recorded; a line that was cut off by an end of the process is left out."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge.rollouts", description=__doc__)
    parser.add_argument(
        "--record", type=Path, required=True, metavar="FILE", help="a line per rollout; goes on with it"
    )
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="situations; all if left out")
    parser.add_argument("--runs", type=int, help="rollouts of each; at most its own number")
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--report", action="store_true", help="run nothing")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.only) - {each.name for each in SITUATIONS}
    if unknown:
        parser.error(f"--only: no such situation: {', '.join(sorted(unknown))}")
    if not chosen.report:
        wanted = [each for each in SITUATIONS if not chosen.only or each.name in chosen.only]
        _run_all(wanted, chosen.record, chosen.runs, chosen.seed)
    print(report(_read(chosen.record)))
    return 0


def _run_all(wanted: Sequence[Situation], path: Path, runs: int | None, seed: int) -> None:
    done = {(each["situation"], each["run"]) for each in _read(path)}
    todo = [
        (situation, run)
        for situation in wanted
        for run in range(min(runs or situation.runs, situation.runs))
        if (situation.name, run) not in done
    ]
    said = began = time.monotonic()
    with path.open("a", encoding="utf-8") as file:
        for number, (situation, run) in enumerate(todo):
            print(json.dumps(run_one(situation, run, seed)), file=file, flush=True)
            if (now := time.monotonic()) - said >= _SAID_EVERY:
                said, left = now, (now - began) / (number + 1) * (len(todo) - number - 1)
                text = f"{situation.name}: {number + 1:,} of {len(todo):,} rollouts, about {left / 60:.0f} min left"
                print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
