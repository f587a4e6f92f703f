"""Raw counters by process: what to ask so that differences can be taken here.

Never ``rate`` or ``increase``: they extrapolate, and lose what came before a series' first sample. One query
holds, for many revisions, the counters as they are, kept apart by whatever tells processes, scrapes and
codes apart; the times of the samples behind them; and the time at which Prometheus looked.

For latency the buckets hold *successful* requests. A histogram that tells codes apart (queue-proxy, Istio,
MLServer) gives these exactly. Where it does not (Kourier, TensorFlow Serving, vLLM, or a queue-proxy whose
code was dropped), the failures that are counted beside it are subtracted from every bucket, as if all had
been fast: so a failure counts as slow for every bound, and one that also took longer than a bound makes up
to one more request seem slower than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from autocanary.prometheus.preset_queries import TAG, selector, tagged
from autocanary.prometheus.presets import RATES, Counted, Histogram, Variant
from autocanary.prometheus.revision_labels import Target

__all__ = ["AT", "PATH", "PODS", "Family", "counted_in", "family_of", "history_query", "raw_query"]

AT = "autocanary_at"
"""The label that holds the time of a sample."""
PODS = ("pod_name", "k8s_pod_name", "pod", "kubernetes_pod_name")
"""Labels that may name the process, the preferred one first."""
PATH = ("instance", "job", "prometheus", "prometheus_replica", "replica")
"""Labels that tell several scrapes of one process apart, the scraped address first."""
_WHO = (*PODS, *PATH)
_HISTORY = "1h"
_DURATION = "request-duration"


class Family(NamedTuple):
    """What is counted: requests and failures, and with a histogram how many succeeded within each bound."""

    variant: Variant
    histogram: Histogram | None = None

    @property
    def latency(self) -> bool:
        return self.histogram is not None


def family_of(variant: Variant, metric: str) -> Family | str:
    """The counters that a comparison of the metric needs, or why this source has none."""
    meter = variant.meter
    if why := meter.lack(metric):
        return why
    if metric in RATES:
        return Family(variant)
    if metric != _DURATION:
        return f"only {', '.join(sorted(RATES))} and {_DURATION} are compared by counters"
    if why := meter.lack("error-rate"):
        return f"a fast failure would look like a speed-up: {why}"
    measure = meter.measures[_DURATION][0]
    if not isinstance(measure, Histogram):
        return f"{variant.source.value} has no histogram: its quantiles cannot be counted"
    return Family(variant, measure)


def raw_query(family: Family, targets: Sequence[Target]) -> str:
    """The counters of every target, whose code they have, and the times of their samples."""
    variant = family.variant
    grouped = variant.labelling.apart
    counted = counted_in(family)
    parts = [
        tagged(grouped("sum", selected, targets, (*_WHO, *_label(each))), TAG, f"count{number}")
        for number, (each, selected) in enumerate(_selectors(family, counted, targets))
    ]
    stamped = " or ".join(f"timestamp({selected})" for _, selected in _selectors(family, counted, targets))
    stamped = f"({stamped})" if len(counted) > 1 else stamped
    parts.append(tagged(grouped("count_values", stamped, targets, _WHO, f'"{AT}"'), TAG, "at"))
    if family.histogram is not None:
        parts += _bucket_parts(variant, family.histogram, targets)
    for histogram in _maybe_native(variant):
        bare = selector(variant, histogram.metric, targets, histogram.matchers)
        parts.append(tagged(grouped("count", bare, targets, ()), TAG, "native"))
    return " or ".join([*parts, tagged("vector(time())", TAG, "now")])


def _bucket_parts(variant: Variant, histogram: Histogram, targets: Sequence[Target]) -> Iterator[str]:
    grouped = variant.labelling.apart
    succeeded = f'{histogram.label}!~"{histogram.bad}"' if histogram.bad else ""
    buckets = selector(
        variant, f"{histogram.metric}_bucket", targets, histogram.matchers, 'le!="+Inf"', succeeded
    )
    yield tagged(grouped("sum", buckets, targets, (*_WHO, "le")), TAG, "le")
    for number, counted in enumerate(variant.meter.counted):
        if (failed := _failures(counted)) is not None:
            beside = selector(variant, counted.metric, targets, failed)
            yield tagged(grouped("sum", beside, targets, _WHO), TAG, f"apart{number}")


def history_query(family: Family, targets: Sequence[Target]) -> str:
    """Which processes were scraped within the hour until now."""
    selectors = [selected for _, selected in _selectors(family, counted_in(family), targets)]
    seen = " or ".join(f"count_over_time({selected}[{_HISTORY}])" for selected in selectors)
    seen = f"({seen})" if len(selectors) > 1 else seen
    return family.variant.labelling.apart("count", seen, targets, _WHO)


def counted_in(family: Family) -> tuple[Counted, ...]:
    """The counters of requests, told apart by code where they can be."""
    histogram = family.histogram
    if histogram is None:
        return family.variant.meter.counted
    return (Counted(f"{histogram.metric}_bucket", label=histogram.label, bad=histogram.bad),)


def _selectors(
    family: Family, counted: Iterable[Counted], targets: Sequence[Target]
) -> Iterator[tuple[Counted, str]]:
    more = (family.histogram.matchers, 'le="+Inf"') if family.histogram is not None else ()
    for each in counted:
        yield each, selector(family.variant, each.metric, targets, *more)


def _label(counted: Counted) -> tuple[str, ...]:
    return (counted.label,) if counted.label else ()


def _failures(counted: Counted) -> str | None:
    """The matcher of the failed requests; None where none of these fail."""
    if counted.good:
        return f'{counted.label}!~"{counted.good}"'
    if counted.bad:
        return f'{counted.label}=~"{counted.bad}"'
    return "" if counted.failed else None


def _maybe_native(variant: Variant) -> Iterator[Histogram]:
    """Histograms on which the family rests; a classic one has no series of its bare name."""
    for measure in variant.meter.measures.get(_DURATION, ()):
        if isinstance(measure, Histogram):
            yield measure
