"""``explain``: why a rollout is where it is, what decided, what comes next; or one decision, made again."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autocanary.cli import backend, follow, printing
from autocanary.cli.object_names import parse_name
from autocanary.cli.printing import Context, Kubeconfig, Namespace, Output, OutputFormat
from autocanary.cli.requests import find_named
from autocanary.cli.rollout_view import phase_style
from autocanary.model.comparison_wording import evidence_text
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout
from autocanary.model.time_format import format_time
from autocanary.model.value_wording import format_duration
from autocanary.views import DecisionExplanation, EvidenceRow, Explanation, explain_decision, explain_rollout

__all__ = ["explain", "render_decision", "render_explanation"]

_VERDICTS = {True: ("pass", "green"), False: ("violation", "red"), None: ("unknown", "yellow")}
_SHORT_INPUTS = ("now", "cacheAge", "acknowledgedWeight", "paused", "request", "unsupportedReason")

_METRIC_WIDTH = 24


def explain(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="An InferenceService or a CanaryRollout: mnist, isvc/mnist, models/mnist."),
    ],
    decision: Annotated[
        int | None,
        typer.Option(
            "--decision",
            metavar="N",
            help="Explain decision N, and make it again from its inputs; -1 is the newest. `status NAME` lists them.",
        ),
    ] = None,
    output: OutputFormat = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Explain a rollout: what it waits for, which rule decided, the evidence, and what comes next.

    -o wide adds the policy as declared and as in force, and every rule before the one that decided.

    With --decision: the inputs of one decision and its rule. The same code makes it again; exit code 1 when it decides
    otherwise.
    """
    wanted = parse_name(name, namespace)
    with closing(backend.open_client(kubeconfig, context)) as client:
        where, rollouts = find_named(client, wanted, namespace)
        rollout = follow.find_rollout(rollouts, wanted.name)
        if rollout is None:
            printing.print_notice(
                f"there is no rollout of {wanted.name} in namespace {where}; `autocanary policies` shows whether a "
                "policy selects it"
            )
            raise typer.Exit(printing.FAILURE)
        policy = backend.policy_of(rollout)
        if decision is not None:
            raise typer.Exit(_print_decision(rollout, policy, decision, output))
        found = explain_rollout(rollout, policy, follow.now())
    if output in (Output.JSON, Output.YAML):
        printing.document(_plain(found), output)
    else:
        printing.page().print(render_explanation(found, follow.now(), wide=output is Output.WIDE))


def _print_decision(rollout: Rollout, policy: Policy | None, number: int, output: Output) -> int:
    found = explain_decision(rollout, policy, number)
    if found is None:
        count = len(rollout.progress.decisions)
        kept = f"decisions 1 to {count} are" if count else "none is"
        printing.print_notice(f"{rollout.namespace}/{rollout.name} has no decision {number}; {kept} recorded")
        return printing.FAILURE
    if output in (Output.JSON, Output.YAML):
        printing.document(_plain(found), output)
    else:
        printing.page().print(render_decision(rollout, found, wide=output is Output.WIDE))
    return printing.FAILURE if found.is_same is False else printing.SUCCESS


def _plain(value: Any) -> dict[str, Any]:
    """JSON-safe: tuples as lists."""
    return {key: _listed(each) for key, each in asdict(value).items()}


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(each) for key, each in value.items()}
    return [_listed(each) for each in value] if isinstance(value, list | tuple) else value


def _facts() -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def render_explanation(found: Explanation, now: float, *, wide: bool) -> RenderableType:
    style = phase_style(Phase(found.phase))
    head = Text(f"{found.namespace}/{found.service}: {found.candidate} instead of {found.stable}", "bold")
    weight = 100 if found.weight is None else found.weight
    of = f" of {found.steps}" if found.steps else ""
    step = f" · step {found.step}{of}" if found.step else ""
    began = f"began {format_time(found.started_at)}, {format_duration((found.finished_at or now) - found.started_at)}"
    state = Text(found.phase, f"bold {style}")
    state.append(f" at {weight} %{step} · {began}", "not bold default")
    facts = _facts()
    _add(facts, "Model", found.models.text)
    _add(facts, "Released by", found.released_by)
    running = found.finished_at is None
    _add(facts, "Why not now" if running else "Ended", found.wait.text)
    _add(facts, "Restore", found.restore)
    _add(facts, "To do", found.advice)
    decided = "Last decision" if running else "Decided"
    _add(facts, decided, _decision_line(found.decision, found.message))
    _add(facts, "Rule", _rule_line(found.decision))
    _add(facts, "Sources", ", ".join(found.sources))
    _add(facts, "Forecast", found.forecast)
    parts: list[RenderableType] = [head, state, Text(), facts]
    if found.evidence:
        parts += [Text(), _evidence_table(found.evidence)]
        if found.evidence_percent is not None:
            together = "" if sum(bool(row.comparison) for row in found.evidence) < 2 else "all metrics together: "
            parts.append(Text(f"{together}{evidence_text(found.evidence_percent)}"))
        for row in found.evidence:
            parts += [Text(f"{row.title}: {line}", "dim") for line in row.comparison]
    if found.next_events:
        events = _facts()
        for event in found.next_events:
            when = "" if event.at is None else f"in {format_duration(max(0.0, event.at - now))}"
            events.add_row(when or "–", Text(event.text))
        parts += [Text(), Text("What comes next", "bold"), events]
    policy = _facts()
    _add(policy, "Policy", f"{found.policy.name}{f' ({found.policy.origin})' if found.policy.origin else ''}")
    _add(policy, "", found.policy.note)
    if wide:
        for field, value in found.policy.in_force:
            _add(policy, f"  {field}", value)
    elif found.policy.in_force:
        _add(policy, "  steps", dict(found.policy.in_force).get("steps", ""))
    parts += [Text(), policy]
    if wide:
        parts += [Text("As declared", "bold"), Text(found.policy.declared)]
        if found.decision is not None:
            parts += [Text(), Text("Rules", "bold"), _rule_table(found.decision)]
    return Group(*parts)


