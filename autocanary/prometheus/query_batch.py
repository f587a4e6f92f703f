"""All questions of a tick to few queries, and the answers back to the questions. Decides; does no I/O.

Questions fall into groups by what can be asked in one query: the traffic (requests, failures and the age of
the newest sample together) per variant and window, and each latency or level per variant, window and
quantile. Success rate, error rate and request count need the traffic alone; every other preset needs it
too, to say from how many requests and how fresh. So four presets of one source are two queries, for one
rollout or for hundreds. The raw counters of comparisons are one more per family of counters.

Each question is looked at once and becomes a case; hashing questions again and again is what a round of
thousands of them would otherwise spend its time on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from autocanary.model.measurement import Question, Reading, Source
from autocanary.prometheus.counter_account import Account
from autocanary.prometheus.counter_collection import Counting, Subject, counting
from autocanary.prometheus.counter_queries import Family, family_of
from autocanary.prometheus.custom_queries import CustomQueries
from autocanary.prometheus.exporter_discovery import Discovery, Found, Wanted, targets_of, wanted_by
from autocanary.prometheus.measurements import (
    Evidence,
    custom_reading,
    preset_reading,
    undiscovered,
    unsupported,
    with_counters,
)
from autocanary.prometheus.preset_queries import (
    Traffic,
    measure_query,
    measured_rows,
    traffic_query,
    traffic_rows,
)
from autocanary.prometheus.presets import DEFAULT_QUANTILE, RATES, Variant
from autocanary.prometheus.query_plan import (
    Gathered,
    Limits,
    Plan,
    Result,
    both,
    divided,
    gather,
    kept,
    together,
)
from autocanary.prometheus.revision_labels import Target
from autocanary.prometheus.sources import variants_of

__all__ = ["Limits", "answer_all"]


_NOTHING = Found()
_SILENT = Traffic()
_UNMEASURED: Gathered[float] = Gathered()


class _TrafficGroup(NamedTuple):
    variant: Variant
    window: float


class _MeasureGroup(NamedTuple):
    variant: Variant
    window: float
    metric: str
    quantile: float


@dataclass(slots=True)
class _Case:
    """A question, and what is found out on the way to its answer.

    ``variant`` is None while nothing measures the service; ``lack`` says why it cannot give the metric.
    ``family`` is that of the counters asked for, or why there are none; None when none were asked for.
    """

    question: Question
    wanted: Wanted
    targets: tuple[Target, ...]
    found: Found = _NOTHING
    variant: Variant | None = None
    lack: str = ""
    traffic: Gathered[Traffic] | None = None
    measured: Gathered[float] | None = None
    family: Family | str | None = None


@dataclass(frozen=True, slots=True)
class _Answers:
    """Everything Prometheus said in one round."""

    traffic: dict[_TrafficGroup, Gathered[Traffic]]
    measures: dict[_MeasureGroup, Gathered[float]]
    custom: dict[None, Mapping[str, Result]]


def answer_all(
    questions: Sequence[Question],
    discovery: Discovery,
    custom: CustomQueries,
    limits: Limits,
    account: Account[Subject],
) -> Plan[Mapping[Question, Reading]]:
    """Exactly one reading for every question."""
    readings: dict[Question, Reading | None] = dict.fromkeys(questions)
    cases = []
    for question in readings:
        if why := _hopeless(question.source, question.metric, own_query=bool(question.query)):
            readings[question] = unsupported(question, why)
        else:
            cases.append(_Case(question, wanted_by(question), targets_of(question)))
    if cases:
        yield from _choose(cases, discovery)
        custom_answers, counted = yield from _ask(cases, custom, limits, account)
        _report(cases, discovery)
        for case in cases:
            readings[case.question] = _answered(case, custom_answers, counted)
    return {question: reading for question, reading in readings.items() if reading is not None}


@cache
def _hopeless(source: Source, metric: str, *, own_query: bool) -> str:
    """Why no variant of the source can ever answer the question; empty when one may."""
    if own_query:
        return ""
    lacks = [variant.meter.lack(metric) for variant in variants_of(source)]
    return lacks[0] if all(lacks) else ""


def _choose(cases: Sequence[_Case], discovery: Discovery) -> Plan[None]:
    """The variant that answers each question."""
    asked: dict[Wanted, dict[Target, None]] = {}
    for case in cases:
        asked.setdefault(case.wanted, {}).update(dict.fromkeys(case.targets))
    found = yield from discovery.resolve(asked)
    for case in cases:
        case.found = found[case.wanted]
        metric = case.question.metric
        case.variant = case.found.preferred(metric)
        if case.variant is None or case.question.query:
            continue
        case.lack = case.variant.meter.lack(metric)
        if case.question.counters and not case.lack:
            case.family = family_of(case.variant, metric)


def _ask(
    cases: Sequence[_Case], custom: CustomQueries, limits: Limits, account: Account[Subject]
) -> Plan[tuple[Mapping[str, Result], Counting]]:
    traffic: dict[_TrafficGroup, tuple[list[_Case], dict[Target, None]]] = {}
    measures: dict[_MeasureGroup, tuple[list[_Case], dict[Target, None]]] = {}
    families: dict[Family, dict[Target, None]] = {}
    for case in cases:
        if case.variant is None or case.lack:
            continue
        group = _TrafficGroup(case.variant, case.question.window)
        members, targets = traffic.setdefault(group, ([], {}))
        members.append(case)
        targets.update(dict.fromkeys(case.targets))
        if (measure := _measure_group(case.question, case.variant)) is not None:
            members, targets = measures.setdefault(measure, ([], {}))
            members.append(case)
            targets[case.targets[0]] = None
        if isinstance(case.family, Family):
            families.setdefault(case.family, {}).update(dict.fromkeys(case.targets))
    answers = _Answers({}, {}, {})
    presets = together(
        [
            *(
                kept(answers.traffic, group, _traffic_plan(group, targets, limits))
                for group, (_, targets) in traffic.items()
            ),
            *(
                kept(answers.measures, measure, _measure_plan(measure, targets, limits))
                for measure, (_, targets) in measures.items()
            ),
            kept(
                answers.custom, None, custom.ask(case.question.query for case in cases if case.question.query)
            ),
        ]
    )
    _, counted = yield from both(presets, counting(account, families, limits))
    for group, (members, _) in traffic.items():
        for case in members:
            case.traffic = answers.traffic[group]
    for measure, (members, _) in measures.items():
        for case in members:
            case.measured = answers.measures[measure]
    return answers.custom[None], counted


def _measure_group(question: Question, variant: Variant) -> _MeasureGroup | None:
    if question.query or question.metric in RATES or question.metric == "request-count":
        return None
    quantile = DEFAULT_QUANTILE if question.quantile is None else question.quantile
    return _MeasureGroup(variant, question.window, question.metric, quantile)


def _traffic_plan(group: _TrafficGroup, targets: Iterable[Target], limits: Limits) -> Plan[Gathered[Traffic]]:
    def build(chunk: Sequence[Target]) -> str:
        return traffic_query(group.variant, group.window, chunk)

    chunks = divided(sorted(targets), build, most=limits.revisions, most_bytes=limits.query_bytes)
    return gather(chunks, build, lambda chunk, answer: traffic_rows(group.variant, chunk, answer))


def _measure_plan(group: _MeasureGroup, targets: Iterable[Target], limits: Limits) -> Plan[Gathered[float]]:
    def build(chunk: Sequence[Target]) -> str:
        return measure_query(group.variant, group.metric, group.quantile, group.window, chunk)

    chunks = divided(sorted(targets), build, most=limits.revisions, most_bytes=limits.query_bytes)
    return gather(chunks, build, lambda chunk, answer: measured_rows(group.variant, chunk, answer))


def _report(cases: Iterable[_Case], discovery: Discovery) -> None:
    """Tell the discovery which services were heard of; those whose query failed are left out."""
    heard: dict[Wanted, bool] = {}
    for case in cases:
        traffic = case.traffic
        if traffic is not None and case.targets[0] not in traffic.errors:
            series = any(target in traffic.rows for target in case.targets)
            heard[case.wanted] = heard.get(case.wanted, False) or series
    for wanted, series in heard.items():
        discovery.heard(wanted, series=series)


def _answered(case: _Case, custom: Mapping[str, Result], counted: Counting) -> Reading:
    reading = _reading(case, custom)
    if not case.question.counters:
        return reading
    if case.family is None:
        why = "a query of the policy's own has no counters" if case.question.query else ""
        return with_counters(reading, None, why)
    if isinstance(case.family, str):
        return with_counters(reading, None, case.family)
    return with_counters(reading, *counted.of(case.family, case.targets))


def _reading(case: _Case, custom: Mapping[str, Result]) -> Reading:
    question, variant, traffic = case.question, case.variant, case.traffic
    if question.query:
        return custom_reading(custom[question.query], _requests(case))
    if variant is None:
        return undiscovered(question, case.found)
    if case.lack or traffic is None:
        return unsupported(question, case.lack, variant.source)
    target, *others = case.targets
    measured = case.measured if case.measured is not None else _UNMEASURED
    warnings = dict.fromkeys(
        [each.warnings[target] for each in (traffic, measured) if target in each.warnings]
    )
    return preset_reading(
        question,
        variant,
        Evidence(
            traffic=traffic.rows.get(target, _SILENT),
            measured=measured.rows.get(target),
            error=traffic.errors.get(target) or measured.errors.get(target),
            warning="; ".join(warnings),
            seen=case.found.seen or any(other in traffic.rows for other in others),
        ),
    )


def _requests(case: _Case) -> float | None:
    """How many requests the revision completed while a custom query looked; None when nobody counts them."""
    traffic = case.traffic
    if traffic is None:
        return None
    target, *others = case.targets
    row = traffic.rows.get(target)
    if row is not None:
        return row.requests
    silent = target not in traffic.errors and target not in traffic.warnings
    return 0.0 if silent and any(other in traffic.rows for other in others) else None
