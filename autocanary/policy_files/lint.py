"""What is doubtful about a set of policies, found without Prometheus or a cluster.

Errors are what would certainly not work: PromQL that does not parse, and what policies say beside each other
(see ``beside`` and ``waiting``). Warnings are what works and is probably not meant.

What is wrong with a policy beside those before it: the same name, or the same services.

Which services a document is about, told even of one that is no policy yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from autocanary.decide.policy_selection import overlaps
from autocanary.errors import InputError, Problem
from autocanary.model.measurement import Unit
from autocanary.model.policy import Analysis, Component, Policy, Selector
from autocanary.policy_files import analysis_schema
from autocanary.policy_files.component_order import waiting
from autocanary.policy_files.cross_field_checks import sample_of
from autocanary.policy_files.loader import Loaded
from autocanary.policy_files.metric_presets import PRESETS
from autocanary.policy_files.policy_errors import Fault, Path, Spots, to_problem
from autocanary.policy_files.raw_document import Written, entries, mapping
from autocanary.policy_files.typo_repair import Draft
from autocanary.policy_files.units import QuantityError, bound, duration, duration_text, number_text
from autocanary.policy_files.validate_document import identity
from autocanary.promql import check, kind

__all__ = ["beside", "lint", "reach"]


def beside(at: int, documents: Sequence[Loaded], reaches: Sequence[Policy | None]) -> Iterator[Fault]:
    """Of the document at this index; each error once, with the first of the others."""
    told: set[Path] = set()
    mine, reach = documents[at], reaches[at]
    for earlier, theirs in zip(documents[:at], reaches, strict=False):
        for fault in _same_name(earlier, mine) or _same_services(theirs, reach, mine):
            if fault.severity != "error" or fault.path not in told:
                yield fault
            if fault.severity == "error":
                told.add(fault.path)


def _same_name(earlier: Loaded, later: Loaded) -> list[Fault]:
    mine = identity(later.draft.value)
    if not mine[1] or mine != identity(earlier.draft.value):
        return []
    message = f"the name {mine[1]} is already used at {earlier.place}, and only that policy is in force"
    return [Fault(("metadata", "name"), message, "give each policy a name of its own")]


def _same_services(earlier: Policy | None, later: Policy | None, written: Loaded) -> list[Fault]:
    if earlier is None or later is None or not overlaps(earlier, later):
        return []
    has_selector = "selector" in (mapping(written.draft.value, "spec") or {})
    path: Path = ("spec", "selector") if has_selector else ("spec",)
    both = f"{later.name} ({later.origin}) and {earlier.name} ({earlier.origin})"
    if _always(earlier, later):
        message = f"{both} select the same services equally specifically, so neither would be applied to them"
        hint = "make one selector more specific, for example by naming the service"
        return [Fault(path, message, hint, at_key=True)]
    message = f"{both} may select one service equally specifically; neither would be applied to it"
    hint = "make one selector more specific if such a service exists"
    return [Fault(path, message, hint, at_key=True, severity="warning")]


def _always(one: Policy, other: Policy) -> bool:
    """Whether whatever one of them selects by some pattern, the other selects by the same."""

    def shared(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
        return bool(set(ours) & set(theirs)) or not (ours or theirs)

    return (
        shared(one.selector.names, other.selector.names)
        and one.selector.labels == other.selector.labels
        and (bool(one.namespace) or shared(one.selector.namespaces, other.selector.namespaces))
    )


def reach(loaded: Loaded) -> Policy | None:
    """Selector, component and order, as a policy of nothing else; None when they cannot be told."""
    if loaded.policy is not None:
        return loaded.policy
    document = loaded.draft.value
    spec = mapping(document, "spec")
    if spec is None:
        return None
    selector = spec.get("selector", {})
    if not isinstance(selector, dict):
        return None
    names, namespaces = entries(selector, "names"), entries(selector, "namespaces")
    labels = mapping(selector, "matchLabels") or {}
    component = spec.get("component", Component.PREDICTOR.value)
    words = [*names, *namespaces, *labels, *labels.values(), component]
    whole = all(isinstance(part, dict if name == "matchLabels" else list) for name, part in selector.items())
    if not whole or not all(isinstance(word, str) for word in words) or component not in list(Component):
        return None
    namespace, name = identity(document)
    return Policy(
        name=name or "the policy",
        namespace=namespace,
        selector=Selector(tuple(names), tuple(namespaces), tuple(sorted(labels.items()))),
        steps=(),
        analysis=Analysis(metrics=()),
        component=Component(component),
        after=tuple(each for each in Component if each.value in entries(spec, "after")),
        origin=loaded.place,
    )


_TWO_SCRAPES = 30.0  # seconds; most Prometheus servers scrape every 15 or 30
_FULL = 100
_ANALYSIS: Path = ("spec", "analysis")


def lint(documents: Sequence[Loaded]) -> tuple[Problem, ...]:
    """Problems of a set of loaded documents, file by file and from top to bottom.

    A document that is no policy yet is looked at, too: nobody wants to mend one fault to learn of the next.
    """
    problems: list[Problem] = []
    reaches = [reach(each) for each in documents]
    waits = waiting(reaches)
    for at, loaded in enumerate(documents):
        faults = [fault for look in _LOOKS for fault in look(loaded.draft.value)]
        faults += _bare_times(loaded.draft, loaded.spots)
        faults += dict.fromkeys(beside(at, documents, reaches))
        faults += waits.get(at, ())
        written = (replace(fault, path=loaded.draft.written(fault.path)) for fault in faults)
        problems += [to_problem(fault, loaded.source, loaded.spots) for fault in written]
    order = {source: at for at, source in enumerate(dict.fromkeys(each.source for each in documents))}
    return tuple(sorted(problems, key=lambda each: (order[each.source], each.line, each.column)))


def _queries(document: Written) -> Iterator[Fault]:
    for path, metric in _metrics(document):
        query = metric.get("query")
        if isinstance(query, str) and query.strip():
            yield from _query(query, (*path, "query"))


def _query(query: str, path: Path) -> Iterator[Fault]:
    try:
        query = sample_of(query)
    except InputError:
        return  # its placeholders are complained about already
    complaint = check(query)
    if complaint is not None:
        hint = "if the syntax is newer than this parser, let Prometheus decide with --prometheus-url"
        yield Fault(path, complaint, hint)
    elif kind(query) in ("matrix", "string"):
        what = "a range of samples" if kind(query) == "matrix" else "text"
        yield Fault(path, f"the query answers {what}, not a number", "for example sum(rate(…[{{ window }}]))")


def _selector(document: Written) -> Iterator[Fault]:
    selector, (namespace, _) = _spec(document).get("selector", {}), identity(document)
    if _spec(document) and isinstance(selector, dict) and not (namespace or any(selector.values())):
        message = "the policy governs every InferenceService in every watched namespace"
        yield Fault(("spec",), message, "narrow it with a selector if that is not meant", True, "warning")


def _interval(document: Written) -> Iterator[Fault]:
    interval, shortest = _seconds(_analysis(document), "interval"), _shortest_hold(_spec(document))
    if interval is not None and shortest is not None and shortest < interval:
        message = (
            f"the interval {duration_text(interval)} is longer than the shortest step "
            f"({duration_text(shortest)})"
        )
        hint = "the step lasts until the next look; shorten the interval or lengthen the step"
        yield Fault((*_ANALYSIS, "interval"), message, hint, severity="warning")


def _shortest_hold(spec: Written) -> float | None:
    """Of the steps before the last that wait for no person; None where there is none that can be read."""
    if "stepWeights" in spec:
        weights = entries(spec, "stepWeights")
        before_the_last = weights[:-1] if weights[-1:] == [_FULL] else weights
        return _duration(spec.get("stepDuration")) if before_the_last else None
    holds: list[float | None] = []
    last = None
    for step in entries(spec, "steps"):
        pause = mapping(step, "pause")
        if isinstance(step, dict) and "setWeight" in step:
            holds, last = [*holds, 0.0], step["setWeight"]
        elif pause is not None and holds:
            more, so_far = _duration(pause.get("duration")), holds[-1]
            holds[-1] = so_far + more if so_far is not None and more is not None else None
    known = [each for each in (holds[:-1] if last == _FULL else holds) if each is not None]
    return min(known, default=None)


def _window(document: Written) -> Iterator[Fault]:
    analysis = _analysis(document)
    interval = _seconds(analysis, "interval")
    windows: list[tuple[Path, float | None]] = [((*_ANALYSIS, "window"), _seconds(analysis, "window"))]
    windows += [((*path, "window"), _duration(metric.get("window"))) for path, metric in _metrics(document)]
    for path, window in windows:
        if window is None:
            continue
        text, at_least = duration_text(window), duration_text(interval or 0.0)
        if interval is not None and window < interval:
            message = f"the window {text} is shorter than the interval {at_least}: some requests go unjudged"
            yield Fault(path, message, f"make the window at least {at_least}", severity="warning")
        elif window < _TWO_SCRAPES:
            message = f"the window {text} may hold a single scrape of Prometheus, and a rate needs two"
            yield Fault(
                path, message, "make it at least twice the scrape interval, such as 1m", severity="warning"
            )


def _evidence(document: Written) -> Iterator[Fault]:
    least = _analysis(document).get("minRequests")
    if type(least) is int and least == 0:
        message = "with minRequests 0 a single request can fail or pass a step"
        yield Fault((*_ANALYSIS, "minRequests"), message, "50 is the default", severity="warning")
    for path, metric in _metrics(document):
        name, limits = metric.get("name"), mapping(metric, "thresholdRange")
        if not isinstance(name, str) or name not in PRESETS or "query" in metric or not limits:
            continue
        ends = _percentages(limits, one_is_ratio=PRESETS[name].one_is_ratio)
        if PRESETS[name].unit is Unit.PERCENT and ends is not None and ends[0] <= 0 and ends[1] >= 100:
            within = f"{number_text(ends[0])} to {number_text(ends[1])}"
            message = f"every percentage is within {within}, so {name} can never be breached"
            yield Fault((*path, "thresholdRange"), message, "for example {min: 99}", severity="warning")


def _percentages(limits: Written, *, one_is_ratio: bool) -> tuple[float, float] | None:
    try:
        low = bound(limits["min"], Unit.PERCENT, one_is_ratio=one_is_ratio) if "min" in limits else 0.0
        high = bound(limits["max"], Unit.PERCENT, one_is_ratio=one_is_ratio) if "max" in limits else 100.0
    except QuantityError:
        return None
    return low, high


def _bare_times(draft: Draft, spots: Spots) -> Iterator[Fault]:
    for index in range(len(entries(_spec(draft.value), "windows"))):
        for end in ("from", "to"):
            path: Path = ("spec", "windows", index, end)
            text = spots.bare.get(draft.written(path))
            if text is not None:
                message = f"{text} without quotes is text by luck: YAML 1.1 reads 17:00 as the number 1020"
                yield Fault(path, message, f'write "{text}"', severity="warning")


_LOOKS: tuple[Callable[[Written], Iterator[Fault]], ...] = (
    _queries,
    _selector,
    _interval,
    _window,
    _evidence,
)


def _spec(document: Written) -> Written:
    return mapping(document, "spec") or {}


def _analysis(document: Written) -> Written:
    return mapping(_spec(document), "analysis") or {}


def _metrics(document: Written) -> Iterator[tuple[Path, dict[str, Any]]]:
    for index, metric in enumerate(entries(_analysis(document), "metrics")):
        if isinstance(metric, dict):
            yield (*_ANALYSIS, "metrics", index), metric


def _seconds(analysis: Written, name: str) -> float | None:
    return (
        _duration(analysis[name]) if name in analysis else analysis_schema.Analysis.model_fields[name].default
    )


def _duration(written: Any) -> float | None:
    try:
        return duration(written)
    except QuantityError:
        return None
