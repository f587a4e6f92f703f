"""The series of running rollouts, written as text directly.

prometheus_client takes about 20 µs a line, a second of CPU for 5,000 rollouts with three metrics each, during
which the tick waits for the interpreter; this takes a tenth of that. The tests read it back with
prometheus_client's parser and hold its names and labels against ``table``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from autocanary.analysis.comparisons import evidence_percent_of
from autocanary.http_server.metric_table import METRIC_SPECS, ROLLOUT_LABELS, MetricSpec
from autocanary.model.comparison_summary import ComparisonSummary
from autocanary.model.policy import Range
from autocanary.model.progress import failed_requests_of
from autocanary.model.rollout import Rollout

__all__ = ["ROLLOUT_METRIC_NAMES", "render_rollouts"]

_METRICS = {each.name: each for each in METRIC_SPECS if each.labels[: len(ROLLOUT_LABELS)] == ROLLOUT_LABELS}
ROLLOUT_METRIC_NAMES = frozenset(_METRICS)
"""The metrics that are written here; the collector of ``metrics`` makes the others."""


def render_rollouts(running: Iterable[Rollout], ranges_of: Callable[[Rollout], Mapping[str, Range]]) -> str:
    """All families of NAMES in the Prometheus text format 0.0.4, header lines included."""
    lines: dict[str, list[str]] = {name: [_header(each)] for name, each in _METRICS.items()}
    info, weight = lines["autocanary_rollout_info"], lines["autocanary_rollout_weight_percent"]
    phase = lines["autocanary_rollout_phase"]
    value, threshold = lines["autocanary_metric_value"], lines["autocanary_metric_threshold"]
    evidence = lines["autocanary_evidence_ratio"]
    for each in running:
        identity, progress = _identity(each), each.progress
        about = (each.component.value, each.stable, each.candidate, each.policy_name)
        info.append(_INFO % (identity, *map(_escape, about), 1))
        phase.append(_PHASE % (identity, progress.phase.value, progress.reason.value, 1))
        if progress.step.weight is not None:
            weight.append(_WEIGHT % (identity, progress.step.weight))
        evidence_percent = evidence_percent_of(progress.analysis.evidence)
        if evidence_percent is not None:
            evidence.append(_EVIDENCE % (identity, evidence_percent / 100.0))
        if (counted := failed_requests_of(progress)) is not None:
            lines["autocanary_failed_requests"].append(_FAILED % (identity, float(counted[0])))
            lines["autocanary_failed_requests_budget"].append(_BUDGET % (identity, float(counted[1])))
        for metric, state in progress.analysis.metrics.items():
            number = state.last.value if state.last is not None else None
            if number is not None and math.isfinite(number):
                value.append(_VALUE % (identity, _escape(metric), float(number)))
            if state.comparison_summary is not None and not state.comparison_summary.not_compared_reason:
                _write_comparison(lines, identity, _escape(metric), state.comparison_summary)
        for metric, range_ in ranges_of(each).items():
            for bound, limit in (("min", range_.min), ("max", range_.max)):
                if limit is not None:
                    threshold.append(_THRESHOLD % (identity, _escape(metric), bound, float(limit)))
    return "".join(line for family in lines.values() for line in family)


def _write_comparison(
    lines: Mapping[str, list[str]], identity: str, metric: str, comparison_summary: ComparisonSummary
) -> None:
    """Both sides of one comparison."""
    lines["autocanary_comparison_non_inferiority_ratio"].append(
        _NON_INFERIOR % (identity, metric, comparison_summary.non_inferior_percent / 100.0)
    )
    for name, side in (("candidate", comparison_summary.candidate), ("stable", comparison_summary.stable)):
        lines["autocanary_comparison_requests"].append(
            _COMPARED_REQUESTS % (identity, metric, name, float(side.requests))
        )
        if side.percent is not None:
            lines["autocanary_comparison_bad_percent"].append(
                _BAD_PERCENT % (identity, metric, name, float(side.percent))
            )


def _header(spec: MetricSpec) -> str:
    return f"# HELP {spec.name} {spec.help}\n# TYPE {spec.name} gauge\n"


def _template(name: str) -> str:
    """A line with places for the identity, each further label and the value."""
    more_labels = "".join(f',{label}="%s"' for label in _METRICS[name].labels[len(ROLLOUT_LABELS) :])
    return f"{name}{{%s{more_labels}}} %r\n"


_INFO = _template("autocanary_rollout_info")
_WEIGHT = _template("autocanary_rollout_weight_percent")
_PHASE = _template("autocanary_rollout_phase")
_VALUE = _template("autocanary_metric_value")
_THRESHOLD = _template("autocanary_metric_threshold")
_EVIDENCE = _template("autocanary_evidence_ratio")
_FAILED = _template("autocanary_failed_requests")
_BUDGET = _template("autocanary_failed_requests_budget")
_COMPARED_REQUESTS = _template("autocanary_comparison_requests")
_BAD_PERCENT = _template("autocanary_comparison_bad_percent")
_NON_INFERIOR = _template("autocanary_comparison_non_inferiority_ratio")
_IDENTITY = ",".join(f'{label}="%s"' for label in ROLLOUT_LABELS)


def _identity(rollout: Rollout) -> str:
    return _IDENTITY % (_escape(rollout.namespace), _escape(rollout.service), _escape(rollout.name))


def _escape(value: str) -> str:
    if '"' in value or "\\" in value or "\n" in value:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value
