"""Raw counters by process: what to ask so that differences can be taken here.

Never ``rate`` or ``increase``: they extrapolate, and lose what came before a series' first sample. One query
holds, for many revisions, the counters as they are, by process, scrape and code;
the times of the samples behind them; and the time of the evaluation.

For latency the buckets hold *successful* requests. A histogram with codes (queue-proxy, Istio,
MLServer) gives these exactly. Where it does not (Kourier, TensorFlow Serving, vLLM, or a queue-proxy whose
code was dropped), the failures that are counted beside it are subtracted from every bucket, as if all had
been fast: so a failure counts as slow for every bound, and one that also took longer than a bound makes up
to one more request seem slower than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from autocanary.prometheus.exporters import RATES, ExporterVariant, HistogramMetric, RequestCounter
from autocanary.prometheus.preset_queries import NOW_PART, PART_LABEL, selector, with_label
from autocanary.prometheus.revision_labels import RevisionTarget
from autocanary.prometheus.scrape_labels import POD_LABELS, SCRAPE_LABELS

__all__ = [
    "SAMPLE_TIME_LABEL",
    "CounterFamily",
    "counter_family",
    "counters_query",
    "family_counters",
    "process_history_query",
]

SAMPLE_TIME_LABEL = "autocanary_at"
"""The label that holds the time of a sample."""
_PROCESS_LABELS = (*POD_LABELS, *SCRAPE_LABELS)
_PROCESS_HISTORY = "1h"
_DURATION = "request-duration"


class CounterFamily(NamedTuple):
    """What is counted: requests and failures, and with a histogram how many succeeded within each bound."""

    variant: ExporterVariant
    histogram: HistogramMetric | None = None

    @property
    def latency(self) -> bool:
        return self.histogram is not None


def counter_family(variant: ExporterVariant, metric: str) -> CounterFamily | str:
    """The counters that a comparison of the metric needs, or why this source has none."""
    exporter = variant.exporter
    if why := exporter.unsupported_reason(metric):
        return why
    if metric in RATES:
        return CounterFamily(variant)
    if metric != _DURATION:
        return f"only {', '.join(sorted(RATES))} and {_DURATION} are compared by counters"
    if why := exporter.unsupported_reason("error-rate"):
        return f"a fast failure would look like a speed-up: {why}"
    measure = variant.measures(_DURATION)[0]
    if not isinstance(measure, HistogramMetric):
        return f"{variant.source.value} has no histogram: its quantiles cannot be counted"
    return CounterFamily(variant, measure)


def counters_query(family: CounterFamily, targets: Sequence[RevisionTarget]) -> str:
    """The counters of every target, whose code they have, and the times of their samples."""
    variant = family.variant
    group_by_revision = variant.revision_labels.group_by_sole_owner
    counted = family_counters(family)
    per_model = tuple(filter(None, (variant.exporter.model_label,))) if family.histogram is None else ()
    parts = [
        with_label(
            group_by_revision(
                "sum", each.count_of(selected), targets, (*_PROCESS_LABELS, *per_model, *_code_label(each))
            ),
            PART_LABEL,
            f"count{number}",
        )
        for number, (each, selected) in enumerate(_selectors(family, counted, targets))
    ]
    sample_times = " or ".join(f"timestamp({selected})" for _, selected in _selectors(family, counted, targets))
    sample_times = f"({sample_times})" if len(counted) > 1 else sample_times
    parts.append(
        with_label(
            group_by_revision("count_values", sample_times, targets, _PROCESS_LABELS, f'"{SAMPLE_TIME_LABEL}"'),
            PART_LABEL,
            "at",
        )
    )
    if family.histogram is not None:
        parts += _bucket_parts(variant, family.histogram, targets)
    for histogram in _possibly_native(variant):
        without_suffix = selector(variant, histogram.metric, targets, histogram.matchers)
        parts.append(with_label(group_by_revision("count", without_suffix, targets, ()), PART_LABEL, "native"))
    return " or ".join([*parts, NOW_PART])


def _bucket_parts(
    variant: ExporterVariant, histogram: HistogramMetric, targets: Sequence[RevisionTarget]
) -> Iterator[str]:
    group_by_revision = variant.revision_labels.group_by_sole_owner
    succeeded = f'{histogram.label}!~"{histogram.bad}"' if histogram.bad else ""
    if histogram.native:
        whole = selector(variant, histogram.metric, targets, histogram.matchers, succeeded)
        yield with_label(group_by_revision("sum", whole, targets, _PROCESS_LABELS), PART_LABEL, "histogram")
    else:
        buckets = selector(variant, f"{histogram.metric}_bucket", targets, histogram.matchers, 'le!="+Inf"', succeeded)
        yield with_label(group_by_revision("sum", buckets, targets, (*_PROCESS_LABELS, "le")), PART_LABEL, "le")
    for number, counted in enumerate(variant.counted):
        if (failed := _failure_matcher(counted)) is not None:
            failures = counted.count_of(selector(variant, counted.metric, targets, counted.matchers, failed))
            yield with_label(group_by_revision("sum", failures, targets, _PROCESS_LABELS), PART_LABEL, f"apart{number}")


def process_history_query(family: CounterFamily, targets: Sequence[RevisionTarget]) -> str:
    """Which processes were scraped within the hour until now."""
    selectors = [selected for _, selected in _selectors(family, family_counters(family), targets)]
    samples = " or ".join(f"count_over_time({selected}[{_PROCESS_HISTORY}])" for selected in selectors)
    samples = f"({samples})" if len(selectors) > 1 else samples
    return family.variant.revision_labels.group_by_sole_owner("count", samples, targets, _PROCESS_LABELS)


def family_counters(family: CounterFamily) -> tuple[RequestCounter, ...]:
    """The counters of requests, by code where they have one."""
    histogram = family.histogram
    if histogram is None:
        return family.variant.counted
    native = histogram.native
    timed = RequestCounter(
        histogram.metric if native else f"{histogram.metric}_bucket",
        label=histogram.label,
        bad=histogram.bad,
        native=native,
        matchers=",".join(filter(None, (histogram.matchers, "" if native else 'le="+Inf"'))),
    )
    # A histogram without codes has the cancelled calls among the others, and they are subtracted from its buckets.
    return (timed, *family.variant.cancelled) if histogram.label else (timed,)


def _selectors(
    family: CounterFamily, counted: Iterable[RequestCounter], targets: Sequence[RevisionTarget]
) -> Iterator[tuple[RequestCounter, str]]:
    for each in counted:
        yield each, selector(family.variant, each.metric, targets, each.matchers)


def _code_label(counted: RequestCounter) -> tuple[str, ...]:
    return (counted.label,) if counted.label else ()


def _failure_matcher(counted: RequestCounter) -> str | None:
    """The matcher of the failed requests; None where none of these fail."""
    if counted.good:
        return f'{counted.label}!~"{counted.good}"'
    if counted.bad:
        return f'{counted.label}=~"{counted.bad}"'
    return "" if counted.failed else None


def _possibly_native(variant: ExporterVariant) -> Iterator[HistogramMetric]:
    """Histograms on which the family rests; a classic one has no series of its bare name."""
    for measure in variant.measures(_DURATION):
        if isinstance(measure, HistogramMetric) and not measure.native:
            yield measure
