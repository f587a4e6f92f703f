"""The grouped queries: one PromQL expression for many revisions, and how to read its rows.

Each query is an ``or`` of parts that a constant label tells apart, so that one HTTP request answers
several questions. Durations and label values come in escaped; nothing here is user input.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autocanary.prometheus.presets import (
    ExporterVariant,
    HistogramMetric,
    PresetMetric,
    RequestCounter,
    SummaryMetric,
)
from autocanary.prometheus.query_answer import QueryResponse
from autocanary.prometheus.revision_labels import RevisionLabels, RevisionTarget, targets_by_label_values
from autocanary.promql import promql_duration, quote_string

__all__ = [
    "NOW_PART",
    "PART_LABEL",
    "TrafficCounts",
    "answer_delay",
    "largest_finite_bound",
    "preset_query",
    "preset_rows",
    "probe_query",
    "probe_rows",
    "selector",
    "summary_hint",
    "traffic_query",
    "traffic_rows",
    "with_label",
]

PART_LABEL = "autocanary"
NOW_PART = f'label_replace(vector(time()), "{PART_LABEL}", "now", "", "")'
"""The part of a query that says when the server evaluated it."""
_MAX_CLOCK_ROUNDING = 2.0
"""HTTP's Date has whole seconds, and the answer is sent a moment after the query was evaluated."""
_FAILED = "autocanary_failed"
_METRIC = "autocanary_metric"


@dataclass(frozen=True, slots=True)
class TrafficCounts:
    """What passed through one revision within the window.

    ``count`` is None when no series gave an increase (fewer than two samples each); ``age`` is that of the
    newest sample in seconds when the server answered, by the server's clock, None when no series is being
    scraped. ``delay`` is how many seconds before that the server evaluated the query: its time() may lie in
    the past (VictoriaMetrics' latency offset, caches).
    """

    count: float | None = None
    failed: float = 0.0
    age: float | None = None
    delay: float = 0.0

    @property
    def requests(self) -> float | None:
        """The count where it is a number that can be told and stored."""
        return self.count if self.count is not None and math.isfinite(self.count) else None


_NO_TRAFFIC = TrafficCounts()


def with_label(vector: str, label: str, value: str) -> str:
    """The vector with a constant label on every series."""
    return f'label_replace({vector}, {quote_string(label)}, {quote_string(value)}, "", "")'


# --- how many requests, how many failed, how fresh


def traffic_query(variant: ExporterVariant, window: float, targets: Sequence[RevisionTarget]) -> str:
    """Requests, failures and the age of the newest sample of each target, in one query."""
    span = promql_duration(window)
    selectors = [selector(variant, counted.metric, targets) for counted in variant.exporter.counted]
    counts = [
        with_label(
            variant.revision_labels.group_by_revision(
                "sum",
                _mark_failures(counted, f"increase({selected}[{span}])"),
                targets,
                span,
                keep=(_FAILED,),
            ),
            PART_LABEL,
            f"count{number}",
        )
        for number, (counted, selected) in enumerate(zip(variant.exporter.counted, selectors, strict=True))
    ]
    newest = " or ".join(f"timestamp({selected})" for selected in selectors)
    newest = f"({newest})" if len(selectors) > 1 else newest
    age = f"time() - {variant.revision_labels.group_by_revision('max', newest, targets, span)}"
    return " or ".join([*counts, with_label(age, PART_LABEL, "age"), NOW_PART])


def _mark_failures(counted: RequestCounter, vector: str) -> str:
    """The vector with ``_FAILED`` set on the series that count failures.

    One pass over the counters gives the total and the failures, and no failures means no series, not a
    hole in the answer.
    """
    if counted.failed:
        return with_label(vector, _FAILED, "1")
    if counted.good:
        vector = with_label(vector, _FAILED, "1")
        return f'label_replace({vector}, "{_FAILED}", "", "{counted.label}", {quote_string(counted.good)})'
    if counted.bad:
        return f'label_replace({vector}, "{_FAILED}", "1", "{counted.label}", {quote_string(counted.bad)})'
    return vector


def traffic_rows(
    variant: ExporterVariant, targets: Sequence[RevisionTarget], response: QueryResponse
) -> Mapping[RevisionTarget, TrafficCounts]:
    """The targets that the answer knows anything of."""
    found: dict[RevisionTarget, TrafficCounts] = {}
    delay = answer_delay(response)
    for target, labels, value in _rows(variant.revision_labels, targets, response):
        previous = found.get(target, _NO_TRAFFIC)
        if labels.get(PART_LABEL) == "age":
            age = value + delay if math.isfinite(value) else None
            found[target] = TrafficCounts(previous.count, previous.failed, age, delay)
        else:
            failed = value if labels.get(_FAILED) else 0.0
            count = (previous.count or 0.0) + value
            found[target] = TrafficCounts(count, previous.failed + failed, previous.age, delay)
    return found


