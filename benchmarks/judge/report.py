"""The results as a page and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from autocanary.analysis.e_values import wilson_interval
from benchmarks.judge.traffic import DISTURBED, HARMFUL, HEALTHY, LATE, LOADS, ROWS, TrafficCase
from benchmarks.judge.trials import OUR_RULES, PEERS, RULES, Result

__all__ = ["FasterPeer", "as_json", "false_share", "faster_peers", "format_duration", "page", "percent", "rate"]

_AIM = 1.3
"""How many times faster a peer at equal or fewer false rollbacks may be."""

_HEAD = """\
# Benchmark of the analysis

<!-- Made by `{command}`; do not edit. -->

Made by `{command}` with seed {seed}: {runs:,} runs of each healthy row and load, {harmful:,} of each
harmful one. The same seed gives the same figures. [judge-benchmark.json](judge-benchmark.json) holds all
of them with their intervals. What the rules are and why: [how it decides](how-it-decides.md).

Evaluations every 10 s, four hours. Requests are Poisson, failures binomial. Healthy rows spend 80 minutes each
at a weight of 10, 25 and 50 %; harmful ones stay at 10 %. `fast`, `default`, `robust` and `strict` are
the presets of `compare:`. The others are what those tools do when configured to roll back above 1 %
errors, and textbook tests:

| Rule | Here |
|---|---|
| Flagger | Each minute: error rate over 1 %, or no request. Rolls back one check after the 5th. |
| Argo | Each minute: error rate over 1 %. The first one aborts. |
| Argo, 4 failures | The same; the fourth one aborts (`failureLimit: 3`). |
| z each tick | Pooled two-proportion z-test at 1 %, one-sided, on the step's counts, at every tick. |
| Kayenta-like | Every 10 min: Mann-Whitney at 1 %, one-sided, on the error rates of the step's minutes. |
| mSPRT | At every tick: mixture sequential ratio test at 5 % (Johari et al. 2022), normal, one point; all counts. |
| O'Brien-Fleming | 48 evaluations, one each 5 min: group-sequential z-test at 5 %, one-sided; all counts. |
| bets alone | At every tick: the bets of `default` at 5 %, without blocks, cap, new bets and fast path. |

## False rollbacks

The share of healthy rollouts that are rolled back within four hours, at the load where that is worst.
The promise is at most 5 % (`strict`: 1 %) for A1 to A5 and A8. In A6 and A7 something strikes one
revision and not the other; there the promise does not hold, and how badly it fails is what blocks and
caps are for.

![How often healthy rollouts are rolled back](images/judge-false-rollbacks.svg)
"""
_HARMFUL = """
## Bad releases

The median time to the rollback and the median number of requests that the canary had failed by then. A
dash: fewer than half were rolled back within four hours. A rule that also rolls back healthy releases is
quick for free.

![How long bad releases live](images/judge-detection.svg)
"""
_LATE = """
## Harm that begins late

At 10 % of the traffic, or in the bake after ten minutes each at 10 and 50 %. The time is from the onset. In
brackets: the share of rollouts that were rolled back before it, for nothing. In the bake stable has no requests;
`mSPRT` and `O'Brien-Fleming` go on with its past.

![How long harm lives that begins late](images/judge-late.svg)
"""
_DISTURBED = """
## Healthy releases in a disturbed world

The share of healthy rollouts that are rolled back. D8 is no mistake: that candidate is worse while it is cold.
"""
_BEST = """
## Is another rule better anywhere?

A row is listed if another rule finds its harm more than 1.3 times faster than `default`, and does not roll back
more healthy releases at that load: its share in its worst row of A1 to A7, D1 to D5 and D7 (D6 for rare
traffic), or before the onset, is within the 95 % interval of that of `default`.
"""
_GOOD = """
## Good releases

The median time until the first step may end: the canary was shown to be not worse than the margin allows
with evidence of 3 to 1. A dash: fewer than half were, within four hours.
"""


def page(results: Sequence[Result], *, command: str, seed: int) -> str:
    """The page of what was run: rows and rules that are not in the results are not in it."""
    runs = max(each.runs for each in results if each.row.startswith("A"))
    harmful = max(each.runs for each in results if each.row.startswith("B"))
    titles = {row.name: f"{row.name}: {row.title}" for row in ROWS.values()}
    run = {(each.row, each.load) for each in results}
    rules = [rule for rule in RULES if any(each.rule == rule for each in results)]
    ours = [rule for rule in OUR_RULES if rule in rules]
    late = [(row, load) for row in LATE for load in row.loads if (row.name, load) in run]
    disturbed = [(row, load) for row in DISTURBED for load in row.loads if (row.name, load) in run]
    head = _HEAD.format(command=command, seed=seed, runs=runs, harmful=harmful)
    absent = tuple(f"| {rule} |" for rule in RULES if rule not in rules)
    parts = ["\n".join(line for line in head.splitlines() if not absent or not line.startswith(absent)) + "\n"]
    parts.append(_table(("", *rules), ((titles[row.name], *_worst(results, row.name, rules)) for row in HEALTHY)))
    parts.append("\n### At each load\n")
    parts.append(
        _table(
            ("", "Load", *rules),
            ((row.name, rate(load), *_shares(results, row.name, load, rules)) for row in HEALTHY for load in LOADS),
        )
    )
    parts.append(_HARMFUL)
    parts.append(_detection_table(results, [(row, load) for row in HARMFUL for load in LOADS], rules))
    if late:
        parts += [_LATE, _detection_table(results, late, rules)]
    if disturbed:
        rows = ((titles[row.name], rate(load), *_shares(results, row.name, load, rules)) for row, load in disturbed)
        parts += [_DISTURBED, _table(("", "Load", *rules), rows)]
    if late and disturbed:
        parts += [_BEST, _faster_text(faster_peers(results), titles)]
    parts.append(_GOOD)
    parts.append(
        _table(
            ("", "Load", *ours),
            (
                (titles[row.name], rate(load), *_passes(results, row.name, load, ours))
                for row in HEALTHY
                for load in LOADS
            ),
        )
    )
    return "\n".join(parts) + "\n"


def _detection_table(results: Sequence[Result], rows: Iterable[tuple[TrafficCase, float]], rules: Sequence[str]) -> str:
    return _table(
        ("", "Load", *rules),
        ((f"{row.name}: {row.title}", rate(load), *_detections(results, row.name, load, rules)) for row, load in rows),
    )


class FasterPeer(NamedTuple):
    """A peer's rule that finds the harm of a row faster at no more false rollbacks; medians in seconds, None: never."""

    row: str
    load: float
    rule: str
    median: float
    ours: float | None
    false_rollbacks: float
    our_false_rollbacks: float


