"""Pictures of one rollout from core values alone: its weight, its steps, its metrics, what comes next.

``status`` and ``demo`` show the same pictures; here nothing is read and no clock is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from autocanary.cli.comparison_view import evidence_panel
from autocanary.model import value_wording
from autocanary.model.observation import Observation
from autocanary.model.policy import Metric, Policy, Range
from autocanary.model.progress import MetricState, Phase
from autocanary.model.rollout import Rollout

__all__ = ["Shown", "metric_table", "next_line", "panel", "share_of", "steps", "style_of", "weight_bar"]

_STYLES = {
    Phase.STAGING: "blue",
    Phase.PROGRESSING: "cyan",
    Phase.HOLDING: "yellow",
    Phase.PAUSED: "magenta",
    Phase.BAKING: "cyan",
    Phase.SETTLING: "cyan",
    Phase.ROLLING_BACK: "red",
    Phase.PROMOTED: "green",
    Phase.ROLLED_BACK: "red",
    Phase.SUPERSEDED: "dim",
    Phase.ABANDONED: "dim",
    Phase.MISSED: "yellow",
}
_BAR = 40


@dataclass(frozen=True, slots=True)
class Shown:
    """A rollout with what is known around it; the policy and the observation may be missing."""

    rollout: Rollout
    policy: Policy | None = None
    seen: Observation | None = None


def style_of(phase: Phase) -> str:
    return _STYLES[phase]


def share_of(shown: Shown) -> int:
    """Percent of the traffic on the candidate: as last seen, or as asked for where nobody has looked.

    Of a rollout that is over, as its end left it: what is seen now may be another's.
    """
    if shown.seen is not None and not shown.rollout.is_final:
        share = shown.seen.share(shown.rollout.candidate)
        if share is not None:
            return share
    progress = shown.rollout.progress
    if progress.observed_weight is not None:
        return progress.observed_weight
    return 100 if progress.weight is None else progress.weight


def weight_bar(shown: Shown, width: int = _BAR) -> Text:
    """Stable and candidate as one bar of the whole traffic; a share above zero is never invisible."""
    share = min(100, max(0, share_of(shown)))
    cells = round(share * width / 100)
    cells = min(width - 1, max(1, cells)) if 0 < share < 100 else cells
    bar = Text(f"stable {100 - share:>3} % ")
    bar.append("█" * (width - cells), "green")
    bar.append("█" * cells, style_of(shown.rollout.progress.phase) if cells else "")
    bar.append(f" {share:>3} % candidate")
    return bar


def steps(shown: Shown) -> Text:
    """``10 → [25] → 50 → 100``: past, present and coming steps."""
    progress, policy = shown.rollout.progress, shown.policy
    if policy is None:
        return Text(f"step {progress.step + 1}")
    line = Text()
    undone = progress.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    for index, step in enumerate(policy.steps):
        if index:
            line.append(" → ", "dim")
        if progress.phase is Phase.PROMOTED or index < progress.step:
            line.append(f"{step.weight}", "green")
        elif index == progress.step:
            line.append(f"[{step.weight}]", f"bold {'strike ' if undone else ''}{style_of(progress.phase)}")
        else:
            line.append(f"{step.weight}", "dim")
        if step.approval:
            line.append(" (waits for a person)", "dim")
    return line


def metric_table(shown: Shown) -> Table | None:
    """What each metric said last, held against its range; None before the first look."""
    states, policy = shown.rollout.progress.metrics, shown.policy
    if not states:
        return None
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("METRIC", "VALUE", "ALLOWED", "BREACHES", "REQUESTS"):
        table.add_column(column, justify="right" if column in ("BREACHES", "REQUESTS") else "left")
    metrics = {metric.name: metric for metric in policy.analysis.metrics} if policy is not None else {}
    for name, state in states.items():
        table.add_row(*_metric_row(name, state, metrics.get(name)))
    return table


def _metric_row(name: str, state: MetricState, metric: Metric | None) -> tuple[Text, ...]:
    style = {True: "green", False: "red", None: "yellow"}[state.ok]
    last = state.last
    if last is None:
        value = Text("not asked yet", "dim")
    elif last.value is None:
        value = Text(value_wording.spoken(last), style)
    else:
        value = Text(value_wording.quantity(last.value, last.unit), style)
    limit = f"{state.breaches} of {metric.failure_limit}" if metric is not None else str(state.breaches)
    dry = metric is not None and metric.dry_run
    only_compared = metric is not None and metric.compare is not None and metric.range == Range()
    return (
        Text(f"{name} (dry run)" if dry else name),
        value,
        Text(_allowed(metric), "dim"),
        Text("–" if only_compared else limit, "red" if state.breaches else ""),
        Text(f"{last.requests:,.0f}" if last is not None and last.requests is not None else "–", ""),
    )


def _allowed(metric: Metric | None) -> str:
    if metric is None:
        return ""
    limits = value_wording.bounds(metric.range, metric.unit) if metric.range != Range() else ""
    beside = "no worse than stable" if metric.compare is not None else ""
    return "; ".join(each for each in (limits, beside) if each) or "any value"


def next_line(shown: Shown, now: float) -> Text:
    """The reason in words, and what has to happen next."""
    progress = shown.rollout.progress
    line = Text(f"{progress.reason.value}", f"bold {style_of(progress.phase)}")
    if progress.message:
        line.append(f"  {progress.message}", "not bold default")
    waits = value_wording.waits_for(shown.rollout, shown.policy, now)
    if waits and waits != progress.message:
        line.append(f"\nwaits for {waits}", "not bold dim")
    return line


def panel(shown: Shown, now: float) -> Panel:
    """All of it in a frame that carries the names and the phase."""
    progress = shown.rollout.progress
    style = style_of(progress.phase)
    parts: list[RenderableType] = [weight_bar(shown), steps(shown)]
    table = metric_table(shown)
    if table is not None:
        parts += [Text(), table]
    evidence = evidence_panel(shown.rollout, shown.policy)
    if evidence is not None:
        parts += [Text(), evidence]
    parts += [Text(), next_line(shown, now)]
    return Panel(
        Group(*parts),
        title=Text(value_wording.headline(shown.rollout), "bold"),
        title_align="left",
        subtitle=Text(f" {progress.phase.value} ", f"bold {style}"),
        subtitle_align="right",
        border_style=style,
        box=box.ROUNDED,
        padding=(0, 1),
    )
