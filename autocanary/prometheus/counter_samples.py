"""The rows of raw counters, read: what each scrape of each process said, or why that must not be counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from autocanary.prometheus.counter_queries import SAMPLE_TIME_LABEL, CounterFamily, family_counters
from autocanary.prometheus.counter_tracking import (
    BAD,
    GOOD,
    SEPARATE_FAILURE,
    WITHIN_BOUND,
    CounterKey,
    CounterUpdate,
    ProcessScrape,
)
from autocanary.prometheus.native_histograms import bounds_of, counts_within
from autocanary.prometheus.preset_queries import PART_LABEL, answer_delay, counts_of_service
from autocanary.prometheus.query_answer import NativeHistogram, QueryResponse, VectorSample
from autocanary.prometheus.revision_labels import RevisionTarget, is_pod_of, targets_by_label_values
from autocanary.prometheus.scrape_labels import POD_LABELS, SCRAPE_LABELS

__all__ = ["ParsedCounters", "parse_counter_rows", "parse_history_rows"]

_SAME_SCRAPE = 0.005  # seconds; a pushed batch is stamped in the course of a few milliseconds


class ParsedCounters(NamedTuple):
    """What one answer says of one revision: what was scraped, or why that must not be counted.

    ``native``: its histogram is stored as a native one alone, where a classic one was expected.
    """

    update: CounterUpdate
    problem: str = ""
    native: bool = False


def parse_counter_rows(
    family: CounterFamily, targets: Sequence[RevisionTarget], response: QueryResponse
) -> Mapping[RevisionTarget, ParsedCounters]:
    """What was parsed of every target, silence included; empty when the answer has no time."""
    at = next((sample.value for sample in response.samples if sample.labels.get(PART_LABEL) == "now"), None)
    if at is None or not math.isfinite(at):
        return {}
    at += answer_delay(response)  # a side whose samples come late is not current
    models_add = family.variant.exporter.models_add
    found = {target: _RevisionRows(models_add=models_add) for target in targets}
    revision_labels, keys = family.variant.revision_labels, _CounterKeys(family)
    by_label_values, labels = (
        targets_by_label_values(revision_labels, targets),
        (*revision_labels.group_labels, *POD_LABELS, *SCRAPE_LABELS),
    )
    # Many rows come from one process, so who that is gets worked out once.
    owners: dict[tuple[str | None, ...], tuple[_RevisionRows | None, _ScrapeIdentity]] = {}
    for sample in response.samples:
        given = tuple(map(sample.labels.get, labels))
        owner = owners.get(given)
        if owner is None:
            target = by_label_values.get(tuple([value or "" for value in given[: len(revision_labels.group_labels)]]))
            rows = found[target] if target is not None else None
            owner = owners[given] = (rows, _scrape_identity(sample.labels))
        if owner[0] is not None:
            _add_row(owner[0], owner[1], keys, sample)
    return {target: rows.parsed(family, target, at) for target, rows in found.items()}


class _ScrapeIdentity(NamedTuple):
    pod: str
    scrape_labels: tuple[str, ...]

    @property
    def host(self) -> str:
        return self.scrape_labels[0].rpartition(":")[0] or self.scrape_labels[0]

    @property
    def process(self) -> str:
        """The pod, else the host: two ports of one host may be two scrapes of one process."""
        return self.pod or self.host


def _scrape_identity(labels: Mapping[str, str]) -> _ScrapeIdentity:
    pod = next(filter(None, map(labels.get, POD_LABELS)), None) or ""
    return _ScrapeIdentity(pod, tuple([labels.get(label, "") for label in SCRAPE_LABELS]))


class _CounterKeys:
    """What the values of the rows count."""

    def __init__(self, family: CounterFamily) -> None:
        self._counted = family_counters(family)
        self.model_label = family.variant.exporter.model_label
        self.latency = family.latency
        self._alone = family.latency or len(self._counted) == 1
        self._per_second = family.histogram.per_second if family.histogram is not None else 1.0
        self._bounds: dict[str, CounterKey | None] = {}

    def bound(self, text: str) -> CounterKey | None:
        """None for what is no finite bound."""
        if text not in self._bounds:
            number = _finite_number(text)
            self._bounds[text] = None if number is None else (WITHIN_BOUND, number / self._per_second)
        return self._bounds[text]

    def count(self, number: int, labels: Mapping[str, str]) -> CounterKey:
        counted = self._counted[number]
        code = labels.get(counted.label, "") if counted.label else ""
        if number == 0 and (self._alone or counted.label):
            return BAD if counted.fails(code) else GOOD, code
        # Beside a histogram: calls that the client cancelled. They say nothing of whether the histogram has codes.
        return BAD if counted.fails(code) else GOOD, "" if self.latency else counted.metric


class _RevisionRows:
    """The rows of one revision, sorted by who counted."""

    def __init__(self, *, models_add: bool) -> None:
        self._models_add = models_add
        self.values: dict[_ScrapeIdentity, dict[CounterKey, float]] = {}
        self.by_model: dict[_ScrapeIdentity, dict[str, tuple[float, float]]] = {}  # requests, failures
        self.separate_failures: dict[_ScrapeIdentity, dict[CounterKey, float]] = {}
        self.histograms: dict[_ScrapeIdentity, NativeHistogram] = {}
        self.sample_times: dict[_ScrapeIdentity, list[tuple[float, float]]] = {}  # time, number of series
        self.native = False

    def parsed(self, family: CounterFamily, target: RevisionTarget, at: float) -> ParsedCounters:
        identities, also_exported_by = set(self.values), family.variant.exporter.also_exported_by
        own = (
            {identity for identity in identities if is_pod_of(target, identity.pod)} if also_exported_by else identities
        )
        problem = ""
        if identities and not own:
            problem = (
                f"{family.variant} is exported by {also_exported_by}, too, and no label "
                f"pod names the revision's own pod:"
                " samples that are counted twice cannot be found"
            )
        elif any(not identity.process for identity in own):
            problem = f"{family.variant} has neither a label pod nor instance: restarts cannot be detected"
        elif any(_has_several_scrapes(self.sample_times.get(identity, ())) for identity in own):
            problem = (
                f"several scrapes of {family.variant} with the same labels come together: have the replicas"
                " of Prometheus deduplicated, or give them a label prometheus_replica or replica"
            )
        elif self.native and not identities:
            problem = (
                f"{family.histogram.metric if family.histogram else family.variant} is stored as a native histogram:"
                " its exporter is looked for again"
            )
        if problem:
            return ParsedCounters(CounterUpdate(at), problem, self.native and not identities)
        pods = {identity.host: identity.pod for identity in own if identity.pod and identity.host}
        self._add_bounds(family)
        scrapes = [self._scrape(identity, target, pods) for identity in own if self.sample_times.get(identity)]
        return ParsedCounters(CounterUpdate(at, scrapes))

    def _add_bounds(self, family: CounterFamily) -> None:
        """The requests within each bound that all native histograms of the revision may have."""
        if family.histogram is None or not self.histograms:
            return
        bounds = bounds_of(self.histograms.values(), family.histogram.bounds, family.histogram.per_second)
        for identity, histogram in self.histograms.items():
            values = self.values.setdefault(identity, {})
            for bound, count in counts_within(histogram, bounds).items():
                values[WITHIN_BOUND, bound / family.histogram.per_second] = count

    def add_of_model(self, identity: _ScrapeIdentity, model: str, value: float, *, failed: bool) -> None:
        by_model = self.by_model.setdefault(identity, {})
        requests, failures = by_model.get(model, (0.0, 0.0))
        by_model[model] = requests + value, failures + (value if failed else 0.0)

    def _scrape(self, identity: _ScrapeIdentity, target: RevisionTarget, pods: Mapping[str, str]) -> ProcessScrape:
        values: Mapping[CounterKey, float] = self.values[identity]
        if identity in self.by_model:
            # Largest counts only grow, whichever model has them; successes, as a difference, would not.
            requests, failures = counts_of_service(target, self.by_model[identity], add=self._models_add)
            values = {(GOOD, "requests"): requests or 0.0, (SEPARATE_FAILURE, "requests"): failures}
        elif not any(code for kind, code in values if kind in (GOOD, BAD)):
            values = self.values[identity] | self.separate_failures.get(identity, {})
        sample_times = self.sample_times[identity]
        series = sum(number for _, number in sample_times)
        # Of two jobs that scrape a pod only one may say which pod it is.
        process = identity.pod or pods.get(identity.host, identity.host)
        return ProcessScrape(
            process, identity.scrape_labels, identity.scrape_labels[0], max(sample_times)[0], series, values
        )


def _has_several_scrapes(sample_times: Sequence[tuple[float, float]]) -> bool:
    """Whether more than one scrape is behind the rows: within one all samples have the same time."""
    return len(sample_times) > 1 and max(sample_times)[0] - min(sample_times)[0] > _SAME_SCRAPE


def _add_row(rows: _RevisionRows, identity: _ScrapeIdentity, keys: _CounterKeys, sample: VectorSample) -> None:
    labels, value = sample.labels, sample.value
    tag = labels.get(PART_LABEL, "")
    if tag == "native":
        rows.native = True
    elif tag == "histogram":
        if sample.histogram is not None:
            rows.histograms[identity] = sample.histogram
    elif value is None or not math.isfinite(value) or value < 0:
        return
    elif tag == "le":
        if (key := keys.bound(labels.get("le", ""))) is not None:
            rows.values.setdefault(identity, {})[key] = value
    elif tag == "at":
        if (sample_time := _finite_number(labels.get(SAMPLE_TIME_LABEL, ""))) is not None:
            rows.sample_times.setdefault(identity, []).append((sample_time, value))
    elif tag.startswith("apart"):
        rows.separate_failures.setdefault(identity, {})[SEPARATE_FAILURE, tag] = value
    elif tag.startswith("count"):
        key = keys.count(int(tag.removeprefix("count")), labels)
        values = rows.values.setdefault(identity, {})
        if keys.model_label and not keys.latency:
            rows.add_of_model(identity, labels.get(keys.model_label, ""), value, failed=key[0] == BAD)
        else:
            values[key] = value


def _finite_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def parse_history_rows(
    family: CounterFamily, targets: Sequence[RevisionTarget], response: QueryResponse
) -> Mapping[RevisionTarget, frozenset[str]]:
    """The processes of every target that has had any."""
    found: dict[RevisionTarget, set[str]] = {target: set() for target in targets}
    by_label_values = targets_by_label_values(family.variant.revision_labels, targets)
    for sample in response.samples:
        labels = sample.labels
        target = by_label_values.get(
            tuple(labels.get(label, "") for label in family.variant.revision_labels.group_labels)
        )
        if target is not None:
            found[target].add(_scrape_identity(labels).process)
    return {target: frozenset(processes) for target, processes in found.items()}
