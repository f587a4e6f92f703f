"""The grouped queries: one PromQL expression for many revisions, and how to read its rows.

Each query is an ``or`` of parts that a constant label tells apart, so that one HTTP request answers
several questions. Durations and label values come in escaped; nothing here is user input.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autocanary.prometheus.presets import Counted, Histogram, Measure, Summary, Variant
from autocanary.prometheus.query_answer import Answer
from autocanary.prometheus.revision_labels import Labelling, Target, index
from autocanary.promql import duration, quote

__all__ = [
    "TAG",
    "Traffic",
    "ceiling",
    "measure_query",
    "measured_rows",
    "probe_query",
    "probe_rows",
    "selector",
    "summary_hint",
    "tagged",
    "traffic_query",
    "traffic_rows",
]

TAG = "autocanary"
_FAILED = "autocanary_failed"
_METRIC = "autocanary_metric"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What passed through one revision within the window.

    ``count`` is None when no series gave an increase (fewer than two samples each); ``age`` is that of the
    newest sample in seconds by Prometheus' clock, None when no series is being scraped.
    """

    count: float | None = None
    failed: float = 0.0
    age: float | None = None

    @property
    def requests(self) -> float | None:
        """The count where it is a number that can be told and stored."""
        return self.count if self.count is not None and math.isfinite(self.count) else None


_NONE = Traffic()


def tagged(vector: str, label: str, value: str) -> str:
    """The vector with a constant label on every series."""
    return f'label_replace({vector}, {quote(label)}, {quote(value)}, "", "")'


# --- how many requests, how many failed, how fresh


def traffic_query(variant: Variant, window: float, targets: Sequence[Target]) -> str:
    """Requests, failures and the age of the newest sample of each target, in one query."""
    span = duration(window)
    selectors = [selector(variant, counted.metric, targets) for counted in variant.meter.counted]
    counts = [
        tagged(
            variant.labelling.grouped(
                "sum",
                _marked(counted, f"increase({selected}[{span}])"),
                targets,
                span,
                keep=(_FAILED,),
            ),
            TAG,
            f"count{number}",
        )
        for number, (counted, selected) in enumerate(zip(variant.meter.counted, selectors, strict=True))
    ]
    newest = " or ".join(f"timestamp({selected})" for selected in selectors)
    newest = f"({newest})" if len(selectors) > 1 else newest
    age = f"time() - {variant.labelling.grouped('max', newest, targets, span)}"
    return " or ".join([*counts, tagged(age, TAG, "age")])


def _marked(counted: Counted, vector: str) -> str:
    """The vector with ``_FAILED`` set on the series that count failures.

    One pass over the counters gives the total and the failures, and no failures means no series, not a
    hole in the answer.
    """
    if counted.failed:
        return tagged(vector, _FAILED, "1")
    if counted.good:
        vector = tagged(vector, _FAILED, "1")
        return f'label_replace({vector}, "{_FAILED}", "", "{counted.label}", {quote(counted.good)})'
    if counted.bad:
        return f'label_replace({vector}, "{_FAILED}", "1", "{counted.label}", {quote(counted.bad)})'
    return vector


def traffic_rows(variant: Variant, targets: Sequence[Target], answer: Answer) -> Mapping[Target, Traffic]:
    """The targets that the answer knows anything of."""
    found: dict[Target, Traffic] = {}
    for target, labels, value in _rows(variant.labelling, targets, answer):
        seen = found.get(target, _NONE)
        if labels.get(TAG) == "age":
            found[target] = Traffic(seen.count, seen.failed, value if math.isfinite(value) else None)
        else:
            failed = value if labels.get(_FAILED) else 0.0
            found[target] = Traffic((seen.count or 0.0) + value, seen.failed + failed, seen.age)
    return found


# --- latencies and levels


def measure_query(
    variant: Variant, metric: str, quantile: float, window: float, targets: Sequence[Target]
) -> str:
    """A preset that is no rate, per target, in its unit; the preferred metric wins where two exist."""
    alternatives = variant.meter.measures[metric]
    return " or ".join(_measured(variant, measure, quantile, window, targets) for measure in alternatives)


def _measured(
    variant: Variant, measure: Measure, quantile: float, window: float, targets: Sequence[Target]
) -> str:
    span = duration(window)
    grouped = variant.labelling.grouped
    if isinstance(measure, Histogram):
        buckets = selector(variant, f"{measure.metric}_bucket", targets, measure.matchers)
        buckets = grouped("sum", f"rate({buckets}[{span}])", targets, span, keep=("le",))
        return f"histogram_quantile({quantile!r}, {buckets}){_divided(measure.per_second)}"
    if isinstance(measure, Summary):
        given = selector(variant, measure.metric, targets, f'quantile="{quantile:g}"')
        return f"{grouped('max', given, targets, span)}{_divided(measure.per_second)}"
    level = f"avg_over_time({selector(variant, measure.metric, targets)}[{span}])"
    return f"{grouped('max', level, targets, span)} * {measure.factor:g}"


def _divided(per_second: float) -> str:
    return "" if per_second == 1 else f" / {per_second:.0f}"


def measured_rows(variant: Variant, targets: Sequence[Target], answer: Answer) -> Mapping[Target, float]:
    """The value of each target that has one; it may be NaN."""
    return {target: value for target, _, value in _rows(variant.labelling, targets, answer)}


def ceiling(variant: Variant, metric: str) -> float | None:
    """The largest value in seconds that the preset's preferred histogram can tell, where that is fixed."""
    first = variant.meter.measures[metric][0]
    return first.ceiling if isinstance(first, Histogram) else None


def summary_hint(variant: Variant, metric: str) -> str:
    """Why an exporter-made quantile may be missing; empty for anything else."""
    first = variant.meter.measures[metric][0]
    return first.hint if isinstance(first, Summary) else ""


# --- is there anything at all


def probe_query(labelling: Labelling, metrics: Iterable[str], extra: str, targets: Sequence[Target]) -> str:
    """Which of the metrics have series with this form of labels, for which targets."""
    names = "|".join(sorted(metrics))  # metric names need no escaping for RE2
    matchers = ",".join(
        part for part in (f"__name__=~{quote(names)}", extra, labelling.matchers(targets)) if part
    )
    named = f'label_replace({{{matchers}}}, "{_METRIC}", "$1", "__name__", "(.+)")'
    return labelling.grouped("count", named, targets, "5m", keep=(_METRIC,))


def probe_rows(labelling: Labelling, targets: Sequence[Target], answer: Answer) -> set[tuple[str, Target]]:
    """The (metric, target) pairs that have series."""
    return {(labels.get(_METRIC, ""), target) for target, labels, _ in _rows(labelling, targets, answer)}


# --- common


def selector(variant: Variant, metric: str, targets: Sequence[Target], *extra: str) -> str:
    """The metric's series of the targets; empty ``extra`` matchers are left out."""
    parts = (variant.meter.matchers, *extra, variant.labelling.matchers(targets))
    return f"{metric}{{{','.join(part for part in parts if part)}}}"


def _rows(
    labelling: Labelling, targets: Sequence[Target], answer: Answer
) -> Iterable[tuple[Target, Mapping[str, str], float]]:
    """The rows of asked targets; a group by namespace and revision also holds pairs nobody asked for."""
    wanted, by = index(labelling, targets), labelling.by
    for sample in answer.samples:
        labels = sample.labels
        target = wanted.get(tuple([labels.get(label, "") for label in by]))
        if target is not None and sample.value is not None:
            yield target, labels, sample.value
