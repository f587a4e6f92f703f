"""Pictures of a rollout's comparisons with stable: how far the evidence is, and what it is made of."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autocanary.analysis.comparisons import meter_of
from autocanary.analysis.e_values import anytime
from autocanary.analysis.forecast import outlook
from autocanary.analysis.parameters import terms_of
from autocanary.model.comparison_summary import Side, Standing
from autocanary.model.policy import Metric, Policy
from autocanary.model.rollout import Rollout

__all__ = ["evidence_panel", "meter", "meter_bar"]

_BAR = 30


def meter(rollout: Rollout) -> str:
    """The evidence against the candidate, ``43%`` of what rolls it back; ``–`` where nothing is compared."""
    found = meter_of(rollout.progress.evidence)
    return f"{found:.0f}%" if found is not None else "–"


def meter_bar(percent: float, width: int = _BAR) -> Text:
    """Full is a rollback; a little evidence is not invisible."""
    share = min(100.0, max(0.0, percent))
    cells = max(1, round(share * width / 100)) if share > 0 else 0
    colour = "red" if share >= 100 else "yellow" if share >= 50 else "green"
    bar = Text("█" * cells, colour)
    bar.append("░" * (width - cells), "dim")
    return bar.append(f" {share:.0f} %")


def evidence_panel(rollout: Rollout, policy: Policy | None) -> RenderableType | None:
    """The meter, and each comparison with both sides' numbers; None where nothing is compared."""
    found = meter_of(rollout.progress.evidence)
    if found is None:
        return None
    head = Text("against the candidate ").append_text(meter_bar(found))
    head.append(f"  100 % rolls back{_confidence(policy)}", "dim")
    parts: list[RenderableType] = [head]
    metrics = {metric.name: metric for metric in policy.analysis.metrics} if policy is not None else {}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("COMPARED", "CANARY", "STABLE", "RATIO", "AGAINST", "FOR"):
        table.add_column(column, justify="right" if column in ("RATIO", "AGAINST", "FOR") else "left")
    notes: list[Text] = []
    for name, state in rollout.progress.metrics.items():
        if state.standing is None:
            continue
        table.add_row(*_row(name, state.standing, metrics.get(name)))
        if state.standing.note:
            notes.append(Text(f"{name}: {state.standing.note}", "yellow"))
    if table.row_count:
        parts.append(table)
    expected = outlook(policy, rollout.progress)
    if expected:
        notes.append(Text(expected, "dim"))
    return Group(*parts, *notes)


def _row(name: str, standing: Standing, metric: Metric | None) -> tuple[Text, ...]:
    slow = f" > {_time(standing.slower_than)}" if standing.slower_than is not None else ""
    watched = " (dry run)" if metric is not None and metric.dry_run else ""
    blamed = f" ({100 * standing.blame:.0f} %)" if 0 < standing.blame < 0.995 and standing.meter > 0 else ""
    return (
        Text(f"{name}{slow}{watched}"),
        Text(_side(standing.candidate, metric)),
        Text(_side(standing.stable, metric)),
        Text(f"{standing.ratio:.1f}x" if standing.ratio is not None else "–"),
        Text(f"{standing.meter:.0f} %{blamed}", "red" if standing.meter >= 50 else ""),
        Text(f"{standing.cleared:.0f} %", "green" if standing.cleared >= 100 else ""),
    )


def _side(side: Side, metric: Metric | None) -> str:
    """``10/1000 = 1.00 % (0.5–1.8 %)``; the interval holds at all looks together."""
    if side.requests <= 0:
        return "no requests yet"
    alpha = terms_of(metric.compare).alpha if metric is not None and metric.compare is not None else 0.05
    low, high = anytime(side.bad, side.requests, 1.0 - alpha)
    return f"{side} ({100 * low:.2g}–{100 * high:.2g} %)"


def _confidence(policy: Policy | None) -> str:
    compared = policy.analysis.compared if policy is not None else ()
    alphas = [terms_of(each.compare).alpha for each in compared if each.compare and not each.dry_run]
    return f", with {100 * (1 - min(alphas)):g} % confidence" if alphas else ""


def _time(seconds: float) -> str:
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"
