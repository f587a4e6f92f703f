"""The grouped queries: one PromQL expression for many revisions, and how to read its rows.

Each query is an ``or`` of parts with a constant label each, so that one HTTP request has
several answers. Durations and label values come in escaped; nothing here is user input.

Over 300 lines because every form of counter and histogram has its own PromQL, and the reading of its answer beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autocanary.prometheus.exporters import (
    ExporterVariant,
    HistogramMetric,
    PresetMetric,
    RequestCounter,
    SummaryMetric,
)
from autocanary.prometheus.query_answer import QueryResponse
from autocanary.prometheus.revision_labels import (
    RevisionLabels,
    RevisionTarget,
    is_model_of,
    targets_by_label_values,
)
from autocanary.prometheus.scrape_labels import PROCESS_LABEL, SCRAPE_LABELS, with_process
from autocanary.promql import promql_duration, quote_string

__all__ = [
    "NOW_PART",
    "PART_LABEL",
    "TrafficCounts",
    "answer_delay",
    "counts_of_service",
    "largest_finite_bound",
    "preset_query",
    "preset_rows",
    "probe_query",
    "probe_rows",
    "probed_name",
    "scrape_interval",
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
    the past (VictoriaMetrics' latency offset, caches). ``scrape_interval`` is the time between two samples in
    seconds, None while the series are younger than five minutes. ``sample_at`` is the time of the newest sample in
    epoch seconds, by the server's clock.
    """

    count: float | None = None
    failed: float = 0.0
    age: float | None = None
    delay: float = 0.0
    scrape_interval: float | None = None
    sample_at: float | None = None

    @property
    def requests(self) -> float | None:
        """The count where it is a finite number, which can be stored."""
        return self.count if self.count is not None and math.isfinite(self.count) else None


def with_label(vector: str, label: str, value: str) -> str:
    """The vector with a constant label on every series."""
    return f'label_replace({vector}, {quote_string(label)}, {quote_string(value)}, "", "")'


# --- how many requests, how many failed, how fresh


def traffic_query(variant: ExporterVariant, window: float, targets: Sequence[RevisionTarget]) -> str:
    """Requests, failures and the age of the newest sample of each target, in one query."""
    span = promql_duration(window)
    selectors = [selector(variant, each.metric, targets, each.matchers) for each in variant.counted]
    kept = tuple(filter(None, (_FAILED, variant.exporter.model_label)))
    counts = [
        with_label(
            _sum_once(
                variant,
                _mark_failures(counted, counted.count_of(f"increase({selected}[{span}])")),
                targets,
                span,
                kept,
            ),
            PART_LABEL,
            f"count{number}",
        )
        for number, (counted, selected) in enumerate(zip(variant.counted, selectors, strict=True))
    ]
    newest = " or ".join(f"timestamp({selected})" for selected in selectors)
    newest = f"({newest})" if len(selectors) > 1 else newest
    age = f"time() - {variant.revision_labels.group_by_revision('max', newest, targets, span)}"
    interval = variant.revision_labels.group_by_revision("min", scrape_interval(selectors[0]), targets, span)
    parts = [with_label(age, PART_LABEL, "age"), with_label(interval, PART_LABEL, "interval"), NOW_PART]
    return " or ".join([*counts, *parts])


def scrape_interval(selected: str) -> str:
    """The mean time in seconds between two samples of each series; none for series younger than five minutes."""
    return f"(timestamp({selected}) - timestamp({selected} offset 5m)) / count_over_time({selected}[5m])"


def _sum_once(
    variant: ExporterVariant,
    vector: str,
    targets: Sequence[RevisionTarget],
    window: str,
    keep: Sequence[str],
    *,
    native: bool = False,
) -> str:
    """The sum per revision and values of the ``keep`` labels, with each process counted by one scrape.

    ``native``: the vector holds native histograms, which have no maximum: the scrape that counted most is taken.
    """
    labels = variant.revision_labels
    by_scrape = labels.group_by_revision(
        "sum", with_process(vector), targets, window, (*keep, PROCESS_LABEL, *SCRAPE_LABELS)
    )
    groups = ", ".join((*labels.group_labels, *keep))
    if native:
        most = f"topk by ({groups}, {PROCESS_LABEL}) (1, histogram_count({by_scrape}))"
        return f"sum by ({groups}) ({by_scrape} and {most})"
    return f"sum by ({groups}) (max by ({groups}, {PROCESS_LABEL}) ({by_scrape}))"


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
    ages: dict[RevisionTarget, float | None] = {}
    intervals: dict[RevisionTarget, float] = {}
    by_model: dict[RevisionTarget, dict[str, tuple[float, float]]] = {}  # requests and failures
    model_label = variant.exporter.model_label
    delay, now = answer_delay(response), evaluated_at(response)
    for target, labels, value in _rows(variant.revision_labels, targets, response):
        if labels.get(PART_LABEL) == "age":
            ages[target] = value + delay if math.isfinite(value) else None
        elif labels.get(PART_LABEL) == "interval":
            if math.isfinite(value) and value > 0:
                intervals[target] = value
        else:
            model = labels.get(model_label, "") if model_label else ""
            counts = by_model.setdefault(target, {})
            requests, failed = counts.get(model, (0.0, 0.0))
            counts[model] = requests + value, failed + (value if labels.get(_FAILED) else 0.0)
    found: dict[RevisionTarget, TrafficCounts] = {}
    for target in dict.fromkeys((*by_model, *ages, *intervals)):
        count, failed = counts_of_service(target, by_model.get(target, {}), add=variant.exporter.models_add)
        age = ages.get(target)
        sample_at = now + delay - age if now is not None and age is not None else None
        found[target] = TrafficCounts(count, failed, age, delay, intervals.get(target), sample_at)
    return found


