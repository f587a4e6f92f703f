"""The series of running rollouts, written as text directly.

prometheus_client takes about 20 µs a line, a second of CPU for 5,000 rollouts with three metrics each, during
which the tick waits for the interpreter; this takes a tenth of that. The tests read it back with
prometheus_client's parser and hold its names and labels against ``table``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from autocanary.analysis.comparisons import meter_of
from autocanary.http_server.metric_table import IDENTITY, TABLE, Row
from autocanary.model.comparison_summary import Standing
from autocanary.model.policy import Range
from autocanary.model.rollout import Rollout

__all__ = ["NAMES", "text"]

_ROWS = {each.name: each for each in TABLE if each.labels[: len(IDENTITY)] == IDENTITY}
NAMES = frozenset(_ROWS)
"""The metrics that are written here; the collector of ``metrics`` makes the others."""


def text(running: Iterable[Rollout], ranges_of: Callable[[Rollout], Mapping[str, Range]]) -> str:
    """All families of NAMES in the Prometheus text format 0.0.4, header lines included."""
    lines: dict[str, list[str]] = {name: [_header(each)] for name, each in _ROWS.items()}
    info, weight = lines["autocanary_rollout_info"], lines["autocanary_rollout_weight_percent"]
    phase = lines["autocanary_rollout_phase"]
    value, threshold = lines["autocanary_metric_value"], lines["autocanary_metric_threshold"]
    evidence = lines["autocanary_evidence_ratio"]
    for each in running:
        identity, progress = _identity(each), each.progress
        about = (each.component.value, each.stable, each.candidate, each.policy_name)
        info.append(_INFO % (identity, *map(_escape, about), 1))
        phase.append(_PHASE % (identity, progress.phase.value, progress.reason.value, 1))
        if progress.weight is not None:
            weight.append(_WEIGHT % (identity, progress.weight))
        meter = meter_of(progress.evidence)
        if meter is not None:
            evidence.append(_EVIDENCE % (identity, meter / 100.0))
        for metric, state in progress.metrics.items():
            number = state.last.value if state.last is not None else None
            if number is not None and math.isfinite(number):
                value.append(_VALUE % (identity, _escape(metric), float(number)))
            if state.standing is not None and not state.standing.note:
                _compare(lines, identity, _escape(metric), state.standing)
        for metric, range_ in ranges_of(each).items():
            for bound, limit in (("min", range_.min), ("max", range_.max)):
                if limit is not None:
                    threshold.append(_THRESHOLD % (identity, _escape(metric), bound, float(limit)))
    return "".join(line for family in lines.values() for line in family)


def _compare(lines: Mapping[str, list[str]], identity: str, metric: str, standing: Standing) -> None:
    """Both sides of one comparison."""
    lines["autocanary_comparison_cleared_ratio"].append(
        _CLEARED % (identity, metric, standing.cleared / 100.0)
    )
    for name, side in (("candidate", standing.candidate), ("stable", standing.stable)):
        lines["autocanary_comparison_requests"].append(
            _COMPARED % (identity, metric, name, float(side.requests))
        )
        if side.percent is not None:
            lines["autocanary_comparison_bad_percent"].append(
                _BAD % (identity, metric, name, float(side.percent))
            )


def _header(row: Row) -> str:
    return f"# HELP {row.name} {row.help}\n# TYPE {row.name} gauge\n"


def _template(name: str) -> str:
    """A line with places for the identity, each further label and the value."""
    further = "".join(f',{label}="%s"' for label in _ROWS[name].labels[len(IDENTITY) :])
    return f"{name}{{%s{further}}} %r\n"


_INFO = _template("autocanary_rollout_info")
_WEIGHT = _template("autocanary_rollout_weight_percent")
_PHASE = _template("autocanary_rollout_phase")
_VALUE = _template("autocanary_metric_value")
_THRESHOLD = _template("autocanary_metric_threshold")
_EVIDENCE = _template("autocanary_evidence_ratio")
_COMPARED = _template("autocanary_comparison_requests")
_BAD = _template("autocanary_comparison_bad_percent")
_CLEARED = _template("autocanary_comparison_cleared_ratio")
_IDENTITY = ",".join(f'{label}="%s"' for label in IDENTITY)


def _identity(rollout: Rollout) -> str:
    return _IDENTITY % (_escape(rollout.namespace), _escape(rollout.service), _escape(rollout.name))


def _escape(value: str) -> str:
    if '"' in value or "\\" in value or "\n" in value:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value
