"""Errors and warnings of a set of policies, found without Prometheus or a cluster.

Errors are what cannot work: PromQL that does not parse, and policies that contradict each other (the same
name, the same services, an order of components in a circle). Warnings are what works and is probably not meant.

Over 300 lines because each warning is one short check of a whole policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from autocanary.decide.policy_selection import selectors_overlap
from autocanary.errors import InputError, Problem
from autocanary.model.measurement import Unit
from autocanary.model.policy import FULL_WEIGHT, Analysis, Component, Policy, Selector
from autocanary.policy_files.analysis_schema import AnalysisFields
from autocanary.policy_files.comparison_checks import check_late_comparisons, has_comparison, metric_lists
from autocanary.policy_files.compile import MIN_COMPARED_STEP
from autocanary.policy_files.component_order import check_component_order
from autocanary.policy_files.cross_field_checks import with_sample_values
from autocanary.policy_files.field_types import StrictModel
from autocanary.policy_files.loader import LoadedDocument
from autocanary.policy_files.metric_presets import PRESETS
from autocanary.policy_files.policy_errors import FieldPath, FieldProblem, SourcePositions, to_problem
from autocanary.policy_files.raw_document import RawMapping, get_list, get_mapping
from autocanary.policy_files.schema import Spec
from autocanary.policy_files.typo_repair import RepairedDocument
from autocanary.policy_files.units import (
    QuantityError,
    format_duration,
    format_number,
    parse_seconds,
    parse_threshold,
)
from autocanary.policy_files.validate_document import policy_key
from autocanary.promql import result_type, syntax_error

__all__ = ["check_against_earlier", "lint", "selector_policy"]


def check_against_earlier(
    at: int, documents: Sequence[LoadedDocument], selector_policies: Sequence[Policy | None]
) -> Iterator[FieldProblem]:
    """Of the document at this index; each error once, with the first of the others."""
    reported: set[FieldPath] = set()
    mine, selector_policy = documents[at], selector_policies[at]
    for earlier, theirs in zip(documents[:at], selector_policies, strict=False):
        for field_problem in _same_name(earlier, mine) or _same_services(theirs, selector_policy, mine):
            if field_problem.severity != "error" or field_problem.path not in reported:
                yield field_problem
            if field_problem.severity == "error":
                reported.add(field_problem.path)


def _same_name(earlier: LoadedDocument, later: LoadedDocument) -> list[FieldProblem]:
    mine = policy_key(later.repaired.value)
    if not mine[1] or mine != policy_key(earlier.repaired.value):
        return []
    message = f"the name {mine[1]} is already used at {earlier.position}, and only that policy is in force"
    return [FieldProblem(("metadata", "name"), message, "each policy needs its own name")]


def _same_services(earlier: Policy | None, later: Policy | None, raw: LoadedDocument) -> list[FieldProblem]:
    if earlier is None or later is None or not selectors_overlap(earlier, later):
        return []
    has_selector = "selector" in (get_mapping(raw.repaired.value, "spec") or {})
    path: FieldPath = ("spec", "selector") if has_selector else ("spec",)
    both = f"{later.name} ({later.origin}) and {earlier.name} ({earlier.origin})"
    if _always_overlap(earlier, later):
        message = f"{both} select the same services equally specifically, so neither would be applied to them"
        hint = "make one selector more specific, for example by naming the service"
        return [FieldProblem(path, message, hint, at_key=True)]
    message = f"{both} may select one service equally specifically; neither would be applied to it"
    hint = "make one selector more specific if such a service exists"
    return [FieldProblem(path, message, hint, at_key=True, severity="warning")]


def _always_overlap(one: Policy, other: Policy) -> bool:
    """Whether whatever one of them selects by some pattern, the other selects by the same."""

    def shared(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
        return bool(set(ours) & set(theirs)) or not (ours or theirs)

    return (
        shared(one.selector.names, other.selector.names)
        and one.selector.labels == other.selector.labels
        and (bool(one.namespace) or shared(one.selector.namespaces, other.selector.namespaces))
    )


def selector_policy(loaded: LoadedDocument) -> Policy | None:
    """Selector, component and order, as a policy of nothing else; None when the document does not say them."""
    if loaded.policy is not None:
        return loaded.policy
    document = loaded.repaired.value
    spec = get_mapping(document, "spec")
    if spec is None:
        return None
    selector = spec.get("selector", {})
    if not isinstance(selector, dict):
        return None
    names, namespaces = get_list(selector, "names"), get_list(selector, "namespaces")
    labels = get_mapping(selector, "matchLabels") or {}
    component = spec.get("component", Component.PREDICTOR.value)
    words = [*names, *namespaces, *labels, *labels.values(), component]
    whole = all(isinstance(part, dict if name == "matchLabels" else list) for name, part in selector.items())
    if not whole or not all(isinstance(word, str) for word in words) or component not in list(Component):
        return None
    namespace, name = policy_key(document)
    return Policy(
        name=name or "the policy",
        namespace=namespace,
        selector=Selector(tuple(names), tuple(namespaces), tuple(sorted(labels.items()))),
        steps=(),
        analysis=Analysis(metrics=()),
        component=Component(component),
        after=tuple(each for each in Component if each.value in get_list(spec, "after")),
        origin=loaded.position,
    )


_TWO_SCRAPES = 30.0  # seconds; most Prometheus servers scrape every 15 or 30
_ANALYSIS: FieldPath = ("spec", "analysis")


def lint(documents: Sequence[LoadedDocument]) -> tuple[Problem, ...]:
    """Problems of a set of loaded documents, file by file and from top to bottom.

    A document that is no policy yet is examined too, so that one run names all problems.
    """
    problems: list[Problem] = []
    selector_policies = [selector_policy(each) for each in documents]
    order_problems = check_component_order(selector_policies)
    for at, loaded in enumerate(documents):
        field_problems = [
            field_problem for lint_check in _CHECKS for field_problem in lint_check(loaded.repaired.value)
        ]
        field_problems += _unquoted_times(loaded.repaired, loaded.positions)
        field_problems += dict.fromkeys(check_against_earlier(at, documents, selector_policies))
        field_problems += order_problems.get(at, ())
        original = (
            replace(field_problem, path=loaded.repaired.original(field_problem.path))
            for field_problem in field_problems
        )
        problems += [to_problem(field_problem, loaded.source, loaded.positions) for field_problem in original]
    order = {source: at for at, source in enumerate(dict.fromkeys(each.source for each in documents))}
    return tuple(sorted(problems, key=lambda each: (order[each.source], each.line, each.column)))


def _queries(document: RawMapping) -> Iterator[FieldProblem]:
    for path, metric in _metrics(document):
        query = metric.get("query")
        if isinstance(query, str) and query.strip():
            yield from _query(query, (*path, "query"))


def _query(query: str, path: FieldPath) -> Iterator[FieldProblem]:
    try:
        query = with_sample_values(query)
    except InputError:
        return  # its placeholders are complained about already
    error_text = syntax_error(query)
    if error_text is not None:
        hint = "if the syntax is newer than this parser, let Prometheus decide with --prometheus-url"
        yield FieldProblem(path, error_text, hint)
    elif result_type(query) in ("matrix", "string"):
        what = "a range of samples" if result_type(query) == "matrix" else "text"
        yield FieldProblem(path, f"the query answers {what}, not a number", "for example sum(rate(…[{{ window }}]))")


def _selector(document: RawMapping) -> Iterator[FieldProblem]:
    selector, (namespace, _) = _spec(document).get("selector", {}), policy_key(document)
    if _spec(document) and isinstance(selector, dict) and not (namespace or any(selector.values())):
        message = "the policy governs every InferenceService in every watched namespace"
        yield FieldProblem(("spec",), message, "narrow it with a selector if that is not meant", True, "warning")


def _interval(document: RawMapping) -> Iterator[FieldProblem]:
    interval, shortest = _seconds(_analysis(document), "interval"), _shortest_hold(_spec(document))
    if interval is not None and shortest is not None and shortest < interval:
        message = (
            f"the interval {format_duration(interval)} is longer than the shortest step ({format_duration(shortest)})"
        )
        hint = "the step lasts until the next evaluation; shorten the interval or lengthen the step"
        yield FieldProblem((*_ANALYSIS, "interval"), message, hint, severity="warning")


def _consecutive_successes(document: RawMapping) -> Iterator[FieldProblem]:
    """A number of evaluations in a row for which no step has the time."""
    interval, shortest = _seconds(_analysis(document), "interval"), _shortest_hold(_spec(document))
    deadline = _seconds(_spec(document), "progressDeadline", Spec)
    if interval is None or shortest is None or deadline is None:
        return
    for path, metric in _metrics(document):
        least = metric.get("consecutiveSuccessLimit")
        if type(least) is not int or least * interval <= shortest + deadline:
            continue
        message = (
            f"{least} evaluations take {format_duration(least * interval)}, longer than the shortest step "
            f"({format_duration(shortest)}) and progressDeadline ({format_duration(deadline)}): no step can pass"
        )
        hint = "lower it, shorten analysis.interval, or lengthen progressDeadline"
        yield FieldProblem((*path, "consecutiveSuccessLimit"), message, hint, severity="warning")


def _shortest_hold(spec: RawMapping) -> float | None:
    """Of the steps before the last that do not wait for a user; None where there is none that can be read."""
    if "stepWeights" in spec:
        weights = get_list(spec, "stepWeights")
        before_the_last = weights[:-1] if weights[-1:] == [FULL_WEIGHT] else weights
        return parse_seconds(spec.get("stepDuration")) if before_the_last else None
    holds: list[float | None] = []
    least: list[float] = []
    analysis, last = get_mapping(spec, "analysis") or {}, None
    for step in get_list(spec, "steps"):
        pause = get_mapping(step, "pause")
        if isinstance(step, dict) and "setWeight" in step:
            analysis = {**analysis, **(get_mapping(step, "analysis") or {})}
            holds, last = [*holds, 0.0], step["setWeight"]
            least.append(MIN_COMPARED_STEP if has_comparison({"analysis": analysis}) else 0.0)
        elif pause is not None and holds:
            more, so_far = parse_seconds(pause.get("duration")), holds[-1]
            holds[-1] = so_far + more if so_far is not None and more is not None else None
    held = [hold or at_least if hold is not None else None for hold, at_least in zip(holds, least, strict=True)]
    known = [each for each in (held[:-1] if last == FULL_WEIGHT else held) if each is not None]
    return min(known, default=None)


def _window(document: RawMapping) -> Iterator[FieldProblem]:
    analysis = _analysis(document)
    interval = _seconds(analysis, "interval")
    windows: list[tuple[FieldPath, float | None]] = [((*_ANALYSIS, "window"), _seconds(analysis, "window"))]
    windows += [((*path, "window"), parse_seconds(metric.get("window"))) for path, metric in _metrics(document)]
    windows += [((*path, "window"), parse_seconds(each.get("window"))) for path, each in _step_analyses(document)]
    for path, window in windows:
        if window is None:
            continue
        text, at_least = format_duration(window), format_duration(interval or 0.0)
        if interval is not None and window < interval:
            message = f"the window {text} is shorter than the interval {at_least}: some requests are not evaluated"
            yield FieldProblem(path, message, f"make the window at least {at_least}", severity="warning")
        elif window < _TWO_SCRAPES:
            message = f"the window {text} may hold a single scrape of Prometheus, and a rate needs two"
            yield FieldProblem(
                path, message, "make it at least twice the scrape interval, such as 1m", severity="warning"
            )


def _min_requests(document: RawMapping) -> Iterator[FieldProblem]:
    for path, analysis in ((_ANALYSIS, _analysis(document)), *_step_analyses(document)):
        least = analysis.get("minRequests")
        if type(least) is int and least == 0:
            message = "with minRequests 0 a single request can fail or pass a step"
            yield FieldProblem((*path, "minRequests"), message, "50 is the default", severity="warning")
    for path, metric in _metrics(document):
        name, limits = metric.get("name"), get_mapping(metric, "thresholdRange")
        if not isinstance(name, str) or name not in PRESETS or "query" in metric or not limits:
            continue
        ends = _percentages(limits, one_is_ratio=PRESETS[name].one_is_ratio)
        if PRESETS[name].unit is Unit.PERCENT and ends is not None and ends[0] <= 0 and ends[1] >= 100:
            within = f"{format_number(ends[0])} to {format_number(ends[1])}"
            message = f"every percentage is within {within}, so {name} can never be violated"
            yield FieldProblem((*path, "thresholdRange"), message, "for example {min: 99}", severity="warning")


def _percentages(limits: RawMapping, *, one_is_ratio: bool) -> tuple[float, float] | None:
    try:
        low = parse_threshold(limits["min"], Unit.PERCENT, one_is_ratio=one_is_ratio) if "min" in limits else 0.0
        high = parse_threshold(limits["max"], Unit.PERCENT, one_is_ratio=one_is_ratio) if "max" in limits else 100.0
    except QuantityError:
        return None
    return low, high


def _unquoted_times(repaired: RepairedDocument, positions: SourcePositions) -> Iterator[FieldProblem]:
    for index in range(len(get_list(_spec(repaired.value), "windows"))):
        for end in ("from", "to"):
            path: FieldPath = ("spec", "windows", index, end)
            text = positions.unquoted.get(repaired.original(path))
            if text is not None:
                message = f"{text} without quotes is text only by its digits: YAML 1.1 reads 17:00 as the number 1020"
                yield FieldProblem(path, message, f'write "{text}"', severity="warning")


_CHECKS: tuple[Callable[[RawMapping], Iterator[FieldProblem]], ...] = (
    _queries,
    _selector,
    _interval,
    _consecutive_successes,
    check_late_comparisons,
    _window,
    _min_requests,
)


def _spec(document: RawMapping) -> RawMapping:
    return get_mapping(document, "spec") or {}


def _analysis(document: RawMapping) -> RawMapping:
    return get_mapping(_spec(document), "analysis") or {}


def _metrics(document: RawMapping) -> Iterator[tuple[FieldPath, dict[str, Any]]]:
    for base, metrics in metric_lists(_spec(document)):
        for index, metric in enumerate(metrics):
            if isinstance(metric, dict):
                yield (*base, index), metric


def _step_analyses(document: RawMapping) -> Iterator[tuple[FieldPath, RawMapping]]:
    for index, step in enumerate(get_list(_spec(document), "steps")):
        analysis = get_mapping(step, "analysis")
        if analysis is not None:
            yield ("spec", "steps", index, "analysis"), analysis


def _seconds(raw: RawMapping, name: str, schema: type[StrictModel] = AnalysisFields) -> float | None:
    """Of a duration by the name that a policy has for it; None where it cannot be read."""
    if name in raw:
        return parse_seconds(raw[name])
    fields = schema.model_fields
    return next(each.default for at, each in fields.items() if name in (at, each.alias))  # type: ignore[no-any-return]