def counts_of_service(
    target: RevisionTarget, by_model: Mapping[str, tuple[float, float]], *, add: bool
) -> tuple[float | None, float]:
    """The service's requests and failures: those of the model that it names, else the largest of any model.

    ``add``: else the sum over all models; never where a pipeline counts one request once in each of its models.
    """
    if not by_model:
        return None, 0.0
    named = [counts for model, counts in by_model.items() if is_model_of(target, model)]
    counts = named or list(by_model.values())
    if add:
        return sum(requests for requests, _ in counts), sum(failed for _, failed in counts)
    return max(requests for requests, _ in counts), max(failed for _, failed in counts)


def evaluated_at(response: QueryResponse) -> float | None:
    """The time of which the answer is, in epoch seconds by the server's clock; None when it does not say so."""
    now = next((each.value for each in response.samples if each.labels.get(PART_LABEL) == "now"), None)
    return now if now is not None and math.isfinite(now) else None


def answer_delay(response: QueryResponse) -> float:
    """How many seconds before its answer the server evaluated the query, by its own clock; 0 when unknown."""
    now = evaluated_at(response)
    if now is None or response.server_time is None:
        return 0.0
    delay = response.server_time - now
    return delay if delay > _MAX_CLOCK_ROUNDING else 0.0


# --- latencies and levels


def preset_query(
    variant: ExporterVariant, metric: str, quantile: float, window: float, targets: Sequence[RevisionTarget]
) -> str:
    """A preset that is no rate, per target, in its unit; the preferred metric wins where two exist."""
    alternatives = variant.measures(metric)
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
    if isinstance(measure, HistogramMetric) and measure.native:
        histograms = selector(variant, measure.metric, targets, measure.matchers)
        histograms = _sum_once(variant, f"rate({histograms}[{span}])", targets, span, (), native=True)
        return f"histogram_quantile({quantile!r}, {histograms}){_division(measure.per_second)}"
    if isinstance(measure, HistogramMetric):
        buckets = selector(variant, f"{measure.metric}_bucket", targets, measure.matchers)
        buckets = _sum_once(variant, f"rate({buckets}[{span}])", targets, span, ("le",))
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
    """The largest value in seconds that the preset's preferred histogram can give, where that is fixed."""
    first = variant.measures(metric)[0]
    return first.ceiling if isinstance(first, HistogramMetric) else None


def summary_hint(variant: ExporterVariant, metric: str) -> str:
    """Why an exporter-made quantile may be missing; empty for anything else."""
    first = variant.measures(metric)[0]
    return first.hint if isinstance(first, SummaryMetric) else ""


# --- is there anything at all


def probe_query(
    revision_labels: RevisionLabels, metrics: Mapping[str, Iterable[str]], targets: Sequence[RevisionTarget]
) -> str:
    """Which of the metrics have series with this form of labels, for which targets.

    ``metrics`` are the names by the matchers that their series must have besides.
    """
    parts = []
    for extra, given in metrics.items():
        names = "|".join(sorted(given))  # metric names need no escaping for RE2
        matchers = ",".join(
            part for part in (f"__name__=~{quote_string(names)}", extra, revision_labels.matchers(targets)) if part
        )
        name = quote_string(probed_name("${1}", extra))
        named = f'label_replace({{{matchers}}}, "{_METRIC}", {name}, "__name__", "(.+)")'
        parts.append(revision_labels.group_by_revision("count", named, targets, "5m", keep=(_METRIC,)))
    return " or ".join(parts)


def probed_name(metric: str, matchers: str) -> str:
    """What a probe calls a metric whose series have the matchers."""
    return f"{metric}{{{matchers}}}" if matchers else metric


def probe_rows(
    revision_labels: RevisionLabels, targets: Sequence[RevisionTarget], response: QueryResponse
) -> set[tuple[str, RevisionTarget]]:
    """The (metric as ``probed_name`` has it, target) pairs that have series."""
    return {(labels.get(_METRIC, ""), target) for target, labels, _ in _rows(revision_labels, targets, response)}


# --- common


def selector(variant: ExporterVariant, metric: str, targets: Sequence[RevisionTarget], *extra: str) -> str:
    """The metric's series of the targets; empty ``extra`` matchers are left out."""
    parts = (variant.exporter.matchers, *extra, variant.revision_labels.matchers(targets))
    return f"{metric}{{{','.join(part for part in parts if part)}}}"


def _rows(
    revision_labels: RevisionLabels, targets: Sequence[RevisionTarget], response: QueryResponse
) -> Iterable[tuple[RevisionTarget, Mapping[str, str], float]]:
    """The rows of asked targets; a group by namespace and revision also holds pairs that were not asked for."""
    by_label_values, group_labels = (
        targets_by_label_values(revision_labels, targets),
        revision_labels.group_labels,
    )
    for sample in response.samples:
        labels = sample.labels
        target = by_label_values.get(tuple([labels.get(label, "") for label in group_labels]))
        if target is not None and sample.value is not None:
            yield target, labels, sample.value
