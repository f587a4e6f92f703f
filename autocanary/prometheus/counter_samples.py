"""The rows of raw counters, read: what each scrape of each process said, or why that must not be counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from autocanary.prometheus.counter_queries import AT, PATH, PODS, Family, counted_in
from autocanary.prometheus.counter_tracking import APART, BAD, GOOD, WITHIN, Key, Look, Scrape
from autocanary.prometheus.preset_queries import TAG
from autocanary.prometheus.query_answer import Answer, Sample
from autocanary.prometheus.revision_labels import Target, index, own_pod

__all__ = ["Heard", "heard_rows", "history_rows"]

_SAME_SCRAPE = 0.005  # seconds; a pushed batch is stamped in the course of a few milliseconds


class Heard(NamedTuple):
    """What one answer says of one revision: what was scraped, or why that must not be counted."""

    look: Look
    trouble: str = ""


def heard_rows(family: Family, targets: Sequence[Target], answer: Answer) -> Mapping[Target, Heard]:
    """What was heard of every target, silence included; empty when the answer does not say when it is of."""
    at = next((sample.value for sample in answer.samples if sample.labels.get(TAG) == "now"), None)
    if at is None or not math.isfinite(at):
        return {}
    found: dict[Target, _Rows] = {target: _Rows() for target in targets}
    labelling, keys = family.variant.labelling, _Keys(family)
    wanted, labels = index(labelling, targets), (*labelling.by, *PODS, *PATH)
    # Many rows come from one process, so who that is gets worked out once.
    owners: dict[tuple[str | None, ...], tuple[_Rows | None, _Who]] = {}
    for sample in answer.samples:
        given = tuple(map(sample.labels.get, labels))
        owner = owners.get(given)
        if owner is None:
            target = wanted.get(tuple([value or "" for value in given[: len(labelling.by)]]))
            rows = found[target] if target is not None else None
            owner = owners[given] = (rows, _who(sample.labels))
        if owner[0] is not None:
            _put(owner[0], owner[1], keys, sample)
    return {target: rows.heard(family, target, at) for target, rows in found.items()}


class _Who(NamedTuple):
    pod: str
    path: tuple[str, ...]

    @property
    def host(self) -> str:
        return self.path[0].rpartition(":")[0] or self.path[0]

    @property
    def process(self) -> str:
        """The pod, else the host: two ports of one host may be two scrapes of one process."""
        return self.pod or self.host


def _who(labels: Mapping[str, str]) -> _Who:
    pod = next(filter(None, map(labels.get, PODS)), None) or ""
    return _Who(pod, tuple([labels.get(label, "") for label in PATH]))


class _Keys:
    """What the values of the rows count."""

    def __init__(self, family: Family) -> None:
        self._counted = counted_in(family)
        self._codes_apart = family.latency or len(self._counted) == 1
        self._per_second = family.histogram.per_second if family.histogram is not None else 1.0
        self._bounds: dict[str, Key | None] = {}

    def bound(self, text: str) -> Key | None:
        """None for what is no finite bound."""
        if text not in self._bounds:
            number = _number(text)
            self._bounds[text] = None if number is None else (WITHIN, number / self._per_second)
        return self._bounds[text]

    def count(self, number: int, labels: Mapping[str, str]) -> Key:
        counted = self._counted[number]
        code = labels.get(counted.label, "") if counted.label else ""
        return BAD if counted.fails(code) else GOOD, code if self._codes_apart else counted.metric


class _Rows:
    """The rows of one revision, sorted by who counted."""

    def __init__(self) -> None:
        self.values: dict[_Who, dict[Key, float]] = {}
        self.beside: dict[_Who, dict[Key, float]] = {}
        self.stamps: dict[_Who, list[tuple[float, float]]] = {}  # time, number of series
        self.native = False

    def heard(self, family: Family, target: Target, at: float) -> Heard:
        whos, also = set(self.values), family.variant.meter.also
        own = {who for who in whos if own_pod(target, who.pod)} if also else whos
        trouble = ""
        if whos and not own:
            trouble = (
                f"{family.variant} is exported by {also}, too, and no label pod names the revision's own pod:"
                " what is counted twice cannot be told"
            )
        elif any(not who.process for who in own):
            trouble = f"{family.variant} has neither a label pod nor instance: restarts cannot be told"
        elif any(_mixed(self.stamps.get(who, ())) for who in own):
            trouble = (
                f"several scrapes of {family.variant} with the same labels come together: have the replicas"
                " of Prometheus deduplicated, or give them a label prometheus_replica or replica"
            )
        elif self.native and not whos:
            trouble = (
                f"{family.variant} is a native histogram, whose requests cannot be counted by code and bound:"
                " have Prometheus keep the classic one beside it (always_scrape_classic_histograms)"
            )
        if trouble:
            return Heard(Look(at), trouble)
        pods = {who.host: who.pod for who in own if who.pod and who.host}
        scrapes = [self._scrape(who, pods) for who in own if self.stamps.get(who)]
        return Heard(Look(at, scrapes))

    def _scrape(self, who: _Who, pods: Mapping[str, str]) -> Scrape:
        values = self.values[who]
        if not any(code for kind, code in values if kind in (GOOD, BAD)):
            values = values | self.beside.get(who, {})
        stamps = self.stamps[who]
        series = sum(number for _, number in stamps)
        # Of two jobs that scrape a pod only one may say which pod it is.
        process = who.pod or pods.get(who.host, who.host)
        return Scrape(process, who.path, who.path[0], max(stamps)[0], series, values)


def _mixed(stamps: Sequence[tuple[float, float]]) -> bool:
    """Whether more than one scrape is behind the rows: within one all samples have the same time."""
    return len(stamps) > 1 and max(stamps)[0] - min(stamps)[0] > _SAME_SCRAPE


def _put(rows: _Rows, who: _Who, keys: _Keys, sample: Sample) -> None:
    labels, value = sample.labels, sample.value
    tag = labels.get(TAG, "")
    if tag == "native":
        rows.native = True
    elif value is None or not math.isfinite(value) or value < 0:
        return
    elif tag == "le":
        if (key := keys.bound(labels.get("le", ""))) is not None:
            rows.values.setdefault(who, {})[key] = value
    elif tag == "at":
        if (stamp := _number(labels.get(AT, ""))) is not None:
            rows.stamps.setdefault(who, []).append((stamp, value))
    elif tag.startswith("apart"):
        rows.beside.setdefault(who, {})[APART, tag] = value
    elif tag.startswith("count"):
        key = keys.count(int(tag.removeprefix("count")), labels)
        rows.values.setdefault(who, {})[key] = value


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def history_rows(
    family: Family, targets: Sequence[Target], answer: Answer
) -> Mapping[Target, frozenset[str]]:
    """The processes of every target that has had any."""
    found: dict[Target, set[str]] = {target: set() for target in targets}
    wanted = index(family.variant.labelling, targets)
    for sample in answer.samples:
        labels = sample.labels
        target = wanted.get(tuple(labels.get(label, "") for label in family.variant.labelling.by))
        if target is not None:
            found[target].add(_who(labels).process)
    return {target: frozenset(processes) for target, processes in found.items()}
