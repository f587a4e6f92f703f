"""The tables of ``status``: rollouts in one line each, and the routes of services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from autocanary.cli import follow
from autocanary.cli.comparison_view import evidence_meter
from autocanary.cli.follow import view_of
from autocanary.cli.printing import Output
from autocanary.cli.rollout_view import RolloutView, candidate_share, phase_style
from autocanary.model import value_wording
from autocanary.model.observation import ConditionStatus
from autocanary.model.policy import Component
from autocanary.model.rollout import Rollout

if TYPE_CHECKING:
    from autocanary.kserve.knative_routes import Route

__all__ = ["rollout_table", "route_table", "service_title"]


_SHORT = ["SERVICE", "PHASE", "WEIGHT", "CANDIDATE", "REASON", "AGE"]
_WIDE = [
    *("SERVICE", "PHASE", "STEP", "WEIGHT", "CANDIDATE", "AGE"),
    *("STABLE", "ROLLOUT", "POLICY", "EVIDENCE", "REASON", "WAITS FOR"),
]
_CANDIDATE, _REASON = _SHORT.index("CANDIDATE"), _SHORT.index("REASON")
_GAP, _WIDE_GAP = 2, 3
_STYLES = {ConditionStatus.TRUE: "green", ConditionStatus.FALSE: "red", ConditionStatus.UNKNOWN: "yellow"}


def route_table(routes: Sequence[tuple[str, Route]], *, namespaced: bool) -> Table:
    """Without borders, so that scripts can read its columns; ``namespaced`` adds the namespaces."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="none")
    for column in (("NAMESPACE",) if namespaced else ()) + ("ROUTE", "URL", "READY", "TRAFFIC"):
        table.add_column(column, no_wrap=True)
    for namespace, route in routes:
        cells = [
            Text(route.name),
            Text(route.url or "–"),
            Text(route.ready.value, _STYLES[route.ready]),
            Text(", ".join(f"{percent}% -> {revision}" for revision, percent in route.traffic) or "–"),
        ]
        table.add_row(*([Text(namespace), *cells] if namespaced else cells))
    return table


def rollout_table(rollouts: Sequence[Rollout], scope: str | None, output: Output, width: int | None) -> Table:
    """Without borders, as kubectl's. On a terminal each rollout is one line; elsewhere no cell is cut."""
    views = [view_of(each) for each in rollouts]
    if output is Output.WIDE:
        header, *rows = _wide_rows(views)
    else:
        header, *rows = _short_rows(views, width, namespaced=scope is None)
    if scope is None:
        header = ["NAMESPACE", *header]
        rows = [[Text(view.rollout.namespace), *cells] for view, cells in zip(views, rows, strict=True)]
    gap = _WIDE_GAP if output is Output.WIDE else _GAP
    table = Table(box=None, padding=(0, gap, 0, 0), header_style="none", pad_edge=False)
    for name in header:
        table.add_column(str(name), no_wrap=name not in ("WAITS FOR", "REASON") or output is not Output.WIDE)
    for cells in rows:
        table.add_row(*cells)
    return table


def _short_rows(views: Sequence[RolloutView], width: int | None, *, namespaced: bool) -> list[list[Any]]:
    """SERVICE PHASE WEIGHT CANDIDATE REASON AGE; the sentence after the reason has the rest of the line.

    A terminal that is too narrow cuts the candidate at its beginning (the revision's number is at its end), and then
    the service's name.
    """
    rows = []
    for view in views:
        rollout, progress = view.rollout, view.rollout.progress
        age = value_wording.format_duration(follow.now() - progress.started_at)
        share = f"{candidate_share(view)}%"
        rows.append(
            [service_title(rollout), progress.phase.value, share, rollout.candidate, progress.reason.value, age]
        )
    if width is not None:
        namespaces = max((len(view.rollout.namespace) for view in views), default=0)
        left = width - (max(namespaces, len("NAMESPACE")) + _GAP if namespaced else 0)
        rows = _fit([_SHORT, *rows], [_sentence(view) for view in views], left)[1:]
    return [
        list(_SHORT),
        *(
            [Text(row[0]), Text(row[1], phase_style(view.rollout.progress.phase)), *(Text(each) for each in row[2:])]
            for row, view in zip(rows, views, strict=True)
        ),
    ]


def _fit(rows: list[list[str]], sentences: Sequence[str], width: int) -> list[list[str]]:
    """The rows (the header first) in ``width`` columns: each reason with as much of its sentence as fits."""
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
    free = width - sum(widths) - _GAP * (len(widths) - 1)
    candidates = min(widths[_CANDIDATE], max(len("CANDIDATE"), widths[_CANDIDATE] + free))
    services = min(widths[0], max(len("SERVICE"), widths[0] + free + widths[_CANDIDATE] - candidates))
    reasons = widths[_REASON] + max(0, free)
    header, *others = rows
    fitted = [header]
    for row, sentence in zip(others, sentences, strict=True):
        cells = list(row)
        if cell_len(cells[_CANDIDATE]) > candidates:
            cells[_CANDIDATE] = "…" + cells[_CANDIDATE][1 - candidates :]
        if cell_len(cells[0]) > services:
            cells[0] = cells[0][: services - 1] + "…"
        reason = Text(f"{cells[_REASON]}: {sentence}" if sentence else cells[_REASON])
        reason.truncate(max(reasons, cell_len(cells[_REASON])), overflow="ellipsis")
        cells[_REASON] = reason.plain
        fitted.append(cells)
    return fitted


def _wide_rows(views: Sequence[RolloutView]) -> list[list[Any]]:
    rows: list[list[Any]] = [list(_WIDE)]
    for view in views:
        rollout, progress, policy = view.rollout, view.rollout.progress, view.policy
        of = f"/{len(policy.steps)}" if policy is not None else ""
        rows.append(
            [
                Text(service_title(rollout)),
                Text(progress.phase.value, phase_style(progress.phase)),
                Text(f"{progress.step.index + 1}{of}"),
                Text(f"{candidate_share(view)}%"),
                Text(rollout.candidate),
                Text(value_wording.format_duration(follow.now() - progress.started_at)),
                Text(rollout.stable),
                Text(rollout.name),
                Text(rollout.policy_name),
                Text(evidence_meter(rollout)),
                Text(progress.reason.value),
                Text(_waits_for(view) or view.rollout.progress.message),
            ]
        )
    return rows


def _sentence(view: RolloutView) -> str:
    """What a running rollout waits for; how one ended."""
    waits = _waits_for(view)
    return f"waits for {waits}" if waits else view.rollout.progress.message


def _waits_for(view: RolloutView) -> str:
    return value_wording.describe_wait(view.rollout, view.policy, follow.now())


def service_title(rollout: Rollout) -> str:
    """With the component, unless it is the predictor."""
    if rollout.component is Component.PREDICTOR:
        return rollout.service
    return f"{rollout.service} ({rollout.component.value})"
