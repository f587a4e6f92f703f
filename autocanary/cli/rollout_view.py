"""One rollout as a panel: its weight, its steps, its metrics, and what it waits for.

``status`` and ``demo`` show the same panel. Nothing here reads a cluster or a clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from autocanary.cli.comparison_view import comparison_panel
from autocanary.cli.sparkline import course_table
from autocanary.model import comparison_wording, value_wording
from autocanary.model.observation import Observation
from autocanary.model.policy import Metric, Policy, Range
from autocanary.model.progress import MetricState, Phase, failed_requests_of
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.views.service_history import restore_text

__all__ = [
    "RolloutView",
    "candidate_share",
    "metric_table",
    "phase_style",
    "reason_text",
    "rollout_panel",
    "steps",
    "weight_bar",
]

_STYLES = {
    Phase.STAGING: "blue",
    Phase.PROGRESSING: "cyan",
    Phase.HOLDING: "yellow",
    Phase.PAUSED: "magenta",
    Phase.BAKING: "cyan",
    Phase.FINALIZING: "cyan",
    Phase.ROLLING_BACK: "red",
    Phase.PROMOTED: "green",
    Phase.ROLLED_BACK: "red",
    Phase.SUPERSEDED: "dim",
    Phase.ABANDONED: "dim",
    Phase.MISSED: "yellow",
}
_BAR = 40
_METRIC_WIDTH = 24
"""Columns that the name of a metric gets before the others do; a longer one takes several lines."""


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A rollout with its policy and the last observation of its service, where they are known."""

    rollout: Rollout
    policy: Policy | None = None
    observation: Observation | None = None


def phase_style(phase: Phase) -> str:
    return _STYLES[phase]


def candidate_share(view: RolloutView) -> int:
    """Percent of the traffic on the candidate: as last observed, or as intended without an observation.

    Of a rollout that has ended, the share at its end: the present one may belong to another rollout.
    """
    if view.observation is not None and not view.rollout.is_final:
        traffic_percent = view.observation.traffic_percent(view.rollout.candidate)
        if traffic_percent is not None:
            return traffic_percent
    progress = view.rollout.progress
    if progress.step.observed_weight is not None:
        return progress.step.observed_weight
    return 100 if progress.step.weight is None else progress.step.weight


def weight_bar(view: RolloutView, width: int = _BAR) -> Text:
    """Stable and candidate as one bar of the whole traffic, legible without colour; a share above zero is visible."""
    traffic_percent = min(100, max(0, candidate_share(view)))
    cells = round(traffic_percent * width / 100)
    cells = min(width - 1, max(1, cells)) if 0 < traffic_percent < 100 else cells
    bar = Text(f"stable {100 - traffic_percent:>3} % ")
    bar.append("░" * (width - cells), "green")
    bar.append("█" * cells, phase_style(view.rollout.progress.phase) if cells else "")
    bar.append(f" {traffic_percent:>3} % candidate")
    return bar


def steps(view: RolloutView) -> Text:
    """``10 → [25] → 50 → 100``: past, present and coming steps."""
    progress, policy = view.rollout.progress, view.policy
    if policy is None:
        return Text(f"step {progress.step.index + 1}")
    line = Text()
    undone = progress.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    for index, step in enumerate(policy.steps):
        if index:
            line.append(" → ", "dim")
        if progress.phase is Phase.PROMOTED or index < progress.step.index:
            line.append(f"{step.weight}", "green")
        elif index == progress.step.index:
            line.append(f"[{step.weight}]", f"bold {'strike ' if undone else ''}{phase_style(progress.phase)}")
        else:
            line.append(f"{step.weight}", "dim")
        if step.approval:
            line.append(" (approval)", "dim")
    return line


def metric_table(view: RolloutView) -> Table | None:
    """The last measurement of each metric with its range; None before the first evaluation."""
    states, policy = view.rollout.progress.analysis.metrics, view.policy
    if not states:
        return None
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    names = max((len(_title(name, view)) for name in states), default=0)
    table.add_column("METRIC", overflow="fold", min_width=min(names, _METRIC_WIDTH))  # never cut: names may be alike
    table.add_column("VALUE", overflow="fold")
    table.add_column("ALLOWED", overflow="fold")
    table.add_column("VIOLATIONS", justify="right", min_width=len("VIOLATIONS"))
    table.add_column("REQUESTS (WINDOW)", justify="right", min_width=len("(WINDOW)"))
    metrics = policy.metrics_at(view.rollout.progress.step.index) if policy is not None else {}
    for name, state in comparison_wording.worst_first(states):
        table.add_row(*_metric_row(_title(name, view), state, metrics.get(name)))
    return table


