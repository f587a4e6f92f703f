"""The results as a page and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from benchmarks.judge.traffic import HARMFUL, HEALTHY, LOADS
from benchmarks.judge.trials import OUR_RULES, RULES, Result

__all__ = ["as_json", "format_duration", "page", "percent", "rate"]

_HEAD = """\
# Benchmark of the analysis

<!-- Made by `{command}`; do not edit. -->

Made by `{command}` with seed {seed}: {runs:,} runs of each healthy row and load, {harmful:,} of each
harmful one. The same seed gives the same figures. [judge-benchmark.json](judge-benchmark.json) holds all
of them with their intervals. What the rules are and why: [how it decides](how-it-decides.md).

Evaluations every 10 s, four hours. Requests are Poisson, failures binomial. Healthy rows spend 80 minutes each
at a weight of 10, 25 and 50 %; harmful ones stay at 10 %. `fast`, `default`, `robust` and `strict` are
the presets of `compare:`. The others are what those tools do when configured to roll back above 1 %
errors, and two textbook tests:

| Rule | Here |
|---|---|
| Flagger | Each minute: error rate over 1 %, or no request. Rolls back one check after the 5th. |
| Argo | Each minute: error rate over 1 %. The first one aborts. |
| z each tick | Pooled two-proportion z-test at 1 %, one-sided, on the step's counts, at every tick. |
| Kayenta-like | Every 10 min: Mann-Whitney at 1 %, one-sided, on the error rates of the step's minutes. |

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
_GOOD = """
## Good releases

The median time until the first step may end: the canary was shown to be not worse than the margin allows
with evidence of 3 to 1. A dash: fewer than half were, within four hours.
"""


def page(results: Sequence[Result], *, command: str, seed: int) -> str:
    """The whole page."""
    runs = max(each.runs for each in results if each.row.startswith("A"))
    harmful = max(each.runs for each in results if each.row.startswith("B"))
    titles = {row.name: f"{row.name}: {row.title}" for row in (*HEALTHY, *HARMFUL)}
    parts = [_HEAD.format(command=command, seed=seed, runs=runs, harmful=harmful)]
    parts.append(_table(("", *RULES), ((titles[row.name], *_worst(results, row.name)) for row in HEALTHY)))
    parts.append("\n### At each load\n")
    parts.append(
        _table(
            ("", "Load", *RULES),
            ((row.name, rate(load), *_shares(results, row.name, load)) for row in HEALTHY for load in LOADS),
        )
    )
    parts.append(_HARMFUL)
    parts.append(
        _table(
            ("", "Load", *RULES),
            (
                (titles[row.name], rate(load), *_detections(results, row.name, load))
                for row in HARMFUL
                for load in LOADS
            ),
        )
    )
    parts.append(_GOOD)
    parts.append(
        _table(
            ("", "Load", *OUR_RULES),
            ((titles[row.name], rate(load), *_passes(results, row.name, load)) for row in HEALTHY for load in LOADS),
        )
    )
    return "\n".join(parts) + "\n"


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
    return f"{load:,.0f} rps"


def format_duration(seconds: float) -> str:
    """ "10 s", "2.5 min", "1 h 12 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f}".removesuffix(".0") + " min"
    return f"{seconds // 3600:.0f} h {seconds % 3600 / 60:.0f} min"


def _worst(results: Sequence[Result], row: str) -> Iterable[str]:
    for rule in RULES:
        yield percent(max(each.ended / each.runs for each in results if (each.row, each.rule) == (row, rule)))


def _shares(results: Sequence[Result], row: str, load: float) -> Iterable[str]:
    for rule in RULES:
        each = _result_of(results, row, load, rule)
        yield percent(each.ended / each.runs)


def _detections(results: Sequence[Result], row: str, load: float) -> Iterable[str]:
    for rule in RULES:
        each = _result_of(results, row, load, rule)
        yield "–" if each.median is None else f"{format_duration(each.median)} / {each.failed or 0:,.0f}"


def _passes(results: Sequence[Result], row: str, load: float) -> Iterable[str]:
    for rule in OUR_RULES:
        after = _result_of(results, row, load, rule).passed_after
        yield "–" if after is None else format_duration(after)


def _result_of(results: Sequence[Result], row: str, load: float, rule: str) -> Result:
    return next(each for each in results if (each.row, each.load, each.rule) == (row, load, rule))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