def answer_delay(response: QueryResponse) -> float:
    """How many seconds before its answer the server evaluated the query, by its own clock; 0 when unknown."""
    now = next((each.value for each in response.samples if each.labels.get(PART_LABEL) == "now"), None)
    if now is None or response.server_time is None or not math.isfinite(now):
        return 0.0
    delay = response.server_time - now
    return delay if delay > _MAX_CLOCK_ROUNDING else 0.0


# --- latencies and levels


def preset_query(
    variant: ExporterVariant, metric: str, quantile: float, window: float, targets: Sequence[RevisionTarget]
) -> str:
    """A preset that is no rate, per target, in its unit; the preferred metric wins where two exist."""
    alternatives = variant.exporter.measures[metric]
    return " or ".join(_preset_expression(variant, measure, quantile, window, targets) for measure in alternatives)


def _preset_expression(
    variant: ExporterVariant,
    measure: PresetMetric,
    quantile: float,
    window: float,
    targets: Sequence[RevisionTarget],
) -> str:
    span = promql_duration(window)
    group_by_revision = variant.revision_labels.group_by_revision
    if isinstance(measure, HistogramMetric):
        buckets = selector(variant, f"{measure.metric}_bucket", targets, measure.matchers)
        buckets = group_by_revision("sum", f"rate({buckets}[{span}])", targets, span, keep=("le",))
        return f"histogram_quantile({quantile!r}, {buckets}){_division(measure.per_second)}"
    if isinstance(measure, SummaryMetric):
        given = selector(variant, measure.metric, targets, f'quantile="{quantile:g}"')
        return f"{group_by_revision('max', given, targets, span)}{_division(measure.per_second)}"
    level = f"avg_over_time({selector(variant, measure.metric, targets)}[{span}])"
    return f"{group_by_revision('max', level, targets, span)} * {measure.factor:g}"


def _division(per_second: float) -> str:
    return "" if per_second == 1 else f" / {per_second:.0f}"


def preset_rows(
    variant: ExporterVariant, targets: Sequence[RevisionTarget], response: QueryResponse
) -> Mapping[RevisionTarget, float]:
    """The value of each target that has one; it may be NaN."""
    return {target: value for target, _, value in _rows(variant.revision_labels, targets, response)}


def largest_finite_bound(variant: ExporterVariant, metric: str) -> float | None:
    """The largest value in seconds that the preset's preferred histogram can tell, where that is fixed."""
    first = variant.exporter.measures[metric][0]
    return first.ceiling if isinstance(first, HistogramMetric) else None


def summary_hint(variant: ExporterVariant, metric: str) -> str:
    """Why an exporter-made quantile may be missing; empty for anything else."""
    first = variant.exporter.measures[metric][0]
    return first.hint if isinstance(first, SummaryMetric) else ""


# --- is there anything at all


def probe_query(
    revision_labels: RevisionLabels, metrics: Iterable[str], extra: str, targets: Sequence[RevisionTarget]
) -> str:
    """Which of the metrics have series with this form of labels, for which targets."""
    names = "|".join(sorted(metrics))  # metric names need no escaping for RE2
    matchers = ",".join(
        part for part in (f"__name__=~{quote_string(names)}", extra, revision_labels.matchers(targets)) if part
    )
    named = f'label_replace({{{matchers}}}, "{_METRIC}", "$1", "__name__", "(.+)")'
    return revision_labels.group_by_revision("count", named, targets, "5m", keep=(_METRIC,))


def probe_rows(
    revision_labels: RevisionLabels, targets: Sequence[RevisionTarget], response: QueryResponse
) -> set[tuple[str, RevisionTarget]]:
    """The (metric, target) pairs that have series."""
    return {(labels.get(_METRIC, ""), target) for target, labels, _ in _rows(revision_labels, targets, response)}


# --- common


def selector(variant: ExporterVariant, metric: str, targets: Sequence[RevisionTarget], *extra: str) -> str:
    """The metric's series of the targets; empty ``extra`` matchers are left out."""
    parts = (variant.exporter.matchers, *extra, variant.revision_labels.matchers(targets))
    return f"{metric}{{{','.join(part for part in parts if part)}}}"


def _rows(
    revision_labels: RevisionLabels, targets: Sequence[RevisionTarget], response: QueryResponse
) -> Iterable[tuple[RevisionTarget, Mapping[str, str], float]]:
    """The rows of asked targets; a group by namespace and revision also holds pairs nobody asked for."""
    by_label_values, group_labels = (
        targets_by_label_values(revision_labels, targets),
        revision_labels.group_labels,
    )
    for sample in response.samples:
        labels = sample.labels
        target = by_label_values.get(tuple([labels.get(label, "") for label in group_labels]))
        if target is not None and sample.value is not None:
            yield target, labels, sample.value
