"""A rollout's comparisons with stable: the evidence, and the counts that it comes from."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autocanary.analysis.comparisons import evidence_percent_of
from autocanary.analysis.e_values import anytime_interval
from autocanary.analysis.forecast import forecast_text
from autocanary.analysis.parameters import parameters_of
from autocanary.model.comparison_summary import ComparisonSummary, RevisionCounts
from autocanary.model.policy import Metric, Policy
from autocanary.model.rollout import Rollout

__all__ = ["comparison_panel", "evidence_bar", "evidence_meter"]

_BAR = 30


def evidence_meter(rollout: Rollout) -> str:
    """The evidence against the candidate: ``43%`` of what rolls it back; ``–`` without comparisons."""
    percent = evidence_percent_of(rollout.progress.evidence)
    return f"{percent:.0f}%" if percent is not None else "–"


def evidence_bar(percent: float, width: int = _BAR) -> Text:
    """A full bar is a rollback; any evidence above zero is visible."""
    share = min(100.0, max(0.0, percent))
    cells = max(1, round(share * width / 100)) if share > 0 else 0
    colour = "red" if share >= 100 else "yellow" if share >= 50 else "green"
    bar = Text("█" * cells, colour)
    bar.append("░" * (width - cells), "dim")
    return bar.append(f" {share:.0f} %")


def comparison_panel(rollout: Rollout, policy: Policy | None) -> RenderableType | None:
    """The evidence bar, and each comparison with both revisions' counts; None without comparisons."""
    percent = evidence_percent_of(rollout.progress.evidence)
    if percent is None:
        return None
    head = Text("evidence against the candidate ").append_text(evidence_bar(percent))
    head.append(f"  100 % rolls back{_confidence(policy)}", "dim")
    parts: list[RenderableType] = [head]
    metrics = {metric.name: metric for metric in policy.analysis.metrics} if policy is not None else {}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("COMPARED", "CANARY", "STABLE", "RATIO", "AGAINST", "FOR"):
        table.add_column(column, justify="right" if column in ("RATIO", "AGAINST", "FOR") else "left")
    notes: list[Text] = []
    for name, state in rollout.progress.metrics.items():
        if state.comparison_summary is None:
            continue
        table.add_row(*_row(name, state.comparison_summary, metrics.get(name)))
        if state.comparison_summary.not_compared_reason:
            notes.append(Text(f"{name}: {state.comparison_summary.not_compared_reason}", "yellow"))
    if table.row_count:
        parts.append(table)
    expected = forecast_text(policy, rollout.progress)
    if expected:
        notes.append(Text(expected, "dim"))
    return Group(*parts, *notes)


def _row(name: str, comparison_summary: ComparisonSummary, metric: Metric | None) -> tuple[Text, ...]:
    slow = f" > {_duration_text(comparison_summary.slower_than)}" if comparison_summary.slower_than is not None else ""
    watched = " (dry run)" if metric is not None and metric.dry_run else ""
    contribution_text = (
        f" ({100 * comparison_summary.contribution:.0f} %)"
        if 0 < comparison_summary.contribution < 0.995 and comparison_summary.evidence_percent > 0
        else ""
    )
    return (
        Text(f"{name}{slow}{watched}"),
        Text(_side(comparison_summary.candidate, metric)),
        Text(_side(comparison_summary.stable, metric)),
        Text(f"{comparison_summary.ratio:.1f}x" if comparison_summary.ratio is not None else "–"),
        Text(
            f"{comparison_summary.evidence_percent:.0f} %{contribution_text}",
            "red" if comparison_summary.evidence_percent >= 50 else "",
        ),
        Text(
            f"{comparison_summary.non_inferior_percent:.0f} %",
            "green" if comparison_summary.non_inferior_percent >= 100 else "",
        ),
    )


def _side(side: RevisionCounts, metric: Metric | None) -> str:
    """``10/1000 = 1.00 % (0.5–1.8 %)``; the interval holds at all evaluations together."""
    if side.requests <= 0:
        return "no requests yet"
    alpha = parameters_of(metric.compare).alpha if metric is not None and metric.compare is not None else 0.05
    low, high = anytime_interval(side.bad, side.requests, 1.0 - alpha)
    return f"{side} ({100 * low:.2g}–{100 * high:.2g} %)"


def _confidence(policy: Policy | None) -> str:
    compared = policy.analysis.compared if policy is not None else ()
    alphas = [parameters_of(each.compare).alpha for each in compared if each.compare and not each.dry_run]
    return f", with {100 * (1 - min(alphas)):g} % confidence" if alphas else ""


def _duration_text(seconds: float) -> str:
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"
