"""What one field of a policy says about another.

Each check reads the document as it was written and ignores what the schema checks, so that all problems are
found in one pass, whatever else is wrong.

Over 300 lines because each rule between two fields is one short check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from autocanary.errors import InputError
from autocanary.limits import POLICY_WEB_METRICS, POLICY_WILDCARDS, WEBHOOK_RETRIES, WEBHOOK_SECONDS
from autocanary.model.measurement import Unit, WebAnswerForm
from autocanary.model.policy import Component
from autocanary.model.url_template import URL_PLACEHOLDERS, fill_url, url_placeholders
from autocanary.policy_files.comparison_checks import check_comparisons, check_metric, has_comparison, metric_lists
from autocanary.policy_files.metric_presets import PRESETS, Preset
from autocanary.policy_files.policy_errors import FieldPath, FieldProblem
from autocanary.policy_files.raw_document import get_list, get_mapping, get_value
from autocanary.policy_files.schema_errors import NO_METRIC, closest_word
from autocanary.policy_files.units import QuantityError, format_duration, format_value, parse_seconds, parse_threshold
from autocanary.promql import PLACEHOLDERS, fill_placeholders, find_placeholders, size_problem

__all__ = ["check_cross_fields", "with_sample_values"]

_SAMPLE_VALUES: dict[str, str | float] = dict.fromkeys(PLACEHOLDERS, "sample") | {
    "window": 60.0,
    "interval": 60.0,
}
_STEPS_HINT = "for example stepWeights: [10, 25, 50, 100] with stepDuration: 5m"


def check_cross_fields(document: Any) -> Iterator[FieldProblem]:
    """Every problem that the checks find."""
    yield from _no_empty_values(document, ())
    spec = get_mapping(document, "spec")
    if spec is None:
        return
    metadata = get_mapping(document, "metadata") or {}
    yield from _namespaces(spec, metadata)
    for check in _CHECKS:
        yield from check(spec)


def _no_empty_values(value: Any, path: FieldPath) -> Iterator[FieldProblem]:
    """``bake:`` with nothing after it is more likely forgotten than meant."""
    if value is None:
        hint = "give it a value, or leave the line out"
        if path[-1:] == ("pause",):
            hint = "write pause: {} to wait for autocanary promote, or pause: {duration: 5m}"
        elif path[-1:] == ("compare",):
            hint = "write compare: {to: stable}"
        elif path[-1:] == ("channel",):
            hint = 'without quotes a # starts a comment: write "#ml-ops"'
        yield FieldProblem(path, "there is no value here", hint)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _no_empty_values(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _no_empty_values(inner, (*path, index))


def _namespaces(spec: dict[str, Any], metadata: dict[str, Any]) -> Iterator[FieldProblem]:
    selector = get_mapping(spec, "selector") or {}
    if metadata.get("namespace") and "namespaces" in selector:
        yield FieldProblem(
            ("spec", "selector", "namespaces"),
            f"this policy already applies to the namespace {format_value(metadata['namespace'])} alone",
            "leave out selector.namespaces, or in a file metadata.namespace",
            at_key=True,
        )


def _selector_wildcards(spec: dict[str, Any]) -> Iterator[FieldProblem]:
    selector = get_mapping(spec, "selector") or {}
    patterns = [each for name in ("names", "namespaces") for each in get_list(selector, name)]
    number = sum(each.count(letter) for each in patterns if isinstance(each, str) for letter in "*?[")
    if number > POLICY_WILDCARDS:
        message = f"the selector has {number:,} wildcards, and at most {POLICY_WILDCARDS} are read"
        yield FieldProblem(("spec", "selector"), message, "select the services by a label instead")


def _one_form_of_steps(spec: dict[str, Any]) -> Iterator[FieldProblem]:
    if "steps" in spec and "stepWeights" in spec:
        yield FieldProblem(
            ("spec", "steps"),
            "steps and stepWeights say the same thing twice",
            "keep one of them",
            at_key=True,
        )
    elif "steps" in spec and "stepDuration" in spec:
        hint = "write - pause: {duration: 5m} after each - setWeight"
        yield FieldProblem(
            ("spec", "stepDuration"), "stepDuration belongs to stepWeights, not to steps", hint, at_key=True
        )
    elif "stepWeights" in spec and "stepDuration" not in spec and not has_comparison(spec):
        hint = "add stepDuration: 5m, how long each step is held at least"
        yield FieldProblem(("spec", "stepWeights"), "stepDuration is missing", hint, at_key=True)
    elif "steps" not in spec and "stepWeights" not in spec:
        yield FieldProblem(("spec",), "the policy has no steps", _STEPS_HINT)


def _weights_rise(spec: dict[str, Any]) -> Iterator[FieldProblem]:
    weights = [(("spec", "stepWeights", index), each) for index, each in enumerate(get_list(spec, "stepWeights"))]
    yield from _increasing(weights)


def _step_list(spec: dict[str, Any]) -> Iterator[FieldProblem]:
    weights: list[tuple[FieldPath, Any]] = []
    for index, step in enumerate(get_list(spec, "steps")):
        here: FieldPath = ("spec", "steps", index)
        if not isinstance(step, dict):
            continue
        if "setWeight" in step and "pause" in step:
            yield FieldProblem(
                here, "a step is either setWeight or pause", "write them as two steps, each with its own -"
            )
        elif not step:
            yield FieldProblem(here, "the step is empty", "write - setWeight: 10 or - pause: {duration: 5m}")
        if "pause" in step and "setWeight" not in step and not weights:
            yield FieldProblem(
                here,
                "a pause before the first setWeight has no candidate traffic to analyse",
                "begin with - setWeight; to start later use windows or a pre-rollout webhook",
            )
        if "setWeight" in step:
            weights.append(((*here, "setWeight"), step["setWeight"]))
        elif "analysis" in step:
            hint = "write analysis beside the - setWeight from which it holds"
            yield FieldProblem((*here, "analysis"), "this step sets no weight", hint, at_key=True)
    if get_list(spec, "steps") and not weights:
        yield FieldProblem(("spec", "steps"), "no step sets a weight", "begin with - setWeight: 10")
    yield from _increasing(weights)


def _increasing(weights: Sequence[tuple[FieldPath, Any]]) -> Iterator[FieldProblem]:
    whole = [(path, each) for path, each in weights if type(each) is int and 1 <= each <= 100]
    for (_, before), (path, after) in pairwise(whole):
        if after <= before:
            hint = "each step gives the candidate more traffic than the one before"
            yield FieldProblem(path, f"the weight {format_value(after)} follows {format_value(before)}", hint)


def _metrics(spec: dict[str, Any]) -> Iterator[FieldProblem]:
    for base, metrics in metric_lists(spec):
        yield from _metric_list(metrics, base)


def _metric_list(metrics: list[Any], base: FieldPath) -> Iterator[FieldProblem]:
    if metrics and all(isinstance(each, dict) and each.get("dryRun") is True for each in metrics):
        yield FieldProblem(
            base,
            "every metric is dryRun, so nothing would stop a bad candidate",
            f"leave dryRun out of at least one; {NO_METRIC[1]}",
        )
    yield from _unique_names(metrics, base, "metric")
    for index, metric in enumerate(metrics):
        if isinstance(metric, dict):
            yield from _metric(metric, (*base, index))


def _metric(metric: dict[str, Any], here: FieldPath) -> Iterator[FieldProblem]:
    name, query = metric.get("name"), metric.get("query")
    preset = PRESETS.get(name) if isinstance(name, str) else None
    own = "query" in metric or "web" in metric
    if "query" in metric and "web" in metric:
        hint = "keep one of them, or write two metrics"
        yield FieldProblem((*here, "web"), "a metric has a query or a web service, not both", hint, at_key=True)
    if own:
        if preset is not None:
            hint = f"leave {'the query' if 'query' in metric else 'web'} out, or call the metric something else"
            yield FieldProblem((*here, "name"), f"{name} is a preset and has its own query", hint)
        if isinstance(query, str):
            yield from _query(query, (*here, "query"))
        if (web := get_mapping(metric, "web")) is not None:
            yield from _web(web, (*here, "web"))
    elif isinstance(name, str) and preset is None:
        near = closest_word(name, PRESETS)
        known = f"did you mean {near}?" if near else f"presets: {', '.join(PRESETS)}"
        message = f"there is no preset {format_value(name)!r}, and no query"
        yield FieldProblem((*here, "name"), message, f"{known}; else add a query or web", suggestion=near)
    if "quantile" in metric and (own or (preset is not None and not preset.has_quantile)):
        asked = "query" if "query" in metric else "service that is asked"
        reason = f"the {asked} itself says which quantile" if own else f"{name} has no quantile"
        yield FieldProblem((*here, "quantile"), reason, "leave it out", at_key=True)
    if own or preset is not None:
        yield from check_metric(metric, here)
    if own == (preset is not None):
        yield from _range_of_unknown_unit(metric, here)
    else:
        yield from _range(metric, _SHARE_OF_BAD if _answers_counts(metric) else preset, here)
    if _answers_counts(metric) and "min" in (get_mapping(metric, "thresholdRange") or {}):
        message = "the metric is the share of bad ones, of which no candidate has too few"
        yield FieldProblem((*here, "thresholdRange", "min"), message, "write max, for example {max: 2%}", at_key=True)


def _answers_counts(metric: dict[str, Any]) -> bool:
    return (get_mapping(metric, "web") or {}).get("answer") == WebAnswerForm.COUNTS.value


_SHARE_OF_BAD = Preset(Unit.PERCENT, "", "{max: 2%}")


def _web(web: dict[str, Any], here: FieldPath) -> Iterator[FieldProblem]:
    url = web.get("url")
    if not isinstance(url, str):
        return
    try:
        named = url_placeholders(url)
        fill_url(url, dict.fromkeys(URL_PLACEHOLDERS, "sample"))
    except InputError as error:
        yield FieldProblem((*here, "url"), str(error))
        return
    if "revision" not in named:
        message = "the URL does not name {{ revision }}, so its answer could be about any revision"
        yield FieldProblem((*here, "url"), message, "write for example ?revision={{ revision }}")


def _web_metric_count(spec: dict[str, Any]) -> Iterator[FieldProblem]:
    found = [
        ((*base, index), metric["web"])
        for base, metrics in metric_lists(spec)
        for index, metric in enumerate(metrics)
        if isinstance(metric, dict) and "web" in metric
    ]
    if len(found) > POLICY_WEB_METRICS:
        message = f"the policy has {len(found)} web metrics, and at most {POLICY_WEB_METRICS} are asked"
        yield FieldProblem(found[POLICY_WEB_METRICS][0], message, "let one service answer for several")


def _range_of_unknown_unit(metric: dict[str, Any], here: FieldPath) -> Iterator[FieldProblem]:
    """What is wrong with limits in whatever unit they are."""
    problems_by_unit = [list(_range(metric, Preset(unit, "", "{max: 0}"), here)) for unit in Unit]
    yield from min(
        problems_by_unit,
        key=lambda field_problems: sum(len(each.path) > len(here) + 1 for each in field_problems),
    )


def _range(metric: dict[str, Any], preset: Preset | None, here: FieldPath) -> Iterator[FieldProblem]:
    limits = get_mapping(metric, "thresholdRange")
    if limits is None:
        return
    here = (*here, "thresholdRange")
    example = preset.example if preset else "{max: 0}"
    if not {"min", "max"} & set(limits):
        yield FieldProblem(here, "the range has neither min nor max", f"for example thresholdRange: {example}")
    unit, one = (preset.unit, preset.one_is_ratio) if preset else (Unit.NUMBER, False)
    ends: dict[str, float] = {}
    for end in ("min", "max"):
        value = limits.get(end)
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            try:
                ends[end] = parse_threshold(value, unit, one_is_ratio=one)
            except QuantityError as error:
                yield FieldProblem((*here, end), error.message, error.hint)
    if len(ends) == 2 and ends["min"] > ends["max"]:
        message = (
            f"min {format_value(limits['min'])} is more than max "
            f"{format_value(limits['max'])}, so every value is a violation"
        )
        yield FieldProblem(here, message, "swap them")


def with_sample_values(query: str) -> str:
    """The query with samples for its placeholders, unknown ones included; InputError for malformed ones."""
    return fill_placeholders(query, _sample_values(find_placeholders(query)))


def _query(query: str, here: FieldPath) -> Iterator[FieldProblem]:
    if not query.strip():
        yield FieldProblem(here, "the query is empty", "write PromQL that answers one number")
        return
    if (too_large := size_problem(query)) is not None:
        yield FieldProblem(here, too_large, "record part of it with a recording rule in Prometheus")
        return
    try:
        unknown = [name for name in find_placeholders(query) if name not in PLACEHOLDERS]
        for name in unknown:
            yield from _unfilled(f"{{{{ {name} }}}}", _SAMPLE_VALUES, here)
        yield from _unfilled(query, _sample_values(unknown), here)
    except InputError as error:
        yield FieldProblem(here, str(error))


def _unfilled(query: str, samples: Mapping[str, str | float], here: FieldPath) -> Iterator[FieldProblem]:
    try:
        fill_placeholders(query, samples)
    except InputError as error:
        yield FieldProblem(here, str(error))


def _sample_values(unknown: Iterable[str]) -> Mapping[str, str | float]:
    """Samples for unknown placeholders, too; a duration may be inside quotes and outside."""
    return {**dict.fromkeys(unknown, 60.0), **_SAMPLE_VALUES}


def _component_order(spec: dict[str, Any]) -> Iterator[FieldProblem]:
    own = spec.get("component", Component.PREDICTOR.value)
    named = get_list(spec, "after")
    for index, each in enumerate(named):
        here: FieldPath = ("spec", "after", index)
        if each == own:
            yield FieldProblem(here, f"the {own}'s rollout cannot wait for itself", "name another component")
        elif isinstance(each, str) and each in named[:index]:
            yield FieldProblem(here, f"{format_value(each)} is listed twice", "keep one")


def _webhooks(spec: dict[str, Any]) -> Iterator[FieldProblem]:
    webhooks = get_list(spec, "webhooks")
    yield from _unique_names(webhooks, ("spec", "webhooks"), "webhook")
    for index, each in enumerate(webhooks):
        timeout, retries = parse_seconds(get_value(each, "timeout")), get_value(each, "retries")
        calls = 1 + retries if type(retries) is int and 0 <= retries <= WEBHOOK_RETRIES else 1
        if timeout is not None and timeout * calls > WEBHOOK_SECONDS:
            longest, most = format_duration(timeout * calls), format_duration(WEBHOOK_SECONDS)
            message = f"{calls} calls of {format_duration(timeout)} last {longest}, and at most {most} are allowed"
            hint = "shorten the timeout, or retry less often"
            yield FieldProblem(("spec", "webhooks", index, "timeout"), message, hint)


def _notifications(spec: dict[str, Any]) -> Iterator[FieldProblem]:
    for index, each in enumerate(get_list(spec, "notifications")):
        here: FieldPath = ("spec", "notifications", index)
        if not isinstance(each, dict):
            continue
        if "slack" in each and "webhook" in each:
            yield FieldProblem(here, "an entry has one receiver", "write slack and webhook as two entries")
        elif not each:
            yield FieldProblem(here, "the entry is empty", 'for example - slack: {channel: "#ml-ops"}')


def _windows(spec: dict[str, Any]) -> Iterator[FieldProblem]:
    for index, window in enumerate(get_list(spec, "windows")):
        days = get_list(window, "days") if isinstance(window, dict) else []
        for at, day in enumerate(days):
            if day in days[:at]:
                yield FieldProblem(
                    ("spec", "windows", index, "days", at), f"{format_value(day)} is listed twice", "keep one"
                )


def _unique_names(named: list[Any], base: FieldPath, kind: str) -> Iterator[FieldProblem]:
    seen: set[str] = set()
    for index, each in enumerate(named):
        name = each.get("name") if isinstance(each, dict) else None
        if isinstance(name, str):
            if name in seen:
                hint = f"each {kind} needs its own name"
                if name in PRESETS:
                    hint = "a preset is used once; for a second quantile write a query"
                yield FieldProblem((*base, index, "name"), f"the {kind} {format_value(name)} is listed twice", hint)
            seen.add(name)


_CHECKS: tuple[Callable[[dict[str, Any]], Iterator[FieldProblem]], ...] = (
    _selector_wildcards,
    _component_order,
    _one_form_of_steps,
    _weights_rise,
    _step_list,
    _metrics,
    _web_metric_count,
    check_comparisons,
    _windows,
    _webhooks,
    _notifications,
)