def _add(table: Table, name: str, text: str) -> None:
    if text:
        table.add_row(name, Text(text))


def _decision_line(decision: DecisionExplanation | None, shown: str) -> str:
    """Without a message that is shown already."""
    if decision is None:
        return ""
    at = format_time(decision.at) or ""
    by = f", requested by {decision.requested_by}" if decision.requested_by else ""
    message = "" if decision.message == shown else f": {decision.message}"
    return f"{decision.number} of {decision.count}, {at}{by}: {decision.reason}{message}"


def _rule_line(decision: DecisionExplanation | None) -> str:
    if decision is None or not decision.rules:
        return ""
    *before, rule = decision.rules
    others = f"; the {len(before)} rules before it did not apply" if before else ""
    return f"{decision.rule or 'none'}: {rule.description}{others}"


def _evidence_table(rows: tuple[EvidenceRow, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    names = max((len(row.title) for row in rows), default=0)
    table.add_column("EVIDENCE", overflow="fold", min_width=min(names, _METRIC_WIDTH))  # never cut: names may be alike
    table.add_column("NOW", overflow="fold")
    table.add_column("NEEDED", overflow="fold")
    for column in ("VIOLATIONS", "REQUESTS"):
        table.add_column(column, justify="right", min_width=len(column))
    table.add_column("SOURCE", overflow="fold")
    for row in rows:
        _, style = _VERDICTS[row.verdict]
        limit = f"{row.violations} of {row.failure_limit}" if row.failure_limit else str(row.violations)
        table.add_row(
            Text(f"{row.title} (dry run)" if row.dry_run else row.title),
            Text(row.now, style),
            Text(row.needed, "dim"),
            Text(limit, "red" if row.violations else ""),
            Text("–" if row.requests is None else f"{row.requests:,.0f}"),
            Text(row.source or "–"),
        )
    return table


def _rule_table(decision: DecisionExplanation) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for column in ("", "RULE", "WHAT IT DOES"):
        table.add_column(column, overflow="fold")
    for rule in decision.rules:
        mark = Text("applied", "green") if rule.applied else Text("no", "dim")
        table.add_row(mark, Text(rule.name), Text(rule.description, "" if rule.applied else "dim"))
    return table


def render_decision(rollout: Rollout, found: DecisionExplanation, *, wide: bool) -> RenderableType:
    head = Text(f"{rollout.namespace}/{rollout.name}: decision {found.number} of {found.count}", "bold")
    facts = _facts()
    _add(facts, "Time", format_time(found.at) or "")
    _add(facts, "Decided", f"{found.reason}: {found.message}")
    _add(facts, "Then", f"{found.phase} at {found.weight} %")
    _add(facts, "Requested by", found.requested_by)
    _add(facts, "Reason", found.request_reason)
    _add(facts, "Rule", _rule_line(found))
    for name in _SHORT_INPUTS:
        if name in found.inputs:
            value = found.inputs[name]
            _add(facts, f"Input {name}", str(format_time(value) if name == "now" else value))
    for name, state in _mapping(found.inputs.get("metrics")).items():
        _add(facts, f"Input {name}", _metric_input(_mapping(state)))
    observation = _mapping(found.inputs.get("observation"))
    if observation:
        _add(facts, "Input traffic", ", ".join(f"{k} {v} %" for k, v in _mapping(observation.get("traffic")).items()))
        _add(facts, "Input weight", str(observation.get("weight")))
    again = {True: ("the same", "green"), False: ("DIFFERENT", "bold red"), None: ("not possible", "yellow")}
    word, style = again[found.is_same]
    replay = Text(word, style)
    replay.append(f": {found.replay_note}", "not bold default")
    facts.add_row("Made again", replay)
    for field, value in found.replayed.items():
        _add(facts, f"  {field}", str(value))
    parts: list[RenderableType] = [head, facts]
    if found.rules:
        shown = (
            _rule_table(found) if wide else Text(f"not applied: {', '.join(r.name for r in found.rules[:-1])}", "dim")
        )
        parts += [Text(), shown]
    return Group(*parts)


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _metric_input(state: dict[str, Any]) -> str:
    last = _mapping(state.get("last"))
    verdict, _ = _VERDICTS.get(state.get("ok"), _VERDICTS[None])
    value = last.get("value")
    number = f"{value:g} {last.get('unit', '')}" if isinstance(value, int | float) else str(last.get("kind", "–"))
    return f"{number.strip()}, {verdict}, {state.get('violations', 0)} violations"
