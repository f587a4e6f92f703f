"""What one field of a policy says about another.

Each rule reads the document as it was written and tolerates everything that is not its business (the
schema complains about that), so that all faults are found in one pass, whatever else is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from autocanary.errors import InputError
from autocanary.model.measurement import Unit
from autocanary.model.policy import Component
from autocanary.policy_files.comparison_checks import check_comparisons, check_metric, compares
from autocanary.policy_files.metric_presets import PRESETS, Preset
from autocanary.policy_files.policy_errors import Fault, Path
from autocanary.policy_files.raw_document import entries, mapping
from autocanary.policy_files.schema_errors import NO_METRIC, nearest
from autocanary.policy_files.units import QuantityError, bound, shown
from autocanary.promql import PLACEHOLDERS, fill, placeholders

__all__ = ["check", "sample_of"]

_SAMPLE: dict[str, str | float] = dict.fromkeys(PLACEHOLDERS, "sample") | {"window": 60.0, "interval": 60.0}
_STEPS_HINT = "for example stepWeights: [10, 25, 50, 100] with stepDuration: 5m"


def check(document: Any) -> Iterator[Fault]:
    """Every fault that the rules find."""
    yield from _no_empty_values(document, ())
    spec = mapping(document, "spec")
    if spec is None:
        return
    metadata = mapping(document, "metadata") or {}
    yield from _namespaces(spec, metadata)
    for rule in _RULES:
        yield from rule(spec)


def _no_empty_values(value: Any, path: Path) -> Iterator[Fault]:
    """``bake:`` with nothing after it is more likely forgotten than meant."""
    if value is None:
        hint = "give it a value, or leave the line out"
        if path[-1:] == ("pause",):
            hint = "write pause: {} to wait for a person, or pause: {duration: 5m}"
        elif path[-1:] == ("compare",):
            hint = "write compare: {to: stable}"
        elif path[-1:] == ("channel",):
            hint = 'without quotes a # starts a comment: write "#ml-ops"'
        yield Fault(path, "there is no value here", hint)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _no_empty_values(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _no_empty_values(inner, (*path, index))


def _namespaces(spec: dict[str, Any], metadata: dict[str, Any]) -> Iterator[Fault]:
    selector = mapping(spec, "selector") or {}
    if metadata.get("namespace") and "namespaces" in selector:
        yield Fault(
            ("spec", "selector", "namespaces"),
            f"this policy already applies to the namespace {shown(metadata['namespace'])} alone",
            "leave out selector.namespaces, or in a file metadata.namespace",
            at_key=True,
        )


def _one_form_of_steps(spec: dict[str, Any]) -> Iterator[Fault]:
    if "steps" in spec and "stepWeights" in spec:
        yield Fault(
            ("spec", "steps"),
            "steps and stepWeights say the same thing twice",
            "keep one of them",
            at_key=True,
        )
    elif "steps" in spec and "stepDuration" in spec:
        hint = "write - pause: {duration: 5m} after each - setWeight"
        yield Fault(
            ("spec", "stepDuration"), "stepDuration belongs to stepWeights, not to steps", hint, at_key=True
        )
    elif "stepWeights" in spec and "stepDuration" not in spec and not compares(spec):
        hint = "add stepDuration: 5m, how long each step is held at least"
        yield Fault(("spec", "stepWeights"), "stepDuration is missing", hint, at_key=True)
    elif "steps" not in spec and "stepWeights" not in spec:
        yield Fault(("spec",), "the policy has no steps", _STEPS_HINT)


def _weights_rise(spec: dict[str, Any]) -> Iterator[Fault]:
    weights = [
        (("spec", "stepWeights", index), each) for index, each in enumerate(entries(spec, "stepWeights"))
    ]
    yield from _rising(weights)


def _steps_make_sense(spec: dict[str, Any]) -> Iterator[Fault]:
    weights: list[tuple[Path, Any]] = []
    for index, step in enumerate(entries(spec, "steps")):
        here: Path = ("spec", "steps", index)
        if not isinstance(step, dict):
            continue
        if "setWeight" in step and "pause" in step:
            yield Fault(
                here, "a step is either setWeight or pause", "write them as two steps, each with its own -"
            )
        elif not step:
            yield Fault(here, "the step is empty", "write - setWeight: 10 or - pause: {duration: 5m}")
        if "pause" in step and "setWeight" not in step and not weights:
            yield Fault(
                here,
                "a pause before the first setWeight has no candidate traffic to judge",
                "begin with - setWeight; to start later use windows or a pre-rollout webhook",
            )
        if "setWeight" in step:
            weights.append(((*here, "setWeight"), step["setWeight"]))
    if entries(spec, "steps") and not weights:
        yield Fault(("spec", "steps"), "no step sets a weight", "begin with - setWeight: 10")
    yield from _rising(weights)


def _rising(weights: Sequence[tuple[Path, Any]]) -> Iterator[Fault]:
    whole = [(path, each) for path, each in weights if type(each) is int and 1 <= each <= 100]
    for (_, before), (path, after) in pairwise(whole):
        if after <= before:
            hint = "each step gives the candidate more traffic than the one before"
            yield Fault(path, f"the weight {shown(after)} follows {shown(before)}", hint)


def _metrics(spec: dict[str, Any]) -> Iterator[Fault]:
    analysis = mapping(spec, "analysis")
    if analysis is None:
        return
    metrics = entries(analysis, "metrics")
    base: Path = ("spec", "analysis", "metrics")
    if metrics and all(isinstance(each, dict) and each.get("dryRun") is True for each in metrics):
        yield Fault(
            base,
            "every metric is dryRun, so nothing would stop a bad candidate",
            f"leave dryRun out of at least one; {NO_METRIC[1]}",
        )
    yield from _names_once(metrics, base, "metric")
    for index, metric in enumerate(metrics):
        if isinstance(metric, dict):
            yield from _metric(metric, (*base, index))


def _metric(metric: dict[str, Any], here: Path) -> Iterator[Fault]:
    name, query = metric.get("name"), metric.get("query")
    preset = PRESETS.get(name) if isinstance(name, str) else None
    if "query" in metric:
        if preset is not None:
            hint = "leave the query out, or call the metric something else"
            yield Fault((*here, "name"), f"{name} is a preset and has its own query", hint)
        if isinstance(query, str):
            yield from _query(query, (*here, "query"))
    elif isinstance(name, str) and preset is None:
        near = nearest(name, PRESETS)
        known = f"did you mean {near}?" if near else f"presets: {', '.join(PRESETS)}"
        message = f"there is no preset {shown(name)!r}, and no query"
        yield Fault((*here, "name"), message, f"{known}; else add a query", meant=near)
    if "quantile" in metric and ("query" in metric or (preset is not None and not preset.has_quantile)):
        reason = "the query itself says which quantile" if "query" in metric else f"{name} has no quantile"
        yield Fault((*here, "quantile"), reason, "leave it out", at_key=True)
    if "query" in metric or preset is not None:
        yield from check_metric(metric, here)
    if ("query" in metric) == (preset is not None):
        yield from _range_of_unknown_unit(metric, here)
    else:
        yield from _range(metric, preset, here)


def _range_of_unknown_unit(metric: dict[str, Any], here: Path) -> Iterator[Fault]:
    """What is wrong with limits in whatever unit they are."""
    readings = [list(_range(metric, Preset(unit, "", "{max: 0}"), here)) for unit in Unit]
    yield from min(readings, key=lambda faults: sum(len(each.path) > len(here) + 1 for each in faults))


def _range(metric: dict[str, Any], preset: Preset | None, here: Path) -> Iterator[Fault]:
    limits = mapping(metric, "thresholdRange")
    if limits is None:
        return
    here = (*here, "thresholdRange")
    example = preset.example if preset else "{max: 0}"
    if not {"min", "max"} & set(limits):
        yield Fault(here, "the range has neither min nor max", f"for example thresholdRange: {example}")
    unit, one = (preset.unit, preset.one_is_ratio) if preset else (Unit.NUMBER, False)
    ends: dict[str, float] = {}
    for end in ("min", "max"):
        value = limits.get(end)
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            try:
                ends[end] = bound(value, unit, one_is_ratio=one)
            except QuantityError as error:
                yield Fault((*here, end), error.message, error.hint)
    if len(ends) == 2 and ends["min"] > ends["max"]:
        message = (
            f"min {shown(limits['min'])} is more than max {shown(limits['max'])}, so every value is a breach"
        )
        yield Fault(here, message, "swap them")


def sample_of(query: str) -> str:
    """The query with samples for its placeholders, unknown ones included; InputError for malformed ones."""
    return fill(query, _lenient(placeholders(query)))


def _query(query: str, here: Path) -> Iterator[Fault]:
    if not query.strip():
        yield Fault(here, "the query is empty", "write PromQL that answers one number")
        return
    try:
        unknown = [name for name in placeholders(query) if name not in PLACEHOLDERS]
        for name in unknown:
            yield from _unfilled(f"{{{{ {name} }}}}", _SAMPLE, here)
        yield from _unfilled(query, _lenient(unknown), here)
    except InputError as error:
        yield Fault(here, str(error))


def _unfilled(query: str, samples: Mapping[str, str | float], here: Path) -> Iterator[Fault]:
    try:
        fill(query, samples)
    except InputError as error:
        yield Fault(here, str(error))


def _lenient(unknown: Iterable[str]) -> Mapping[str, str | float]:
    """Samples for unknown placeholders, too; a duration may stand inside quotes and outside."""
    return {**dict.fromkeys(unknown, 60.0), **_SAMPLE}


def _after(spec: dict[str, Any]) -> Iterator[Fault]:
    own = spec.get("component", Component.PREDICTOR.value)
    named = entries(spec, "after")
    for index, each in enumerate(named):
        here: Path = ("spec", "after", index)
        if each == own:
            yield Fault(here, f"the {own}'s rollout cannot wait for itself", "name another component")
        elif isinstance(each, str) and each in named[:index]:
            yield Fault(here, f"{shown(each)} is listed twice", "keep one")


def _webhooks(spec: dict[str, Any]) -> Iterator[Fault]:
    yield from _names_once(entries(spec, "webhooks"), ("spec", "webhooks"), "webhook")


def _notifications(spec: dict[str, Any]) -> Iterator[Fault]:
    for index, each in enumerate(entries(spec, "notifications")):
        here: Path = ("spec", "notifications", index)
        if not isinstance(each, dict):
            continue
        if "slack" in each and "webhook" in each:
            yield Fault(here, "an entry tells one place", "write slack and webhook as two entries")
        elif not each:
            yield Fault(here, "the entry is empty", 'for example - slack: {channel: "#ml-ops"}')


def _windows(spec: dict[str, Any]) -> Iterator[Fault]:
    for index, window in enumerate(entries(spec, "windows")):
        days = entries(window, "days") if isinstance(window, dict) else []
        for at, day in enumerate(days):
            if day in days[:at]:
                yield Fault(
                    ("spec", "windows", index, "days", at), f"{shown(day)} is listed twice", "keep one"
                )


def _names_once(named: list[Any], base: Path, kind: str) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, each in enumerate(named):
        name = each.get("name") if isinstance(each, dict) else None
        if isinstance(name, str):
            if name in seen:
                hint = f"give each {kind} a name of its own"
                if name in PRESETS:
                    hint = "a preset is used once; for a second quantile write a query"
                yield Fault((*base, index, "name"), f"the {kind} {shown(name)} is listed twice", hint)
            seen.add(name)


_RULES: tuple[Callable[[dict[str, Any]], Iterator[Fault]], ...] = (
    _after,
    _one_form_of_steps,
    _weights_rise,
    _steps_make_sense,
    _metrics,
    check_comparisons,
    _windows,
    _webhooks,
    _notifications,
)