def false_share(results: Sequence[Result], rule: str, row: str, load: float) -> tuple[int, int]:
    """How many of how many healthy rollouts a rule rolls back at this load, in the row where that is worst."""
    healthy = [
        (each.ended, each.runs)
        for each in results
        if (each.rule, each.load) == (rule, load) and not ROWS[each.row].harmful and each.row not in ("A8", "D8")
    ]
    before = _result_of(results, row, load, rule)
    return max([*healthy, (before.early, before.runs)], key=lambda each: each[0] / each[1])


def faster_peers(results: Sequence[Result], ours: str = "default") -> list[FasterPeer]:
    """The rows in which the aim is missed."""
    found = []
    for row in (*HARMFUL, *LATE):
        for load in row.loads:
            own = _result_of(results, row.name, load, ours)
            own_false = false_share(results, ours, row.name, load)
            for rule in PEERS:
                peer = _result_of(results, row.name, load, rule)
                false = false_share(results, rule, row.name, load)
                if peer.median is None or (own.median is not None and own.median <= _AIM * peer.median):
                    continue
                if wilson_interval(*false)[0] <= wilson_interval(*own_false)[1]:
                    shares = false[0] / false[1], own_false[0] / own_false[1]
                    found.append(FasterPeer(row.name, load, rule, peer.median, own.median, *shares))
    return found


def _faster_text(found: Sequence[FasterPeer], titles: Mapping[str, str]) -> str:
    if not found:
        return "None."
    return _table(
        ("", "Load", "Rule", "Median", "`default`", "Its worst false rollbacks", "Those of `default`"),
        (
            (
                titles[each.row],
                rate(each.load),
                each.rule,
                format_duration(each.median),
                "–" if each.ours is None else format_duration(each.ours),
                percent(each.false_rollbacks),
                percent(each.our_false_rollbacks),
            )
            for each in found
        ),
    )


def as_json(results: Sequence[Result], *, command: str, seed: int) -> str:
    """One result a line, so that a change of one is seen as one."""
    lines = ",\n".join(json.dumps(each.to_dict()) for each in results)
    return f'{{"command": {json.dumps(command)}, "seed": {seed}, "results": [\n{lines}\n]}}\n'


def percent(share: float) -> str:
    """ "0 %", "0.02 %", "4.1 %", "87 %"."""
    value = 100.0 * share
    if value == 0.0:
        return "0 %"
    return f"{value:.2f} %" if value < 0.95 else f"{value:.1f} %" if value < 9.95 else f"{value:.0f} %"


def rate(load: float) -> str:
    return f"{load:,.0f} rps" if load >= 1 else f"{load:g} rps"


def format_duration(seconds: float) -> str:
    """ "10 s", "2.5 min", "1 h 12 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f}".removesuffix(".0") + " min"
    return f"{seconds // 3600:.0f} h {seconds % 3600 / 60:.0f} min"


def _worst(results: Sequence[Result], row: str, rules: Sequence[str]) -> Iterable[str]:
    for rule in rules:
        yield percent(max(each.ended / each.runs for each in results if (each.row, each.rule) == (row, rule)))


def _shares(results: Sequence[Result], row: str, load: float, rules: Sequence[str]) -> Iterable[str]:
    for rule in rules:
        each = _result_of(results, row, load, rule)
        yield percent(each.ended / each.runs)


def _detections(results: Sequence[Result], row: str, load: float, rules: Sequence[str]) -> Iterable[str]:
    for rule in rules:
        each = _result_of(results, row, load, rule)
        said = "–" if each.median is None else f"{format_duration(each.median)} / {each.failed or 0:,.0f}"
        yield f"{said} ({percent(each.early / each.runs)})" if each.early else said


def _passes(results: Sequence[Result], row: str, load: float, rules: Sequence[str]) -> Iterable[str]:
    for rule in rules:
        after = _result_of(results, row, load, rule).passed_after
        yield "–" if after is None else format_duration(after)


def _result_of(results: Sequence[Result], row: str, load: float, rule: str) -> Result:
    return next(each for each in results if (each.row, each.load, each.rule) == (row, load, rule))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