def _metric_row(title: str, state: MetricState, metric: Metric | None) -> tuple[Text, ...]:
    style = {True: "green", False: "red", None: "yellow"}[state.ok]
    last = state.last
    if last is None:
        value = Text("not measured yet", "dim")
    elif last.value is None:
        value = Text(value_wording.describe_measurement(last), style)
    else:
        value = Text(value_wording.format_value(last.value, last.unit), style)
    limit = _violations(state, metric)
    only_compared = metric is not None and metric.compare is not None and metric.range == Range()
    requests = last.requests if last is not None else None
    if only_compared and metric is not None:
        counted = comparison_wording.counted_percent(state.comparison_summary, metric.unit)
        if counted is not None:
            value, requests = Text(f"{counted:.2f} %", style), None  # of the counts below the table
    return (
        Text(title),
        value,
        Text(_allowed(metric), "dim"),
        Text("–" if only_compared else limit, "red" if state.violations else ""),
        Text(f"{requests:,.0f}" if requests is not None else "–", ""),
    )


def _title(name: str, view: RolloutView) -> str:
    metrics = view.policy.metrics_at(view.rollout.progress.step.index) if view.policy is not None else {}
    metric = metrics.get(name)
    title = value_wording.metric_title(name, metric.quantile if metric is not None else None)
    return f"{title} (dry run)" if metric is not None and metric.dry_run else title


def _violations(state: MetricState, metric: Metric | None) -> str:
    if metric is None:
        return str(state.violations)
    in_row = metric.consecutive_failure_limit
    limits = [f"{state.violations} of {metric.failure_limit}"] if metric.failure_limit is not None else []
    limits += [f"{state.violations_in_row} of {in_row} in a row"] if in_row is not None else []
    return ", ".join(limits)


def _allowed(metric: Metric | None) -> str:
    if metric is None:
        return ""
    limits = value_wording.describe_range(metric.range, metric.unit) if metric.range != Range() else ""
    comparison = "no worse than stable" if metric.compare is not None else ""
    return "; ".join(each for each in (limits, comparison) if each) or "any value"


def reason_text(view: RolloutView, now: float) -> Text:
    """The reason, its message, and what the rollout waits for."""
    progress = view.rollout.progress
    line = Text(f"{progress.reason.value}", f"bold {phase_style(progress.phase)}")
    if progress.message:
        line.append(f"  {progress.message}", "not bold default")
    waits = value_wording.describe_wait(view.rollout, view.policy, now)
    if waits and waits != progress.message and progress.reason is not Reason.AWAITING_APPROVAL:
        line.append(f"\nwaits for {waits}", "not bold dim")
    restore = restore_text(view.rollout)
    if restore:
        line.append(f"\n{restore}", "not bold default")
    return line


def _course(view: RolloutView) -> Table | None:
    """The sparklines, in the order of the table."""
    metrics = dict(view.policy.metrics_at(view.rollout.progress.step.index)) if view.policy is not None else {}
    names = [name for name, _ in comparison_wording.worst_first(view.rollout.progress.analysis.metrics)]
    return course_table(view.rollout, metrics, names)


def rollout_panel(view: RolloutView, now: float) -> Panel:
    """Weight, steps, metrics and reason in a frame with the names and the phase."""
    progress = view.rollout.progress
    style = phase_style(progress.phase)
    parts: list[RenderableType] = [weight_bar(view), steps(view)]
    table = metric_table(view)
    if table is not None:
        parts += [Text(), table]
    course = _course(view)
    if course is not None:
        parts += [Text(), course]
    counted = failed_requests_of(progress)
    if counted is not None:
        failed, most = counted
        colour = "red" if failed >= most else "yellow" if failed >= most / 2 else "default"
        parts.append(Text(f"failed requests of the candidate: {failed:,}, the budget is {most:,}", colour))
    if progress.analysis.from_step:
        parts.append(Text(f"analysis: as step {progress.analysis.from_step} of the policy says", "dim"))
    evidence = comparison_panel(view.rollout, view.policy)
    if evidence is not None:
        parts += [Text(), evidence]
    parts += [Text(), reason_text(view, now)]
    return Panel(
        Group(*parts),
        title=Text(value_wording.rollout_title(view.rollout), "bold"),
        title_align="left",
        subtitle=Text(f" {progress.phase.value} ", f"bold {style}"),
        subtitle_align="right",
        border_style=style,
        box=box.ROUNDED,
        padding=(0, 1),
    )
