"""What is doubtful about a set of policies, found without Prometheus or a cluster.

Errors are what would certainly not work: PromQL that does not parse, two policies of one name, two that
always tie. Warnings are what works and is probably not meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from autocanary.core.policy import Policy
from autocanary.core.reading import Unit
from autocanary.core.selection import overlaps
from autocanary.errors import Problem
from autocanary.policyfile.faults import Fault, to_problem
from autocanary.policyfile.load import Loaded
from autocanary.policyfile.quantities import duration_text, number_text
from autocanary.policyfile.rules import sample_of
from autocanary.policyfile.yamlnodes import Path, Spots
from autocanary.promql import check, kind

__all__ = ["lint"]

_TWO_SCRAPES = 30.0  # seconds; most Prometheus servers scrape every 15 or 30


def lint(documents: Sequence[Loaded]) -> tuple[Problem, ...]:
    """Problems of a set of loaded policies, file by file and from top to bottom."""
    valid = [(each, each.policy) for each in documents if each.policy is not None]
    problems: list[Problem] = []
    for at, (loaded, policy) in enumerate(valid):
        faults = [fault for look in _LOOKS for fault in look(policy)]
        faults += _bare_times(policy, loaded.spots)
        faults += [fault for _, earlier in valid[:at] for fault in _pair(earlier, policy)]
        problems += [to_problem(fault, loaded.source, loaded.spots) for fault in faults]
    order = {source: at for at, source in enumerate(dict.fromkeys(each.source for each, _ in valid))}
    return tuple(sorted(problems, key=lambda each: (order[each.source], each.line, each.column)))


def _queries(policy: Policy) -> Iterator[Fault]:
    for index, metric in enumerate(policy.analysis.metrics):
        if not metric.query:
            continue
        path: Path = ("spec", "analysis", "metrics", index, "query")
        query = sample_of(metric.query)
        complaint = check(query)
        if complaint is not None:
            hint = "if the syntax is newer than this parser, let Prometheus decide with --prometheus-url"
            yield Fault(path, complaint, hint)
        elif kind(query) in ("matrix", "string"):
            what = "a range of samples" if kind(query) == "matrix" else "text"
            yield Fault(
                path, f"the query answers {what}, not a number", "for example sum(rate(…[{{ window }}]))"
            )


def _selector(policy: Policy) -> Iterator[Fault]:
    selector = policy.selector
    if not (policy.namespace or selector.names or selector.namespaces or selector.labels):
        message = "the policy governs every InferenceService in every watched namespace"
        yield Fault(("spec",), message, "narrow it with a selector if that is not meant", True, "warning")


def _timing(policy: Policy) -> Iterator[Fault]:
    analysis, base = policy.analysis, ("spec", "analysis")
    holds = [step.hold for step in policy.steps[:-1] if not step.approval]
    shortest = min(holds, default=analysis.interval)
    interval = duration_text(analysis.interval)
    if shortest < analysis.interval:
        message = f"the interval {interval} is longer than the shortest step ({duration_text(shortest)})"
        hint = "the step lasts until the next look; shorten the interval or lengthen the step"
        yield Fault((*base, "interval"), message, hint, severity="warning")
    windows: list[tuple[Path, float]] = [((*base, "window"), analysis.window)]
    windows += [
        ((*base, "metrics", index, "window"), metric.window)
        for index, metric in enumerate(analysis.metrics)
        if metric.window is not None
    ]
    for path, window in windows:
        text = duration_text(window)
        if window < analysis.interval:
            message = f"the window {text} is shorter than the interval {interval}: some requests go unjudged"
            yield Fault(path, message, f"make the window at least {interval}", severity="warning")
        elif window < _TWO_SCRAPES:
            message = f"the window {text} may hold a single scrape of Prometheus, and a rate needs two"
            yield Fault(
                path, message, "make it at least twice the scrape interval, such as 1m", severity="warning"
            )


def _evidence(policy: Policy) -> Iterator[Fault]:
    if policy.analysis.min_requests < 1:
        message = "with minRequests 0 a single request can fail or pass a step"
        yield Fault(("spec", "analysis", "minRequests"), message, "50 is the default", severity="warning")
    for index, metric in enumerate(policy.analysis.metrics):
        low, high = metric.range.min, metric.range.max
        if metric.unit is Unit.PERCENT and (low is None or low <= 0) and (high is None or high >= 100):
            ends = f"{number_text(low or 0)} to {number_text(100 if high is None else high)}"
            path: Path = ("spec", "analysis", "metrics", index, "thresholdRange")
            message = f"every percentage is within {ends}, so {metric.name} can never be breached"
            yield Fault(path, message, "for example {min: 99}", severity="warning")


def _bare_times(policy: Policy, spots: Spots) -> Iterator[Fault]:
    for index in range(len(policy.windows)):
        for end in ("from", "to"):
            path: Path = ("spec", "windows", index, end)
            text = spots.bare.get(path)
            if text is not None:
                message = f"{text} without quotes is text by luck: YAML 1.1 reads 17:00 as the number 1020"
                yield Fault(path, message, f'write "{text}"', severity="warning")


_LOOKS: tuple[Callable[[Policy], Iterator[Fault]], ...] = (
    _queries,
    _selector,
    _timing,
    _evidence,
)


def _pair(one: Policy, other: Policy) -> Iterator[Fault]:
    if (one.namespace, one.name) == (other.namespace, other.name):
        message = f"the name {other.name} is already used at {one.origin}, and only that policy is in force"
        yield Fault(("metadata", "name"), message, "give each policy a name of its own")
        return
    if not overlaps(one, other):
        return
    path: Path = ("spec", "selector") if "selector" in other.document else ("spec",)
    both = f"{other.name} ({other.origin}) and {one.name} ({one.origin})"
    if _always(one, other):
        message = f"{both} select the same services equally specifically, so neither would be applied to them"
        yield Fault(path, message, "make one selector more specific, for example by naming the service", True)
    else:
        message = f"{both} may select one service equally specifically; neither would be applied to it"
        yield Fault(
            path, message, "make one selector more specific if such a service exists", True, "warning"
        )


def _always(one: Policy, other: Policy) -> bool:
    """Whether whatever one of them selects by some pattern, the other selects by the same."""

    def shared(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
        return bool(set(ours) & set(theirs)) or not (ours or theirs)

    return (
        shared(one.selector.names, other.selector.names)
        and one.selector.labels == other.selector.labels
        and (bool(one.namespace) or shared(one.selector.namespaces, other.selector.namespaces))
    )
