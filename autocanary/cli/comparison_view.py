"""A rollout's comparisons with stable: the evidence, and the counts that it comes from."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from autocanary.model.comparison_summary import ComparisonSummary
from autocanary.model.comparison_wording import comparison_lines, worst_first
from autocanary.model.policy import Metric, Policy
from autocanary.model.rollout import Rollout
from autocanary.model.value_wording import metric_title

__all__ = ["comparison_panel", "evidence_bar", "evidence_meter"]

_BAR = 30


def evidence_meter(rollout: Rollout) -> str:
    """The evidence against the candidate: ``43%`` of what rolls it back; ``–`` without comparisons."""
    from autocanary.analysis.comparisons import evidence_percent_of

    percent = evidence_percent_of(rollout.progress.analysis.evidence)
    return f"{percent:.0f}%" if percent is not None else "–"


def evidence_bar(percent: float) -> Text:
    """A full bar is a rollback; any evidence above zero is visible."""
    share = min(100.0, max(0.0, percent))
    cells = max(1, round(share * _BAR / 100)) if share > 0 else 0
    colour = "red" if share >= 100 else "yellow" if share >= 50 else "green"
    bar = Text("█" * cells, colour)
    bar.append("░" * (_BAR - cells), "dim")
    return bar.append(f" {share:.0f} %")


def comparison_panel(rollout: Rollout, policy: Policy | None) -> RenderableType | None:
    """The meter, and each comparison in words, the worst first; None without comparisons."""
    from autocanary.analysis.comparisons import evidence_percent_of
    from autocanary.analysis.forecast import forecast_text

    percent = evidence_percent_of(rollout.progress.analysis.evidence)
    if percent is None:
        return None
    head = Text("worse than stable ").append_text(evidence_bar(percent))
    head.append(f" of the proof needed to roll back{_confidence(policy)}", "dim")
    parts: list[RenderableType] = [head]
    metrics = policy.metrics_at(rollout.progress.step.index) if policy is not None else {}
    for name, state in worst_first(rollout.progress.analysis.metrics):
        if state.comparison_summary is not None:
            parts.append(_comparison_text(name, state.comparison_summary, metrics.get(name)))
    expected = forecast_text(policy, rollout.progress)
    if expected:
        parts.append(Text(expected, "dim"))
    return Group(*parts)


def _comparison_text(name: str, summary: ComparisonSummary, metric: Metric | None) -> Text:
    watched = " (dry run)" if metric is not None and metric.dry_run else ""
    carries = summary.contribution if summary.evidence_percent > 0 else 0.0
    part = f", {100 * carries:.0f} % of the evidence" if 0 < carries < 0.995 else ""
    title = metric_title(name, metric.quantile if metric is not None else None)
    text = Text(f"{title}{watched}{part}", "bold")
    style = "yellow" if summary.not_compared_reason else "red" if summary.evidence_percent >= 50 else "default"
    for line in comparison_lines(summary):
        text.append(f"\n  {line}", f"not bold {style}")
    return text


def _confidence(policy: Policy | None) -> str:
    from autocanary.analysis.parameters import parameters_of

    metrics = policy.all_metrics if policy is not None else ()
    alphas = [parameters_of(each.compare).alpha for each in metrics if each.compare and not each.dry_run]
    return f", with {100 * (1 - min(alphas)):g} % confidence" if alphas else ""
